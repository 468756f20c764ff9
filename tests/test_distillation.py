"Chapter 17d: students that make the steps of a teacher in few."
import json, os, sys
from dataclasses import replace
from pathlib import Path
import pytest, torch
from fresh import fresh_script
from diffusion_lm_nb import BadInput, DiffusionLM, Length, SemanticContent
from diffusion_lm_nb import commands
from diffusion_lm_nb.checkpoints import training_hashes
from diffusion_lm_nb.corpora import load_corpus
from diffusion_lm_nb.distillation import (
    DISTILLED_PRESETS, DistilledLM, make_distiller, mean_marginals, root_snr)
from diffusion_lm_nb.grammar import Grammar
from diffusion_lm_nb.loss import keyed_generator
from diffusion_lm_nb.solvers import DDIM, Renoise

sys.path.insert(0, str(Path(__file__).parents[1]/'scripts'))
import distill
sys.path.pop(0)

PRESET = DISTILLED_PRESETS['grammar-4']

@pytest.fixture(scope='module')
def base(): return DiffusionLM.from_pretrained('grammar')

def made(substeps=3, **sizes):
    "A fresh `Distiller` and its batches."
    p = replace(PRESET, batch_size=8, model=PRESET.model | dict(substeps=substeps) | sizes)
    torch.manual_seed(0)
    return make_distiller(p, load_corpus('grammar')[:100], 0)

def window(lm, given=()):
    "Latents of four texts, times, mask and known tokens; some positions are given."
    d, batch_at = made()
    ids, mask, gen = batch_at(0)
    times = [torch.full(ids.shape, .6 - .3 * k / 5) for k in range(6)]
    known = ids.masked_fill(ids > lm.vocab.pad, -1)
    for i in given:
        known[:, i] = ids[:, i]
        for t in times: t[:, i] = 0.
    x = lm.corrupt(ids, times[0], torch.randn(*ids.shape, lm.dim, generator=gen))
    return x, times, mask, known, ids

@pytest.mark.parametrize('given', [(), (2, 3)])
def test_one_step_with_the_mean_ends_where_all_steps_end(base, given):
    x, times, mask, known, ids = window(base, given)
    p, _, end = mean_marginals(base, x, times, mask, known, DDIM(0.).cooled(.7, .5))
    one, _ = DDIM(0.).moments(x, p @ base.emb.E, times[-1], times[0], base.schedule)
    open_ = mask & (times[0] > 0)
    assert torch.allclose(one[open_], end[open_], atol=1e-4)
    assert torch.allclose(p.sum(-1)[open_], torch.ones(int(open_.sum())), atol=1e-4)
    words = base.emb(ids)[:, list(given)]
    assert torch.equal(end[:, list(given)], words)             # what is given stays where it is

def test_a_single_step_teaches_nothing():
    "With one step a window the fresh student answers what the teacher does."
    d, batch_at = made(substeps=1)
    d.solver = DDIM(0.)
    ids, mask, gen = batch_at(0)
    d.eval()
    kl = [d(ids, mask, keyed_generator(k))[0].item() for k in range(6)]
    assert min(map(abs, kl)) < 1e-4                # without an estimate of its own
    d, _ = made(substeps=4)
    assert d.eval()(ids, mask, gen)[0] > .01

def test_windows_and_given_words():
    d, batch_at = made(substeps=3)
    _, mask, _ = batch_at(0)
    given = 0
    for k in range(8):
        times = d.window_times(mask, keyed_generator(k))
        here = times[0] == 0
        given += (here & mask).sum()
        assert all((t[here] == 0).all() for t in times)    # a given word stays clean
        start, end = times[0][~here], times[-1][~here]
        assert torch.allclose(start - end, torch.full_like(start, .25), atol=1e-6)
        assert torch.allclose((4 * start).round(), 4 * start, atol=1e-5)
    assert given > 0

def test_the_teacher_stays_as_it_was(base):
    d, batch_at = made()
    d(*batch_at(0))[0].backward()
    assert all(p.grad is None for p in d.held[0].parameters())
    moved = {n for n, p in d.student.named_parameters() if p.grad is not None and p.grad.any()}
    assert moved and moved <= d.student.own
    assert not any('emb.' in n or 'original' in n for n in d.student.own)

def test_what_is_saved_is_the_students_own(tmp_path, base):
    d, _ = made()
    with torch.no_grad():
        for p in d.parameters(): p.add_(.01 * torch.randn(p.shape) * p.requires_grad)
    d.save_pretrained(tmp_path)
    again = DiffusionLM.from_pretrained(tmp_path)
    assert isinstance(again, DistilledLM) and {*again.state_dict()} == again.own
    for name, p in d.student.named_parameters(): # the base's, too
        assert torch.equal(p, dict(again.named_parameters())[name])
    assert (tmp_path / 'model.safetensors').stat().st_size < 5 * sum(
        p.numel() for p in d.parameters() if p.requires_grad)
    assert torch.equal(again.emb.weight, base.emb.weight)

def test_a_file_without_the_factors_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file
    d, _ = made()
    d.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / 'model.safetensors')
    tensors.pop(next(k for k in tensors if k.endswith('.a')))
    save_file(tensors, tmp_path / 'model.safetensors')
    with pytest.raises(BadInput, match='lacks'): DiffusionLM.from_pretrained(tmp_path)

@pytest.mark.parametrize('change, says', [
    (dict(base='grammar-masked'), 'recipe masked'), (dict(base='e2e'), 'other words'),
    (dict(base='nowhere'), 'no model'), (dict(rank=0), 'rank'), (dict(windows=0), 'windows')])
def test_students_that_cannot_be(base, change, says):
    config = {k: v for k, v in base._hub_mixin_config.items() if k != 'vocabulary'}
    config |= dict(recipe='distilled', base='grammar') | change
    with pytest.raises(BadInput, match=says): DistilledLM(**config)

@pytest.fixture(scope='module')
def student(): return DiffusionLM.from_pretrained('grammar-4')

def test_its_own_number_of_steps_and_solver(student, base):
    assert student.sample(3, seed=1) == student.sample(3, seed=1, steps=4, solver=DDIM(0.))
    assert student.sample(3, seed=1) != student.sample(3, seed=1, solver=Renoise(.5))
    assert len([*student.trajectory(seed=1)]) == 5
    assert len([*base.trajectory(seed=1)]) == 51 and base.steps == 50

def test_a_text_does_not_depend_on_its_batch(student):
    together = student.sample(5, seed=2, batch_size=5)
    assert together == student.sample(5, seed=2, batch_size=2)
    assert together[3:] == student.sample(2, seed=2, first=3)

def test_it_writes_better_in_few_steps_than_its_base(student, base):
    g = Grammar()
    def derivable(lm): # of 64 texts; the rows of chapter 17d have 0.44 and 0.16
        return sum(g.log_prob(t.split()) > -1e9 for t in lm.sample(
            64, seed=5, n_words=12, batch_size=64, steps=8, solver='ddim'))
    assert derivable(student) > 1.5 * derivable(base)

def test_it_is_steered(student):
    french = SemanticContent('food', 'French')
    texts = student.sample(12, french & Length(12), seed=3)
    assert all(len(t.split()) == 12 for t in texts)
    assert sum(french.check(t.split()) for t in texts) >= 11
    assert student.infill('The Eagle is a ___{2} pub .', seed=1)[0].startswith('The Eagle is a ')

def test_it_has_no_likelihood(student):
    with pytest.raises(BadInput, match='ask its base, grammar'): student.nll(['The pub is cheap .'])

def test_commands_know_its_steps(tmp_path, capsys):
    commands.control_texts('length', n=1, out=str(tmp_path / 'a.jsonl'), model='grammar-4', limit=1)
    row = json.loads((tmp_path / 'a.jsonl').read_text().splitlines()[0])
    assert row['steps'] == 4
    commands.sample_texts(2, model='grammar-4', seed=1)
    assert capsys.readouterr().out.split('\n')[:2] == DiffusionLM.from_pretrained(
        'grammar-4').sample(2, seed=1)

def test_everything_else_knows_its_steps(student, base, tmp_path, monkeypatch):
    from diffusion_lm_nb.reproduction import PROTOCOLS
    from diffusion_lm_nb.steering import Choices, Run
    monkeypatch.setitem(PROTOCOLS, 'glance', dict(targets=1, n=1))
    commands.reproduce('glance', tasks='length', out=str(tmp_path / 'r'), model='grammar-4')
    assert json.loads((tmp_path / 'r/report.json').read_text())['steps'] == 4
    for lm, default, other in ((student, 4, 50), (base, 50, 4)):
        assert 'steps' not in Run(lm, Choices(steps=default)).code
        assert f'steps={other}' in Run(lm, Choices(steps=other)).code

def test_training_goes_on_where_it_stopped(tmp_path):
    def run(out, *stops):
        for k, steps in enumerate(stops):
            commands.train('grammar-4', out=str(out), steps=4, batch_size=4, device='cpu',
                           resume=k > 0, **steps)
        return DiffusionLM.from_pretrained(out).state_dict()
    whole = run(tmp_path / 'a', {})
    parts = run(tmp_path / 'b', dict(minutes=1e-6), {})
    assert all(torch.equal(v, parts[k]) for k, v in whole.items())

def test_shipped_students_belong_to_shipped_models():
    for name in ('e2e-8', 'grammar-4'):
        lm, p = DiffusionLM.from_pretrained(name), DISTILLED_PRESETS[name].model
        assert (lm.base, lm.steps, lm.rank) == (p['base'], p['windows'], p['rank'])
    assert training_hashes('e2e-8') == training_hashes('e2e') # copies are counted by its base's

def test_time_enters_through_the_root_of_the_snr(base):
    t = torch.linspace(0, 1, 7)
    a, σ = base.schedule.coefs(t)
    assert torch.allclose(root_snr(base.schedule, t).float(), (a / σ).flatten(), rtol=1e-4)

def test_presets_of_e2e_share_the_steps_of_the_base():
    "Sixteen and eight walk its 48 steps, four the eight of its teacher; all are trained as long."
    found = {k: DISTILLED_PRESETS[f'e2e-{k}'] for k in (16, 8, 4)}
    walked = {k: p.model['windows'] * p.model['substeps'] for k, p in found.items()}
    assert walked == {16: 48, 8: 48, 4: found[8].model['windows']}
    assert found[4].model['teacher'] == 'e2e-8'
    assert {(p.steps, p.batch_size, p.model['rank']) for p in found.values()} == {(2400, 32, 16)}

def taught_by_a_student(**sizes):
    "A `Distiller` whose teacher is the shipped student of four steps, and its batches."
    return made(**dict(teacher='grammar-4') | sizes)

def test_a_student_of_a_student_starts_as_a_copy():
    "With one step of the teacher a window the answers agree, so nothing is left to be learnt."
    d, batch_at = taught_by_a_student(windows=4, substeps=1)
    teacher = d.held[0].state_dict()
    assert all(torch.equal(v, teacher[k]) for k, v in d.student.state_dict().items())
    with torch.no_grad(): assert d(*batch_at(0))[0].abs() < 1e-5
    d, batch_at = taught_by_a_student(windows=2, substeps=2)
    with torch.no_grad(): assert d(*batch_at(0))[0] > .01
    assert d.student.steps == 2 and d.student.base == 'grammar'

@pytest.mark.parametrize('name', ['grammar', 'grammar-4'])
def test_a_base_is_cooled_and_a_student_is_not(name):
    "A student's answers are those of a cooled teacher already."
    teacher = DiffusionLM.from_pretrained(name)
    teacher.temperature, teacher.below = .5, 1.
    logp, t = torch.tensor([[[.7, .2, .1]]]).log(), torch.full((1, 1), .1)
    found = type(made()[0])(made()[0].student, teacher, 2).solver.cool(logp, t)
    assert torch.equal(found, logp) == (name == 'grammar-4')

@pytest.mark.parametrize('sizes', [dict(rank=8), dict(base='e2e'), dict(teacher='grammar')])
def test_a_teacher_of_another_kind_is_refused(sizes):
    with pytest.raises(BadInput, match='must be a student of'): taught_by_a_student(**sizes)

def of_choice(network, method, task, ratio, **more): # a row of part choose
    return dict(network=network, method=method, task=task, lm_ratio=ratio) | more

def test_each_number_of_steps_has_its_own_choice(monkeypatch):
    "Free texts: lowest perplexity if varied enough; control: the rule of chapter 16."
    rows = {'distilled-choose-4': [
        of_choice('base', 'ddim', 'free', 3., grid='even', distinct4_ratio=1.),
        of_choice('base', 'dpmpp2m', 'free', 2.5, grid='u^.7', distinct4_ratio=.98),
        of_choice('base', 'ancestral', 'free', 2., grid='even', distinct4_ratio=.96),
        *(of_choice(who, m, task, r, success=s) for task in ('semantic', 'pos')
          for who, m, r, s in (('base', 'ddim', 1.4, .9), ('base', 'default', 3., 1.),
                               ('student', 'ddim', 3., .9), ('student', 'default', 1.6, .9)))]}
    monkeypatch.setattr(distill.parts, 'rows_of', lambda part: rows.get(part, []))
    assert distill.chosen('choose-4') == (
        'dpmpp2m', 'u^.7', dict(base='ddim', student='default'))
    with pytest.raises(BadInput, match='choose-16'): distill.chosen('choose-16')

def test_a_student_that_is_not_there_is_named(tmp_path):
    "One line with the command that trains it."
    script = Path(__file__).parents[1] / 'scripts/distill.py'
    code, _, said = fresh_script(script, ['choose-4'], tmp_path, os.environ, 60)
    assert code == 2 and 'dlm-train e2e-4' in said and len(said.strip().splitlines()) == 1

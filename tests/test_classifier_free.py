"Chapter 17h: a continuous model that reads the control, and classifier-free guidance."
from dataclasses import replace
import pytest, torch
from diffusion_lm_nb import (BadInput, DiffusionLM, Length, Particles, PartsOfSpeech,
                             SemanticContent, commands)
from diffusion_lm_nb.classifier_free import (CFG, GIVEN_PRESETS, ConditionalDiffusionLM,
                                             make_given)
from diffusion_lm_nb.corpora import load_corpus
from diffusion_lm_nb.discrete_guidance import DCFG
from diffusion_lm_nb.files import result_rows
from diffusion_lm_nb.further import Regex
from diffusion_lm_nb.guidance import TweedieGuidance
from diffusion_lm_nb.teacher import make_judge
from diffusion_lm_nb.training import fit

FRENCH = SemanticContent('food', 'French')
HOW = dict(steps=6, seed=3, n_words=9, batch_size=4)
PRESET = replace(GIVEN_PRESETS['grammar-given'], batch_size=8)

@pytest.fixture(scope='module')
def base(): return DiffusionLM.from_pretrained('grammar').eval()

@pytest.fixture(scope='module')
def fresh_one():
    torch.manual_seed(0)
    return make_given(PRESET, load_corpus('grammar')[:200], 0)

@pytest.fixture(scope='module')
def lm(fresh_one):
    "A model that reads symbols whose vectors are not 0."
    torch.manual_seed(0)
    model, _ = make_given(PRESET, load_corpus('grammar')[:200], 0)
    model.symbol.data.normal_(std=.02)
    model.bias.data.normal_(std=.1)
    return model.eval()

@pytest.fixture(scope='module')
def shipped(): return DiffusionLM.from_pretrained('grammar-given').eval()

def noisy(lm, rows=3, n=10):
    gen = torch.Generator().manual_seed(1)
    x = torch.randn(rows, n, lm.dim, generator=gen)
    return x, torch.full((rows, n), .6), torch.ones(rows, n, dtype=torch.bool)

# ---- the model

def test_a_fresh_one_is_its_base(base, fresh_one):
    own, batch_at = fresh_one
    x, t, mask = noisy(base)
    read = own.eval().symbols_at([FRENCH.bind(own)] * 3, 10)
    with torch.no_grad():
        wanted = base.predict(x, t, mask)
        for condition in (None, read):
            with own.given(condition):
                for a, b in zip(own.predict(x, t, mask), wanted): assert (a - b).abs().max() < 1e-4

def test_vectors_and_biases_both_are_read(base, fresh_one):
    own, _ = fresh_one
    x, t, mask = noisy(base)
    read = own.eval().symbols_at([FRENCH.bind(own)] * 3, 10)
    with torch.no_grad(), own.given(read):
        before = own.predict(x, t, mask)[0]
        for table in (own.symbol, own.bias):
            table.normal_(std=.05)
            assert (own.predict(x, t, mask)[0] - before).abs().max() > .1
            table.zero_()
        assert torch.equal(own.predict(x, t, mask)[0], before)

def test_the_condition_ends_with_its_block_even_after_an_error(lm):
    x, t, mask = noisy(lm)
    with torch.no_grad():
        before = lm.predict(x, t, mask)[0]
        with pytest.raises(ZeroDivisionError):
            with lm.given(lm.symbols_at([FRENCH.bind(lm)] * 3, 10)): 1 / 0
        assert torch.equal(lm.predict(x, t, mask)[0], before)

def test_only_the_change_is_trained_and_saved(lm, base, tmp_path):
    trained = {n for n, p in lm.named_parameters() if p.requires_grad}
    assert trained == lm.own == {*lm.state_dict()} >= {'symbol', 'bias'}
    assert not any('emb' in n or 'read' in n for n in trained)
    lm.save_pretrained(tmp_path / 'm', half=True)
    again = DiffusionLM.from_pretrained(tmp_path / 'm').eval()
    assert type(again) is ConditionalDiffusionLM and again.symbols == lm.symbols
    assert (tmp_path / 'm/model.safetensors').stat().st_size < 400_000
    x, t, mask = noisy(lm)
    read = lm.symbols_at([FRENCH.bind(lm)] * 3, 10)
    with torch.no_grad(), lm.given(read), again.given(read):
        assert (lm.predict(x, t, mask)[0] - again.predict(x, t, mask)[0]).abs().max() < .05
    assert torch.equal(again.emb.weight, base.emb.weight)

def test_a_file_without_its_symbols_is_refused(lm, tmp_path):
    from safetensors.torch import load_file, save_file
    lm.save_pretrained(tmp_path)
    found = load_file(tmp_path / 'model.safetensors')
    del found['bias']
    save_file(found, tmp_path / 'model.safetensors')
    with pytest.raises(BadInput): DiffusionLM.from_pretrained(tmp_path)

def test_training_teaches_it_to_read(tmp_path):
    torch.manual_seed(0)
    p = replace(PRESET, steps=30, warmup=3, batch_size=16, ema=.8, model=PRESET.model | dict(
        tasks='pos'))
    own, batch_at = make_given(p, load_corpus('grammar')[:500], 0)
    fit(own, batch_at, p, device='cpu', quiet=True)
    held = [batch_at(900 + k) for k in range(3)]
    with torch.no_grad():
        read, not_read = (sum(own.eval()(*b[:3], b[3] * on)[0] for b in held) for on in (1, 0))
    assert read < .95 * not_read

def test_a_likelihood_is_a_bound_without_the_control(lm):
    text = load_corpus('grammar')[0].words
    free = lm.nll([text], draws=4)
    with lm.given(None): assert lm.nll([text], draws=4) == free

# ---- the guide

def test_the_dial_is_the_formula(lm):
    x, t, mask = noisy(lm)
    controls = [FRENCH.bind(lm), None, FRENCH.bind(lm)]
    with torch.no_grad():
        free = lm.predict(x, t, mask)[0]
        with lm.given(lm.symbols_at(controls, 10)): read = lm.predict(x, t, mask)[0]
        for γ in (0., .5, 1., 3.):
            guide = CFG(γ)
            guide.bind(lm)
            logp, x̂0 = guide.predict(controls, x, t, mask, None)
            p = (read.exp() ** γ * free.exp() ** (1 - γ))
            assert (logp.exp() - p / p.sum(-1, keepdim=True)).abs().max() < 1e-4
            assert (x̂0 - logp.exp() @ lm.emb.E).abs().max() < 1e-5
            assert (logp[1] - free[1]).abs().max() < 1e-4 # nobody asked for anything

def test_who_reads_what(lm):
    guide = CFG(marginals=False)
    guide.bind(lm)
    nine, pattern = Length(9), Regex('_* French _*')
    new = SemanticContent('food', 'Martian')
    assert [guide.reads(c) for c in (FRENCH, nine, pattern, new)] == [True, False, False, False]
    assert guide.rest(FRENCH) is None and guide.rest(nine) is nine and guide.rest(new) is new
    assert guide.rest(FRENCH & nine) is nine and guide.rest(None) is None
    both = FRENCH & nine
    assert CFG().rest(both) is both

def test_a_value_that_was_never_read_is_left_to_the_token_marginals(lm):
    new = SemanticContent('area', 'French') # no text of the corpus says so
    for guide in (CFG(), CFG(marginals=False)):
        assert all('French' in t for t in lm.sample(4, new, guide=guide, **HOW))
    assert lm.sample(4, new, **HOW) == lm.sample(4, new, guide=None, **HOW)

def test_it_is_the_default_of_a_model_that_reads(lm):
    plain = lm.sample(4, FRENCH, guide=None, **HOW)
    read = lm.sample(4, FRENCH, **HOW)
    assert read == lm.sample(4, FRENCH, guide=CFG(), **HOW) != plain
    free = lm.sample(4, Length(9), **HOW | dict(n_words=None))
    assert free == lm.sample(4, Length(9), guide=None, **HOW | dict(n_words=None))

def test_the_controls_own_guide_is_asked_as_well(lm):
    tags, how = PartsOfSpeech('DET NOUN VERB DET NOUN PUNCT'), HOW | dict(n_words=None)
    guides = [CFG(), CFG(marginals=False)]
    texts = [lm.sample(4, tags, guide=g, **how) for g in guides]
    assert isinstance(guides[0].own, TweedieGuidance) and guides[1].own is None
    x, t, mask = noisy(lm, n=8)
    x̂0 = lm.predict(x, t, mask)[1].detach()
    moved = guides[0].estimate(x, x̂0, t, mask, [tags.bind(lm), None, tags])
    assert torch.equal(moved, guides[0].own.estimate(x, x̂0, t, mask, [tags, None, tags]))
    assert (moved != x̂0).any() and torch.equal(moved[1], x̂0[1])
    assert guides[1].estimate(x, x̂0, t, mask, [tags] * 3) is x̂0
    lm.sample(1, FRENCH, guide=guides[0], **HOW)
    assert guides[0].own is None # a value has no guide

def test_the_strength_matters_and_zero_forgets(lm):
    dial = lambda γ: lm.sample(4, FRENCH, guide=CFG(γ, marginals=False), **HOW)
    assert dial(0.) == lm.sample(4, n_words=9, **{k: HOW[k] for k in ('steps', 'seed')},
                                 batch_size=4, control=FRENCH, guide=CFG(0., marginals=False))
    assert dial(1.) != dial(0.) and dial(3.) != dial(1.)

def test_a_text_does_not_depend_on_its_batch(lm):
    tags = PartsOfSpeech('DET NOUN VERB DET NOUN PUNCT')
    how = HOW | dict(n_words=None)
    wanted = [(0, FRENCH), (1, tags), (2, None), (3, FRENCH & Length(7))]
    together = lm.sample_many(wanted, **how)
    for k in (0, 1, 3): assert lm.sample_many([wanted[k]], **how) == [together[k]]
    assert lm.sample(2, FRENCH, **how) == lm.sample(4, FRENCH, **how)[:2]
    assert [lm.sample(1, FRENCH, first=k, **how)[0] for k in (0, 1)] == lm.sample(2, FRENCH, **how)

def test_gaps_trajectories_and_particles_read_too(lm):
    text = lm.infill('The ___ serves ___{2} food .', control=FRENCH, steps=5)[0]
    assert text.startswith('The ') and text.endswith(' food .') and 'serves' in text
    steps = [*lm.trajectory(seed=3, control=FRENCH, n_words=9, steps=6, batch_size=4)]
    assert steps[-1].text == lm.sample(1, FRENCH, **HOW)[0]
    assert lm.condition is None
    assert lm.sample(2, FRENCH, particles=Particles(2), **HOW)

def test_other_models_and_guides_say_so_in_one_line(base, lm):
    masked = DiffusionLM.from_pretrained('grammar-masked')
    with pytest.raises(BadInput, match='trained to read controls'):
        base.sample(1, FRENCH, guide=CFG(), **HOW)
    for model, guide in ((masked, CFG()), (lm, DCFG())):
        with pytest.raises((BadInput, AttributeError)) as e:
            model.sample(1, FRENCH, guide=guide, **HOW | dict(solver='ancestral'))
        assert isinstance(e.value, BadInput) and '\n' not in str(e.value)
    with pytest.raises(BadInput, match='symbols|trained with'):
        lm.symbols_at([SemanticContent('food', 'Martian')], 9)

@pytest.mark.parametrize('kind', [CFG, DCFG])
@pytest.mark.parametrize('wrong', ['a', None, float('nan'), float('inf')])
def test_a_dial_is_a_finite_number(kind, wrong):
    with pytest.raises(BadInput, match='strength is a number from -100 to 100'): kind(wrong)

def test_what_cannot_be_trained_says_so(tmp_path):
    long = [replace(e, words=e.words * 9) for e in load_corpus('grammar')[:3]]
    with pytest.raises(BadInput, match='at most'): make_given(PRESET, long, 0)
    student = replace(PRESET, model=PRESET.model | dict(base='grammar-4'))
    with pytest.raises(BadInput, match='recipe'): make_given(student, load_corpus('grammar')[:9], 0)

# ---- commands

def test_it_is_trained_goes_on_and_is_used_by_commands(tmp_path, capsys):
    out = tmp_path / 'm'
    def train(**more):
        commands.train('grammar-given', out=str(out), steps=4, batch_size=4, device='cpu', **more)
    train(minutes=1e-9)
    train(resume=True)
    assert type(DiffusionLM.from_pretrained(out)) is ConditionalDiffusionLM
    commands.control_texts('length', n=1, out=str(tmp_path / 'a.jsonl'), model=str(out), limit=1)
    assert (tmp_path / 'a.jsonl').read_text().count('\n') == 1
    commands.sample_texts(2, model='grammar-given', seed=1)
    assert capsys.readouterr().out.split('\n')[-3:-1] == DiffusionLM.from_pretrained(
        'grammar-given').sample(2, seed=1)

# ---- what is shipped

def test_the_shipped_model_of_the_grammar_says_french(shipped):
    "The network alone: nothing conditions its token marginals."
    how = dict(steps=12, seed=1, batch_size=16, guide=CFG(marginals=False))
    texts = shipped.sample(16, FRENCH, **how)
    assert sum('French' in t for t in texts) >= 10
    how['guide'] = CFG(0., marginals=False)
    assert sum('French' in t for t in shipped.sample(16, FRENCH, **how)) <= 6

def test_the_model_that_is_changed_can_be_named(tmp_path, capsys):
    for name in ('grammar', 'grammar-4'):
        try: commands.train('grammar-given', out=str(tmp_path / name), steps=1, batch_size=4,
                            device='cpu', lm=name)
        except BadInput as e: assert name == 'grammar-4' and 'recipe distilled' in str(e)
    assert DiffusionLM.from_pretrained(tmp_path / 'grammar').base == 'grammar'
    assert not (tmp_path / 'grammar-4/model.safetensors').exists()
    with pytest.raises(BadInput, match='--lm'):
        commands.train('grammar-ar', out=str(tmp_path / 'ar'), lm='grammar')

def test_the_shipped_model_of_e2e_reads_tags():
    lm, tags = DiffusionLM.from_pretrained('e2e-given').eval(), 'PROPN VERB ADJ NOUN PUNCT'
    control, judge = PartsOfSpeech(tags), make_judge()
    def right(γ): # share of right tags, the network alone
        texts = lm.sample(8, control, steps=12, seed=2, batch_size=8,
                          guide=CFG(γ, marginals=False))
        return sum(control.score(t.split(), judge) for t in texts) / 8
    assert right(1.) > .95 and right(0.) < .7

@pytest.mark.parametrize('part', ['cfg-grammar', 'cfg-e2e'])
def test_rows_are_whole_and_their_choice_is_the_rule(part):
    rows = [r for r in result_rows('further') if r['part'] == part]
    by_task = {}
    for r in rows: by_task.setdefault(r['task'], {}).setdefault(r['method'], r)
    assert len(by_task) == 4
    for found in by_task.values():
        assert {*found} == {'ours', 'ours, same network', 'reads', 'reads, and ours'}
        assert found['ours, same network']['difference'] == 0
    chosen = [r for r in result_rows('further') if r['part'] == part.replace('cfg', 'cfg-choose')]
    for way in ('reads', 'reads, and ours'):
        own = [r for r in chosen if r['method'] == way]
        best = max(r['success'] for r in own)
        fit = [r for r in own if r['success'] >= best - (.02 if part == 'cfg-e2e' else 0)]
        wanted = min(fit, key=lambda r: r.get('lm_score', 0))
        assert [r['dial'] for r in own if r['chosen']] == [wanted['dial']]
        for found in by_task.values():
            assert wanted['dial'] in [r['dial'] for r in rows if r['method'] == way]

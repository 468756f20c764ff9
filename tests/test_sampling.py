"Same seed, same text; a text does not feel its batch; controls do what they say."
import json, math
from types import SimpleNamespace
import pytest, torch
from diffusion_lm_nb import DiffusionLM, Infill, Length, SemanticContent
from diffusion_lm_nb.data import SPECIALS
from diffusion_lm_nb.files import BadInput
from diffusion_lm_nb.forward import make_schedule
from diffusion_lm_nb.likelihood import LENGTH_SHARE, cost_grid, step_excess
from diffusion_lm_nb.solvers import DDIM, SOLVERS, Ancestral, Renoise
from diffusion_lm_nb.sampling import time_grid

@pytest.mark.parametrize('solver', SOLVERS)
def test_same_seed_same_text(lm, solver):
    a, b = (lm.sample(4, steps=6, seed=3, solver=solver) for _ in range(2))
    assert a == b and len(set(a)) > 1
    assert lm.sample(4, steps=6, seed=4, solver=solver) != a

def test_alone_as_together(lm):
    together = lm.sample(32, steps=8, seed=1)
    assert [lm.sample(1, steps=8, seed=1, first=i)[0] for i in range(32)] == together
    assert (
        lm.sample(32, steps=8, seed=1, control=[Length(6 + i % 9) for i in range(32)])[5]
        == lm.sample(1, steps=8, seed=1, first=5, control=Length(11))[0]
    )

def test_wishes_share_a_batch(lm):
    wishes = [SemanticContent('food', f) for f in ('French', 'Indian')] * 4
    together = lm.sample(8, steps=8, seed=1, control=wishes)
    assert [
        lm.sample(1, steps=8, seed=1, first=i, control=c)[0] for i, c in enumerate(wishes)
    ] == together

@pytest.mark.parametrize('kind, rows', [('cpu', {8}), ('cuda', {64})])
def test_batches_are_alike(lm, kind, rows):
    here = SimpleNamespace(length=lm.length, device=torch.device(kind))
    batches = DiffusionLM.buckets(
        here, [lm.request(i, n_words=n) for i, n in enumerate([3, 10, 20, 40] * 20)]
    )
    assert {L for L, *_ in batches} == {16, 32, 48} and {len(b) for *_, b in batches} == rows
    assert sorted(r.index for _, chunk, _ in batches for r in chunk) == [*range(80)] and all(
        len(r.known) <= L for L, _, b in batches for r in b
    )

def test_trajectory_ends_in_the_sample(lm):
    *_, last = lm.trajectory(seed=2, index=3, steps=8)
    assert last.text == lm.sample(1, seed=2, first=3, steps=8)[0] and last.t == 0

@pytest.mark.parametrize('n', [1, 7, 30, 62])
def test_length_is_exact(lm, n):
    assert all(len(t.split()) == n for t in lm.sample(5, control=Length(n), steps=5))

def test_semantic_is_obeyed(lm):
    c = SemanticContent('food', 'French')
    assert sum(c.check(t.split()) for t in lm.sample(20, control=c, steps=20)) >= 18
    assert sum(c.check(t.split()) for t in lm.sample(20, steps=20)) <= 10

def test_context_word_for_word(lm):
    for t in lm.infill('The Zorblatt is a ___{3} near Burger King , qwertz .', n=5, steps=5):
        w = t.split()
        assert (
            w[:4] == 'The Zorblatt is a'.split() and w[7:] == 'near Burger King , qwertz .'.split()
        )
    assert {
        len(t.split()) - 5 for t in lm.infill('The Eagle is ___ river .', n=20, steps=3)
    } <= set(range(1, 11))

def test_composed(lm):
    for t in lm.sample(5, control=Length(12) & SemanticContent('food', 'French'), steps=20):
        assert len(t.split()) == 12
    for t in lm.infill(
        'The Eagle ___{6} .', n=3, control=SemanticContent('food', 'French'), steps=20
    ):
        assert t.startswith('The Eagle') and len(t.split()) == 9

@pytest.mark.parametrize(
    'control, words',
    [
        (lambda: Length(63), '63 words'),
        (lambda: Length(0), 'from 1'),
        (lambda: SemanticContent('colour', 'red'), 'colour'),
        (lambda: SemanticContent('food', 'Klingon'), 'Klingon'),
        (lambda: Length(8) & Length(9), 'disagree'),
        (lambda: Infill.parse('no gap here'), 'no gap'),
        (lambda: Infill('a ' * 70, 'b'), 'too long'),
        (lambda: Infill.parse('a ___{0} b'), 'at least one'),
    ],
)
def test_what_cannot_be(lm, control, words):
    with pytest.raises(BadInput, match=words):
        lm.sample(1, control=control(), steps=2)

def test_bound_is_finite_and_batch_free(lm):
    texts = ['The Eagle is a cheap pub near the river .'.split(), 'The Eagle is a pub .'.split()]
    both = lm.bound(texts, draws=8)
    assert torch.isfinite(both).all() and (both > 0).all()
    assert lm.nll(texts, draws=8) == pytest.approx(float(both.sum()) / (11 + 7), rel=1e-5)

def test_clamped_estimates_are_words(lm):
    r = lm.request(0, n_words=4)
    distance = lambda x0: torch.cdist(x0, lm.emb.E).min(-1).values.max()
    clamped = [x0 for *_, x0 in lm.sampling_loop([r], 6, steps=5, clamp=True)][:-1]
    free = [x0 for *_, x0 in lm.sampling_loop([lm.request(0, n_words=4)], 6, steps=5)][:-1]
    assert max(map(distance, clamped)) < 1e-2 and max(map(distance, free)) > .1

def test_time_grid(lm):
    assert torch.equal(time_grid(4), torch.tensor([1., .75, .5, .25, 0.]))
    for wrong in (0, torch.tensor([1., .5]), torch.tensor([1., .2, .5, 0.]), torch.tensor([1.])):
        with pytest.raises(BadInput):
            time_grid(wrong)
    assert lm.sample(2, steps=torch.linspace(1, 0, 7)) == lm.sample(2, steps=6)
    assert lm.sample(2, steps=torch.linspace(1, 0, 7) ** .8) != lm.sample(2, steps=6)

def test_lengths_are_a_distribution(lm):
    words = lm.vocab.words
    few = DiffusionLM(words, width=8, layers=1, heads=1, length_counts=[0, 0, 3, 1])
    p = few.length_log_probs().double().exp()
    assert len(p) == few.length - 1 and p.sum() == pytest.approx(1, abs=1e-6)
    assert p[50] == pytest.approx(LENGTH_SHARE / len(p), rel=1e-4)      # longer than any seen
    assert p[2] == pytest.approx(.75, abs=1e-4)
    long = [words[-1:] * 50]
    assert torch.isfinite(few.bound(long, draws=2)).all()
    assert all(len(t.split()) in (2, 3) for t in few.sample(20, steps=1))   # sampling is as it was


@pytest.mark.parametrize('make', [
    lambda: DDIM(-1), lambda: DDIM(math.nan), lambda: DDIM('1'), lambda: Renoise(1.1),
    lambda: Renoise('.3'), lambda: DDIM().cooled(0), lambda: DDIM().cooled(1, below='.8')])
def test_a_dial_out_of_range_is_refused(make):
    with pytest.raises(BadInput, match='is a number'): make()

def test_late_steps_are_cooled_and_no_others():
    lm = DiffusionLM.from_pretrained('grammar')
    settings = dict(n=4, steps=8, n_words=12)
    plain = lm.sample(solver=Ancestral(), **settings)
    assert lm.sample(solver=Ancestral().cooled(.2, below=.9), **settings) != plain
    assert lm.sample(solver=Ancestral().cooled(.2, below=.1), **settings) == plain # last step: .125

def test_a_model_brings_its_dials(tmp_path):
    sizes = dict(dim=4, width=8, layers=1, heads=1, length=8)
    dials = dict(share=.2, temperature=.5, below=.6, steered_share=.9)
    lm = DiffusionLM([*SPECIALS, 'a', 'b'], **sizes, **dials)
    lm.save_pretrained(tmp_path)
    def own(model):
        free, steered = (model.make_solver('renoise', steered) for steered in (False, True))
        return dict(share=free.share, temperature=free.temperature, below=steered.below,
                    steered_share=steered.share)
    assert own(DiffusionLM.from_pretrained(tmp_path)) == dials
    assert lm.make_solver('ancestral').temperature == 1 == lm.make_solver(Renoise(.2)).temperature
    config = json.loads((tmp_path / 'config.json').read_text())
    older = {k: v for k, v in config.items() if k not in dials}
    (tmp_path / 'config.json').write_text(json.dumps(older))
    assert own(DiffusionLM.from_pretrained(tmp_path)) == dict(
        share=.7, temperature=1, below=1, steered_share=.7)

def test_only_controls_that_steer_have_the_steered_share(lm, monkeypatch):
    "And a text does not depend on who else is wanted."
    monkeypatch.setattr(lm, 'steered_share', .1)
    kinds = [None, Length(9), Length(9) & Length(9), SemanticContent('food', 'French')]
    assert [lm.request(0, 0, c).steered for c in kinds] == [False, False, False, True]
    mixed = [(i, c) for i, c in enumerate(kinds * 3)]
    together = lm.sample_many(mixed, steps=6)
    assert [lm.sample_many([one], steps=6)[0] for one in mixed] == together
    free = [(i, c) for i, c in mixed if not lm.request(0, 0, c).steered]
    assert lm.sample_many(free, steps=6, solver=lm.make_solver('renoise')) == lm.sample_many(
        free, steps=6)
    steered = [one for one in mixed if one not in free]
    other = lm.sample_many(steered, steps=6, solver=lm.make_solver('renoise'))
    assert lm.sample_many(steered, steps=6) != other

@pytest.mark.parametrize('dial', [
    dict(share=1.1), dict(share='.3'), dict(temperature=0), dict(temperature=math.nan),
    dict(below=2), dict(below=None), dict(steered_share=-1)])
def test_a_model_refuses_a_dial_out_of_range(dial):
    name, = dial
    with pytest.raises(BadInput, match=f'{name} is a number from'):
        DiffusionLM([*SPECIALS, 'a'], dim=4, width=8, layers=1, heads=1, length=8, **dial)

@pytest.mark.parametrize('steps', [
    'even', [1., .5, 0.], 0, torch.tensor([1., .5, .7, 0.]), torch.tensor([.9, 0.])])
def test_an_unknown_grid_is_refused(steps):
    lm = DiffusionLM.from_pretrained('grammar')
    with pytest.raises(BadInput, match='from 1'): lm.sample(1, steps=steps)

@pytest.mark.parametrize('schedule', ['entropic', 'sqrt', 'cosine'])
def test_steps_of_a_cost_grid_cost_the_same(schedule):
    "For an error that is known: a logistic function of the log SNR γ, D = 16 / (1 + e^(4γ + 4))."
    schedule = make_schedule(schedule)
    errors = 16 * (-4 * schedule.log_snr(torch.linspace(0, 1, 6401).double()) - 4).sigmoid()
    grid = cost_grid(errors, schedule, 30)
    assert grid[0] == 1 and grid[-1] == 0 and (grid.diff() < 0).all()
    excess = step_excess(grid, errors, schedule)[:-3] # the last end where the SNR is greatest
    even = step_excess(torch.linspace(1, 0, 31), errors, schedule)
    assert (excess >= -1e-6).all() and excess.max() < 1.7 * excess.median()
    assert excess.sum() < even[:-1].sum() # after the last step only the rounding remains
    halves = torch.stack([(grid[:-1] + grid[1:]) / 2, grid[1:]], 1).flatten()
    finer = step_excess(torch.cat([grid[:1], halves]), errors, schedule)
    assert finer[:-6].sum() < .6 * excess.sum() # twice as many steps, about half the excess

def test_a_row_without_control_keeps_its_probabilities():
    "Also the small ones; what is below 1e-37 is 0, and −inf as well."
    from diffusion_lm_nb.sampling import token_posterior
    logp = torch.tensor([[[-.01, -5., -20., -60., -86., -95., -690., -torch.inf]]])
    p = token_posterior([None], logp, None, 1.)
    assert torch.equal(p[..., :5], logp[..., :5].exp()) and not p[..., 5:].any()

"Chapter 17e: self-conditioning guidance, own times, classifier-free guidance of a fitted model."
import os
from pathlib import Path
import pytest, torch
from fresh import fresh_script
from diffusion_lm_nb import BadInput, DiffusionLM, Length, Particles, SemanticContent
from diffusion_lm_nb.calibration import GrammarLM
from diffusion_lm_nb.corpora import load_corpus
from diffusion_lm_nb.baselines import StreamWriter
from diffusion_lm_nb.fine_tuning import FT, make_ft
from diffusion_lm_nb.gaps import Infill
from diffusion_lm_nb.grammar import Grammar
from diffusion_lm_nb.loss import Preset
from diffusion_lm_nb.odds import ClassifierFree, extrapolated, OwnTimes, SelfGuidance, with_methods
from diffusion_lm_nb.solvers import Ancestral
from diffusion_lm_nb.training import make_ar

@pytest.fixture(scope='module')
def lm(): return DiffusionLM.from_pretrained('grammar').eval()

@pytest.fixture(scope='module')
def fitted():
    "A fitted model and a base model of the same words, both untrained."
    corpus, shape = load_corpus('grammar')[:300], dict(width=32, layers=1, heads=2, dropout=0.)
    def made(make, **more):
        torch.manual_seed(0)
        return make(Preset('', 'grammar', shape | more, min_count=0), corpus, 0)[0].eval()
    return made(make_ft, task='semantic', length=80), made(make_ar)

FRENCH = SemanticContent('food', 'French')
HOW = dict(steps=6, seed=3, n_words=9, solver='ancestral', batch_size=8)

def test_a_dial_of_zero_is_the_model(lm):
    texts = lm.sample(4, **HOW)
    assert texts == SelfGuidance(0.).on(lm).sample(4, **HOW) == OwnTimes(0.).on(lm).sample(4, **HOW)
    assert texts != SelfGuidance(2.).on(lm).sample(4, **HOW)
    assert texts != OwnTimes(1.).on(lm).sample(4, **HOW)
    assert 'predict' not in vars(lm) and 'times' not in vars(lm)     # the model is as it was

def test_copies_do_not_share_a_run(lm):
    own = OwnTimes(.5)
    one, other = (own.on(lm).times.__self__ for _ in range(2))
    one.times(torch.tensor(1.), torch.zeros(1, 3).bool())
    assert one.now is not None and other.now is None and not hasattr(own, 'now')

def test_marginals_are_extrapolated(lm):
    gen = torch.Generator().manual_seed(0)
    x, t = torch.randn(3, 9, lm.dim, generator=gen), torch.full((3,), .6)
    last = torch.randn(3, 9, lm.dim, generator=gen)
    with torch.no_grad():
        a, b = lm.predict(x, t, None, last)[0].exp(), lm.predict(x, t)[0].exp()
        logp, x̂0 = SelfGuidance(1.).on(lm).predict(x, t, None, last)
        first, _ = SelfGuidance(1.).on(lm).predict(x, t)
    right = a ** 2 / b
    right = right / right.sum(-1, keepdim=True)
    assert torch.allclose(logp.exp(), right, atol=1e-4)
    assert torch.allclose(x̂0, right @ lm.emb.E, atol=1e-3)
    assert torch.allclose(first.exp(), b, atol=1e-6)        # no last estimate, no guidance

def test_as_many_evaluations(lm):
    def count(model, **more):
        seen = []
        hook = lm.net.register_forward_hook(lambda net, args, out: seen.append(len(out)))
        model.sample(1, n_words=9, batch_size=more.pop('rows', 1), **more)
        hook.remove()
        return sum(seen)
    assert count(lm, steps=50) == count(SelfGuidance(1.).on(lm), steps=25) == 51
    assert count(OwnTimes(1.).on(lm), steps=50) == 51
    four = dict(control=FRENCH, particles=Particles(4, keep='drawn'), guide=None, rows=4)
    assert count(lm, steps=12, **four) == 52

def fixed(lm, p): # (length, words): a model that always says this
    def predict(x, t, mask=None, self_cond=None):
        both = p.expand(len(x), -1, -1)
        return both.log(), both @ lm.emb.E
    return with_methods(lm, predict=predict)

def marginals(lm): # of nine words, START and END: one more certain than the other
    p = torch.full((16, len(lm.vocab)), 1e-9)
    for i in range(16): p[i, 8:8 + 1 + i % 5] = 1.
    return p / p.sum(-1, keepdim=True)

def test_latents_have_the_noise_of_their_times(lm):
    "If the estimate never changes, x_t is Gaussian about it, with the level of each position."
    model, level, seen = OwnTimes(.8).on(fixed(lm, marginals(lm))), {}, []
    def times(t, given, own=model.times):
        level[float(t)] = own(t, given)
        return level[float(t)]
    model = with_methods(model, times=times)
    requests = [lm.request(i, 1, None, 9) for i in range(400)]
    for t, x, _, x̂0 in model.sampling_loop(requests, 16, 12, Ancestral()):
        if x̂0 is None: break
        a, σ = lm.schedule.coefs(level[float(t)])
        seen.append(((x - a * x̂0) / σ)[:, 1:10].var().item())
    assert len(seen) == 12 and all(abs(v - 1) < .03 for v in seen), seen

def test_times_follow_the_certainty(lm):
    model, p = OwnTimes(.8).on(fixed(lm, marginals(lm))), marginals(lm)
    rows, given = [], torch.zeros(1, 16).bool()
    given[0, 3] = True
    for t in torch.linspace(1, 0, 6):
        rows.append(model.times(t, given)[0])
        assert (model.times(t, given)[0] == rows[-1]).all() # asked twice, answered alike
        model.steer(p[None].log(), None, torch.zeros(()), [None], None, 1.)
    times = torch.stack(rows)
    assert (times.diff(dim=0) <= 0).all() and (times[-1] == 0).all() and (times[:, 3] == 0).all()
    words = torch.tensor([1 + i % 5 for i in range(16)])
    right = .6 * (1 - .8 / words)
    right[3] = 0
    assert torch.allclose(times[2], right, atol=1e-3)
    assert (model.times(torch.tensor(1.), given)[0, :3] == 1).all()  # a new run begins

def test_times_never_rise_when_certainty_falls(lm):
    run, given = OwnTimes(1.).on(lm).times.__self__, torch.zeros(1, 2).bool()
    run.times(torch.tensor(1.), given)
    run.sure = torch.tensor([[.9, .1]])
    first = run.times(torch.tensor(.8), given)
    run.sure = torch.tensor([[.1, .9]])
    second = run.times(torch.tensor(.7), given)
    assert torch.allclose(first, torch.tensor([[.08, .72]]), atol=1e-6)
    assert torch.allclose(second, torch.tensor([[.08, .07]]), atol=1e-6)

@pytest.mark.parametrize('change', [SelfGuidance(1.), OwnTimes(.8)], ids=str)
def test_same_text_whatever_the_batch_controls_and_gaps(lm, change):
    model = change.on(lm)
    four = model.sample(4, FRENCH, steps=6, seed=3, solver='ancestral')
    assert four[2] == model.sample(1, FRENCH, steps=6, seed=3, first=2, solver='ancestral')[0]
    assert four == model.sample(4, FRENCH, steps=6, seed=3, solver='ancestral', batch_size=3)
    *_, last = model.trajectory(seed=3, index=1, control=FRENCH, steps=6, solver='ancestral')
    assert last.text == four[1]
    text, = model.infill('The Zanzibar is a ___{2} pub .', steps=5)
    words = text.split()
    assert words[:4] == 'The Zanzibar is a'.split() and words[6:] == ['pub', '.']
    assert len(model.sample(1, Length(7), steps=5)[0].split()) == 7

def test_both_together(lm):
    both = OwnTimes(.8).on(SelfGuidance(1.).on(lm))
    assert len({*both.sample(3, **HOW)} | {*lm.sample(3, **HOW)} |
               {*SelfGuidance(1.).on(lm).sample(3, **HOW)}) > 3

def test_the_guided_fitted_model_lies_between_and_beyond(fitted):
    ft, base = fitted
    def written(writer): return writer.write([FRENCH], 3, seed=1)[0]
    assert written(ClassifierFree(ft, base, 1.)) == written(FT(ft))
    assert written(ClassifierFree(ft, base, 0.)) == written(StreamWriter(base))
    with torch.no_grad():
        a, b = FT(ft).stream(FRENCH).logp[0], StreamWriter(base).stream(FRENCH).logp[0]
        logp = ClassifierFree(ft, base, 2.5).stream(FRENCH).logp[0].exp()
    right = (a.exp() ** 2.5 * b.exp() ** -1.5).nan_to_num(0.)
    assert torch.allclose(logp, right / right.sum(), atol=1e-5)

def test_extrapolated_is_a_distribution():
    p, q = (torch.randn(4, 7).log_softmax(-1) for _ in 'ab')
    assert torch.allclose(extrapolated(p, q, 3.).exp().sum(-1), torch.ones(4))
    assert torch.allclose(extrapolated(p, q, -1.), q, atol=1e-5)

def test_bad_input(lm, fitted):
    ft, base = fitted
    def refused(make, match):
        with pytest.raises(BadInput, match=match) as e: make()
        assert '\n' not in str(e.value)
    for make in (lambda: SelfGuidance(-1.), lambda: OwnTimes(-.1), lambda: OwnTimes(1.5),
                 lambda: SelfGuidance(float('nan')), lambda: OwnTimes('early'),
                 lambda: ClassifierFree(ft, base, -1.)):
        refused(make, 'strength|ahead')
    refused(lambda: SelfGuidance().on(GrammarLM(lm, Grammar())), 'no self-conditioning')
    refused(lambda: SelfGuidance().on(base), 'no self-conditioning')
    refused(lambda: OwnTimes().on(DiffusionLM.from_pretrained('grammar-masked')), 'latents')
    paper = DiffusionLM.class_of(dict(recipe='paper'))(lm.vocab.words, width=32, layers=1, heads=2)
    refused(lambda: OwnTimes().on(paper), 'one time')
    refused(lambda: OwnTimes().on(lm).sample(2, FRENCH, particles=Particles(2)), 'particles')
    other, _ = make_ar(Preset('', 'grammar', dict(width=32, layers=1, heads=2), min_count=50),
                       load_corpus('grammar')[:300], 0)
    refused(lambda: ClassifierFree(ft, other), 'different words')
    gap = Infill.parse('The Eagle is ___{2} pub .')
    refused(lambda: ClassifierFree(ft, base).stream(gap), 'gap')

def test_the_script_refuses_in_one_line():
    script = Path(__file__).parents[1] / 'scripts/odds.py'
    code, _, err = fresh_script(script, ['nothing'], script.parent, os.environ, 60)
    assert code == 2 and err.count('\n') == 1, err
    assert 'grammar, e2e, ft' in err

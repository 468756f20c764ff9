"Chapter 17c: masked and uniform diffusion, against sums over all words."
import itertools, json, math, os
import pytest, torch
from fresh import fresh
from diffusion_lm_nb import BadInput, DiffusionLM, Length, Particles, SemanticContent
from diffusion_lm_nb.calibration import ConditionedGrammar, GrammarLM
from diffusion_lm_nb.classifiers import NoisyClassifier
from diffusion_lm_nb.discrete import (
    AbsorbingNoise, DISCRETE_PRESETS, DiscreteLM, draw, InOrder, PerfectDiscreteLM, UniformNoise)
from diffusion_lm_nb.gaps import Infill
from diffusion_lm_nb.grammar import Grammar
from diffusion_lm_nb.guidance import DenoiserGuidance
from diffusion_lm_nb.loss import keyed_generator
from diffusion_lm_nb.syntax import practice_marginals
from diffusion_lm_nb.training import fit, make_diffusion

KINDS = 'masked', 'uniform'
each = pytest.mark.parametrize('kind', KINDS)

@pytest.fixture(scope='module')
def made():
    "Small models, trained for a moment."
    from dataclasses import replace
    from diffusion_lm_nb.corpora import load_corpus
    out = {}
    for kind in KINDS:
        p = DISCRETE_PRESETS[f'grammar-{kind}']
        p = replace(p, model=p.model | dict(width=64, layers=2), steps=40, batch_size=32)
        torch.manual_seed(0)
        out[kind], batches = make_diffusion(p, load_corpus('grammar')[:1000], 0)
        fit(out[kind], batches, p, device='cpu', quiet=True)
    return out

def q(kind, x, w, t, V=5): # q(x_t = x | w), by the definition; MASK is V
    if kind == 'masked': return (1 - t) * (x == w) + t * (x == V)
    return (1 - t) * (x == w) + t / V

def outcomes(kind, V=5): return range(V + 1) if kind == 'masked' else range(V)

def between(kind, x, k, t, s): # q(x_t = x | x_s = k)
    a = (1 - t) / (1 - s)
    if kind == 'masked': return 1. * (x == k) if k == 5 else a * (x == k) + (1 - a) * (x == 5)
    return a * (x == k) + (1 - a) / 5

def noise_of(kind, V=5): return (AbsorbingNoise if kind == 'masked' else UniformNoise)(V)

@each
def test_evidence_is_the_definition(kind):
    for t, x in itertools.product((.1, .5, .9), outcomes(kind)):
        found = noise_of(kind).log_evidence(torch.tensor([[x]]), torch.full((1, 1), t))[0, 0]
        right = torch.tensor([q(kind, x, w, t) for w in range(5)])
        assert torch.allclose(found.softmax(-1), right / right.sum(), atol=1e-6)

@each
def test_a_step_is_bayes_rule(kind):
    p = torch.tensor([.05, .1, .2, .3, .35])
    for (t, s), x in itertools.product(((.9, .6), (.5, .1), (.3, 0.)), outcomes(kind)):
        like = torch.tensor([q(kind, x, w, t) for w in range(5)])
        post = p * like / (p * like).sum()                 # p(w | x_t)
        right = torch.tensor([sum(
            post[w] * between(kind, x, k, t, s) * q(kind, k, w, s) / q(kind, x, w, t)
            for w in range(5) if post[w] > 0) for k in outcomes(kind)])
        times = (torch.full((1, 1), v) for v in (t, s))
        found = noise_of(kind).step(torch.tensor([[x]]), post[None, None], *times)[0, 0]
        assert torch.allclose(found, right, atol=1e-5), (kind, t, s, x)

@each
def test_the_cost_is_the_limit_of_the_kl(kind):
    noise, t, d = noise_of(kind), .6, 1e-4
    p = torch.tensor([.05, .1, .2, .3, .35]).double()[None, None]
    for w, x in itertools.product(range(5), outcomes(kind)):
        if q(kind, x, w, t) == 0: continue
        m = p
        if kind == 'masked' and x < 5: m = torch.eye(5).double()[x][None, None]
        times = torch.full((1, 1), t).double(), torch.full((1, 1), t - d).double()
        known = torch.eye(5).double()[w][None, None]
        a, b = (noise.step(torch.tensor([[x]]), u, *times).double() for u in (known, m))
        kl = (a * (a / b).log()).nan_to_num(0.).sum() / d
        cost = noise.cost(torch.tensor([[x]]), torch.tensor([[w]]), m.log(), times[0])
        assert abs(kl - cost) < .01 + .01 * abs(cost), (kind, w, x, float(kl), float(cost))

def conditional(grammar, w): # log p(w | its length)
    n = len(w)
    c = ConditionedGrammar(grammar, 0, lambda k, leaf: k + 1 if k < n else None, lambda k: k == n)
    return grammar.log_prob(w) - math.log(c.p)

def test_the_perfect_masked_bound_is_the_probability():
    "The integral in closed form: a sum over all sets of masks, with their weights."
    grammar, lm = Grammar(), DiffusionLM.from_pretrained('grammar')
    w = next(e.words for e in grammar.sample(200, seed=5) if len(e.words) == 7)
    perfect, ids = PerfectDiscreteLM(lm, grammar, 'masked'), torch.tensor(lm.vocab.encode(w))
    sets = torch.tensor([s for s in itertools.product((0, 1), repeat=7) if any(s)]).bool()
    x = ids.repeat(len(sets), 1)
    x[:, 1:-1][sets] = len(lm.vocab)
    there = torch.ones_like(x).bool()
    logp, _ = perfect.predict(x, torch.full((len(sets),), .5), there)
    nats = -logp.gather(-1, ids.expand(len(sets), -1)[..., None])[:, 1:-1, 0] * sets
    size = sets.sum(1).double()                            # ∫ t^(m−1) (1−t)^(7−m) dt
    weight = (size.lgamma() + (8 - size).lgamma() - math.lgamma(8)).exp()
    assert abs((weight * nats.sum(1)).sum() + conditional(grammar, w)) < 1e-3

@each
def test_the_estimate_of_the_bound(kind):
    grammar, lm = Grammar(), DiffusionLM.from_pretrained('grammar')
    w = next(e.words for e in grammar.sample(200, seed=5) if len(e.words) == 7)
    perfect = PerfectDiscreteLM(lm, grammar, kind)
    nats = perfect.bound([w] * 64, 24) + perfect.length_log_probs()[7]
    assert nats.std() < 3 and abs(nats.mean() + conditional(grammar, w)) < 4 * nats.std() / 8

@each
def test_same_seed_same_text_whatever_the_batch(kind, made):
    lm, control = made[kind], SemanticContent('food', 'French')
    four = lm.sample(4, control, steps=6, seed=3)
    assert four == lm.sample(4, control, steps=6, seed=3, batch_size=3)
    assert four[2] == lm.sample(1, control, steps=6, seed=3, first=2)[0]
    assert four != lm.sample(4, control, steps=6, seed=4)
    *_, last = lm.trajectory(seed=3, index=1, control=control, steps=6)
    assert last.text == four[1]

@each
def test_controls_and_gaps(kind, made):
    lm = made[kind]
    for text in lm.sample(6, Length(9) & SemanticContent('food', 'French'), steps=30):
        assert len(text.split()) == 9 and not {'[PAD]', 'START', 'END'} & {*text.split()}
    texts = [lm.sample(1, SemanticContent('food', 'French'), steps=30, seed=k)[0] for k in range(8)]
    assert sum('French' in t.split() for t in texts) >= 6
    text, = lm.infill('The Zanzibar is a ___{2} pub .', steps=5)
    words = text.split()
    assert words[:4] == 'The Zanzibar is a'.split() and words[6:] == ['pub', '.']
    text, = lm.infill('The Zanzibar is a ___ pub .', steps=5)
    assert text.startswith('The Zanzibar is a ') and 7 <= len(text.split()) <= 16
    kept = lm.sample(2, SemanticContent('food', 'French'), steps=5, particles=Particles(2))
    assert len(kept) == 2

@each
def test_it_is_trained_and_saved(kind, made, tmp_path):
    lm = made[kind]
    text = [lm.vocab.words[6:12]]
    lm.save_pretrained(tmp_path / 'm')
    again = DiffusionLM.from_pretrained(tmp_path / 'm')
    assert type(again) is DiscreteLM and again.recipe == kind
    assert again.nll(text, 8) == lm.nll(text, 8)
    assert again.nll(text, 8) < math.log(len(lm.vocab)) + 3

@each
def test_the_law_of_the_training_noise(kind, made):
    "Half of the tokens are replaced at t = .5, by MASK or by any word equally often."
    lm = made[kind]
    V, ids = len(lm.vocab), torch.full((200, 60), 7)
    t = torch.full((200, 60), .5)
    x = lm.corrupt(ids, t, lm.forward_noise(200, 60, keyed_generator(3)))
    new = x[x != 7]
    assert abs(len(new) / x.numel() - .5) < .02
    if kind == 'masked': assert (new == V).all()
    else: assert new.max() < V and abs(new.float().mean() / V - .5) < .02

@each
def test_shards_add_up(kind, made):
    lm = made[kind].eval()
    ids = torch.randint(4, len(lm.vocab), (6, 8), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids).bool()
    whole = lm.loss(ids, mask, keyed_generator(1), twice=True)[0]
    parts = [lm.loss(ids, mask, keyed_generator(1), (r, 2), twice=True)[0] for r in (0, 1)]
    assert abs(whole - sum(parts) / 2) < 1e-5

def test_rare_outcomes_are_drawn():
    p = torch.full((100_000,), 1e-6).index_fill(0, torch.tensor([0]), .9)
    u = torch.tensor([.95, .999999, 0.])
    a, b, c = draw(p.expand(3, -1), u).tolist()
    assert a != b and c == 0
    assert abs(a - 50_000) < 200                           # half of the tail lies before .95
    assert draw(torch.tensor([0., 1., 0.]).expand(3, 3), torch.tensor([0., .5, .9999999])
                ).tolist() == [1, 1, 1]

@pytest.mark.parametrize('certain', [True, False])
def test_a_word_a_step(certain, made):
    lm, MASK = made['masked'], len(made['masked'].vocab)
    for steps, n in ((9, 9), (3, 9), (20, 9)):
        run = lm.trajectory(seed=1, steps=steps, n_words=n, solver=InOrder(certain))
        left = [int((s.x == MASK).sum()) for s in run]
        assert left == [math.floor(n * (1 - k / steps) + 1e-3) for k in range(steps + 1)]

def test_the_most_certain_word_comes_first():
    p = torch.tensor([[[.9, .1], [.6, .4], [.99, .01]]])
    x, u = torch.full((1, 3), 2), torch.zeros(1, 3)
    v = torch.tensor([[.2, .9, .1]])
    assert InOrder().decide(x, p, torch.tensor([2]), u, v).tolist() == [[2, 2, 0]]
    assert InOrder(False).decide(x, p, torch.tensor([2]), u, v).tolist() == [[2, 0, 2]]
    x[0, 2] = 1                                             # a word stays
    assert InOrder().decide(x, p, torch.tensor([1]), u, v).tolist() == [[0, 2, 1]]

def test_a_word_a_step_is_exact_with_the_perfect_network():
    grammar, lm = Grammar(), DiffusionLM.from_pretrained('grammar')
    perfect = PerfectDiscreteLM(lm, grammar, 'masked')
    def derived(solver):
        texts = perfect.sample(24, steps=8, n_words=8, solver=solver, batch_size=24)
        return sum(grammar.log_prob(t.split()) > -1e9 for t in texts)
    assert derived(InOrder(False)) == 24 > derived('ancestral')

@each
def test_the_size_of_an_open_gap(kind):
    "Perfect denoisers agree about the number of words, whatever the noise."
    grammar, lm = Grammar(), DiffusionLM.from_pretrained('grammar')
    gap = Infill.parse('The Eagle is ___ pub .')
    found, gaussian = (m.gap_size_probs(gap, [1], 0, draws=48)
                       for m in (PerfectDiscreteLM(lm, grammar, kind), GrammarLM(lm, grammar)))
    assert gaussian.argmax() == 1 and (found - gaussian).abs().max() < .15
    assert found[4:].sum() < .01

def test_classifiers_of_such_a_model(made):
    lm = made['masked']
    ids = torch.tensor([lm.vocab.encode(['The', 'Eagle', 'is', 'a', 'pub', '.'])] * 8)
    p = practice_marginals(lm, ids, torch.ones_like(ids).bool(), keyed_generator(1))
    assert p.shape == (8, 8, len(lm.vocab)) and torch.allclose(p.sum(-1), torch.ones(8, 8), atol=1e-4)
    with pytest.raises(BadInput, match='whose x_t are tokens'):
        NoisyClassifier.for_model(lm, ['French'])

def test_bad_input(made):
    lm = made['masked']
    with pytest.raises(BadInput, match='uniform diffusion'):
        made['uniform'].sample(1, solver=InOrder())
    with pytest.raises(BadInput, match='moves latents'):
        lm.sample(1, SemanticContent('food', 'French'), guide=DenoiserGuidance())
    for solver in ('ddim', 'dpmpp2m', 'nothing'):
        with pytest.raises(BadInput, match='solver'): lm.sample(1, solver=solver)
    with pytest.raises(BadInput, match='masked or uniform'):
        DiscreteLM(['PAD', 'START', 'END', 'UNK', 'a'], recipe='tokens')
    with pytest.raises(BadInput, match='length beforehand'):
        DiscreteLM(['PAD', 'START', 'END', 'UNK', 'a'], mask_pads=False)

def test_the_commands_know_them(tmp_path):
    def run(name, *args):
        env = os.environ | dict(OMP_NUM_THREADS='1')
        return fresh('diffusion_lm_nb.commands', name, args, tmp_path, env, timeout=120)
    args = ['grammar-uniform', '--out', 'm', '--steps', '2', '--batch-size', '4', '--device', 'cpu']
    code, _, err = run('dlm_train', *args)
    assert code == 0, err
    assert json.loads((tmp_path / 'm/config.json').read_text())['recipe'] == 'uniform'
    code, out, err = run('dlm_sample', '--model', 'm', '--n', '2', '--steps', '3')
    assert code == 0 and len(out.splitlines()) == 2, err
    code, _, err = run('dlm_sample', '--model', 'm', '--n', '1', '--steps', '3', '--solver', 'ddim')
    assert code == 2 and 'ancestral' in err

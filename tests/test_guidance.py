"Conditioning is Bayes' rule; guidance moves what it may and nothing else; controls that contradict each other say so."
import itertools, math
from dataclasses import replace
import pytest, torch
from fastcore.test import test_close as close
from diffusion_lm_nb import Length, PartsOfSpeech
from diffusion_lm_nb.files import BadInput
from diffusion_lm_nb.data import SPECIALS
from diffusion_lm_nb.denoiser import DiffusionLM, PaperDiffusionLM
from diffusion_lm_nb.guidance import ClassifierGuidance, Conjunction, Control, DenoiserGuidance
from diffusion_lm_nb.guidance import condition, phrase_log_prob
from diffusion_lm_nb.particles import Particles, resampled
from diffusion_lm_nb.classifiers import JointClassifier, NoisyClassifier
from diffusion_lm_nb.solvers import DDIM, SOLVERS, make_solver
from diffusion_lm_nb.loss import keyed_generator
from diffusion_lm_nb.training import fit
from diffusion_lm_nb.commands import PRESETS

WORDS = SPECIALS + 'The Eagle is a cheap pub near the river .'.split()
LABELS = [('food', 'French'), 'cheap', 'pub']
SIZES = dict(length=16, width=32, layers=1, length_counts=[0] * 6 + [1] * 9)

@pytest.fixture(scope='module')
def lm():
    torch.manual_seed(0)
    model = DiffusionLM(WORDS, **SIZES).eval()
    torch.nn.init.normal_(model.head.weight, std=.5)             # so that the network has a say
    return model

@pytest.fixture(scope='module')
def classifier(lm):
    torch.manual_seed(1)
    return NoisyClassifier.for_model(lm, LABELS, width=32, layers=1).eval()

class Says(Control):
    "The text contains a word; what a test wants it to know beforehand."
    def __init__(self, key='cheap', n=None, given=None, least=1):
        self.label_key, self.n, self.given, self.min_words = key, n, given or {}, least
    def plan(self, lm, gen, n_words=None): return self.n, self.given
    def log_prob(self, logp, mask): return phrase_log_prob(logp, [[[self.vocab.ids[self.label_key]]]])
    def check(self, words): return self.label_key in words
    def __repr__(self): return f'Says({self.label_key!r})'

def complaint(f, *args, **kwargs):
    with pytest.raises(BadInput) as e: f(*args, **kwargs)
    assert len(str(e.value).splitlines()) == 1
    return str(e.value)

# --- condition

def random_event(gen, positions, vocab):
    "A random decision tree over positions: log P of token marginals, and does a text satisfy it?"
    def grow(left):
        if not left or torch.rand(1, generator=gen) < 0.2:
            return bool(torch.rand(1, generator=gen) < 0.5)
        i = left[int(torch.randint(len(left), (1,), generator=gen))]
        rest = [j for j in left if j != i]
        branch = lambda: grow(rest) if torch.rand(1, generator=gen) < 0.7 else False
        return i, [branch() for _ in range(vocab)]
    tree = grow(list(range(positions)))
    def prob(p, node): # (batch, positions, vocab)
        if isinstance(node, bool): return p.new_ones(len(p)) * node
        return sum(p[:, node[0], w] * prob(p, child) for w, child in enumerate(node[1]))
    def satisfies(text, node=tree):
        return node if isinstance(node, bool) else satisfies(text, node[1][text[node[0]]])
    return lambda l: (prob(l.exp(), tree) + 0 * l.exp().sum((1, 2))).log(), satisfies

def random_marginals(gen, batch, positions, vocab): # some words cannot stand
    logp = 3 * torch.randn(batch, positions, vocab, generator=gen).double()
    logp[torch.rand(logp.shape, generator=gen) < .2] = -math.inf
    logp[..., 0] = logp[..., 0].clamp(min=-3)
    return logp.log_softmax(-1)

def bayes(logp, satisfies): # (positions, vocab) -> P, q by enumeration
    positions, vocab = logp.shape
    q, total = torch.zeros(positions, vocab).double(), 0.
    for text in filter(satisfies, itertools.product(range(vocab), repeat=positions)):
        p = logp[range(positions), list(text)].sum().exp()
        total += p
        for i, w in enumerate(text): q[i, w] += p
    return total, q / total if total > 0 else None

@pytest.mark.parametrize('seed', range(25))
def test_condition_is_bayes_rule(seed):
    gen = keyed_generator(8, seed)
    positions, vocab = (int(torch.randint(lo, hi, (1,), generator=gen)) for lo, hi in ((1, 5), (2, 5)))
    logp = random_marginals(gen, 3, positions, vocab)
    log_prob, satisfies = random_event(gen, positions, vocab)
    q = condition(log_prob, logp)
    assert torch.isfinite(q).all() and (q >= 0).all()
    assert torch.allclose(q.sum(-1), torch.ones_like(q[..., 0]))
    assert (q[logp == -math.inf] == 0).all()
    assert torch.allclose(condition(log_prob, logp, 0.0), logp.exp(), atol=1e-12)
    for row in range(3):
        P, truth = bayes(logp[row], satisfies)
        expected = logp[row].exp() if truth is None else truth
        assert torch.allclose(q[row], expected, atol=1e-9), 'impossible: unchanged; else Bayes'
        assert torch.equal(q[row:row + 1], condition(log_prob, logp[row:row + 1]))
        if truth is not None:
            kl = torch.where(q[row] > 0, q[row] * (q[row].clamp(min=1e-300).log() - logp[row]), 0.)
            assert kl.nan_to_num().sum() <= -P.log() + 1e-9, 'moved further than the constraint costs'

def test_an_expected_count_is_no_event():
    "It is a sum of products, too; conditioning on it is not Bayes' rule for the word's occurrence."
    logp = torch.tensor([.5, .5]).log().expand(1, 3, 2)
    q = condition(lambda l: l[..., 0].logsumexp(1), logp)
    exact = condition(lambda l: phrase_log_prob(l, [[[0]]]), logp)
    close(exact[0, :, 0], torch.full((3,), .5 / .875), eps=1e-5)
    close(q[0, :, 0], torch.full((3,), 1 / 3 + 2 / 3 * .5), eps=1e-5)
    assert (q - exact).abs().max() > .05

def test_impossible_constraints_change_nothing():
    in_logs = lambda l: l[..., 2].logsumexp(1)     # log P is finite: words that cannot stand are −1e4
    for positions in (1, 4):
        logp = random_marginals(keyed_generator(4), 3, positions, 4)
        logp[..., 2] = -math.inf
        logp = logp.log_softmax(-1)
        assert torch.allclose(condition(in_logs, logp), logp.exp())
        assert torch.allclose(condition(lambda l: phrase_log_prob(l, [[[2]]]), logp), logp.exp())
    tiny = torch.tensor([[[0.0, -60.0], [0.0, -60.0]]])     # P is 0 to a float, its slope infinite
    assert torch.equal(condition(lambda l: (1 - (1 - l[..., 1].exp()).prod(-1)).log(), tiny), tiny.exp())

def test_more_strength_more_control():
    logp = random_marginals(keyed_generator(1), 50, 4, 4)
    said = lambda l: (1 - (1 - l[..., 1].exp()).prod(-1)).clamp(min=1e-12).log()
    P = [said(condition(said, logp, s).log()).mean() for s in (0., .5, 1., 2.)]
    assert P == sorted(P) and P[0] < P[2] - .1

# --- a phrase somewhere

PHRASES = [[[0, 1]], [[0, 0]], [[0, 1, 0]], [[0, 0, 1]], [[0, 1], [1]], [[0, 0], [0, 1, 2]], [[2], [2, 1]],
           [[1, 0], [0, 1]], [[0, 1, 0, 1]]]

@pytest.mark.parametrize('phrases', PHRASES, ids=str)
def test_phrase_by_enumeration(phrases):
    logp = random_marginals(keyed_generator(5), 2, 4, 3)
    contains = lambda text: any(
        list(text[i:i + len(p)]) == p for p in phrases for i in range(len(text)))
    log_prob = lambda l: phrase_log_prob(l, [phrases])
    for row in range(2):
        P, q = bayes(logp[row], contains)
        if q is None: continue
        close(log_prob(logp.clamp(min=-1e4))[row].exp(), P, eps=1e-6)
        close(condition(log_prob, logp)[row], q, eps=1e-6)
        bound = sum(
            logp[row, i:i + len(p)].gather(1, torch.tensor(p)[:, None]).sum().exp()
            for p in phrases for i in range(4 - len(p) + 1))
        assert P <= bound + 1e-9, 'the union bound is an upper bound'

def test_rows_have_their_own_phrases():
    logp = random_marginals(keyed_generator(6), 3, 4, 3).clamp(min=-1e4)
    rows = [[[0, 1]], [[1, 1]], [[2, 0]]]
    together = phrase_log_prob(logp, rows)
    for i, phrases in enumerate(rows): close(together[i], phrase_log_prob(logp[i:i + 1], [phrases])[0])

def test_very_unlikely_phrases_are_finite():
    logp = torch.tensor([0., -60., -60.]).log_softmax(-1).expand(1, 6, 3)
    close(phrase_log_prob(logp, [[[1, 2, 1]]]), torch.tensor([-180 + math.log(4)]), eps=1e-3)
    q = condition(lambda l: phrase_log_prob(l, [[[1, 2, 1]]]), logp)
    assert torch.isfinite(q).all() and q[0, 2, 1] > .4

# --- the paper's guidance

def latents(lm, rows=5, seed=0):
    gen = torch.Generator().manual_seed(seed)
    mask = torch.arange(16) < torch.randint(4, 17, (rows, 1), generator=gen)
    x = torch.randn(rows, 16, lm.dim, generator=gen)
    var = torch.full((rows, 16, 1), .05)
    var[:, 2] = 0.                                                        # a given word
    return x, x + .1 * torch.randn(x.shape, generator=gen), var, torch.tensor(.4), mask

@pytest.mark.parametrize('fresh', [True, False])
def test_refine_moves_open_positions_of_guided_rows(lm, classifier, fresh):
    guide = ClassifierGuidance(classifier, fresh=fresh)
    x, mean, var, t, mask = latents(lm)
    controls = [None if i == 1 else Says() for i in range(5)]
    moved = (guide.refine(x, mean, var, t, mask, controls) != x).any(-1)
    position = torch.arange(16)
    may = mask & (position > 0) & (position < mask.sum(1, keepdim=True) - 1) & (var[..., 0] > 0)
    may[1] = False
    assert torch.equal(moved, may)

def test_what_the_classifier_does_not_know_is_left_to_marginals(lm, classifier):
    guide, known, other = ClassifierGuidance(classifier), Says(), Says('river')
    assert guide.known_parts(known & other) == [known] and guide.rest(known & other) is other
    assert guide.rest(known) is None and guide.known_parts(None) == []
    x, mean, var, t, mask = latents(lm)
    assert torch.equal(guide.refine(x, mean, var, t, mask, [other] * 5), x)
    both = guide.refine(x, mean, var, t, mask, [known & other] * 5)
    assert torch.equal(both, guide.refine(x, mean, var, t, mask, [known] * 5))

@pytest.mark.parametrize('fresh', [True, False])
def test_refine_does_not_depend_on_the_batch(lm, classifier, fresh):
    guide = ClassifierGuidance(classifier, fresh=fresh)
    x, mean, var, t, mask = latents(lm)
    y, mean2, _, _, mask2 = latents(lm, seed=1)
    for a, b in ((y, x), (mean2, mean), (mask2, mask)): a[0] = b[0]   # row 0 again, among others
    c = Says()
    one = guide.refine(x, mean, var, t, mask, [c] * 5)
    two = guide.refine(y, mean2, var, t, mask2, [c, None, c & Says('pub'), c, None])
    assert torch.equal(one[0], two[0]) and not torch.equal(one[1], two[1])

def test_refine_climbs_the_objective(lm, classifier):
    guide = ClassifierGuidance(classifier, fluency=0.01, lr=0.002, inner=1)
    x, mean, var, t, mask = latents(lm)
    var, controls = torch.full_like(var, 0.05), [Says()] * 5
    value = lambda z: guide.objective(z, mean, var, t.expand(5), mask, [[c] for c in controls])
    assert (value(guide.refine(x, mean, var, t, mask, controls)) > value(x)).all()
    fluent = ClassifierGuidance(classifier, fluency=100.0, lr=0.01)
    near = lambda z: ((z - mean) ** 2).sum((1, 2))
    assert (near(fluent.refine(x, mean, var, t, mask, controls)) < near(x)).all(), 'not pulled to the mean'
    for stop, moves in ((0.5, False), (0.3, True)):
        guide = ClassifierGuidance(classifier, stop=stop)
        assert (guide.refine(x, mean, var, t, mask, controls) != x).any() == moves

class Spy: # a guide that moves nothing, and writes down what the sampler passes on
    def bind(self, lm): self.seen = []
    def rest(self, control): return control
    def refine(self, x, mean, var, t, mask, controls):
        self.seen.append((x, mean, var))
        return x

@pytest.mark.parametrize('name', SOLVERS)
def test_the_guide_gets_the_moments_of_the_step_that_is_drawn(lm, name):
    own = []
    class Watched(type(make_solver(name))):
        def moments(self, *args):
            own.append(super().moments(*args))
            return own[-1]
    solver, spy = make_solver(name), Spy()
    solver.__class__ = Watched
    lm.sample(1, steps=6, solver=solver, guide=spy, n_words=6, batch_size=1)
    assert len(spy.seen) == len(own) == 6
    gen = keyed_generator(0, 0)
    for (x, mean, var), (m, v) in zip(spy.seen, own):
        assert torch.equal(mean, m) and torch.equal(var, v)
        if (v > 0).any():                                                 # x is a draw of that step
            z = ((x - m) / v.sqrt())[0, :8]
            assert z.abs().max() < 5 and .6 < z.std() < 1.4
    if name == 'renoise':
        other = []
        class Ancestral(type(make_solver('ancestral'))):
            def moments(self, *args):
                other.append(super().moments(*args))
                return other[-1]
        lm.sample(1, steps=6, solver=Ancestral(), guide=Spy(), n_words=6, batch_size=1)
        assert max((v / w[1]).max() for (_, _, v), w in zip(spy.seen, other)) > 1.5

def test_several_labels_add_up(lm, classifier):
    x, _, _, t, mask = latents(lm)
    log_p = lambda *keys: classifier.log_prob(x, t.expand(5), mask, [[Says(k) for k in keys]] * 5)
    a, b = log_p(('food', 'French')), log_p('pub')
    assert torch.allclose(log_p(('food', 'French'), 'pub'), a + b) and not torch.allclose(a, b)
    assert (log_p() == 0).all()
    mixed = classifier.log_prob(x, t.expand(5), mask, [[Says('pub')], [], [], [], [Says('pub')]])
    assert torch.equal(mixed[[0, 4]], b[[0, 4]]) and (mixed[1:4] == 0).all()

def test_a_joint_classifier_adds_up(lm, classifier):
    torch.manual_seed(2)
    second = NoisyClassifier.for_model(lm, ['river'], width=32, layers=1).eval()
    joint = JointClassifier([classifier, second])
    x, _, _, t, mask = latents(lm)
    pub, river = [[Says('pub')]] * 5, [[Says('river')]] * 5
    both = joint.log_prob(x, t.expand(5), mask, [[Says('pub'), Says('river')]] * 5)
    parts = classifier.log_prob(x, t.expand(5), mask, pub) + second.log_prob(x, t.expand(5), mask, river)
    assert torch.allclose(both, parts)
    assert joint.knows(Says('river')) and not joint.knows(Says('near')) and joint.E is classifier.E

def test_pads_are_not_read(lm, classifier):
    x, _, _, t, mask = latents(lm)
    y = torch.where(mask[..., None], x, 9.0)
    one, two = (classifier.logits(z, t.expand(5), mask) for z in (x, y))
    assert torch.equal(one, two)

@pytest.mark.parametrize('kind', ['classifier', 'denoiser'])
def test_alone_as_together(lm, classifier, kind):
    guide = ClassifierGuidance(classifier) if kind == 'classifier' else DenoiserGuidance()
    c = Says()
    controls = [c if i % 2 else None for i in range(5)]
    together = lm.sample(5, controls, steps=4, seed=1, guide=guide)
    alone = [lm.sample(1, c, steps=4, seed=1, first=i, guide=guide)[0] for i, c in enumerate(controls)]
    assert alone == together and together != lm.sample(5, steps=4, seed=1)

# --- the gradient through the denoiser

@pytest.mark.parametrize('kind', [DiffusionLM, PaperDiffusionLM])
def test_denoiser_guidance_by_finite_difference(lm, kind):
    torch.manual_seed(3)
    model = kind(WORDS, **SIZES | (dict(heads=4) if kind is PaperDiffusionLM else {})).eval()
    guide, c = DenoiserGuidance(most=1e9), Says().bind(model)
    guide.bind(model)
    x, _, _, t, mask = latents(model)
    if not model.mask_pads: mask = None
    t, wanted = t.expand(5), [[c], [], [c], [c], [c]]
    move = guide.move(x, t, mask, wanted)
    a, σ = model.schedule.coefs(t)
    assert (move[1] == 0).all() and (move[0] != 0).any()
    gen = keyed_generator(9)
    with torch.no_grad():
        for d in (move, move + move.std() * torch.randn(x.shape, generator=gen)):
            d = d / d.norm()
            up, down = (guide.log_prob(x + e * d, t, mask, wanted).sum() for e in (.02, -.02))
            slope = (a / σ ** 2 * move * d).sum()
            close(slope, (up - down) / .04, eps=.03 * (a / σ ** 2 * move).norm().item())
    assert (a / σ ** 2 * move).norm() > .05, 'nothing to check'

def test_denoiser_guidance_goes_through_the_network(lm):
    "Other positions are told, too; with token marginals alone they are not."
    guide, c = DenoiserGuidance(most=1e9), Says().bind(lm)
    guide.bind(lm)
    x, _, _, t, mask = latents(lm)
    with torch.enable_grad():
        y = x.clone().requires_grad_()
        there = guide.token_marginals(y, t.expand(5), mask)[:, 3, lm.vocab.ids['pub']]
        g, = torch.autograd.grad(there.sum(), y)
    assert (g[mask.sum(1) > 5][:, 1].abs().amax(-1) > 0).all()
    logp = guide.token_marginals(x, t.expand(5), mask)
    v = lm.vocab
    assert torch.isfinite(logp).all() and (logp[:, 0].argmax(-1) == v.start).all()
    last = logp[torch.arange(5), mask.sum(1) - 1]
    assert (last.argmax(-1) == v.end).all() and (logp[~mask].argmax(-1) == v.pad).all()

def test_denoiser_guidance_is_bayes_rule_for_the_step(lm):
    "x_s moves by v·∇, at most so far that x̂_0 moves by `most`; given words and other rows stay."
    guide, c = DenoiserGuidance(most=.05), Says().bind(lm)
    guide.bind(lm)
    x, mean, var, t, mask = latents(lm)
    controls = [c, None, c, c, c]
    times = lm.times(t, var[..., 0] == 0)
    a, σ = lm.schedule.coefs(times)
    out = guide.refine(x, mean, var, t, mask, controls)
    assert torch.equal(out[1], x[1]) and torch.equal(out[:, 2], x[:, 2]) and (out[0] != x[0]).any()
    assert (((out - x).norm(dim=-1) / (var * a / σ ** 2)[..., 0].clamp(min=1e-9)) < .05 + 1e-5).all()
    guide.most = 1e9
    with torch.enable_grad():
        y = x.clone().requires_grad_()
        g, = torch.autograd.grad(guide.log_prob(y, times, mask, [[c], [], [c], [c], [c]]).sum(), y)
    close(guide.refine(x, mean, var, t, mask, controls), x + var * g, eps=1e-4)
    guide.strength = 0.
    assert torch.equal(guide.refine(x, mean, var, t, mask, controls), x)

def test_denoiser_guidance_satisfies(lm):
    c = Says()
    free, guided = (lm.sample(16, control, steps=20, n_words=6, batch_size=16, guide=guide)
                    for control, guide in ((None, None), (c, DenoiserGuidance())))
    said = [sum(c.check(t.split()) for t in texts) for texts in (free, guided)]
    assert said[1] >= 12 > said[0] + 3, said

def test_denoiser_guidance_and_what_is_left(lm):
    c = Says()
    alone, more = DenoiserGuidance(), DenoiserGuidance(marginals=True)
    for control in (c, c & Length(7)):
        assert alone.known_parts(control) == [c] and more.rest(control) is control
    fixed = Counting()                                # it fixes the length, and steers as well
    assert alone.known_parts(fixed) == [fixed] and alone.rest(fixed) is None
    assert alone.rest(c) is None and isinstance(alone.rest(c & Length(7)), Length)
    assert all(len(t.split()) == 7 for t in lm.sample(2, c & Length(7), steps=3, guide=alone))

# --- the classifier

def test_save_and_load(lm, classifier, tmp_path):
    classifier.save_pretrained(tmp_path)
    again = NoisyClassifier.from_pretrained(tmp_path).eval()
    x, _, _, t, mask = latents(lm)
    assert again.labels == LABELS and vars(again.schedule) == vars(lm.schedule)
    assert torch.equal(again.logits(x, t.expand(5), mask), classifier.logits(x, t.expand(5), mask))
    assert again.knows(Says(('food', 'French'))) and not again.knows(Says('bistro'))
    ClassifierGuidance(again).bind(lm)

def test_positions_differ_before_training(lm, classifier): # else all are the largest at once
    x, _, _, t, mask = latents(lm)
    x.requires_grad_()
    value = classifier.log_prob(x, t.expand(5), mask, [[Says()]] * 5).sum()
    slope, = torch.autograd.grad(value, x)
    assert (slope.abs().amax((1, 2)) > 1e-3).all()

def test_it_learns(lm):
    torch.manual_seed(0)
    clf = NoisyClassifier.for_model(lm, ['cheap'], width=32, layers=1, dropout=0.0)
    def batch_at(step):
        gen = keyed_generator(3, step)
        ids = torch.randint(4, len(WORDS), (32, 10), generator=gen)
        ids[:, 0], ids[:, -1] = 0, 1
        y = (ids == lm.vocab.ids['cheap']).any(1, keepdim=True).float()
        return ids, torch.ones_like(ids).bool(), gen, y
    preset = replace(PRESETS['grammar'], steps=80, lr=1e-2, warmup=10, ema=0.95)
    fit(clf, batch_at, preset, device='cpu', quiet=True)
    ids, mask, _, y = batch_at(10_000)
    with torch.no_grad(): odds = clf.eval().logits(lm.emb.E[ids], torch.zeros(32), mask)
    assert ((odds > 0) == y.bool()).float().mean() > 0.9

def test_a_classifier_of_another_model_is_refused(lm, classifier):
    guide = ClassifierGuidance(classifier)
    torch.manual_seed(5)
    longer = DiffusionLM(WORDS + ['more'], length=16, width=32, layers=1)
    for other in (DiffusionLM(WORDS, length=16, width=32, layers=1), longer):
        assert 'another model' in complaint(other.sample, 1, Says(), steps=1, guide=guide)
    later = DiffusionLM(WORDS, length=16, width=32, layers=1, schedule_args=dict(mu=-2.0))
    later.emb.load_state_dict(lm.emb.state_dict())
    assert 'another model' in complaint(later.sample, 1, Says(), steps=1, guide=guide)

# --- several at once

def test_and_is_flat_and_asks_all_parts(lm):
    a, b, c = Says(least=2), Says('near', n=7), Says('pub', least=3)
    both = a & (b & c)
    assert both.parts == [a, b, c] and both.min_words == 3 and not both.fixes_length
    assert (both & Length(9)).fixes_length and (both & Length(9)).parts[0].n == 9
    given = Conjunction(a, Says(given={1: 'pub'}), Says(given={1: 'pub', 2: '.'}))
    assert given.plan(lm, None) == (None, {1: 'pub', 2: '.'})
    assert not both.check(['pub']) and both.check(['cheap', 'near', 'pub'])

def marginals(batch=2, length=5):
    logp = torch.randn(batch, length, len(WORDS), generator=keyed_generator(2)).log_softmax(-1)
    logp[..., 0] = -math.inf
    return logp

def test_and_conditions_in_order(lm):
    a, b = Says().bind(lm), Says('pub').bind(lm)
    logp = marginals()
    q = (a & b).posterior(logp, None)
    assert torch.allclose(q, b.posterior(a.posterior(logp, None).log(), None), atol=1e-6)
    assert (q[..., 0] == 0).all()
    b.order = 1                                                       # now b is asked first
    other = (a & b).posterior(logp, None)
    assert torch.allclose(other, a.posterior(b.posterior(logp, None).log(), None), atol=1e-6)
    assert (q - other).abs().max() > 1e-3

@pytest.mark.parametrize('orders', [(2, 2), (1, 2), (2, 1)])
def test_and_does_not_depend_on_how_it_is_written(lm, orders):
    a, b, c = Says().bind(lm), Says('pub').bind(lm), Says('near').bind(lm)
    a.order, b.order = orders
    assert (a & b).parts == (b & a).parts and repr(a & b) == repr(b & a)
    assert torch.equal((a & b).posterior(marginals(), None), (b & a).posterior(marginals(), None))
    assert len({repr(Conjunction(*p)) for p in itertools.permutations((a, b, c))}) == 1

class Last(Control):
    "The last word is this one: it must be told the length."
    def __init__(self, word): self.word = word
    def plan(self, lm, gen, n_words=None): return None, {n_words - 1: self.word}
    def posterior(self, logp, mask, strength=1.0): return logp.exp()
    def check(self, words): return words[-1] == self.word

def test_the_known_length_is_passed_on(lm):
    for control in (Length(12) & Last('river'), Last('river') & Length(12)):
        assert control.plan(lm, None) == (12, {11: 'river'})
        for text in lm.sample(2, control, steps=3): assert len(text.split()) == 12 and control.check(text.split())
    texts = lm.sample(2, Last('river') & Says(), steps=3, n_words=8)
    assert all(t.split()[7] == 'river' for t in texts)

def test_contradictions_are_said(lm):
    assert 'joins controls' in complaint(lambda: Says() & 'cheap')
    assert 'disagree on the length' in complaint(lm.sample, 1, Says(n=7) & Says(n=8))
    assert 'cannot hold the 9' in complaint(lm.sample, 1, Says(n=7) & Says(least=9))
    clash = Says(given={1: 'pub'}) & Says(given={1: 'river'})
    assert 'different words at position 2' in complaint(lm.sample, 1, clash)

@pytest.mark.parametrize('solver', ['ddim', 'dpmpp2m', DDIM()])
def test_a_guide_refuses_a_solver_without_noise(lm, classifier, solver):
    guide = ClassifierGuidance(classifier)
    for call in (lm.sample, lambda **kw: list(lm.trajectory(**kw))):
        with pytest.raises(BadInput, match='draws none'): call(solver=solver, guide=guide, steps=2)
    lm.sample(1, Says('pub'), solver=DDIM(.5), guide=guide, steps=2)

def test_controls_of_syntax_bring_their_guide():
    from diffusion_lm_nb.guidance import TweedieGuidance
    from diffusion_lm_nb.syntax import SyntaxOnLatents, syntax_classifier
    lm = DiffusionLM.from_pretrained('grammar')
    c = PartsOfSpeech('DET PROPN AUX DET ADJ NOUN ADP DET NOUN PUNCT')
    c.strength = 1.                          # so weak that the move of the estimate is seen
    def write(n=4, **options): return lm.sample(n, c, steps=8, seed=2, **options)
    guide = TweedieGuidance(SyntaxOnLatents(syntax_classifier('grammar-syntax')))
    assert write() == write(guide=guide) != write(guide=None)
    assert write()[3] == write(1, first=3)[0]                  # alone as in the batch
    assert write(guidance=0.) == lm.sample(4, Length(10), steps=8, seed=2)
    guide.stop = 1.1
    assert write(guide=guide) == write(guide=None)

# --- particles

def test_systematic_resampling_is_fair():
    "A draft of weight W takes K·W places, rounded down or up; on average exactly K·W."
    gen = keyed_generator(5)
    for K in (1, 2, 3, 5, 8):
        W = torch.rand(1, K, generator=gen) ** 3
        W /= W.sum()
        u = (torch.arange(4000)[:, None] + .5) / 4000
        rows = resampled(W.log().expand(4000, K), u)
        places = torch.nn.functional.one_hot(rows, K).sum(1).float()
        assert ((places - K * W).abs() < 1 + 1e-4).all()
        close(places.mean(0), K * W[0], eps=2e-3)
    for K, low in ((3, .01), (7, .01), (4, 0.), (16, 0.)): # equal weights: nothing moves
        rows = resampled(torch.zeros(50, K), torch.linspace(low, .99, 50)[:, None])
        assert (rows == torch.arange(K)).all()

class Counting(Says):
    "log P(c) is what a test puts in; it fixes the length, and is to be weighed all the same."
    fixes_length = True
    def log_prob(self, logp, mask): return self.values.expand(len(logp)) + 0 * logp.sum((1, 2))

def begun(lm, control, times, K=4):
    drafts = Particles(K, times)
    requests = drafts.drafts([lm.request(i, 0, control, 6) for i in range(2)], 0)
    known, mask, _ = lm.collate(requests, 8)
    x = torch.arange(len(requests)).float()[:, None, None].expand(-1, 8, lm.dim)
    logp = torch.zeros(len(requests), 8, len(lm.vocab)).log_softmax(-1)
    return drafts.begin(requests), (x, logp, x + 100), (lm.logit_bias(known), mask)

def test_weights_are_ratios_and_stay_within_a_text(lm):
    "A draft that the control prefers takes places of its own text; a second time it is no news."
    c = Counting().bind(lm)
    c.values = torch.tensor([0., 9., 0., 0.] + [0.] * 4)
    run, rows, rest = begun(lm, c, (.8, .5))
    x, logp, x̂0 = run.resample(.8, *rows, *rest)
    taken = x[:, 0, 0].tolist()
    assert taken.count(1) >= 3 and taken[4:] == [4, 5, 6, 7] and torch.equal(x̂0, x + 100)
    c.values = run.last.clone()                             # nothing has changed since
    marked = torch.arange(8.)[:, None, None].expand_as(x)
    assert torch.equal(run.resample(.5, marked, logp, x̂0, *rest)[0], marked)
    c.values = torch.tensor([9., 0., 0., 0.] * 2)           # all its times are over
    assert torch.equal(run.resample(.1, marked, logp, x̂0, *rest)[0], marked)

def test_a_time_that_the_grid_jumps_over_is_not_lost(lm):
    c = Counting().bind(lm)
    c.values = torch.tensor([9., 0., 0., 0.] * 2)
    run, rows, rest = begun(lm, c, (.8, .7, .5))
    assert torch.equal(run.resample(.9, *rows, *rest)[0], rows[0])
    assert not torch.equal(run.resample(.6, *rows, *rest)[0], rows[0]) and run.left == [.5]

@pytest.mark.parametrize('kind', [DiffusionLM, PaperDiffusionLM])
@pytest.mark.parametrize('keep', ['likeliest', 'drawn'])
def test_drafts_alone_as_together(kind, keep):
    torch.manual_seed(3)
    model = kind(WORDS, **SIZES | (dict(heads=4) if kind is PaperDiffusionLM else {})).eval()
    run = dict(steps=4, seed=1, particles=Particles(3, (.9, .5), keep, draws=2))
    controls = [Says(w) for w in ('cheap', 'pub', 'river', 'cheap')]
    together = model.sample(4, controls, **run)
    assert together == [model.sample(1, c, first=i, **run)[0] for i, c in enumerate(controls)]
    assert together == model.sample(4, controls, batch_size=3, **run)

def test_drafts_differ_and_the_best_is_kept(lm):
    "Without resampling the kept draft is one of the drafts, the one of the highest score."
    c = Says()
    particles = Particles(6, (), draws=4)
    chosen, = lm.sample(1, c, steps=6, n_words=6, guidance=0., particles=particles)
    seen = {}
    class Spy(Particles):
        def scores(self, lm, requests, ids):
            seen['scores'] = super().scores(lm, requests, ids)
            seen['texts'] = [' '.join(lm.vocab.decode(row)) for row in ids]
            return seen['scores']
    again, = lm.sample(1, c, steps=6, n_words=6, guidance=0., particles=Spy(6, (), draws=4))
    assert chosen == again == seen['texts'][seen['scores'].argmax()]
    assert len(set(seen['texts'])) > 3 and seen['texts'][0] == lm.sample(
        1, c, steps=6, n_words=6, guidance=0., batch_size=6)[0]

def test_more_drafts_satisfy_more(lm):
    c = Says()
    run = dict(steps=10, n_words=6, guidance=0., batch_size=16)
    counts = [sum(c.check(t.split()) for t in lm.sample(24, c, particles=p, **run))
              for p in (None, Particles(8, (.9, .8, .7, .6), 'drawn'))]
    assert counts[1] >= counts[0] + 6, counts

def test_wrong_particles_are_one_clear_line(lm):
    said = [complaint(Particles, **wrong) for wrong in (
        dict(n=0), dict(n=2.5), dict(times=(1.2,)), dict(keep='best'), dict(weight=-1), dict(draws=0))]
    assert all(any(w in s for w in ('n is', 'time 1', 'keep is', 'weight', 'draws')) for s in said)
    assert 'Particles(4)' in complaint(lm.sample, 1, particles=4)
    assert 'noise' in complaint(lm.sample, 1, solver='dpmpp2m', particles=Particles(2))
    assert len(lm.sample(1, steps=2, solver='dpmpp2m', particles=Particles(2, ()))) == 1

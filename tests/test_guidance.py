"Conditioning is Bayes' rule; the paper's guidance moves what it may and nothing else; controls that contradict each other say so."
import itertools, math
from dataclasses import replace
import pytest, torch, torch.nn.functional as F
from diffusion_lm_nb.files import BadInput
from diffusion_lm_nb.data import SPECIALS, pad_batch
from diffusion_lm_nb.denoiser import DiffusionLM
from diffusion_lm_nb.guidance import (
    All, ByClassifier, Control, ClassifierGuidance, NoisyClassifier, condition,
)
from diffusion_lm_nb.training import fit, keyed_generator
from diffusion_lm_nb.commands import PRESETS

WORDS = SPECIALS + 'The Eagle is a cheap pub near the river .'.split()
LABELS = [('food', 'French'), 'cheap', 'pub']

@pytest.fixture(scope='module')
def lm():
    torch.manual_seed(0)
    return DiffusionLM(WORDS, length=16, width=32, layers=1, length_counts=[0] * 6 + [1] * 9).eval()

@pytest.fixture(scope='module')
def classifier(lm):
    torch.manual_seed(1)
    return NoisyClassifier.for_model(lm, LABELS, width=32, layers=1).eval()

class Wish(Control):
    "What a test wants it to want."
    def __init__(self, key='cheap', n=None, given=None, least=1):
        self.label_key, self.n, self.given, self.min_words = key, n, given or {}, least
    def plan(self, lm, gen): return self.n, self.given
    def log_prob(self, logp, mask):
        return logp[:, :, self.vocab.ids['cheap']].logsumexp(1).clamp(max=0)
    def check(self, words): return self.label_key in words

def complaint(f, *args, **kwargs):
    with pytest.raises(BadInput) as e: f(*args, **kwargs)
    assert len(str(e.value).splitlines()) == 1
    return str(e.value)

# --- condition

def random_wish(
    gen,
    places,
    vocab, # a random decision tree over places -> log P of beliefs, does a text obey?
):
    def grow(left):
        if not left or torch.rand(1, generator=gen) < 0.2:
            return bool(torch.rand(1, generator=gen) < 0.5)
        i = left[int(torch.randint(len(left), (1,), generator=gen))]
        return i, [
            grow([j for j in left if j != i]) if torch.rand(1, generator=gen) < 0.7 else False
            for _ in range(vocab)
        ]

    tree = grow(list(range(places)))

    def prob(p, node): # (batch, places, vocab)
        if isinstance(node, bool):
            return p.new_ones(len(p)) * node
        return sum(p[:, node[0], w] * prob(p, child) for w, child in enumerate(node[1]))

    def obeys(text, node=tree):
        return node if isinstance(node, bool) else obeys(text, node[1][text[node[0]]])

    return lambda l: (prob(l.exp(), tree) + 0 * l.exp().sum((1, 2))).log(), obeys

def random_beliefs(gen, batch, places, vocab): # some words cannot stand, some places are known
    logp = 3 * torch.randn(batch, places, vocab, generator=gen).double()
    logp[torch.rand(logp.shape, generator=gen) < .2] = -math.inf
    logp[..., 0] = logp[..., 0].clamp(min=-3)
    return logp.log_softmax(-1)

def bayes(logp, obeys): # (places, vocab) -> P, q by enumeration
    places, vocab = logp.shape
    q, total = torch.zeros(places, vocab).double(), 0.
    for text in itertools.product(range(vocab), repeat=places):
        if obeys(text) and (p := logp[range(places), list(text)].sum().exp()) > 0:
            total += p
            for i, w in enumerate(text): q[i, w] += p
    return total, q / total if total > 0 else None

@pytest.mark.parametrize('seed', range(25))
def test_condition_is_bayes_rule(seed):
    gen = keyed_generator(8, seed)
    places, vocab = (int(torch.randint(lo, hi, (1,), generator=gen)) for lo, hi in ((1, 5), (2, 5)))
    logp, (log_prob, obeys) = random_beliefs(gen, 3, places, vocab), random_wish(gen, places, vocab)
    q = condition(log_prob, logp)
    assert (
        torch.isfinite(q).all()
        and (q >= 0).all()
        and torch.allclose(q.sum(-1), torch.ones_like(q[..., 0]))
    )
    assert (q[logp == -math.inf] == 0).all()
    assert torch.allclose(condition(log_prob, logp, 0.0), logp.exp(), atol=1e-12)
    for row in range(3):
        P, truth = bayes(logp[row], obeys)
        assert torch.allclose(
            q[row], logp[row].exp() if truth is None else truth, atol=1e-9
        ), 'impossible: unchanged; else Bayes'
        assert torch.equal(
            q[row : row + 1], condition(log_prob, logp[row : row + 1])
        ), 'a row feels another'
        if truth is not None:
            kl = (
                torch.where(q[row] > 0, q[row] * (q[row].clamp(min=1e-300).log() - logp[row]), 0.0)
                .nan_to_num()
                .sum()
            )
            assert kl <= -P.log() + 1e-9, 'moved further than the wish costs'

def test_impossible_wishes_change_nothing():
    in_logs = lambda l: l[..., 2].logsumexp(
        1
    ) # log P is finite to a float: words that cannot stand are at −1e4
    for places in (1, 4):
        logp = random_beliefs(keyed_generator(4), 3, places, 4)
        logp[..., 2] = -math.inf
        logp = logp.log_softmax(-1)
        assert torch.allclose(condition(in_logs, logp), logp.exp())
    tiny = torch.tensor(
        [[[0.0, -60.0], [0.0, -60.0]]]
    ) # so unlikely that P is 0 to a float, and its slope infinite
    assert torch.equal(
        condition(lambda l: (1 - (1 - l[..., 1].exp()).prod(-1)).log(), tiny), tiny.exp()
    )

def test_more_strength_more_obedience():
    logp = random_beliefs(keyed_generator(1), 50, 4, 4)
    said = lambda l: (1 - (1 - l[..., 1].exp()).prod(-1)).clamp(min=1e-12).log()
    P = [said(condition(said, logp, s).log()).mean() for s in (0., .5, 1., 2.)]
    assert P == sorted(P) and P[0] < P[2] - .1

# --- the paper's guidance

def latents(lm, rows=5, seed=0):
    gen = torch.Generator().manual_seed(seed)
    mask = torch.arange(16) < torch.randint(4, 17, (rows, 1), generator=gen)
    x = torch.randn(rows, 16, lm.dim, generator=gen)
    var = torch.full((rows, 16, 1), .05)
    var[:, 2] = 0.                                                        # a given word
    return x, x + .1 * torch.randn(x.shape, generator=gen), var, torch.tensor(.4), mask

@pytest.mark.parametrize('fresh', [True, False])
def test_refine_moves_open_places_of_texts_with_a_wish(lm, classifier, fresh):
    guide = ClassifierGuidance(classifier, fresh=fresh)
    x, mean, var, t, mask = latents(lm)
    controls = [None if i == 1 else ByClassifier(Wish(), guide) for i in range(5)]
    moved = (guide.refine(lm, x, mean, var, t, mask, controls) != x).any(-1)
    place = torch.arange(16)
    may = mask & (place > 0) & (place < mask.sum(1, keepdim=True) - 1) & (var[..., 0] > 0)
    may[1] = False
    assert torch.equal(moved, may)

@pytest.mark.parametrize('fresh', [True, False])
def test_refine_does_not_feel_the_batch(lm, classifier, fresh):
    guide = ClassifierGuidance(classifier, fresh=fresh)
    x, mean, var, t, mask = latents(lm)
    y, mean2, _, _, mask2 = latents(lm, seed=1)
    for a, b in ((y, x), (mean2, mean), (mask2, mask)):
        a[0] = b[0] # the first text again, among others
    wish = ByClassifier(Wish(), guide)
    one = guide.refine(lm, x, mean, var, t, mask, [wish] * 5)
    two = guide.refine(
        lm,
        y,
        mean2,
        var,
        t,
        mask2,
        [wish, None, wish & ByClassifier(Wish('pub'), guide), wish, None],
    )
    assert torch.equal(one[0], two[0]) and not torch.equal(one[1], two[1])

def test_refine_climbs_the_objective(lm, classifier):
    guide = ClassifierGuidance(classifier, fluency=0.01, lr=0.002, inner=1)
    x, mean, var, t, mask = latents(lm)
    var = torch.full_like(var, 0.05)
    wish = ByClassifier(Wish(), guide)
    index = guide.wishes([wish] * 5)
    before, after = (
        guide.objective(z, mean, var, t.expand(5), mask, index)
        for z in (x, guide.refine(lm, x, mean, var, t, mask, [wish] * 5))
    )
    assert (after > before).all()
    fluent = ClassifierGuidance(classifier, fluency=100.0, lr=0.01)
    near = lambda z: ((z - mean) ** 2).sum((1, 2))
    assert (
        near(fluent.refine(lm, x, mean, var, t, mask, [ByClassifier(Wish(), fluent)] * 5)) < near(x)
    ).all(), 'not pulled to the mean'
    for stop, moves in ((0.5, False), (0.3, True)):
        guide = ClassifierGuidance(classifier, stop=stop)
        assert (
            guide.refine(lm, x, mean, var, t, mask, [ByClassifier(Wish(), guide)] * 5) != x
        ).any() == moves

def test_several_labels_add_up(lm, classifier):
    x, _, _, t, mask = latents(lm)
    log_p = lambda index: classifier.log_prob(x, t.expand(5), mask, torch.tensor(index))
    a, b = log_p([0] * 5), log_p([2] * 5)
    assert torch.allclose(log_p([[0, 2]] * 5), a + b)
    assert torch.equal(log_p([[0, -1]] * 5), a) and (log_p([[-1, -1]] * 5) == 0).all()

def test_pads_are_not_read(lm, classifier):
    x, _, _, t, mask = latents(lm)
    y = torch.where(mask[..., None], x, 9.0)
    assert torch.equal(
        classifier.logits(x, t.expand(5), mask), classifier.logits(y, t.expand(5), mask)
    )

def test_alone_as_together(lm, classifier):
    guide = ClassifierGuidance(classifier)
    wish = ByClassifier(Wish(), guide)
    controls = [wish if i % 2 else None for i in range(5)]
    together = lm.sample(5, controls, steps=4, seed=1)
    assert [
        lm.sample(1, c, steps=4, seed=1, first=i)[0] for i, c in enumerate(controls)
    ] == together

# --- the classifier

def test_save_and_load(lm, classifier, tmp_path):
    classifier.save_pretrained(tmp_path)
    again = NoisyClassifier.from_pretrained(tmp_path).eval()
    x, _, _, t, mask = latents(lm)
    assert again.labels == LABELS and vars(again.schedule) == vars(lm.schedule)
    assert torch.equal(again.logits(x, t.expand(5), mask), classifier.logits(x, t.expand(5), mask))
    assert ByClassifier(Wish(('food', 'French')), ClassifierGuidance(again)).bind(lm).label == 0

def test_places_differ_before_training(
    lm,
    classifier, # else all are the surest at once, and nothing is learnt
):
    x, _, _, t, mask = latents(lm)
    (slope,) = torch.autograd.grad(
        classifier.log_prob(x.requires_grad_(), t.expand(5), mask, torch.zeros(5, dtype=int)).sum(),
        x,
    )
    assert (slope.abs().amax((1, 2)) > 1e-3).all()

def test_it_learns(lm):
    torch.manual_seed(0)
    clf = NoisyClassifier.for_model(lm, ['cheap'], width=32, layers=1, dropout=0.0)

    def batch_at(step):
        gen = keyed_generator(3, step)
        ids = torch.randint(4, len(WORDS), (32, 10), generator=gen)
        ids[:, 0], ids[:, -1] = 0, 1
        return (
            ids,
            torch.ones_like(ids).bool(),
            gen,
            (ids == lm.vocab.ids['cheap']).any(1, keepdim=True).float(),
        )

    fit(
        clf,
        batch_at,
        replace(PRESETS['grammar'], steps=80, lr=1e-2, warmup=10, ema=0.95),
        device='cpu',
        quiet=True,
    )
    ids, mask, _, y = batch_at(10_000)
    with torch.no_grad():
        right = (
            ((clf.eval().logits(lm.emb.E[ids], torch.zeros(32), mask) > 0) == y.bool())
            .float()
            .mean()
        )
    assert right > 0.9

def test_a_classifier_of_another_model_is_refused(lm, classifier):
    guide = ClassifierGuidance(classifier)
    torch.manual_seed(5)
    for other in (
        DiffusionLM(WORDS, length=16, width=32, layers=1),
        DiffusionLM(WORDS + ['more'], length=16, width=32, layers=1),
    ):
        assert 'another model' in complaint(other.sample, 1, ByClassifier(Wish(), guide), steps=1)
    later = DiffusionLM(WORDS, length=16, width=32, layers=1, schedule_args=dict(mu=-2.0))
    later.emb.load_state_dict(lm.emb.state_dict())
    assert 'another model' in complaint(later.sample, 1, ByClassifier(Wish(), guide), steps=1)
    assert 'does not know' in complaint(ByClassifier, Wish('bistro'), guide)

# --- several at once

def test_and_is_flat_and_asks_all_parts(lm, classifier):
    guide = ClassifierGuidance(classifier)
    a, b, c = Wish(least=2), Wish(n=7), ByClassifier(Wish('pub', least=3), guide)
    both = a & (b & c)
    assert (
        both.parts == [a, b, c]
        and both.min_words == 3
        and both.guide is guide
        and both.labels_for(guide) == [2]
    )
    assert (a & b).guide is None and (c & ByClassifier(Wish(), guide)).labels_for(guide) == [2, 1]
    assert All(a, Wish(given={1: 'pub'}), Wish(given={1: 'pub', 2: '.'})).plan(lm, None) == (
        None,
        {1: 'pub', 2: '.'},
    )
    assert not both.check(['pub']) and not both.check(['cheap']) and both.check(['cheap', 'pub'])

def test_and_conditions_in_order(lm):
    a, b = Wish().bind(lm), Wish().bind(lm)
    b.log_prob = lambda logp, mask: logp[:, 0, lm.vocab.ids['pub']]
    logp = torch.randn(2, 5, len(WORDS), generator=keyed_generator(2)).log_softmax(-1)
    logp[..., 0] = -math.inf
    first = a.posterior(logp, None)
    q = (a & b).posterior(logp, None)
    assert torch.allclose(q, b.posterior(first.log(), None), atol=1e-6) and (q[..., 0] == 0).all()
    assert torch.allclose(q[:, 0, lm.vocab.ids['pub']], torch.ones(2)) and not torch.allclose(
        q[:, 1], logp[:, 1].exp()
    )

def test_contradictions_are_said(lm, classifier):
    assert 'joins controls' in complaint(lambda: Wish() & 'cheap')
    assert 'disagree on the length' in complaint(lm.sample, 1, Wish(n=7) & Wish(n=8))
    assert 'cannot hold the 9' in complaint(lm.sample, 1, Wish(n=7) & Wish(least=9))
    assert 'different words at place 2' in complaint(
        lm.sample, 1, Wish(given={1: 'pub'}) & Wish(given={1: 'river'})
    )
    assert 'two different classifiers' in complaint(
        lambda: ByClassifier(Wish(), ClassifierGuidance(classifier))
        & ByClassifier(Wish(), ClassifierGuidance(classifier))
    )

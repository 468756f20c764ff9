"Chapter 17b: p(w | c) of a grammar and its perfect denoiser, against sums over all texts."
import json, math, random
from itertools import product
from pathlib import Path
import pytest, torch
from diffusion_lm_nb import BadInput, DiffusionLM
from diffusion_lm_nb.calibration import (ConditionedGrammar, GrammarLM, features, length_distance,
                                         read_tags, read_words, reverse_gap, told_apart)
from diffusion_lm_nb.constrained_decoding import Automaton, contains_any, has_length
from diffusion_lm_nb.data import SPECIALS
from diffusion_lm_nb.grammar import Grammar

def some_grammar(seed): # unambiguous: the first word of an alternative names it
    rng = random.Random(seed)
    def rule(name, below):
        parts = [f'{rng.randint(1, 5)} X/{first} {" ".join(rng.choices(below, k=rng.randint(0, 2)))}'
                 for first in 'abc']
        return f'{name} : ' + ' | '.join(parts)
    return Grammar('\n'.join([rule('S', ['T', 'U']), rule('T', ['U', 'Y/a']), rule('U', ['Z/b'])]))

def all_texts(grammar, most=9): # {words: probability}
    out = {}
    for n in range(1, most + 1):
        for w in product('abc', repeat=n):
            if (p := grammar.log_prob(list(w))) > -math.inf: out[w] = math.exp(p)
    assert abs(sum(out.values()) - 1) < 1e-9
    return out

@pytest.fixture(scope='module')
def tiny(): return DiffusionLM([*SPECIALS, 'a', 'b', 'c'], width=32, layers=1, dim=4)

def conditions(vocab): # name -> (automaton, which texts)
    b, V = vocab.ids['b'], len(vocab)
    return {
        'b': (contains_any([[b]], V), lambda w: 'b' in w),
        'b b': (contains_any([[b, b]], V), lambda w: ('b', 'b') in zip(w, w[1:])),
        'no b': (~contains_any([[b]], V), lambda w: 'b' not in w),
        'b, three words': (contains_any([[b]], V) & has_length(3, V),
                           lambda w: 'b' in w and len(w) == 3)}

@pytest.mark.parametrize('seed', range(6))
def test_probability_entropy_and_draws_are_those_of_the_list(tiny, seed):
    grammar = some_grammar(seed)
    texts = all_texts(grammar)
    for name, (automaton, holds) in conditions(tiny.vocab).items():
        own = {w: p for w, p in texts.items() if holds(w)}
        if not own:
            with pytest.raises(BadInput, match='no text of the grammar'):
                ConditionedGrammar(grammar, *read_words(automaton, tiny.vocab))
            continue
        c = ConditionedGrammar(grammar, *read_words(automaton, tiny.vocab))
        assert c.p == pytest.approx(sum(own.values())), name
        shares = [p / c.p for p in own.values()]
        assert c.entropy() == pytest.approx(-sum(p * math.log(p) for p in shares), abs=1e-9), name
        drawn = [tuple(e.words) for e in c.sample(1500, seed)]
        assert {*drawn} <= {*own}
        for n, (p, H) in c.by_length().items():
            there = [q for w, q in own.items() if len(w) == n]
            assert p == pytest.approx(sum(there) / c.p)
            shares = [q / sum(there) for q in there]
            assert H == pytest.approx(-sum(q * math.log(q) for q in shares), abs=1e-9)
        for w, p in own.items():
            assert abs(drawn.count(w) / 1500 - p / c.p) < .06, (name, w)

def by_hand(lm, texts, x, t, n): # p(w_i | x) by Bayes' rule over a list of texts
    evidence, out = lm.log_evidence(x, t)[0], torch.zeros(n, len(lm.vocab), dtype=torch.float64)
    for w, p in texts.items():
        if len(w) != n: continue
        ids = [lm.vocab.ids[v] for v in w]
        weight = p * math.exp(sum(evidence[i + 1, v].item() for i, v in enumerate(ids)))
        for i, v in enumerate(ids): out[i, v] += weight
    return out / out.sum(1, keepdim=True)

@pytest.mark.parametrize('seed', range(4))
def test_the_denoiser_is_bayes_rule_over_all_texts(tiny, seed):
    "Two rows of different lengths, with and without a condition."
    grammar = some_grammar(seed)
    texts, gen = all_texts(grammar), torch.Generator().manual_seed(seed)
    x, t = torch.randn(2, 6, 4, generator=gen), torch.tensor([.6, .9])
    mask = torch.arange(6)[None] < torch.tensor([[5], [6]])
    for automaton, holds in [(None, bool), *conditions(tiny.vocab).values()]:
        own = {w: p for w, p in texts.items() if holds(w)}
        if not all(any(len(w) == n for w in own) for n in (3, 4)): continue
        lm = GrammarLM(tiny, grammar, automaton)
        logp, x̂0 = lm.predict(x, t, mask)
        for row, n in enumerate((3, 4)):
            right = by_hand(lm, own, x[row:row + 1], t[row:row + 1], n)
            assert torch.allclose(logp[row, 1:n + 1].exp().double(), right, atol=1e-5)
        assert torch.allclose(x̂0, logp.exp() @ lm.emb.E, atol=1e-5)

def test_tags_condition_the_denoiser(tiny):
    grammar = Grammar('S : 1 DT/a NN/b | 2 DT/b NN/b | 1 NN/b DT/a | 1 DT/c NN/c')
    c = ConditionedGrammar(grammar, *read_tags(['DET', 'NOUN']))
    assert c.p == pytest.approx(.8)
    lm = GrammarLM(tiny, grammar, tags=['DET', 'NOUN'])
    x, t = torch.randn(1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([1.])
    logp, _ = lm.predict(x, t, torch.ones(1, 4, dtype=torch.bool))
    own = {('a', 'b'): .2, ('b', 'b'): .4, ('c', 'c'): .2}
    assert torch.allclose(logp[0, 1:3].exp().double(), by_hand(lm, own, x, t, 2), atol=1e-5)

def test_the_gradient_of_the_marginals_is_that_of_differences(tiny):
    lm, gen = GrammarLM(tiny, some_grammar(1)), torch.Generator().manual_seed(3)
    x, t, mask = torch.randn(1, 5, 4, generator=gen), torch.tensor([.7]), torch.ones(1, 5) > 0
    def value(x): return lm.predict(x, t, mask)[0][0, 2, 4:].exp()[1]
    x.requires_grad_()
    g, = torch.autograd.grad(value(x), x)
    step = torch.zeros_like(x)
    step[0, 2, 1] = .01
    with torch.no_grad(): slope = (value(x + step) - value(x - step)) / .02
    assert g[0, 2, 1].item() == pytest.approx(slope.item(), rel=.02, abs=1e-4) and abs(slope) > 1e-3

def test_exact_guidance_never_misses():
    lm, grammar = DiffusionLM.from_pretrained('grammar'), Grammar()
    french = contains_any([[lm.vocab.ids['French']]], len(lm.vocab))
    texts = GrammarLM(lm, grammar, french).sample(8, seed=1, steps=12, n_words=11, batch_size=8,
                                                  solver='ancestral')
    for t in texts:
        assert 'French' in t.split() and grammar.log_prob(t.split()) > -math.inf
    assert len({*texts}) > 4

def test_distances_see_what_they_shall():
    grammar = Grammar()
    c = ConditionedGrammar(grammar, 0, lambda s, leaf: int(s or leaf[1] == 'French'), bool)
    one, two = ([e.words for e in c.sample(200, s)] for s in (1, 2))
    gap, error = reverse_gap(one, c, grammar)
    assert abs(gap) < 4 * error < 2
    assert reverse_gap([one[0]] * 25 + [['no', 'text']], c, grammar)[1] < 1e-9
    assert reverse_gap([one[0]] * 19, c, grammar) == (None, None)
    likely = sorted(one, key=lambda w: -grammar.log_prob(w))
    assert reverse_gap(likely[:50], c, grammar)[0] < -5 * error
    assert .4 < told_apart(one, two) < .6 < told_apart(one, [w[::-1] for w in one])
    assert length_distance([['a'], ['a', 'b']], {1: .5, 2: .5}) == 0
    assert length_distance([['a']], {2: 1.}) == 1
    assert features([['a', 'b']], {'a': 0, ('a', 'b'): 1, ('b', 'a'): 2}).tolist() == [[1, 1, 0]]

def test_a_model_without_the_words_is_refused(tiny):
    with pytest.raises(BadInput, match='does not know'): GrammarLM(tiny, Grammar())

def test_rows_say_what_the_chapter_concludes():
    path = Path(__file__).parents[1] / 'results/further.json'
    rows = {(r['task'], r['method']): r for r in json.loads(path.read_text())
            if r['part'] == 'calibration'}
    for task in ('French', 'French, 12 words', 'tags'):
        r = rows[task, 'perfect network, exact guidance']
        assert r['in_language'] == 1 and abs(r['gap']) < 2.5 * r['gap_error']
        assert abs(r['told_apart'] - .5) < .04
    for task in ('French', 'French, 12 words'):
        upper = rows[task, 'perfect network, token marginals']['interval'][1]
        assert upper < rows[task, 'perfect network, exact guidance']['interval'][0]
        assert upper > rows[task, 'trained network, token marginals']['interval'][1]
    r = rows['average', 'perfect network, exact, length from p(n | c)']
    assert r['in_language'] == 1 and r['lengths'] < .15

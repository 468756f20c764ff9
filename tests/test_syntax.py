"Trees, the parser's arithmetic, the classifier on beliefs, the three controls of syntax, and those who judge them."
import itertools, json, math, sys, types
from pathlib import Path
import pytest, torch
from hypothesis import given, settings, strategies as st
from diffusion_lm_nb import (
    BadInput,
    DiffusionLM,
    Length,
    PartsOfSpeech,
    SemanticContent,
    SyntaxSpan,
    SyntaxTree,
)
from diffusion_lm_nb.corpora import Annotated, exchange_names
from diffusion_lm_nb.grammar import Example
from diffusion_lm_nb.trees import UPOS, collapse_unary, gold_chart, inside, read_tree
from diffusion_lm_nb.trees import span_marginals, spans_tree, tree_f1, tree_log_prob, tree_spans
from diffusion_lm_nb.trees import tree_text
from diffusion_lm_nb.syntax import SyntaxClassifier, SyntaxOnLatents, syntax_classifier
from diffusion_lm_nb.oracles import (
    Reader, bracketed_texts, evalb_f1, reader_scores, restaurant_texts,
)
from diffusion_lm_nb.teacher import Judge, ORACLES, lm_score, make_judge
from diffusion_lm_nb.reproduction import read_targets, shipped_targets, target_control
from diffusion_lm_nb.commands import dlm_control
from diffusion_lm_nb.corpora import load_corpus
from diffusion_lm_nb.data import pad_batch
from diffusion_lm_nb.guidance import ClassifierGuidance
from diffusion_lm_nb.classifiers import JointClassifier
from diffusion_lm_nb.metrics import part_scores, success_rows

EAGLE = (
    '(S (NP (DET The) (PROPN Eagle)) (VP (AUX is) (NP (NP (DET a) (NOUN pub)) (PP (ADP near) (NP'
    ' (DET the) (NOUN river))))) (PUNCT .))'
)
HUNDRED = Path(__file__).parent/'restaurant_100.txt'

@pytest.fixture(scope='module')
def lm(): return DiffusionLM.from_pretrained('grammar')
@pytest.fixture(scope='module')
def reader(): return syntax_classifier('grammar-syntax')
@pytest.fixture(scope='module')
def valid(): return load_corpus('grammar', 'valid')[:40]

# --- trees

@pytest.mark.parametrize(
    'text, says',
    [
        ('', 'not a tree'),
        ('(S (NP a)', 'not a tree'),
        ('(S (NP a)) b', 'not a tree'),
        ('(NP2 a)', 'NP2'),
        ('(S (ADJX a) b)', 'ADJX'),
        (7, 'string of brackets'),
        ('(S (NP (-NONE- *)))', 'without words'),
        ('(' * 5000 + ')' * 5000, 'not a tree'),
    ],
)
def test_no_tree(text, says):
    with pytest.raises(BadInput, match=says):
        read_tree(text)

def test_dialects_agree():
    plain = tree_spans(read_tree(EAGLE))
    for same in (
        f'(ROOT {EAGLE})',
        f'(TOP {EAGLE})',
        f'( {EAGLE})',
        EAGLE.replace('(NP (DET The)', '(NP-SBJ-1 (DET The)'),
        EAGLE.replace('(VP (AUX', '(VP=2 (NP (-NONE- *T*-1)) (AUX'),
        EAGLE.replace('(DET The) (PROPN Eagle)', 'The Eagle'),
    ):
        assert tree_spans(read_tree(same)) == plain
    assert plain == [
        (0, 8, 'S'),
        (0, 1, 'NP'),
        (2, 7, 'VP'),
        (3, 7, 'NP'),
        (3, 4, 'NP'),
        (5, 7, 'PP'),
        (6, 7, 'NP'),
    ]

@st.composite
def charts(draw, most=8): # nested spans with labels, of a text of n words
    n = draw(st.integers(1, most))
    out = {(0, n - 1): 'S'}

    def split(i, j):
        if draw(st.booleans()):
            out[i, j] = out.get((i, j)) or draw(st.sampled_from(['NP', 'VP', 'PP', 'S+VP']))
        if i < j:
            k = draw(st.integers(i, j - 1))
            split(i, k)
            split(k + 1, j)

    split(0, n - 1)
    return n, out

@settings(max_examples=80, deadline=None, derandomize=True)
@given(charts())
def test_tree_and_chart_are_one(case):
    n, chart = case
    tree = spans_tree(chart, [f'w{i}' for i in range(n)])
    assert collapse_unary(tree_spans(tree)) == chart
    assert tree.leaves() == [f'w{i}' for i in range(n)]
    assert collapse_unary(tree_spans(read_tree(tree_text(tree)))) == chart

# --- the parser's arithmetic

def binary(i, j):
    return (
        [[(i, i)]]
        if i == j
        else [[(i, j), *a, *b] for k in range(i, j) for a in binary(i, k) for b in binary(k + 1, j)]
    )

@pytest.mark.parametrize('seed', range(3))
def test_inside_by_enumeration(seed):
    s, n = torch.randn(4, 7, 7, generator=torch.Generator().manual_seed(seed)) * 3, torch.tensor(
        [7, 1, 2, 5]
    )
    p, best = span_marginals(s, n), span_marginals(s, n, viterbi=True)
    for b, k in enumerate(n.tolist()):
        every = binary(0, k - 1)
        worth = torch.stack([sum(s[b][x] for x in t) for t in every])
        assert torch.allclose(inside(s, n)[b], worth.logsumexp(0), atol=1e-4) and torch.allclose(
            inside(s, n, viterbi=True)[b], worth.max(), atol=1e-5
        )
        want = torch.zeros(7, 7)
        for t, w in zip(every, worth.softmax(0)):
            for x in t:
                want[x] += w
        assert torch.allclose(p[b], want, atol=1e-5)
        assert {tuple(x) for x in best[b].nonzero().tolist()} == set(every[int(worth.argmax())])

def test_ties_still_give_one_tree():
    best = span_marginals(torch.zeros(1, 6, 6), torch.tensor([6]), viterbi=True)[0]
    assert (
        set(best.unique().tolist()) == {0.0, 1.0} and best.sum() == 11
    ) # 6 words, 5 binary brackets

@settings(max_examples=40, deadline=None, derandomize=True)
@given(charts(6), st.integers(0, 5))
def test_what_a_tree_allows(case, seed):
    n, chart = case
    labels = {'S': 1, 'NP': 2, 'VP': 3, 'PP': 4, 'S+VP': 5}
    gold = gold_chart([chart], labels, n)[0]
    for i, j in itertools.combinations_with_replacement(range(n), 2):
        crosses = any(i < a <= j < b or a < i <= b < j for a, b in chart)
        assert gold[i, j] == (-1 if crosses else labels[chart[i, j]] if (i, j) in chart else 0)
    s = torch.randn(1, n, n, 5, generator=torch.Generator().manual_seed(seed))
    lp = tree_log_prob(s, torch.tensor([n]), gold[None])
    assert -1e3 < lp < 0
    better = s.clone()
    for (i, j), l in chart.items(): better[0, i, j, labels[l] - 1] += 30
    assert tree_log_prob(better, torch.tensor([n]), gold[None]) > lp

def test_padding_changes_nothing():
    s, gold = torch.randn(1, 5, 5, 2), gold_chart([{(0, 4): 'A', (1, 2): 'B'}], dict(A=1, B=2), 5)
    wide, wider = torch.randn(1, 9, 9, 2), gold_chart(
        [{(0, 4): 'A', (1, 2): 'B'}], dict(A=1, B=2), 9
    )
    wide[:, :5, :5] = s
    n = torch.tensor([5])
    assert torch.allclose(tree_log_prob(s, n, gold), tree_log_prob(wide, n, wider), atol=1e-5)

# --- the classifier on beliefs

def beliefs(lm, examples, t=0.5, seed=0):
    from diffusion_lm_nb.forward import q_sample

    ids, mask = pad_batch([lm.vocab.encode(e.words) for e in examples], lm.vocab.pad)
    τ = torch.full((len(ids),), t)
    with torch.no_grad():
        return (
            lm.predict(
                q_sample(
                    lm.emb(ids),
                    τ,
                    lm.schedule,
                    torch.randn(*ids.shape, lm.dim, generator=torch.Generator().manual_seed(seed)),
                ),
                τ,
                mask,
            )[0],
            mask,
        )

def wishes(example):
    return (
        PartsOfSpeech(example.tags),
        SyntaxTree(example.tree),
        SyntaxSpan(
            *min(
                (s for s in tree_spans(read_tree(example.tree)) if s[1] > s[0]),
                key=lambda s: s[1] - s[0],
            )
        ),
    )

def test_it_knows_grammar_and_doubts_in_noise(lm, valid, monkeypatch):
    monkeypatch.setattr(PartsOfSpeech, 'disagreement', 0.)
    told = []
    for t in (0.02, 0.5, 0.95):
        logp, mask = beliefs(lm, valid[:16], t)
        told.append(
            [
                float(
                    sum(
                        wishes(e)[k].bind(lm).log_prob(logp[i : i + 1], mask[i : i + 1])[0]
                        for i, e in enumerate(valid[:16])
                    )
                )
                / 16
                for k in range(3)
            ]
        )
    for k in range(3):
        assert told[0][k] > told[1][k] > told[2][k]
    assert told[0][0] > -0.5 and told[0][1] > -1

def test_a_tag_that_cannot_be_costs_at_most_the_rate_of_disagreement(lm, valid):
    e = valid[0]
    right = PartsOfSpeech(e.tags).bind(lm)
    wrong = PartsOfSpeech(['INTJ' if t == 'DET' else t for t in e.tags]).bind(lm)
    logp, mask = beliefs(lm, [e], 0.02)
    n, δ = sum(t == 'DET' for t in e.tags), PartsOfSpeech.disagreement
    lost = float(right.log_prob(logp, mask) - wrong.log_prob(logp, mask))
    assert n and abs(lost - n * math.log((1 - δ) * 17 / δ)) < .2 * n
    wrong.disagreement = 0.
    assert float(wrong.log_prob(logp, mask)) < -8 * n

def test_tags_by_the_chain_rule(lm):
    from itertools import product
    torch.manual_seed(0)
    clf = SyntaxClassifier.for_model(lm, ['A', 'B', 'C'], ['S'], width=16, layers=1, heads=2, tag_layers=1)
    ids, mask = pad_batch([lm.vocab.encode('a pub .'.split())], lm.vocab.pad)
    p = torch.nn.functional.one_hot(ids, len(lm.vocab)).float()
    def log_p(tags):
        odds = clf.scores(p, mask, False, torch.tensor([tags]))[0][0].log_softmax(-1)
        return float(sum(odds[i, t] for i, t in enumerate(tags)))
    with torch.no_grad():
        assert abs(sum(math.exp(log_p(t)) for t in product(range(3), repeat=3)) - 1) < 1e-4
        given = [clf.scores(p, mask, False, torch.tensor([[k, 0, 0]]))[0][0] for k in (0, 1)]
    assert torch.equal(given[0][0], given[1][0]) and not torch.equal(given[0][1], given[1][1])

def test_leaning_follows_the_derivative(lm, valid):
    logp, mask = beliefs(lm, valid[:1], 0.6)
    logp = logp.double().log_softmax(-1).float()
    for wish in wishes(valid[0]):
        wish.bind(lm)
        q = wish.posterior(logp, mask)
        assert torch.allclose(q.sum(-1), torch.ones_like(q[..., 0]), atol=1e-4)
        assert torch.allclose(wish.posterior(logp, mask, 0.0), logp.exp(), atol=1e-6)
        before, after = (
            float(wish.log_prob(l, mask)[0])
            for l in (logp, wish.posterior(logp, mask, 0.2).clamp(min=1e-30).log())
        )
        assert after > before
        i, w = 3, int(logp[0, 3].argmax()) # against finite differences, in one probability
        p, h = logp.exp(), 0.01
        up, down = p.clone(), p.clone()
        up[0, i, w] += h
        down[0, i, w] -= h
        slope = (wish.log_prob(up.log(), mask) - wish.log_prob(down.log(), mask)) / (2 * h)
        x = p.clone().requires_grad_()
        (g,) = torch.autograd.grad(
            wish.log_probs([wish], x, mask).sum(), x
        )
        assert abs(g[0, i, w] - slope[0]) < 0.05 * max(1, abs(float(slope)))

def test_what_cannot_stand_stays_out(lm, valid):
    logp, mask = beliefs(lm, valid[:1], .6)
    logp[..., 7] = -math.inf
    for wish in wishes(valid[0]): assert (wish.bind(lm).posterior(logp, mask)[..., 7] == 0).all()

def test_alone_as_together(lm, valid):
    controls = [w for e in valid[:3] for w in wishes(e)] + [
        wishes(valid[3])[1] & SemanticContent('food', 'French'),
        None,
    ]
    together = lm.sample(len(controls), controls, steps=5, seed=3)
    assert [
        lm.sample(1, c, steps=5, seed=3, first=i)[0] for i, c in enumerate(controls)
    ] == together
    assert lm.sample(len(controls), controls, steps=5, seed=3, batch_size=3) == lm.sample(
        len(controls), controls, steps=5, seed=3, batch_size=3
    )

def test_each_row_leans_by_its_own_strength(lm, valid):
    from diffusion_lm_nb.sampling import token_posterior

    logp, mask = beliefs(lm, [valid[0]] * 2, 0.6)
    weak, strong = (PartsOfSpeech(valid[0].tags).bind(lm) for _ in range(2))
    strong.strength = 8.0
    both = token_posterior([weak, strong], logp, mask, 1.0)
    for k, c in enumerate((weak, strong)):
        assert torch.allclose(both[k], c.posterior(logp[k : k + 1], mask[k : k + 1])[0], atol=1e-5)
    assert (both[0] - strong.posterior(logp[:1], mask[:1])[0]).abs().max() > 0.01

def test_controls_obey(lm, valid, reader):
    # the classifier on finished words; independent judges are measured in results/, this asks for
    # obedience
    class Own:
        def both(self, words):
            ids, mask = pad_batch([lm.vocab.encode(words)], lm.vocab.pad)
            with torch.no_grad():
                odds, s = reader.scores(
                    torch.nn.functional.one_hot(ids, len(lm.vocab)).float(), mask
                )
            best, label = torch.nn.functional.pad(s, (1, 0)).max(-1)
            chosen = (span_marginals(best, mask.sum(1) - 2, viterbi=True)[0] > 0.5) & (label[0] > 0)
            return [reader.tags[k] for k in odds[0].argmax(-1)], spans_tree(
                {
                    (i, j): reader.labels[int(label[0, i, j]) - 1]
                    for i, j in chosen.nonzero().tolist()
                },
                words,
            )

        def tag(self, words):
            return self.both(words)[0]

        def parse(self, words):
            return self.both(words)[1]

    examples = [e for e in valid if len(e.words) < 20][:4]
    for kind, floor in ((0, 0.95), (1, 0.95), (2, 0.7)):
        controls = [wishes(e)[kind] for e in examples]
        texts, free = (
            lm.sample(4, c, steps=20, seed=0)
            for c in (controls, [Length(len(e.words)) for e in examples])
        )
        score = lambda ts: sum(c.score(t.split(), Own()) for c, t in zip(controls, ts)) / 4
        assert score(texts) >= floor and score(texts) > score(free) + 0.2, type(controls[0])

def test_the_papers_way_moves_towards_the_wish(lm, valid, reader):
    wish = PartsOfSpeech(valid[0].tags).bind(lm)
    guide = ClassifierGuidance(SyntaxOnLatents(reader), fluency=1e-4, lr=0.1)
    texts = lm.sample(4, wish, steps=30, seed=0, guide=guide)
    free = lm.sample(4, Length(len(valid[0].words)), steps=30, seed=0)
    obeys = lambda ts: sum(
        float(
            wish.log_prob(
                torch.nn.functional.one_hot(
                    torch.tensor([lm.vocab.encode(t.split())]), len(lm.vocab)
                )
                .float()
                .log(),
                torch.ones(1, len(valid[0].words) + 2, dtype=bool),
            )[0]
        )
        for t in ts
    )
    assert obeys(texts) > obeys(free) + 10

def test_several_classifiers_add_up(lm, reader, valid):
    a, b = PartsOfSpeech(valid[0].tags).bind(lm), SyntaxTree(valid[0].tree).bind(lm)
    x, mask, t = (
        torch.randn(2, len(a.tags) + 2, lm.dim),
        torch.ones(2, len(a.tags) + 2, dtype=bool),
        torch.tensor([0.5, 0.5]),
    )
    class Of(SyntaxOnLatents):
        "Knows one class of controls alone."
        def __init__(self, kind): super().__init__(reader); self.kind = kind
        def knows(self, control): return isinstance(control, self.kind)
    one, two = Of(PartsOfSpeech), Of(SyntaxTree)
    both = JointClassifier([one, two])
    assert both.knows(a) and both.knows(b) and not both.knows(Length(3))
    got = both.log_prob(x, t, mask, [[a, b], [b]])
    p, q = one.log_prob(x, t, mask, [[a], [a]]), two.log_prob(x, t, mask, [[b], [b]])
    assert torch.allclose(got, torch.stack([p[0] + q[0], q[1]]))
    whole = SyntaxOnLatents(reader).log_prob(x, t, mask, [[a, b], [b]])
    assert torch.allclose(whole, got, atol=1e-4)

# --- targets and bad input

def test_released_formats():
    target = {
        'words_': ['START', 'The', 'Eagle', 'is', '\n', 'END'],
        'pos': ['START', 'DET', 'PROPN', 'AUX', 'SPACE', 'END'],
        'spans': [[0, 1, 'NP']],
        'tree': '(TOP (S (NP (DT The) (NNP Eagle)) (VP (VBZ is)) (_SP \\n)))',
        'attr': ['food', ':', 'English'],
    }
    assert target_control('pos', target).tags == ['DET', 'PROPN', 'AUX']
    assert target_control('spans', target).label_key == ('spans', 0, 1, 'NP')
    assert target_control('tree', target).spans == [(0, 2, 'S'), (0, 1, 'NP'), (2, 2, 'VP')]
    assert [type(p) for p in target_control('tree+semantic', target).parts] == [
        SyntaxTree,
        SemanticContent,
    ]
    assert target_control('semantic+pos', target).parts[1].value == 'English'

@pytest.mark.parametrize(
    'task, line, says',
    [
        ('pos', '{"pos": ["DET", "NOUNS"]}', 'NOUNS'),
        ('pos', '{"pos": []}', 'no tags'),
        ('pos', '["food", ":", "French"]', 'food'),
        ('pos', '3', 'target of pos'),
        ('pos', '{"pos": ["DET"], "words_": ["a", "b"]}', '1 tags for 2'),
        ('tree', '{"tree": "(S (NP a)"}', 'not a tree'),
        ('tree', '{"pos": ["DET"]}', 'target of tree'),
        ('tree', '{"tree": "(SS a)"}', 'SS'),
        ('spans', '{"spans": [[3, 5]]}', 'target of spans'),
        ('spans', '{"spans": [[5, 3, "PP"]]}', '5 to 3'),
        ('spans', '{"spans": [[3, 5, "PPP"]]}', 'PPP'),
        ('spans', '{"spans": [[-1, 5, "PP"]]}', '-1'),
        ('spans', '{"spans": [[1, 9, "PP"]], "words_": ["START", "a", "b", "END"]}', 'outside'),
        ('semantic+tree', '{"tree": "(S (NP a))"}', 'keys'),
    ],
)
def test_broken_targets_are_named(task, line, says, tmp_path):
    (f := tmp_path / 't.jsonl').write_text(line + '\n')
    with pytest.raises(BadInput, match='line 1') as e:
        read_targets(f, task)
    assert says in str(e.value) and '\n' not in str(e.value)

def test_a_conflict_names_both(lm):
    with pytest.raises(BadInput, match='8 and 9'): lm.sample(1, Length(8) & SyntaxTree(EAGLE))
    with pytest.raises(BadInput, match='63 words'): lm.sample(1, PartsOfSpeech(['NOUN'] * 63))
    with pytest.raises(BadInput, match='no texts with WHADJP'): SyntaxSpan(0, 1, 'WHADJP').bind(lm)

def test_shipped_targets_are_whole():
    for task in ('pos', 'tree', 'spans', 'semantic+pos', 'semantic+tree'):
        targets = read_targets(shipped_targets(task), task)
        assert len(targets) == 200 and all('example' in t and 'words_' not in t for t, _ in targets)
        for t, _ in targets:
            if 'tree' in t: assert set(read_tree(t['tree']).leaves()) == {'_'}

# --- those who judge

def test_the_restaurant_grammar():
    texts = restaurant_texts(300, 0)
    assert texts == restaurant_texts(300, 0) and texts[0].words != restaurant_texts(1, 1)[0].words
    for e in texts:
        tree = read_tree(e.tree)
        assert len(e.tags) == len(e.words) == len(tree.leaves()) and set(e.tags) <= set(UPOS)
        assert not any(
            len(t) == 1
            and not isinstance(t[0], str)
            and t[0].label() == t.label()
            and not isinstance(t[0][0], str)
            for t in tree.subtrees()
        )

def test_the_hundred():
    gold = bracketed_texts(HUNDRED)
    assert len(gold) == 100 == len({' '.join(e.words) for e in gold})
    for name in ('judge', 'labeller'):
        r = reader_scores(Reader.from_pretrained(name), gold)
        assert r['tags'] > .95 and r['tree_f1'] > .85, (name, r)

def test_readers_share_nothing():
    a, b = Reader.from_pretrained('judge'), Reader.from_pretrained('labeller')
    assert a.kind != b.kind and not any(
        v.shape == dict(b.named_parameters())[k].shape
        and torch.equal(v, dict(b.named_parameters())[k])
        for k, v in a.named_parameters()
        if k in dict(b.named_parameters())
    )

def test_reading_alone_as_together():
    texts = [e.words for e in bracketed_texts(HUNDRED)[:20]] + [[], ['Hm'], ['🍕', 'x' * 60]]
    for name in ('judge', 'labeller'):
        r = Reader.from_pretrained(name)
        for t, (tags, tree) in zip(texts, r.read(texts)):
            assert len(tags) == len(t) == len(tree.leaves()) and r.read([t])[0] == (tags, tree)

def test_halves_have_no_document_in_common():
    examples = [
        Annotated([f'w{k}', 'x'], [], ['NOUN', 'VERB'], None, f'd{k // 3}') for k in range(60)
    ]
    from dataclasses import replace
    from diffusion_lm_nb.commands import KINDS, PRESETS

    words = []
    for half in (0, 1):
        model, _ = KINDS['reader'](
            replace(
                PRESETS['judge'], model=dict(width=8, layers=1, half=half, domain=4), batch_size=4
            ),
            examples * 3,
            0,
        )
        words.append({w for w in model.lexicon.words if w.startswith('w') and w[1:].isdigit()})
    assert words[0] and words[1] and not words[0] & words[1] and len(words[0] | words[1]) == 60

def test_evalb():
    t = read_tree(EAGLE)
    flat = read_tree(
        EAGLE.replace(
            '(NP (NP (DET a) (NOUN pub)) (PP (ADP near) (NP (DET the) (NOUN river))))',
            '(NP (DET a) (NOUN pub)) (PP (ADP near) (NP (DET the) (NOUN river)))',
        )
    )
    assert (
        evalb_f1([t], [t]) == 1 and abs(evalb_f1([t], [flat]) - 12 / 13) < 1e-6
    ) # one bracket too few
    twice = read_tree(
        EAGLE.replace('(PUNCT .))', ') (PUNCT .))').replace('(S ', '(S (S ', 1)
    ) # (S (S …) .): without the full stop the same bracket twice
    assert evalb_f1([twice], [twice]) == 1 > evalb_f1([twice], [t]) > 0.9

def test_scores_of_texts():
    judge = make_judge()
    words = 'The Eagle is a pub near the river .'.split()
    assert SyntaxTree(EAGLE).score(words, judge) == 1 > SyntaxTree(EAGLE).score(words[::-1], judge)
    assert SyntaxTree(EAGLE).score(words + ['.', '.'], judge) == 1 # cut to the tree's length
    assert (
        PartsOfSpeech('DET PROPN AUX DET').score(words[:3], judge) == 0.75
        and PartsOfSpeech('DET').score([], judge) == 0
    )
    assert (
        SyntaxSpan(5, 7, 'PP').score(words, judge) == 1
        and SyntaxSpan(5, 7, 'NP').score(words, judge) == 0
        and SyntaxSpan(5, 70, 'PP').score(words, judge) == 0
    )
    rows = [
        dict(
            task='semantic+tree',
            target=dict(tree=EAGLE, attr=['Type', ':', 'pub']),
            texts=[' '.join(words), 'A river .'],
        )
    ]
    r = success_rows(rows, judge)
    assert (
        r['success_semantic'] == 0.5
        and 0.5 < r['success_tree'] < 1
        and r['success'] == 0.5
        and 'success_labeller' in r
    )
    assert tree_f1([(0, 1, 'NP'), (0, 1, 'NP')], [(0, 1, 'NP')]) == 2 / 3

def stand_in(monkeypatch, name, **members):
    m = types.ModuleType(name); vars(m).update(members)
    monkeypatch.setitem(sys.modules, name, m)
    return m

def test_other_oracles(monkeypatch):
    from nltk import Tree

    tok = lambda pos: types.SimpleNamespace(pos_=pos)
    stand_in(
        monkeypatch,
        'spacy',
        load=lambda name: type(
            'NLP', (), dict(vocab=name, __call__=lambda self, doc: [tok('NOUN')] * len(doc))
        )(),
    )
    stand_in(monkeypatch, 'spacy.tokens', Doc=lambda vocab, words: words)
    stand_in(
        monkeypatch,
        'benepar',
        Parser=lambda name: types.SimpleNamespace(
            parse=lambda s: Tree.fromstring('(TOP (S ' + ' '.join(f'(NN {w})' for w in s) + '))')
        ),
        InputSentence=lambda words: words,
    )
    j = Judge('spacy+benepar')
    assert j.tag(['a', 'b']) == ['NOUN', 'NOUN'] and tree_spans(j.parse(['a', 'b'])) == [
        (0, 1, 'S')
    ]
    stand_in(
        monkeypatch,
        'stanza',
        Pipeline=lambda *a, **k: lambda texts: types.SimpleNamespace(
            sentences=[
                types.SimpleNamespace(words=[types.SimpleNamespace(upos='VERB') for _ in texts[0]])
            ]
        ),
    )
    assert (
        Judge('stanza').tag(['a', 'b', 'c']) == ['VERB'] * 3
        and Judge('stanza').parse('The pub is cheap .'.split()).label() == 'S'
    )
    for name, (_, _, how) in ORACLES.items():
        if name == 'gpt2':
            continue
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(BadInput, match='install') as e:
            Judge(name)
        assert '\n' not in str(e.value)
    with pytest.raises(BadInput, match='no oracle'):
        Judge('nobody')

def test_gpt2_by_a_stand_in(monkeypatch):
    from transformers import GPT2Config, GPT2LMHeadModel
    import transformers

    torch.manual_seed(0)
    tiny = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=300,
            n_positions=256,
            n_embd=16,
            n_layer=1,
            n_head=2,
            bos_token_id=299,
            eos_token_id=299,
        )
    )
    said = []
    tok = types.SimpleNamespace(
        eos_token_id=299, encode=lambda t: said.append(t) or list(t.encode())
    )
    monkeypatch.setattr(transformers.AutoTokenizer, 'from_pretrained', lambda name: tok)
    monkeypatch.setattr(transformers.AutoModelForCausalLM, 'from_pretrained', lambda name: tiny)
    (nats,) = Judge('gpt2').nats(['The pub is n\'t cheap .'.split()])
    assert said == ["The pub isn't cheap."]
    ids = torch.tensor([[299, *said[0].encode(), 299]])
    with torch.no_grad():
        assert abs(nats - float(tiny(input_ids=ids, labels=ids).loss) * (ids.shape[1] - 1)) < 1e-2

def test_teacher():
    t = make_judge().teacher
    good, bad = ('The Eagle is a cheap pub near the river .'.split() for _ in range(2))
    bad = bad[::-1]
    assert lm_score(t, [good]) < 30 < lm_score(t, [bad])
    assert abs(sum(t.nats([good, bad])) - sum(t.nats([bad])) - sum(t.nats([good]))) < 1e-2
    assert t.nats([['a'] * 63]) == [None] and lm_score(t, [['a'] * 63]) is None
    other = exchange_names(Example(good, [('name', 'The Eagle')]), dict(name=[['Luna']]),
                           torch.Generator().manual_seed(0))
    assert other == Example('Luna is a cheap pub near the river .'.split(), [('name', 'Luna')])

# --- the commands

@pytest.mark.parametrize(
    'task, line, says',
    [
        ('pos', '{"pos": ["NUON"]}', 'NUON'),
        ('tree', '{"tree": "(S (NP a)"}', 'not a tree'),
        ('spans', '{"spans": [[2, 1, "NP"]]}', '2 to 1'),
        ('spans', '{"spans": [[70, 71, "NP"]]}', '72 words'),
        ('pos', '{"tree": "(S (NP a))"}', 'target of pos'),
        ('length+tree', '{"length": 8, "tree": "(S (NP a b) (VP c))"}', '3 and 8'),
        ('spans', '{"spans": [[0, 1, "WHADJP"]]}', 'WHADJP'),
    ],
)
def test_bad_targets_at_the_shell(task, line, says, tmp_path, capsys):
    good = dict(
        pos='{"pos": ["DET"]}', tree='{"tree": "(S (NP a))"}', spans='{"spans": [[0, 1, "NP"]]}'
    ).get(task, line)
    (f := tmp_path / 't.jsonl').write_text(good + '\n' + line + '\n')
    assert (
        dlm_control(
            [
                task,
                '--targets',
                str(f),
                '--out',
                str(tmp_path / 'rows.jsonl'),
                '--model',
                'grammar',
                '--n',
                '1',
            ]
        )
        == 2
    )
    out, err = capsys.readouterr()
    assert (
        says in err
        and out == ''
        and len(err.strip().splitlines()) == 1
        and not (tmp_path / 'rows.jsonl').exists()
    )

def test_rows_of_syntax_are_judged(tmp_path, capsys):
    from diffusion_lm_nb.commands import dlm_evaluate

    (f := tmp_path / 't.jsonl').write_text(
        '{"pos": ["DET", "PROPN", "AUX", "DET", "NOUN", "PUNCT"]}\n{"pos": ["DET", "PROPN", "VERB",'
        ' "ADJ", "NOUN", "PUNCT"]}\n'
    )
    out = tmp_path / 'rows.jsonl'
    args = [
        'pos',
        '--targets',
        str(f),
        '--model',
        'grammar',
        '--n',
        '2',
        '--steps',
        '10',
        '--out',
        str(out),
    ]
    assert dlm_control(args) == 0
    whole = out.read_text()
    out.write_text(whole[:-25]) # killed in the last row
    assert dlm_control(args) == 0
    assert [json.loads(l)['texts'] for l in out.read_text().splitlines()] == [
        json.loads(l)['texts'] for l in whole.splitlines()
    ]
    capsys.readouterr()
    assert dlm_evaluate([str(out), '--json']) == 0
    r = json.loads(capsys.readouterr().out)
    assert r['success'] > 0.8 and r['oracle'] == 'judge' and len(r['by_target']) == 2
    assert dlm_evaluate([str(out), '--oracle', 'nobody']) == 2
    assert 'no oracle' in capsys.readouterr().err

def test_shards_make_one_report(tmp_path, capsys):
    from diffusion_lm_nb.commands import dlm_reproduce
    from diffusion_lm_nb.reproduction import PROTOCOLS

    PROTOCOLS['glance'] = dict(targets=3, n=1, steps=4)
    args = ['--protocol', 'glance', '--tasks', 'pos,length', '--model', 'e2e']
    assert dlm_reproduce([*args, '--out', str(tmp_path / 'one')]) == 0
    for i in range(2):
        assert (
            dlm_reproduce([*args, '--out', str(tmp_path / 'two'), '--shard', f'{i}/2'])
            == 0
        )
    assert not (tmp_path / 'two/report.json').exists()
    assert dlm_reproduce([*args, '--out', str(tmp_path / 'two')]) == 0
    one, two = (json.loads((tmp_path / f / 'report.json').read_text()) for f in ('one', 'two'))
    assert one['samples'] == two['samples']

def test_a_chain_of_labels_asks_for_all_of_them():
    span = SyntaxSpan(0, 1, 'S::NP')
    assert span.labels == ['S', 'NP'] and SyntaxSpan(0, 1, 'NML').labels == ['NP']
    assert span.fits(['NP', 'S', 'S+NP', 'S+VP']) == [False, False, True, False]
    assert span.fits(['NP', 'S+VP']) == [True, False]      # no such chain: its innermost label
    class Reads:
        def __init__(self, brackets): self.brackets = brackets
        def parse(self, words): return read_tree(self.brackets)
    words = ['the', 'pub']
    assert span.score(words, Reads('(S (NP (DET the) (NOUN pub)))')) == 1
    assert span.score(words, Reads('(NP (DET the) (NOUN pub))')) == 0

def test_targets_as_tensors_are_made_once_a_batch_and_classifier(lm, reader):
    from diffusion_lm_nb.syntax import kept_once
    controls, made = [PartsOfSpeech('DET NOUN').bind(lm), PartsOfSpeech('NOUN').bind(lm)], []
    def make(): return made.append(0) or len(made)
    assert [kept_once(controls, 'a', make) for _ in range(3)] == [1, 1, 1]
    assert kept_once([controls[0], PartsOfSpeech('DET')], 'a', make) == 2
    assert kept_once(controls, 'b', make) == 3 and kept_once(controls[:1], 'a', make) == 4
    asked = PartsOfSpeech.wanted_tags(controls, 2)
    other = SyntaxClassifier(UPOS[::-1], reader.labels, len(lm.vocab), lm.dim, width=16, layers=1)
    for c in controls: c.reader = other
    again = PartsOfSpeech.wanted_tags(controls, 2)
    assert torch.equal(again[asked >= 0], len(UPOS) - 1 - asked[asked >= 0])

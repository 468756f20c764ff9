"The models around diffusion: what they read, what they are asked for, what they write."
import copy, importlib.util
from dataclasses import replace
from pathlib import Path
import pytest, torch
from diffusion_lm_nb import BadInput
from diffusion_lm_nb.grammar import Example
from diffusion_lm_nb.corpora import load_corpus
from diffusion_lm_nb.data import Vocab
from diffusion_lm_nb.language_models import (
    LM_PRESETS, MASK, XLM, continue_text, mask_words, mr_words,
)
from diffusion_lm_nb.mask_filling import (
    BART, BART_PRESETS, NOISES, cloze, fill_rows, infill_spans, masked_scores,
)
from diffusion_lm_nb.loss import keyed_generator
from diffusion_lm_nb.text_pairs import (
    TextClassifier, draw_pairs, entailment_pairs, next_sentence_accuracy, one_fact_apart, relation,
    similarity_pairs)
from diffusion_lm_nb.training import fit
from diffusion_lm_nb.commands import KINDS, PRESETS

def script(name): # what measures, a module of scripts/
    path = Path(__file__).parents[1]/'scripts'/f'{name}.py'
    spec = importlib.util.spec_from_file_location(f'scripts_{name}', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

measure = script('language_models')
few_labels, rating = measure.few_labels, measure.rating

SMALL = dict(width=32, layers=2, heads=2, dropout=0.)
SENTENCE = 'The Eagle is a cheap pub near the river .'.split()
MEANING = [('name', 'The Eagle'), ('Type', 'pub'), ('price', 'cheap'), ('near', 'the river')]
OTHER = 'It has cheap prices .'.split()
NAMES = 'gpt', 'bert', 'xlm', 'gpt2', 'bart'

@pytest.fixture(scope='module')
def corpus(): return load_corpus('grammar')[:400]

@pytest.fixture(scope='module')
def nets(corpus):
    "One small model of each kind, as it comes."
    out = {}
    for name in NAMES:
        torch.manual_seed(0)
        p = replace(
            PRESETS[f'grammar-{name}'], model=PRESETS[f'grammar-{name}'].model | SMALL, batch_size=8
        )
        out[name] = KINDS[p.kind](p, corpus, 0)[0].eval().requires_grad_(False)
    return out

def writes(nets): # (what it is, function of a seed -> a text)
    gap = SENTENCE[:4] + [None, None] + SENTENCE[6:]
    yield 'gpt', lambda s: nets['gpt'].sample(1, s)[0]
    yield 'gpt2', lambda s: nets['gpt2'].sample(1, MEANING, s)[0]
    yield 'bert', lambda s: ' '.join(nets['bert'].fill(gap, s))
    yield 'xlm', lambda s: ' '.join(nets['xlm'].fill(gap, MEANING, s))
    yield 'bart', lambda s: ' '.join(nets['bart'].write(SENTENCE[:4] + [None] + SENTENCE[6:], 2, s))

# --- who sees what

def test_causal_models_do_not_look_ahead(nets):
    for name in ('gpt', 'gpt2'):
        v = nets[name].vocab
        a, b = (torch.tensor([v.encode(SENTENCE[:6] + rest)]) for rest in (SENTENCE[6:], OTHER))
        x, y = (nets[name].net(input_ids=i[:, :9]).logits for i in (a, b))
        assert torch.allclose(x[:, :7], y[:, :7], atol=1e-5) and not torch.allclose(
            x[:, 7], y[:, 7], atol=1e-3
        )

def test_masked_models_look_both_ways(nets):
    for name, rows in (
        ('bert', lambda w: nets['bert'].rows([(w, None)])),
        ('xlm', lambda w: nets['xlm'].rows([(None, w)])),
    ):
        a, b = (
            nets[name].logits(*rows(['MASK'] + SENTENCE[1:-1] + [last]))[0, 1]
            for last in ('.', 'pub')
        )
        assert not torch.allclose(a, b, atol=1e-4), name

def test_clm_of_xlm_does_not_look_ahead(nets):
    a, b = (
        nets['xlm'].logits(*nets['xlm'].rows([(None, SENTENCE[:-1] + [last])]), causal=True)[0]
        for last in ('.', 'pub')
    )
    assert torch.allclose(a[:10], b[:10], atol=1e-5) and not torch.allclose(a[10], b[10], atol=1e-3)

def test_tlm_sees_the_meaning(nets):
    a, b = (
        nets['xlm'].logits(*nets['xlm'].rows([([('price', p)], SENTENCE)]))[0, -3]
        for p in ('cheap', 'high')
    )
    assert not torch.allclose(a, b, atol=1e-5)

def test_padding_changes_nothing(nets):
    short, long = SENTENCE[:4], SENTENCE * 3
    for name in ('gpt', 'gpt2'):
        alone, together = nets[name].nats([short])[0], nets[name].nats([short, long])[0]
        assert abs(alone - together) < 1e-3, name
    for name, rows in (
        ('bert', lambda ts: nets['bert'].rows([(t, None) for t in ts])),
        ('xlm', lambda ts: nets['xlm'].rows([(MEANING, t) for t in ts])),
    ):
        n = rows([short])[0].shape[1]
        assert torch.allclose(
            nets[name].logits(*rows([short]))[0],
            nets[name].logits(*rows([short, long]))[0, :n],
            atol=1e-4,
        ), name
    alone, together = (
        nets['bart'].token_nats(*nets['bart'].rows([(t, t) for t in ts]))[0, :5]
        for ts in ([short], [short, long])
    )
    assert torch.allclose(alone, together, atol=1e-4)

# --- what is asked for

def test_masking_is_80_10_10():
    ids = torch.randint(4, 50, (400, 200), generator=keyed_generator(0))
    seen, targets = mask_words(ids, ids > 10, 0.15, 50, 50, keyed_generator(1))
    chosen = targets >= 0
    assert (
        not chosen[ids <= 10].any()
        and (targets[chosen] == ids[chosen]).all()
        and (seen[~chosen] == ids[~chosen]).all()
    )
    assert abs(chosen[ids > 10].float().mean() - 0.15) < 0.01
    masked, same = (seen == 50)[chosen].float().mean(), (seen == ids)[chosen].float().mean()
    assert abs(masked - 0.8) < 0.01 and abs(same - 0.1 - 0.1 / 46) < 0.01

def test_next_sentence_is_what_it_says(nets):
    bert = nets['bert']
    texts = [Example(SENTENCE + OTHER), Example('Luna is a pub . Children are welcome .'.split())]
    second = {tuple(OTHER): 0, ('Children', 'are', 'welcome', '.'): 1}
    seen = set()
    for seed in range(60):
        ids, mask, segments, targets, answer = bert.batch(texts, keyed_generator(seed))
        for k, a in enumerate(answer.tolist()):
            b = torch.where(targets[k] >= 0, targets[k], ids[k])[segments[k] == 1].tolist()[
                :-1
            ] # as it was before hiding
            if a == -100:
                assert not b
            else:
                assert second[tuple(bert.vocab.words[i] for i in b)] == (k if a == 0 else 1 - k)
            seen.add(a)
    assert seen == {-100, 0, 1}

def test_positions_begin_again_in_the_second_language(nets):
    ids, mask, langs, positions = nets['xlm'].rows([(MEANING, SENTENCE), (None, SENTENCE[:3])])
    n = len(mr_words(MEANING)) + 2
    assert positions[0].tolist() == [*range(n), *range(len(SENTENCE) + 2)] and langs[
        0
    ].tolist() == [0] * n + [1] * (len(SENTENCE) + 2)
    assert (
        langs[1, :5].tolist() == [1] * 5
        and positions[1, :5].tolist() == [0, 1, 2, 3, 4]
        and not mask[1, 5:].any()
    )

def test_meanings_stay_readable_where_texts_are_masked(corpus):
    lm = XLM(Vocab.from_texts([e.words for e in corpus], 0).words, 'tlm', gaps=1.0, **SMALL)
    shares = []
    for k in range(30):
        ids, mask, langs, _, targets, _ = lm.batch(corpus[8 * k : 8 * k + 8], keyed_generator(k))
        for of in (langs == 0, langs == 1):
            shares.append(
                (
                    ((targets >= 0) & of).sum(1) / (mask & of & (ids > 3)).sum(1).clamp(min=1)
                ).tolist()
            )
    meaning, text = (torch.tensor(sum(s, [])) for s in (shares[::2], shares[1::2]))
    assert abs(meaning.mean() - 0.15) < 0.03 and 0.4 < text.mean() < 0.6 and text.max() > 0.9

def test_part_of_a_meaning(nets):
    lm, kept = nets['xlm'], []
    assert lm.partial == 0.5
    for k in range(200):
        kept.append(lm.part(MEANING, keyed_generator(k)))
    assert (
        all(p and [x for x in MEANING if x in p] == p for p in kept)
        and 0.4 < sum(p == MEANING for p in kept) / 200 < 0.6
    )
    assert {len(p) for p in kept} == {1, 2, 3, 4} and lm.part(
        MEANING[:1], keyed_generator(0)
    ) == MEANING[:1]
    assert sum(lm.length_counts) == 400

def test_order_of_filling(nets):
    asked = []

    class Lm: # sure of the last place
        vocab, writable = Vocab('START END UNK PAD a b c MASK'.split()), 7

        def logits(self, ids):
            asked.append((ids[0] == 7).nonzero()[:, 0].tolist())
            return torch.zeros(1, ids.shape[1], 8).index_put(
                (torch.tensor(0), torch.tensor(ids.shape[1] - 1), torch.tensor(4)),
                torch.tensor(9.0),
            )

    for order, left in (('surest', [0, 1]), ('left', [1, 2])):
        asked.clear()
        out = fill_rows(Lm(), torch.full((1, 3), 7), (), keyed_generator(0), order)
        assert asked[1] == left and ((out >= 4) & (out < 7)).all()
    with pytest.raises(BadInput, match='no order'):
        nets['bert'].fill([None], order='best')

def test_prompt_is_free_and_text_is_not(nets):
    ids = torch.tensor([nets['gpt2'].prompt(MEANING) + nets['gpt2'].vocab.encode(SENTENCE)[1:]])
    nats = nets['gpt2'].token_nats(ids, torch.ones_like(ids).bool())[0]
    n = len(mr_words(MEANING))
    assert (
        (nats[:n] == 0).all()
        and (nats[n:] > 0).all()
        and abs(nats.sum() - nets['gpt2'].nats([SENTENCE], [MEANING])[0]) < 1e-3
    )

def test_nats_are_a_distribution_over_texts(nets):
    "The chance of all first words, END among them, is one."
    v = nets['gpt'].vocab
    p = torch.exp(
        -torch.tensor(
            [
                nets['gpt'].token_nats(torch.tensor([[v.start, k]]), torch.ones(1, 2).bool())[0, 0]
                for k in range(len(v))
            ]
        )
    )
    assert abs(p.sum() - 1) < 1e-3

# --- noise

@pytest.mark.parametrize('name', NOISES)
def test_noise(name):
    both = SENTENCE + OTHER
    outs = [NOISES[name](both, keyed_generator(s)) for s in range(50)]
    words = [[w for w in o if w != MASK] for o in outs]
    assert any(o != both for o in outs) and outs[7] == NOISES[name](both, keyed_generator(7))
    if name == 'mask':
        assert all(
            len(o) == len(both) and all(a in (b, MASK) for a, b in zip(o, both)) for o in outs
        )
    if name in ('permute', 'rotate'):
        assert all(sorted(o) == sorted(both) for o in outs)
    if name == 'permute':
        assert {tuple(o) for o in outs} == {tuple(both), tuple(OTHER + SENTENCE)}
    if name == 'rotate':
        assert all(
            o + o != both + both and ' '.join(both) in ' '.join(o + o) for o in outs if o != both
        )
    if name in ('delete', 'infill'):
        for w in words:
            rest = iter(both)
            assert all(x in rest for x in w)
    if name == 'infill':
        assert all(len(w) == len(both) - round(0.3 * len(both)) for w in words)

def test_empty_spans_put_masks_in():
    assert any(
        o.count(MASK) and len(o) > 10
        for o in (infill_spans(SENTENCE, keyed_generator(s), 0.1, 0.5) for s in range(50))
    )

# --- what is written

def test_same_seed_same_text(nets):
    for name, write in writes(nets):
        assert write(3) == write(3), name
        assert len({write(s) for s in range(5)}) > 1, name

def test_alone_as_together(nets):
    for lm, more in ((nets['gpt'], ()), (nets['gpt2'], (MEANING,))):
        texts = lm.sample(4, *more, seed=2)
        assert texts[3] == ' '.join(
            continue_text(
                lm, lm.prompt(MEANING) if more else [lm.vocab.start], keyed_generator(2, 3)
            )
        )

def test_what_is_given_comes_back(nets):
    given = ['The', 'Zorblax', 'is', None, None, 'near', 'Qix', '.']
    for fill in (nets['bert'].fill, lambda w, s: nets['xlm'].fill(w, MEANING, s)):
        out = fill(given, 1)
        assert (
            [a for a, b in zip(out, given) if b] == [w for w in given if w]
            and len(out) == len(given)
            and not {*out} & {MASK, 'START', 'END', 'PAD', 'UNK'}
        )
    for size, lengths in ((2, {9}), (None, {*range(7, 18)})):
        outs = [
            nets['bart'].write(
                given[:3] + [None] + given[5:] + ['It', 'is', 'cheap', '.'][:2], size, s
            )
            for s in range(6)
        ]
        assert all(o[:3] == given[:3] and o[-5:] == given[5:] + ['It', 'is'] for o in outs) and {
            len(o) - 1 for o in outs
        } <= lengths | {l + 1 for l in lengths}

def test_open_gap_ends_where_the_text_goes_on(nets, monkeypatch):
    "A decoder that would say the whole sentence fills the gap with what is missing."
    bart, v = nets['bart'], nets['bart'].vocab
    import diffusion_lm_nb.mask_filling as lms
    want = iter([*SENTENCE[4:6], *SENTENCE[6:8]])
    monkeypatch.setattr(lms, 'draw_word', lambda logits, banned, gen: v.ids[next(want)])
    assert bart.write(SENTENCE[:4] + [None] + SENTENCE[6:]) == SENTENCE

def test_masked_scores_ask_for_masked_words_only(nets):
    holes = [[None if i in (4, 8) else w for i, w in enumerate(SENTENCE)]]
    rows = lambda t, _: nets['bert'].rows([(w, None) for w in t])
    r = masked_scores(nets['bert'], [SENTENCE], holes, rows)
    logp = (
        nets['bert']
        .logits(*rows([[MASK if w is None else w for w in holes[0]]], [0]))[
            0, :, : nets['bert'].writable
        ]
        .log_softmax(-1)
    )
    assert (
        r['words'] == 2
        and abs(
            r['nats']
            + (logp[5, nets['bert'].vocab.ids['cheap']] + logp[9, nets['bert'].vocab.ids['river']])
            / 2
        )
        < 1e-3
    )

def test_gap_nats_count_the_gap_only(nets):
    r = measure.gap_nats(nets['bart'], [SENTENCE], [(4, 2)])
    each = nets['bart'].token_nats(
        *nets['bart'].rows([(SENTENCE[:4] + [MASK] + SENTENCE[6:], SENTENCE)])
    )[0]
    assert r['words'] == 2 and abs(r['nats'] - each[4:6].mean()) < 1e-4

# --- fine-tuning

def test_classifier_begins_where_the_language_model_ended(nets):
    for name in ('gpt', 'bert'):
        c = TextClassifier(nets[name], ['a', 'b']).eval()
        own = dict(c.lm.named_parameters())
        assert all(torch.equal(own[k][:len(p)], p) for k, p in nets[name].named_parameters())
        assert len(c.predict([(SENTENCE,), (SENTENCE, OTHER)])) == 2

def test_auxiliary_loss_is_weighed(nets):
    for aux in (0.0, 0.5, 2.0):
        c = TextClassifier(nets['gpt'], ['a', 'b'], aux).eval()
        ids, mask = c.rows([(SENTENCE,)])
        assert [c.lm.vocab.words[i] for i in ids[0]] == ['START', *SENTENCE, 'EXTRACT']
        total, parts = c(torch.tensor([0]), ids, mask)
        assert abs(total - parts['l2'] - aux * parts['l1']) < 1e-5
        assert abs(parts['l2'] + c.logits(ids, mask).log_softmax(-1)[0, 0]) < 1e-5
        assert abs(parts['l1'] - (aux > 0) * c.lm.token_nats(ids, mask).mean()) < 1e-4

def test_a_pair_is_read_in_both_orders(nets):
    "The answer does not depend on the order, and without `symmetric` it does."
    pair = SENTENCE, OTHER
    for symmetric in (True, False):
        torch.manual_seed(1)
        c = TextClassifier(nets['gpt'], ['a', 'b'], symmetric=symmetric).eval()
        torch.nn.init.normal_(c.head.weight)
        rows = c.rows([pair, pair[::-1]])
        assert len(rows[0]) == (4 if symmetric else 2)
        with torch.no_grad(): a, b = c.logits(*rows)
        assert torch.allclose(a, b, atol=1e-5) == symmetric
    marks = [c.lm.vocab.words[i] for i in c.rows([pair])[0][0]]
    assert marks == ['START', *SENTENCE, 'DELIM', *OTHER, 'EXTRACT']

@pytest.mark.parametrize('short, said, similar', [
    (MEANING[:2], 'said', None), (MEANING, 'said', 'same'),
    ([*MEANING[:1], ('Type', 'bistro')], 'denied', None),
    ([*MEANING[:1], ('food', 'French')], 'not said', None),
    ([*MEANING[:1], ('price', 'high')], None, None),
    ([MEANING[0], ('eatType', 'bistro'), *MEANING[2:]], 'denied', 'other'),
    ([*MEANING[:2], ('price', 'high'), MEANING[3]], None, None),
    ([MEANING[0], ('Type', 'bistro'), ('price', 'high'), MEANING[3]], 'denied', None)])
def test_what_one_meaning_says_of_another(short, said, similar):
    assert relation(MEANING, short) == said and one_fact_apart(MEANING, short) == similar

def test_pairs_are_what_they_are_said_to_be():
    texts = load_corpus('grammar')[:4000]
    meaning = {tuple(e.words): e.mr for e in texts}
    for make, label in ((entailment_pairs, relation), (similarity_pairs, one_fact_apart)):
        pairs = make(texts, 40, keyed_generator(2))
        names = [n for _, n in pairs]
        assert {n: names.count(n) for n in names} == dict.fromkeys({*names}, 40)
        assert len({p for p, _ in pairs}) == len(pairs)        # none twice
        for (a, b), name in pairs:
            assert a != b and len(a) + len(b) <= 61 and label(meaning[a], meaning[b]) == name
            assert dict(meaning[a])['name'] == dict(meaning[b])['name']
        assert pairs == make(texts, 40, keyed_generator(2)) != make(texts, 40, keyed_generator(3))
    short = draw_pairs(texts, texts, lambda e: 0, lambda a, b: 'any', ['any'], 30,
                       keyed_generator(0), most=30)
    assert all(len(a) + len(b) <= 30 for (a, b), _ in short)

def test_next_sentences_are_counted(nets, corpus):
    "A network that always says the same is right as often as this is the answer."
    bert = copy.deepcopy(nets['bert'])
    with torch.no_grad():
        bert.net.cls.seq_relationship.weight.zero_()
        bert.net.cls.seq_relationship.bias.copy_(torch.tensor([1., 0.]))
    share, n = next_sentence_accuracy(bert, corpus, keyed_generator(4))
    from diffusion_lm_nb.language_models import sentence_pairs
    answers = sentence_pairs(corpus, keyed_generator(4))[1]
    kept = answers[answers >= 0]
    assert n == len(kept) and abs(share - (kept == 0).float().mean()) < 1e-6

def test_no_meaning_is_in_two_parts():
    parts = [{str(sorted(e.mr)) for e in part} for part in measure.by_meaning('grammar')]
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
    assert len(parts[0]) > 3 * len(parts[1]) > 0

def test_fields_of_both_texts():
    pair, _ = measure.pairs_of('grammar', 'entailment')[2][0]
    long, short = measure.fields_of('grammar')(pair)
    assert len(long) >= 5 and len(short) == 3 and 'name' in long and 'name' in short

def test_missing_words_are_counted(monkeypatch):
    said, other = ((('a', 'b'), ('a',)), 'said'), ((('a', 'b'), ('c',)), 'not said')
    monkeypatch.setattr(measure, 'pairs_of', lambda *_: [[said, other], [], [said, other, (
        (('a',), ('b', 'c')), 'said')]])
    found = measure.looked_up('x', 'y', measure.missing_words)
    assert found['accuracies'] == [2 / 3]                     # two missing: never seen
    assert measure.without_first([said]) == [((['.'], ('a',)), 'said')]
    assert measure.without_second([said]) == [((('a', 'b'), ['.']), 'said')]

def test_few_labels_are_balanced(corpus):
    few = few_labels(corpus, rating, 5, 0)
    assert {k: sum(rating(e) == k for e in few) for k in map(rating, few)} == dict.fromkeys(
        {*map(rating, corpus)}, 5
    )
    assert few == few_labels(corpus, rating, 5, 0) != few_labels(corpus, rating, 5, 1)

# --- batches, saving, complaints

@pytest.mark.parametrize('name', LM_PRESETS | BART_PRESETS)
def test_every_preset_makes_a_model(name, corpus):
    p = PRESETS[name]
    p = replace(p, model=p.model | SMALL, batch_size=8, min_count=0)
    model, at = KINDS[p.kind](p, corpus, 0)
    assert float(model(*at(0))[0].detach()) > 0

@pytest.mark.parametrize('name', NAMES)
def test_batch_is_a_function_of_the_step(name, corpus):
    p = replace(
        PRESETS[f'grammar-{name}'], model=PRESETS[f'grammar-{name}'].model | SMALL, batch_size=8
    )
    at = [KINDS[p.kind](p, corpus, 0)[1] for _ in range(2)]
    at[0](0)
    for a, b in zip(at[0](5), at[1](5)):
        if isinstance(a, torch.Tensor):
            assert torch.equal(a, b)

@pytest.mark.parametrize('name', NAMES)
def test_a_few_steps_teach_something(name, corpus):
    p = replace(
        PRESETS[f'grammar-{name}'],
        model=PRESETS[f'grammar-{name}'].model | SMALL,
        batch_size=16,
        steps=40,
        warmup=5,
    )
    torch.manual_seed(0)
    model, at = KINDS[p.kind](p, corpus, 0)
    loss = lambda: sum(float(model.eval()(*at(k))[0].detach()) for k in range(100, 104)) / 4
    before = loss()
    fit(model, at, p, device='cpu', quiet=True)
    assert loss() < before - 0.3

@pytest.mark.parametrize('name', NAMES)
def test_saved_and_loaded(name, nets, tmp_path):
    nets[name].save_pretrained(tmp_path)
    again = type(nets[name]).from_pretrained(tmp_path).eval()
    a, b = (dict(m.named_parameters()) for m in (nets[name], again))
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    first = dict(writes({**nets, name: nets[name]}))[name](1)
    assert first == dict(writes({**nets, name: again}))[name](1)

def test_shipped_translation_model_uses_the_meaning():
    held_out = load_corpus('grammar', 'test')[:60]
    words = [e.words for e in held_out]
    holes = [cloze(w, keyed_generator(0, i)) for i, w in enumerate(words)]
    nats = {
        (n, see): masked_scores(
            lm,
            words,
            holes,
            lambda t, part: lm.rows(
                [((held_out[i].mr if see else None), w) for w, i in zip(t, part)]
            ),
        )['nats']
        for n in ('grammar-xlm', 'grammar-xlm-mlm')
        for lm in [XLM.from_pretrained(n).eval()]
        for see in (False, True)
    }
    assert nats['grammar-xlm', True] < 0.7 * min(
        v for k, v in nats.items() if k != ('grammar-xlm', True)
    )

@pytest.mark.parametrize(
    'wrong, words',
    [
        (lambda n: n['bert'].fill([None] * 70), 'too long'),
        (lambda n: n['bert'].fill([]), 'at least one place'),
        (lambda n: n['xlm'].fill([None], [('colour', 'red')]), 'no field'),
        (lambda n: n['xlm'].fill([None], 'cheap'), 'pairs'),
        (lambda n: n['gpt2'].sample(1, [('food',)]), 'pairs'),
        (lambda n: n['bart'].write([None, None, '.']), 'in a row'),
        (lambda n: n['bart'].write([None, '.'], [1, 2]), 'one a gap'),
        (lambda n: n['bart'].write(['a'] * 60 + [None]), 'too long'),
        (lambda n: XLM(n['gpt'].vocab.words, 'xyz'), 'no objective'),
        (lambda n: BART(n['gpt'].vocab.words, 'melt'), 'no noise'),
        (lambda n: TextClassifier(n['xlm'], ['a']), 'no classifier'),
        (lambda n: TextClassifier(n['gpt'], ['a']).rows([(SENTENCE * 4, SENTENCE * 4)]), 'shorter'),
        (lambda n: entailment_pairs(load_corpus('grammar')[:20], 9, keyed_generator(0)), 'found'),
    ],
)
def test_complaints(nets, wrong, words):
    with pytest.raises(BadInput, match=words) as e:
        wrong(nets)
    assert '\n' not in str(e.value)

def test_texts_without_meanings_are_refused(corpus):
    bare = [Example(e.words) for e in corpus]
    for name in ('xlm', 'gpt2'):
        with pytest.raises(BadInput, match='meaning representations'):
            KINDS[name](PRESETS[f'grammar-{name}'], bare, 0)

def test_a_cloze_masks_one_word_at_least():
    "Also where the smallest number drawn is far above the rate."
    for i in range(200): assert None in cloze('a b c'.split(), keyed_generator(0, i))
    many = [w for i in range(100) for w in cloze(['w'] * 60, keyed_generator(1, i))]
    assert .13 < many.count(None) / len(many) < .17

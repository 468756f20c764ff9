"The baselines: what they draw from, what they may write, what they refuse."
import json, math, os
from dataclasses import replace
from itertools import product
from pathlib import Path
import pytest, torch, torch.nn.functional as F
from diffusion_lm_nb import (
    BadInput,
    Infill,
    Length,
    PartsOfSpeech,
    SemanticContent,
    SyntaxSpan,
    SyntaxTree,
)
from diffusion_lm_nb import baselines
from diffusion_lm_nb.baselines import Stream, beam_search, draw, sample_stream
from diffusion_lm_nb.fine_tuning import (
    FT, FineTuned, FTPoE, FT_TASKS, MARKS, Product, control_tokens, labelled_corpus, make_ft,
)
from diffusion_lm_nb.prefix_classifiers import FUDGE, FudgeStream, make_fudge
from diffusion_lm_nb.plug_and_play import GeDi, PPLM, XLMWriter, make_gedi
from diffusion_lm_nb.infilling import ARWriter, ByModel, LeftWriter
from diffusion_lm_nb.gradient_decoding import Cold, Delorean
from diffusion_lm_nb.commands import BASELINES, INFILLERS, MAKERS, TUNED, make_baseline
from diffusion_lm_nb.files import read_rows
from diffusion_lm_nb.trees import LABELS, UPOS, read_tree, tree_spans
from diffusion_lm_nb.syntax import TASKS
from diffusion_lm_nb.commands import dlm_control, dlm_infill
from diffusion_lm_nb.grammar import Grammar
from diffusion_lm_nb.corpora import load_corpus
from diffusion_lm_nb.data import MAX_WORDS, SPECIALS, pad_batch
from diffusion_lm_nb.mask_filling import BART
from diffusion_lm_nb.language_models import BERT, XLM
from diffusion_lm_nb.commands import reproduce
from diffusion_lm_nb.loss import keyed_generator
from diffusion_lm_nb.training import fit, make_ar
from diffusion_lm_nb.commands import KINDS, PRESETS

SMALL = dict(width=32, layers=2, heads=2, dropout=0.)
SENTENCE = 'The Eagle is a cheap pub near the river .'.split()
TREE = SyntaxTree(Grammar().parse(SENTENCE).tree)
FRENCH, TAGS = SemanticContent('food', 'French'), PartsOfSpeech(Grammar().parse(SENTENCE).tags)
SINGLE = dict(semantic=FRENCH, length=Length(7), pos=TAGS, tree=TREE, spans=SyntaxSpan(2, 4, 'NP'))

@pytest.fixture(scope='module')
def corpus(): return load_corpus('grammar')[:600]

@pytest.fixture(scope='module')
def nets(corpus):
    "One small model of each kind, as it comes: what it writes is chance, what it may write is not."
    preset = lambda name, **model: replace(PRESETS['grammar-ar'], model=model, batch_size=8)
    torch.manual_seed(0)
    out = dict(
        ar=make_ar(preset('ar', **SMALL), corpus, 0)[0],
        ft=make_ft(preset('ft', task=','.join(FT_TASKS), length=128, **SMALL), corpus, 0)[0],
        fudge=make_fudge(preset('fudge', width=24), corpus, 0)[0],
        gedi=make_gedi(preset('gedi', **SMALL), corpus, 0)[0],
    )
    out['xlm'] = KINDS['xlm'](preset('xlm', **SMALL), corpus, 0)[0]
    return {k: m.eval().requires_grad_(False) for k, m in out.items()}

@pytest.fixture
def short(nets, monkeypatch):
    "Untrained models know no end: sixteen words are enough."
    monkeypatch.setattr(baselines, 'MAX_WORDS', 16)

def writers(nets): # (writer, a control that it takes)
    ft, ar = nets['ft'], nets['ar']
    gap = Infill.parse('The Eagle is a ___{3} near the river .')
    yield from ((FT(ft, beam), c) for beam in (None, 3) for c in SINGLE.values())
    yield from ((FUDGE(ar, nets['fudge']), c) for c in [*SINGLE.values(), TAGS & FRENCH])
    yield FTPoE({PartsOfSpeech: ft, SemanticContent: ft}, ar, base=0.5), TAGS & FRENCH
    yield GeDi(ar, nets['gedi']), FRENCH
    yield PPLM(ar), FRENCH
    yield from (
        (XLMWriter(nets['xlm'], o), c)
        for o in ('surest', 'left')
        for c in (FRENCH, Length(7), FRENCH & Length(9))
    )
    yield from (
        (w, gap)
        for w in (
            LeftWriter(ar),
            ARWriter(ft),
            Cold(ar, iterations=4),
            Delorean(ar, passes=2, inner=2),
        )
    )
    yield ARWriter(ft), Infill.parse('The Eagle is a ___ near the river .')

# --- what is drawn from

def test_draw_follows_the_probabilities():
    p = torch.tensor([.6, 0., .3, .1])
    ids = draw(p.log().expand(4000, -1), [keyed_generator(3, k) for k in range(4000)])
    assert (torch.bincount(ids, minlength=4) / 4000 - p).abs().max() < .03 and not (ids == 1).any()

@pytest.mark.parametrize('control', SINGLE.values(), ids=SINGLE)
def test_stream_and_training_agree(nets, control):
    ft, stream, nats = nets['ft'], nets['ft'].stream(control), []
    ids = ft.vocab.encode(SENTENCE)[1:]
    for i in ids:
        nats.append(-stream.logp[0, i])
        stream.read(torch.tensor([i]))
    trained = ft.token_nats(*ft.rows([(control, SENTENCE), (Length(3), ['pub'])]))[: len(ids)]
    assert (
        (trained - torch.stack(nats)).abs() < 0.3
    ).all() # START, UNK and PAD cannot be drawn: the rest has a little more
    a = trained - torch.stack(nats)
    assert (a >= -1e-5).all()

def test_gap_numbers_run_on(nets):
    ft = nets['ft']
    ids, mask, numbers = ft.rows([(Infill.parse('a b ___{2} c'), ['x', 'y'])])
    told = [ft.vocab.words[n] for n in numbers[0]]
    assert told == [
        '<1>',
        '<2>',
        'PAD',
        '<4>',
        '<2>',
        '<3>',
        '<4>',
        '<5>',
    ] # a b gap c START x y END
    assert mask[0].tolist() == [False] * 5 + [True] * 3

def test_tokens_hold_the_whole_tree(corpus):
    for e in corpus[:100]:
        tree, stack, spans = SyntaxTree(e.tree), [], []
        for token, i in control_tokens(tree):
            if token[1] == '(': stack.append((i, token[2:-1]))
            else: spans += [(a, i, l) for a, l in (stack.pop() for _ in range(int(token[2:-1])))]
        assert not stack and sorted(spans) == sorted(tree_spans(read_tree(e.tree)))

class Chain:
    "A stream over END (1) and three words; what comes next depends on the last word alone."
    room, table = 9, (2 * torch.randn(5, 5, generator=torch.Generator().manual_seed(8))).index_fill(
        1, torch.tensor([0]), -torch.inf
    ).log_softmax(-1)
    def __init__(self): self.logp = self.table[:1]
    def read(self, ids): self.logp = self.table[ids]
    def keep(self, rows): self.logp = self.logp[rows]

def test_wide_beam_finds_the_best():
    cost = lambda w: -sum(float(Chain.table[a, b]) for a, b in zip((0, *w), (*w, 1))) / (len(w) + 1)
    every = sorted((cost(w), list(w)) for n in range(1, 5) for w in product((2, 3, 4), repeat=n))
    found = beam_search(Chain(), 1, most=4, beam=100)
    assert [w for _, w in found[:3]] == [w for _, w in every[:3]] and abs(
        found[0][0] - every[0][0]
    ) < 1e-5
    assert beam_search(Chain(), 1, most=4, beam=2)[0][0] >= every[0][0] - 1e-6

def test_least_and_most_words():
    texts = sample_stream(Chain(), [keyed_generator(0, k) for k in range(200)], 1, most=4, least=2)
    assert {len(t) for t in texts} == {2, 3, 4}

@pytest.mark.parametrize('temperature', [.5, 1., 3.])
def test_a_temperature_sharpens_the_next_word(temperature):
    "First words come as often as p^(1/T), normalised, says."
    gens = [keyed_generator(1, k) for k in range(4000)]
    texts = sample_stream(Chain(), gens, 1, most=1, least=1, temperature=temperature)
    p = (Chain.table[0] / temperature).clone()
    p[1] = -torch.inf
    found = torch.bincount(torch.tensor([t[0] for t in texts]), minlength=5) / len(texts)
    assert (found - p.softmax(-1)).abs().max() < .03

def test_product_is_bayes_rule():
    p, q = torch.tensor([0, .1, .2, .3, .4]), torch.tensor([0, .4, .4, .1, .1])
    a, b = Chain(), Chain()
    a.logp, b.logp = p.log()[None], q.log()[None]
    assert (Product([a, b], [1., 1.]).logp.exp()[0] - p * q / (p * q).sum()).abs().max() < 1e-5
    assert (Product([a, b, a], [1., 1., -1.]).logp.exp()[0] - q).abs().max() < 1e-5

# --- FUDGE

def test_one_step_is_the_lstm(nets):
    clf, ids = nets['fudge'], torch.randint(
        4, 60, (3, 6), generator=torch.Generator().manual_seed(0)
    )
    state = (torch.zeros(3, 24),) * 2
    for i in range(6):
        state = tuple(s[:, 0] for s in clf.step(state, ids[:, i : i + 1]))
    assert (state[0] - clf.lstm(clf.emb(ids))[0][:, -1]).abs().max() < 1e-5

def test_tags_are_predicted_around_the_last_word(nets):
    clf, h = nets['fudge'], torch.randn(24, generator=torch.Generator().manual_seed(0))
    logp, tags = clf.tags('pos', h), TAGS.tags
    for j in (0, 4, len(tags) - 1, len(tags)):
        want = sum(
            logp[k, UPOS.index(tags[j + d]) if j + d < len(tags) else len(UPOS)]
            for k, d in enumerate((-1, 0, 1, 2, 3))
            if j + d >= 0
        )
        assert abs(clf.log_prob(TAGS, h, j) - want) < 1e-5
    assert (
        abs(clf.log_prob(Length(9), h, 4) - clf.tags('left', h)[0, 4]) < 1e-6
        and abs(clf.log_prob(Length(9), h, 9) - clf.tags('left', h)[0, MAX_WORDS]) < 1e-6
    )

def test_what_a_classifier_learns_stands_where_it_is_asked(corpus):
    """A classifier whose loss knows the answers: trained on lengths, it says how many words are
    left.
    """
    p = replace(
        PRESETS['grammar-fudge'],
        model=dict(width=32),
        steps=60,
        batch_size=16,
        lr=2e-2,
        warmup=5,
        ema=0.9,
    )
    same = [
        replace(e, words=['pub'] * n, tags=['NOUN'] * n, tree='(S (NP ' + 'pub ' * n + '))')
        for e in corpus
        for n in [3]
    ]
    torch.manual_seed(0)
    clf, at = make_fudge(replace(p, min_count=0), same, 0)
    fit(clf, at, p, device='cpu', quiet=True)
    with torch.no_grad():
        h = clf.lstm(clf.emb(torch.tensor([clf.vocab.encode(['pub'] * 3)])))[0][0, 1:]
    for j, left in enumerate((2, 1, 0, MAX_WORDS)):
        assert clf.tags('left', h[j])[0].argmax() == left
    assert clf.tags('pos', h[0])[2].argmax() == UPOS.index('NOUN') and clf.tags('pos', h[0])[
        4
    ].argmax() == len(
        UPOS
    ) # next word; behind the end
    assert clf.log_prob(Length(3), h[1], 1) > clf.log_prob(Length(4), h[1], 1)
    assert clf.span(h[1], *torch.tensor([-1, 1, LABELS.index('NP')])) > clf.span(
        h[1], *torch.tensor([-1, 0, LABELS.index('NP')])
    )

def test_fudge_weighs_the_likeliest(nets):
    ar, clf = nets['ar'], nets['fudge']
    base = Stream(ar, [0])
    f = FudgeStream(base, clf, [(FRENCH, 3.0)], pool=20, top=5)
    kept = f.logp[0].isfinite().nonzero()[:, 0].tolist()
    pool = base.logp[0].topk(20).indices
    h, _ = clf.step(f.state, pool[None])
    score = base.logp[0, pool] + 3 * F.logsigmoid(
        clf.pair(h)[0, :, clf.pairs.index(('food', 'French'))]
    )
    best = score.topk(5)
    assert sorted(kept) == sorted(pool[best.indices].tolist())
    assert (f.logp[0, pool[best.indices]] - best.values.log_softmax(0)).abs().max() < 1e-5

def test_weight_zero_is_the_base(nets):
    ar = nets['ar']
    free = Stream(ar, [0]).logp.softmax(-1)
    assert (
        FUDGE(ar, nets['fudge'], 0.0, pool=10**6, top=10**6).stream(FRENCH).logp.softmax(-1) - free
    ).abs().max() < 1e-6
    assert (
        GeDi(ar, nets['gedi'], 0.0, filter=2.0).stream(FRENCH).logp.softmax(-1) - free
    ).abs().max() < 1e-6
    a, b = (PPLM(ar, step, top=10**6, kl=0.0).stream(FRENCH) for step in (0.0, 0.5))
    for s in (a, b):
        s.read(torch.tensor([9]))
    s = Stream(ar, [0, 9])
    assert (a.logp.softmax(-1) - s.logp.softmax(-1)).abs().max() < 1e-5
    bag = ar.vocab.ids['French']
    assert b.logp[0, bag] > a.logp[0, bag] # and a step goes the right way

# --- GeDi

def test_codes_are_weighed_by_bayes_rule(nets):
    gedi, ids = nets['gedi'], [nets['gedi'].vocab.ids[w] for w in [*SENTENCE[:4], 'pub']]
    s, each = GeDi(nets['ar'], gedi).stream(FRENCH), [
        gedi.stream(code) for code in gedi.codes(FRENCH)
    ]
    s.scale, total = 40.0, torch.zeros(len(each))
    for i in ids:
        got, total = s.log_class()[0, i], total + torch.stack([t.logp[0, i] for t in each])
        for t in (s, *each):
            t.read(torch.tensor([i]))
    assert abs(got - (40 / 5 * total).log_softmax(0)[0]) < 1e-3 # the mean over five words
    assert gedi.codes(FRENCH)[0] == ('food', 'French') and gedi.codes(FRENCH)[-1] == ('food', None)
    assert (
        len({len(gedi.prefix(c)[0]) for c in gedi.codes(SemanticContent('near', 'the river'))}) == 1
    )

# --- whoever writes

def test_alone_or_in_company(short, nets):
    for w, c in writers(nets):
        other = Infill.parse('Near the ___{2} .') if isinstance(c, Infill) else c
        both = w.write([other, c, other], 3, seed=5)
        assert w.write([c], 3, seed=5, indices=[1]) == both[1:2], w.name
        assert w.write([other, c, other], 3, seed=5) == both, w.name
        assert [len(t) for t in both] == [3, 3, 3]

def test_another_seed_another_text(short, nets):
    for w, c in writers(nets):
        if getattr(w, 'beam', None) or isinstance(w, Delorean) or isinstance(w, Cold): continue
        assert w.write([c], 4, seed=0) != w.write([c], 4, seed=1), w.name

def test_only_words_are_written(short, nets):
    words = {w for w in nets['ar'].vocab.words if w not in SPECIALS}
    for w, c in writers(nets):
        for t in w.write([c], 4)[0]:
            assert t and {*t.split()} <= words and len(t.split()) <= MAX_WORDS, w.name

def test_search_repeats_its_best(short, nets):
    texts = FT(nets['ft'], beam=3).write([TAGS], 3)[0]
    assert texts[0] == texts[1] == texts[2]

def test_what_surrounds_a_gap_comes_back(nets):
    ar, ft = nets['ar'], nets['ft']
    one, two = Infill.parse('Zanzibar is ___{2} beside Xyzzy .'), Infill.parse(
        '___{2} is Zanzibar ___{1} .'
    )
    for w in (
        LeftWriter(ar),
        ARWriter(ft),
        Cold(ar, iterations=2),
        Delorean(ar, passes=2, inner=1),
    ):
        for t in w.write([one], 2)[0]:
            assert one.check(t.split()) and len(t.split()) == 7, w.name
    assert all(two.check(t.split()) for t in LeftWriter(ar).write([two], 3)[0])
    for w in (ARWriter(ft), Cold(ar), Delorean(ar)):
        with pytest.raises(BadInput, match='one gap'):
            w.write([two])
    for w in (LeftWriter(ar), Cold(ar), Delorean(ar)):
        with pytest.raises(BadInput, match=r'___\{3\}'):
            w.write([Infill.parse('The Eagle ___ .')])
        with pytest.raises(BadInput, match='too long'):
            w.write([Infill(['pub'] * 70, [], 2)])

def test_bert_and_bart_are_asked_for_gaps():
    class Bert:
        vocab = None

        def fill(self, words, seed):
            return [w or 'x' for w in words]

    class Bart:
        vocab = None

        def write(self, words, n, seed):
            return (
                [w for u, k in zip(words, iter([0, *n, 0])) for w in [u]]
                if None not in words
                else [x for w in words for x in ([w] if w else ['y'] * (n[0] or 2))]
            )

    gap = Infill.parse('a ___{3} b')
    assert ByModel(Bert()).write([gap]) == [['a x x x b']] and ByModel(Bart()).write(
        [gap, Infill.parse('a ___ b')]
    ) == [['a y y y b'], ['a y y b']]
    with pytest.raises(BadInput, match='bert needs the size'):
        ByModel(Bert()).write([Infill.parse('a ___ b')])

def test_bart_writes_freely_until_the_size_fits():
    class Bart: # free texts get longer, one word a try
        vocab, free = None, 0

        def write(self, words, n, gen):
            self.free += n is None
            return [
                x
                for w in words
                for x in ([w] if w else ['forced'] * n[0] if n else ['free'] * self.free)
            ]

    gap = Infill.parse('a ___{3} b')
    assert (
        ByModel(Bart()).write([gap])
        == ByModel(Bart(), tries=2).write([gap])
        == [['a forced forced forced b']]
    )
    assert ByModel(Bart(), tries=3).write([gap]) == [['a free free free b']]
    assert ByModel(Bart(), tries=9).write([Infill.parse('a ___{1} ___{2} b')]) != [
        []
    ] # two in a row cannot be told apart

def test_xlm_counts_its_masks(nets):
    writer = XLMWriter(nets['xlm'])
    assert {len(t.split()) for t in writer.write([Length(9)], 3)[0]} == {9}
    sizes = [len(t.split()) for t in writer.write([FRENCH], 12)[0]]
    assert len({*sizes}) > 2 and all(nets['xlm'].length_counts[n] for n in sizes)
    asked = []

    class Asked(XLM):
        def fill(self, words, mr=None, seed=0, order='surest'):
            asked.append((words, mr))
            return ['pub']

    writer.lm.__class__ = Asked
    try:
        writer.write([FRENCH & Length(4), Length(2)])
    finally:
        writer.lm.__class__ = XLM
    assert asked == [([None] * 4, [('food', 'French')]), ([None] * 2, None)]
    writer.lm.length_counts, kept = None, writer.lm.length_counts
    try:
        with pytest.raises(BadInput, match='lengths'):
            writer.write([FRENCH])
    finally:
        writer.lm.length_counts = kept
    with pytest.raises(BadInput, match='Martian'):
        writer.write([SemanticContent('food', 'Martian')])

def test_energies_are_each_texts_own(nets):
    cold = Cold(nets['ar'])
    _, _, left, right, n = cold.sides(Infill.parse('The Eagle is a ___{3} near the river .'))
    y = torch.randn(3, n, len(cold.vocab), generator=torch.Generator().manual_seed(0))
    common = torch.tensor([9])
    y.requires_grad_()
    together = cold.energy(y, left, right, common)
    g, = torch.autograd.grad(together[1], y)
    assert g[1].abs().sum() > 0 and g[0].abs().sum() == 0
    alone = torch.cat([cold.energy(y[b:b + 1], left, right, common) for b in range(3)])
    assert (together - alone).abs().max() < 1e-5

def test_langevin_lowers_the_energy(nets):
    cold = Cold(nets['ar'], iterations=40, noise=((1., 0.),))
    _, _, left, right, n = cold.sides(Infill.parse('The Eagle is a ___{3} near the river .'))
    common, seen = torch.tensor([9]), []
    energy = cold.energy
    cold.energy = lambda *a: (e := energy(*a), seen.append(float(e.detach().sum())))[0]
    cold.write_one(Infill.parse('The Eagle is a ___{3} near the river .'), [keyed_generator(0)])
    assert seen[-1] < seen[0] - .1

def test_backward_pass_serves_the_right_side(nets):
    d = Delorean(nets['ar'], step=1e-2)
    _, _, left, right, n = d.sides(Infill.parse('The Eagle is a ___{3} near the river .'))
    y = d.forward_pass(left, n)
    nats = lambda y: d.right_nats(d.reads(left, d.words_only(y).softmax(-1), right), right).item()
    assert nats(d.backward_pass(left, y, right)) < nats(y)

# --- training

def test_ft_learns_to_obey(corpus):
    p = replace(
        PRESETS['grammar-ft-semantic'],
        model=dict(task='semantic', length=80, width=64, layers=2, heads=4, dropout=0.0),
        steps=160,
        batch_size=32,
        lr=8e-3,
        warmup=20,
        ema=0.97,
    )
    food = [replace(e, mr=[fv for fv in e.mr if fv[0] == 'food']) for e in corpus]
    torch.manual_seed(0)
    model, at = make_ft(p, food, 0)
    fit(model, at, p, device='cpu', quiet=True)
    foods = [SemanticContent('food', f) for f in ('French', 'Italian', 'Japanese')]
    texts = FT(model).write(foods, 6)
    assert sum(c.check(t.split()) for c, ts in zip(foods, texts) for t in ts) >= 11

@pytest.fixture(scope='module')
def tiny_gpt2(tmp_path_factory):
    "A folder with the files of the published GPT-2: random weights, pieces learnt from the grammar."
    from tokenizers import ByteLevelBPETokenizer
    from transformers import GPT2Config, GPT2LMHeadModel
    folder = tmp_path_factory.mktemp('gpt2')
    pieces = ByteLevelBPETokenizer()
    texts = [' '.join(e.words) for e in Grammar().sample(200)]
    pieces.train_from_iterator(texts, vocab_size=320, special_tokens=['<|endoftext|>'])
    pieces.save_model(str(folder))
    config = GPT2Config(vocab_size=320, n_embd=32, n_layer=2, n_head=2, n_positions=256,
                        bos_token_id=0, eos_token_id=0)
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder

@pytest.fixture
def gpt2_preset(tiny_gpt2, monkeypatch):
    from diffusion_lm_nb import mask_filling
    monkeypatch.setitem(mask_filling.PUBLISHED, 'tiny', (str(tiny_gpt2), 'GPT2LMHeadModel'))
    model = dict(task='semantic', published='tiny', length=80, width=32, layers=2, heads=2)
    return replace(PRESETS['grammar-ft-semantic'], model=model, batch_size=8, steps=2, min_count=0)

def test_ft_starts_from_a_published_gpt2(gpt2_preset, corpus, tmp_path):
    "Layers and positions are the published ones; what is saved loads and writes."
    from diffusion_lm_nb.mask_filling import published
    tokenizer, source = published('tiny')
    model, at = make_ft(gpt2_preset, corpus[:200], 0)
    theirs, ours = source.transformer, model.net.transformer
    for a, b in zip(theirs.h.parameters(), ours.h.parameters(), strict=True): assert (a == b).all()
    assert (ours.wpe.weight == theirs.wpe.weight[:80]).all()
    vector = lambda w: ours.wte.weight[model.vocab.ids[w]]
    ends = theirs.wte.weight[tokenizer.eos_token_id]
    assert (vector('START') == ends).all() and (vector('END') == ends).all()
    for w in ('pub', 'restaurant', '.'):
        pieces = theirs.wte.weight[tokenizer.encode(f' {w}')]
        torch.testing.assert_close(vector(w), pieces.mean(0))
    assert vector(MARKS[0]).std() < .04
    assert model.net.lm_head.weight is ours.wte.weight
    loss, _ = model(*at(0))
    assert loss.isfinite()
    fit(model, at, gpt2_preset, device='cpu', quiet=True)
    model.save_pretrained(tmp_path)
    (texts,) = FT(FineTuned.from_pretrained(tmp_path)).write([SemanticContent('food', 'French')], 2)
    assert len(texts) == 2

def test_a_gpt2_of_another_size_is_refused(gpt2_preset, corpus):
    wide = replace(gpt2_preset, model=gpt2_preset.model | dict(width=64))
    with pytest.raises(BadInput, match='n_embd is 64 here and 32'): make_ft(wide, corpus[:50], 0)
    unknown = replace(gpt2_preset, model=gpt2_preset.model | dict(published='gpt9'))
    with pytest.raises(BadInput, match='no published model'): make_ft(unknown, corpus[:50], 0)

def test_the_presets_of_a_published_gpt2_have_its_size():
    names = [n for n, p in PRESETS.items() if p.model.get('published')]
    assert len(names) == 5
    for n in names:
        sizes = {k: PRESETS[n].model[k] for k in ('width', 'layers', 'heads')}
        assert sizes == dict(width=768, layers=12, heads=12) and PRESETS[n].kind == 'ft'

def test_presets_make_what_they_name(corpus):
    for name, p in PRESETS.items():
        if name.startswith('grammar-') and p.kind in ('ft', 'fudge', 'gedi'):
            model, at = KINDS[p.kind](replace(p, batch_size=4), corpus[:300], 0)
            loss, parts = model(*at(0))
            assert loss.isfinite() and f'e2e-{name[8:]}' in PRESETS, name

def test_labels_are_made_once(tmp_path, capsys):
    (tmp_path / 'own.txt').write_text('The Eagle is a pub .\nIt is cheap .\n')
    a, b = (labelled_corpus(tmp_path / 'own.txt', folder=tmp_path) for _ in range(2))
    assert (
        a == b
        and a[0].tags == ['DET', 'PROPN', 'AUX', 'DET', 'NOUN', 'PUNCT']
        and capsys.readouterr().err.count('labelling') == 1
    )
    (kept,) = tmp_path.glob('*.jsonl')
    kept.write_text(kept.read_text().splitlines()[0] + '\n')
    with pytest.raises(BadInput, match='delete it'):
        labelled_corpus(tmp_path / 'own.txt', folder=tmp_path)

# --- by name

def test_every_method_says_what_it_can():
    tasks = [*TASKS, 'semantic+pos', 'tree+semantic', 'infill']
    plain = lambda methods: {m for m in methods if not m.endswith('-authors')}
    assert plain(BASELINES) == {
        'ft-sample',
        'ft-search',
        'pplm',
        'fudge',
        'gedi',
        'ft-poe',
        'xlm',
        'grid-beam',
        'ctrl-g',
        'ctrl-g-search',
    } and plain(INFILLERS) == {'ar-left', 'ar', 'bert', 'bart', 'cold', 'delorean'}
    can = {
        m: [t for t in tasks if cls.reason(t) is None] for m, (cls, _) in MAKERS.items()
    }
    assert (
        can['fudge'] == tasks[:-1]
        and can['ft-search'] == TASKS
        and can['ft-poe'] == tasks[5:7]
        and can['gedi'] == can['pplm'] == ['semantic']
        and can['cold'] == ['infill']
        and can['grid-beam'] == can['ctrl-g'] == ['semantic', 'length']
    )
    for m, (cls, _) in MAKERS.items():
        for t in tasks:
            if t not in can[m]:
                with pytest.raises(BadInput, match='cannot do'):
                    make_baseline(m, t)
    with pytest.raises(BadInput, match='no method'):
        make_baseline('wishing', 'pos')

def test_tuned_settings_are_for_e2e_and_by_task(tmp_path, nets):
    for name in ('ar', 'fudge'):
        nets[name].save_pretrained(tmp_path / name)
    make = lambda m, t, **k: make_baseline(m, t, 'cpu', tmp_path, **k)
    assert (
        make('fudge', 'pos').weight == TUNED['fudge', 'pos']['weight']
        and make('fudge', 'pos').temperature == TUNED['fudge', 'pos']['temperature']
    )
    assert make('fudge', 'spans').weight is None # not swept to another: the authors'
    for w in (make('fudge-authors', 'pos'), make('fudge', 'pos', tuned=False)):
        assert w.weight is None and w.top == 10
    assert (
        make('fudge', 'pos', weight=7.0).weight == 7.0
        and make('fudge-authors', 'pos').name == 'fudge-authors'
    )

def test_a_missing_model_names_its_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match='dlm-train nowhere-ft-pos --out runs/nowhere-ft-pos'):
        make_baseline('ft-sample', 'pos', corpus='nowhere')

def test_models_come_back_from_their_folders(nets, tmp_path):
    for name, model in dict(
        ar=nets['ar'],
        gedi=nets['gedi'],
        fudge=nets['fudge'],
        **{'grammar-ft-pos': nets['ft'], 'infill-ar': nets['ft']},
    ).items():
        model.save_pretrained(tmp_path / name)
    make = lambda m, t, **s: make_baseline(m, t, 'cpu', tmp_path, 'grammar', **s)
    assert make('gedi', 'semantic').write([FRENCH], 2) == GeDi(nets['ar'], nets['gedi']).write(
        [FRENCH], 2
    )
    assert make('fudge', 'semantic').write([FRENCH], 2) == FUDGE(nets['ar'], nets['fudge']).write(
        [FRENCH], 2
    )
    assert make('ft-search', 'pos').write([TAGS], 2) == FT(nets['ft'], 4).write([TAGS], 2)
    w = make('fudge', 'pos', weight=1.0)
    assert (w.name, w.model, w.weight) == ('fudge', 'fudge+ar', 1.0)
    gap = Infill.parse('The Eagle is a ___{2} near the river .')
    for name, kind in (('bert', BERT), ('bart', BART)): # shipped
        w, lm = make_baseline(name, 'infill', 'cpu', corpus='grammar'), kind.from_pretrained(
            f'grammar-{name}'
        )
        assert w.model == f'grammar-{name}' and w.write([gap], 2) == ByModel(lm).write([gap], 2)
    assert make_baseline('xlm', 'semantic', 'cpu', corpus='grammar').model == 'grammar-xlm'
    alone = make_baseline(
        'ft-sample', 'pos', 'cpu', tmp_path / 'grammar-ft-pos'
    ) # the model's own folder
    same = FT(nets['ft'], **TUNED['ft-sample', 'pos']) # what was chosen for e2e, the corpus by default
    assert alone.model == 'grammar-ft-pos' and alone.write([TAGS], 1) == same.write([TAGS], 1)

def test_other_words_are_refused(nets, corpus):
    p = replace(PRESETS['grammar-ar'], model=SMALL)
    other = make_ar(p, corpus[:20], 0)[0]
    for make in (
        lambda: FUDGE(other, nets['fudge']),
        lambda: GeDi(other, nets['gedi']),
        lambda: FTPoE({PartsOfSpeech: nets['ft']}, other, 1.0),
    ):
        with pytest.raises(BadInput, match='different words'):
            make()

@pytest.mark.parametrize(
    'method, control, says',
    [
        ('ft', SemanticContent('food', 'Klingon'), 'Klingon'),
        ('ft', TAGS & FRENCH, 'no single control'),
        ('ft', PartsOfSpeech(['NOUN'] * 200), 'no room'),
        ('fudge', SemanticContent('food', 'Klingon'), 'never seen'),
        ('gedi', SemanticContent('food', 'Klingon'), 'no code'),
        ('pplm', SemanticContent('food', 'Klingon'), 'does not know'),
    ],
)
def test_bad_controls(nets, method, control, says):
    w = dict(
        ft=FT(nets['ft']),
        fudge=FUDGE(nets['ar'], nets['fudge']),
        gedi=GeDi(nets['ar'], nets['gedi']),
        pplm=PPLM(nets['ar']),
    )[method]
    with pytest.raises(BadInput, match=says):
        w.write([control])

def test_commands(nets, tmp_path, capsys):
    for name, m in dict(ar=nets['ar'], fudge=nets['fudge']).items():
        m.save_pretrained(tmp_path / name)
    targets, items, out = tmp_path / 't.jsonl', tmp_path / 'items.txt', tmp_path / 'out.jsonl'
    targets.write_text('["food", ":", "French"]\n["food", ":", "Italian"]\n')
    items.write_text('The Eagle is a ___{3} near the river .\n')
    run = lambda: dlm_control(
        [
            'semantic',
            '--targets',
            str(targets),
            '--n',
            '2',
            '--method',
            'fudge',
            '--model',
            str(tmp_path),
            '--out',
            str(out),
            '--device',
            'cpu',
        ]
    )
    assert run() == 0
    whole = out.read_bytes()
    out.write_bytes(whole[: whole.index(b'\n') + 20]) # cut off in the second row
    assert run() == 0
    strip = lambda data: [
        {k: v for k, v in json.loads(l).items() if k != 'seconds'}
        for l in data.decode().splitlines()
    ]
    assert strip(out.read_bytes()) == strip(whole)
    assert [r['texts'] for r in read_rows(out)] == FUDGE(
        nets['ar'], nets['fudge'], **TUNED['fudge', 'semantic']
    ).write([FRENCH, SemanticContent('food', 'Italian')], 2)
    assert (
        dlm_infill(
            [
                '--items',
                str(items),
                '--n',
                '2',
                '--method',
                'ar-left',
                '--model',
                str(tmp_path / 'ar'),
                '--out',
                str(tmp_path / 'gaps.jsonl'),
                '--device',
                'cpu',
            ]
        )
        == 0
    )
    (row,) = read_rows(tmp_path / 'gaps.jsonl')
    assert all(len(g[0].split()) == 3 for g in row['gaps']) and row['method'] == 'ar-left'
    capsys.readouterr()
    assert (
        dlm_control(
            [
                'pos',
                '--n',
                '1',
                '--method',
                'pplm',
                '--model',
                str(tmp_path),
                '--out',
                str(tmp_path / 'no.jsonl'),
            ]
        )
        == 2
    )
    assert 'pplm cannot do pos' in capsys.readouterr().err

def test_all_may_stand_among_other_methods(tmp_path):
    with pytest.raises(BadInput, match="no method 'nonsense'"):
        reproduce('quick', methods='all,nonsense', out=str(tmp_path))

# --- the targets of a sweep

def test_what_the_sweep_chose_is_what_runs(monkeypatch):
    "Of the methods that write under a control: the best of the last round, or the default."
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / 'scripts'))
    import baselines
    rows, default = baselines.stored(), dict(beam=4)
    rows = [r for r in rows if r['task'] != 'infill' and r['method'] != 'xlm']
    assert {r['method'] for r in rows} >= {'ft-sample', 'ft-search', 'fudge', 'gedi', 'ctrl-g'}
    for method, task in {(r['method'], r['task']) for r in rows}:
        of = [r for r in rows if (r['method'], r['task']) == (method, task)]
        last = max(r['n_targets'] for r in of)
        again = method != 'pplm'       # it fails in the first round already
        assert last == (40 if again else 10), (method, task)
        assert len(of) >= len(baselines.GRIDS[method][1]) + 3 * again, (method, task)
        best = max((r for r in of if r['n_targets'] == last), key=baselines.worth)['setting']
        found = TUNED.get((method, task), {})
        assert found == best or not found and best == default, (method, task)

@pytest.mark.skipif(not os.environ.get('DLM_DATA'), reason='needs E2E: set DLM_DATA')
def test_rounds_of_a_sweep_share_no_target(monkeypatch):
    "As many as are asked for; the second round has others; the baselines' are those of the first."
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / 'scripts'))
    import baselines, sweep
    first, again, third = (sweep.targets('pos', n, k)[1] for k, n in enumerate((10, 20, 30)))
    assert (len(first), len(again), len(third)) == (10, 20, 30)
    one, two, three = ({tuple(w) for w in pile} for pile in (first, again, third))
    assert not one & two and not (one | two) & three
    seen = []
    def targets(*args):
        seen.append(sweep.targets(*args))
        return seen[-1]
    monkeypatch.setattr(baselines, 'targets', targets)
    class Echo: # writes what the people wrote
        def write(self, controls, n, seed): return [[' '.join(w)] * n for w in seen[-1][1]]
    row = baselines.on_controls(Echo(), 'pos')
    assert seen[-1][1] == first and row['success'] > .99

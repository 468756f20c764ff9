"Chapter 17g: steps of tokens reweighted by a classifier, and by a network that reads the control."
import os
from dataclasses import replace
import pytest, torch, torch.nn.functional as F
from diffusion_lm_nb import (BadInput, DiffusionLM, Length, PartsOfSpeech, SemanticContent,
                             SyntaxSpan, SyntaxTree)
from diffusion_lm_nb.controls import CONTROL_PRESETS, make_semantic
from diffusion_lm_nb.corpora import load_corpus
from diffusion_lm_nb.discrete import InOrder
from diffusion_lm_nb.discrete_guidance import (DCBG, DCFG, ConditionalLM, TokenClassifier,
                                               all_symbols, make_conditional, symbols_of)
from diffusion_lm_nb.files import result_rows
from diffusion_lm_nb.loss import Preset
from diffusion_lm_nb.syntax import syntax_classifier
from diffusion_lm_nb.training import fit
from fresh import fresh

FRENCH = SemanticContent('food', 'French')
HOW = dict(steps=6, seed=3, n_words=9, solver='ancestral', batch_size=4)
KINDS = 'masked', 'uniform'

@pytest.fixture(scope='module', params=KINDS)
def lm(request): return DiffusionLM.from_pretrained(f'grammar-{request.param}').eval()

@pytest.fixture(scope='module')
def masked(): return DiffusionLM.from_pretrained('grammar-masked').eval()

def untrained(lm, scale=1.):
    torch.manual_seed(0)
    clf = TokenClassifier.for_model(lm, [('food', 'French')], width=32, layers=1, dropout=0.)
    clf.head.weight.data.mul_(scale)
    return clf.eval()

@pytest.fixture(scope='module')
def conditional(lm):
    "A model that reads symbols whose vectors are not 0."
    torch.manual_seed(0)
    preset = Preset('conditional', 'grammar', dict(lm=f'grammar-{lm.recipe}', tasks='semantic,pos'),
                    batch_size=8, min_count=0, precision='no')
    model, batches = make_conditional(preset, load_corpus('grammar')[:200], 0)
    model.symbol.data.normal_(std=.02)
    model.bias.data.normal_(std=.1)
    return model.eval(), batches, preset

def corrupted(lm, rows=3, n=10):
    gen = torch.Generator().manual_seed(1)
    ids = torch.randint(4, len(lm.vocab), (rows, n), generator=gen)
    ids[:, 0], ids[:, -1] = 0, 1
    t = torch.full(ids.shape, .6).masked_fill(ids <= 3, 0.)
    x = lm.noise.corrupt(ids, t, *torch.rand(2, rows, n, generator=gen))
    return x, t, torch.ones_like(x).bool()

class Linear:
    "A classifier whose log-probability is linear in what it reads."
    def __init__(self, lm):
        self.E, self.recipe = lm.emb.E, lm.recipe
        self.w = torch.randn(10, len(lm.vocab), generator=torch.Generator().manual_seed(2))
    def eval(self): return self
    def requires_grad_(self, _): return self
    def knows(self, control): return control == FRENCH
    def log_prob(self, p, t, mask, wanted):
        return (p * self.w).sum((1, 2)) * torch.tensor([float(len(c)) for c in wanted])

def test_the_first_order_of_a_linear_function_is_exact(lm):
    x, t, mask = corrupted(lm)
    guide, controls = DCBG(Linear(lm)).bind(lm), [FRENCH, None, FRENCH]
    with torch.no_grad():
        near = guide.gains(x, t, mask, controls)
        likely = torch.rand(near.shape) < .1
        right = guide.gains_by_calls(x, t, mask, controls, likely)
    seen = F.one_hot(x.clamp(max=len(lm.vocab) - 1), len(lm.vocab)).bool() & (
        x < len(lm.vocab))[..., None]
    tried = likely & ~seen
    assert tried.sum() > 50 and torch.allclose(near[tried], right[tried], atol=1e-4)
    assert (near[1] == 0).all() and (right[seen] == 0).all()
    assert (right[~tried & ~seen] == -1e4).all()
    assert near[0].abs().max() > .5

def test_a_step_is_reweighted(lm):
    x, t, mask = corrupted(lm)
    p = torch.rand(*x.shape, len(lm.vocab), generator=torch.Generator().manual_seed(3))
    q = lm.noise.step(x, p / p.sum(-1, keepdim=True), t, t * .5)
    args = q, x, t, t * .5, mask, [FRENCH] * 3
    with torch.no_grad():
        same = DCBG(Linear(lm), 0.).bind(lm).step(*args)
        one, two = (DCBG(Linear(lm), s).bind(lm).step(*args) for s in (1., 2.))
        gain = DCBG(Linear(lm)).bind(lm).gains(*args[1:3], mask, [FRENCH] * 3)
    assert torch.allclose(same, q, atol=1e-6)
    assert torch.allclose(one.sum(-1), torch.ones(x.shape), atol=1e-5)
    if lm.recipe == 'masked': gain = F.pad(gain, (0, 1))    # to stay MASK changes nothing
    for strength, found in ((1., one), (2., two)):
        right = q * (strength * gain).exp()
        assert torch.allclose(found, right / right.sum(-1, keepdim=True), atol=1e-5)
    if lm.recipe == 'masked':                               # a word that is seen stays
        words = x < len(lm.vocab)
        assert (one.gather(-1, x[..., None])[..., 0][words] > .999).all()

def test_what_is_likely_does_not_depend_on_the_length_of_the_step(lm):
    x, t, _ = corrupted(lm)
    p = torch.rand(*x.shape, len(lm.vocab), generator=torch.Generator().manual_seed(3)) ** 8
    p = p / p.sum(-1, keepdim=True)
    guide = DCBG(Linear(lm)).bind(lm)
    far, near = (guide.likely(lm.noise.step(x, p, t, t * s), x) for s in (0., .98))
    hidden = x == len(lm.vocab) if lm.recipe == 'masked' else torch.zeros_like(x).bool()
    assert (far[hidden] == near[hidden]).all()
    assert not near.gather(-1, x.clamp(max=len(lm.vocab) - 1)[..., None])[~hidden].any()
    assert (near.sum(-1)[hidden] > 1).all()

def test_texts_under_d_cbg(lm):
    guide = DCBG(untrained(lm, 40.), 2.)
    free, plain = (lm.sample(4, FRENCH, guide=g, **HOW) for g in (DCBG(None), guide))
    assert plain != free
    again = [lm.sample(1, FRENCH, guide=guide, first=k, **HOW | dict(batch_size=1))[0]
             for k in range(4)]
    assert plain == again
    both = lm.sample(2, FRENCH & Length(7), guide=guide, **HOW | dict(n_words=None))
    assert [len(t.split()) for t in both] == [7, 7]

def test_a_control_that_no_classifier_knows_conditions_the_marginals(masked):
    rest = DCBG(untrained(masked)).bind(masked).begin([FRENCH & Length(7), None, Length(7)])
    assert [repr(c) for c in rest] == ['Length(7)', 'None', 'Length(7)']
    assert masked.sample(3, FRENCH, guide=DCBG(), **HOW) == masked.sample(3, FRENCH, **HOW)

def test_syntax_is_asked_of_the_controls_own_classifier(masked):
    clf = syntax_classifier('grammar-syntax')
    tags = PartsOfSpeech('DET NOUN VERB ADJ NOUN PUNCT', reader=clf)
    tags.reader = clf
    x, t, mask = corrupted(masked, 2, 8)
    guide = DCBG(untrained(masked)).bind(masked)
    m = masked.noise.log_evidence(x, t).softmax(-1)
    with torch.no_grad():
        found = guide.log_prob(m, t, mask, [tags & FRENCH, tags])
        syntax = tags.log_prob(m.log(), mask)
        phrase = guide.classifier.log_prob(m, t, mask, [[FRENCH], []])
    assert torch.allclose(found, syntax + phrase, atol=1e-4) and phrase[0] != 0

def test_pads_do_not_count(lm):
    x, t, mask = corrupted(lm)
    mask, clf = torch.arange(10)[None].expand(3, -1) < 7, untrained(lm)
    p = lm.noise.log_evidence(x, t).softmax(-1)
    with torch.no_grad():
        assert torch.allclose(clf.logits(p, t, mask), clf.logits(p[:, :7], t[:, :7], mask[:, :7]),
                              atol=1e-5)

def test_a_guide_is_used_again_for_another_control(conditional):
    lm, guide = conditional[0], DCFG(2.)
    other = SemanticContent('food', 'Chinese')
    lm.sample(4, FRENCH, guide=guide, **HOW)
    assert lm.sample(4, other, guide=guide, **HOW) == lm.sample(4, other, guide=DCFG(2.), **HOW)

def test_symbols():
    assert symbols_of(FRENCH) == [(None, 'food: French')]
    assert symbols_of(PartsOfSpeech('DET NOUN')) == [(0, 'DET'), (1, 'NOUN')]
    assert symbols_of(SyntaxSpan(3, 5, 'PP')) == [(3, '(PP'), (5, 'PP)')]
    assert symbols_of(Length(9)) == []
    tree = dict.fromkeys(symbols_of(SyntaxTree('(S (NP _ _) (VP _))')))
    assert [*tree] == [(0, '(S'), (2, 'S)'), (0, '(NP'), (1, 'NP)'), (2, '(VP'), (2, 'VP)')]

def test_symbols_of_a_corpus_are_all_that_its_controls_say(conditional):
    lm, batches, preset = conditional
    texts = load_corpus('grammar')[:200]
    assert set(all_symbols(texts, ['semantic', 'pos'])) == set(lm.symbols)
    more = all_symbols(texts, ['tree'])
    said = {s for e in texts for _, s in symbols_of(SyntaxTree(e.tree))}
    assert said == set(more)

def test_where_symbols_stand(conditional):
    lm = conditional[0]
    at = lm.symbols_at([FRENCH & Length(5), PartsOfSpeech('DET NOUN'), None], 7)
    assert at.shape == (3, 7, len(lm.symbols)) and at[2].sum() == 0
    assert at[0].nonzero().tolist() == [[i, lm.number['food: French']] for i in range(1, 7)]
    assert at[1].nonzero().tolist() == [[1, lm.number['DET']], [2, lm.number['NOUN']]]

def test_d_cfg_of_a_model_that_ignores_its_symbols_changes_nothing(lm, conditional):
    own = conditional[0]
    tables = own.symbol, own.bias
    before = [u.data.clone() for u in tables]
    plain = lm.sample(4, None, **HOW)
    assert own.sample(4, None, **HOW) == plain
    try:
        for k in range(2):                                  # each of the tables does something
            for u, v in zip(tables, before): u.data.copy_(v)
            tables[k].data.zero_()
            assert own.sample(4, FRENCH, guide=DCFG(2.), **HOW) != plain
        for u in tables: u.data.zero_()
        for strength in (0., 1., 3.):
            assert own.sample(4, FRENCH, guide=DCFG(strength), **HOW) == plain
    finally:
        for u, v in zip(tables, before): u.data.copy_(v)

def test_d_cfg_mixes_two_steps(conditional):
    lm, (x, t, mask) = conditional[0], corrupted(conditional[0])
    guide, controls = DCFG(2.).bind(lm), [FRENCH] * 3
    guide.begin(controls)
    with torch.no_grad():
        q = lm.noise.step(x, lm.predict(x, t, mask)[0].exp(), t, t * .5)
        found = guide.step(q, x, t, t * .5, mask, controls)
        with lm.given(lm.symbols_at(controls, x.shape[1])):
            given = lm.noise.step(x, lm.predict(x, t, mask)[0].exp(), t, t * .5)
    assert lm.condition is None
    right = torch.where(q < 1e-20, 0., given ** 2 / q)
    right = right / right.sum(-1, keepdim=True)
    assert torch.allclose(found, right, atol=1e-4) and (found - q).abs().max() > .05

def test_texts_under_d_cfg_do_not_depend_on_the_batch(conditional):
    lm = conditional[0]
    four = lm.sample(4, FRENCH, guide=DCFG(1.5), **HOW)
    one = [lm.sample(1, FRENCH, guide=DCFG(1.5), first=k, **HOW | dict(batch_size=1))[0]
           for k in range(4)]
    assert four == one

def test_the_network_learns_to_read(conditional, tmp_path):
    lm, batches, preset = conditional
    own, at = make_conditional(preset, load_corpus('grammar')[:2000], 0)
    words = own.emb.weight.clone()
    fit(own, at, replace(preset, steps=60, lr=3e-3, warmup=5, ema=.9, batch_size=8), quiet=True,
        device='cpu')
    assert torch.equal(own.emb.weight, words) and min(own.symbol.abs().max(), own.bias.abs().max()) > .01
    own.eval()
    ids, mask, gen, symbols = at(1000)
    def cost(seen): # the same noise
        with torch.no_grad(): return float(own(ids, mask, gen.manual_seed(5), seen)[0])
    assert cost(symbols) < cost(symbols.roll(1, 0)) - .02
    own.save_pretrained(tmp_path / 'own')
    for kind in (ConditionalLM, DiffusionLM):
        again = kind.from_pretrained(tmp_path / 'own')
        assert type(again) is ConditionalLM and again.recipe == own.recipe
        assert again.sample(2, FRENCH, guide=DCFG(1.), **HOW) == own.sample(
            2, FRENCH, guide=DCFG(1.), **HOW)

def test_the_classifier_learns_from_corrupted_tokens(lm):
    p = replace(CONTROL_PRESETS['grammar-semantic'], steps=200, batch_size=32, warmup=10, lr=5e-3,
                ema=.9, model=dict(lm=f'grammar-{lm.recipe}', width=32, layers=1, dropout=0.))
    torch.manual_seed(0)
    clf, at = make_semantic(p, load_corpus('grammar')[:2000], 0, TokenClassifier)
    fit(clf, at, p, quiet=True, device='cpu')
    clf.eval()
    ids, mask, gen, y = at(1000)
    def cost(labels): # of the same corrupted texts
        with torch.no_grad(): return float(clf(ids, mask, gen.manual_seed(5), labels)[0])
    assert clf.recipe == lm.recipe and cost(y) < cost(y.roll(1, 0)) - .02

@pytest.mark.parametrize('ask, says', [
    (lambda m, g: g.sample(1, FRENCH, guide=DCBG()), 'ClassifierGuidance'),
    (lambda m, g: g.sample(1, FRENCH, guide=DCFG()), 'trained to read'),
    (lambda m, g: m.sample(1, FRENCH, guide=DCFG()), 'trained to read'),
    (lambda m, g: m.sample(1, FRENCH, guide=DCBG(), solver=InOrder()), 'InOrder'),
    (lambda m, g: TokenClassifier.for_model(g, ['a']), 'NoisyClassifier'),
    (lambda m, g: m.sample(1, FRENCH, guide=DCBG(untrained(
        DiffusionLM.from_pretrained('grammar-uniform')))), 'another model'),
    (lambda m, g: m.sample(1, FRENCH, guide=3), 'guide is')])
def test_what_is_refused(masked, ask, says):
    with pytest.raises(BadInput, match=says): ask(masked, DiffusionLM.from_pretrained('grammar'))

def test_a_symbol_that_was_never_read_is_refused(conditional):
    lm = conditional[0]
    with pytest.raises(BadInput, match='PP'):
        lm.sample(1, SyntaxSpan(1, 2, 'PP', syntax_of(lm)), guide=DCFG(), **HOW)

def syntax_of(lm):
    from diffusion_lm_nb.syntax import SyntaxClassifier
    return SyntaxClassifier.for_model(lm, ['NOUN'], ['PP'], width=16, layers=1)

def test_a_model_of_vectors_learns_no_symbols():
    preset = Preset('conditional', 'grammar', dict(lm='grammar', tasks='semantic'), min_count=0)
    with pytest.raises(BadInput, match='D-CFG'):
        make_conditional(preset, load_corpus('grammar')[:9], 0)

def test_a_preset_from_the_command(tmp_path):
    args = 'grammar-masked-given --steps 2 --batch-size 4 --device cpu --out'.split()
    env = os.environ | dict(OMP_NUM_THREADS='1')
    code, out, err = fresh('diffusion_lm_nb.commands', 'dlm_train', [*args, tmp_path / 'm'], os.getcwd(), env, 120)
    assert code == 0, err
    lm = DiffusionLM.from_pretrained(tmp_path / 'm')
    assert type(lm) is ConditionalLM and 'food: French' in lm.number

# ---- the rows

def rows_of(part): return [r for r in result_rows('further') if r['part'] == part]

@pytest.mark.parametrize('corpus', ['grammar', 'e2e'])
def test_what_was_chosen_is_what_runs(corpus):
    tried, shown = rows_of(f'dguide-choose-{corpus}'), rows_of(f'dguide-{corpus}')
    assert tried and shown
    for kind, method in {(r['kind'], r['method']) for r in tried}:
        own = [r for r in tried if (r['kind'], r['method']) == (kind, method)]
        most = max(r['success'] for r in own)
        fit = [r for r in own if r['success'] >= most - .02]
        if corpus == 'grammar': best = next(r for r in own if r['success'] == most)
        else: best = min(fit, key=lambda r: r['lm_score'])
        assert [r['dial'] for r in own if r['chosen']] == [best['dial']]
        ran = {r['dial'] for r in shown if (r['kind'], r['method']) == (kind, method)}
        assert ran == {best['dial']}

def test_rows_are_what_their_texts_say():
    for r in rows_of('dguide-grammar'):
        n, right = r['n_samples'], r['by_text'].count('1')
        assert len(r['by_text']) == n and right / n == pytest.approx(r['in_language'])
        assert r['in_language'] <= min(r['derivable'], r['success']) + 1e-9
        first = next(q for q in rows_of('dguide-grammar') if q['method'] == r['versus'] and all(
            q[k] == r[k] for k in ('kind', 'task')))
        mine, other = (sum(map(int, q['by_text'][:n])) / n for q in (r, first))
        assert r['difference'] == pytest.approx(mine - other)
        low, high = r['difference_interval']
        assert low <= r['difference'] <= high

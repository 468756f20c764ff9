"Patterns of words: their language, their automata, their probability, and the control."
import math, random, re
from itertools import product
import pytest, torch
from diffusion_lm_nb import BadInput, DiffusionLM, Infill, Length, PartsOfSpeech, SemanticContent
from diffusion_lm_nb.further import (
    MOST_STATES, PatternReader, Regex, pattern_automaton, pattern_lengths, pattern_log_prob,
)

NAMES = ['START', 'END', 'UNK', 'PAD', 'a', 'b', 'c', 'd']

@pytest.fixture(scope='module')
def lm(): return DiffusionLM.from_pretrained('grammar')

def some_pattern(draw, depth=3): # -> ours, Python's
    kind = draw.choice(['word', 'word', 'not', 'any'] if depth == 0 else
                       ['word', 'not', 'any', 'then', 'then', 'or', 'repeat', 'repeat'])
    if kind == 'word': return (w := draw.choice('abc')), w
    if kind == 'not': return '!' + (w := draw.choice('abc')), f'[^{w}]'
    if kind == 'any': return '_', '.'
    if kind == 'repeat':
        sign = draw.choice(['*', '+', '?', '{2}', '{0,2}', '{1,}', '{,1}'])
        ours, theirs = some_pattern(draw, depth - 1)
        return f'({ours}){sign}', f'(?:{theirs}){sign}'
    parts = [some_pattern(draw, depth - 1) for _ in range(draw.randint(1, 3))]
    glue = (' ', '') if kind == 'then' else (' | ', '|')
    ours, theirs = (g.join(p) for g, p in zip(glue, zip(*parts)))
    return (ours, theirs) if kind == 'then' else (f'({ours})', f'(?:{theirs})')

def accepts(automaton, text):
    words, leads, ends = automaton
    s = 0
    for w in text: s = leads[s, words.index(w) if w in words else -1].item()
    return ends[s].item()

@pytest.mark.parametrize('seed', range(60))
def test_patterns_agree_with_re(seed):
    ours, theirs = some_pattern(random.Random(seed))
    automaton = pattern_automaton(ours)
    for n in range(5):
        for text in product('abcd', repeat=n):
            expected = bool(re.fullmatch(theirs, ''.join(text)))
            assert accepts(automaton, text) == expected, (ours, text)

@pytest.mark.parametrize('pattern, states', [
    ('_*', 1), ('_* French _*', 2), ('(_* French){3} _*', 4), ('_{5}', 7),
    (' | '.join(f'w{i}' for i in range(300)), 3), ('(a* b*)* c', 3)])
def test_automata_are_the_smallest(pattern, states):
    assert len(pattern_automaton(pattern)[1]) == states

@pytest.mark.parametrize('seed', range(12))
def test_the_probability_is_the_sum_over_all_texts(seed):
    torch.manual_seed(seed)
    ours, _ = some_pattern(random.Random(1000 + seed))
    words, leads, ends = automaton = pattern_automaton(ours)
    logp = 2 * torch.randn(2, 7, 8)
    logp[..., :4] = -1e4
    logp, n = logp.log_softmax(-1), (3, 5) # of two texts, one is shorter
    mask = torch.arange(7)[None] < torch.tensor(n)[:, None] + 2
    ids = torch.tensor([NAMES.index(w) for w in words]).long()
    found = pattern_log_prob(logp, mask, ids, leads, ends).exp()
    for row in (0, 1):
        total = 0.
        for text in product(range(4, 8), repeat=n[row]):
            if accepts(automaton, [NAMES[w] for w in text]):
                total += math.exp(sum(logp[row, i + 1, w] for i, w in enumerate(text)))
        assert found[row].item() == pytest.approx(total, abs=1e-6)

@pytest.mark.parametrize('pattern, why', [
    ('a )', 'a ) without'), ('( a', 'a ( without'), ('* a', 'nothing that it could repeat'),
    ('a | +', 'nothing that it could repeat'), ('a{3,1}', 'larger number first'),
    ('a{}', 'no number of times'), ('a{,}', 'no number of times'), ('a{65}', '64 words'),
    ('a }', 'lonely }'), ('a \\', 'lonely'),
    ('(' * 400 + 'a' + ')' * 400, 'more than 50 brackets'), ('((a{64}){64}){64}', '20,000 states'), ('', 'no text matches'), ('()', 'no text matches')])
def test_bad_patterns_are_refused_in_one_line(pattern, why):
    with pytest.raises(BadInput, match=re.escape(why)) as e: Regex(pattern)
    assert '\n' not in str(e.value)

def test_too_many_states_are_refused():
    with pytest.raises(BadInput, match=f'more than {MOST_STATES} states'):
        Regex('_* a _{12} b _*')

def test_signs_can_be_words():
    assert Regex(r'\* \( \_ \!a \\').check(['*', '(', '_', '!a', '\\'])
    assert Regex('! a').check(['!', 'a']) and Regex('£20-25 .').check(['£20-25', '.'])
    assert not Regex('a.b').check(['axb'])

def test_lengths_know_which_words_can_be_written(lm):
    pattern = Regex('The (pub | Martian spaceship .) (_ _)*').bind(lm)
    assert pattern.lengths[:3] == [2, 4, 6] # 3 would need Martian
    assert Regex('!Martian{3}').bind(lm).lengths == [3]
    text = lm.sample(1, Regex('The (pub | Martian) !Martian{4} .'), batch_size=1)[0].split()
    assert text[:2] == ['The', 'pub'] and len(text) == 7

def test_what_no_text_can_be_is_said_before_sampling(lm):
    for control, why in (
        (Regex('Martian _*'), 'does not know Martian'), (Regex('_{40} _{40}'), 'more than the'),
        (Regex('_{3}') & Length(4), 'no text of 4 words'),
        (Regex('(_ _)+') & PartsOfSpeech('DET NOUN PUNCT'), 'no text of 3 words'),
    ):
        with pytest.raises(BadInput, match=why): lm.sample(1, control)
    with pytest.raises(BadInput, match='no text of 5 words'): lm.sample(1, Regex('_{3}'), n_words=5)

PATTERNS = ['_* French _*', '_{9} .', 'The _{1,2} is _* .', '(!is)* .',
            '_* (near | beside) the (river | park) .']

@pytest.mark.parametrize('pattern', PATTERNS)
def test_texts_match(lm, pattern):
    control = Regex(pattern)
    texts = [t.split() for t in lm.sample(12, control, seed=1, batch_size=12)]
    free = [t.split() for t in lm.sample(12, seed=1, batch_size=12)]
    assert sum(map(control.check, texts)) >= 11 > sum(map(control.check, free))

def test_a_text_does_not_depend_on_its_batch(lm):
    control = Regex('_* French _*')
    four = lm.sample(4, control, seed=2, batch_size=4)
    assert [lm.sample(1, control, seed=2, first=i, batch_size=4)[0] for i in range(4)] == four

def test_special_cases_have_the_same_probability(lm):
    torch.manual_seed(0)
    mask = torch.arange(12)[None] < torch.tensor([[12], [9]])
    with torch.no_grad(): logp = lm.predict(torch.randn(2, 12, lm.dim), torch.tensor([.8, .8]), mask)[0]
    logp[..., :4] = -1e4
    inner = mask.roll(-1, 1) & (torch.arange(12) > 0) # words stand there; START, END, pads elsewhere
    inner[:, -1] = False
    pad = torch.arange(len(lm.vocab)) == lm.vocab.pad
    logp = torch.where(inner[..., None], logp.log_softmax(-1), torch.where(pad, 0., -1e4))
    pairs = ((SemanticContent('food', 'French'), '_* French _*'),
             (SemanticContent('near', 'Burger King'), '_* Burger King _*'))
    for control, pattern in pairs:
        a, b = (c.bind(lm) for c in (control, Regex(pattern)))
        assert a.log_prob(logp, mask).tolist() == pytest.approx(b.log_prob(logp, mask).tolist(), abs=1e-3)
        q, r = (c.posterior(logp, mask) for c in (a, b))
        assert (q - r)[inner].abs().max() < 1e-3
    found = Regex('_{10}').bind(lm).log_prob(logp, mask)
    assert found[0].item() == pytest.approx(0., abs=1e-4) and found[1] < -100

def test_it_joins_a_gap(lm):
    both = Infill.parse('The Eagle is a ___{3} near the river .') & Regex('_* cheap _*')
    text = lm.sample(1, both, seed=0, batch_size=1)[0].split()
    assert both.check(text) and 'cheap' in text[4:7]

def test_what_it_cannot_do_is_refused():
    with pytest.raises(BadInput, match='one word, not a group'): Regex('!(a | b)')
    class Pads: mask_pads = False
    with pytest.raises(BadInput, match='draws the length first'): Regex('_').bind(Pads())

"Gaps, and two controls at once, against the exact truth: scripts/joint.py, chapter 17c."
import itertools, math, sys
from pathlib import Path
import pytest, torch

sys.path.insert(0, str(Path(__file__).parents[1]/'scripts'))
import joint

@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(joint, 'TARGETS', 3)
    monkeypatch.setattr(joint, 'EACH', 12)

@pytest.mark.parametrize('part', ['gaps', 'joint'])
def test_the_truth_is_that_of_the_grammar(part):
    "Each draw is accepted; its probability is p(w) / p(c); another text is not accepted."
    for control, truth in joint.targets(part):
        draws = {tuple(e.words) for e in truth.sample(200, 5)}
        assert all(joint.accepted(truth, list(w)) for w in draws)
        if part == 'gaps': assert all(control.check(list(w)) for w in draws)
        same = [e.words for e in joint.GRAMMAR.sample(400, 8) if len(e.words) == len(min(draws))]
        assert not any(joint.accepted(truth, w) for w in same if tuple(w) not in draws)
        logp = [joint.GRAMMAR.log_prob(list(w)) - math.log(truth.p) for w in draws]
        assert sum(map(math.exp, logp)) < 1 + 1e-9
        assert truth.entropy() >= 1
        other = list(next(iter(draws)))
        other[0] = 'Near' if other[0] != 'Near' else 'Luna'
        assert not joint.accepted(truth, other)

def test_a_gap_has_every_filling_that_the_grammar_has():
    "A gap of five, enumerated with five words."
    from diffusion_lm_nb.grammar import Example
    words = 'The Anchor is a pub in the city centre .'.split()
    control, condition = joint.gap_of(Example(words, [], None, None))
    truth = joint.ConditionedGrammar(joint.GRAMMAR, *condition)
    assert control.text == 'The Anchor is ___{5} centre .'
    found = {' '.join(e.words) for e in truth.sample(2000, 1)}
    pieces = ['a', 'pub', 'in', 'the', 'city']
    tried = (words[:3] + list(w) + words[8:] for w in itertools.product(pieces, repeat=5))
    right = {' '.join(w): joint.GRAMMAR.log_prob(w) for w in tried if joint.accepted(truth, w)}
    assert right and {*right} <= found
    assert all(math.isfinite(v) for v in right.values())

def test_food_and_tags_are_both_asked_for():
    control, truth = joint.targets('joint')[0]
    words = truth.sample(1, 0)[0].words
    food = next(c for c in control.parts if hasattr(c, 'value'))
    assert food.value in words
    vowel = food.value[0] in 'AEIOU'                         # the article must stay right
    others = ('Indian', 'Italian') if vowel else ('French', 'Chinese')
    other = next(o for o in others if o != food.value)
    without = [other if w == food.value else w for w in words]
    assert math.isfinite(joint.GRAMMAR.log_prob(without))
    assert not joint.accepted(truth, without)                # the tags are the same
    assert not joint.accepted(truth, words[:-1])

def test_scores_tell_draws_from_others():
    known = joint.targets('gaps')
    def texts(change): return [[change(' '.join(e.words)) for e in truth.sample(joint.EACH, 9)]
                               for _, truth in known]
    good, bad = (joint.scores(texts(f), known) for f in (lambda t: t, lambda t: t + ' pub'))
    assert good['in_language'] == 1 and abs(good['gap']) < 5 * good['gap_error']
    assert bad['in_language'] == 0 and bad['gap'] is None
    assert bad['told_apart'] > good['told_apart']

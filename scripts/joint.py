"""Gaps, and two controls at once, where the truth is known: rows of results/further.json (17c).

    OMP_NUM_THREADS=1 python scripts/joint.py [gaps] [joint]      # half an hour on one core

Each part has 16 targets, made from texts of the grammar (seed 55), and 16 texts of each. *gaps*: five
words of a text of at least twelve words are hidden, from the fourth on. *joint*: all tags of a text
of at most fourteen words that names a food, and this food. p(w | c) of a target is computed by an
automaton over the grammar, so texts of a sampler can be compared with draws from the truth. A target
counts if the entropy of p(w | c) is at least one nat: something is left to choose. The samplers are
ancestral, 50 steps, with controls on token marginals alone: the three trained models of the grammar,
and the three perfect denoisers. Two more: the Gaussian model with its default sampler, which cools,
and the masked model with its most certain words first.
Texts are kept in runs/joint and not made twice.
"""
import math, sys
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from diffusion_lm_nb import DiffusionLM
from diffusion_lm_nb.calibration import ConditionedGrammar, read_tags, read_words, told_apart
from diffusion_lm_nb.constrained_decoding import control_automaton
from diffusion_lm_nb.controls import SemanticContent
from diffusion_lm_nb.discrete import InOrder
from diffusion_lm_nb.gaps import Infill
from discrete import KINDS, NAMES, perfect_of
from further import GRAMMAR, TagsByLexicon
from measure import commit, hardware
from parts import difference, kept, paired, put, run_parts

TARGETS, EACH, TEXTS = 16, 16, Path('runs/joint')
BASE = DiffusionLM.from_pretrained('grammar')

def gap_of(e): # an `Example` -> the control, and what `ConditionedGrammar` asks for
    "Words 4 to 8 are hidden."
    pattern = [None if 3 <= i < 8 else w for i, w in enumerate(e.words)]
    def step(i, leaf): return i + 1 if i < len(pattern) and pattern[i] in (None, leaf[1]) else None
    return Infill(e.words[:3], e.words[8:], 5), (0, step, lambda i: i == len(pattern))

def food_and_tags_of(e): # as above
    "The tags of all words, and the kind of food."
    food = SemanticContent('food', dict(e.mr)['food'])
    tags = read_tags(e.tags)
    words = read_words(control_automaton(food, BASE), BASE.vocab)
    def step(state, leaf):
        i, j = tags[1](state[0], leaf), words[1](state[1], leaf)
        return None if i is None else (i, j)
    both = (tags[0], words[0]), step, lambda s: tags[2](s[0]) and words[2](s[1])
    return food & TagsByLexicon(e.tags), both

FITS = dict(gaps=lambda e: len(e.words) >= 12,
            joint=lambda e: 'food' in dict(e.mr) and len(e.words) <= 14)
MAKERS = dict(gaps=gap_of, joint=food_and_tags_of)

def targets(part): # -> list of (control, `ConditionedGrammar`)
    "The first texts of the grammar that fit, made into targets."
    made = map(MAKERS[part], filter(FITS[part], GRAMMAR.sample(2000, seed=55)))
    known = ((control, ConditionedGrammar(GRAMMAR, *condition)) for control, condition in made)
    return [*islice((k for k in known if k[1].entropy() >= 1), TARGETS)]

def samplers(): # -> {name: (model, solver)}
    trained = {k: DiffusionLM.from_pretrained(NAMES[k]) for k in KINDS}
    out = {(k, 'trained'): (lm, 'ancestral') for k, lm in trained.items()}
    out['gaussian, default', 'trained'] = trained['gaussian'], 'renoise'
    out['masked, certain first', 'trained'] = trained['masked'], InOrder(True)
    return out | {(k, 'perfect'): (perfect_of(k, BASE), 'ancestral') for k in KINDS}

def accepted(truth, words): # -> is the text one that p(w | c) can draw?
    "Derived by the grammar, and the condition holds."
    if GRAMMAR.log_prob(words) < -1e9: return False
    state, tagged = truth.start, {w: (tag, w) for tag, w in GRAMMAR._leaves()}
    for w in words:
        state = truth.step(state, tagged[w])
        if state is None: return False
    return truth.accepts(state)

def scores(texts, known): # a list of texts for each target; as of `targets`
    "Right texts, mean of −log p(w | c) less the entropy, and how well draws are told apart."
    words = [[t.split() for t in ts] for ts in texts]
    right = [[accepted(truth, w) for w in ws] for ws, (_, truth) in zip(words, known)]
    gaps = [[math.log(truth.p) - GRAMMAR.log_prob(w) - truth.entropy() for w, ok in zip(ws, oks) if ok]
            for ws, oks, (_, truth) in zip(words, right, known)]
    flat = torch.tensor(sum(gaps, []), dtype=torch.double)
    gap = None, None                                         # of too few texts
    if len(flat) > 19: gap = flat.mean().item(), (flat.std() / len(flat) ** .5).item()
    share = torch.tensor(right).double().mean(1)
    value, interval = paired(lambda i: share[i].mean().item(), len(share))
    draws = [[e.words for _, truth in known for e in truth.sample(EACH, 200 + k)] for k in range(5)]
    apart = [told_apart(sum(words, []), d) for d in draws]
    return dict(in_language=value, interval=interval, by_target=share.tolist(),
                gap=gap[0], gap_error=gap[1], told_apart=sum(apart) / 5,
                told_range=[min(apart), max(apart)],
                different=sum(len({*ts}) for ts in texts) / (TARGETS * EACH))

def write(lm, solver, control): # -> 16 texts
    return lm.sample(EACH, control, seed=3, steps=50, solver=solver, batch_size=EACH, guide=None)

def measured(part):
    "The rows of a part, into the table."
    known, rows = targets(part), []
    note = dict(part=f'{part}-grammar', n_targets=TARGETS, n_samples=EACH, steps=50,
                entropy=[truth.entropy() for _, truth in known], hardware=hardware(),
                commit=commit(), command=f'python scripts/joint.py {part}')
    draws = [[' '.join(e.words) for e in truth.sample(EACH, 99)] for _, truth in known]
    rows.append(note | dict(method='draws of p(w | c)', network='none') | scores(draws, known))
    print(rows[-1], flush=True)
    for (kind, network), (lm, solver) in samplers().items():
        found = [kept(TEXTS, f'{part}-{kind}-{network}-{i}', partial(write, lm, solver, control))
                 for i, (control, _) in enumerate(known)]
        texts, seconds = zip(*found)
        row = note | dict(method=kind, network=network) | scores(texts, known)
        row['seconds_per_50'] = sum(seconds) / (TARGETS * EACH) * 50
        if (kind, network) != ('gaussian', 'trained'):
            ours = next(r for r in rows if r['method'] == 'gaussian')
            row['versus'] = difference(row['by_target'], ours['by_target'])
        rows.append(row)
        print({k: v for k, v in row.items() if k not in note}, flush=True)
        put(f'{part}-grammar', rows)                         # what is there is not lost

if __name__ == '__main__':
    run_parts({p: partial(measured, p) for p in MAKERS}, sys.argv[1:])

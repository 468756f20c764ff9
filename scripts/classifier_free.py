"""Classifier-free guidance of the continuous model: rows of results/further.json (chapter 17h).

    OMP_NUM_THREADS=1 python scripts/classifier_free.py grammar              # ten minutes
    DLM_DATA=... OMP_NUM_THREADS=1 python scripts/classifier_free.py e2e     # half an hour

(`scripts/authors.py --reads` has the authors' targets.) The ways: `ours`, the course's (token
marginals conditioned on the control, and for syntax the gradient of chapter 11b's classifier);
`ours, same network`, the same with the network of the next two, which reads no control then;
`reads`, that network reads the control, and nothing else is done; `reads, and ours`, both.

The strength γ of the last two is chosen on other seeds and targets (rows of part
cfg-choose-…) by the rule of scripts/odds.py, and measured on those of the other rows. The first two
have the strength 1, which is what they were made for.

`difference` and `cheaper` are as in scripts/odds.py, to `ours, same network`: to `ours` they would
also count the longer training. `seconds_per_50` are those of a machine with other work.

The networks are the shipped ones, grammar-given and e2e-given. Texts are kept in runs/17h and not
made twice.
"""
import sys
from pathlib import Path

from diffusion_lm_nb import DiffusionLM
from diffusion_lm_nb.classifier_free import CFG
import parts
from further import CONTROLS, holds, truth_of
from measure import commit, hardware
from odds import (E2E_TASKS, OTHER, SEED, as_row, best_dial, difference, is_right, judged, scored,
                  show, targets_of)

TEXTS, STEPS = Path('runs/17h'), 50
OURS, SAME, READS, BOTH = 'ours', 'ours, same network', 'reads', 'reads, and ours'
DIALS = {READS: (1., 2., 3.), BOTH: (1., 2., 3.)}

def kept(name, write): return parts.kept(TEXTS, name, write)

def keep(part, rows):
    "Put the rows of a part into the table, in place of its old ones."
    for r in rows:
        r |= dict(part=part, hardware=hardware(), commit=commit(),
                  command=f'python scripts/classifier_free.py {part.split("-")[-1]}')
    parts.put(part, rows)

def networks(name): # grammar or e2e -> the model, and the one that reads
    return [DiffusionLM.from_pretrained(k).eval() for k in (name, f'{name}-given')]

def sample(way, dial, models, n, control, **how):
    "Texts of a way."
    plain, conditional = models
    if way == OURS: return plain.sample(n, control, **how)
    if way == SAME: guide = own_guide(conditional, control, how)
    else: guide = CFG(dial, marginals=way == BOTH)
    return conditional.sample(n, control, guide=guide, **how)

def own_guide(lm, control, how): # what a model that reads nothing takes by default; or None
    controls = [c.bind(lm) for c in (control if isinstance(control, list) else [control])]
    return DiffusionLM.bind_guide(lm, 'auto', controls, 1., how.get('solver', 'renoise'))

# ---- the grammar

def drawn(task, way, dial, n, seed):
    return kept(f'grammar-{way}-{dial}-{task}-{n}', lambda: sample(
        way, dial, networks('grammar'), n, CONTROLS[task][0], seed=seed, batch_size=64,
        steps=STEPS, solver='ancestral'))

def chosen_on_grammar():
    "{way: strength}: the largest share of right texts, mean over two controls."
    out, rows = {OURS: 1., SAME: 1.}, []
    for way, dials in DIALS.items():
        found = {}
        for d in dials:
            piles = {t: drawn(t, way, d, 128, OTHER)[0] for t in ('French', 'tags')}
            by = {t: sum(is_right(t, x.split()) for x in v) / len(v) for t, v in piles.items()}
            found[d] = sum(by.values()) / 2, by
        out[way] = max(dials, key=lambda d: found[d][0])
        rows += [show(dict(task='grammar', method=way, dial=d, success=v, shares=by,
                           chosen=d == out[way], n_samples=128, n_targets=2))
                 for d, (v, by) in found.items()]
    keep('cfg-choose-grammar', rows)
    return out

def grammar():
    rows, dials, shipped = [], chosen_on_grammar(), DiffusionLM.from_pretrained('grammar')
    for task in CONTROLS:
        truth, found = truth_of(task, shipped), {}
        for way, dial in [(SAME, 1.), (OURS, 1.), *((w, d) for w in DIALS for d in DIALS[w])]:
            if dial != dials[way] and task not in ('French', 'tags'): continue
            texts, seconds = drawn(task, way, dial, 256, SEED)
            r = dict(task=task, method=way, dial=dial, chosen=dial == dials[way], steps=STEPS,
                     n_targets=1, n_samples=256, **judged(task, texts, truth),
                     success=sum(holds(task, t.split()) for t in texts) / 256,
                     seconds_per_50=seconds / 256 * 50, model='grammar-given', versus=SAME)
            found.setdefault('same', r['by_text'])
            r['difference'], r['difference_interval'] = difference(r['by_text'], found['same'])
            rows.append(show(r))
        keep('cfg-grammar', rows)                            # what is there is not lost

# ---- E2E

def steered(task, way, dial, models, choosing=0, n=1): # as in `odds.targets_of`
    "Texts of a task, scored."
    targets, controls = targets_of(task, choosing)
    seed = OTHER if choosing else SEED
    texts, seconds = kept(f'e2e-{way}-{dial}-{task}-{choosing}-{n}', lambda: sample(
        way, dial, models, n * len(controls), [c for c in controls for _ in range(n)], seed=seed,
        batch_size=20, steps=STEPS))
    own = [texts[n * k:n * k + n] for k in range(len(controls))]
    return scored(task, targets, own) | dict(seconds_per_50=seconds / len(texts) * 50)

def chosen_on_e2e(models):
    "{way: strength} by the rule of scripts/odds.py, on targets that are not reported."
    out, rows = {OURS: 1., SAME: 1.}, []
    for way, dials in DIALS.items():
        found = {d: {t: steered(t, way, d, models, 15) for t in E2E_TASKS} for d in dials[:2]}
        out[way], by = best_dial(found)
        rows += [show(dict(task='e2e', method=way, dial=d, **v, n_samples=1,
                           n_targets=15 * len(E2E_TASKS))) for d, v in by.items()]
    keep('cfg-choose-e2e', rows)
    return out

def e2e():
    models, rows = networks('e2e'), []
    dials = chosen_on_e2e(models)
    for task in E2E_TASKS:
        same = None
        for way in (SAME, OURS, READS, BOTH):
            found = steered(task, way, dials[way], models)
            same = same or found
            rows.append(show(dict(task=task, method=way, dial=dials[way], steps=STEPS,
                                  **as_row(found, same), versus=SAME,
                                  seconds_per_50=found['seconds_per_50'])))
        keep('cfg-e2e', rows)

PARTS = dict(grammar=grammar, e2e=e2e)

if __name__ == '__main__': parts.run_parts(PARTS, sys.argv[1:])

"""Three ways to guide masked and uniform diffusion: rows of results/further.json (chapter 17g).

    OMP_NUM_THREADS=1 python scripts/discrete_guidance.py grammar           # half an hour
    DLM_DATA=... OMP_NUM_THREADS=1 python scripts/discrete_guidance.py e2e  # half an hour
    OMP_NUM_THREADS=1 python scripts/discrete_guidance.py ablation          # some minutes

The ways: `marginals`, this course's (the control conditions the token marginals); `d-cbg`, a
classifier of corrupted tokens reweights the step, its gains to first order or `by calls`; `d-cfg`,
a network that was trained to read the control. All take 50 ancestral steps at temperature 1.
`marginals, same network` is our way with the network of `d-cfg`, which reads no control then: it
was trained longer than that of the other ways.

Each way has one strength. It is chosen on other seeds and targets (rows of part
dguide-choose-…) by the rule of scripts/odds.py, and measured on those of the other rows.
`by calls` has the strength 1, Bayes' rule. `versus`, `difference` and `cheaper` are as in
scripts/odds.py; those whose names end in `_same` compare `d-cfg` with `marginals, same network`.

The models are in runs/17g, made by

    dlm-train grammar-masked-given --out runs/17g/grammar-masked-given

and so on (chapter 17g lists the presets); for E2E by

    python scripts/discrete.py warm masked
    dlm-train e2e-masked-given --lm runs/17c/warm-masked --out runs/17g/e2e-masked-given

and so on. Texts are kept in runs/17g and not made twice.
"""
import sys
from pathlib import Path

import torch

from diffusion_lm_nb import DiffusionLM
from diffusion_lm_nb.commands import PRESETS
from diffusion_lm_nb.corpora import load_corpus
from diffusion_lm_nb.discrete_guidance import (DCBG, DCFG, ConditionalLM, TokenClassifier,
                                               make_conditional)
from diffusion_lm_nb.files import BadInput
from diffusion_lm_nb.syntax import PartsOfSpeech, SyntaxClassifier, Syntactic
from diffusion_lm_nb.training import fit
import parts
from further import CONTROLS, TAGS, holds, truth_of
from measure import commit, hardware
from odds import (E2E_TASKS, OTHER, SEED, as_row, best_dial, difference, is_right, judged, scored,
                  show, targets_of)

TEXTS, KINDS, STEPS = Path('runs/17g'), ('masked', 'uniform'), 50
OURS, CBG, CALLS, CFG = 'marginals', 'd-cbg', 'd-cbg, by calls', 'd-cfg'
SAME = 'marginals, same network'
DIALS = {OURS: (1., 2.), CBG: (1., 2., 4.), CFG: (1., 2., 3.)} # strengths, grammar
E2E_DIALS = {way: (1., 2.) for way in DIALS}
HOW = dict(steps=STEPS, solver='ancestral')

def kept(name, write): return parts.kept(TEXTS, name, write)

def keep(part, rows):
    "Put the rows of a part into the table, in place of its old ones."
    for r in rows:
        r |= dict(part=part, hardware=hardware(), commit=commit(),
                  command=f'python scripts/discrete_guidance.py {part.split("-")[-1]}')
    parts.put(part, rows)

def trained(kind, name): # a class; of a folder in TEXTS
    if not (TEXTS / name / 'config.json').exists():
        raise BadInput(f'no {TEXTS}/{name}: dlm-train {name} --out {TEXTS}/{name}')
    return kind.from_pretrained(TEXTS / name).eval()

def guided(way, dial, models): # (model, conditional model, classifier) -> a model, its arguments
    "What samples, and how."
    lm, conditional, classifier = models
    if way in (OURS, SAME):
        return lm if way == OURS else conditional, dict(guidance=dial, guide=None)
    if way == CFG: return conditional, dict(guide=DCFG(dial))
    return lm, dict(guide=DCBG(classifier, dial, first_order=way == CBG, least=.03))

# ---- the grammar

def models_of(kind): # of KINDS
    return (DiffusionLM.from_pretrained(f'grammar-{kind}').eval(),
            trained(ConditionalLM, f'grammar-{kind}-given'),
            trained(TokenClassifier, f'grammar-{kind}-semantic'))

def control_of(task, kind): # a name of CONTROLS
    if task != 'tags': return CONTROLS[task][0]
    return PartsOfSpeech(TAGS, reader=trained(SyntaxClassifier, f'grammar-{kind}-syntax'))

def drawn(kind, task, way, dial, n, seed):
    lm, more = guided(way, dial, models_of(kind))
    return kept(f'grammar-{kind}-{way}-{dial}-{task}-{n}', lambda: lm.sample(
        n, control_of(task, kind), seed=seed, batch_size=64, **HOW, **more))

def chosen_on_grammar(kind):
    "{way: strength}: the largest share of right texts, mean over two controls."
    out, rows = {}, []
    for way, dials in DIALS.items():
        found = {}
        for d in dials:
            piles = {t: drawn(kind, t, way, d, 128, OTHER)[0] for t in ('French', 'tags')}
            by = {t: sum(is_right(t, x.split()) for x in v) / len(v) for t, v in piles.items()}
            found[d] = sum(by.values()) / 2, by
        out[way] = max(dials, key=lambda d: found[d][0])
        rows += [show(dict(task='grammar', kind=kind, method=way, dial=d, success=v, shares=by,
                           chosen=d == out[way], n_samples=128, n_targets=2))
                 for d, (v, by) in found.items()]
    return out, rows

def grammar():
    rows, choice, shipped = [], [], DiffusionLM.from_pretrained('grammar')
    for kind in KINDS:
        dials, found = chosen_on_grammar(kind)
        choice += found
        for task in CONTROLS:
            truth, first = truth_of(task, shipped), None
            for way in (OURS, CBG, SAME, CFG, CALLS):
                dial = dials[OURS] if way == SAME else dials.get(way, 1.)
                n = 128 if way == CALLS else 256
                if way == CALLS and kind == 'uniform' and task != 'French': continue # hours
                texts, seconds = drawn(kind, task, way, dial, n, SEED)
                r = dict(task=task, kind=kind, method=way, dial=dial, steps=STEPS, n_targets=1,
                         n_samples=n, **judged(task, texts, truth),
                         success=sum(holds(task, t.split()) for t in texts) / n,
                         seconds_per_50=seconds / n * 50, model=f'grammar-{kind}')
                first = first or r['by_text']
                r['difference'], r['difference_interval'] = difference(r['by_text'], first[:n])
                if way == SAME: same = r['by_text']
                if way == CFG:
                    r['difference_same'], r['difference_same_interval'] = difference(
                        r['by_text'], same)
                rows.append(show(r | dict(versus=OURS)))
            keep('dguide-grammar', rows)                     # what is there is not lost
    keep('dguide-choose-grammar', choice)

# ---- E2E

def e2e_models():
    return (DiffusionLM.from_pretrained('runs/17c/warm-masked').eval(),
            trained(ConditionalLM, 'e2e-masked-given'),
            trained(TokenClassifier, 'e2e-masked-semantic'))

def steered(task, way, dial, models, reader, choosing=0, n=1): # as in `odds.targets_of`
    "Texts of a task, scored."
    targets, controls = targets_of(task, choosing)
    for c in controls:
        if isinstance(c, Syntactic): c.given = reader
    lm, more = guided(way, dial, models)
    seed = OTHER if choosing else SEED
    texts, seconds = kept(f'e2e-{way}-{dial}-{task}-{choosing}-{n}', lambda: lm.sample(
        n * len(controls), [c for c in controls for _ in range(n)], seed=seed, batch_size=20,
        **HOW, **more))
    own = [texts[n * k:n * k + n] for k in range(len(controls))]
    return scored(task, targets, own) | dict(seconds_per_50=seconds / len(texts) * 50)

def chosen_on_e2e(models, reader):
    "{way: strength} by the rule of scripts/odds.py, on targets that are not reported."
    out, rows = {}, []
    for way, dials in E2E_DIALS.items():
        found = {d: {t: steered(t, way, d, models, reader, 15) for t in E2E_TASKS}
                 for d in dials}
        out[way], by = best_dial(found)
        rows += [show(dict(task='e2e', kind='masked', method=way, dial=d, **v, n_samples=1,
                           n_targets=15 * len(E2E_TASKS))) for d, v in by.items()]
    keep('dguide-choose-e2e', rows)
    return out

def matched(found, same):
    "Differences of d-cfg to our way with the same network, as those of `as_row`."
    row = as_row(found, same)
    return {f'{k}_same{end}': row[k + end] for k in ('difference', 'cheaper')
            for end in ('', '_interval')}

def e2e():
    models, reader, rows = e2e_models(), trained(SyntaxClassifier, 'e2e-masked-syntax'), []
    dials = chosen_on_e2e(models, reader)
    for task in E2E_TASKS:
        plain, same = None, {}
        for way in (OURS, CBG, SAME, CFG):
            dial = dials[OURS if way == SAME else way]
            found = steered(task, way, dial, models, reader)
            plain = plain or found
            if way == SAME: same['found'] = found
            more = matched(found, same['found']) if way == CFG else {}
            rows.append(show(dict(
                task=task, kind='masked', method=way, dial=dial, steps=STEPS,
                **as_row(found, plain), **more, versus=OURS, seconds_per_50=found['seconds_per_50'])))
        keep('dguide-e2e', rows)

# ---- without the biases of the symbols

def ablation():
    "The masked network of the grammar that reads controls, trained with its biases held at 0."
    p = PRESETS['grammar-masked-given']
    torch.manual_seed(0)
    lm, at = make_conditional(p, load_corpus('grammar'), 0)
    lm.bias.requires_grad_(False)
    out = TEXTS / 'grammar-masked-no-bias'
    fit(lm, at, p, out, resume=True, device='cpu', quiet=True)
    rows, shipped = [], DiffusionLM.from_pretrained('grammar')
    for task in ('French', 'tags'):
        texts, seconds = kept(f'grammar-no-bias-{task}', lambda: lm.eval().sample(
            256, control_of(task, 'masked'), seed=SEED, batch_size=64, guide=DCFG(1.), **HOW))
        rows.append(show(dict(task=task, kind='masked', method='d-cfg, no biases', dial=1.,
                              steps=STEPS, n_targets=1, n_samples=256,
                              **judged(task, texts, truth_of(task, shipped)),
                              success=sum(holds(task, t.split()) for t in texts) / 256,
                              seconds_per_50=seconds / 256 * 50)))
    keep('dguide-ablation', rows)

PARTS = dict(grammar=grammar, e2e=e2e, ablation=ablation)

if __name__ == '__main__': parts.run_parts(PARTS, sys.argv[1:])

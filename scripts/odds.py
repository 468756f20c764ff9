"""Four changes of the sampler alone, measured: rows of results/further.json (chapter 17e).

    OMP_NUM_THREADS=1 python scripts/odds.py grammar                # some ten minutes
    DLM_DATA=... OMP_NUM_THREADS=1 python scripts/odds.py e2e       # some twenty
    DLM_DATA=... OMP_NUM_THREADS=1 python scripts/odds.py ft        # models of runs/17b and runs

Each dial has two values. One of them is chosen on other seeds and targets (rows of part
odds-choose-…), and measured on those of the other rows:

- grammar: the larger share of right texts, mean over the tasks; equal ones: the smaller change.
- E2E: the lower perplexity of the steered texts (geometric mean over the tasks), among the values
  whose mean success is at most .02 below the better one.

`evaluations` is how often the network is asked for a text, the last rounding included. `difference`
is that of success (grammar: of the share of right texts) to the method `versus`, `cheaper` the
ratio of the perplexities; their intervals are paired bootstraps of 2,000 draws over texts (grammar)
or targets (E2E). Texts are kept in runs/17e and not made twice; a run that was cut off goes on.
Seconds are those of a machine that other runs shared: they compare nothing.
"""
import math, sys
from pathlib import Path

from diffusion_lm_nb import DiffusionLM, Particles
from diffusion_lm_nb.baselines import StreamWriter
from diffusion_lm_nb.calibration import GrammarLM, reverse_gap, told_apart
from diffusion_lm_nb.checkpoints import find_trained
from diffusion_lm_nb.controls import Length, wilson_interval
from diffusion_lm_nb.corpora import load_corpus
from diffusion_lm_nb.fine_tuning import FT, FineTuned
from diffusion_lm_nb.metrics import success_rows
from diffusion_lm_nb.odds import ClassifierFree, OwnTimes, SelfGuidance
from diffusion_lm_nb.reproduction import pick, read_targets, shipped_targets
from diffusion_lm_nb.sampling import load_model
from diffusion_lm_nb.solvers import Ancestral
from diffusion_lm_nb.teacher import make_judge
from diffusion_lm_nb.training import ARTransformer
import parts
from dials import ratios
from discrete import of_twelve_words
from further import FRENCH, GRAMMAR, TAGS, TRAINED, TagsByLexicon, holds, truth_of
from measure import commit, distinct4_ratio, hardware, weights
from parts import cheaper, difference
from protocol import costs, people_of, ratio

TEXTS, SEED, OTHER = Path('runs/17e'), 5, 21
PLAIN, SELF, OWN, COOL = 'plain', 'self-guidance', 'own times', 'temperature'
JOINED = f'{SELF}, {OWN}', f'{SELF}, {COOL}'
DIALS = {SELF: (1., 2.), OWN: (.5, 1.), COOL: (.8, .625)}

# ---- how a method samples

def changed(lm, method, dial, solver):
    "The model and the solver of a method."
    if method == SELF: lm = SelfGuidance(dial).on(lm)
    if method == OWN: lm = OwnTimes(dial).on(lm)
    if method in JOINED:
        first, second = method.split(', ')
        lm, solver = changed(lm, first, dial[0], solver)
        return changed(lm, second, dial[1], solver)
    return lm, Ancestral().cooled(dial) if method == COOL else solver

def evaluations(method, steps):
    "Of the network, for one text: each step, and the rounding."
    if method in (SELF, *JOINED): return 2 * (steps + 1) - 1   # the first has no last estimate
    return 4 * (steps + 1) if method == '4 particles' else steps + 1

def kept(name, write): return parts.kept(TEXTS, name, write)

# ---- rows

def keep(part, rows):
    "Put the rows of a part into the table, in place of its old ones."
    command = part.split('-')[-1].replace('perfect', 'grammar')
    for r in rows:
        r |= dict(part=part, hardware=hardware(), commit=commit(),
                  command=f'python scripts/odds.py {command}')
    parts.put(part, rows)

def show(r):
    named = {k: round(v, 3) if isinstance(v, float) else v for k, v in r.items() if k not in (
        'by_text', 'interval', 'told_range', 'model', 'weights')}
    print(named, flush=True)
    return r

# ---- the grammar

FREE, LENGTH = 'free, 12 words', '12 words'
RUNS = [(PLAIN, 50), (PLAIN, 25), (PLAIN, 12), (SELF, 25), (OWN, 50), (COOL, 50),
        *((m, 25) for m in JOINED), ('4 particles', 12)]
TASKS = FREE, 'French', 'tags'

def control_of(task, lm):
    return {FREE: lambda: None, 'French': lambda: FRENCH.bind(lm),
            'tags': lambda: TagsByLexicon(TAGS)}[task]()

def is_right(task, words):
    if GRAMMAR.log_prob(words) < -1e9: return False
    return len(words) == 12 if task in (FREE, LENGTH) else holds(task, words)

def judged(task, texts, truth):
    "What of the texts is right, and how far they are from draws of p(w | c)."
    words, n = [t.split() for t in texts], len(texts)
    right = [is_right(task, w) for w in words]
    ok = [w for w, yes in zip(words, right) if yes]
    gap, error = reverse_gap(ok, truth, GRAMMAR)
    apart = [told_apart(words, [e.words for e in truth.sample(n, 100 + k)]) for k in range(5)]
    return dict(derivable=sum(GRAMMAR.log_prob(w) > -1e9 for w in words) / n,
                in_language=len(ok) / n, interval=wilson_interval(len(ok), n), gap=gap,
                gap_error=error, told_apart=sum(apart) / 5, told_range=[min(apart), max(apart)],
                different=len(set(texts)) / n, by_text=''.join('01'[v] for v in right))

def drawn(lm, task, method, dial, steps, n, seed):
    model, solver = changed(lm, method, dial, 'ancestral')
    more = dict(particles=Particles(4, keep='drawn')) if method == '4 particles' else {}
    return model.sample(n, control_of(task, lm), steps=steps, seed=seed, solver=solver, guide=None,
                        batch_size=64, n_words=12 if task == FREE else None, **more)

def mean_right(lm, method, dial): # on texts of another seed
    steps, shares = 25 if method == SELF else 50, {}
    for task in TASKS:
        texts, _ = kept(f'choose-grammar-{method}-{dial}-{task}',
                        lambda: drawn(lm, task, method, dial, steps, 128, OTHER))
        shares[task] = sum(is_right(task, t.split()) for t in texts) / len(texts)
    return sum(shares.values()) / len(shares), shares

def chosen_on_grammar(lm):
    "{method: dial} by the rule of the first lines."
    out, rows = {}, []
    for method, dials in DIALS.items():
        found = {d: mean_right(lm, method, d) for d in dials}
        out[method] = max(dials, key=lambda d: found[d][0])   # the first of equal ones
        rows += [show(dict(task='grammar', method=method, dial=d, success=v, shares=by,
                           chosen=d == out[method], n_samples=128, n_targets=len(TASKS)))
                 for d, (v, by) in found.items()]
    return out, rows

def grammar():
    lm = DiffusionLM.from_pretrained('grammar')
    dials, choice = chosen_on_grammar(lm)
    for m in JOINED: dials[m] = [dials[k] for k in m.split(', ')]
    keep('odds-choose-grammar', choice)
    rows = []
    for task in TASKS:
        truth = of_twelve_words() if task == FREE else truth_of(task, lm)
        plain = {}
        for method, steps in RUNS:
            if task == FREE and steps == 12: continue        # no control, no competition
            dial = dials.get(method)
            texts, seconds = kept(f'grammar-{method}-{dial}-{steps}-{task}', lambda: drawn(
                lm, task, method, dial, steps, 256, SEED))
            r = dict(task=task, method=method, dial=dial, steps=steps, n_targets=1, n_samples=256,
                     evaluations=evaluations(method, steps), **judged(task, texts, truth),
                     seconds_per_50=seconds / 256 * 50, model='grammar')
            plain.setdefault('by', r['by_text'])
            r['difference'], r['difference_interval'] = difference(r['by_text'], plain['by'])
            rows.append(show(r | dict(versus='plain, 50 steps')))
    keep('odds-grammar', rows)
    perfect(lm)

def perfect(lm):
    "Own times where no network errs: free texts in few steps."
    rows, world = [], GrammarLM(lm, GRAMMAR)
    for steps in (2, 3, 5):
        by = {}
        for ahead in (0., .5, 1.):
            texts, _ = kept(f'perfect-{ahead}-{steps}', lambda: drawn(
                world, FREE, OWN, ahead, steps, 256, SEED))
            right = [float(is_right(FREE, t.split())) for t in texts]
            by.setdefault('first', right)
            value, interval = difference(right, by['first'])
            rows.append(show(dict(
                task=FREE, method=OWN, dial=ahead, steps=steps, network='perfect', n_targets=1,
                n_samples=256, in_language=sum(right) / 256, difference=value,
                interval=wilson_interval(int(sum(right)), 256), difference_interval=interval)))
    keep('odds-perfect', rows)

# ---- E2E

REPORTED, CHOOSING, FT_CHOOSING = 40, 20, 30 # targets a task
E2E_TASKS = 'semantic', 'pos', 'tree', 'spans'

def targets_of(task, choosing=0): # -> targets, controls; choosing: so many of the others
    every = pick(read_targets(shipped_targets(task), task), REPORTED + FT_CHOOSING)
    return zip(*(every[REPORTED:REPORTED + choosing] if choosing else every[:REPORTED]))

def steered(lm, task, method, dial, steps, choosing=0): # as in `targets_of`
    targets, controls = targets_of(task, choosing)
    model, solver = changed(lm, method, dial, 'renoise')
    more = dict(particles=Particles(4, keep='drawn')) if method == '4 particles' else {}
    where = 'choose-e2e' if choosing else 'e2e'
    texts, seconds = kept(f'{where}-{method}-{dial}-{steps}-{task}', lambda: model.sample(
        len(controls), list(controls), seed=OTHER if choosing else SEED, steps=steps,
        solver=solver, **more))
    return scored(task, targets, [[t] for t in texts]) | dict(
        seconds_per_50=seconds / len(texts) * 50)

def scored(task, targets, texts): # a list of texts for each target
    "Success and the teacher's costs, by target."
    rows = [dict(task=task, target=t, texts=own) for t, own in zip(targets, texts)]
    found = success_rows(rows)
    words = [[t.split() for t in own] for own in texts]
    return dict(success=found['success'], interval=found['interval'], rows=rows, words=words,
                by_text=found['by_target'], costs=costs(words))

def perplexity(found):
    nats, tokens = found['costs'].sum(0)
    return (nats / tokens).exp().item()

def best_dial(found): # {dial: {task: `scored`}} -> dial, by the rule of the first lines
    def success(d): return sum(f['success'] for f in found[d].values()) / len(found[d])
    def cost(d): return math.prod(map(perplexity, found[d].values())) ** (1 / len(found[d]))
    fit = [d for d in found if success(d) >= max(map(success, found)) - .02]
    best = min(fit, key=cost)
    return best, {d: dict(success=success(d), lm_score=cost(d), chosen=d == best) for d in found}

def as_row(found, versus=None):
    "The part of a row that `scored` gives; versus: that of the method it is compared with."
    people = people_of(found['rows'])
    out = dict(success=found['success'], interval=found['interval'], by_text=found['by_text'],
               lm_score=perplexity(found), **ratio(found['words'], people),
               distinct4_ratio=distinct4_ratio([w for own in found['words'] for w in own[:1]],
                                               people), n_targets=len(found['words']),
               n_samples=len(found['words'][0]))
    if versus is None: return out
    value, interval = difference(found['by_text'], versus['by_text'])
    more, its_interval = cheaper(found['costs'], versus['costs'])
    return out | dict(difference=value, difference_interval=interval, cheaper=more,
                      cheaper_interval=its_interval)

def chosen_on_e2e(lm):
    "{method: dial} by the rule of the first lines, on targets that are not reported."
    out, rows = {}, []
    for method in (SELF, OWN):
        found = {d: {task: steered(lm, task, method, d, 25 if method == SELF else 50, CHOOSING)
                     for task in ('semantic', 'pos')} for d in DIALS[method]}
        out[method], by = best_dial(found)
        rows += [show(dict(task='e2e', method=method, dial=d, **v, n_targets=2 * CHOOSING,
                           n_samples=1)) for d, v in by.items()]
    keep('odds-choose-e2e', rows)
    return out

def free_row(lm, method, dial, steps, solver, people, by):
    "200 unguided texts, over those of the plain model in `by`."
    model, own = changed(lm, method, dial, solver)
    texts, seconds = kept(f'e2e-free-{solver}-{method}-{dial}-{steps}', lambda: model.sample(
        200, seed=SEED, steps=steps, solver=own, batch_size=20))
    words = [t.split() for t in texts]
    mine = costs([[w] for w in words])
    value, interval = cheaper(mine, by.setdefault('free', mine))
    return dict(**ratios(make_judge(), words, people), cheaper=value, cheaper_interval=interval,
                n_targets=1, n_samples=200, seconds_per_50=seconds / 4)

def e2e():
    lm = load_model('e2e', 'cpu')
    people = [e.words for e in load_corpus('e2e', 'valid') if len(e.words) <= lm.length - 2]
    dials, rows, by = chosen_on_e2e(lm), [], {}
    runs = [(PLAIN, None, 50), (PLAIN, None, 25), (SELF, dials[SELF], 25), (OWN, dials[OWN], 50),
            ('4 particles', None, 12)]
    runs += [(SELF, d, 25) for d in DIALS[SELF] if d != dials[SELF]]
    jobs = [(task, *run) for task in (*E2E_TASKS, 'free') for run in runs]
    for task, method, dial, steps in jobs:
        if (task, method) == ('free', '4 particles'): continue # no control, no competition
        if task == 'free': new = free_row(lm, method, dial, steps, 'renoise', people, by)
        else:
            found = steered(lm, task, method, dial, steps)
            new = as_row(found, by.setdefault(task, found)) | dict(
                seconds_per_50=found['seconds_per_50'])
        rows.append(show(dict(
            task=task, method=method, dial=dial, steps=steps, solver='renoise',
            chosen=dial == dials.get(method), evaluations=evaluations(method, steps), **new,
            versus='plain, 50 steps', model='e2e', weights=weights())))
        keep('odds-e2e', rows)                              # what is there is not lost

# ---- fine-tuned models

FT_DIALS = {'ft-guided': (1.5, 3.), COOL: (.8, .6)}

def writer_of(task, method, dial, corpus):
    folder = str(TRAINED) if corpus == 'grammar' else None
    def get(kind, name): return kind.from_pretrained(find_trained(f'{corpus}-{name}', folder))
    lm = get(FineTuned, f'ft-{task}')
    if method == 'ft-guided': return ClassifierFree(lm, get(ARTransformer, 'ar'), dial)
    if method == 'base': return StreamWriter(get(ARTransformer, 'ar'))
    return FT(lm, temperature=dial or 1.)

FT_CONTROLS = {'French': ('semantic', FRENCH), LENGTH: ('length', Length(12))}

def ft_on_grammar():
    def write(name, method, dial, n, seed):
        task, control = FT_CONTROLS[name]
        texts, seconds = kept(f'ft-grammar-{method}-{dial}-{n}-{name}', lambda: writer_of(
            task, method, dial, 'grammar').write([control], n, seed)[0])
        return texts, seconds
    def share(method, dial):
        piles = {k: write(k, method, dial, 128, OTHER)[0] for k in FT_CONTROLS}
        return sum(is_right(k, t.split()) for k, ts in piles.items() for t in ts) / 256
    runs, choice = [('ft-sample', None)], []
    for method, dials in FT_DIALS.items():
        found = {d: share(method, d) for d in dials}
        best = max(dials, key=found.get)
        runs.append((method, best))
        choice += [show(dict(task='grammar, ft', method=method, dial=d, success=v,
                             chosen=d == best, n_targets=2, n_samples=128))
                   for d, v in found.items()]
    runs += [('ft-guided', d) for d in FT_DIALS['ft-guided'] if ('ft-guided', d) not in runs]
    lm, rows = DiffusionLM.from_pretrained('grammar'), []
    for name in FT_CONTROLS:
        truth, by = of_twelve_words() if name == LENGTH else truth_of(name, lm), {}
        for method, dial in runs:
            texts, seconds = write(name, method, dial, 256, SEED)
            r = dict(task=name, method=method, dial=dial, corpus='grammar', n_targets=1,
                     n_samples=256, chosen=(method, dial) in runs[:3], **judged(name, texts, truth),
                     seconds_per_50=seconds / 256 * 50)
            by.setdefault('first', r['by_text'])
            r['difference'], r['difference_interval'] = difference(r['by_text'], by['first'])
            rows.append(show(r | dict(versus='ft-sample')))
    return rows, choice

def ft_on_e2e():
    def write(task, method, dial, choosing=0):
        targets, controls = targets_of(task, choosing)
        n, where = (1, 'choose') if choosing else (5, 'e2e')
        texts, seconds = kept(f'ft-{where}-{method}-{dial}-{task}', lambda: writer_of(
            task, method, dial, 'e2e').write(list(controls), n, OTHER if choosing else SEED))
        return scored(task, targets, texts) | dict(
            seconds_per_50=seconds / n / len(targets) * 50)
    runs, choice, rows = [('ft-sample', None)], [], []
    for method, dials in FT_DIALS.items():
        found = {d: {t: write(t, method, d, FT_CHOOSING) for t in E2E_TASKS} for d in dials}
        best, by = best_dial(found)
        runs.append((method, best))
        choice += [show(dict(task='e2e, ft', method=method, dial=d, **v, n_samples=1,
                             n_targets=len(E2E_TASKS) * FT_CHOOSING)) for d, v in by.items()]
    for task in E2E_TASKS:
        plain = None
        for method, dial in runs:
            found = write(task, method, dial)
            plain = plain or found
            rows.append(show(dict(task=task, method=method, dial=dial, corpus='e2e',
                                  **as_row(found, plain), versus='ft-sample',
                                  seconds_per_50=found['seconds_per_50'])))
    return rows, choice

def ft():
    found = [ft_on_grammar(), ft_on_e2e()]
    keep('odds-ft', [r for rows, _ in found for r in rows])
    keep('odds-choose-ft', [r for _, choice in found for r in choice])

PARTS = dict(grammar=grammar, e2e=e2e, ft=ft)

if __name__ == '__main__': parts.run_parts(PARTS, sys.argv[1:])

"""Few steps, with and without distillation: rows of results/further.json (chapter 17d).

    OMP_NUM_THREADS=1 python scripts/distill.py grammar              # ten minutes on one core
    DLM_DATA=... OMP_NUM_THREADS=1 python scripts/distill.py choose  # which solver and grid
    DLM_DATA=... OMP_NUM_THREADS=1 python scripts/distill.py e2e     # half an hour on one core
    DLM_DATA=... OMP_NUM_THREADS=1 python scripts/distill.py infill  # ten minutes on one core
    DLM_DATA=... python scripts/distill.py seconds               # both cores, nothing else running
    dlm-train e2e-16 --out runs/17d/e2e-16                       # half an hour on one core
    DLM_DATA=... OMP_NUM_THREADS=1 python scripts/distill.py choose-16 e2e-16

Part *grammar*: 256 free texts of twelve words, and four controls as in chapter 17b, by the base
and by its student. Part *choose*: 128 texts of the base in eight steps for each solver and grid of
times, seed 3; chosen is the lowest perplexity among those whose distinct-4 is at least .97 of
people's. Then 24 targets of three tasks for each solver of the two models; chosen is the largest
sum of success / max(1, ratio/1.5), as in chapter 16. Part *e2e*: 256 free texts of each sampler,
seed 5; and two texts for each of 40 other targets a task, of the base in 50 and in 8 steps, and of
the student in 8. The student's rows of part *e2e* have paired differences to those of the base
(`versus`; bootstrap over texts or targets). Part *infill*: 200 gaps of three to eight words in
E2E's test texts, their size told, three texts each, the most typical one scored; samplers as for
free texts. Parts *choose-16*, *e2e-16*, *choose-4* and *e2e-4*: the same choices, texts and targets
for students of 16 and of 4 steps, which are not shipped; the student of 8 in as many steps is
beside. (`dlm-train e2e-4 --out runs/17d/e2e-4` takes as long.) Texts are kept in runs/distill and
not made twice.
"""
import sys, time
from functools import partial
from pathlib import Path

import torch
from diffusion_lm_nb import DiffusionLM
from diffusion_lm_nb.controls import distinct
from diffusion_lm_nb.corpora import load_corpus, repeats
from diffusion_lm_nb.files import BadInput
from diffusion_lm_nb.infilling import hidden_words
from diffusion_lm_nb.metrics import gap_text, infill_scores, rouge_l, success_rows
from diffusion_lm_nb.reproduction import infill_row, pick, read_targets, shipped_targets
from diffusion_lm_nb.solvers import DDIM, DPMSolver2M, Renoise
from diffusion_lm_nb.teacher import make_judge
import parts
from dials import grid_of, ratios
from discrete import drawn, judged, of_twelve_words
from further import CONTROLS, M, TAGS, TagsByLexicon, truth_of
from measure import commit, hardware
from parts import cheaper, difference
from protocol import costs, people_of, ratio

TEXTS, TASKS = Path('runs/distill'), ('semantic', 'pos', 'tree', 'spans', 'length')
GRIDS = 'even', 'u^.7', 'equal cost'
BASES = { # solvers of the base in few steps; the temperature is the model's own
    'ancestral': lambda lm: 'renoise',
    'ddim': lambda lm: DDIM(0.).cooled(lm.temperature, lm.below),
    'dpmpp2m': lambda lm: DPMSolver2M().cooled(lm.temperature, lm.below),
}

def kept(name, write): return parts.kept(TEXTS, name, write)

def row(part, **more):
    out = dict(part=f'distilled-{part}', n_targets=1) | more | dict(
        hardware=hardware(), commit=commit(), command=f'python scripts/distill.py {part}')
    print({k: round(v, 3) if isinstance(v, float) else v for k, v in more.items()
           if not isinstance(v, list)}, flush=True)
    return out

# ---- the grammar

def writers(): # -> {name: (model, {name of a solver: solver}, steps)}
    base, student = (DiffusionLM.from_pretrained(k) for k in ('grammar', 'grammar-4'))
    solvers = {k: make(base) for k, make in BASES.items()} | dict(ancestral='ancestral')
    return dict(base=(base, solvers, (2, 4, 8, 16, 50)),
                student=(student, dict(ddim=DDIM(0.)), (2, 4, 8)))

def grammar():
    rows, truth, models = [], of_twelve_words(), writers()
    for who, (lm, solvers, counts) in models.items():
        for name, solver in solvers.items():
            for steps in counts:
                texts, seconds = kept(f'grammar-{who}-{name}-{steps}', lambda: drawn(
                    lm, steps=steps, solver=solver, n_words=12))
                rows.append(row('grammar', network=who, method=name, task='free, 12 words',
                                steps=steps, **judged(texts, truth), n_samples=M,
                                seconds_per_50=seconds / M * 50))
    base = models['base'][0]
    for name, (control, _) in CONTROLS.items():
        control.bind(base)
        truth = truth_of(name, base)
        control = TagsByLexicon(TAGS) if name == 'tags' else control
        for who, method, steps in (('base', 'ancestral', 50), ('base', 'ddim', 50),
                                   ('base', 'ancestral', 4), ('base', 'ddim', 4),
                                   ('student', 'ddim', 4), ('student', 'ancestral', 4)):
            lm, solvers, _ = models[who]
            solver = solvers.get(method, method)
            texts, seconds = kept(f'grammar-{who}-{method}-{steps}-{name}'.replace(' ', '_'),
                                  lambda: drawn(lm, control, steps, solver))
            rows.append(row('grammar', network=who, method=method, task=name, steps=steps,
                            **judged(texts, truth, name), n_samples=M,
                            seconds_per_50=seconds / M * 50))
    return rows

# ---- E2E

def of_people(part):
    return [e.words for e in load_corpus('e2e', part) if len(e.words) <= 62]

def free_row(part, lm, who, method, steps, grid, n, seed, people, judge):
    "Free texts of a sampler beside people's: a row, and what each text costs."
    times = grid_of(grid, steps, lm, people) if grid != 'even' else steps
    solver = BASES[method](lm) if who == 'base' else 'renoise'
    name = f'{part}-{who}-{method}-{steps}-{grid}'.replace(' ', '_')
    texts, seconds = kept(name, lambda: lm.sample(n, seed=seed, steps=times, solver=solver,
                                                  batch_size=20))
    words = [t.split() for t in texts]
    r = row(part, network=who, method=method, task='free', steps=steps, grid=grid, seed=seed,
            n_samples=n, **ratios(judge, words, people), repeats=repeats(words),
            distinct4=distinct(words), seconds_per_50=seconds / n * 50)
    return r, costs([[w] for w in words])

def steered_solvers(lm, who): # what is tried where a control steers
    "Solvers of a model; a student's answers are those of a cooled teacher already."
    cool, own = (lm.temperature, lm.below), lm.make_solver('renoise', True)
    if who == 'base': return dict(default=own, ddim=DDIM(0.).cooled(*cool),
                                  dpmpp2m=DPMSolver2M().cooled(*cool))
    return {'default': own, 'ddim': DDIM(0.), 'ddim, cooled': DDIM(0.).cooled(*cool),
            'default, not cooled': Renoise(lm.steered_share)}

def choosing_targets(task):
    "24 targets of a task that are not among the forty of part e2e."
    every = read_targets(shipped_targets(task), task)
    forty = pick(every, 40)
    return pick([w for w in every if w not in forty], 24, seed=7)

def base_and_student(k): # steps of the student
    "Both models; BadInput if a student that is not shipped has not been trained."
    own = 'e2e-8' if k == 8 else Path(f'runs/17d/e2e-{k}')
    if k != 8 and not own.is_dir():
        raise BadInput(f'no student in {own}; run `dlm-train e2e-{k} --out {own}` first')
    return DiffusionLM.from_pretrained('e2e'), DiffusionLM.from_pretrained(str(own))

def choose(k=8, part='choose'): # steps
    base, student = base_and_student(k)
    judge, people = make_judge(), of_people('valid')
    rows = [free_row(part, base, 'base', method, k, grid, 128, 3, people, judge)[0]
            for method in BASES for grid in GRIDS]
    for who, lm in (('base', base), ('student', student)):
        for name, solver in steered_solvers(lm, who).items():
            for task in ('semantic', 'pos', 'spans'):
                rows.append(task_row(part, lm, who, name, k, task, solver,
                                     choosing_targets(task), 1, 9)[0])
    return rows

def chosen(part='choose'): # of the table
    "Solver and grid of the base in so many steps; solver of each where a control steers."
    rows = parts.rows_of(f'distilled-{part}')
    if not rows: raise BadInput(f'no rows of part {part}; run `scripts/distill.py {part}` first')
    free = [r for r in rows if r['task'] == 'free' and r['distinct4_ratio'] >= .97]
    best, steered = min(free, key=lambda r: r['lm_ratio']), {}
    for who in ('base', 'student'):
        worth = {}
        for r in rows:
            if r['network'] != who or r['task'] == 'free': continue
            worth.setdefault(r['method'], []).append(r['success'] / max(1, r['lm_ratio'] / 1.5))
        steered[who] = max(worth, key=lambda k: sum(worth[k]))
    return best['method'], best['grid'], steered

def task_row(part, lm, who, method, steps, task, solver, wanted, n, seed):
    """Texts for targets of a task: a row with success, and with the perplexity over that of the
    targets' own sentences; and what the texts of each target cost.
    """
    texts, seconds = kept(f'{part}-{who}-{method}-{steps}-{task}', lambda: lm.sample(
        n * len(wanted), [c for _, c in wanted for _ in range(n)], seed=seed, steps=steps,
        solver=solver, batch_size=8))
    found = [dict(task=task, target=t, texts=texts[n * i:n * i + n], seconds=0.)
             for i, (t, _) in enumerate(wanted)]
    judged, words = success_rows(found), [[t.split() for t in r['texts']] for r in found]
    r = row(part, network=who, method=method, task=task, steps=steps, grid='even', seed=seed,
            n_targets=len(wanted), n_samples=n, success=judged['success'],
            interval=judged['interval'], by_target=judged['by_target'],
            **ratio(words, people_of(found)), distinct4=distinct([own[0] for own in words]),
            seconds_per_50=seconds / len(texts) * 50)
    return r, costs(words)

def compared(found): # list of (row, costs) of the same texts or targets, the student's last
    "The rows; that of the student with its paired differences to each of the others."
    (mine, own), versus = found[-1], []
    for r, cost in found[:-1]:
        more, interval = cheaper(own, cost)
        pair = dict(network=r['network'], method=r['method'], steps=r['steps'], cheaper=more,
                    cheaper_interval=interval)
        if 'by_target' in r:
            value, interval = difference(mine['by_target'], r['by_target'])
            pair |= dict(difference=value, difference_interval=interval)
        versus.append(pair)
    return [r for r, _ in found[:-1]] + [mine | dict(versus=versus)]

def e2e():
    base, student = (DiffusionLM.from_pretrained(k) for k in ('e2e', 'e2e-8'))
    judge, people, (method, grid, steered) = make_judge(), of_people('valid'), chosen()
    def free(lm, who, m, steps, g):
        return free_row('e2e', lm, who, m, steps, g, 256, 5, people, judge)
    rows = compared([
        free(base, 'base', 'ancestral', 50, 'even'), free(base, 'base', 'ddim', 50, 'even'),
        free(base, 'base', method, 16, grid), free(base, 'base', method, 8, grid),
        free(student, 'student', 'ddim', 8, 'even')])
    rows += compared([free(base, 'base', method, 4, grid),
                      free(student, 'student', 'ddim', 4, 'even')])
    for task in TASKS:
        wanted = pick(read_targets(shipped_targets(task), task), 40)
        rows += compared([
            task_row('e2e', lm, who, name, steps, task, steered_solvers(lm, who)[name], wanted,
                     2, 4)
            for lm, who, name, steps in (
                (base, 'base', 'default', 50), (base, 'base', steered['base'], 8),
                (student, 'student', steered['student'], 8))])
    return rows

def students(k): # steps
    "A student of another number of steps beside the base and the shipped student in as many."
    part, (base, own), eight = f'e2e-{k}', base_and_student(k), DiffusionLM.from_pretrained('e2e-8')
    judge, people, (method, grid, steered) = make_judge(), of_people('valid'), chosen(f'choose-{k}')
    def free(lm, who, m, steps, g='even'):
        return free_row(part, lm, who, m, steps, g, 256, 5, people, judge)
    found = [[free(base, 'base', method, k, grid), free(eight, 'student of 8', 'ddim', k),
              free(own, 'student', 'ddim', k)]]
    for task in TASKS:
        wanted = pick(read_targets(shipped_targets(task), task), 40)
        found.append([
            task_row(part, lm, who, name, k, task, steered_solvers(lm, who)[name], wanted, 2, 4)
            for lm, who, name in ((base, 'base', steered['base']),
                                  (eight, 'student of 8', 'default'),
                                  (own, 'student', steered['student']))])
    return [r for three in found for r in compared(three[:2]) + compared(three)[2:]]

def infill_writers():
    "(model, its name, name of the solver, steps, grid): those of free texts."
    base, student = (DiffusionLM.from_pretrained(k) for k in ('e2e', 'e2e-8'))
    method, grid, _ = chosen()
    return [(base, 'base', 'ancestral', 50, 'even'), (base, 'base', method, 8, grid),
            (student, 'student', 'ddim', 8, 'even')]

def infill(n=3):
    "Gaps of E2E's test texts: rows with paired differences of ROUGE-L, in points."
    wanted, people = hidden_words(load_corpus('e2e', 'test'))[:200], of_people('valid')
    found = []
    for lm, who, method, steps, grid in infill_writers():
        times = grid_of(grid, steps, lm, people) if grid != 'even' else steps
        solver = 'renoise' if who == 'student' else BASES[method](lm)
        texts, seconds = kept(f'infill-{who}-{method}-{steps}', lambda: lm.sample(
            n * len(wanted), [c for c, _ in wanted for _ in range(n)], seed=6, steps=times,
            solver=solver, batch_size=20))
        rows = [infill_row(c, refs, texts[n * i:n * i + n]) for i, (c, refs) in enumerate(wanted)]
        each = [rouge_l([gap_text(c, r['best'])], [refs]) for (c, refs), r in zip(wanted, rows)]
        found.append(row('infill', network=who, method=method, task='infill', steps=steps,
                         grid=grid, seed=6, n_targets=len(wanted), n_samples=n, by_target=each,
                         **infill_scores(rows), seconds_per_50=seconds / len(texts) * 50))
    for k, mine in enumerate(found[1:], 1):
        mine['versus'] = []
        for r in found[:k]:
            value, interval = difference(mine['by_target'], r['by_target'])
            mine['versus'].append(dict(method=r['method'], steps=r['steps'], difference=value,
                                       difference_interval=interval))
    return found

def seconds():
    "Time of 50 guided texts, medians of three."
    rows = []
    wanted = pick(read_targets(shipped_targets('semantic'), 'semantic'), 50)
    for name, steps in (('e2e', 50), ('e2e', 8), ('e2e-8', 8)):
        lm, times = DiffusionLM.from_pretrained(name), []
        for k in range(3):
            begun = time.monotonic()
            lm.sample(50, [c for _, c in wanted], seed=k, steps=steps, batch_size=25)
            times.append(time.monotonic() - begun)
        who = 'student' if name == 'e2e-8' else 'base'
        rows.append(row('seconds', network=who, task='semantic', method='default', steps=steps,
                        seconds_per_50=sorted(times)[1],
                        threads=torch.get_num_threads(), times=times))
    return rows

OTHERS = {f'{name}-{k}': make for k in (16, 4) for name, make in
          (('choose', partial(choose, k, f'choose-{k}')), ('e2e', partial(students, k)))}
SHIPPED = dict(grammar=grammar, choose=choose, e2e=e2e, infill=infill, seconds=seconds)
PARTS = SHIPPED | OTHERS

def measured(part):
    "The rows of a part, into the table."
    parts.put(f'distilled-{part}', PARTS[part]())

if __name__ == '__main__':
    parts.run_parts({k: partial(measured, k) for k in PARTS}, sys.argv[1:] or [*SHIPPED])

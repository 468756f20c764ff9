"""Few steps, with and without distillation: rows of results/further.json (chapter 17d).

    OMP_NUM_THREADS=1 python scripts/distill.py grammar              # ten minutes on one core
    DLM_DATA=... OMP_NUM_THREADS=1 python scripts/distill.py choose  # solver and grid of the base
    DLM_DATA=... OMP_NUM_THREADS=1 python scripts/distill.py e2e     # half an hour on one core
    DLM_DATA=... python scripts/distill.py seconds                   # both cores, nothing else running

Part *grammar*: 256 free texts of twelve words, and four controls as in chapter 17b, by the base and
by its student. Part *choose*: 128 texts of the base in eight steps for each solver and time grid, seed
3; what is chosen has the lowest perplexity among those whose distinct-4 is at least .97 of people's.
Part *e2e*: 400 free texts of each sampler, seed 5; and two texts for each of 40 targets a task, of
the base in 50 steps, the base in eight by what was chosen, and the student in eight. Texts are kept in
runs/distill and not made twice.
"""
import json, sys, time
from pathlib import Path

import torch
from diffusion_lm_nb import DiffusionLM
from diffusion_lm_nb.controls import distinct
from diffusion_lm_nb.corpora import load_corpus, repeats
from diffusion_lm_nb.files import BadInput, write_atomic
from diffusion_lm_nb.metrics import success_rows
from diffusion_lm_nb.reproduction import pick, read_targets, shipped_targets
from diffusion_lm_nb.solvers import DDIM, DPMSolver2M
from diffusion_lm_nb.teacher import make_judge
from dials import grid_of, ratios
from discrete import drawn, judged, of_twelve_words
from further import CONTROLS, M, TABLE, TAGS, TagsByLexicon, truth_of
from measure import commit, hardware
from protocol import people_of, ratio

TEXTS, TASKS = Path('runs/distill'), ('semantic', 'pos', 'tree', 'spans', 'length')
GRIDS = 'even', 'u^.7', 'equal cost'
BASES = { # solvers of the base in few steps; the temperature is the model's own
    'ancestral': lambda lm: 'renoise',
    'ddim': lambda lm: DDIM(0.).cooled(lm.temperature, lm.below),
    'dpmpp2m': lambda lm: DPMSolver2M().cooled(lm.temperature, lm.below),
}

def kept(name, write): # -> texts, seconds; from TEXTS if they are there
    path = TEXTS / f'{name}.json'
    if not path.exists():
        begun, texts = time.monotonic(), write()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps([texts, time.monotonic() - begun], ensure_ascii=False))
    return json.loads(path.read_text())

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
                student=(student, dict(ddim='renoise'), (2, 4, 8)))

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
                                   ('student', 'ddim', 4)):
            lm, solvers, _ = models[who]
            texts, seconds = kept(f'grammar-{who}-{method}-{steps}-{name}'.replace(' ', '_'),
                                  lambda: drawn(lm, control, steps, solvers[method]))
            rows.append(row('grammar', network=who, method=method, task=name, steps=steps,
                            **judged(texts, truth, name), n_samples=M,
                            seconds_per_50=seconds / M * 50))
    return rows

# ---- E2E

def of_people(part):
    return [e.words for e in load_corpus('e2e', part) if len(e.words) <= 62]

def free_row(part, lm, who, method, steps, grid, n, seed, people, judge):
    "Free texts of a sampler beside as many of people."
    times = grid_of(grid, steps, lm, people) if grid != 'even' else steps
    solver = 'renoise' if who == 'student' else BASES[method](lm)
    texts, seconds = kept(f'{part}-{who}-{method}-{steps}-{grid}'.replace(' ', '_'), lambda: lm.sample(
        n, seed=seed, steps=times, solver=solver, batch_size=20))
    words = [t.split() for t in texts]
    return row(part, network=who, method=method, task='free', steps=steps, grid=grid, seed=seed,
               n_samples=n, **ratios(judge, words, people), repeats=repeats(words),
               distinct4=distinct(words), seconds_per_50=seconds / n * 50)

def choose():
    lm, judge, people = DiffusionLM.from_pretrained('e2e'), make_judge(), of_people('valid')
    return [free_row('choose', lm, 'base', method, 8, grid, 128, 3, people, judge)
            for method in BASES for grid in GRIDS]

def chosen():
    "Solver and grid of the base in eight steps, by the rule of the first lines."
    rows = [r for r in json.loads(TABLE.read_text()) if r['part'] == 'distilled-choose']
    if not rows: raise BadInput('no rows of part choose; run `scripts/distill.py choose` first')
    fit = [r for r in rows if r['distinct4_ratio'] >= .97]
    best = min(fit, key=lambda r: r['lm_ratio'])
    return best['method'], best['grid']

def controlled(lm, who, method, steps, grid, people):
    "A row a task: two texts for each of forty targets."
    rows = []
    for task in TASKS:
        wanted = pick(read_targets(shipped_targets(task), task), 40)
        times = grid_of(grid, steps, lm, people) if grid != 'even' else steps
        solver = 'renoise' if who == 'student' or steps == 50 else BASES[method](lm)
        texts, seconds = kept(f'e2e-{who}-{method}-{steps}-{task}', lambda: lm.sample(
            80, [c for _, c in wanted for _ in range(2)], seed=4, steps=times, solver=solver,
            batch_size=10))
        found = [dict(task=task, target=t, texts=texts[2 * i:2 * i + 2], seconds=0.)
                 for i, (t, _) in enumerate(wanted)]
        judged = success_rows(found)
        words = [[t.split() for t in r['texts']] for r in found]
        rows.append(row('e2e', network=who, method=method, task=task, steps=steps, grid=grid, seed=4,
                        n_targets=40, n_samples=2, success=judged['success'],
                        interval=judged.get('interval'), by_target=judged.get('by_target'),
                        **ratio(words, people_of(found)),
                        distinct4=distinct([own[0] for own in words]),
                        seconds_per_50=seconds / 80 * 50))
    return rows

def e2e():
    base, student = (DiffusionLM.from_pretrained(k) for k in ('e2e', 'e2e-8'))
    judge, people, (method, grid) = make_judge(), of_people('valid'), chosen()
    rows = [free_row('e2e', lm, who, m, steps, g, 400, 5, people, judge)
            for lm, who, m, steps, g in (
                (base, 'base', 'ancestral', 50, 'even'), (base, 'base', 'ddim', 50, 'even'),
                (base, 'base', method, 16, grid), (base, 'base', method, 8, grid),
                (base, 'base', method, 4, grid), (student, 'student', 'ddim', 8, 'even'),
                (student, 'student', 'ddim', 4, 'even'), (student, 'student', 'ddim', 16, 'even'))]
    rows += controlled(base, 'base', 'default', 50, 'even', people)
    rows += controlled(base, 'base', method, 8, grid, people)
    return rows + controlled(student, 'student', 'ddim', 8, 'even', people)

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
        rows.append(row('seconds', network='student' if name == 'e2e-8' else 'base', task='semantic',
                        method='default', steps=steps, seconds_per_50=sorted(times)[1],
                        threads=torch.get_num_threads(), times=times))
    return rows

PARTS = dict(grammar=grammar, choose=choose, e2e=e2e, seconds=seconds)

def main(*parts):
    if wrong := [p for p in parts if p not in PARTS]:
        raise BadInput(f'no part {wrong[0]!r}; there are {", ".join(PARTS)}')
    for part in parts or PARTS:
        new = PARTS[part]()
        rows = json.loads(TABLE.read_text())
        rows = [r for r in rows if r['part'] != f'distilled-{part}'] + new
        write_atomic(TABLE, json.dumps(rows, ensure_ascii=False, indent=1) + '\n')

if __name__ == '__main__':
    try: main(*sys.argv[1:])
    except BadInput as e:
        print(e, file=sys.stderr)
        sys.exit(2)

"""The headline again with other sampling seeds: how much of a figure is the noise of sampling?

    OMP_NUM_THREADS=1 python scripts/seeds.py OUT [SEED …]

Rows of results/seeds.json: our way, the same 40 targets a task (length 31) and five texts each as
in results/cpu.json, whose texts have seed 0; 200 free texts of each seed. Without numbers the seeds
are 1 and 2. Some twenty minutes a seed on one core. OUT holds the texts; a run that was cut off
goes on where it was.
"""
import json, sys
from pathlib import Path

from diffusion_lm_nb.files import write_atomic
from diffusion_lm_nb.metrics import evaluate_rows
from diffusion_lm_nb.reproduction import PROTOCOLS, guide_for, job_file, job_row, job_targets
from diffusion_lm_nb.reproduction import run_targets
from diffusion_lm_nb.sampling import load_model
from diffusion_lm_nb.teacher import make_judge
from measure import commit, hardware, weights

TABLE = Path(__file__).parents[1] / 'results/seeds.json'
TASKS = 'free', 'semantic', 'pos', 'tree', 'spans', 'length'
P, METHOD, MODEL = PROTOCOLS['cpu'], 'diffusion', 'e2e'
FIGURES = ('success', 'interval', 'success_without_yes_no', 'by_target', 'success_labeller',
           'lm_score', 'distinct4', 'in_train', 'repeats', 'texts', 'n_targets')

def written(lm, task, seed, out): # `DiffusionLM`; name; of the sampling; folder
    "The rows of a task: the targets are those of seed 0, the texts are of this seed."
    wanted = job_targets(task, P, 0, None)
    controls = [c for _, c, _ in wanted]
    guide = None if task == 'free' else guide_for(controls, METHOD, lm, MODEL)
    rows = job_file(out / f'{task}-{seed}.jsonl', (0, 1), [t for t, _, _ in wanted], P['n'],
                    task=task, method=METHOD, model=MODEL, seed=seed, steps=lm.steps)
    def emit(j, texts, seconds): rows.add(j, job_row(wanted[j], texts, task, seconds=seconds))
    run_targets(lm, controls, P['n'], rows.todo(0, 1), emit, seed, block=64, guide=guide,
                steps=lm.steps)
    return [rows.done[j] for j in range(len(wanted))]

def keep(row):
    "Put a row into the table, in place of that of its task and seed."
    old = json.loads(TABLE.read_text()) if TABLE.exists() else []
    key = lambda r: (r['seed'], TASKS.index(r['task']))
    rows = [r for r in old if key(r) != key(row)] + [row]
    write_atomic(TABLE, json.dumps(sorted(rows, key=key), ensure_ascii=False, indent=1) + '\n')

def main(out, *seeds):
    lm, judge, out = load_model(MODEL, 'cpu'), make_judge(), Path(out)
    out.mkdir(parents=True, exist_ok=True)
    note = dict(hardware=hardware(), commit=commit(), weights=weights(),
                command='python scripts/seeds.py OUT')
    for seed in map(int, seeds or (1, 2)):
        for task in TASKS:
            found = evaluate_rows(written(lm, task, seed, out), judge=judge)
            row = dict(task=task, method=METHOD, seed=seed, n_samples=P['n'])
            keep(row | {k: found[k] for k in FIGURES if k in found} | note)
            print(seed, task, found.get('success'), found['lm_score'], flush=True)

if __name__ == '__main__':
    if len(sys.argv) < 2 or not all(map(str.isdecimal, sys.argv[2:])):
        print('seeds.py: say OUT [SEED …], a folder and whole numbers', file=sys.stderr)
        sys.exit(2)
    main(*sys.argv[1:])

"""How many steps does our sampler need to write as well as the released way's 200? One row a setting, into results/steps.json. A run that was cut off goes on.

    OMP_NUM_THREADS=1 python scripts/steps.py          # half an hour on one core, most of it the released way

The controls are 25 of the shipped classifier's, ten texts each, as `dlm-bench` has them, but others, with other noise.
"""
import json, time
from pathlib import Path
from measure import commit, hardware
from diffusion_lm_nb.reproduction import PAPER_GUIDANCE
from diffusion_lm_nb.files import write_atomic
from diffusion_lm_nb.sampling import load_model
from diffusion_lm_nb.scale import ReleasedGuide, our_texts, released_texts
from diffusion_lm_nb.bench import bench_classifiers, bench_controls, quality

TABLE, PAIRS, PER_PAIR, N = Path(__file__).parents[1]/'results/steps.json', 5, 5, 10
SETTINGS = (
    [('ours', 'fresh', steps) for steps in (20, 30, 50, 64, 80)]
    + [('ours', 'churn', steps) for steps in (50, 80)]
    + [('released', 'ancestral', 200)]
)

def main():
    lm = load_model('e2e', 'cpu')
    clf, _ = bench_classifiers(lm, 'e2e')
    controls, guide = bench_controls(lm, clf.labels, PAIRS * PER_PAIR), ReleasedGuide(
        clf, *PAPER_GUIDANCE['semantic']
    )
    for way, solver, steps in SETTINGS:
        rows = json.loads(TABLE.read_text()) if TABLE.exists() else []
        if any((r['way'], r['solver'], r['steps']) == (way, solver, steps) for r in rows):
            continue
        texts, start = [], time.time()
        for k in range(PAIRS):
            part = controls[k * PER_PAIR : (k + 1) * PER_PAIR]
            texts += (
                released_texts(lm, part, guide, N, steps, k)
                if way == 'released'
                else our_texts(lm, part, N, steps, k, solver=solver)
            )
        row = dict(
            way=way,
            solver=solver,
            steps=steps,
            **quality(controls, texts),
            seconds_per_50=(time.time() - start) / PAIRS,
            hardware=hardware(),
            commit=commit(),
            command='python scripts/steps.py'
        )
        write_atomic(TABLE, json.dumps(rows + [row], indent=1) + '\n')
        print(
            {k: v for k, v in row.items() if k not in ('hardware', 'commit', 'command')}, flush=True
        )

if __name__ == '__main__': main()

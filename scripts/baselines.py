"""Sweeps the settings of the baselines (chapters 14 to 14d) on valid data: one row a setting, into results/baselines_sweep.json. A run that was cut off goes on.

    DLM_DATA=... OMP_NUM_THREADS=1 python scripts/baselines.py [METHOD ...]        # all: about 40 minutes on one core

Targets, texts and scores are those of sweep.py: sentences of the valid split that the protocol does not use, read and scored by the labeller, 10 targets and
2 texts each. Gaps: 10 texts of the valid split with 3 to 8 words hidden. At most 9 settings for a method and task, as many as the diffusion model's sweep has.
Models are looked for as the commands do: shipped, or in runs/.

    python scripts/baselines.py --best             # for each method and task the setting that won, by success, divided by lm_ratio / 1.5 where that is over 1, of equals the more varied (to a tenth), then the more fluent (gaps: ROUGE-L)
    python scripts/baselines.py --final METHOD TASK # ten targets leave much to chance: the four best settings again, on forty targets (the ten sentences among them); these rows then decide
    python scripts/baselines.py --gaps [METHOD ...]     # fifty gaps of test texts, 3 to 8 words of known number, three texts each, by every method: results/gaps.json
"""
import json, sys, time
from pathlib import Path
from measure import commit, hardware
from sweep import TARGETS, TEXTS, scored, targets, valid, worth
from diffusion_lm_nb.commands import INFILLERS, make_baseline
from diffusion_lm_nb.files import read_rows
from diffusion_lm_nb.infilling import hidden_words
from diffusion_lm_nb.reproduction import infill_row, target_control
from diffusion_lm_nb.commands import dlm_infill
from diffusion_lm_nb.files import BadInput, write_atomic
from diffusion_lm_nb.controls import distinct
from diffusion_lm_nb.metrics import bootstrap, fluency, infill_scores

TABLE, GAPS = (Path(__file__).parents[1]/f'results/{name}.json' for name in ('baselines_sweep', 'gaps'))
SINGLE, JOINED = ('semantic', 'length', 'pos', 'tree', 'spans'), ('semantic+tree', 'semantic+pos')
COOLER = [dict(temperature=T) for T in (.9, .8, .7, .6, .5, .3)] # of what is drawn, as ours has it
FUDGE = [dict(weight=λ) for λ in (1.0, 2.0, 4.0, 8.0)] + [
    dict(weight=1.0, top=3),
    dict(weight=1.0, temperature=.7),
    dict(weight=2.0, temperature=.7),
    dict(weight=4.0, temperature=.7),
]
GRIDS = { # method: (tasks, settings); dict() is the authors' setting
    'ft-sample': (SINGLE, [dict()] + COOLER),
    'ft-search': (SINGLE, [dict(beam=4), dict(beam=1), dict(beam=16)]),
    'ft-poe': (JOINED, [dict(beam=b) for b in (None, 4, 16)] + COOLER),
    'fudge': (SINGLE + JOINED, [dict()] + FUDGE), # without a weight: the authors', by task
    'gedi': (
        ('semantic',),
        [dict(weight=ω) for ω in (30.0, 4.0, 8.0, 15.0)]
        + [
            dict(weight=8.0, filter=1.0),
            dict(weight=8.0, target=0.95),
            dict(weight=15.0, target=0.95),
            dict(weight=8.0, target=0.95, temperature=.7),
            dict(weight=15.0, target=0.95, temperature=.7),
        ],
    ),
    'pplm': (
        ('semantic',),
        [
            dict(step=η, kl=κ)
            for η, κ in (
                (0.04, 0.01),
                (0.1, 0.01),
                (0.2, 0.01),
                (0.4, 0.01),
                (0.1, 0.1),
                (0.2, 0.1),
                (0.4, 0.1),
                (0.4, 1.0),
            )
        ],
    ),
    'xlm': (('semantic',), [dict(), dict(order='left')]),
    'grid-beam': (('semantic', 'length'), [dict(beam=b) for b in (4, 1, 16)]),
    'ctrl-g': (('semantic', 'length'), [dict()] + COOLER),
    'ctrl-g-search': (('semantic', 'length'), [dict(beam=b) for b in (4, 1, 16)]),
    'ar-left': (('infill',), [dict()]),
    'ar': (('infill',), [dict()]),
    'bert': (('infill',), [dict(), dict(order='left')]),
    'bart': (('infill',), [dict(), dict(tries=20)]),
    'cold': (
        ('infill',),
        [
            dict(iterations=300, **s)
            for s in (
                {},
                dict(constraint=0.3),
                dict(constraint=0.7),
                dict(top=5),
                dict(top=10),
                dict(constraint=0.7, top=5),
            )
        ]
        + [dict()],
    ),
    'delorean': (
        ('infill',),
        [dict()]
        + [
            dict(step=s, mix=m)
            for s, m in (
                (3e-3, 0.88),
                (1e-2, 0.88),
                (3e-4, 0.5),
                (3e-3, 0.5),
                (1e-2, 0.5),
                (3e-2, 0.5),
                (3e-3, 0.3),
                (1e-2, 0.3),
            )
        ],
    ),
}

def on_controls(writer, task, n=TARGETS): # -> what stands in a row
    wanted, sentences = targets(task, n)
    if task == 'length':
        wanted = [len(s) for s in sentences]
    texts = writer.write([target_control(task, t) for t in wanted], TEXTS, seed=1)
    return scored(task, wanted, sentences, texts)

def on_gaps(writer): # -> what stands in a row
    items = hidden_words(valid(), seed=5)[:TARGETS]
    texts = writer.write([c for c, _ in items], TEXTS, seed=1)
    words = [t.split() for ts in texts for t in ts]
    whole = [(c.text.split(), refs[0].split()) for c, refs in items]
    people = [
        [w for x in text for w in (ref if x.startswith('___') else [x])] for text, ref in whole
    ]
    return infill_scores([infill_row(c, refs, ts) for (c, refs), ts in zip(items, texts)]) | dict(
        lm_ratio=fluency(words) / fluency(people), distinct4=distinct(words)
    )

def stored(): return json.loads(TABLE.read_text()) if TABLE.exists() else []

def measure(method, task, setting, n, command): # one row more, unless it is there
    rows = stored()
    if any(
        (r['task'], r['method'], r['setting'], r['n_targets']) == (task, method, setting, n)
        for r in rows
    ):
        return
    writer, start = make_baseline(method, task, device='cpu', tuned=False, **setting), time.time()
    row = on_gaps(writer) if method in INFILLERS else on_controls(writer, task, n)
    row = dict(
        task=task,
        method=method,
        setting=setting,
        budget=len(GRIDS[method][1]),
        **row,
        seconds_per_50=(time.time() - start) / n / TEXTS * 50,
        n_targets=n,
        n_samples=TEXTS,
        model=writer.model,
        hardware=hardware(),
        commit=commit(),
        command=f'DLM_DATA=$DLM_DATA python scripts/baselines.py {command}',
    )
    write_atomic(TABLE, json.dumps(stored() + [row], ensure_ascii=False, indent=1) + '\n')
    print(
        task,
        method,
        setting,
        {k: round(v, 3) for k, v in row.items() if isinstance(v, float)},
        flush=True,
    )

def main(*methods):
    for method in methods or GRIDS:
        for task in GRIDS[method][0]:
            try:
                for setting in GRIDS[method][1]: measure(method, task, setting, TARGETS, method)
            except BadInput as e: print(f'{method} {task}: {e}', flush=True)

def final(method, task):
    first = [
        r for r in stored() if (r['method'], r['task'], r['n_targets']) == (method, task, TARGETS)
    ]
    for r in sorted(first, key=worth, reverse=True)[:4]:
        measure(method, task, r['setting'], 4 * TARGETS, f'--final {method} {task}')

def best(): # prints the setting that won, a line a method and task
    rows = stored()
    for method, task in dict.fromkeys((r['method'], r['task']) for r in rows):
        of = [r for r in rows if (r['method'], r['task']) == (method, task)]
        tried = [r for r in of if r['n_targets'] == TARGETS]
        r = max((r for r in of if r['n_targets'] == max(r['n_targets'] for r in of)), key=worth)
        print(
            f'{method:10} {task:14} {len(tried)} of {r["budget"]} tried   {r["setting"]!s:40} '
            + (
                f'ROUGE-L {r["rouge_l"]:.1f}'
                if task == 'infill'
                else f'success {r["success"]:.2f}, lm {r["lm_ratio"]:.2f}'
            )
        )

def test_gaps(*methods):
    for method in methods or ['diffusion', *(m for m in INFILLERS if not m.endswith('-authors'))]:
        rows, out, start = (
            json.loads(GAPS.read_text()) if GAPS.exists() else [],
            Path('runs/gaps') / f'{method}.jsonl',
            time.time(),
        )
        if any(r['method'] == method for r in rows):
            continue
        out.parent.mkdir(parents=True, exist_ok=True)
        out.unlink(missing_ok=True) # the seconds are of one run
        command = f'--items e2e --limit 50 --n 3 --seed 0 --device cpu --method {method}'
        if dlm_infill([*command.split(), '--out', str(out)]):
            continue
        seconds, wrote = time.time() - start, read_rows(out)
        words = [t.split() for r in wrote for t in r['texts']]
        people = [
            [
                w
                for x in r['target'].split()
                for w in (r['references'][0].split() if x.startswith('___') else [x])
            ]
            for r in wrote
        ]
        row = dict(
            task='infill',
            method=method,
            corpus='e2e test, 3 to 8 words hidden',
            **infill_scores(wrote),
            by_target=(each := [infill_scores([r])['rouge_l'] for r in wrote]), # of the gap
            interval=bootstrap(each),
            lm_ratio=fluency(words) / fluency(people),
            distinct4=distinct(words),
            seconds_per_50=seconds / len(words) * 50,
            n_targets=len(wrote),
            n_samples=3,
            model=wrote[0]['model'],
            hardware=hardware(),
            commit=commit(),
            command=f'dlm-infill {command}',
        )
        write_atomic(GAPS, json.dumps(rows + [row], ensure_ascii=False, indent=1) + '\n')
        print(method, {k: round(v, 3) for k, v in row.items() if isinstance(v, float)}, flush=True)

if __name__ == '__main__' and sys.argv[1:2] == ['--gaps']: test_gaps(*sys.argv[2:])
elif __name__ == '__main__' and sys.argv[1:2] == ['--final']: final(*sys.argv[2:])
elif __name__ == '__main__': best() if sys.argv[1:] == ['--best'] else main(*sys.argv[1:])

"""Takes the rows of reports into results/: `python scripts/collect.py REPORT.json … NAME "the command"` writes results/NAME.json.

With --into first, rows of the table that no report has stay as they are. Each row gets hardware, commit and command. A row that stands in several reports, as that of the unguided texts does, is taken once.
"""
import json, sys
from pathlib import Path
from measure import commit, hardware, weights
from diffusion_lm_nb.files import write_atomic
from diffusion_lm_nb.reproduction import AUTHORS_SAMPLING, PROTOCOLS

AUTHORS = 'diffusion-authors' # has its own number of steps

into = sys.argv[1] == '--into'
*reports, name, command = sys.argv[1 + into:]
TABLE = Path(__file__).parents[1] / f'results/{name}.json'
n = lambda r, report: {'their sentences': 1, 'test texts': 1}.get(
    r['method'], PROTOCOLS[report['protocol']]['n']
)
rows = {}
for report in (json.loads(Path(f).read_text()) for f in reports):
    for r in report['rows']:
        rows.setdefault(
            (r['task'], r['method']),
            r
            | dict(
                n_samples=n(r, report),
                steps=AUTHORS_SAMPLING['steps'] if r['method'] == AUTHORS else report['steps'],
                hardware=report['hardware'] if 'thread' not in report['hardware'] else hardware(),
                commit=commit(),
                weights=weights(),
                command=command,
            ),
        )
rows = [
    r
    for k, r in rows.items()
    if k[1] not in ('unguided', 'their sentences', 'test texts') or k[0] == 'free'
] + [
    r
    for k, r in rows.items()
    if k[1] in ('unguided', 'their sentences', 'test texts') and k[0] != 'free'
]
if into:
    marks = 'unguided', 'their sentences', 'test texts', 'diffusion'
    new = {(r['task'], r['method']): r for r in rows if r['method'] not in marks}
    old = json.loads(TABLE.read_text())
    rows = [new.pop((r['task'], r['method']), r) for r in old] + [*new.values()]
write_atomic(
    TABLE, json.dumps(rows, ensure_ascii=False, indent=1) + '\n'
)
print(len(rows), 'rows')

"""Takes the rows of a report into results/: `python results/collect.py REPORT.json NAME "the command"` writes results/NAME.json.

Each row gets hardware, commit and command.
"""
import json, sys
from pathlib import Path
from measure import commit, hardware
from diffusion_lm_nb.data import write_atomic

report, name, command = json.loads(Path(sys.argv[1]).read_text()), sys.argv[2], sys.argv[3]
n = {'quick': 5, 'cpu': 5, 'full': 50}.get(report['protocol'])
rows = [r | dict(n_samples=n, steps=report['steps'], hardware=report.get('hardware') or hardware(), commit=commit(), command=command) for r in report['rows']]
write_atomic(Path(__file__).parent/f'{name}.json', json.dumps(rows, ensure_ascii=False, indent=1) + '\n')
print(len(rows), 'rows')

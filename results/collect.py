"""Takes the rows of a report into results/: `python results/collect.py REPORT.json NAME "the command"` writes results/NAME.json.

Each row gets hardware, commit and command.
"""
import json, sys
from pathlib import Path
from measure import commit, hardware
from diffusion_lm_nb.data import write_atomic
from diffusion_lm_nb.reproduction import PROTOCOLS

report, name, command = json.loads(Path(sys.argv[1]).read_text()), sys.argv[2], sys.argv[3]
n = lambda r: {'their sentences': 1, 'test texts': 1}.get(r['method'], PROTOCOLS[report['protocol']]['n'])
rows = [r | dict(n_samples=n(r), steps=report['steps'], hardware=report['hardware'] if 'thread' not in report['hardware'] else hardware(), commit=commit(), command=command) for r in report['rows']]
write_atomic(Path(__file__).parent/f'{name}.json', json.dumps(rows, ensure_ascii=False, indent=1) + '\n')
print(len(rows), 'rows')

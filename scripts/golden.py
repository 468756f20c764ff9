#!/usr/bin/env python
"""Texts that must not change when code is moved: hashes of what the shipped models write, by task, method and solver.

    python scripts/golden.py --write     # before the move
    python scripts/golden.py             # after each step: exit code 1 and the names of what differs

The hashes hold for one kind of CPU and one version of torch, as same seed, same text does.
"""
import argparse
import hashlib
import json
import os
import platform
import sys
import tempfile
from importlib.metadata import entry_points
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')
import torch

import diffusion_lm_nb

torch.set_num_threads(1)
from diffusion_lm_nb import (DiffusionLM, Infill, Length, PartsOfSpeech, SemanticContent,
                             SyntaxSpan, SyntaxTree)

FILE = Path(__file__).parent.parent/'tests'/'golden.json'
SOLVERS = ['churn', 'ancestral', 'fresh', 'ddim', 'dpm2m']
TREE = '(S (NP _ _) (VP _ (NP (NP _ _) (PP _ (NP _ _)))) _)'
CONTROLS = dict(
    semantic=lambda: SemanticContent('food', 'French'),
    friendly=lambda: SemanticContent('family friendly', 'yes'),
    pos=lambda: PartsOfSpeech('DET PROPN AUX DET ADJ NOUN PUNCT'),
    tree=lambda: SyntaxTree(TREE),
    spans=lambda: SyntaxSpan(3, 5, 'PP'),
    length=lambda: Length(12),
    infill=lambda: Infill('The Eagle is a', 'near Burger King .', n_words=3),
    length_semantic=lambda: Length(12) & SemanticContent('food', 'French'),
    spans_semantic=lambda: SyntaxSpan(3, 5, 'PP') & SemanticContent('Type', 'pub'),
)


def processor(info=Path('/proc/cpuinfo')):
    "Maker and model of the CPU: which kernels there are, and how they round, is its own."
    lines = info.read_text().splitlines() if info.exists() else []
    found = dict(reversed([[part.strip() for part in line.split(':', 1)] for line in lines
                           if ':' in line]))               # of the first core
    names = 'vendor_id', 'cpu family', 'model', 'stepping'
    return ' '.join(found[k] for k in names if k in found) or platform.machine()


def machine():
    "What the hashes depend on besides the code."
    return dict(torch=torch.__version__.split('+')[0],
                cpu=torch.backends.cpu.get_cpu_capability(), processor=processor())


def digest(value):
    "A short hash of anything that JSON can hold."
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def run(command, *args):
    "Texts and gaps of the rows that a command writes."
    main = next(e for e in entry_points(group='console_scripts') if e.name == command).load()
    with tempfile.TemporaryDirectory() as d:
        out = Path(d)/'out.jsonl'
        if main([*map(str, args), '--out', str(out)]):
            raise SystemExit(f'{command} {args} failed')
        rows = [json.loads(line) for line in out.read_text(encoding='utf8').splitlines()]
    return [{k: row.get(k) for k in ('target', 'texts', 'gaps', 'best')} for row in rows]


def cases():
    "Yield (name, function): each function gives what is hashed."
    e2e, grammar = DiffusionLM.from_pretrained('e2e'), DiffusionLM.from_pretrained('grammar')
    for solver in SOLVERS:
        yield f'free {solver}', lambda solver=solver: e2e.sample(2, steps=8, solver=solver)
        yield f'grammar {solver}', lambda solver=solver: grammar.sample(2, steps=8, solver=solver)
    yield 'free clamp', lambda: e2e.sample(2, steps=8, clamp=True)
    for name, make in CONTROLS.items():
        yield f'control {name}', lambda make=make: e2e.sample(2, make(), steps=8, seed=3)
    yield 'infill open', lambda: e2e.infill('The Eagle is a ___ near Burger King .', n=2, steps=8)
    yield 'nll', lambda: round(grammar.nll(['The Eagle is a pub .']), 3)
    yield 'trajectory', lambda: [s.text for s in e2e.trajectory(seed=1, steps=6)]
    for task in ('semantic', 'pos', 'tree', 'spans', 'length', 'semantic+tree', 'semantic+pos'):
        for method in ('diffusion', 'diffusion-classifier'):
            args = (task, '--n', 2, '--limit', 3, '--steps', 6, '--method', method)
            yield f'dlm-control {task} {method}', lambda args=args: run('dlm-control', *args)
    for method in ('diffusion', 'left-only', 'frequent-words'):
        args = ('--n', 2, '--limit', 3, '--steps', 6, '--method', method)
        if method != 'diffusion':
            args += ('--items', 'grammar')
        yield f'dlm-infill {method}', lambda args=args: run('dlm-infill', *args)
    weights = Path(diffusion_lm_nb.__file__).parent/'weights'
    for method in ('bert', 'bart'):
        args = ('--items', 'grammar', '--n', 2, '--limit', 3, '--method', method,
                '--model', weights/f'grammar-{method}')
        yield f'dlm-infill {method}', lambda args=args: run('dlm-infill', *args)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--write', action='store_true', help='keep what comes out as the truth')
    p.add_argument('--only', default='', help='cases whose name contains this')
    args = p.parse_args()
    got = {name: digest(f()) for name, f in cases() if args.only in name}
    if args.write:
        FILE.write_text(json.dumps(dict(machine=machine(), hashes=got), indent=1) + '\n')
        return print(f'{len(got)} hashes in {FILE.name}')
    kept = json.loads(FILE.read_text())
    if kept['machine'] != machine():
        return print(f'hashes are of {kept["machine"]}, this is {machine()}: nothing compared')
    wrong = [name for name, h in got.items() if kept['hashes'].get(name) != h]
    print(f'{len(got) - len(wrong)} of {len(got)} as before', *wrong, sep='\n  ')
    sys.exit(bool(wrong))


if __name__ == '__main__':
    main()

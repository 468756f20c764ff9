"""Texts of ten methods for the same targets, side by side: rows of results/samples.json.

    DLM_DATA=... OMP_NUM_THREADS=1 python scripts/samples.py FOLDER …

A FOLDER holds the TASK-METHOD.jsonl files of `dlm-reproduce --protocol cpu`. Nothing is selected:
the targets are the first two of each task in the order of that protocol, the text is the first of
the five. Texts of ours and of the paper's way are written here again; the seed is the same, and so
are they. A text that stands in the corpus, but for its signs, is left out, and said to be one.
"""
import json, re, sys
from pathlib import Path

from diffusion_lm_nb.corpora import load_corpus
from diffusion_lm_nb.files import read_rows, write_atomic
from diffusion_lm_nb.metrics import success_rows
from diffusion_lm_nb.reproduction import METHODS, PROTOCOLS, guide_for, job_targets, run_targets
from diffusion_lm_nb.reproduction import sampling_of
from diffusion_lm_nb.sampling import load_model
from measure import commit, weights

TABLE = Path(__file__).parents[1] / 'results/samples.json'
TASKS, TARGETS, P = ('semantic', 'pos', 'tree', 'spans', 'length'), 2, PROTOCOLS['cpu']
OTHERS = 'ft-sample', 'ft-search', 'fudge', 'gedi', 'pplm', 'grid-beam', 'ctrl-g'

def ours(lm, task, method): # `DiffusionLM`; names
    "The first text for each target, as the protocol writes it with seed 0; None if it has none."
    controls = [c for _, c, _ in job_targets(task, P, 0, None)]
    if method != 'diffusion' and task == 'length': return None
    found = {}
    def emit(j, texts, seconds): found[j] = texts[0]
    run_targets(lm, controls, P['n'], list(range(TARGETS)), emit, 0,
                guide=guide_for(controls, method, lm, 'e2e'), **sampling_of(method, lm.steps))
    return [found[j] for j in range(TARGETS)]

def theirs(folders, task, method, targets): # targets: as they stand in the files
    "The first text for each target from the files of a method; None if no folder has it."
    for folder in folders:
        path = folder / f'{task}-{method}.jsonl'
        if not path.exists(): continue
        texts = {json.dumps(r['target'], sort_keys=True): r['texts'][0] for r in read_rows(path)}
        return [texts[json.dumps(t, sort_keys=True)] for t in targets]

def bare(text): return ' '.join(re.findall(r'\w+', text.lower())) # its words alone

def rows_of(task, method, texts, wanted, corpus, note): # texts: one a target
    "A row a text: what was asked, what was written, and whether it does."
    for text, (target, control, _) in zip(texts, wanted):
        r = dict(task=task, method=method, target=repr(control), text=text,
                 success=success_rows([dict(task=task, target=target, texts=[text], model='e2e',
                                            seconds=0.)])['success'])
        if bare(text) in corpus: r |= dict(text=None)
        yield r | note

def main(*folders):
    folders, lm, rows = [Path(f) for f in folders], load_model('e2e', 'cpu'), []
    corpus = {bare(' '.join(e.words)) for split in ('train', 'valid', 'test')
              for e in load_corpus('e2e', split)}
    note = dict(commit=commit(), weights=weights(), command='python scripts/samples.py FOLDER …')
    for task in TASKS:
        wanted = job_targets(task, P, 0, None)[:TARGETS]
        for method in (*METHODS, *OTHERS):
            texts = theirs(folders, task, method, [t for t, _, _ in wanted])
            if not texts and method in METHODS: texts = ours(lm, task, method)
            if texts: rows += rows_of(task, method, texts, wanted, corpus, note)
            print(task, method, texts and texts[0], flush=True)
    write_atomic(TABLE, json.dumps(rows, ensure_ascii=False, indent=1) + '\n')

if __name__ == '__main__':
    if not sys.argv[1:] or not all(Path(f).is_dir() for f in sys.argv[1:]):
        print('samples.py: say FOLDER …, what dlm-reproduce --protocol cpu has written',
              file=sys.stderr)
        sys.exit(2)
    main(*sys.argv[1:])

"""Writes the gaps of aNLG items, six texts an item, and the test inputs' best ones into
results/anlg_test_gaps.txt. A run that was cut off goes on.

    DLM_DATA=... OMP_NUM_THREADS=1 python scripts/anlg_write.py write dev.json runs/anlg-dev.jsonl --first 200 --limit 400
    DLM_DATA=... OMP_NUM_THREADS=1 python scripts/anlg_write.py write test_inputs.json runs/anlg-test.jsonl
        # or in two processes: --limit 1800, and another file with --first 1800; then join the files
    python scripts/anlg_write.py choose runs/anlg-test.jsonl results/anlg_test_gaps.txt
    python scripts/anlg_write.py dials 1.0 .4 .9         # of the solver, into runs/roc/config.json

Ten open positions between two sentences; six texts in ten steps, in 16-bit autocast. The words in
the gap of the text that the others agree with most (MBR) are one line an item, in the order of the
file. `dlm-infill` does the same in 32 bits, with a row an item (half as fast).
"""
import argparse, json, time
from pathlib import Path

import torch
from diffusion_lm_nb.corpora import data_home
from diffusion_lm_nb.files import read_rows, write_atomic
from diffusion_lm_nb.infilling import infill_by
from diffusion_lm_nb.reproduction import read_items
from diffusion_lm_nb.sampling import load_model, mbr

GROUP = 40 # items that are written together

def write(file, out, n, steps, first, limit, model, method):
    "A row an item: its target, the texts, the gaps, the references if there are any."
    lm, out = load_model(model, 'cpu'), Path(out)
    items = read_items(str(data_home()/'anlg'/file))[:limit]
    done = first + (len(read_rows(str(out))) if out.exists() else 0)
    for at in range(done, len(items), GROUP):
        begun, group = time.monotonic(), items[at:at + GROUP]
        controls = [c for c, _ in group for _ in range(n)]
        asked = infill_by(controls, method)
        with torch.autocast('cpu', torch.bfloat16):
            texts = lm.sample(len(controls), asked, steps=steps, seed=0, first=at * n,
                              batch_size=GROUP)
        if method == 'left-only': # put back what it could not see
            texts = [' '.join(c.mend(t.split())) for c, t in zip(asked, texts)]
        each = (time.monotonic() - begun) / len(group)
        with open(out, 'a', encoding='utf8') as f:
            for k, (c, refs) in enumerate(group):
                own = texts[k * n:k * n + n]
                gaps = [' '.join(c.gaps(t.split())[0]) for t in own]
                f.write(json.dumps(dict(
                    task='infill', method=method, model=model, target=c.text, texts=own,
                    gaps=gaps, best=mbr(own), references=refs, seconds=round(each, 3),
                    steps=steps)) + '\n')
        print(f'{at + len(group)} of {len(items)}, {each * len(group):.0f} s', flush=True)

def choose(rows, out):
    "The words in the gap of each row's best text of six, a line each."
    lines = []
    for r in read_rows(rows):
        texts = r['texts'][:6]
        lines.append(r['gaps'][texts.index(mbr(texts))])
    write_atomic(out, '\n'.join(lines) + '\n')
    print(len(lines), 'lines')

def main():
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument('what', choices=('write', 'choose', 'dials'))
    ask.add_argument('args', nargs='+')
    ask.add_argument('--n', type=int, default=6)
    ask.add_argument('--steps', type=int, default=10)
    ask.add_argument('--first', type=int, default=0)
    ask.add_argument('--limit', type=int)
    ask.add_argument('--model', default='runs/roc')
    ask.add_argument('--method', choices=('diffusion', 'left-only'), default='diffusion')
    o = ask.parse_args()
    if o.what == 'write': return write(*o.args, o.n, o.steps, o.first, o.limit, o.model, o.method)
    if o.what == 'choose': return choose(*o.args)
    share, temperature, below = map(float, o.args)
    path = Path(o.model)/'config.json'
    config = json.loads(path.read_text()) | dict(share=share, steered_share=share,
                                                 temperature=temperature, below=below)
    write_atomic(path, json.dumps(config, indent=2) + '\n')

if __name__ == '__main__': main()

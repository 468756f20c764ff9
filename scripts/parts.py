"What the scripts of chapters 17 to 17e share: kept texts, rows of a part, paired intervals."
import json, sys, time
from pathlib import Path

import torch
from diffusion_lm_nb.files import BadInput, write_atomic
from diffusion_lm_nb.loss import keyed_generator

TABLE = Path(__file__).parents[1] / 'results/further.json'

def kept(folder, name, write): # `Path`; of the texts; a function that writes them
    "Texts and seconds, from `folder` if they are there."
    path = folder / f'{name}.json'.replace(' ', '_').replace(',', '')
    if not path.exists():
        begun, texts = time.monotonic(), write()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps([texts, time.monotonic() - begun], ensure_ascii=False))
    return json.loads(path.read_text())

def rows_of(part):
    "The rows of a part that are in the table now."
    return [r for r in json.loads(TABLE.read_text()) if r['part'] == part]

def put(part, rows):
    "Put the rows of a part into the table, in place of its old ones."
    old = [r for r in json.loads(TABLE.read_text()) if r['part'] != part] # read now: others write
    lines = [json.dumps(r, ensure_ascii=False) for r in old + rows] # a line each: a short file
    write_atomic(TABLE, '[\n' + ',\n'.join(lines) + '\n]\n')

def run_parts(parts, names, more=''): # {name: function}; what the user asked for; other uses
    "Run the parts of these names, or all; an unknown one is said in one line, exit code 2."
    try:
        if wrong := [p for p in names if p not in parts]:
            raise BadInput(f'no part {wrong[0]!r}; there are {", ".join(parts)}{more}')
        for name in names or parts: parts[name]()
    except BadInput as e:
        print(e, file=sys.stderr)
        sys.exit(2)

# ---- paired intervals

def paired(value, n, draws=2000): # value: function of drawn indices
    "A value and its bootstrap interval of 95 % over n texts or targets."
    gen = keyed_generator(7)
    found = sorted(value(torch.randint(n, (n,), generator=gen)) for _ in range(draws))
    return value(torch.arange(n)), [found[int(.025 * draws)], found[int(.975 * draws)]]

def difference(mine, others): # a number a text or target each, or a string of 0 and 1
    "Mean of `mine` minus that of `others`, and its interval."
    mine, others = ([float(v) for v in u] for u in (mine, others))
    gap = torch.tensor(mine) - torch.tensor(others)
    return paired(lambda i: gap[i].mean().item(), len(gap))

def cheaper(mine, others): # costs of `protocol.costs`, (targets, 2) each
    "Perplexity of `mine` over that of `others`, and its interval."
    def value(i):
        a, b = mine[i].sum(0), others[i].sum(0)
        return (a[0] / a[1] - b[0] / b[1]).exp().item()
    return paired(value, len(mine))

"""What goes past the paper, measured: rows of results/further.json (chapter 17).

    OMP_NUM_THREADS=1 python scripts/further.py regex        # eight patterns, some minutes

A row of part *regex*: the share of 40 texts that match a pattern, with Wilson's interval; the share
of 200 unguided texts that do by chance; the teacher's perplexity over that of the unguided texts;
distinct-4 of the texts. The patterns were written before any text was seen; seed 5, 50 steps.
"""
import json, sys, time
from pathlib import Path

from diffusion_lm_nb import DiffusionLM
from diffusion_lm_nb.controls import distinct, wilson_interval
from diffusion_lm_nb.files import BadInput, write_atomic
from diffusion_lm_nb.further import Regex
from diffusion_lm_nb.metrics import fluency
from measure import commit, hardware, weights

TABLE = Path(__file__).parents[1] / 'results/further.json'
PATTERNS = [
    '_* French _*', '_{11} .', 'The _{1,2} is _* .', '_* near the river .', '(!restaurant)* .',
    'There is a _* pub _* , called _+ .', '(!cheap)* pub (!cheap)* Japanese food (!cheap)* .',
    '_+ is a (cheap | moderately priced) _+ . It is (not)? family - friendly .']
N, SEED = 40, 5

def regex():
    "A row a pattern."
    lm = DiffusionLM.from_pretrained('e2e')
    free = [t.split() for t in lm.sample(200, seed=SEED)]
    base, rows = fluency(free), []
    for pattern in PATTERNS:
        control, begun = Regex(pattern), time.monotonic()
        texts = [t.split() for t in lm.sample(N, control, seed=SEED, batch_size=20)]
        seconds, hits = time.monotonic() - begun, sum(map(control.check, texts))
        rows.append(dict(
            part='regex', task='regex', method='diffusion', pattern=pattern, success=hits / N,
            interval=wilson_interval(hits, N), chance=sum(map(control.check, free)) / len(free),
            lm_score=fluency(texts), lm_ratio=fluency(texts) / base, distinct4=distinct(texts),
            states=len(control.leads), seconds_per_50=seconds / N * 50, n_targets=1, n_samples=N,
            model='e2e', weights=weights(), hardware=hardware(), commit=commit(),
            command='python scripts/further.py regex'))
        print({k: rows[-1][k] for k in ('pattern', 'success', 'chance', 'lm_ratio')}, flush=True)
    return rows

PARTS = dict(regex=regex)

def main(*parts):
    if wrong := [p for p in parts if p not in PARTS]:
        raise BadInput(f'no part {wrong[0]!r}; there are {", ".join(PARTS)}')
    for part in parts or PARTS:
        rows = json.loads(TABLE.read_text()) if TABLE.exists() else []
        rows = [r for r in rows if r['part'] != part] + PARTS[part]()
        write_atomic(TABLE, json.dumps(rows, ensure_ascii=False, indent=1) + '\n')

if __name__ == '__main__': main(*sys.argv[1:])

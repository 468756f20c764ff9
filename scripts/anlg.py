"""aNLG: scores what `scripts/anlg_write.py` wrote for items of aNLG with references, into results/anlg.json.

    DLM_DATA=... dlm-train roc-gaps --out runs/roc
    python scripts/anlg_write.py dials 1.0 .4 .9
    DLM_DATA=... python scripts/anlg_write.py write dev.json runs/anlg-dev.jsonl --first 200 --limit 400
    DLM_DATA=... python scripts/anlg_write.py write dev.json runs/anlg-left.jsonl --first 200 --limit 400 --method left-only
    python scripts/anlg.py runs/anlg-dev.jsonl runs/anlg-left.jsonl

The dials were chosen on items 100 to 180 of dev, the rows are of items 200 to 400.
Ten open positions between the two sentences; of the texts of an item the one that the others agree with most (MBR) is scored. Two rows
say what the figures are worth: *people*, the first reference against the others; *another item*, a person's sentence for another item.
Neither model nor texts are kept in the repository: nothing trained on ROCStories is.
"""
import json, sys
from pathlib import Path
from measure import commit, hardware
from diffusion_lm_nb.files import read_rows
from diffusion_lm_nb.gaps import Infill
from diffusion_lm_nb.files import BadInput, write_atomic
from diffusion_lm_nb.corpora import tokenise
from diffusion_lm_nb.metrics import infill_scores

MODEL = (
    'roc-gaps, 8.5M parameters; 2,300 steps of 64 with the noise schedule of E2E, then 12,000 from'
    ' those weights (a warm start) with its own; some hours on one core, machine otherwise'
    ' busy'
)
TABLE = Path(__file__).parents[1]/'results/anlg.json'
KEPT = 'bleu4 bleu4_gap rouge_l cider bertscore context_kept'.split()

def landmark(rows, choose): # choose(number of the row) -> (sentence, references)
    "Scores of a person's sentence in the gap."
    out = []
    for k, r in enumerate(rows):
        said, refs = choose(k)
        c = Infill.parse(r['target'])
        words = [
            w for p in c.parts for w in ([p] if isinstance(p, str) else tokenise(said, 'stories'))
        ]
        open_ = ' '.join(
            p if isinstance(p, str) else '___' for p in c.parts
        ) # as many words as the person took
        out.append(
            dict(target=open_, texts=[' '.join(words)], best=' '.join(words), references=refs)
        )
    return infill_scores(out)

def main(*files):
    if not files:
        sys.exit('name the files that dlm-infill wrote')
    table = []
    for f in files:
        rows = read_rows(f)
        if not rows:
            raise BadInput(f'{f} has no rows')
        method, n = rows[0]['method'], len(rows[0]['texts'])
        table.append(
            dict(
                task='anlg',
                method=f'{method}, MBR of {n}',
                **{k: v for k, v in infill_scores(rows).items() if k in KEPT},
                seconds_per_50=50
                * sum(r['seconds'] for r in rows)
                / sum(len(r['texts']) for r in rows),
                n_targets=len(rows),
                n_samples=n,
                steps=rows[0]['steps'],
                model=MODEL,
                command='DLM_DATA=$DLM_DATA python scripts/anlg_write.py write dev.json'
                f' OUT.jsonl --first 200 --limit 400 --n {n} --steps {rows[0]["steps"]}'
                + (f' --method {method}' if method != 'diffusion' else ''),
            )
        )
    several = [r for r in rows if len(r['references']) > 1]
    if several:
        refs = [r['references'] for r in several]
        table.append(
            dict(
                task='anlg',
                method='people',
                n_targets=len(several),
                **{
                    k: v
                    for k, v in landmark(several, lambda k: (refs[k][0], refs[k][1:])).items()
                    if k in KEPT
                },
            )
        )
        table.append(
            dict(
                task='anlg',
                method='another item',
                n_targets=len(several),
                **{
                    k: v
                    for k, v in landmark(several, lambda k: (refs[k - 1][0], refs[k])).items()
                    if k in KEPT
                },
            )
        )
    for r in table:
        r |= dict(hardware=hardware(), commit=commit())
        r.setdefault('command', 'python scripts/anlg.py OUT.jsonl')
        print(r['method'], {k: round(r[k], 2) for k in KEPT if r.get(k) is not None})
    write_atomic(TABLE, json.dumps(table, ensure_ascii=False, indent=1) + '\n')

if __name__ == '__main__': main(*sys.argv[1:])

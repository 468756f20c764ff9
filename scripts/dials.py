"""Steps, grids and the dial of fresh noise, on validation seeds: rows into results/dials.json.

    DLM_DATA=... OMP_NUM_THREADS=1 python scripts/dials.py        # what has no row yet: 45 minutes
    DLM_DATA=... python scripts/dials.py --texts OUT/e2e-rows.jsonl.gz   # those of `gpu.py e2e`
    python scripts/dials.py --table

A row compares unguided texts of the shipped model with as many validation texts of E2E: lm-score
(perplexity under the shipped teacher) over people's, and distinct-4 over people's, both piles cut
to the same number of 4-grams. Intervals: 1,000 bootstrap draws of the texts. The model's dials:

- `share`, for texts that no control steers: of the rows with 1,000 texts the one nearest to people,
  by the larger of |log ratio| of the two.
- `temperature`, `below` and `steered_share`: of the `renoise` rows with 512 texts and 50 even steps
  the one with the lowest perplexity among those whose distinct-4 is at least .97 of people's. (A
  control costs fluency; a lower temperature buys some of it back.)
"""
import argparse, gzip, json, math, random, time
from functools import lru_cache
from pathlib import Path

import torch
from diffusion_lm_nb.corpora import load_corpus, repeats
from diffusion_lm_nb.files import write_atomic
from diffusion_lm_nb.likelihood import cost_grid
from diffusion_lm_nb.sampling import load_model
from diffusion_lm_nb.solvers import DDIM, DPMSolver2M, Renoise
from diffusion_lm_nb.teacher import make_judge
from measure import commit, distinct4_ratio, hardware, weights

TABLE, SEED = Path(__file__).parents[1] / 'results/dials.json', 11
NEVER, LATE = (1., 1.), (.625, .8) # temperature, and up to which time
SETTINGS = (
    [('renoise', s, 50, 'even', *LATE) for s in (.1, .2, .3, .4, .5, .6, .7)]
    + [('renoise', .3, 50, 'even', *cool) for cool in ((.8, .8), (.625, .9))]
    + [('renoise', s, 50, 'even', *NEVER) for s in (.1, .2, .3, .4, .7)]
    + [('ddim', 1., 50, 'even', *cool) for cool in (NEVER, LATE)]
    + [('ddim', 0., 50, 'even', *NEVER), ('dpmpp2m', None, 50, 'even', *NEVER)]
    + [('ddim', 1., 20, grid, *NEVER) for grid in ('even', 'equal cost')]
    + [('ddim', 1., 50, grid, *NEVER) for grid in ('equal cost', 'u^.7')]
    + [('renoise', 'steered', 20, 'even', None, None)]
)
SETTINGS = [(*s, 512) for s in SETTINGS] + [
    ('renoise', s, 50, 'even', *LATE, 1000) for s in (0., .1, .2)]
KEYS = 'solver', 'dial', 'steps', 'grid', 'temperature', 'below', 'texts'

def solver_of(name, dial, temperature, below, lm):
    if dial == 'steered': return lm.make_solver('renoise', steered=True)
    kinds = dict(renoise=lambda: Renoise(dial), ddim=lambda: DDIM(dial), dpmpp2m=DPMSolver2M)
    return kinds[name]().cooled(temperature, below)

def nearest(rows):
    "The row whose `share` the rule of the first lines gives the model."
    return min((r for r in rows if r['texts'] == 1000),
               key=lambda r: max(abs(math.log(r[k])) for k in ('lm_ratio', 'distinct4_ratio')))

def steered(rows):
    "The row whose dials the rule gives the model for texts that a control steers."
    fit = [r for r in rows if r['solver'] == 'renoise' and r['dial'] != 'steered'
           and (r['steps'], r['grid'], r['texts']) == (50, 'even', 512)
           and r['distinct4_ratio'] >= .97]
    return min(fit, key=lambda r: r['lm_ratio'])

def grid_of(kind, steps, lm, texts):
    "The times of a grid by its name."
    u = torch.linspace(1, 0, steps + 1)
    if kind == 'u^.7': return u ** .7
    return cost_grid(lm.mean_errors(texts[:128]), lm.schedule, steps) if kind == 'equal cost' else u

@lru_cache(8) # people's texts are the same for each row
def nats_and_tokens(teacher, texts): # a tuple of tuples of words
    "Nats and tokens of each text."
    return [(v, len(w) + 1) for v, w in zip(teacher.nats(texts), texts)]

def ratios(judge, texts, people, draws=1000):
    "lm-score and distinct-4 over people's, each with its bootstrap interval."
    cost = [nats_and_tokens(judge.teacher, tuple(map(tuple, pile))) for pile in (texts, people)]
    gen, found = random.Random(0), []
    def score(pairs): return math.exp(sum(v for v, _ in pairs) / sum(n for _, n in pairs))
    for draw in range(draws):
        a, b = (gen.choices(pile, k=len(pile)) for pile in cost)
        found.append(score(a) / score(b))
    found.sort()
    half = [distinct4_ratio(*(gen.sample(pile, len(pile) // 2) for pile in (texts, people)))
            for _ in range(50)]
    spread = (max(half) - min(half)) / 2 / 2 ** .5 # a pile twice as large varies 1/√2 as much
    return dict(lm_ratio=score(cost[0]) / score(cost[1]),
                lm_interval=[found[int(.025 * draws)], found[int(.975 * draws)]],
                distinct4_ratio=distinct4_ratio(texts, people), distinct4_spread=spread)

def main():
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument('--table', action='store_true')
    ask.add_argument('--model', default='e2e')
    ask.add_argument('--texts', help='of the shipped weights, written elsewhere; e2e.json beside')
    ask.add_argument('--only', nargs='*', help='solver names')
    o = ask.parse_args()
    rows = json.loads(TABLE.read_text()) if TABLE.exists() else []
    if o.table: return table(rows)
    lm, judge = load_model(o.model, 'cpu'), make_judge()
    valid = [e.words for e in load_corpus('e2e', 'valid') if len(e.words) <= lm.length - 2]
    there, source = written(o.texts) if o.texts else ({}, {})
    for setting in SETTINGS:
        solver, dial, steps, grid, temperature, below, n = setting
        key = dict(zip(KEYS, setting))
        if any(key.items() <= r.items() for r in rows) or o.only and solver not in o.only: continue
        if o.texts and setting not in there: continue
        begun = time.monotonic()
        people = random.Random(1).sample(valid, n)
        texts = there.get(setting) or lm.sample(
            n, seed=SEED, solver=solver_of(solver, dial, temperature, below, lm),
            steps=grid_of(grid, steps, lm, valid))
        seconds, texts = round(time.monotonic() - begun, 1), [t.split() for t in texts]
        about = source or dict(seconds=seconds, hardware=hardware(),
                               command='python scripts/dials.py')
        row = key | dict(seed=SEED, **ratios(judge, texts, people), repeats=repeats(texts),
                         commit=commit(), weights=weights(), **about)
        rows = sorted([*rows, row], key=lambda r: SETTINGS.index(tuple(r[k] for k in KEYS)))
        write_atomic(TABLE, json.dumps(rows, indent=1) + '\n')
        print(key, f'{row["lm_ratio"]:.3f} {row["distinct4_ratio"]:.3f}', flush=True)

def written(path): # rows that gpu.py wrote -> {setting: texts}, and what their rows say
    "Texts that were written elsewhere."
    rows = map(json.loads, gzip.open(path, 'rt', encoding='utf8'))
    found = {tuple(r['setting']): r['texts'] for r in rows if r['task'] == 'dials'}
    device = json.loads((Path(path).parent / 'e2e.json').read_text())['device']
    return found, dict(hardware=f'{device}, float32',
                       command='python scripts/dials.py --texts OUT/e2e-rows.jsonl.gz')

def table(rows):
    "The rows as Markdown."
    print('| solver | dial | steps | grid | late temperature | perplexity ÷ people’s |'
          ' distinct-4 ÷ people’s | texts |\n|---|---|---|---|---|---|---|---|')
    for r in rows:
        low, high = r['lm_interval']
        dial = '–' if r['dial'] is None else r['dial']
        late = r['temperature'] not in (1, None)
        cool = f'{r["temperature"]} below {r["below"]}' if late else '–'
        print(f'| {r["solver"]} | {dial} | {r["steps"]} | {r["grid"]} | {cool} |'
              f' {r["lm_ratio"]:.2f} ({low:.2f}–{high:.2f}) |'
              f' {r["distinct4_ratio"]:.2f} ± {r["distinct4_spread"]:.2f} | {r["texts"]} |')
    r = steered(rows)
    print(f'\nby the rule: share {nearest(rows)["dial"]}, temperature {r["temperature"]} below'
          f' {r["below"]}; steered {r["dial"]}')

if __name__ == '__main__': main()

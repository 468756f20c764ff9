"""Steps, grids and the dial of fresh noise, on validation seeds: rows into results/dials.json.

    DLM_DATA=... OMP_NUM_THREADS=1 python scripts/dials.py        # what has no row yet: 35 minutes
    python scripts/dials.py --table

A row compares N unguided texts of the shipped model with as many validation texts of E2E: lm-score
(perplexity under the shipped teacher) over people's, and distinct-4 over people's, both piles cut
to the same number of 4-grams. Intervals: 1,000 bootstrap draws of the texts. Of these rows the
model's own `share` is chosen: the largest, in tenths, whose distinct-4 is at least .97 of people's.
"""
import argparse, json, math, random, time
from pathlib import Path

import torch
from diffusion_lm_nb.corpora import load_corpus, repeats
from diffusion_lm_nb.files import write_atomic
from diffusion_lm_nb.likelihood import cost_grid
from diffusion_lm_nb.sampling import load_model
from diffusion_lm_nb.solvers import DDIM, DPMSolver2M, Renoise
from diffusion_lm_nb.teacher import make_judge
from measure import commit, hardware

TABLE, N, SEED = Path(__file__).parents[1] / 'results/dials.json', 512, 11
SETTINGS = (
    [('renoise', s, 50, 'even') for s in (.1, .2, .3, .4, .5, .7)]
    + [('ddim', eta, 50, 'even') for eta in (1., 0., .5, 1.3)] + [('dpmpp2m', None, 50, 'even')]
    + [('ddim', 1., steps, 'even') for steps in (20, 100)]
    + [('ddim', 1., steps, 'equal cost') for steps in (20, 50)] + [('ddim', 1., 50, 'u^.7')]
    + [('renoise', 'own', 20, 'even')]
)

def solver_of(name, dial, lm):
    if name == 'renoise': return Renoise(lm.share if dial == 'own' else dial)
    return DDIM(dial) if name == 'ddim' else DPMSolver2M()

def grid_of(kind, steps, lm, texts):
    "The times of a grid by its name."
    u = torch.linspace(1, 0, steps + 1)
    if kind == 'u^.7': return u ** .7
    return cost_grid(lm.mean_errors(texts[:128]), lm.schedule, steps) if kind == 'equal cost' else u

def grams(texts):
    "The 4-grams of the texts, in order."
    return [tuple(w[i:i + 4]) for w in texts for i in range(len(w) - 3)]

def variety(texts, people):
    "Distinct-4 over people's, of as many 4-grams."
    ours, theirs = grams(texts), grams(people)
    n = min(len(ours), len(theirs))
    return len(set(ours[:n])) / len(set(theirs[:n]))

def ratios(judge, texts, people, draws=1000):
    "lm-score and distinct-4 over people's, each with its bootstrap interval."
    cost = [[(v, len(w) + 1) for v, w in zip(judge.teacher.nats(t), t)] for t in (texts, people)]
    gen, found = random.Random(0), []
    def score(pairs): return math.exp(sum(v for v, _ in pairs) / sum(n for _, n in pairs))
    for draw in range(draws):
        a, b = (gen.choices(pile, k=len(pile)) for pile in cost)
        found.append(score(a) / score(b))
    found.sort()
    half = [variety(gen.sample(texts, len(texts) // 2), gen.sample(people, len(people) // 2))
            for _ in range(50)]
    spread = (max(half) - min(half)) / 2 / 2 ** .5 # a pile twice as large varies 1/√2 as much
    return dict(lm_ratio=score(cost[0]) / score(cost[1]),
                lm_interval=[found[int(.025 * draws)], found[int(.975 * draws)]],
                distinct4_ratio=variety(texts, people), distinct4_spread=spread)

def main():
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument('--table', action='store_true')
    ask.add_argument('--model', default='e2e')
    ask.add_argument('--only', nargs='*', help='solver names')
    o = ask.parse_args()
    rows = json.loads(TABLE.read_text()) if TABLE.exists() else []
    if o.table: return table(rows)
    lm, judge = load_model(o.model, 'cpu'), make_judge()
    valid = [e.words for e in load_corpus('e2e', 'valid') if len(e.words) <= lm.length - 2]
    people = random.Random(1).sample(valid, N)
    for solver, dial, steps, grid in SETTINGS:
        key = dict(solver=solver, dial=dial, steps=steps, grid=grid)
        if any(key.items() <= r.items() for r in rows) or o.only and solver not in o.only: continue
        begun = time.monotonic()
        texts = lm.sample(N, seed=SEED, solver=solver_of(solver, dial, lm),
                          steps=grid_of(grid, steps, lm, valid))
        seconds, texts = time.monotonic() - begun, [t.split() for t in texts]
        row = key | dict(
            share=lm.share if dial == 'own' else None, texts=N, seed=SEED,
            **ratios(judge, texts, people), repeats=repeats(texts), seconds=round(seconds, 1),
            hardware=hardware(), commit=commit(), command='python scripts/dials.py')
        rows = sorted([*rows, row], key=lambda r: SETTINGS.index(
            (r['solver'], r['dial'], r['steps'], r['grid'])))
        write_atomic(TABLE, json.dumps(rows, indent=1) + '\n')
        print(key, f'{row["lm_ratio"]:.3f} {row["distinct4_ratio"]:.3f}', flush=True)

def table(rows):
    "The rows as Markdown."
    print('| solver | dial | steps | grid | perplexity ÷ people’s | distinct-4 ÷ people’s |\n'
          '|---|---|---|---|---|---|')
    for r in rows:
        low, high = r['lm_interval']
        dial = '–' if r['dial'] is None else r['dial']
        print(f'| {r["solver"]} | {dial} | {r["steps"]} | {r["grid"]} |'
              f' {r["lm_ratio"]:.2f} ({low:.2f}–{high:.2f}) |'
              f' {r["distinct4_ratio"]:.2f} ± {r["distinct4_spread"]:.2f} |')

if __name__ == '__main__': main()

"""Figure 4 and the schedules of the paper (appendix A), small, on our grammar and on E2E: rows of
results/paper_figures.json. What has a row is not run again.

    OMP_NUM_THREADS=1 python scripts/paper_figures.py      # some half minute a run, about 105 runs
    DLM_DATA=... OMP_NUM_THREADS=1 python scripts/paper_figures.py e2e  # minutes a run
    python scripts/paper_figures.py --table

The paper's recipe (L_simple, BERT's encoder, pads are words) with two layers of width 64. Grammar:
texts of at most 8 words, 1,000 steps of 64. E2E: at most 12 words, 3,000 steps. *learned* trains
the vectors of words with the rest, *random* leaves them as they were drawn. *x0* predicts the
clean vectors, *eps* the noise (Ho et al. 2020, eq. 14), from which x̂0 follows by a division that
makes errors large near t = 1; *eps, cut* shortens an x̂0 that is longer than every word's vector.
Each model writes 400 texts by the ancestral solver in 200 steps. A row holds the perplexity of a
5-gram over that of held-out texts, and the share that the grammar derives; on E2E, where there is
none, the perplexity of the shipped teacher over that of held-out texts.

One rule chooses the learning rate of each arm: of three, the one whose texts the grammar derives
most often, and of equals (on E2E of all) the one of the lowest 5-gram ratio, in a run of seed 100.
While the best is the smallest or the largest, half or twice of it is tried, too. The rows that are
reported have seeds 0, 1 and 2.
"""
import argparse, json, math, statistics, time
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch, torch.nn.functional as F
from diffusion_lm_nb.corpora import load_corpus
from diffusion_lm_nb.denoiser import PaperDiffusionLM, diffusion_lm
from diffusion_lm_nb.files import write_atomic
from diffusion_lm_nb.forward import q_sample
from diffusion_lm_nb.grammar import Grammar
from diffusion_lm_nb.loss import MODEL_PRESETS, stratified_timesteps
from diffusion_lm_nb.metrics import fluency
from diffusion_lm_nb.ngram import KneserNey
from diffusion_lm_nb.objective import x0_from_eps
from diffusion_lm_nb.teacher import make_judge
from diffusion_lm_nb.training import fit, make_diffusion
from measure import commit, hardware

TABLE = Path(__file__).parents[1] / 'results/paper_figures.json'
ARMS = ('learned', 'x0'), ('random', 'x0'), ('learned', 'eps, cut')
def arms(dim, corpus='grammar'):
    return [dict(corpus=corpus, dim=dim, vectors=v, predicts=p, schedule='sqrt') for v, p in ARMS]
RUNS = [run for dim in (4, 16, 64) for run in arms(dim)]
ALONE = dict(corpus='grammar', dim=16, vectors='learned')
RUNS += [dict(ALONE, predicts='eps', schedule='sqrt')]
RUNS += [dict(ALONE, predicts='x0', schedule=s) for s in ('cosine', 'linear')]
RUNS += arms(128)
RUNS += [run for dim in (16, 128) for run in arms(dim, 'e2e')]
RATES, WITHIN = (4e-3, 8e-3, 1.6e-2), (1e-3, 6.4e-2)
COMMAND = dict(grammar='python scripts/paper_figures.py',
               e2e='DLM_DATA=$DLM_DATA python scripts/paper_figures.py e2e')
CHOOSING, SEEDS = 100, (0, 1, 2)
TEXTS = 400                     # written by each model
LONGEST = dict(grammar=8, e2e=12)    # words of a text
STEPS = dict(grammar=1000, e2e=3000) # of training
MIN_COUNT = dict(grammar=0, e2e=10)

class NoiseLM(PaperDiffusionLM):
    "The paper's model, but the network predicts the noise."
    cut = False # is x̂_0 kept as short as the longest word's vector?
    def predict(self, x, t, mask=None, self_cond=None):
        if t.dim() == 2: t = t[:, 0]
        self.eps = self.head(self.net(x, t, mask, self_cond)).float()
        x̂0 = x0_from_eps(self.eps, x, t, self.schedule)
        if self.cut:
            longest = self.emb.E.norm(dim=-1).max()
            x̂0 = x̂0 * (longest / x̂0.norm(dim=-1, keepdim=True).clamp(min=1e-9)).clamp(max=1)
        return self.emb.logits(x̂0).log_softmax(-1), x̂0
    def loss(self, ids, mask, gen, shard=(0, 1), twice=None):
        T, (B, L) = 2000, ids.shape
        t = (stratified_timesteps(B, gen, 'cpu') * T).floor() / T
        noise, more = (torch.randn(B, L, self.dim, generator=gen) for _ in range(2))
        _, σ0 = self.schedule.coefs(torch.zeros(1))
        x0 = self.emb(ids) + σ0 * more
        self.predict(q_sample(x0, t, self.schedule, noise), t)
        a, _ = self.schedule.coefs(torch.ones(1))
        parts = dict(mse=(self.eps - noise).pow(2).mean(), tT=(a * x0).pow(2).mean(),
                     ce=F.cross_entropy(self.emb.logits(x0).transpose(1, 2), ids))
        return sum(parts.values()), {k: v.detach() for k, v in parts.items()}

@cache
def texts_of(corpus, part): # 'grammar' or 'e2e'; 'train' or 'valid'
    "Its examples that are short enough."
    return [e for e in load_corpus(corpus, part) if len(e.words) <= LONGEST[corpus]]

@cache
def counted(corpus): # -> a 5-gram of its training texts
    return KneserNey(5).fit([e.words for e in texts_of(corpus, 'train')])

def made(run, seed, lr, steps):
    "The trained model."
    base, corpus = MODEL_PRESETS['grammar-paper'], run['corpus']
    sizes = dict(width=64, layers=2, heads=4, length=LONGEST[corpus] + 2, dropout=0.)
    p = replace(base, corpus=corpus, steps=steps, warmup=50, lr=lr, ema=.98,
                min_count=MIN_COUNT[corpus],
                model=base.model | sizes | dict(dim=run['dim'], schedule=run['schedule']))
    def make(words, **kwargs):
        lm = (diffusion_lm if run['predicts'] == 'x0' else NoiseLM)(words, **kwargs)
        lm.cut = run['predicts'].endswith('cut')
        lm.emb.weight.requires_grad_(run['vectors'] == 'learned')
        return lm
    torch.manual_seed(seed)
    lm, at = make_diffusion(p, texts_of(corpus, 'train'), seed, make)
    fit(lm, at, p, device='cpu', quiet=True)
    return lm.eval()

def measured(lm, corpus, n, seed):
    "What its texts are worth."
    texts = [t.split() for t in lm.sample(n, steps=200, seed=seed, solver='ancestral',
                                          batch_size=100)]
    texts = [t for t in texts if t]
    valid, ngram = [e.words for e in texts_of(corpus, 'valid')], counted(corpus)
    found = dict(texts=n, not_empty=len(texts), different=len({*map(tuple, texts)}) / n,
                 ngram_ratio=ngram.perplexity(texts) / ngram.perplexity(valid) if texts else None)
    if corpus == 'grammar':
        grammar = Grammar()
        derived = sum(math.isfinite(grammar.log_prob(t)) for t in texts)
        return found | dict(grammatical=derived / n)
    judge = make_judge()
    ratio = fluency(texts, judge) / fluency(valid, judge) if texts else None
    return found | dict(teacher_ratio=ratio)

def rows_of():
    "What was measured."
    return json.loads(TABLE.read_text()) if TABLE.exists() else []

def row_of(run, seed, lr, steps, n):
    "Its row, measured now if it was not before."
    key = dict(run, seed=seed, lr=lr, steps=steps)
    for r in rows_of():
        if key.items() <= r.items(): return r
    begun = time.monotonic()
    row = key | measured(made(run, seed, lr, steps), run['corpus'], n, seed)
    row |= dict(seconds=round(time.monotonic() - begun), hardware=hardware(), commit=commit(),
                command=COMMAND[run['corpus']])
    write_atomic(TABLE, json.dumps(rows_of() + [row], indent=1) + '\n')
    print(row, flush=True)
    return row

def worth(row): # by which a learning rate is chosen
    "The more the better."
    return row.get('grammatical', 0), -(row['ngram_ratio'] or math.inf)

def chosen_rate(worth_of): # learning rate -> what is compared
    "The best learning rate, and no edge of those that were tried, if that can be."
    rates = list(RATES)
    while True:
        best = max(rates, key=worth_of)
        if best == rates[0] and best / 2 >= WITHIN[0]: rates.insert(0, best / 2)
        elif best == rates[-1] and best * 2 <= WITHIN[1]: rates.append(best * 2)
        else: return best

def table():
    "The reported rows as Markdown: means over seeds, and the lowest and highest."
    by = {}
    for r in rows_of():
        if r['seed'] == CHOOSING: continue
        arm = r['corpus'], r['schedule'], r['vectors'], r['predicts'], r['dim'], r['lr']
        by.setdefault(arm, []).append(r)
    print('| corpus | schedule | vectors | predicts | d | rate | seeds | grammatical '
          '| teacher ratio | 5-gram ratio | different |\n' + '|---' * 11 + '|')
    for key, rows in sorted(by.items()):
        cells = []
        for k in ('grammatical', 'teacher_ratio', 'ngram_ratio', 'different'):
            own = [r[k] for r in rows if r.get(k) is not None]
            if not own:
                cells.append('–')
                continue
            cells.append(f'{statistics.mean(own):.2f} ({min(own):.2f}–{max(own):.2f})')
        print('| ' + ' | '.join([*map(str, key), str(len(rows)), *cells]) + ' |')

def main():
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument('corpus', nargs='?', default='grammar', choices=LONGEST)
    ask.add_argument('--table', action='store_true')
    o = ask.parse_args()
    if o.table: return table()
    steps = STEPS[o.corpus]
    for run in (run for run in RUNS if run['corpus'] == o.corpus):
        lr = chosen_rate(lambda lr: worth(row_of(run, CHOOSING, lr, steps, TEXTS)))
        for seed in SEEDS: row_of(run, seed, lr, steps, TEXTS)

if __name__ == '__main__': main()

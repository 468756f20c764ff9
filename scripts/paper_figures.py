"""Figure 4 and the schedules of the paper (appendix A), small, on our grammar: rows of
results/paper_figures.json. What has a row is not run again.

    OMP_NUM_THREADS=1 python scripts/paper_figures.py --seeds 0 1 2      # some two minutes a run
    python scripts/paper_figures.py --table

The paper's recipe (L_simple, BERT's encoder, pads are words) at 0.6M parameters, 32 positions,
1,500 steps of 64. *learned* trains the vectors of words with the rest, *random* leaves them as
they were drawn. *x0* predicts the clean vectors, *eps* the noise (Ho et al. 2020, eq. 14). Each
model writes 200 texts by the ancestral solver in 200 steps. A row holds the share that the grammar
derives, and the perplexity of a 5-gram over that of held-out texts.
"""
import argparse, json, math, statistics, time
from dataclasses import replace
from pathlib import Path

import torch, torch.nn.functional as F
from diffusion_lm_nb.controls import distinct
from diffusion_lm_nb.corpora import load_corpus
from diffusion_lm_nb.denoiser import PaperDiffusionLM, diffusion_lm
from diffusion_lm_nb.files import write_atomic
from diffusion_lm_nb.forward import q_sample
from diffusion_lm_nb.grammar import Grammar
from diffusion_lm_nb.loss import MODEL_PRESETS, stratified_timesteps
from diffusion_lm_nb.ngram import KneserNey
from diffusion_lm_nb.objective import x0_from_eps
from diffusion_lm_nb.training import fit, make_diffusion
from measure import commit, hardware

TABLE = Path(__file__).parents[1] / 'results/paper_figures.json'
SIZES = 4, 16, 64, 128
RUNS = [dict(dim=d, vectors=v, predicts=p, schedule='sqrt') for d in SIZES
        for v, p in (('learned', 'x0'), ('random', 'x0'), ('learned', 'eps'))]
RUNS += [dict(dim=16, vectors='learned', predicts='x0', schedule=s) for s in ('cosine', 'linear')]

class NoiseLM(PaperDiffusionLM):
    "The paper's model, but the network predicts the noise."
    def predict(self, x, t, mask=None, self_cond=None):
        if t.dim() == 2: t = t[:, 0]
        self.eps = self.head(self.net(x, t, mask, self_cond)).float()
        x̂0 = x0_from_eps(self.eps, x, t, self.schedule)
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

def made(run, seed, steps):
    "The trained model."
    base = MODEL_PRESETS['grammar-paper']
    p = replace(base, steps=steps, warmup=50,
                model=base.model | dict(dim=run['dim'], schedule=run['schedule'], length=32))
    def make(words, **sizes):
        if run['predicts'] == 'x0': lm = diffusion_lm(words, **sizes)
        else: lm = NoiseLM(words, **sizes)
        lm.emb.weight.requires_grad_(run['vectors'] == 'learned')
        return lm
    torch.manual_seed(seed)
    lm, at = make_diffusion(p, load_corpus('grammar')[:8000], seed, make)
    fit(lm, at, p, device='cpu', quiet=True)
    return lm.eval()

def measured(lm, n, seed):
    "What its texts are worth."
    valid = [e.words for e in load_corpus('grammar', 'valid') if len(e.words) <= 30]
    ngram = KneserNey(5).fit([e.words for e in load_corpus('grammar')])
    texts = [t.split() for t in lm.sample(n, steps=200, seed=seed, solver='ancestral')]
    texts = [t for t in texts if t]
    derived = sum(math.isfinite(Grammar().log_prob(t)) for t in texts)
    return dict(texts=n, not_empty=len(texts), grammatical=derived / n,
                ngram_ratio=ngram.perplexity(texts) / ngram.perplexity(valid) if texts else None,
                distinct4=distinct(texts))

def table():
    "The rows as Markdown: means over seeds, and the lowest and highest."
    by = {}
    for r in json.loads(TABLE.read_text()):
        by.setdefault((r['schedule'], r['vectors'], r['predicts'], r['dim']), []).append(r)
    print('| schedule | vectors | predicts | d | seeds | grammatical | 5-gram ratio | distinct-4 |\n'
          '|---|---|---|---|---|---|---|---|')
    for key, rows in sorted(by.items()):
        cells = []
        for k in ('grammatical', 'ngram_ratio', 'distinct4'):
            own = [r[k] for r in rows]
            cells.append(f'{statistics.mean(own):.2f} ({min(own):.2f}–{max(own):.2f})')
        print('| ' + ' | '.join([*map(str, key), str(len(rows)), *cells]) + ' |')

def main():
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument('--seeds', nargs='+', type=int, default=[0])
    ask.add_argument('--steps', type=int, default=1500)
    ask.add_argument('--texts', type=int, default=200)
    ask.add_argument('--table', action='store_true')
    o = ask.parse_args()
    if o.table: return table()
    for seed in o.seeds:
        for run in RUNS:
            key = dict(run, seed=seed, steps=o.steps)
            rows = json.loads(TABLE.read_text()) if TABLE.exists() else []
            if any(key.items() <= r.items() for r in rows): continue
            begun = time.monotonic()
            row = key | measured(made(run, seed, o.steps), o.texts, seed)
            row |= dict(seconds=round(time.monotonic() - begun), hardware=hardware(),
                        commit=commit(), command=f'python scripts/paper_figures.py --seeds {seed}')
            write_atomic(TABLE, json.dumps(rows + [row], indent=1) + '\n')
            print(row, flush=True)

if __name__ == '__main__': main()

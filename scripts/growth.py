"""Bound against compute, for Gaussian and masked diffusion and an AR Transformer: chapter 17f.

    DLM_DATA=... OMP_NUM_THREADS=1 python scripts/growth.py e2e [--seeds 0 1] [--device cuda]
    DLM_DATA=... OMP_NUM_THREADS=1 python scripts/growth.py roc
    DLM_DATA=... OMP_NUM_THREADS=1 python scripts/growth.py e2e --widths 64 --steps 4000
    DLM_DATA=... OMP_NUM_THREADS=1 python scripts/growth.py e2e --widths 256 --lr 5e-4
    python scripts/growth.py --table

Four sizes a kind, each trained for the same number of steps of 32 texts, learning rate and all else
alike, names exchanged in half of the texts of E2E. What is measured on 400 validation texts is nats
a block token: the bound of the diffusion models (16 draws a text), the exact value of the AR model.
Compute is what a training step multiplies and adds, counted by PyTorch, times the steps. A row a
run, part `growth` of results/further.json; what has a row is not run again.
"""
import argparse, time

import torch
from diffusion_lm_nb.corpora import load_corpus
from diffusion_lm_nb.data import pad_batch
from diffusion_lm_nb.growth import training_flops
from diffusion_lm_nb.likelihood import likelihood
from diffusion_lm_nb.loss import SMALL, Preset
from diffusion_lm_nb.training import fit, make_ar, make_diffusion
from measure import commit, hardware
from parts import put, rows_of

STEPS, ROWS, RATE = 1000, 32, 2e-3
SIZES = ((64, 2), (96, 3), (160, 4), (256, 5)) # width and layers
KINDS = 'ar', 'masked', 'gaussian'
CORPORA = dict(e2e=dict(min_count=10, exchange=.5), roc=dict(min_count=30, exchange=0.))

def preset_of(corpus, kind, size, steps=STEPS, lr=RATE):
    "The recipe of a run: all but the size and the kind of model is the same."
    width, layers = size
    shape = dict(width=width, layers=layers, heads=4)
    model = shape if kind == 'ar' else SMALL | shape | (
        dict(recipe='masked') if kind == 'masked' else {})
    made_by = 'ar' if kind == 'ar' else 'diffusion'
    return Preset(made_by, corpus, model, batch_size=ROWS, steps=steps, lr=lr, warmup=100,
                  decay=.7, ema=.99, **CORPORA[corpus])

@torch.no_grad()
def ar_nats(model, texts): # word lists -> nats a block token, standard error
    "The exact value: nats of a text over the mean number of its block tokens."
    nats, v = [], model.vocab
    for i in range(0, len(texts), 64):
        batch = pad_batch([v.encode(w) for w in texts[i:i + 64]], v.pad)
        nats += model.token_nats(*(u.to(model.net.device) for u in batch)).sum(1).tolist()
    sizes = torch.tensor([len(w) + 3. for w in texts])
    nats = torch.tensor(nats)
    ratio = nats.sum() / sizes.sum()
    return ratio.item(), ((nats - ratio * sizes).std() / sizes.mean() / len(texts) ** .5).item()

def run(corpus, kind, size, seed, steps=STEPS, lr=RATE, device='cpu', texts=None, valid=None):
    "Train one model and measure it: its row."
    preset = preset_of(corpus, kind, size, steps, lr)
    texts = texts or load_corpus(corpus, 'train')
    valid = [e.words for e in valid or load_corpus(corpus, 'valid') if len(e.words) <= 62][:400]
    torch.manual_seed(seed)
    make = make_ar if kind == 'ar' else make_diffusion
    model, batch_at = make(preset, texts, seed)
    flops, begun = training_flops(model, batch_at(0)), time.monotonic()
    fit(model, batch_at, preset, device=device, quiet=True)
    seconds = time.monotonic() - begun
    if kind == 'ar': bound, error = ar_nats(model, valid)
    else:
        r = likelihood(model, valid, 16, limit=400, seed=1)
        bound, error = r['nats_per_block_token'], r['std_error']
    inner = model.net.transformer.h if kind == 'ar' else model.net.blocks
    return dict(part='growth', corpus=corpus, method=kind, width=size[0], layers=size[1], seed=seed,
                steps=steps, lr=lr, parameters=sum(p.numel() for p in model.parameters()),
                inner_parameters=sum(p.numel() for p in inner.parameters()),
                vocabulary=len(model.vocab), flops=flops * steps, bound=bound, std_error=error,
                texts=len(valid), training_seconds=seconds, commit=commit(),
                hardware=hardware().replace('float32', 'bfloat16 autocast'),
                command=f'python scripts/growth.py {corpus}'
                + (f' --lr {lr:g}' if lr != RATE else ''))

def key(r): # rows without a learning rate are older than the choice
    return (*(r[k] for k in ('corpus', 'method', 'width', 'layers', 'seed', 'steps')),
            r.get('lr', RATE))

def main():
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument('corpora', nargs='*', help='e2e, roc')
    ask.add_argument('--seeds', type=int, nargs='+', default=[0])
    ask.add_argument('--widths', type=int, nargs='+', default=[w for w, _ in SIZES])
    ask.add_argument('--steps', type=int, default=STEPS)
    ask.add_argument('--lr', type=float, default=RATE, help='learning rate')
    ask.add_argument('--device', default='cpu')
    ask.add_argument('--table', action='store_true')
    o = ask.parse_args()
    if wrong := [c for c in o.corpora if c not in CORPORA]:
        ask.error(f'no corpus {wrong[0]!r}; there are {", ".join(CORPORA)}')
    if wrong := {*o.widths} - {w for w, _ in SIZES}:
        ask.error(f'no width {min(wrong)}; there are {", ".join(str(w) for w, _ in SIZES)}')
    if o.steps < 1: ask.error(f'--steps must be at least 1, not {o.steps}')
    for seed in o.seeds:
        for corpus in o.corpora:
            texts, valid = (load_corpus(corpus, part) for part in ('train', 'valid'))
            for size in (s for s in SIZES if s[0] in o.widths):
                for kind in KINDS:
                    if (corpus, kind, *size, seed, o.steps, o.lr) in map(key, rows_of('growth')):
                        continue
                    row = run(corpus, kind, size, seed, o.steps, o.lr, o.device, texts, valid)
                    put('growth', rows_of('growth') + [row])
                    print(corpus, kind, size, seed, f'{row["bound"]:.3f} {row["flops"]:.2e}'
                          f' {row["training_seconds"]:.0f} s', flush=True)
    if o.table:
        for r in sorted(rows_of('growth'), key=key):
            print(f'{r["corpus"]:4}{r["method"]:9}{r["width"]:4} × {r["layers"]}'
                  f'{r["steps"]:7,} steps lr {r.get("lr", RATE):g} seed {r["seed"]}'
                  f'{r["parameters"] / 1e6:7.2f}M{r["flops"]:10.2e}{r["bound"]:7.3f}'
                  f' ± {r["std_error"]:.3f}')

if __name__ == '__main__': main()

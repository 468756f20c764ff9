"""One change of the recipe at a time, at equal steps: one row a run, into results/ablation.json.

    DLM_DATA=... OMP_NUM_THREADS=1 python scripts/ablate.py                   # what has no row yet
    DLM_DATA=... OMP_NUM_THREADS=1 python scripts/ablate.py --only recipe exchange-0 --seeds 0 1 2
    python scripts/ablate.py --table                                 # the table, from the rows
    DLM_DATA=... python scripts/ablate.py --models "NAME=FOLDER" ... # calibration of saved models
    python scripts/ablate.py --keep OUT/ablate.json # the rows that `scripts/gpu.py ablate` measured

A row holds: the bound on 400 validation texts of E2E (the same noise for all runs); the squared
error that is seen and the one that the marginals expect (`calibration`); and 200 texts of the
ancestral solver in 50 steps, under the teacher.
Some seven minutes a run on one core.
"""
import argparse, json, statistics, time
from dataclasses import replace
from pathlib import Path
from unittest import mock

import torch, torch.nn.functional as F
from diffusion_lm_nb import loss as loss_module
from diffusion_lm_nb.controls import distinct
from diffusion_lm_nb.corpora import load_corpus, repeats
from diffusion_lm_nb.data import pad_batch
from diffusion_lm_nb.denoiser import DiffusionLM
from diffusion_lm_nb.files import write_atomic
from diffusion_lm_nb.forward import q_sample
from diffusion_lm_nb.likelihood import likelihood
from diffusion_lm_nb.loss import SMALL, Preset, keyed_generator
from diffusion_lm_nb.metrics import fluency
from diffusion_lm_nb.objective import vlb_weight
from diffusion_lm_nb.sampling import load_model
from diffusion_lm_nb.training import fit, make_diffusion
from measure import commit, hardware

RESULTS = Path(__file__).parents[1] / 'results'
TABLE, MODELS = RESULTS / 'ablation.json', RESULTS / 'calibration.json'
STEPS = 3000
MODEL = SMALL | dict(width=128, layers=4)
RECIPE = Preset('diffusion', 'e2e', MODEL, steps=STEPS, lr=2e-3, decay=.5, ema=.995, exchange=.5)


# ---- the changes: a function of the preset, and what is put in the place of a part of the loss

def model(**changes): return lambda p: replace(p, model=p.model | changes)
def preset(**changes): return lambda p: replace(p, **changes)
def shifted(by):
    own = MODEL['schedule_args']
    return model(schedule_args=own | dict(mu=own['mu'] + by))
def same(p): return p

def one_time(t, mask, gen):
    "In place of `per_token_timesteps`: the time of the sequence for each token."
    return t[:, None].expand(mask.shape)

class with_dropout:
    "In place of `without_dropout`: the first estimate as it was, with dropout."
    def __init__(self, net): self.grad = torch.no_grad()
    def __enter__(self): self.grad.__enter__()
    def __exit__(self, *error): self.grad.__exit__(*error)

class same_dropout(with_dropout):
    "In place of `without_dropout`: both passes lose the same parts of the network."
    def __enter__(self):
        self.state = torch.get_rng_state()
        super().__enter__()
    def __exit__(self, *error):
        super().__exit__(*error)
        torch.set_rng_state(self.state)

def likelihood_loss(self, ids, mask, gen, shard=(0, 1), twice=None):
    "In place of `DiffusionLM.loss`: the integrand of the bound (chapter 08), and the rounding."
    (B, L), dev = ids.shape, ids.device
    t = loss_module.stratified_timesteps(B, gen, dev).clamp(0, 1 - 1e-3)
    noise = self.forward_noise(B, L, gen)
    x0, m, first = self.emb(ids), mask.float(), None
    xt = q_sample(x0, t, self.schedule, noise)
    if loss_module.self_condition_now(gen):
        with loss_module.without_dropout(self.net): first = self.predict(xt, t, mask)[1]
    x̂0 = self.predict(xt, t, mask, first)[1]
    w = 1e3 * vlb_weight(t.double(), t.double() + 1e-3, self.schedule).float() # −½ dSNR/dt
    kl = w[:, None] * (x0 - x̂0).pow(2).sum(-1) * m
    zero = torch.zeros(B, device=dev)
    x1 = q_sample(x0, zero, self.schedule, self.forward_noise(B, L, gen))
    logp = self.predict(x1, zero, mask)[0]
    nll = F.nll_loss(logp.transpose(1, 2), ids, reduction='none') * m
    ce = (kl + nll).sum() / m.sum()
    return ce, dict(ce=ce.detach())

def schedule_of(lm, ids, mask, points=16):
    "mu and s of the entropic curve that is nearest to the words' cross-entropy, after a logit."
    times, nats = torch.linspace(.03, .97, points), []
    with loss_module.without_dropout(lm.net):
        for i, u in enumerate(times.tolist()):
            t = torch.full((len(ids),), u, device=ids.device)
            noise = lm.forward_noise(*ids.shape, keyed_generator(7, i))
            logp, _ = lm.predict(lm.corrupt(ids, t, noise), t, mask)
            nats.append(F.nll_loss(logp[mask].float(), ids[mask]).item())
    lost = torch.tensor(nats) / nats[-1]                  # the share of the information
    use = (lost > .05) & (lost < .95)
    if use.sum() < 2: return lm.schedule.mu, lm.schedule.s
    A = torch.stack([lm.schedule.log_snr(times)[use], torch.ones(int(use.sum()))], 1)
    slope, middle = torch.linalg.lstsq(A, lost[use].logit()[:, None]).solution[:, 0].tolist()
    return (-middle / slope, -1 / slope) if slope < 0 else (lm.schedule.mu, lm.schedule.s)

def learned_schedule(self, ids, mask, gen, shard=(0, 1), twice=None, own=DiffusionLM.loss):
    "In place of `DiffusionLM.loss`: every 50 steps the schedule moves toward what was measured."
    self.calls = getattr(self, 'calls', 0) + 1
    if self.calls % 50 == 0:
        mu, s = schedule_of(self, ids, mask)
        self.schedule.mu += .2 * (mu - self.schedule.mu)
        self.schedule.s += .2 * (s - self.schedule.s)
    return own(self, ids, mask, gen, shard, twice)

CHANGES = {
    'recipe': (same, {}),
    'names as they are': (preset(exchange=0.), {}),
    'first estimate with dropout': (same, {'without_dropout': with_dropout}),
    'both passes with the same dropout': (same, {'without_dropout': same_dropout}),
    'no dropout': (model(dropout=0.), {}),
    'dropout .2': (model(dropout=.2), {}),
    'no self-conditioning': (model(self_cond=False), {}),
    'self-conditioning in all steps': (same, {'self_condition_now': lambda gen: True}),
    'one time a text': (same, {'per_token_timesteps': one_time}),
    'the loss is the bound': (same, {'loss': likelihood_loss}),
    'schedule sqrt': (model(schedule='sqrt', schedule_args={}), {}),
    'schedule cosine': (model(schedule='cosine', schedule_args={}), {}),
    'schedule: middle later (mu - .7)': (shifted(-.7), {}),
    'schedule: middle earlier (mu + .7)': (shifted(.7), {}),
    'schedule learned while it trains': (same, {'loss': learned_schedule}),
    'last weights, no EMA': (preset(ema=0.), {}),
    'EMA .999': (preset(ema=.999), {}),
    'deeper: 8 layers of 88': (model(width=88, layers=8), {}),
    'wider: 2 layers of 184': (model(width=184, layers=2), {}),
    'vectors of 32 numbers': (
        model(dim=32, schedule_args=dict(mu=-2.0, s=.8, hi=2.3, lo=-9.7)), {}),
}

def made(name, seed, texts, recipe=RECIPE, device='cpu'):
    "A model trained with one change of the recipe."
    change, parts = CHANGES[name]
    p = change(recipe)
    torch.manual_seed(seed)
    lm, at = make_diffusion(p, texts, seed)
    patches = [mock.patch.object(DiffusionLM if k == 'loss' else loss_module, k, v)
               for k, v in parts.items()]
    for one in patches: one.start()
    try: log = fit(lm, at, p, device=device, quiet=True)
    finally:
        for one in patches: one.stop()
    return lm.eval(), log[-1]['loss']

@torch.no_grad()
def calibration(lm, texts, points=20):
    """The squared error that is seen and the one that the marginals expect, with one call of the
    network and with two, each weighted as in the bound and summed over time: nats a block token.
    """
    ids, mask = (u.to(lm.device) for u in pad_batch([lm.vocab.encode(w) for w in texts],
                                                     lm.vocab.pad))
    x0, total = lm.emb(ids), dict(seen1=0., expected1=0., seen2=0., expected2=0.)
    for i in range(points):
        edges = torch.tensor([i / points, (i + 1) / points]).double()
        w = float(vlb_weight(edges[:1], edges[1:], lm.schedule))
        t = torch.full((len(ids),), (i + .5) / points, device=lm.device)
        xt = q_sample(x0, t, lm.schedule, lm.forward_noise(*ids.shape, keyed_generator(5, i)))
        calls = lm.predict(xt, t, mask), lm.predict_twice(xt, t, mask)
        for k, (logp, x̂0) in enumerate(calls, 1):
            seen = (x0 - x̂0).pow(2).sum(-1)
            expected = logp.exp() @ lm.emb.E.pow(2).sum(-1) - x̂0.pow(2).sum(-1)
            total[f'seen{k}'] += w * float((seen * mask).sum() / mask.sum())
            total[f'expected{k}'] += w * float((expected * mask).sum() / mask.sum())
    return total

def measure_models(named): # NAME=FOLDER
    "The calibration of saved models, into results/calibration.json."
    valid = [e.words for e in load_corpus('e2e', 'valid') if len(e.words) <= 62][:1500:10]
    rows = json.loads(MODELS.read_text()) if MODELS.exists() else []
    for name, folder in (n.split('=', 1) for n in named):
        row = dict(model=name, texts=len(valid), **calibration(load_model(folder, 'cpu'), valid),
                   hardware=hardware(), commit=commit(),
                   command=f'python scripts/ablate.py --models "{name}"=FOLDER')
        rows = [r for r in rows if r['model'] != name] + [row]
        write_atomic(MODELS, json.dumps(rows, indent=1) + '\n')
        print(row, flush=True)

def run(name, seed, texts, valid, recipe=RECIPE, device='cpu', few=False):
    "Train with one change and measure: the row. `few`: hardly any texts, to try it out."
    begun = time.monotonic()
    lm, last = made(name, seed, texts, recipe, device)
    trained = time.monotonic() - begun
    valid = [e.words for e in valid if len(e.words) <= lm.length - 2]
    r = likelihood(lm, valid, 2 if few else 16, limit=8 if few else 400, seed=1)
    written = lm.sample(4 if few else 200, seed=1, solver='ancestral', steps=4 if few else 50)
    texts = [t.split() for t in written]
    return dict(
        change=name, seed=seed, steps=recipe.steps,
        parameters=sum(p.numel() for p in lm.parameters()),
        valid=r['nats_per_block_token'], std_error=r['std_error'], texts=r['texts'],
        **calibration(lm, valid[:1500:10]), training_loss=last,
        lm_score=fluency(texts), distinct4=distinct(texts), repeats=repeats(texts),
        training_seconds=round(trained))

def put(more):
    "Rows into the table; of the same change and seed the new one stays."
    rows = json.loads(TABLE.read_text()) if TABLE.exists() else []
    found = {(r['change'], r['seed']): r for r in [*rows, *more]}
    rows = sorted(found.values(), key=lambda r: ([*CHANGES].index(r['change']), r['seed']))
    write_atomic(TABLE, json.dumps(rows, indent=1) + '\n')

def keep(report):
    "The rows of a job on a GPU, in place of rows of other machines: one table, one machine."
    if report['job'] != 'ablate' or report['tiny']:
        raise SystemExit(f'no report of a whole ablation: job {report["job"]},'
                         f' tiny {report["tiny"]}')
    here = dict(hardware=report['device'], commit=commit(), command=report['command'])
    rows = [r | here for r in report['results'].values()]
    if not rows: raise SystemExit('the report has no rows')
    old = json.loads(TABLE.read_text()) if TABLE.exists() else []
    write_atomic(TABLE, json.dumps([r for r in old if r['hardware'] == report['device']]))
    put(rows)
    print(len(rows), 'rows kept')

def table():
    "The rows as Markdown, means over seeds."
    rows, by = json.loads(TABLE.read_text()), {}
    for r in rows: by.setdefault(r['change'], []).append(r)
    base = {r['seed']: r['valid'] for r in by['recipe']}
    print('| one change | seeds | bound, nats a block token | against the recipe, same seeds |'
          ' overconfidence | lm-score, ancestral | distinct-4 |\n|---|---|---|---|---|---|---|')
    for name, own in by.items():
        mean = lambda k: statistics.mean(r[k] for r in own)
        over = mean('seen2') - mean('expected2')
        gaps = [r['valid'] - base[r['seed']] for r in own if r['seed'] in base]
        spread = f' ({min(gaps):+.3f} to {max(gaps):+.3f})' if len(gaps) > 1 else ''
        print(f'| {name} | {len(own)} | {mean("valid"):.3f} |'
              f' {statistics.mean(gaps):+.3f}{spread} |'
              f' {over:.3f} | {mean("lm_score"):.1f} | {mean("distinct4"):.2f} |')

def main():
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument('--only', nargs='+', choices=CHANGES, default=[*CHANGES])
    ask.add_argument('--seeds', nargs='+', type=int, default=[0])
    ask.add_argument('--table', action='store_true')
    ask.add_argument('--models', nargs='+', metavar='NAME=FOLDER')
    ask.add_argument('--keep', metavar='REPORT')
    o = ask.parse_args()
    if o.table: return table()
    if o.keep: return keep(json.loads(Path(o.keep).read_text()))
    if o.models: return measure_models(o.models)
    for seed in o.seeds:
        for name in o.only:
            rows = json.loads(TABLE.read_text()) if TABLE.exists() else []
            if any((r['change'], r['seed']) == (name, seed) for r in rows): continue
            row = run(name, seed, load_corpus('e2e', 'train'), load_corpus('e2e', 'valid'))
            put([row | dict(hardware=hardware(), commit=commit(), command=
                            f"python scripts/ablate.py --only '{name}' --seeds {seed}")])
            print(row, flush=True)

if __name__ == '__main__': main()

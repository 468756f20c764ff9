"""Jobs for one GPU and nine minutes. Each is one command, ends by itself, and saves as it goes.

    python scripts/gpu.py smoke    --out OUT                        # what works here; at most 60 s
    python scripts/gpu.py e2e      --out OUT --data e2e.safetensors # train the shipped model
    python scripts/gpu.py protocol --out OUT --targets FOLDER       # all tasks with shipped weights
    python scripts/gpu.py roc      --out OUT --data roc.safetensors --items anlg.json
    python scripts/gpu.py paper    --out OUT --data e2e.safetensors # the paper's model and its way
    python scripts/gpu.py rivals   --out OUT --data e2e.safetensors # baselines of the model's size
    python scripts/gpu.py sweep    --out OUT --targets sweep.json   # strengths of guidance
    python scripts/gpu.py ablate   --out OUT --data e2e.safetensors # one change at a time, 3 seeds

`--data` is what `dlm-pack e2e-labelled --out e2e.safetensors` wrote (`dlm-pack roc` for roc).
OUT holds NAME.json, which says of each part how long it took, or why it failed or was left out;
NAME-rows.jsonl.gz with all texts; and a tar file of each model below 16 MB in half precision.
sweep.json is what `scripts/sweep.py --write 100 sweep.json` wrote; `--model` names other weights.
`--seconds` is the limit of a job (560; smoke 60), `--tiny` shows on a CPU that all of it runs.
"""
import copy, gzip, io, json, math, os, signal, subprocess, sys, tarfile, time, traceback
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import torch, torch.nn.functional as F
from torch import nn
from diffusion_lm_nb.files import BadInput, read_jsonl, write_atomic
from diffusion_lm_nb.checkpoints import save_model
from diffusion_lm_nb.commands import KINDS, PRESETS, infill_texts
from diffusion_lm_nb.controls import Length, SemanticContent
from diffusion_lm_nb.corpora import exchanged, load_corpus, name_pools
from diffusion_lm_nb.data import Batches
from diffusion_lm_nb.denoiser import DiffusionLM
from diffusion_lm_nb.fine_tuning import with_syntax
from diffusion_lm_nb.forward import q_sample
from diffusion_lm_nb.language_models import example_batches
from diffusion_lm_nb.likelihood import likelihood
from diffusion_lm_nb.loss import SMALL, keyed_generator, per_token_timesteps
from diffusion_lm_nb.loss import without_dropout
from diffusion_lm_nb.reproduction import target_control
from diffusion_lm_nb.scale import GraphSteps, Loop, PackedTexts, finished, make_packed
from diffusion_lm_nb.scale import random_texts, sized
from diffusion_lm_nb.parallel import write_task
from diffusion_lm_nb.syntax import SyntaxSpan
from diffusion_lm_nb.training import fit, text_batches

MOST = 15.5 * 2 ** 20 # bytes of a file that is brought home


class TimeIsUp(Exception):
    "The part has used what it was given."


class Job:
    "One job: its clock, and a report that is written after each part."
    def __init__(self, o):
        self.o, self.start = o, time.monotonic()
        self.seconds = o.seconds or (60 if o.what == 'smoke' else 560)
        if o.until: self.seconds = o.until - time.time()
        self.device = o.device or ('cuda' if torch.cuda.is_available() else 'cpu')
        self.gpu = self.device.startswith('cuda')
        self.out, self.work = Path(o.out), Path(o.work) / o.what
        for folder in (self.out, self.work): folder.mkdir(parents=True, exist_ok=True)
        name = torch.cuda.get_device_name(0) if self.gpu else 'cpu'
        self.report = dict(job=o.what, device=name, torch=torch.__version__, tiny=o.tiny,
                           command='python scripts/gpu.py ' + ' '.join(
                               'OUT' if a == o.out else a for a in sys.argv[1:]),
                           seconds=0.0, parts={}, results={})
    def left(self):
        "Seconds that the job still has."
        return self.seconds - (time.monotonic() - self.start)
    def save(self):
        "Write the report, beside and renamed."
        self.report['seconds'] = round(time.monotonic() - self.start, 1)
        write_atomic(self.out / f'{self.o.what}.json', json.dumps(self.report, indent=1))
    def until(self, end):
        "A function that raises `TimeIsUp` once less than `end` seconds are left."
        def check():
            if self.left() < end: raise TimeIsUp
        return check
    def part(self, name, func, least=0.0): # least: seconds that must be left to begin
        "Do one part; whatever goes wrong is noted, and the job goes on."
        only = self.o.what == 'smoke' and self.o.only
        if only and not any(w in name for w in only.split(',')): return
        if self.left() < least:
            self.report['parts'][name] = dict(skipped=f'{self.left():.0f} s left of {least:.0f}')
            return self.save()
        begun, note = time.monotonic(), {}
        try:
            found = func()
            if found is not None: self.report['results'][name] = found
        except TimeIsUp: note = dict(cut='time is up')
        except Exception as e:
            where = traceback.extract_tb(e.__traceback__)[-1]
            note = dict(failed=f'{type(e).__name__}: {e}'[:500],
                        at=f'{Path(where.filename).name}:{where.lineno}')
            traceback.print_exc(limit=-12)
        if self.gpu: torch.cuda.synchronize()
        seconds = round(time.monotonic() - begun, 2)
        self.report['parts'][name] = dict(seconds=seconds, **note)
        print(f'{self.left():5.0f} s left  {name}: {seconds} s {note or ""}', flush=True)
        self.save()


def tiny(p): # a preset that shows in seconds that all of it runs
    "The preset, with one small layer and 20 steps."
    small = {k: v for k, v in dict(width=64, layers=1, heads=4).items() if k in p.model}
    return replace(p, model=p.model | small, steps=20, batch_size=8, warmup=5, min_count=0,
                   precision='no')

def texts_of(job, split):
    "The texts of the job's corpus; the grammar's without one."
    texts = load_corpus(job.o.data or 'grammar', split)
    return texts[:300] if job.o.tiny else texts

def take_home(job, model, name):
    "The model in half precision, as OUT/NAME.tar, if it is small enough."
    folder = job.work / f'{name}-half'
    model.save_pretrained(folder, half=True)
    with io.BytesIO() as b:
        with tarfile.open(fileobj=b, mode='w') as t:
            for p in sorted(folder.iterdir()): t.add(p, f'{name}/{p.name}')
        if len(b.getvalue()) > MOST:
            return f'not brought home: {len(b.getvalue()) / 2 ** 20:.0f} MB'
        write_atomic(job.out / f'{name}.tar', b.getvalue())
    return f'{name}.tar'

def pack_rows(job):
    "All rows so far in one file of OUT."
    rows = sorted(job.work.glob('*.jsonl'))
    if not rows: return
    packed = gzip.compress(b''.join(p.read_bytes() for p in rows), mtime=0)
    write_atomic(job.out / f'{job.o.what}-rows.jsonl.gz', packed)

def steps_in(job, make, p, seconds): # make: preset -> model, batches
    "How many steps `fit` makes in so many seconds, measured on a throw-away model."
    k = 4 if job.o.tiny else 60
    model, at = make(replace(p, steps=2 * k))
    times = []
    fit(model, at, replace(p, steps=2 * k), device=job.device, quiet=True, log_every=k,
        watch=lambda *_: times.append(time.monotonic()))
    return max(20, int(seconds * k / (times[1] - times[0]))) if not job.o.tiny else p.steps

def train(job, name, make, p, seconds, watch=None):
    "Train for about so many seconds: the steps are settled first, so that the decay fits."
    p = replace(p, steps=steps_in(job, make, p, .93 * seconds))
    torch.manual_seed(job.o.seed)
    model, at = make(p)
    begun = time.monotonic()
    log = fit(model, at, p, minutes=max(5.0, min(1.2 * seconds, job.left() - 60)) / 60,
              device=job.device, quiet=True, log_every=max(1, p.steps // 100),
              watch=watch and (lambda step, ema: watch(model, step, ema, p.steps)))
    job.report['results'][name] = dict(
        steps=log[-1]['step'], planned=p.steps, seconds=round(time.monotonic() - begun, 1),
        batch_size=p.batch_size, loss=[(r['step'], round(r['loss'], 4)) for r in log][::5],
        preset=str(p))
    return model.to(job.device).eval()


# ---- the fast loop: the whole step as a CUDA graph

LATER = .06 # of time: how much earlier in the chain the first estimate may have been made

def first_estimate(lm, xt, t, m, gen): # as in `DiffusionLM.loss`
    """x̂_0 for self-conditioning, half of the times from a latent up to LATER noisier, as a
    sampler has it: x_s given x_t is normal, with mean (√ᾱ_s/√ᾱ_t)·x_t.
    """
    u = torch.rand(2, len(xt), 1, generator=gen, device=xt.device)
    later = (t + LATER * u[0] * (u[1] < .5)).clamp(max=1)
    s = torch.where((t > 0) & (t < 1), later, t)
    (at, σt), (a, σ) = lm.schedule.coefs(t), lm.schedule.coefs(s)
    noise = torch.randn(xt.shape, generator=gen, device=xt.device)
    xs = a / at * xt + (σ ** 2 - (a / at * σt) ** 2).clamp(min=0).sqrt() * noise
    with without_dropout(lm.net): return lm.predict(xs, s, m)[1]

def late_loss(lm, ids, mask, gen, twice): # twice: self-conditioning in this step?
    """`DiffusionLM.loss` with `first_estimate`: nats a token. It differs in two more things: the
    batch is whole (no shards), and the order of the times is sorted, since whether a graph can
    record `randperm` has not been tried.
    """
    B, dev = len(ids), ids.device
    even = (torch.rand(1, generator=gen, device=dev) + torch.arange(B, device=dev) / B) % 1
    order = torch.rand(B, generator=gen, device=dev).argsort()
    t = per_token_timesteps(even[order], mask, gen)
    noise = torch.randn(*ids.shape, lm.dim, generator=gen, device=dev)
    read = (mask & (t > 0)).float()
    xt = q_sample(lm.emb(ids), t, lm.schedule, noise)
    x̂0 = first_estimate(lm, xt, t, mask, gen) if twice else None
    logp, _ = lm.predict(xt, t, mask, x̂0)
    nats = F.nll_loss(logp.transpose(1, 2), ids, reduction='none')
    return (nats * read).sum() / read.sum().clamp(min=1)

def set_dropout(net, p):
    "Another share of dropout in all layers."
    for m in net.modules():
        if isinstance(m, nn.Dropout): m.p = p
        elif hasattr(m, 'p'): m.p = p

class FastSteps(GraphSteps):
    "Steps of a preset with `late_loss`: recorded as CUDA graphs, or as they are."
    def __init__(self, model, batches, preset, device, seed=0, graphed=True, vectors=True):
        self.lm, self.device, self.preset = model.to(device).train(), torch.device(device), preset
        self.batches, self.seed, self.step, self.last = batches, seed, 0, torch.tensor(0.)
        self.loop = Loop(True, True, True, preset.precision == 'bf16', True, graph=graphed)
        self.rate, self.graphs = torch.tensor(0.0, device=device), {}
        self.gen = torch.Generator(device)
        model.emb.weight.requires_grad_(vectors)
        params = [p for p in model.parameters() if p.requires_grad]
        fast = dict(fused=True, capturable=True) if self.device.type == 'cuda' else {}
        self.opt = torch.optim.AdamW(params, self.rate, betas=preset.betas,
                                     weight_decay=preset.weight_decay, **fast)
        self.ema = {k: v.detach().clone() for k, v in model.state_dict().items()}
    def loss(self, ids, mask, gen):
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.loop.bf16):
            return late_loss(self.lm, ids, mask, gen, self.twice)
    def dropout(self, p):
        "Set it; graphs are recorded anew."
        set_dropout(self.lm.net, p)
        self.graphs.clear()

def known_vectors(model, name): # a shipped model
    "Its word vectors for the same words, so that its classifiers serve the new model, too."
    old = DiffusionLM.from_pretrained(name)
    at = {w: i for i, w in enumerate(old.vocab.words)}
    missing = [w for w in model.vocab.words if w not in at]
    if missing: raise BadInput(f'{name} has no vector for {missing[:5]}')
    with torch.no_grad():
        model.emb.weight.copy_(old.emb.weight[[at[w] for w in model.vocab.words]])


# ---- smoke: what works on this device

def graph_trial(out, base, size, rows, device, bf16): # dict; `DiffusionLM`; (layers, width)
    """The same 24 steps as they are and as graphs, without dropout: how far apart the weights are,
    over how far they went; then seconds a step. All of it into `out`.
    """
    preset = replace(PRESETS['e2e'], batch_size=rows, precision=bf16, warmup=5)
    texts, runs = random_texts(base, 16 * rows), {}
    start = None
    for graphed in (False, True) if device != 'cpu' else (False,):
        torch.manual_seed(1)
        model = sized(base, size)
        start = start or {k: v.clone().to(device) for k, v in model.state_dict().items()}
        packed = PackedTexts(Batches(texts, base.vocab.pad, rows, 0), device)
        run = FastSteps(model, packed, preset, device, 0, graphed, vectors=False)
        for _ in range(2 if device == 'cpu' else 24): run()
        state = {k: v.clone() for k, v in run.lm.state_dict().items()}
        while graphed and run.step < 64: run()
        begun, n = finished(device), 2 if device == 'cpu' else 24
        for _ in range(n): run()
        seconds = (finished(device) - begun) / n
        out[f'seconds a step{", graphed" * graphed}'] = round(seconds, 5)
        runs[graphed] = state
        del run, model
    if True in runs:
        a, b = runs[False], runs[True]
        far = sum(float((a[k] - b[k]).pow(2).sum()) for k in a) ** .5
        out['apart'] = far / sum(float((a[k] - start[k]).pow(2).sum()) for k in a) ** .5

def smoke(job):
    "Each thing that the jobs need, once, small."
    dev, bf16 = job.device, 'bf16' if job.gpu else 'no'
    lm = DiffusionLM.from_pretrained('grammar' if job.o.tiny else 'e2e').to(dev).eval()
    base = DiffusionLM.from_pretrained('grammar')
    def matmul():
        a = torch.randn(4096 if job.gpu else 256, 4096 if job.gpu else 256, device=dev)
        return float((a.bfloat16() @ a.bfloat16()).float().std())
    def fit_few(precision):
        p = replace(PRESETS['grammar'], steps=20, precision=precision, batch_size=32, min_count=0)
        model, at = make_packed(p, load_corpus('grammar')[:512], 0, dev)
        return round(fit(model, at, p, device=dev, quiet=True, log_every=10)[-1]['loss'], 3)
    def graph():
        size, rows = ((1, 64), 8) if job.o.tiny else ((8, 256), 512)
        found = job.report['results'].setdefault('graph', {})
        graph_trial(found, lm, size, rows, dev, bf16)
        write_atomic(job.work.parent / 'graph.json', json.dumps(found))
    def compiled():
        net = torch.compile(copy.deepcopy(lm.net))
        x = torch.randn(8, 32, lm.dim, device=dev)
        with torch.no_grad(): h = net(x, torch.ones(8, device=dev))
        return list(h.shape)
    def sample(control=None, n=4, steps=4, **options):
        begun = finished(dev)
        texts = lm.sample(n, control, steps=steps, batch_size=max(8, n), **options)[:2]
        return dict(texts=texts, seconds=round(finished(dev) - begun, 3))
    job.part('matmul', matmul)
    job.part('sample', sample)
    job.part('fit', lambda: fit_few('no'))
    job.part('fit bf16', lambda: fit_few(bf16))
    job.part('graph', graph)
    job.part('semantic', lambda: sample(SemanticContent('food', 'French') & Length(12)))
    job.part('spans', lambda: sample(SyntaxSpan(3, 5, 'PP') & Length(12)))
    job.part('likelihood', lambda: likelihood(base.to(dev), [['The', 'Eagle']] * 8, 4))
    job.part('save', lambda: take_home(job, base.cpu(), 'smoke'))
    if job.gpu:
        tree = '(S (NP (NNP *) (NNP *)) (VP (VBZ *) (NP (DT *) (NN *))))'
        job.part('512 free', lambda: sample(n=512, steps=10), 5)
        job.part('512 spans', lambda: sample(SyntaxSpan(3, 5, 'PP'), n=512, steps=10), 5)
        job.part('512 tree', lambda: sample(target_control('tree', dict(tree=tree)), 512, 10), 5)
    job.part('compile', compiled, 25)


# ---- e2e: the model that is shipped

def augmented(examples, copies, share=.5, seed=1):
    "The texts `copies` times; in each copy half of them have other names and places."
    pools = name_pools(examples)
    each = [exchanged(examples, share, pools, keyed_generator(seed, c)) for c in range(copies)]
    return [e for texts in each for e in texts]

DROPOUT = (0, .1), (.7, .05), (.92, 0.) # from this share of the steps on
GOING_ON = (0, .05), (.85, 0.)          # the same for a model that was trained already

def job_steps(job, p):
    "The steps that were asked for, those of a tiny job, or None."
    return p.steps if job.o.tiny else job.o.steps

class Shipped:
    "The training of the shipped model: texts, model, loop, curve, the best weights on valid."
    def __init__(self, job, preset):
        self.job, self.p, self.few, self.best = job, preset, job.o.tiny, {}
        self.own = texts_of(job, 'train')
        self.valid = [e.words for e in texts_of(job, 'valid') if len(e.words) <= 62]
        self.curve = job.report['results'].setdefault('curve', [])
        trial = job.work.parent / 'graph.json' # what `smoke` saw on this machine
        found = json.loads(trial.read_text()) if trial.exists() else {}
        self.graphed = job.gpu and (job.o.loop or (
            'graph' if found.get('apart', 9) < .5 else 'eager')) == 'graph'
        self.dropout = GOING_ON if job.o.start else DROPOUT
    def load(self):
        "Model and packed texts."
        p, job = self.p, self.job
        torch.manual_seed(job.o.seed)
        if job.o.start: self.model = DiffusionLM.from_pretrained(job.o.start)
        else: self.model, _ = make_packed(p, self.own, job.o.seed, job.device)
        self.model.to(job.device)
        if not (self.few or job.o.start): known_vectors(self.model, 'e2e')
        copies = 1 if self.few else 8 if job.o.start else 10
        texts = augmented(self.own, copies, seed=2 if job.o.start else 1)
        known = [e for e in texts if 0 < len(e.words) <= self.model.length - 2]
        seqs, v = [self.model.vocab.encode(e.words) for e in known], self.model.vocab
        self.packed = PackedTexts(Batches(seqs, v.pad, p.batch_size, job.o.seed), job.device)
        return dict(texts=len(seqs), graphed=self.graphed, preset=str(p), dropout=self.dropout)
    def measure(self, run, seconds): # trained so far
        "A point of the curve; keep the running mean if it is the best on valid."
        twin = copy.deepcopy(self.model).eval()
        twin.load_state_dict(run.ema)
        few = self.few
        r = likelihood(twin, self.valid, 4 if few else 8, limit=8 if few else 256, seed=1)
        loss = float(run.last.detach())
        self.curve.append(dict(step=run.step, seconds=round(seconds, 1), loss=loss, **r))
        self.job.save()
        if not r['nats_per_token'] < 1e3: raise ValueError(f'diverged: {r["nats_per_token"]}')
        if r['nats_per_block_token'] < self.best.get('nats', 9e9):
            self.best.update(nats=r['nats_per_block_token'], step=run.step,
                             state={k: v.detach().cpu().clone() for k, v in run.ema.items()})
        line = f'step {run.step}: {r["nats_per_block_token"]:.4f}, loss {loss:.4f}'
        print(line, f'{self.job.left():.0f} s left', flush=True)
    def learn(self, seconds, first=800, rest=90): # rest: seconds that are left for what follows
        """Train for so many seconds: the number of steps is settled after the first, if not given,
        by a hundred steps in which no graph was recorded.
        """
        job, p = self.job, replace(self.p, steps=job_steps(self.job, self.p) or 10 ** 9)
        if self.few: first, p = 10, self.p
        looks = 6 if job.o.start else 12
        run = FastSteps(self.model, self.packed, p, job.device, job.o.seed, self.graphed,
                        vectors=self.few)
        run.dropout(self.dropout[0][1])
        if job.o.start: self.measure(run, 0.)
        begun, trained = finished(job.device), 0.
        while run.step < first: run()
        n, known = 2 if self.few else 100, None
        while known != len(run.graphs):
            middle, known = finished(job.device), len(run.graphs)
            for _ in range(n): run()
            rate = (finished(job.device) - middle) / n
        settled = run.step + int((seconds - (time.perf_counter() - begun) - 18) / rate)
        steps = settled if p.steps == 10 ** 9 else p.steps
        run.preset = replace(p, steps=steps)
        job.report['results']['speed'] = dict(seconds_per_step=rate, steps=steps)
        at = {int(share * steps): drop for share, drop in self.dropout[1:]}
        for look in range(1, looks + 1):
            while run.step < steps * look // looks:
                if run.step in at: run.dropout(at[run.step])
                run()
                if run.step % 50 == 0 and finished(job.device) and job.left() < rest: break
            now = finished(job.device)
            trained, begun = trained + now - begun, now
            self.measure(run, trained)
            begun = finished(job.device)
            if job.left() < rest: break
        self.model.load_state_dict(self.best['state'])
        self.model.eval()
        set_dropout(self.model.net, 0.)
        save_model(copy.deepcopy(self.model).cpu(), job.work / 'model')
        return dict(steps=run.step, planned=steps, seconds=round(trained, 1),
                    best_step=self.best['step'], batch_size=p.batch_size)

def e2e(job):
    "Train the shipped model on texts with exchanged names, measure its bound, write texts."
    o, few = job.o, job.o.tiny
    p = PRESETS['grammar' if few and not o.data else 'e2e']
    dials = dict(share=.2, temperature=.625, below=.8, steered_share=.5) # of the model before
    p = replace(p, model=SMALL | dials | dict(layers=8, dropout=.1), batch_size=512, warmup=1000,
                lr=1e-3, decay=.5, ema=.9995, precision='bf16' if job.gpu else 'no')
    if o.start: p = replace(p, lr=7e-4, warmup=200, decay=1.)
    it = Shipped(job, tiny(p) if few else p)
    def bound():
        out = {}
        for split in ('valid', 'test'):
            words = [e.words for e in texts_of(job, split) if len(e.words) <= 62]
            out[split] = likelihood(it.model, words, 4 if few else 32,
                                    limit=8 if few else 500, seed=1)
        return out
    def free(steps, n, solver):
        def write():
            begun = time.monotonic()
            texts = it.model.sample(n, steps=steps, seed=o.seed + 1, solver=solver,
                                    batch_size=8 if few else 512)
            seconds = time.monotonic() - begun
            row = dict(task='free', method=f'diffusion {solver}', steps=steps, seed=o.seed + 1,
                       model='e2e', target=None, texts=texts, seconds=round(seconds, 2))
            write_atomic(job.work / f'free-{solver}-{steps}.jsonl', json.dumps(row) + '\n')
            pack_rows(job)
            return dict(seconds=round(seconds, 2))
        return write
    job.part('texts', it.load)
    rest = 62 if o.start else 90
    job.part('train', lambda: it.learn(min(o.train_seconds or 390, job.left() - rest - 60),
                                       rest=rest))
    if not it.best: return
    if 'failed' in job.report['parts']['train']: it.model.load_state_dict(it.best['state'])
    it.model.eval()
    job.part('weights', lambda: take_home(job, copy.deepcopy(it.model).cpu(), 'e2e'))
    n = 4 if few else 2000
    if not o.start: job.part('bound', bound, 20)
    job.part('free 50 ancestral', free(4 if few else 50, n, 'ancestral'), 20)
    job.part('free 20 ancestral', free(3 if few else 20, n, 'ancestral'), 20)
    job.part('dials', lambda: write_dials(job, it.model, it.valid), 20)
    if o.start: job.part('bound', bound, 11)
    job.part('free 500 ancestral', free(8 if few else 500, n, 'ancestral'), 60)

def write_dials(job, lm, valid): # word lists
    "The texts of scripts/dials.py, to be judged at home; the settings in order of the list."
    from dials import SEED, SETTINGS, grid_of, solver_of
    rows, few = [], job.o.tiny
    for k, setting in enumerate(SETTINGS[::9] if few else SETTINGS):
        if job.left() < 15: break
        solver, dial, steps, grid, temperature, below, n = setting
        if dial == 'steered': continue
        texts = lm.sample(4 if few else n, seed=SEED, batch_size=8 if few else 512,
                          solver=solver_of(solver, dial, temperature, below, lm),
                          steps=grid_of(grid, 4 if few else steps, lm, valid))
        rows.append(dict(task='dials', setting=setting, texts=texts))
    text = '\n'.join(map(json.dumps, rows)) + '\n'
    write_atomic(job.work / 'dials.jsonl', text)
    pack_rows(job)
    return dict(settings=len(rows))


# ---- sweep: strengths of guidance, on other validation targets

def sweep(job):
    "The texts of scripts/sweep.py for targets in a file, ours and the paper's, judged at home."
    from sweep import OURS, PAPER, dialled
    few = job.o.tiny
    lm = DiffusionLM.from_pretrained(job.o.model or ('grammar' if few else 'e2e'))
    lm = lm.to(job.device).eval()
    asked = json.loads(Path(job.o.targets).read_text())
    cells = [(t, 'diffusion', s) for s in OURS for t in asked if t != 'semantic']
    cells += [(t, 'diffusion-classifier', s) for s in PAPER for t in asked]
    for k, (task, method, setting) in enumerate(cells[:2] if few else cells):
        def write():
            wanted = asked[task][:2] if few else asked[task]
            controls = [target_control(task, r['target']) for r in wanted]
            how = dialled(controls, method, setting, lm)
            if few: how['steps'] = 4
            begun = finished(job.device)
            texts = lm.sample(2 * len(wanted), [c for c in controls for _ in range(2)], seed=1,
                              batch_size=8 if few else 256, **how)
            seconds = finished(job.device) - begun
            rows = [dict(task=task, method=method, setting=setting, target=r['target'],
                         sentence=r['sentence'], texts=texts[2 * i:2 * i + 2], seconds=seconds)
                    for i, r in enumerate(wanted)]
            text = '\n'.join(map(json.dumps, rows)) + '\n'
            write_atomic(job.work / f'sweep-{k:03}.jsonl', text)
            return dict(seconds=round(seconds, 2))
        job.part(f'{task} {method} {setting}', write, 12)
    pack_rows(job)


# ---- several processes on one device

"""What these jobs do is bound by launches: the device waits for Python. So a job of many parts
splits them into shares, and each share is a process of its own, with the same clock.
"""
class Share:
    "One share of a job, in a process of its own, with a folder of its own."
    def __init__(self, job, name):
        self.name, self.out, self.what = name, job.work / f'share-{name}', job.o.what
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / f'{self.what}.json').unlink(missing_ok=True)
        o, until = job.o, time.time() + job.left() - (2 if job.o.tiny else 10)
        more = [[f'--{k}', str(getattr(o, k))] for k in ('data', 'targets', 'model', 'device',
                                                         'rounds') if getattr(o, k)]
        args = [sys.executable, sys.argv[0], o.what, '--share', name, '--out', self.out,
                '--work', job.work / f'work-{name}', '--until', until, '--seed', o.seed]
        args += sum(more, []) + ['--tiny'] * o.tiny
        self.run = subprocess.Popen([str(a) for a in args], start_new_session=True,
                                    env=os.environ | dict(OMP_NUM_THREADS='1'))
    def gather(self, job):
        "Its report becomes part of the job's, and its files the job's files."
        path = self.out / f'{self.what}.json'
        found = json.loads(path.read_text()) if path.exists() else dict(parts={}, results={})
        if self.run.returncode and not found['parts']:
            found['parts'][self.name] = dict(failed=f'exit code {self.run.returncode}')
        for key in ('parts', 'results'): job.report[key] |= found[key]
        for p in self.out.glob('*.tar'): p.rename(job.out / p.name)

def in_shares(job, names):
    "Do the shares side by side, and gather what each has done when the time is up at the latest."
    shares = [Share(job, name) for name in names]
    try:
        while job.left() > 1 and any(s.run.poll() is None for s in shares): time.sleep(.2)
    finally:
        for s in shares:
            if s.run.poll() is None: os.killpg(s.run.pid, signal.SIGKILL)
            s.run.wait()
            s.gather(job)
        rows = [p for s in shares for p in s.out.glob('*-rows.jsonl.gz')]
        packed = b''.join(p.read_bytes() for p in rows)   # gzip files in a row are a gzip file
        if packed: write_atomic(job.out / f'{job.o.what}-rows.jsonl.gz', packed)


# ---- protocol: every task, with the shipped weights

def targets_of(job, task): # of --targets, a folder of files TASK.jsonl, or None
    "The authors' targets of a task with their controls; lines that cannot be read are counted."
    path = Path(job.o.targets or '') / f'{task.replace("+", "-")}.jsonl'
    if not job.o.targets or not path.exists(): return None, 0
    wanted, refused = [], 0
    for _, line in read_jsonl(path):
        try: wanted.append((line, target_control(task, line)))
        except BadInput: refused += 1
    return wanted, refused

def rows_of(job, name, task, lm, least, **options):
    "Write the rows of one task until less than `least` seconds are left."
    few = job.o.tiny
    def write():
        begun = time.monotonic()
        out = job.work / f'{name}.jsonl'
        how = dict(seed=job.o.seed, batch_size=8 if few else 512, block=8 if few else 2048)
        try:
            write_task(lm, task, out, targets=2 if few else 200, check=job.until(least),
                       **how | options)
        finally: pack_rows(job)
        return dict(seconds=round(time.monotonic() - begun, 2))
    job.part(name, write, least)

ROUNDS = 10, 40 # texts a target: first some for every task, then the rest; a seed each
# What a process does, in this order: (task, method, on the authors' targets?). Ten processes with
# batches of 1,024 were tried once, and shared 346 s badly: four buckets of lengths, each filled up.
SHARES = dict(
    tree=[('tree', 'diffusion', False), ('semantic+tree', 'diffusion', False)],
    spans=[('spans', 'diffusion', False), ('spans', 'diffusion', True),
           ('semantic+pos', 'diffusion', False), ('semantic+pos', 'diffusion', True)],
    pos=[('pos', 'diffusion', False), ('pos', 'diffusion', True)],
    plain=[('free', 'diffusion', False), ('length', 'diffusion', False),
           ('semantic', 'diffusion', False)],
    classifier=[(t, 'diffusion-classifier', False) for t in ('semantic', 'pos', 'spans', 'tree')],
    authors=[('pos', 'diffusion-authors', False), ('semantic', 'diffusion-authors', False),
             ('spans', 'diffusion-authors', False), ('tree', 'diffusion-authors', False)],
)

def asked_rounds(o):
    "`--rounds` as a list of numbers, or None."
    if not o.rounds: return None
    if not all(n.isdecimal() for n in o.rounds.split(',')):
        raise BadInput(f'--rounds is a list of whole numbers, as 10,40, not {o.rounds!r}')
    return [int(n) for n in o.rounds.split(',')]

def protocol(job):
    """Ours and the paper's guidance on all tasks, on shipped and on the authors' targets. The texts
    of round r have the seed `--seed` + r.
    """
    few, o = job.o.tiny, job.o
    if not o.share: return in_shares(job, ['pos', 'plain'] if few else SHARES)
    lm = DiffusionLM.from_pretrained(o.model or ('grammar' if few else 'e2e'))
    lm = lm.to(job.device).eval()
    rounds = asked_rounds(o) or ((1, 1) if few else ROUNDS)
    for r, n in enumerate(rounds):
        if not n: continue                     # a round that is at home already
        for task, method, authors in SHARES[o.share]:
            if few and task == 'semantic': continue            # of E2E
            wanted, refused = targets_of(job, task) if authors else (None, 0)
            if authors and not wanted: continue
            name = f'{"authors " if authors else ""}{task} {method} {r}'.replace('+', '-')
            if refused: job.report['results'][f'{name}, not read'] = refused
            rows_of(job, name, task, lm, 4 if few else 15, method=method, seed=o.seed + r, n=n,
                    steps=4 if few else 50, wanted=wanted[:2] if few and wanted else wanted,
                    batch_size=8 if few else 256, block=8 if few else 2560)


# ---- roc: stories, and gaps between two sentences

def roc(job):
    "A model of some 37M parameters on ROCStories, then the gaps of aNLG."
    o, few, made = job.o, job.o.tiny, {}
    p = replace(PRESETS['roc'], batch_size=256, warmup=500, decay=.5, ema=.9995, lr=6e-4,
                precision='bf16' if job.gpu else 'no')
    p = tiny(p) if few else p
    texts = texts_of(job, 'train')
    def make(p): return make_packed(p, texts, o.seed, job.device)
    def learn():
        model = train(job, 'training', make, p, 5 if few else min(380, job.left() - 150))
        save_model(copy.deepcopy(model).cpu(), job.work / 'model')
        made['model'] = model
        return job.report['results']['training']
    def bound():
        words = [e.words for e in texts_of(job, 'valid') if len(e.words) <= 62]
        return likelihood(made['model'], words, 4 if few else 32, limit=8 if few else 500, seed=1)
    def gaps():
        infill_texts(o.items, 2 if few else 10, str(job.work / 'anlg.jsonl'),
                     steps=4 if few else 50,
                     model=str(job.work / 'model'), seed=o.seed, limit=2 if few else 500,
                     batch_size=8 if few else 512, device=job.device)
    job.part('train', learn)
    if 'model' not in made: return
    job.part('bound', bound, 20)
    if o.items: job.part('gaps', gaps, 30)
    pack_rows(job)
    job.part('weights', lambda: take_home(job, made['model'].cpu(), 'roc'))


# ---- paper: the paper's model, steered the paper's way

def classifier_of(job, name, seconds): # of the model in `work`
    "A classifier for the new model, trained for some seconds; its folder."
    small = job.o.tiny or not job.o.data
    p = PRESETS[('grammar-' if small else 'e2e-') + name]
    p = replace(p, model=p.model | dict(lm=str(job.work / 'model')))
    p = tiny(p) if job.o.tiny else p
    texts = texts_of(job, 'train')
    def make(p):
        torch.manual_seed(job.o.seed)
        return KINDS[p.kind](p, texts, job.o.seed)
    save_model(train(job, f'{name} classifier', make, p, seconds).cpu(), job.work / name)

def paper(job):
    "`e2e-paper` for some minutes with its curve, classifiers, and the tasks with 200 steps."
    o, few, made = job.o, job.o.tiny, {}
    p = PRESETS['grammar-paper' if few and not o.data else 'e2e-paper']
    p = tiny(p) if few else replace(p, precision='bf16' if job.gpu else 'no', batch_size=64)
    texts = texts_of(job, 'train')
    valid = [e.words for e in texts_of(job, 'valid') if len(e.words) <= 62]
    curve = job.report['results'].setdefault('curve', [])
    def make(p): return make_packed(p, texts, o.seed, job.device)
    def watch(model, step, ema, planned):
        if step < min(planned, (len(curve) + 1) * planned / 10): return
        twin = made.setdefault('twin', copy.deepcopy(model)).eval()
        twin.load_state_dict(ema)
        r = likelihood(twin.to(job.device), valid, 4, limit=8 if few else 64, seed=1)
        curve.append(dict(step=step, **r))
    def learn():
        model = train(job, 'training', make, p, 5 if few else 280, watch)
        save_model(copy.deepcopy(model).cpu(), job.work / 'model')
        made['model'] = model
        return job.report['results']['training']
    job.part('train', learn)
    if 'model' not in made: return
    for name in ('semantic', 'syntax'):
        job.part(f'{name} classifier', lambda: classifier_of(job, name, 2 if few else 40), 60)
    folders = {k: job.work / k for k in ('semantic', 'syntax') if (job.work / k).exists()}
    for task in ['semantic'] if few else ['free', 'semantic', 'pos', 'tree', 'spans', 'length']:
        way = 'diffusion' if task in ('free', 'length') else 'diffusion-classifier'
        wanted = None
        if few: wanted = [(['food', ':', 'French'], target_control(task, ['food', ':', 'French']))]
        rows_of(job, task, task, made['model'], 15, n=2 if few else 3, steps=4 if few else 200,
                method=way, model='e2e-paper', classifiers=folders, solver='ancestral', clamp=True,
                wanted=wanted)


# ---- rivals: baselines of the diffusion model's size

MATCHED = dict(width=256, layers=6, heads=4) # 5.0M parameters; the other presets have them
RIVALS = 'ar', 'ft-semantic', 'ft-length', 'ft-pos', 'ft-tree', 'fudge', 'gedi', 'bert', \
         'bart', 'infill-ar' # at most seven fit into what goes home at once; ft-spans follows tree

def rival_preset(job, name):
    "The preset of a rival, for a GPU; BERT and BART, which are small, get the size of the others."
    small = job.o.tiny or not job.o.data
    p = PRESETS[('grammar-' if small else 'e2e-') + name]
    if job.o.tiny: return tiny(p)
    size = {} if small else dict(bert=MATCHED, bart=dict(MATCHED, layers=3)).get(name, {})
    return replace(p, model=p.model | size, precision='bf16' if job.gpu else 'no', batch_size=128,
                   decay=.5, warmup=300)

def held_out(model, p, texts): # of the valid split
    "The batches of other texts, in the vocabulary of the model: step -> batch."
    p = replace(p, exchange=0.)
    if p.kind == 'ar': return text_batches(p, texts, model.vocab, 64, 1)
    if p.kind == 'fudge':
        texts = with_syntax(texts)
        batches = Batches([model.vocab.encode(e.words) for e in texts], model.vocab.pad,
                          p.batch_size, 1)
        def at(step):
            ids, mask, rows = batches(step)
            golds = [model.gold(texts[r]) for r in rows]
            return ids, mask, *model.targets(golds, ids.shape[1], keyed_generator(1, step))
        return at
    texts = example_batches(p, texts, model.vocab, 1)
    return lambda step: model.batch(*texts(step))

class Ahead:
    "Batches made by other processes, some steps ahead; what a step gets does not change."
    def __init__(self, at, workers=2, ahead=8):
        Ahead.at = staticmethod(at) # of the class: a function of a function cannot be sent, but is
        self.ahead, self.waiting = ahead, {} # inherited by processes that are forked
        self.pool = ProcessPoolExecutor(workers, get_context('fork'), initializer=alone)
        self.pool.submit(Ahead.make, 0).result()          # fork now, before the device is in use
    @staticmethod
    def make(step): # numpy, so that nothing is shared
        return [a.numpy() for a in Ahead.at(step) if torch.is_tensor(a)]
    def __call__(self, step):
        self.waiting = {k: v for k, v in self.waiting.items() if k >= step}
        for k in range(step, step + self.ahead):
            if k not in self.waiting: self.waiting[k] = self.pool.submit(Ahead.make, k)
        return [torch.from_numpy(a) for a in self.waiting.pop(step).result()]

def alone(): torch.set_num_threads(1)

class ValidCurve:
    "The loss on valid at each tenth of the training, and the weights that were best."
    def __init__(self, job, p, batches, name):
        self.job, self.p, self.best, self.state = job, p, math.inf, None
        self.batches = [batches(k) for k in range(2 if job.o.tiny else 12)]
        self.curve = job.report['results'].setdefault(f'{name} curve', [])
        self.begun = time.monotonic()
    @torch.no_grad()
    def __call__(self, step, ema):
        if step < self.p.steps and step * 10 < (len(self.curve) + 1) * self.p.steps: return
        self.twin.load_state_dict(ema)
        losses = []
        for batch in self.batches:
            batch = [a.to(self.job.device) for a in batch if torch.is_tensor(a)]
            losses.append(float(self.twin(*batch)[0]))
        loss = sum(losses) / len(losses)
        row = dict(step=step, seconds=round(time.monotonic() - self.begun, 1), valid=loss)
        self.curve.append(row)
        if loss < self.best: self.best, self.state = loss, {k: v.clone() for k, v in ema.items()}
        self.job.save()

def rival(job, name):
    "Train one rival for the time that is left, and keep what did best on valid texts."
    p, few = rival_preset(job, name), job.o.tiny
    torch.manual_seed(job.o.seed)
    model, at = KINDS[p.kind](p, texts_of(job, 'train'), job.o.seed)
    ahead = Ahead(at)
    texts = [e for e in texts_of(job, 'valid') if len(e.words) <= 62]
    curve = ValidCurve(job, p, held_out(model, p, texts), name)
    curve.twin = copy.deepcopy(model).to(job.device).eval()
    k = 4 if few else 80
    trial, times = copy.deepcopy(model), []
    fit(trial, ahead, replace(p, steps=2 * k), device=job.device, quiet=True, log_every=k,
        watch=lambda *_: times.append(time.monotonic()))
    seconds = job.left() - 20
    steps = p.steps if few else max(100, int(.85 * seconds * k / (times[1] - times[0])))
    p = curve.p = replace(p, steps=steps)
    torch.manual_seed(job.o.seed)
    curve.begun = time.monotonic()
    log = fit(model, ahead, p, minutes=max(5., seconds) / 60, device=job.device, quiet=True,
              log_every=max(1, steps // 40), watch=curve)
    if curve.state: model.load_state_dict(curve.state)
    home = take_home(job, model.cpu(), f'e2e-{name}')
    return dict(steps=log[-1]['step'], planned=steps, batch_size=p.batch_size, file=home,
                seconds=round(time.monotonic() - curve.begun, 1), valid=curve.best,
                parameters=sum(q.numel() for q in model.parameters()), preset=str(p))

def rivals(job):
    "The models behind the baselines, each in a process of its own for all of the time."
    names = RIVALS[:2] if job.o.tiny else RIVALS
    if job.o.only: names = job.o.only.split(',')
    if job.o.share: return job.part(job.o.share, lambda: rival(job, job.o.share))
    in_shares(job, names)



# ---- ablate: the recipe with one change at a time

BESIDE = 8 # processes
TRIED = 'recipe', 'the loss is the bound', 'schedule learned while it trains' # by `--tiny`

def ablate(job):
    "The runs of `scripts/ablate.py`, some side by side; all changes with one seed come first."
    import ablate as study                                  # beside this file
    few, o = job.o.tiny, job.o
    n = 2 if few else BESIDE
    if not o.share: return in_shares(job, [str(k) for k in range(n)])
    runs = [(seed, name) for seed in range(3) for name in study.CHANGES]
    if few: runs = [(0, name) for name in TRIED]
    recipe = replace(study.RECIPE, precision='bf16' if job.gpu else 'no')
    texts, valid = texts_of(job, 'train'), texts_of(job, 'valid')
    for seed, name in runs[int(o.share)::n]:
        def one():
            return study.run(name, seed, texts, valid, tiny(recipe) if few else recipe,
                             job.device, few)
        job.part(f'{name}, seed {seed}', one, 3 if few else 75)


JOBS = dict(smoke=smoke, e2e=e2e, protocol=protocol, roc=roc, paper=paper, rivals=rivals,
            sweep=sweep, ablate=ablate)

def run(o): # the options of gpu.py
    "Do a job; its report is in OUT whatever happens."
    asked_rounds(o)
    if o.what == 'rivals' and o.only and (wrong := {*o.only.split(',')} - {*RIVALS}):
        raise BadInput(f'no rival {min(wrong)!r}; there are {", ".join(RIVALS)}')
    job = Job(o)
    print(f'{o.what} on {job.report["device"]}, {job.seconds:.0f} s', flush=True)
    try: JOBS[o.what](job)
    finally:
        pack_rows(job)
        job.save()
    failed = [k for k, v in job.report['parts'].items() if 'failed' in v]
    print('failed: ' + ', '.join(failed) if failed else 'all parts done or left out', flush=True)
    return 1 if failed else 0

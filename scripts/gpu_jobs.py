"""Jobs for one GPU and nine minutes. Each is one command, ends by itself, and saves as it goes.

    python scripts/gpu.py smoke    --out OUT                        # what works here; at most 60 s
    python scripts/gpu.py e2e      --out OUT --data e2e.safetensors # train the shipped model
    python scripts/gpu.py protocol --out OUT --targets FOLDER       # all tasks with shipped weights
    python scripts/gpu.py roc      --out OUT --data roc.safetensors --items anlg.json
    python scripts/gpu.py paper    --out OUT --data e2e.safetensors # the paper's model and its way
    python scripts/gpu.py rivals   --out OUT --data e2e.safetensors # baselines of the model's size

`--data` is what `dlm-pack e2e-labelled --out e2e.safetensors` wrote (`dlm-pack roc` for roc).
OUT holds NAME.json, which says of each part how long it took, or why it failed or was left out;
NAME-rows.jsonl.gz with all texts; and a tar file of each model below 16 MB in half precision.
`--seconds` is the limit of a job (560; smoke 60), `--tiny` shows on a CPU that all of it runs.
"""
import copy, gzip, io, json, tarfile, time, traceback
from dataclasses import replace
from pathlib import Path

import torch
from diffusion_lm_nb.files import BadInput, read_jsonl, write_atomic
from diffusion_lm_nb.checkpoints import save_model
from diffusion_lm_nb.commands import KINDS, PRESETS, infill_texts
from diffusion_lm_nb.controls import Length, SemanticContent
from diffusion_lm_nb.corpora import exchanged, load_corpus, name_pools
from diffusion_lm_nb.data import Batches
from diffusion_lm_nb.denoiser import DiffusionLM
from diffusion_lm_nb.likelihood import likelihood
from diffusion_lm_nb.loss import SMALL, keyed_generator
from diffusion_lm_nb.reproduction import target_control
from diffusion_lm_nb.scale import GraphSteps, Loop, PackedTexts, make_packed
from diffusion_lm_nb.parallel import write_task
from diffusion_lm_nb.syntax import SyntaxSpan
from diffusion_lm_nb.training import fit

MOST = 15.5 * 2 ** 20 # bytes of a file that is brought home
TASKS = ['pos', 'tree', 'spans', 'semantic', 'length', 'semantic+pos', 'semantic+tree']


class TimeIsUp(Exception):
    "The part has used what it was given."


class Job:
    "One job: its clock, and a report that is written after each part."
    def __init__(self, o):
        self.o, self.start = o, time.monotonic()
        self.seconds = o.seconds or (60 if o.what == 'smoke' else 560)
        self.device = o.device or ('cuda' if torch.cuda.is_available() else 'cpu')
        self.gpu = self.device.startswith('cuda')
        self.out, self.work = Path(o.out), Path(o.work) / o.what
        for folder in (self.out, self.work): folder.mkdir(parents=True, exist_ok=True)
        name = torch.cuda.get_device_name(0) if self.gpu else 'cpu'
        self.report = dict(job=o.what, device=name, torch=torch.__version__, tiny=o.tiny,
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


# ---- smoke: what works on this device

def smoke(job):
    "Each thing that the jobs need, once, small."
    dev, bf16 = job.device, 'bf16' if job.gpu else 'no'
    lm = DiffusionLM.from_pretrained('grammar' if job.o.tiny else 'e2e').to(dev).eval()
    base = DiffusionLM.from_pretrained('grammar')
    texts = [base.vocab.encode(e.words) for e in load_corpus('grammar')[:256]]
    def matmul():
        a = torch.randn(4096 if job.gpu else 256, 4096 if job.gpu else 256, device=dev)
        return float((a.bfloat16() @ a.bfloat16()).float().std())
    def fit_few(precision):
        p = replace(PRESETS['grammar'], steps=20, precision=precision, batch_size=32, min_count=0)
        model, at = make_packed(p, load_corpus('grammar')[:512], 0, dev)
        return round(fit(model, at, p, device=dev, quiet=True, log_every=10)[-1]['loss'], 3)
    def graph():
        steps = GraphSteps(copy.deepcopy(base), texts, Loop(True, True, True, True, True), 16, dev)
        for _ in range(8): steps()
    def compiled():
        net = torch.compile(copy.deepcopy(lm.net))
        x = torch.randn(8, 32, lm.dim, device=dev)
        with torch.no_grad(): h = net(x, torch.ones(8, device=dev))
        return list(h.shape)
    def sample(control=None, **options):
        return lm.sample(4, control, steps=4, batch_size=8, **options)[:2]
    job.part('matmul', matmul)
    job.part('sample', sample)
    job.part('fit', lambda: fit_few('no'))
    job.part('fit bf16', lambda: fit_few(bf16))
    job.part('semantic', lambda: sample(SemanticContent('food', 'French') & Length(12)))
    job.part('spans', lambda: sample(SyntaxSpan(3, 5, 'PP') & Length(12)))
    job.part('likelihood', lambda: likelihood(base.to(dev), [['The', 'Eagle']] * 8, 4))
    job.part('save', lambda: take_home(job, base.cpu(), 'smoke'))
    job.part('compile', compiled, 25)
    if job.gpu: job.part('graph', graph, 10)


# ---- e2e: the model that is shipped

def augmented(examples, copies, share=.5, seed=1):
    "The texts `copies` times; in each copy half of them have other names and places."
    pools = name_pools(examples)
    each = [exchanged(examples, share, pools, keyed_generator(seed, c)) for c in range(copies)]
    return [e for texts in each for e in texts]

def e2e(job):
    "Train the shipped model on texts with exchanged names, measure its bound, write texts."
    o, few = job.o, job.o.tiny
    p = PRESETS['grammar' if few and not o.data else 'e2e']
    p = replace(p, model=SMALL | dict(width=304, layers=6, heads=4, dropout=.1), batch_size=256,
                lr=1e-3, warmup=500, decay=.5, ema=.9995, precision='bf16' if job.gpu else 'no')
    p = tiny(p) if few else p
    own, best, made = texts_of(job, 'train'), {}, {}
    valid = [e.words for e in texts_of(job, 'valid') if len(e.words) <= 62]
    def load():
        made['texts'] = augmented(own, 1 if few else 10)
        return len(made['texts'])
    def make(p):
        # the vocabulary and the lengths are those of the texts themselves
        model, _ = make_packed(p, own, o.seed, job.device)
        if 'packed' not in made:
            known = [e for e in made['texts'] if 0 < len(e.words) <= model.length - 2]
            seqs = [model.vocab.encode(e.words) for e in known]
            batches = Batches(seqs, model.vocab.pad, p.batch_size, o.seed)
            made['packed'] = PackedTexts(batches, job.device)
        packed = made['packed']
        def at(step):
            ids, mask, _ = packed(step)
            return ids, mask, keyed_generator(o.seed, step)
        return model, at
    curve = job.report['results'].setdefault('curve', [])
    def watch(model, step, ema, planned): # keep the running mean that is best on valid
        if step < min(planned, (len(curve) + 1) * planned / 25): return
        twin = made.setdefault('twin', copy.deepcopy(model)).eval()
        twin.load_state_dict(ema)
        twin.to(job.device)
        r = likelihood(twin, valid, 4 if few else 8, limit=8 if few else 256, seed=1)
        curve.append(dict(step=step, seconds=round(job.seconds - job.left(), 1), **r))
        if r['nats_per_block_token'] < best.get('nats', 9e9):
            best.update(nats=r['nats_per_block_token'], step=step,
                        state={k: v.detach().cpu().clone() for k, v in ema.items()})
        job.save()
    def learn():
        seconds = 5 if few else min(420, job.left() - 130)
        model = train(job, 'training', make, p, seconds, watch)
        if best: model.load_state_dict(best['state'])
        made['model'] = model
        save_model(copy.deepcopy(model).cpu(), job.work / 'model')
        return dict(job.report['results']['training'], best_step=best.get('step'))
    def bound():
        out = {}
        for split in ('valid', 'test'):
            words = [e.words for e in texts_of(job, split) if len(e.words) <= 62]
            out[split] = likelihood(made['model'], words, 4 if few else 32,
                                    limit=8 if few else 500, seed=1)
        return out
    def free(steps, n, solver):
        def write():
            begun = time.monotonic()
            texts = made['model'].sample(n, steps=steps, seed=o.seed + 1, solver=solver,
                                         batch_size=8 if few else 512)
            seconds = time.monotonic() - begun
            row = dict(task='free', method=f'diffusion {solver}', steps=steps, seed=o.seed + 1,
                       model='e2e', target=None, texts=texts, seconds=round(seconds, 2))
            write_atomic(job.work / f'free-{solver}-{steps}.jsonl', json.dumps(row) + '\n')
            pack_rows(job)
            return dict(seconds=round(seconds, 2))
        return write
    job.part('texts', load)
    job.part('train', learn)
    if 'model' not in made: return
    job.part('weights', lambda: take_home(job, copy.deepcopy(made['model']).cpu(), 'e2e'))
    job.part('bound', bound, 20)
    n = 4 if few else 2000
    for solver in ('ancestral', 'renoise'):
        job.part(f'free 50 {solver}', free(4 if few else 50, n, solver), 20)
    job.part('free 500 ancestral', free(8 if few else 500, n, 'ancestral'), 60)


# ---- protocol: every task, with the shipped weights

def targets_of(job, task): # of --targets, a folder of files TASK.jsonl, or None
    "The authors' targets of a task with their controls; lines that cannot be read are counted."
    path = Path(job.o.targets or '') / f'{task.replace("+", "-")}.jsonl'
    if not job.o.targets or not path.exists(): return None, 0
    wanted, refused = [], 0
    for line in read_jsonl(path):
        try: wanted.append((line, target_control(task, line)))
        except BadInput: refused += 1
    return wanted, refused

def rows_of(job, name, task, lm, least, **options):
    "Write the rows of one task until less than `least` seconds are left."
    few = job.o.tiny
    def write():
        begun = time.monotonic()
        out = job.work / f'{name}.jsonl'
        try:
            write_task(lm, task, out, targets=2 if few else 200, seed=job.o.seed,
                       batch_size=8 if few else 512, block=8 if few else 2048,
                       check=job.until(least), **options)
        finally: pack_rows(job)
        return dict(seconds=round(time.monotonic() - begun, 2))
    job.part(name, write, least)

def protocol(job):
    "Ours and the paper's guidance on all tasks, on shipped and on the authors' targets."
    few = job.o.tiny
    lm = DiffusionLM.from_pretrained(job.o.model or ('grammar' if few else 'e2e'))
    lm = lm.to(job.device).eval()
    tasks = ['pos', 'length'] if few else TASKS
    n, steps = (2, 4) if few else (50, 50)
    rows_of(job, 'free', 'free', lm, 30, n=1 if few else 5, steps=steps)
    for task in tasks: rows_of(job, task, task, lm, 30, n=n, steps=steps)
    for task in ('pos', 'spans', 'semantic+pos'):
        wanted, refused = targets_of(job, task)
        if not wanted: continue
        job.report['results'][f'authors {task}'] = dict(read=len(wanted), refused=refused)
        rows_of(job, f'authors-{task}', task, lm, 30, n=n, steps=steps,
                wanted=wanted[:2] if few else wanted)
    if few: return
    for task in ('semantic', 'pos', 'spans', 'tree'):
        rows_of(job, f'{task}-classifier', task, lm, 30, n=5, steps=200,
                method='diffusion-classifier')


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
        infill_texts(o.items, 2 if few else 10, str(job.work / 'anlg.jsonl'), steps=4 if few else 50,
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

def rivals(job):
    "The language models behind the baselines, each for an equal share of the time."
    small = job.o.tiny or not job.o.data
    names = [('grammar-' if small else 'e2e-') + k for k in
             ('gpt', 'bert', 'bart', 'ft-semantic', 'ft-length', 'ft-pos', 'ft-tree', 'fudge')]
    texts = texts_of(job, 'train')
    size = {} if small else dict(width=256, layers=6, heads=4)
    for k, name in enumerate(names[:2] if job.o.tiny else names):
        p = PRESETS[name]
        sizes = {a: b for a, b in size.items() if a in p.model}
        p = replace(p, model=p.model | sizes, precision='bf16' if job.gpu else 'no')
        p = tiny(p) if job.o.tiny else p
        def make(p):
            torch.manual_seed(job.o.seed)
            return KINDS[p.kind](p, texts, job.o.seed)
        def learn():
            share = 2 if job.o.tiny else (job.left() - 30) / (len(names) - k) - 12
            model = train(job, name, make, p, share)
            take_home(job, model.cpu(), name)
            return job.report['results'][name]
        job.part(name, learn, 20 if not job.o.tiny else 0)


JOBS = dict(smoke=smoke, e2e=e2e, protocol=protocol, roc=roc, paper=paper, rivals=rivals)

def run(o): # the options of gpu.py
    "Do a job; its report is in OUT whatever happens."
    job = Job(o)
    print(f'{o.what} on {job.report["device"]}, {job.seconds:.0f} s', flush=True)
    try: JOBS[o.what](job)
    finally:
        pack_rows(job)
        job.save()
    failed = [k for k, v in job.report['parts'].items() if 'failed' in v]
    print('failed: ' + ', '.join(failed) if failed else 'all parts done or left out', flush=True)
    return 1 if failed else 0

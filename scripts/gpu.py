"""Training, classifiers, the full protocol and the benchmark on a GPU, in one go or in slices; chapter 18b says what for.

At home, where the corpora are:     dlm-pack e2e-labelled --out e2e.safetensors
On the machine with the GPU:        python scripts/gpu.py all --data e2e.safetensors --out OUT --minutes 50
                                    the same line again goes on where it was; OUT/state.json says what is done
At home again:                      python scripts/gpu.py judge OUT                   # results/gpu.json, curves.json, bench.json

Jobs of nine minutes (smoke, e2e, protocol, roc, paper, rivals, sweep, ablate): see gpu_jobs.py.

It needs torch, transformers, accelerate, safetensors, huggingface_hub, tqdm, fastcore and no network. What it leaves in OUT are at most eight files
of less than 16 MB. `train` in place of `all`: the model and its curve alone. Work in progress lies in --work (runs/gpu), which may be lost between calls: then the next call starts again.

    python scripts/gpu.py growth --device cuda --out OUT           # seconds and bytes of a step against length, batch, width, layers, vocabulary
    python scripts/gpu.py keep bench.json                          # what dlm-bench --json printed, into results/bench.json
    python scripts/gpu.py keep OUT/e2e.json                        # the report of a job of nine minutes, into results/gpu_jobs.json
    python scripts/gpu.py classifier --out runs/e2e-released       # a classifier of the model's size, for dlm-bench --classifier
    OMP_NUM_THREADS=1 torchrun --standalone --nproc_per_node 2 scripts/gpu.py speed results/speed.json --device cpu      # words a second; without torchrun: of one process
    torchrun --standalone --nproc_per_node 8 scripts/gpu.py sharded --preset e2e-paper --data e2e.safetensors --out runs/sharded    # FSDP
"""
import argparse, gzip, io, json, os, shutil, sys, tarfile, time, types
from contextlib import redirect_stdout
from dataclasses import replace
from functools import partial
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

class Tree(list):
    "What the package needs of `nltk.Tree`, for machines without it."
    def __init__(self, label, children=()): super().__init__(children); self._label = label
    def label(self): return self._label
    def set_label(self, label): self._label = label
    def subtrees(self):
        yield self
        for c in self:
            if isinstance(c, Tree): yield from c.subtrees()
    def leaves(self): return [w for c in self for w in (c.leaves() if isinstance(c, Tree) else [c])]
    @classmethod
    def fromstring(cls, text):
        stack, words = [[]], text.replace('(', ' ( ').replace(')', ' ) ').split()
        for i, w in enumerate(words):
            if w == '(':
                stack.append([])
            elif w == ')':
                if len(stack) < 2:
                    raise ValueError('a bracket is closed that was not opened')
                label, *children = stack.pop()
                stack[-1].append(cls(label, children))
            else:
                stack[-1].append(w)
        if len(stack) != 1 or len(stack[0]) != 1 or not isinstance(stack[0][0], cls):
            raise ValueError('brackets do not match')
        return stack[0][0]

if find_spec('nltk') is None:
    sys.modules['nltk'] = types.ModuleType('nltk')
    sys.modules['nltk'].Tree, sys.modules['nltk'].__spec__ = Tree, ModuleSpec('nltk', None)

import torch
from diffusion_lm_nb.syntax import SyntaxClassifier, TASKS
from diffusion_lm_nb.reproduction import target_control
from diffusion_lm_nb.files import BadInput, write_atomic
from diffusion_lm_nb.corpora import load_corpus
from diffusion_lm_nb.data import Batches
from diffusion_lm_nb.denoiser import DiffusionLM
from diffusion_lm_nb.classifiers import NoisyClassifier
from diffusion_lm_nb.likelihood import likelihood
from diffusion_lm_nb.scale import device_name, make_packed, random_texts, read_size, sized
from diffusion_lm_nb.parallel import fit_sharded, growth, write_task
from diffusion_lm_nb.commands import dlm_bench
from diffusion_lm_nb.checkpoints import save_model
from diffusion_lm_nb.loss import keyed_generator
from diffusion_lm_nb.training import fit
from diffusion_lm_nb.commands import KINDS, PRESETS

PROTOCOL = ['free', *TASKS, 'semantic+tree', 'semantic+pos']
say = lambda *what: print(time.strftime('%H:%M:%S'), *what, file=sys.stderr, flush=True)

class TimeIsUp(Exception): pass

def small(p): # a preset that shows that all works, in seconds
    return replace(
        p,
        model=p.model | (dict(width=64, layers=1) if 'width' in p.model else {}),
        steps=30,
        batch_size=8,
        warmup=5,
        min_count=0,
    )

class Job:
    "One run of the script: its options, its clock, and what is done so far."
    def __init__(self, o):
        self.o, self.start, self.work, self.out = (
            o,
            time.monotonic(),
            Path(o.work) / o.preset,
            Path(o.out),
        )
        for d in (self.work, self.out):
            d.mkdir(parents=True, exist_ok=True)
        path = self.work / 'state.json'
        self.state = (
            json.loads(path.read_text())
            if path.exists()
            else dict(done=[], curve=[], log=[], seconds={}, minutes=0.0)
        )
        self.device = o.device or ('cuda' if torch.cuda.is_available() else 'cpu')
    def left(
        self, # minutes
    ):
        return (
            self.o.minutes - (time.monotonic() - self.start) / 60 if self.o.minutes else 1e9
        ) # minutes
    def check(self):
        if self.left() <= 0: raise TimeIsUp
    def keep(self): write_atomic(self.work/'state.json', json.dumps(self.state))
    def once(self, name, func): # a stage, if it is not done yet
        if name in self.state['done']: return
        self.check(); say(name); start = time.monotonic()
        func()
        self.state['seconds'][name] = self.state['seconds'].get(name, 0) + time.monotonic() - start
        self.state['done'].append(name); self.keep()

def texts_of(job, split): # of the corpus in use
    texts = load_corpus(job.o.data, split)
    return texts[:1000] if job.o.quick else texts

def preset_of(job): # the preset in use, its corpus the file
    p = replace(
        PRESETS[job.o.preset],
        corpus=job.o.data,
        precision=job.o.precision or ('bf16' if job.device == 'cuda' else 'no'),
    )
    if job.o.quick:
        p = small(p)
    return replace(
        p, **{k: v for k, v in dict(steps=job.o.steps, batch_size=job.o.batch_size).items() if v}
    )

def train(job): # the diffusion model, with its bound against minutes
    p, folder, s = preset_of(job), job.work / 'model', job.state
    torch.manual_seed(job.o.seed)
    model, batch_at = make_packed(p, texts_of(job, 'train'), job.o.seed, job.device)
    if job.o.compile:
        model.net.compile(dynamic=getattr(model, 'mask_pads', True))
    valid = [e.words for e in texts_of(job, 'valid')]
    twin, clock = DiffusionLM(**model._hub_mixin_config).to(job.device).eval(), [
        time.monotonic(),
        s['minutes'],
    ]
    gpu, few = job.device == 'cuda', job.o.quick
    every = max(1, p.steps // (2 if few else 20 if gpu else 8))
    likely = partial(
        likelihood,
        draws=4 if few else 32 if gpu else 8,
        limit=8 if few else min(job.o.valid or (256 if gpu else 64), len(valid)),
        seed=1,
    ) # a CPU measures more coarsely; each point has its standard error
    if every > 50:
        every -= every % 50

    def watch(step, ema):
        if step % every and step != p.steps or any(c['step'] == step for c in s['curve']):
            return
        minutes = s['minutes'] = (
            clock[1] + (time.monotonic() - clock[0]) / 60
        ) # of training, not of measuring
        twin.load_state_dict(ema)
        s['curve'].append(dict(step=step, minutes=minutes) | likely(twin, valid))
        say(
            f'step {step}: {s["curve"][-1]["nats_per_block_token"]:.3f} nats a block token after'
            f' {minutes:.1f} minutes'
        )
        job.keep()
        clock[:] = [time.monotonic(), minutes]

    s['log'] = fit(
        model,
        batch_at,
        p,
        folder,
        max(0.01, job.left()) if job.o.minutes else None,
        resume=True,
        device=job.device,
        log_every=min(50, every),
        watch=watch,
    )
    s['minutes'] = clock[1] + (time.monotonic() - clock[0]) / 60
    job.keep()
    if not s['log'] or s['log'][-1]['step'] < p.steps:
        raise TimeIsUp
    save_model(model.cpu(), folder)

def classifier(job, name, kind, **model): # one for the new model: 'semantic' or 'syntax'
    p = replace(
        PRESETS[kind],
        corpus=job.o.data,
        model=PRESETS[kind].model | dict(lm=str(job.work / 'model')) | model,
    )
    if job.o.quick:
        p = small(p)
    torch.manual_seed(job.o.seed)
    clf, batch_at = KINDS[p.kind](p, texts_of(job, 'train'), job.o.seed)
    log = fit(
        clf,
        batch_at,
        p,
        job.work / name,
        max(0.01, job.left()) if job.o.minutes else None,
        resume=True,
        device=job.device,
    )
    if not log or log[-1]['step'] < p.steps:
        raise TimeIsUp
    save_model(clf.cpu(), job.work / name)

def sample(job, task, method): # one task of the protocol
    o, lm = job.o, DiffusionLM.from_pretrained(job.work / 'model').to(job.device).eval()
    if o.compile:
        lm.net.compile(
            dynamic=False
        ) # batches have one shape; what is left of Python are some dozen launches a step
    folders = dict(semantic=job.work / 'semantic', syntax=job.work / 'syntax')
    targets, n = (2, 2) if o.quick else (200, 50)
    wanted = (
        [
            (t, target_control(task, t))
            for t in (['food', ':', 'French'], ['area', ':', 'riverside'])
        ]
        if o.quick and task == 'semantic'
        else None
    )
    name = f'{task.replace("+", "-")}-{method}.jsonl'
    write_task(
        lm,
        task,
        job.work / name,
        method=method,
        targets=targets,
        n=n,
        steps=4 if o.quick else o.sampling_steps or (200 if lm.recipe == 'paper' else 50),
        seed=o.seed,
        model=o.preset,
        classifiers={k: f for k, f in folders.items() if f.exists()},
        check=job.check,
        wanted=wanted,
        **(dict(solver='ancestral', clamp=True) if lm.recipe == 'paper' else {}),
    )

def benchmark(job): # of the shipped model, so that the figure is the same everywhere
    found = io.StringIO()
    args = (
        ['--json', '--device', job.device]
        + (['--quick', '--parts', 'train'] if job.o.quick else ['--ablation', '--reference'])
        + (['--compiled'] if job.o.compile else [])
    )
    with redirect_stdout(found):
        code = dlm_bench(args)
    if code:
        raise SystemExit(code)
    write_atomic(job.work / 'bench.json', found.getvalue())

def deliver(job): # what is done so far, into OUT
    o, work, out = job.o, job.work, job.out
    rows = sorted(work.glob('*.jsonl'))
    with io.BytesIO() as b:
        with gzip.GzipFile(fileobj=b, mode='wb', mtime=0) as f:
            for p in rows:
                f.write(p.read_bytes())
        if rows:
            write_atomic(out / 'rows.jsonl.gz', b.getvalue())
    hardware = torch.cuda.get_device_name(0) if job.device == 'cuda' else device_name('cpu')
    write_atomic(
        out / 'state.json',
        json.dumps(
            job.state
            | dict(
                preset=o.preset,
                hardware=hardware,
                torch=torch.__version__,
                precision=preset_of(job).precision,
                command='python scripts/gpu.py ' + ' '.join(sys.argv[1:]),
            ),
            indent=1,
        ),
    )
    if (work / 'bench.json').exists():
        shutil.copyfile(work / 'bench.json', out / 'bench.json')
    for name in ('model', 'semantic', 'syntax'):
        if f'{name}' not in job.state['done'] or (out / f'{name}.tar').exists():
            continue
        folder = work / f'{name}-half'
        m = dict(model=DiffusionLM, semantic=NoisyClassifier, syntax=SyntaxClassifier)[
            name
        ].from_pretrained(work / name)
        m.save_pretrained(folder, half=True)
        if sum(p.stat().st_size for p in folder.iterdir()) > 15.5 * 2**20:
            say(
                f'{name} is too large to take home'
                f' ({sum(p.stat().st_size for p in folder.iterdir()) / 2 ** 20:.0f} MB); its texts'
                ' are not'
            )
            continue
        with io.BytesIO() as b:
            with tarfile.open(fileobj=b, mode='w') as t:
                for p in sorted(folder.iterdir()):
                    t.add(p, f'{o.preset if name == "model" else f"{o.preset}-{name}"}/{p.name}')
            write_atomic(out / f'{name}.tar', b.getvalue())
    files = [p for p in out.iterdir() if p.is_file()]
    say(
        'in OUT: '
        + ', '.join(f'{p.name} {p.stat().st_size / 2 ** 20:.1f} MB' for p in sorted(files))
    )

def everything(o):
    job = Job(o)
    try:
        job.once('model', lambda: train(job))
        if o.what == 'train':
            return say('the model is trained')
        paper, control = PRESETS[o.preset].model.get('recipe') == 'paper', not o.preset.startswith(
            'roc'
        ) # stories have neither meanings nor targets
        if control:
            job.once(
                'semantic',
                lambda: classifier(
                    job, 'semantic', 'grammar-semantic' if o.quick else 'e2e-semantic'
                ),
            )
            job.once(
                'syntax',
                lambda: classifier(job, 'syntax', 'grammar-syntax' if o.quick else 'e2e-syntax'),
            )
        tasks = o.tasks.split(',') if o.tasks else PROTOCOL if control else ['free']
        jobs = [
            (t, 'diffusion-classifier' if paper and t not in ('free', 'length') else 'diffusion')
            for t in tasks
        ] # the paper's recipe has no token marginals to condition
        if 'semantic' in tasks and not paper:
            jobs.append(('semantic', 'diffusion-classifier'))
        for task, method in jobs:
            job.once(f'{task} {method}', lambda: sample(job, task, method))
        job.once('bench', lambda: benchmark(job))
        say('all is done')
    except TimeIsUp:
        say('the time is up; the same line goes on')
    except KeyboardInterrupt:
        say('stopped; the same line goes on')
        sys.exit(130)
    finally:
        deliver(job)

TABLES = Path(__file__).parents[1]/'results'

def keep(
    table,
    rows,
    *same, # file; rows that agree with a new one in all of `same` are an older measurement and go
):
    new = [[r[k] for k in same] for r in rows]
    old = [
        r
        for r in (json.loads(table.read_text()) if table.exists() else [])
        if [r[k] for k in same] not in new
    ]
    if rows:
        write_atomic(table, json.dumps(old + rows, ensure_ascii=False, indent=1) + '\n')
        say(f'{len(rows)} of {len(old + rows)} rows in {table} are new')

def keep_job(report, table): # of a job of nine minutes; results/gpu_jobs.json
    "The report without texts, behind those that are there."
    found = report['results']
    shown = {'curve', 'bound', 'speed', 'train', 'texts', 'graph'}
    shown |= {k for k, v in found.items() if k.endswith(' curve') or isinstance(v, dict) and 'valid' in v}
    row = {k: report[k] for k in ('job', 'device', 'torch', 'seconds', 'parts', 'command')} | dict(
        results={k: v for k, v in found.items() if k in shown},
        samples={k: v['seconds'] for k, v in found.items()
                 if k not in shown and isinstance(v, dict) and {'texts', 'seconds'} <= {*v}})
    keep(table, [row], *row)

def keep_report(path): # a row of results/gpu_jobs.json, or of results/bench.json: one a device
    from measure import commit

    b = json.loads(Path(path).read_text())
    if b.get('tiny') or b.get('quick'):
        raise BadInput(f'{path} was made with tiny sizes; its figures mean nothing')
    if 'job' in b: return keep_job(b, TABLES / 'gpu_jobs.json')
    keep(
        TABLES / 'bench.json',
        [b | dict(commit=commit(), command='dlm-bench --json --ablation --reference')],
        'device',
    )

def judge(o): # at home: the texts of OUT judged by the shipped judges, into results/gpu.json
    from measure import commit
    from diffusion_lm_nb.metrics import evaluate_rows

    state = json.loads((Path(o.out) / 'state.json').read_text())
    piles, packed, made = (
        {},
        Path(o.out) / 'rows.jsonl.gz',
        dict(hardware=state['hardware'], commit=commit(), command=state['command']),
    )
    for line in (
        gzip.decompress(packed.read_bytes()).decode('utf8').splitlines() if packed.exists() else []
    ):
        row = json.loads(line)
        piles.setdefault((row['task'], row['method']), []).append(row)
    new = [
        evaluate_rows(rows) | dict(n_samples=len(rows[0]['texts']), steps=rows[0]['steps'], **made)
        for rows in piles.values()
    ]
    keep(TABLES / 'gpu.json', new, 'model')
    keep(
        TABLES / 'curves.json',
        [
            dict(
                model=state['preset'],
                precision=state['precision'],
                curve=state['curve'],
                minutes=state['minutes'],
                **made
            )
        ],
        'model',
        'hardware',
    )
    if (Path(o.out) / 'bench.json').exists() and not json.loads(
        (Path(o.out) / 'bench.json').read_text()
    )['quick']:
        keep_report(Path(o.out) / 'bench.json')

def connect(o): # torchrun's processes -> (name of this process's device, am I the first)
    import torch.distributed as dist
    gpu = (o.device or ('cuda' if torch.cuda.is_available() else 'cpu')) == 'cuda'
    if gpu: torch.cuda.set_device(int(os.environ['LOCAL_RANK']))
    if not dist.is_initialized(): dist.init_process_group('nccl' if gpu else 'gloo')
    return f'cuda:{os.environ["LOCAL_RANK"]}' if gpu else 'cpu', dist.get_rank() == 0

def sharded(o): # FSDP: weights of the mean, in --out
    device, first = connect(o)
    p = replace(PRESETS[o.preset], corpus=o.data or PRESETS[o.preset].corpus)
    p = replace(
        small(p) if o.quick else p,
        **{
            k: v
            for k, v in dict(steps=o.steps, batch_size=o.batch_size, precision=o.precision).items()
            if v
        },
    )
    torch.manual_seed(o.seed)
    lm, batch_at = make_packed(p, load_corpus(p.corpus, 'train'), o.seed, device)
    config, start = lm._hub_mixin_config, time.time()
    weights = fit_sharded(lm, batch_at, p, device)
    if first:
        whole = DiffusionLM(**config)
        whole.load_state_dict(weights, strict=False)
        save_model(whole, o.out)
        say(
            f'{p.steps} steps in {time.time() - start:.0f} s with {os.environ["WORLD_SIZE"]}'
            f' processes; weights in {o.out}'
        )
    torch.distributed.destroy_process_group()

def released_classifier(
    # of field-value pairs, as large as the shipped model: what the released guidance asks for; for
    # dlm-bench --classifier
    o,
):
    p = replace(
        PRESETS['e2e-semantic'],
        corpus=o.data or 'e2e',
        model=dict(lm='e2e', width=256, layers=6, heads=4, dropout=0.0),
        lr=1e-3,
        **{
            k: v
            for k, v in dict(steps=o.steps, batch_size=o.batch_size, precision=o.precision).items()
            if v
        }
    )
    torch.manual_seed(o.seed)
    clf, batch_at = KINDS[p.kind](p, load_corpus(p.corpus, 'train'), o.seed)
    log = fit(clf, batch_at, p, o.out, o.minutes, resume=True, device=o.device)
    if log and log[-1]['step'] == p.steps:
        save_model(clf.cpu(), o.out)
    else:
        say('the time is up; the same line goes on')

def speed(o): # words a second of `fit`, alone or under torchrun: data-parallel training
    base = DiffusionLM.from_pretrained('grammar' if o.quick else 'e2e')
    p = replace(
        PRESETS['e2e'],
        steps=o.steps or (4 if o.quick else 40),
        batch_size=o.batch_size or 64,
        precision=o.precision or 'no',
    )
    torch.manual_seed(o.seed)
    lm, lists, times = (
        sized(base, read_size(o.size)),
        Batches(random_texts(base, 64 * p.batch_size), base.vocab.pad, p.batch_size, o.seed),
        [],
    )
    at = lambda step: (*lists(step)[:2], keyed_generator(o.seed, step))
    fit(
        lm,
        at,
        p,
        device=o.device,
        quiet=True,
        log_every=p.steps // 2,
        watch=lambda *_: times.append(time.perf_counter()),
    )
    words = sum(int(at(step)[1].sum()) for step in range(p.steps // 2, p.steps // 2 * 2))
    if os.environ.get('RANK', '0') == '0':
        row = dict(
            processes=int(os.environ.get('WORLD_SIZE', 1)),
            threads=torch.get_num_threads(),
            size=o.size,
            batch_size=p.batch_size,
            words_per_second=words / (times[1] - times[0]),
        )
        print(json.dumps(row))
        if o.folder:
            from measure import commit, hardware

            keep(
                Path(o.folder),
                [
                    row
                    | dict(
                        hardware=hardware(),
                        commit=commit(),
                        command='scripts/gpu.py ' + ' '.join(sys.argv[1:]),
                    )
                ],
                *row.keys() - {'words_per_second'}
            )
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()

def growing(o): # one row a setting, and the fit
    out = growth(o.device or ('cuda' if torch.cuda.is_available() else 'cpu'), quick=o.quick)
    Path(o.out).mkdir(parents=True, exist_ok=True)
    write_atomic(
        Path(o.out) / 'growth.json',
        json.dumps(out | dict(command='python scripts/gpu.py ' + ' '.join(sys.argv[1:])), indent=1)
        + '\n',
    )
    say(
        f'a step takes {1000 * out["fit"]["constant"]:.1f} ms and the operations at'
        f' {out["fit"]["rate"] / 1e12:.2f} TFLOP/s, {out["fit"]["of_peak"]:.0%} of the peak; off by'
        f' {out["fit"]["error"]:.0%} in the middle'
    )

def main(argv=None):
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument(
        'what',
        choices=['smoke', 'e2e', 'protocol', 'roc', 'paper', 'rivals', 'sweep', 'ablate', 'all',
                 'train', 'judge', 'keep', 'classifier', 'sharded', 'speed', 'growth'],
    )
    p.add_argument(
        'folder',
        nargs='?',
        help=(
            'for judge: the folder that was brought home; for keep: the file; for speed: the file'
            ' to put the row into'
        ),
    )
    p.add_argument('--preset', default='e2e', help='e2e, e2e-paper, roc')
    p.add_argument('--data', help='corpus that dlm-pack wrote')
    p.add_argument('--out', default='gpu-out')
    p.add_argument('--work', default='runs/gpu')
    p.add_argument('--device')
    p.add_argument('--minutes', type=float, help='stop after so long; the same line goes on')
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--steps', type=int)
    p.add_argument('--size', default='6x192', help='for speed: LAYERSxWIDTH')
    p.add_argument('--batch-size', type=int)
    p.add_argument('--precision', choices=['bf16', 'no'])
    p.add_argument(
        '--valid', type=int, help='texts that the bound is measured on; 256, on a CPU 64'
    )
    p.add_argument('--sampling-steps', type=int)
    p.add_argument('--tasks', help='joined by commas; all by default')
    p.add_argument('--compile', action='store_true')
    p.add_argument('--quick', action='store_true', help='tiny sizes, to see that it works')
    p.add_argument('--seconds', type=float, help='limit of a job: 560, smoke 60')
    p.add_argument('--until', type=float, help='the same as a time of the clock, for a share')
    p.add_argument('--targets', help="folder of the authors' targets, for protocol")
    p.add_argument('--items', help='aNLG file, for roc')
    p.add_argument('--model', help='for protocol: folder in place of the shipped model')
    p.add_argument('--only', help='smoke: parts whose names hold one of these; rivals: these')
    p.add_argument('--share', help='of protocol and rivals, for a process: this share alone')
    p.add_argument('--rounds', help='protocol: texts a target of each round, 10,40; 0: none')
    p.add_argument('--loop', choices=['graph', 'eager'], help='e2e: by default what smoke found')
    p.add_argument('--start', help='e2e: a model to go on from')
    p.add_argument('--train-seconds', type=float, help='e2e: 330')
    p.add_argument('--tiny', action='store_true', help='a job in seconds on a CPU')
    o = p.parse_args(argv)
    if o.what in ('smoke', 'e2e', 'protocol', 'roc', 'paper', 'rivals', 'sweep', 'ablate'):
        import gpu_jobs
        try: return gpu_jobs.run(o)
        except BadInput as e:
            print(f'gpu.py: {e}', file=sys.stderr)
            return 2
    if o.folder:
        o.out = o.folder
    if o.what in ('all', 'train') and not o.data and not o.quick:
        p.error('--data names the corpus that dlm-pack wrote')
    if o.quick and not o.data:
        o.data, o.preset = 'grammar', 'grammar'
    try:
        dict(
            all=everything,
            train=everything,
            judge=judge,
            keep=lambda o: keep_report(o.out),
            classifier=released_classifier,
            sharded=sharded,
            speed=speed,
            growth=growing,
        )[o.what](o)
    except BadInput as e:
        print(f'gpu.py: {e}', file=sys.stderr)
        return 2

if __name__ == '__main__': sys.exit(main())

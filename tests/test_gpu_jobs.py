"The jobs of scripts/gpu.py, each run to its end on a CPU with tiny sizes."
import json, os, runpy, subprocess, sys
from pathlib import Path
from types import SimpleNamespace
import pytest, torch
from fresh import fresh_script

repo = Path(__file__).parents[1]
JOBS = {'smoke': {'fit', 'semantic', 'spans', 'likelihood', 'save'},
        'e2e': {'train', 'weights', 'bound', 'free 50 ancestral', 'free 500 ancestral'},
        'protocol': {'free diffusion 0', 'pos diffusion 0', 'pos diffusion 1', 'length diffusion 1',
                     'authors pos diffusion 0'}, 'roc': {'train', 'bound', 'gaps', 'weights'},
        'paper': {'train', 'semantic classifier', 'syntax classifier', 'semantic'},
        'rivals': {'ar', 'ft-semantic'},
        'ablate': {'recipe, seed 0', 'the loss is the bound, seed 0',
                   'schedule learned while it trains, seed 0'},
        'sweep': {"pos diffusion {'size': 0.5, 'inner': 1, 'steps': 50}"}}

def job(name, out, *more): # -> the exit code, and the report
    env = os.environ | dict(OMP_NUM_THREADS='1')
    args = [name, '--tiny', '--device', 'cpu', '--out', out, '--work', out / 'work', *more]
    found = fresh_script(repo / 'scripts/gpu.py', args, os.getcwd(), env, timeout=300)
    done = SimpleNamespace(**dict(zip(('returncode', 'stdout', 'stderr'), found)))
    report = out / f'{name}.json'
    return done, json.loads(report.read_text()) if report.exists() else None

@pytest.mark.parametrize('name', JOBS)
def test_job_runs_to_its_end(name, tmp_path):
    more = ['--seconds', '20'] if name == 'smoke' else []    # too few for torch.compile
    if name == 'roc':
        (tmp_path / 'gaps.jsonl').write_text('{"left": "The Eagle is a", "right": "."}\n')
        more = ['--items', tmp_path / 'gaps.jsonl']
    if name == 'sweep':
        said = dict(target=dict(pos=['DET', 'NOUN']), sentence=['The', 'pub'])
        (tmp_path / 'asked.json').write_text(json.dumps(dict(pos=[said, said])))
        more = ['--targets', tmp_path / 'asked.json']
    if name == 'protocol':
        tags, words = ['START', 'PROPN', 'AUX', 'ADJ', 'END'], ['START', 'Zizzi', 'is', 'cheap', 'END']
        lines = [dict(pos=tags, words_=words), dict(pos=['START', 'NOTAG', 'END'], words_=words)]
        (tmp_path / 'pos.jsonl').write_text(''.join(json.dumps(r) + '\n' for r in lines))
        more = ['--targets', tmp_path]
    done, report = job(name, tmp_path, *more)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    clean = {k for k, v in report['parts'].items() if set(v) == {'seconds'}}
    assert clean >= JOBS[name], report['parts']
    home = [p for p in tmp_path.iterdir() if p.is_file()]
    assert len(home) <= 10 and all(p.stat().st_size < 16 * 2 ** 20 for p in home)
    if name in ('e2e', 'protocol', 'roc', 'paper', 'sweep'):
        assert (tmp_path / f'{name}-rows.jsonl.gz').stat().st_size > 100

def test_rows_of_a_gpu_take_the_place_of_others(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(repo / 'scripts'))
    import ablate
    monkeypatch.setattr(ablate, 'TABLE', tmp_path / 'ablation.json')
    monkeypatch.setattr(ablate, 'commit', lambda: 'abc')
    ablate.put([dict(change='recipe', seed=0, hardware='cpu')])
    rows = {'recipe, seed 0': dict(change='recipe', seed=0, valid=1.),
            'EMA .999, seed 1': dict(change='EMA .999', seed=1, valid=2.)}
    report = dict(job='ablate', tiny=False, device='H200', command='gpu', results=rows)
    for _ in range(2): ablate.keep(report)
    kept = json.loads(ablate.TABLE.read_text())
    assert [(r['change'], r['hardware'], r['commit']) for r in kept] == [
        ('recipe', 'H200', 'abc'), ('EMA .999', 'H200', 'abc')]
    with pytest.raises(SystemExit, match='tiny'): ablate.keep(report | dict(tiny=True))
    assert json.loads(ablate.TABLE.read_text()) == kept

def test_a_job_without_time_says_what_it_left_out(tmp_path):
    done, report = job('protocol', tmp_path, '--seconds', '6')
    want = {f'{t} diffusion {r}' for t in ('free', 'length', 'pos') for r in (0, 1)}
    assert done.returncode == 0 and set(report['parts']) == want
    assert all('skipped' in v for v in report['parts'].values())

def test_a_part_that_fails_is_named_and_the_rest_goes_on(tmp_path):
    done, report = job('roc', tmp_path, '--items', tmp_path / 'none.jsonl')
    assert done.returncode == 1 and 'failed: gaps' in done.stdout
    assert 'failed' in report['parts']['gaps'] and set(report['parts']['weights']) == {'seconds'}

def test_the_first_estimate_is_from_a_latent_of_its_time(monkeypatch):
    "x_s given x_t has the mean and the variance of q(x_s | w); half of the rows are not moved."
    monkeypatch.syspath_prepend(str(repo / 'scripts'))
    from diffusion_lm_nb.denoiser import DiffusionLM
    import gpu_jobs
    lm, seen = DiffusionLM.from_pretrained('grammar'), []
    monkeypatch.setattr(lm, 'predict', lambda x, s, m: (None, seen.append((x, s))))
    gen, rows = torch.Generator().manual_seed(0), 4000
    t = torch.full((rows, 3), .5)
    t[:, 1], t[:, 2] = 0., 1.                              # a word that is given, and pure noise
    x0 = lm.emb(torch.full((rows, 3), 7))
    xt = gpu_jobs.q_sample(x0, t, lm.schedule, torch.randn(x0.shape, generator=gen))
    gpu_jobs.first_estimate(lm, xt, t, None, gen)
    (x, s), = seen
    assert torch.equal(s[:, 1:], t[:, 1:]) and torch.equal(x[:, 1:], xt[:, 1:])
    moved = s[:, 0] > t[:, 0]
    assert .45 < moved.float().mean() < .55 and s[:, 0].max() <= .5 + gpu_jobs.LATER
    assert torch.allclose(x[~moved, 0], xt[~moved, 0], atol=1e-6) # some x stay as they are
    a, σ = lm.schedule.coefs(s)
    z = ((x - a * x0) / σ)[moved, 0]
    assert z.mean().abs() < .02 and abs(z.var() - 1) < .03
    apart = ((xt - lm.schedule.coefs(t)[0] * x0) / lm.schedule.coefs(t)[1])[moved, 0]
    assert 0 < 1 - (z * apart).mean() < .5                 # new noise, beside the old

def test_a_report_becomes_a_row(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(repo / 'scripts')
    gpu = runpy.run_path(str(repo / 'scripts/gpu.py'), run_name='gpu')
    done, report = job('smoke', tmp_path, '--only', 'graph,sample')
    assert '--only' in report['command'] and {*report['parts']} == {'graph', 'sample'}
    for _ in range(2): gpu['keep_job'](report, tmp_path / 'rows.json') # once is enough
    row, = json.loads((tmp_path / 'rows.json').read_text())
    assert row['samples'].keys() == {'sample'} and row['results'].keys() == {'graph'}
    with pytest.raises(gpu['BadInput'], match='tiny'): gpu['keep_report'](tmp_path / 'smoke.json')

def test_batches_ahead_are_the_batches(monkeypatch):
    "Other processes make them; order, repeats and jumps change nothing."
    monkeypatch.syspath_prepend(str(repo / 'scripts'))
    import gpu_jobs
    from diffusion_lm_nb.loss import keyed_generator
    at = lambda step: (torch.rand(3, generator=keyed_generator(7, step)), step, torch.tensor([step]))
    ahead = gpu_jobs.Ahead(at, workers=2, ahead=3)
    for step in (0, 1, 2, 9, 10, 0, 1):
        assert all(torch.equal(a, b) for a, b in zip(ahead(step), (at(step)[0], at(step)[2]),
                                                     strict=True))

def test_the_best_weights_on_valid_are_kept(monkeypatch, tmp_path):
    "Not the last ones; and each tenth of the steps is in the curve."
    monkeypatch.syspath_prepend(str(repo / 'scripts'))
    import gpu_jobs
    class Told(torch.nn.Module):
        def __init__(self): super().__init__(); self.loss = torch.nn.Parameter(torch.zeros(()))
        def forward(self, x): return self.loss, {}
    here = SimpleNamespace(o=SimpleNamespace(tiny=True), report=dict(results={}), device='cpu',
                           save=lambda: None)
    curve = gpu_jobs.ValidCurve(here, SimpleNamespace(steps=100), lambda k: [torch.ones(2)], 'x')
    curve.twin = Told()
    for step in range(1, 101): curve(step, {'loss': torch.tensor(float(abs(step - 60)))})
    assert [c['step'] for c in here.report['results']['x curve']] == [*range(10, 101, 10)]
    assert curve.best == 0 and float(curve.state['loss']) == 0

def test_a_share_that_is_cut_off_is_named(monkeypatch, tmp_path):
    "What it had written comes along all the same."
    monkeypatch.syspath_prepend(str(repo / 'scripts'))
    import gpu_jobs
    for name in 'ab': (tmp_path / f'share-{name}').mkdir()
    def begun(args, **_):
        out = Path(args[args.index('--out') + 1])
        if out.name == 'share-a':
            (out / 'protocol.json').write_text('{"parts": {"one": {}}, "results": {"one": 3}}')
        (out / 'protocol-rows.jsonl.gz').write_bytes(out.name.encode())
        return subprocess.Popen(['sleep', '30'], start_new_session=True)
    monkeypatch.setattr(gpu_jobs, 'subprocess', SimpleNamespace(Popen=begun))
    names = 'data', 'targets', 'model', 'device', 'rounds'
    o = SimpleNamespace(what='protocol', tiny=True, seed=0, **dict.fromkeys(names))
    left = iter([3, 3, 3, 0])
    job = SimpleNamespace(o=o, work=tmp_path, out=tmp_path, left=lambda: next(left),
                          report=dict(parts={}, results={}))
    gpu_jobs.in_shares(job, ['a', 'b'])
    assert job.report['results'] == {'one': 3} and job.report['parts']['one'] == {}
    assert 'failed' in job.report['parts']['b']
    assert (tmp_path / 'protocol-rows.jsonl.gz').read_bytes() == b'share-ashare-b'

def test_the_ratio_of_all_targets(monkeypatch):
    "A target is drawn with its sentence; None is a text that does not fit."
    monkeypatch.syspath_prepend(str(repo / 'scripts'))
    import math, protocol
    own = {1: 1.5, 2: 2.5}                                   # nats a token of a text of so many words
    teacher = SimpleNamespace(
        nats=lambda texts: [own.get(len(t)) and own[len(t)] * (len(t) + 1) for t in texts])
    monkeypatch.setattr(protocol, 'make_judge', lambda: SimpleNamespace(teacher=teacher))
    short, long, none = ['a'], ['a', 'b'], ['a', 'b', 'c']
    texts, people = [[short, none], [long]] * 20, [short, long] * 20
    same = protocol.ratio(texts, people)                     # each text costs what its sentence costs
    assert same['lm_ratio'] == pytest.approx(1) and same['lm_interval'] == pytest.approx([1, 1])
    other = protocol.ratio(texts, [short] * 7)               # sentences of nobody's target
    nats, tokens = 2 * 1.5 + 3 * 2.5, 2 + 3
    assert other['lm_ratio'] == pytest.approx(math.exp(nats / tokens - 1.5))
    low, high = other['lm_interval']
    assert 1 < low < other['lm_ratio'] < high < math.e

@pytest.mark.parametrize('args, says', [
    (('protocol', '--rounds', '1,x'), 'whole numbers'), (('rivals', '--only', 'ar,none'), "'none'"),
])
def test_a_job_refuses_what_it_cannot_do(args, says, tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(repo / 'scripts'))
    gpu = runpy.run_path(str(repo / 'scripts/gpu.py'), run_name='gpu')
    assert gpu['main']([*args, '--out', str(tmp_path / 'o'), '--work', str(tmp_path / 'w')]) == 2
    err = capsys.readouterr().err
    assert says in err and err.count('\n') == 1 and not [*tmp_path.iterdir()]

"Scale: the counted and the measured, the released recipe beside ours, several processes, kills, the script for a GPU."
import gzip, json, os, subprocess, sys
from dataclasses import replace
from pathlib import Path
import pytest, torch
from fresh import fresh
from diffusion_lm_nb import scale as S
from diffusion_lm_nb.files import read_rows
from diffusion_lm_nb.controls import SemanticContent
from diffusion_lm_nb.reproduction import guide_for
from diffusion_lm_nb.files import BadInput
from diffusion_lm_nb.corpora import load_corpus
from diffusion_lm_nb.data import Batches
from diffusion_lm_nb.denoiser import DiffusionLM
from diffusion_lm_nb.guidance import ClassifierGuidance
from diffusion_lm_nb.classifiers import NoisyClassifier
from diffusion_lm_nb.scale import (
    LOOPS, Loop, PackedTexts, ReleasedGuide, make_packed, make_steps, matrix_peak, our_texts,
    pass_flops, random_texts, released_texts, sized, step_flops,
)
from diffusion_lm_nb.parallel import kept_bytes, merge_rows, write_task
from diffusion_lm_nb.commands import dlm_bench
from diffusion_lm_nb.loss import TINY, keyed_generator
from diffusion_lm_nb.training import fit
from diffusion_lm_nb.commands import KINDS, PRESETS

repo = Path(__file__).parents[1]
P = replace(
    PRESETS['grammar'],
    model=TINY | dict(width=32, layers=1, dropout=0.0),
    batch_size=8,
    steps=6,
    warmup=3,
)
KILLS = int(os.environ.get('DLM_KILLS', 3))          # DLM_KILLS=10 for the full count

def go(*args, ok=0, timeout=300, **env): # a Python process -> (stdout, stderr)
    r = subprocess.run(
        [sys.executable, *map(str, args)],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=repo,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(repo), **env},
    )
    assert r.returncode == ok, f'{args}: exit {r.returncode}\n{r.stdout[-2000:]}{r.stderr[-3000:]}'
    return r.stdout, r.stderr

@pytest.fixture(scope='module')
def grammar(): return DiffusionLM.from_pretrained('grammar')

# -- counting

@pytest.mark.parametrize('paper', [False, True])
@pytest.mark.parametrize(
    'layers, width, rows, length', [(1, 32, 3, 8), (3, 64, 2, 24), (2, 128, 1, 64)]
)
def test_operations_are_counted_right(grammar, paper, layers, width, rows, length):
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    lm = sized(grammar, (layers, width), paper).eval()
    x, t = torch.randn(rows, length, lm.dim), (
        torch.rand(rows) if paper else torch.rand(rows, length)
    )
    with FlopCounterMode(display=False) as c, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        lm.predict(x, t)
    assert c.get_total_flops() == pass_flops(lm, rows, length)
    lm.train()
    for seed in range(8): # both sides of the coin, if there is one
        with FlopCounterMode(display=False) as c, sdpa_kernel(SDPBackend.MATH):
            lm(
                torch.randint(4, 50, (rows, length)),
                torch.ones(rows, length, dtype=torch.bool),
                keyed_generator(seed),
            )[0].backward()
        assert abs(c.get_total_flops() / step_flops(lm, rows, length) - 1) < 0.2

def test_kept_bytes_are_proportional_to_the_batch(grammar):
    lm = sized(grammar, (2, 64)).train()
    one, four = kept_bytes(lm, 4, 24), kept_bytes(lm, 16, 24)
    assert abs(four / one - 4) < .1 and kept_bytes(lm, 16, 24, bf16=True) < four

def test_peak_is_a_rate(): assert 1e8 < matrix_peak(n=256, seconds=.05) < 1e14

# -- the same training, made otherwise

@pytest.mark.parametrize('length', [None, 40])
def test_packed_texts_are_the_batches(grammar, length):
    texts = [t for t in random_texts(grammar, 150) if len(t) <= 40]
    lists = Batches(texts, grammar.vocab.pad, 16, 3, length)
    packed = PackedTexts(lists, 'cpu')
    for step in [0, 1, lists.per_epoch, 2 * lists.per_epoch + 1, 0]:
        ids, mask, rows = packed(step)
        a, b, c = lists(step)
        assert torch.equal(ids, a) and torch.equal(mask, b) and rows.tolist() == c

def test_fit_does_not_mind_the_packing():
    corpus = load_corpus('grammar')[:300]
    torch.manual_seed(0); a, lists = KINDS['diffusion'](P, corpus, 0)
    torch.manual_seed(0); b, packed = make_packed(P, corpus, 0, 'cpu')
    fit(a, lists, P, device='cpu', quiet=True); fit(b, packed, P, device='cpu', quiet=True)
    assert all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())
    with pytest.raises(BadInput, match='ar'): make_packed(PRESETS['grammar-ar'], corpus, 0, 'cpu')

def run_of(grammar, loop, steps=4, **kwargs):
    torch.manual_seed(0)
    run = make_steps(grammar, (1, 32), random_texts(grammar, 200), loop, 8, **kwargs)
    for _ in range(steps): run()
    return run

def test_what_is_only_made_otherwise_gives_the_same(grammar):
    runs = {
        k: run_of(grammar, l) for k, l in LOOPS.items() if k in ('+ words', '+ quiet', '+ packed')
    }
    for r in runs.values():
        assert all(
            torch.equal(v, r.lm.state_dict()[k]) for k, v in runs['+ words'].lm.state_dict().items()
        )
    fused = run_of(grammar, replace(LOOPS['+ packed'], fused=True))
    assert all(
        torch.allclose(v, fused.lm.state_dict()[k], atol=1e-5)
        for k, v in runs['+ packed'].lm.state_dict().items()
    )

def test_the_benchmark_trains_as_fit_does(grammar):
    run = run_of(grammar, LOOPS['+ packed'], 0)
    twin = sized(grammar, (1, 32))
    twin.load_state_dict(run.lm.state_dict())
    for _ in range(4):
        run()
    lists = Batches(random_texts(grammar, 200), grammar.vocab.pad, 8, 0)
    fit(
        twin,
        lambda step: (*lists(step)[:2], keyed_generator(0, step)),
        replace(PRESETS['e2e'], steps=4, precision='no'),
        device='cpu',
        quiet=True,
    )
    assert all(torch.equal(v, run.ema[k]) for k, v in twin.state_dict().items())

def test_released_loop_is_the_paper_recipe(grammar):
    run = run_of(grammar, Loop())
    assert (
        run.lm.recipe == 'paper'
        and run().shape == (8, 64)
        and run.opt.defaults['weight_decay'] == 0
        and not run.preset.clip
    )
    assert len(run.log) == 1 + sum(p.grad is not None for p in run.lm.parameters())

def test_every_loop_learns(grammar):
    for name, loop in LOOPS.items():
        if loop.graph or loop.compiled:
            continue
        run = run_of(grammar, loop, 0)
        start = {k: v.clone() for k, v in run.lm.state_dict().items()}
        for _ in range(2):
            run()
        assert any(not torch.equal(v, start[k]) for k, v in run.lm.state_dict().items()), name
    if not torch.cuda.is_available():
        with pytest.raises(BadInput, match='GPU'):
            run_of(grammar, LOOPS['+ graph'].__class__(words=True, graph=True), 0)

@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU here')
def test_a_graph_is_the_step(grammar):
    plain, graph = (
        run_of(
            grammar,
            Loop(words=True, quiet=True, packed=True, fused=True, graph=g),
            30,
            device='cuda',
        )
        for g in (False, True)
    )
    assert all(
        torch.allclose(v, graph.lm.state_dict()[k], atol=1e-4)
        for k, v in plain.lm.state_dict().items()
    )

# -- sampling

def wishes(grammar):
    return [
        SemanticContent(f, v).bind(grammar) for f, v in (('food', 'French'), ('area', 'riverside'))
    ]

@pytest.fixture(scope='module')
def clf(grammar):
    torch.manual_seed(0)
    return NoisyClassifier.for_model(
        grammar,
        [('food', 'French'), ('area', 'riverside')],
        width=32,
        layers=1,
        heads=2,
        dropout=0.0,
    )

def test_released_guidance_is_that_of_chapter_09(grammar, clf):
    x, m, v = (torch.randn(3, 10, grammar.dim, generator=keyed_generator(k)) for k in range(3))
    mask = torch.arange(10) < torch.tensor([10, 8, 5])[:, None]

    def moved(G, t):
        g = G(clf, stop=0.05)
        cs = [wishes(grammar)[k % 2] for k in range(3)]
        return g.refine(
            x,
            m,
            v.abs().mean((1, 2), keepdim=True),
            torch.tensor(t),
            mask,
            [cs[0], None, cs[2]],
        )

    for t in (0.9, 0.3, 0.01):
        assert torch.allclose(moved(ClassifierGuidance, t), moved(ReleasedGuide, t), atol=1e-5)
    assert torch.equal(moved(ReleasedGuide, 0.3)[1], x[1]) and torch.equal(
        moved(ReleasedGuide, 0.01), x
    )
    assert all(p.grad is not None for p in clf.head.parameters()) # not frozen, as released

def test_our_texts_are_those_of_sample(grammar):
    cs = wishes(grammar)
    assert our_texts(grammar, cs, 2, 3, batch_size=4) == [
        grammar.sample(2, cs[j], steps=3, first=2 * j, batch_size=4) for j in range(2)
    ]

def test_released_texts(grammar, clf):
    texts = released_texts(grammar, wishes(grammar), ReleasedGuide(clf), 2, steps=4)
    assert [len(t) for t in texts] == [2, 2] and all(t for ts in texts for t in ts)
    assert texts == released_texts(grammar, wishes(grammar), ReleasedGuide(clf), 2, steps=4)

# -- the command

def test_bench_prints_one_object(tmp_path):
    args = ['--quick', '--json', '--device', 'cpu', '--ablation', '--texts', tmp_path / 't.json']
    env = os.environ | dict(PYTHONPATH=str(repo))
    code, out, err = fresh('diffusion_lm_nb.commands', 'dlm_bench', args, repo, env, 300)
    assert code == 0, err
    r = json.loads(out)
    assert {'ours', 'faithful', 'ratio', 'of_peak'} <= set(r['train']) and {
        'ours',
        'faithful',
        'ratio',
        'success_ours',
        'success_faithful',
    } <= set(r['guided'])
    assert (
        r['train']['ours'] > 0
        and 0 < r['train']['of_peak'] < 1.5
        and r['guided']['ratio'] > 1
        and r['quick'] is True
    )
    assert (
        set(r['memory_mb']) == {'train_ours', 'train_faithful', 'guided_ours', 'guided_faithful'}
        and r['memory_mb']['train_faithful'] > 0
    )
    assert {'released', '+ words', '+ packed'} <= set(r['ablation']) and all(
        v['low'] <= v['median'] <= v['high'] for v in r['train']['spread']['ours'].values()
    )
    assert len(json.loads((tmp_path / 't.json').read_text())['ours']) == r['guided']['controls']

@pytest.mark.parametrize(
    'args, says',
    [
        (['--pairs', '3'], 'five'),
        (['--pairs', '0'], '--pairs'),
        (['--parts', 'speed'], 'speed'),
        (['--size', 'big'], 'LAYERS'),
        (['--size', '2x30'], '8 divides'),
        (['--model', 'nowhere'], 'nowhere'),
        (['--device', 'tpu'], 'tpu'),
        (['--seconds', '0'], '--seconds'),
        (['--solver', 'magic'], 'magic'),
        (['--model', 'grammar'], 'no classifier'),
        (['--classifier', 'nowhere', '--quick', '--parts', 'guided'], 'nowhere'),
    ],
)
def test_bench_refuses(args, says, capsys):
    assert dlm_bench(args) == 2
    out, err = capsys.readouterr()
    lines = [l for l in err.splitlines() if 'GFLOP' not in l]
    assert out == '' and len(lines) == 1 and says in lines[0]

# -- shards

def row(j, **more):
    return (
        dict(
            task='length',
            target=5,
            texts=[f'text {j}'],
            seconds=1.0,
            method='diffusion',
            model='m',
            number=j,
            seed=0,
            steps=2,
        )
        | more
    )
def rows_in(path, *rows): path.write_text(''.join(json.dumps(r) + '\n' for r in rows)); return path

def test_merge_rows(tmp_path):
    a, b = rows_in(tmp_path / 'a', row(2), row(0)), rows_in(
        tmp_path / 'b', row(1), row(0, seconds=7.0)
    )
    assert merge_rows([a, b], tmp_path / 'all', 3) == 3 and [
        r['number'] for r in read_rows(tmp_path / 'all')
    ] == [0, 1, 2]
    for parts, n, says in (
        ([a], None, 'row 1 is missing'),
        ([a, b], 5, 'row 3 and 1 more are missing'),
        ([a, b, tmp_path / 'c'], 3, 'no file'),
        ([a, rows_in(tmp_path / 'd', row(1, seed=3))], 3, 'seed is 3, not 0'),
        ([a, b, rows_in(tmp_path / 'e', row(0, texts=['other']))], 3, 'different texts'),
        (
            [rows_in(tmp_path / 'f', {k: v for k, v in row(0).items() if k != 'number'})],
            1,
            'without a number',
        ),
    ):
        with pytest.raises(BadInput, match=says):
            merge_rows(parts, tmp_path / 'none', n)
        assert not (tmp_path / 'none').exists()

def test_write_task_is_resumed(grammar, tmp_path):
    write = lambda name, **kw: write_task(
        grammar, 'length', tmp_path / name, targets=4, n=2, steps=2, model='grammar', **kw
    )
    write('whole')

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write('cut', block=2, check=stop)
    assert len(read_rows(tmp_path / 'cut')) == 1
    write('cut', block=4)
    assert [r['texts'] for r in read_rows(tmp_path / 'cut')] == [
        r['texts'] for r in read_rows(tmp_path / 'whole')
    ]

# -- killed at random moments; a process that has never computed a gradient forks the ones that are
# killed

KILLER = '''
import json, os, random, signal, sys, time
from dataclasses import replace
from pathlib import Path
import torch; torch.set_num_threads(1)
from diffusion_lm_nb.commands import PRESETS, dlm_control
from diffusion_lm_nb.checkpoints import save_model
from diffusion_lm_nb.grammar import Grammar
from diffusion_lm_nb.parallel import merge_rows
from diffusion_lm_nb.scale import make_packed
from diffusion_lm_nb.loss import TINY
from diffusion_lm_nb.training import fit
import accelerate
out, what, kills = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
P = replace(PRESETS['grammar'], model=TINY | dict(width=32, layers=1), batch_size=8, steps=250)
corpus = Grammar().sample(300)

def train(folder):
    torch.manual_seed(0)
    lm, at = make_packed(P, corpus, 0, 'cpu')
    log = fit(lm, at, P, folder, resume=True, device='cpu', quiet=True, save_every=.02, log_every=25)
    save_model(lm, folder); (folder/'log').write_text(json.dumps(log))

def write(folder, i=0, N=1):
    folder.mkdir(exist_ok=True)
    args = ['length', '--targets', str(out/'targets'), '--n', '16', '--steps', '5', '--model', sys.argv[4], '--device', 'cpu', '--batch-size', '16', '--out', str(folder/f'{i}of{N}'), '--shard', f'{i}/{N}']
    if code := dlm_control(args): os._exit(code)

def fork(f, *args): # -> process number
    if pid := os.fork(): return pid
    try: f(*args); os._exit(0)
    except BaseException as e: print(repr(e), file=sys.stderr, flush=True); os._exit(9)

def whole(f, *args):
    status = os.waitpid(fork(f, *args), 0)[1]
    assert status == 0, status

(out/'targets').write_text('\\n'.join(str(5 + k % 9) for k in range(24)) + '\\n')
jobs = dict(train=[(train, out/'killed')], write=[(write, out/'killed', i, 2) for i in (0, 1)])[what]
start = time.monotonic(); whole(jobs[0][0], out/'left alone'); lasts = time.monotonic() - start
done = 0
while done < kills:
    job = random.choice(jobs)
    pid = fork(*job)
    time.sleep(random.uniform(0, lasts * 1.2 / kills))
    if os.waitpid(pid, os.WNOHANG)[0]:                 # it was through before we came
        if what == 'train' or all((out/'killed'/f'{i}of2').exists() and (out/'killed'/f'{i}of2').read_bytes().count(b'\\n') == 12 for i in (0, 1)): break
        continue
    os.kill(pid, signal.SIGKILL); os.waitpid(pid, 0); done += 1
for job in jobs: whole(*job)
if what == 'write': merge_rows([out/'killed'/f'{i}of2' for i in (0, 1)], out/'killed'/'0of1', 24)
print(done)
'''

def killed(tmp_path, what, *more):
    (tmp_path/'killer.py').write_text(KILLER)
    done = int(go(tmp_path/'killer.py', tmp_path, what, KILLS, *more)[0].splitlines()[-1])
    assert done, 'it was never killed'
    print(f'{what}: killed {done} times')
    return tmp_path/'left alone', tmp_path/'killed'

@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork here')
def test_a_killed_training_run_ends_the_same(tmp_path):
    from safetensors.torch import load_file
    one, two = killed(tmp_path, 'train')
    a, b = (load_file(d/'model.safetensors') for d in (one, two))
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    assert (one/'log').read_text() == (two/'log').read_text()

@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork here')
def test_killed_shards_end_the_same(tmp_path, folder):
    one, two = killed(tmp_path, 'write', folder)
    a, b = (sorted(read_rows(d / '0of1'), key=lambda r: r['number']) for d in (one, two))
    assert len(a) == 24 and [(r['target'], r['texts']) for r in a] == [
        (r['target'], r['texts']) for r in b
    ]

# -- memory and tables

@pytest.mark.skipif(not Path('/proc/self/clear_refs').exists(), reason='only Linux forgets a peak')
def test_a_peak_before_the_work_is_forgotten():
    code = (
        "from diffusion_lm_nb.bench import *; held = bytearray(300 * 2 ** 20); del held; before ="
        " held_most(); forget_most(); print(before - held_most())"
    )
    out = subprocess.run(
        [sys.executable, '-c', code],
        capture_output=True,
        text=True,
        cwd=repo,
        env=os.environ | dict(PYTHONPATH=str(repo)),
    )
    assert float(out.stdout) > 200, out.stderr

def test_a_new_measurement_takes_the_place_of_the_old(tmp_path):
    import runpy

    keep, table = (
        runpy.run_path(str(repo / 'scripts/gpu.py'), run_name='gpu')['keep'],
        tmp_path / 't.json',
    )
    keep(
        table,
        [dict(model='a', hardware='x', v=1), dict(model='a', hardware='y', v=2)],
        'model',
        'hardware',
    )
    keep(table, [dict(model='a', hardware='y', v=3)], 'model', 'hardware')
    assert [r['v'] for r in json.loads(table.read_text())] == [1, 3]
    keep(table, [], 'model')
    assert len(json.loads(table.read_text())) == 2

# -- two processes

PROCESSES = '''
import os, sys
from dataclasses import replace
from pathlib import Path
import torch; torch.set_num_threads(1)
from safetensors.torch import save_file
from diffusion_lm_nb.controls import Length
from diffusion_lm_nb.commands import PRESETS
from diffusion_lm_nb.grammar import Grammar
from diffusion_lm_nb.denoiser import DiffusionLM
from diffusion_lm_nb.parallel import fit_sharded
from diffusion_lm_nb.scale import make_packed
from diffusion_lm_nb.loss import TINY
from diffusion_lm_nb.training import fit
out, r, R = Path(sys.argv[1]), int(os.environ.get('RANK', 0)), int(os.environ.get('WORLD_SIZE', 1))
P = replace(PRESETS['grammar'], model=TINY | dict(width=32, layers=2, dropout=0.), batch_size=8, steps=6, warmup=3)
def fresh(): torch.manual_seed(0); return make_packed(P, Grammar().sample(300), 0, 'cpu')
lm, at = fresh(); fit(lm, at, P, device='cpu', quiet=True)
if r == 0: save_file({k: v.contiguous() for k, v in lm.state_dict().items()}, out/f'shared{R}')
if R > 1:
    lm, at = fresh(); weights = fit_sharded(lm, at, P)
    if r == 0: save_file({k: v.contiguous() for k, v in weights.items()}, out/'sharded')
lm = DiffusionLM.from_pretrained(sys.argv[2])
texts = lm.sample_many([(k, Length(4 + k)) for k in range(r, 8, R)], steps=3, seed=1)
(out/f'texts{r}of{R}').write_text('\\n'.join(texts))
if R > 1: torch.distributed.destroy_process_group()
'''

def test_two_processes_are_one(tmp_path, folder):
    "Data-parallel and fully sharded training give the weights of one process; texts are the same."
    from safetensors.torch import load_file

    (tmp_path / 'p.py').write_text(PROCESSES)
    go(tmp_path / 'p.py', tmp_path, folder)
    go(
        '-m',
        'torch.distributed.run',
        '--standalone',
        '--nproc_per_node',
        2,
        tmp_path / 'p.py',
        tmp_path,
        folder,
    )
    one = load_file(tmp_path / 'shared1')
    for name in ('shared2', 'sharded'):
        other = load_file(tmp_path / name)
        assert other.keys() <= one.keys() and len(other) > 20
        assert all(torch.allclose(one[k], other[k], atol=1e-5) for k in other), name
    texts = [(tmp_path / f'texts{r}of2').read_text().splitlines() for r in (0, 1)]
    assert [t for pair in zip(*texts) for t in pair] == (
        tmp_path / 'texts0of1'
    ).read_text().splitlines()

# -- the script for a GPU

BARE = '''
import importlib.util, runpy, sys
absent, find = 'nltk sacrebleu rouge_score pycocoevalcap matplotlib datasets pandas scipy sklearn nbdev IPython'.split(), importlib.util.find_spec
class Bare:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in absent: raise ModuleNotFoundError(f'No module named {name!r}', name=name)
sys.meta_path.insert(0, Bare())
importlib.util.find_spec = lambda name, *a: sys.modules[name].__spec__ if name in sys.modules else None if name.split('.')[0] in absent else find(name, *a)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
'''

def test_gpu_script_goes_on_where_it_was(tmp_path):
    """Everything in small, on a machine with little more than torch; first with no time, then to
    the end.
    """
    (tmp_path / 'bare.py').write_text(BARE)
    args = [
        tmp_path / 'bare.py',
        repo / 'scripts/gpu.py',
        'all',
        '--quick',
        '--device',
        'cpu',
        '--out',
        tmp_path / 'out',
        '--work',
        tmp_path / 'work',
        '--tasks',
        'free,tree,semantic',
    ]
    _, err = go(*args, '--minutes', '.001')
    assert 'the time is up' in err
    _, err = go(*args)
    assert 'all is done' in err
    _, err = go(
        *args[:2], 'train', *args[3:]
    ) # the model is there already: nothing else is asked for
    assert 'the model is trained' in err
    files = list((tmp_path / 'out').iterdir())
    assert (
        {'state.json', 'rows.jsonl.gz', 'bench.json', 'model.tar'} <= {f.name for f in files}
        and len(files) <= 8
        and all(f.stat().st_size < 16 * 2**20 for f in files)
    )
    rows = [
        json.loads(l)
        for l in gzip.decompress((tmp_path / 'out/rows.jsonl.gz').read_bytes()).splitlines()
    ]
    assert {(r['task'], r['method']) for r in rows} == {
        ('free', 'diffusion'),
        ('tree', 'diffusion'),
        ('semantic', 'diffusion'),
        ('semantic', 'diffusion-classifier'),
    }
    state = json.loads((tmp_path / 'out/state.json').read_text())
    assert state['curve'] and state['curve'][-1]['step'] == 30 and 'bench' in state['done']

def test_the_stand_in_for_trees():
    from nltk import Tree
    import runpy

    stand_in = runpy.run_path(str(repo / 'scripts/gpu.py'), run_name='gpu')['Tree']
    text = '(S (NP (NP _ _) (PP _ (NP _))) (VP _ (ADJP _)) _)'
    a, b = Tree.fromstring(text), stand_in.fromstring(text)
    assert (
        a.leaves() == b.leaves()
        and [t.label() for t in a.subtrees()] == [t.label() for t in b.subtrees()]
        and len(a[0]) == len(b[0])
    )
    for wrong in ('(S', 'S)', '(S a) b', 'a'):
        with pytest.raises(ValueError):
            stand_in.fromstring(wrong)

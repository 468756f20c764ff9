"What the commands do with good input, bad input, a full disk and a kill."
import json, os, signal, subprocess, sys, time
from pathlib import Path
import pytest, torch
from fresh import fresh, fresh_script

def run(name, *args, ok=0, timeout=120, **env):
    "A command in a process of its own -> (stdout, stderr)."
    env = {**os.environ, 'OMP_NUM_THREADS': '1', **env}
    code, out, err = fresh('diffusion_lm_nb.commands', name, args, os.getcwd(), env, timeout)
    assert code == ok, f'{name} {args}: exit {code}, {out}{err}'
    return out, err

def refused(name, *args, says):
    "Bad input: exit code 2, one clear line, nothing on stdout."
    out, err = run(name, *args, ok=2)
    assert out == '' and len(err.strip().splitlines()) == 1 and says in err, err

def test_sample_prints_texts_and_nothing_else(folder):
    out, _ = run('dlm_sample', '--n', 3, '--steps', 4, '--model', folder)
    assert len(out.splitlines()) == 3
    a, _ = run('dlm_sample', '--n', 3, '--steps', 4, '--model', folder, '--shard', '1/3')
    assert a == out.splitlines()[1] + '\n'

@pytest.mark.parametrize(
    'args, says',
    [
        (['dlm_sample', '--n', '-1'], '--n'),
        (['dlm_sample', '--steps', '0'], '--steps'),
        (['dlm_sample', '--length', '99'], '99 words'),
        (['dlm_sample', '--solver', 'magic'], 'magic'),
        (['dlm_sample', '--frob', '3'], '--frob'),
        (['dlm_sample', '--shard', '4/4'], '4/4'),
        (['dlm_control', 'juggle', '--out', 'x.jsonl'], 'juggle'),
        (['dlm_control', 'semantic'], '--out'),
        (['dlm_control', 'semantic', '--out', 'x.jsonl', '--method', 'magic'], 'magic'),
    ],
)
def test_refused(folder, args, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(args[0], *args[1:], '--model', folder, says=says)
    assert not list(tmp_path.iterdir())

@pytest.mark.parametrize(
    'text, says',
    [
        (b'', 'empty'),
        (b'{"a', 'line 1'),
        (b'["colour", ":", "red"]\n', 'colour'),
        (b'["food", ":", "Klingon"]\n', 'Klingon'),
        (b'\xff\xfe\n', 'UTF-8'),
        (b'12\n', 'semantic'),
    ],
)
def test_broken_targets(folder, text, says, tmp_path):
    f, out = tmp_path / 't.jsonl', tmp_path / 'out.jsonl'
    f.write_bytes(text)
    refused('dlm_control', 'semantic', '--targets', f, '--out', out, '--model', folder, says=says)
    assert not out.exists()

def test_control_resumes_and_evaluates(folder, tmp_path):
    f, out = tmp_path / 't.jsonl', tmp_path / 'out.jsonl'
    f.write_text('5\n9\n12\n')
    args = (
        'dlm_control',
        'length',
        '--targets',
        f,
        '--n',
        4,
        '--steps',
        3,
        '--model',
        folder,
        '--out',
    )
    run(*args, out)
    whole = [json.loads(l) for l in out.read_text().splitlines()]
    cut = tmp_path / 'cut.jsonl'
    cut.write_text(out.read_text()[:-30]) # killed while writing the last row
    run(*args, cut)
    assert [json.loads(l)['texts'] for l in cut.read_text().splitlines()] == [
        r['texts'] for r in whole
    ]
    parts = [tmp_path / f'{i}.jsonl' for i in range(2)]
    for i in range(2):
        run(*args, parts[i], '--shard', f'{i}/2')
    merged = sorted(
        (json.loads(l) for p in parts for l in p.read_text().splitlines()),
        key=lambda r: r['number'],
    )
    assert [r['texts'] for r in merged] == [r['texts'] for r in whole]
    r = json.loads(run('dlm_evaluate', out, '--json')[0])
    assert r['success'] == 1 and r['texts'] == 12 and 0 < r['distinct4'] <= 1

def test_particles_are_a_method_of_their_own(folder, tmp_path):
    f, out = tmp_path / 't.jsonl', tmp_path / 'out.jsonl'
    f.write_text('5\n9')
    args = ('dlm_control', 'length', '--targets', f, '--model', folder, '--n', 2, '--steps', 2, '--out')
    run(*args, out, '--particles', 3)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert {r['method'] for r in rows} == {'diffusion, 3 particles'}
    assert [len(t.split()) for r in rows for t in r['texts']] == [5, 5, 9, 9]
    run(*args, tmp_path / 'one.jsonl')
    one = [json.loads(line) for line in (tmp_path / 'one.jsonl').read_text().splitlines()]
    assert {r['method'] for r in one} == {'diffusion'}
    assert [r['texts'] for r in one] != [r['texts'] for r in rows]
    refused(*args, out, says='method')
    refused(*args, tmp_path / 'x.jsonl', '--particles', 0, says='--particles')
    refused(*args, tmp_path / 'x.jsonl', '--particles', 2, '--method', 'fudge', says='for diffusion')

def test_the_authors_way_has_its_own_sampling(folder, tmp_path, monkeypatch):
    "Their solver, clamping and steps; a number of steps of one's own is refused."
    from diffusion_lm_nb import commands, reproduction
    from diffusion_lm_nb.controls import Length
    from diffusion_lm_nb.denoiser import DiffusionLM
    monkeypatch.setitem(reproduction.AUTHORS_SAMPLING, 'steps', 3)
    f, out = tmp_path / 't.jsonl', tmp_path / 'out.jsonl'
    f.write_text('5\n9')
    args = dict(targets=str(f), model=str(folder), n=2, method='diffusion-authors', out=str(out),
                device='cpu')
    commands.control_texts('length', **args)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert {(r['method'], r['steps']) for r in rows} == {('diffusion-authors', 3)}
    lm = DiffusionLM.from_pretrained(folder)
    wanted = [(j, Length((5, 5, 9, 9)[j])) for j in range(4)]
    same = lm.sample_many(wanted, steps=3, solver='ancestral', clamp=True)
    assert [t for r in rows for t in r['texts']] == same
    assert same != lm.sample_many(wanted, steps=3)
    with pytest.raises(commands.BadInput, match='200 steps'):
        commands.control_texts('length', **args, steps=50)

def test_rows_are_not_lost(folder, tmp_path):
    """What is judged is not touched; what is foreign, or was made with other settings, is not gone
    on with.
    """
    f, out = tmp_path / 't.jsonl', tmp_path / 'out.jsonl'
    f.write_text('5\n9')
    args = ('dlm_control', 'length', '--targets', f, '--model', folder, '--out')
    run(*args, out, '--n', 2, '--steps', 2)
    whole = out.read_bytes()
    for more, says in (
        (['--n', 3, '--steps', 2], 'texts'),
        (['--n', 2, '--steps', 3], 'steps'),
        (['--n', 2, '--steps', 2, '--seed', 1], 'seed'),
    ):
        refused(*args, out, *more, says=says)
    f.write_text('6\n9')
    refused(*args, out, '--n', 2, '--steps', 2, says='other targets')
    refused(*args, f, says='is read')
    refused(*args, tmp_path, says='folder')
    refused(*args, '/dev/full', says='not a file')
    out.write_bytes(whole[:-1])
    run('dlm_evaluate', out, '--json') # whole, but for its last line end
    assert out.read_bytes() == whole[:-1] and f.read_text() == '6\n9'
    for text in (
        'one line without an end',
        '[1]',
        '{"task": 5}\n',
        '{"task": "length", "texts": [1], "method": "m", "model": "x"}\n',
    ):
        (tmp_path / 'foreign').write_text(text)
        refused(*args, tmp_path / 'foreign', says='foreign')
        assert (tmp_path / 'foreign').read_text() == text

@pytest.mark.parametrize(
    'item, says',
    [
        ('{"left": 1, "right": "a"}', 'beside a gap'),
        ('{"left": "a ___", "right": "b"}', '___'),
        ('{"left": "a", "right": "b", "n_words": true}', 'whole number'),
        ('{"left": "a", "right": "b", "reference": 5}', 'references'),
        ('{"left": "\\ud800", "right": "b"}', 'surrogate'),
        ('The ___{0} pub', 'at least one'),
    ],
)
def test_broken_items(folder, item, says, tmp_path):
    (tmp_path / 'i.jsonl').write_text(item + '\n')
    refused(
        'dlm_infill',
        '--items',
        tmp_path / 'i.jsonl',
        '--out',
        tmp_path / 'out.jsonl',
        '--model',
        folder,
        says=says,
    )
    assert not (tmp_path / 'out.jsonl').exists()

def test_several_gaps(folder, tmp_path):
    (tmp_path / 'i.txt').write_text('The ___ pub ___ river .\n')
    run(
        'dlm_infill',
        '--items',
        tmp_path / 'i.txt',
        '--n',
        6,
        '--steps',
        2,
        '--model',
        folder,
        '--out',
        tmp_path / 'out.jsonl',
    )
    row = json.loads((tmp_path / 'out.jsonl').read_text())
    for t, (a, b) in zip(row['texts'], row['gaps']):
        assert a and b and t == f'The {a} pub {b} river .'

def test_infill_rows(folder, tmp_path):
    f, out = tmp_path/'i.txt', tmp_path/'out.jsonl'
    f.write_text('The Eagle is a ___ near the river .\nThe ___{2} pub .\n')
    run('dlm_infill', '--items', f, '--n', 3, '--steps', 3, '--model', folder, '--out', out)
    rows = [json.loads(l) for l in out.read_text().splitlines()]
    assert len(rows) == 2 and all(len(r['gaps']) == 3 and r['best'] in r['texts'] for r in rows)
    assert all(len(g[0].split()) == 2 for g in rows[1]['gaps'])
    assert json.loads(run('dlm_evaluate', out, '--json')[0])['context_kept'] == 1

def test_infill_rivals(folder, tmp_path):
    """Test texts with words hidden: the answer is kept as reference, the context comes back, and
    left-only does not see the right side.
    """
    rows = {}
    for method in ('diffusion', 'left-only', 'frequent-words'):
        out = tmp_path / f'{method}.jsonl'
        run(
            'dlm_infill',
            '--items',
            'grammar',
            '--limit',
            4,
            '--n',
            2,
            '--steps',
            3,
            '--model',
            folder,
            '--method',
            method,
            '--out',
            out,
        )
        rows[method] = [json.loads(l) for l in out.read_text().splitlines()]
        assert (
            len(rows[method]) == 4
            and json.loads(run('dlm_evaluate', out, '--json')[0])['context_kept'] == 1
        )
    assert len({tuple(r['target'] for r in v) for v in rows.values()}) == 1
    assert all(
        3 <= len(r['references'][0].split()) <= 8
        and len(g[0].split()) == len(r['references'][0].split())
        for v in rows.values()
        for r in v
        for g in r['gaps']
    )
    # the same left side and another right side: the same gap by left-only, another one by diffusion
    gaps = {}
    for k, right in enumerate(('near the river .', 'is cheap for you')):
        (tmp_path / 'i.txt').write_text('The Eagle ___{4} ' + right)
        for method in ('diffusion', 'left-only'):
            out = tmp_path / f'{method}{k}.jsonl'
            run(
                'dlm_infill',
                '--items',
                tmp_path / 'i.txt',
                '--n',
                4,
                '--steps',
                5,
                '--model',
                'grammar',
                '--method',
                method,
                '--out',
                out,
            )
            gaps[method, right] = json.loads(out.read_text())['gaps']
    assert (
        len({str(v) for (m, _), v in gaps.items() if m == 'left-only'}) == 1
        and len({str(v) for (m, _), v in gaps.items() if m == 'diffusion'}) == 2
    )
    (tmp_path / 'open.txt').write_text('The Eagle ___ pub\n')
    refused(
        'dlm_infill',
        '--items',
        tmp_path / 'open.txt',
        '--method',
        'left-only',
        '--model',
        folder,
        '--out',
        tmp_path / 'x.jsonl',
        says='size',
    )
    refused(
        'dlm_infill',
        '--items',
        tmp_path / 'open.txt',
        '--method',
        'magic',
        '--model',
        folder,
        '--out',
        tmp_path / 'x.jsonl',
        says='magic',
    )
    refused(
        'dlm_infill',
        '--items',
        'grammar',
        '--method',
        'diffusion',
        '--model',
        folder,
        '--out',
        tmp_path / 'left-only.jsonl',
        says='left-only',
    )
    assert not (tmp_path / 'x.jsonl').exists()

def test_evaluate_plain_texts(tmp_path):
    f = tmp_path / 'texts.txt'
    f.write_text('The Eagle is a cheap pub .\n' * 2)
    r = json.loads(run('dlm_evaluate', f, '--ngram', 'grammar', '--json')[0])
    assert (
        r['texts'] == 2
        and r['distinct4'] == 0.5
        and r['ngram_ppl_ratio'] == pytest.approx(r['ngram_ppl'] / r['ngram_ppl_human'])
    )

@pytest.mark.parametrize(
    'args, says',
    [
        (['no-such-preset', '--out', 'r'], 'no-such-preset'),
        (['grammar'], '--out'),
        (['grammar', '--out', 'r', '--steps', '-4'], '--steps'),
        (['grammar', '--out', 'r', '--seed', '99999999999999999999999'], '--seed'),
        (['grammar', '--out', 'r', '--data', 'nowhere.txt'], 'nowhere.txt'),
        (['grammar', '--out', 'r', '--data', 'empty.txt'], 'empty'),
    ],
)
def test_train_refused(args, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'empty.txt').touch()
    refused('dlm_train', *args, says=says)
    assert [p.name for p in tmp_path.iterdir()] == ['empty.txt']

def tiny_text(path):
    words = 'The Eagle Mill is a cheap pretty pub bar near the river park .'.split()
    g = torch.Generator().manual_seed(0)
    path.write_text(
        '\n'.join(
            ' '.join(words[i] for i in torch.randint(len(words), (6,), generator=g))
            for _ in range(200)
        )
    )

TRAIN = ['--steps', 40, '--batch-size', 8, '--min-count', 0, '--device', 'cpu']

def weights(folder):
    from safetensors.torch import load_file
    return load_file(folder/'model.safetensors')

@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
    d = tmp_path_factory.mktemp('train')
    tiny_text(d/'my.txt')
    run('dlm_train', 'grammar', '--data', d/'my.txt', '--out', d/'whole', *TRAIN)
    return d

@pytest.mark.parametrize('after', [0.35, 0.6, 0.85])
def test_kill_and_resume_is_exact(undisturbed, after):
    d = undisturbed
    out = d / f'killed{after}'
    code = (
        'import sys, os, signal; from diffusion_lm_nb import commands as C, training as T\nsave ='
        ' T.save_checkpoint\ndef often(*a): a[-1]["step"] %% 7 == 0 and save(*a); a[-1]["step"] >='
        ' %d and os.kill(os.getpid(), signal.SIGKILL)   # some steps are lost\nT.save_checkpoint ='
        ' often; fit = T.fit\nC.fit = lambda *a, **k: fit(*a, **{**k, "save_every":'
        ' 0.})\nC.dlm_train(sys.argv[1:])'
        % int(40 * after)
    )
    r = subprocess.run(
        [
            sys.executable,
            '-c',
            code,
            'grammar',
            '--data',
            str(d / 'my.txt'),
            '--out',
            str(out),
            *map(str, TRAIN),
        ],
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        capture_output=True,
    )
    assert r.returncode == -signal.SIGKILL and not (out / 'model.safetensors').exists()
    run('dlm_train', 'grammar', '--data', d / 'my.txt', '--out', out, '--resume', *TRAIN)
    a, b = weights(d / 'whole'), weights(out)
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)

def test_resume_guards(undisturbed):
    d = undisturbed
    args = ['grammar', '--data', d / 'my.txt', *TRAIN]
    refused('dlm_train', *args, '--out', d / 'whole', says='--resume')
    refused(
        'dlm_train',
        'e2e',
        '--data',
        d / 'my.txt',
        *TRAIN,
        '--out',
        d / 'whole',
        '--resume',
        says='another'
    )
    broken = d / 'broken'
    broken.mkdir()
    (broken / 'checkpoint.safetensors').write_bytes(
        (d / 'whole' / 'checkpoint.safetensors').read_bytes()[:1000]
    )
    refused('dlm_train', *args, '--out', broken, '--resume', says='cut off')

def test_full_disk_loses_nothing(undisturbed, tmp_path):
    """A disk that fills while a checkpoint is written: one line, exit code 2, the old checkpoint
    whole.
    """
    d = undisturbed
    ckpt = tmp_path / 'run' / 'checkpoint.safetensors'
    run(
        'dlm_train',
        'grammar',
        '--data',
        d / 'my.txt',
        '--out',
        tmp_path / 'run',
        '--steps',
        10,
        *TRAIN[2:]
    )
    before, files = ckpt.read_bytes(), {f.name for f in ckpt.parent.iterdir()}
    code = (
        'import sys, errno, safetensors.torch as S; from diffusion_lm_nb import commands as C\ndef'
        ' full(tensors, path, metadata=None): open(path, "wb").write(b"half"); raise'
        ' OSError(errno.ENOSPC, "No space left on device")\nS.save_file = full; sys.argv[0] ='
        ' "dlm-train"; sys.exit(C.dlm_train())'
    )
    r = subprocess.run(
        [
            sys.executable,
            '-c',
            code,
            'grammar',
            '--data',
            str(d / 'my.txt'),
            '--out',
            str(tmp_path / 'run'),
            '--resume',
            *map(str, TRAIN),
        ],
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
    )
    assert r.returncode == 2 and 'disk is full' in r.stderr, r.stderr
    assert ckpt.read_bytes() == before and {f.name for f in ckpt.parent.iterdir()} == files

def test_interrupt_keeps_the_checkpoint(undisturbed, tmp_path):
    code = (
        'import sys; sys.argv[0] = "dlm-train"; from diffusion_lm_nb.commands import dlm_train;'
        ' sys.exit(dlm_train())'
    )
    p = subprocess.Popen(
        [
            sys.executable,
            '-c',
            code,
            'grammar',
            '--data',
            str(undisturbed / 'my.txt'),
            '--out',
            str(tmp_path / 'run'),
            '--steps',
            '100000',
            *map(str, TRAIN[2:]),
        ],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
    )
    while 'step' not in (line := p.stderr.readline()) or '/100000' not in line:
        assert line
    p.send_signal(signal.SIGINT)
    _, err = p.communicate(timeout=60)
    assert (
        p.returncode == 130
        and '--resume' in err
        and (tmp_path / 'run' / 'checkpoint.safetensors').exists()
    )

def test_a_copy_has_the_imports_and_the_grammar(tmp_path):
    "Else nothing fails, and the suite takes minutes longer."
    (tmp_path / 'look.py').write_text(
        'import sys; from diffusion_lm_nb.corpora import _load_grammar\n'
        'print("nbdev.test" in sys.modules, _load_grammar.cache_info().currsize, *sys.argv[1:])')
    env = {**os.environ, 'OMP_NUM_THREADS': '1'}
    code, out, err = fresh_script(tmp_path / 'look.py', ['a b'], tmp_path, env, timeout=60)
    assert (code, out) == (0, 'True 2 a b\n'), err

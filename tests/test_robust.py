"What people hit: each test is named after a symptom, and was seen to fail before it was mended."
import contextlib, io, json, math, os, re, shutil, signal, subprocess, sys, tempfile
from pathlib import Path
import numpy as np
import pytest, torch
from diffusion_lm_nb import (
    BadInput, Control, DiffusionLM, Infill, Length, PartsOfSpeech, SemanticContent, SyntaxSpan
)
from diffusion_lm_nb import commands as C, training as T
from diffusion_lm_nb.corpora import load_corpus, pack_corpus, read_own, tokenise
from diffusion_lm_nb.data import Vocab, pad_batch
from diffusion_lm_nb.checkpoints import weights_home
from diffusion_lm_nb.files import read_rows

repo = Path(__file__).parents[1]
COMMANDS = ['train', 'sample', 'nll', 'control', 'infill', 'evaluate', 'reproduce', 'pack', 'bench']

def call(name, *args):
    "A command in this process -> (exit code, stdout, stderr)."
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try: code = getattr(C, f'dlm_{name}')([str(a) for a in args])
        except SystemExit as e: code = e.code or 0
    return code, out.getvalue(), err.getvalue()

def refused(name, *args, says=''):
    "Bad input: exit code 2, nothing on stdout, one line -> the line."
    code, out, err = call(name, *args)
    assert code == 2 and out == '' and len(err.strip().splitlines()) == 1 and says in err, (out, err)
    return err

def complaint(f, *args, **kwargs):
    "The one line of a BadInput."
    with pytest.raises(BadInput) as e: f(*args, **kwargs)
    assert str(e.value) and len(str(e.value).splitlines()) == 1
    return str(e.value)

def script(name, *args, shell='{}', **env):
    "A command in a process of its own, `shell` around it -> (exit code, stdout, stderr), bytes."
    code = f'import sys; sys.argv[0] = "dlm-{name}"; from diffusion_lm_nb.commands import dlm_{name}' \
           f' as f; sys.exit(f())'
    line = ' '.join([sys.executable, '-c', f"'{code}'", *map(str, args)])
    env = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(repo), **env}
    done = subprocess.run(['bash', '-c', shell.format(line)], env=env, capture_output=True, timeout=120)
    return done.returncode, done.stdout, done.stderr

FIVE = ['The Eagle is a pub .', 'The Mill is cheap .', 'Luna is a bar .', 'The pub is near the Mill .',
        'It is a cheap bar .']
TINY = ['grammar', '--batch-size', 5, '--min-count', 0, '--device', 'cpu', '--data']

@pytest.fixture
def five(tmp_path):
    "A file of five texts."
    (tmp_path/'five.txt').write_text('\n'.join(FIVE), encoding='utf8')
    return tmp_path/'five.txt'

@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
    "The preset of the grammar with a network that trains in a moment."
    from dataclasses import replace
    p = C.PRESETS['grammar']
    small = p.model | dict(width=32, layers=1, heads=2, length=24)
    monkeypatch.setitem(C.PRESETS, 'grammar', replace(p, model=small, steps=4))

def contents(folder): return {p.name: p.read_bytes() for p in Path(folder).iterdir()}


# --- 1: NaN ---------------------------------------------------------------------------------------

def test_nan_does_not_replace_a_good_model(five, tmp_path, monkeypatch):
    out = tmp_path/'run'
    assert call('train', *TINY, five, '--out', out, '--steps', 4)[0] == 0
    good = contents(out)
    monkeypatch.setattr(T, 'learning_rate', lambda preset, step: math.nan)
    args = *TINY, five, '--out', out, '--steps', 400
    refused_lines = [call('train', *args, '--resume', '--minutes', '0.00001')]
    code, _, err = refused_lines[0]
    assert code == 2 and '--lr' in err, err
    for name in ('model.safetensors', 'config.json', 'checkpoint.safetensors'):
        assert contents(out)[name] == good[name], name
    assert DiffusionLM.from_pretrained(out).sample(1, steps=1)

def test_nan_in_a_fresh_folder_says_so(five, tmp_path, monkeypatch):
    out = tmp_path/'run'
    monkeypatch.setattr(T, 'learning_rate', lambda preset, step: math.nan)
    code, _, err = call('train', *TINY, five, '--out', out, '--steps', 400, '--minutes', '0.00001')
    assert code == 2 and '--lr' in err and 'No such file' not in err
    assert not {'model.safetensors', 'checkpoint.safetensors'} & {*contents(out)}

def test_ctrl_c_after_nan_does_not_say_that_it_is_kept(five, tmp_path, monkeypatch):
    out = tmp_path/'run'
    monkeypatch.setattr(T, 'learning_rate', lambda preset, step: math.nan)
    def late(self):
        signal.raise_signal(signal.SIGINT)
        return False
    monkeypatch.setattr(T.Progress, 'late', late)
    code, _, err = call('train', *TINY, five, '--out', out, '--steps', 400)
    assert code == 130 and 'is kept' not in err and 'stopped' in err
    assert not {'model.safetensors', 'checkpoint.safetensors'} & {*contents(out)}

def test_ctrl_c_before_anything_is_written(five, tmp_path, monkeypatch):
    def interrupted(*args): raise KeyboardInterrupt
    monkeypatch.setattr(C, 'training_texts', interrupted)
    code, _, err = call('train', *TINY, five, '--out', tmp_path/'run')
    assert code == 130 and 'is kept' not in err

def test_the_learning_rate_can_be_set(five, tmp_path):
    out, lr = tmp_path/'run', ['--lr', '0.0003']
    assert call('train', *TINY, five, '--out', out, '--steps', 2, *lr)[0] == 0
    assert json.loads((out/'run.json').read_text())['lr'] == 0.0003
    args = *TINY, five, '--out', out, '--resume'
    assert 'lr' in refused('train', *args, '--steps', 3)
    assert call('train', *args, '--steps', 3, *lr)[0] == 0
    assert call('train', *args, '--steps', 4, '--lr', '0.0001')[0] == 0
    for wrong in ('0', '-1', 'nan', 'inf'): refused('train', *TINY, five, '--out', 'x', '--lr', wrong)

def test_a_model_of_nan_is_not_saved(lm, tmp_path):
    import copy
    bad = copy.deepcopy(lm)
    lm.save_pretrained(tmp_path/'m')
    good = contents(tmp_path/'m')
    with torch.no_grad(): bad.prior[3] = math.inf
    assert 'finite' in complaint(bad.save_pretrained, tmp_path/'m')
    assert contents(tmp_path/'m') == good


# --- 2: copies ------------------------------------------------------------------------------------

def test_copies_of_ones_own_texts_are_seen(five, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call('train', *TINY, five, '--out', 'e2e', '--steps', 2)[0] == 0
    (tmp_path/'texts.txt').write_text('\n'.join([*FIVE[:3], 'The Eagle is a bar .']))
    figures = json.loads(call('evaluate', 'texts.txt', '--model', './e2e', '--json')[1])
    assert figures['in_train'] == 0.75
    (tmp_path/'e2e/train_hashes.safetensors').unlink(missing_ok=True)
    figures = json.loads(call('evaluate', 'texts.txt', '--model', './e2e', '--json')[1])
    assert figures['in_train'] is None
    figures = json.loads(call('evaluate', 'texts.txt', '--json')[1])
    assert figures['in_train'] == 0 # of the shipped model


# --- 3: one file, two processes ---------------------------------------------------------------------

def test_two_processes_on_one_out_write_each_row_once(folder, tmp_path):
    (tmp_path/'t.jsonl').write_text('5\n9\n12\n7\n')
    args = ['length', '--targets', tmp_path/'t.jsonl', '--n', 3, '--steps', 300, '--model', folder]
    line = '{} & {}; a=$?; wait $!; echo $a $?'.replace('{}', '{0}')
    _, codes, err = script('control', *args, '--out', tmp_path/'out.jsonl', shell=line)
    numbers = [r['number'] for r in map(json.loads, (tmp_path/'out.jsonl').read_text().splitlines())]
    assert sorted(numbers) == [0, 1, 2, 3], err
    assert sorted(codes.split()) == [b'0', b'2'] and b'another process' in err
    assert {p.name for p in tmp_path.iterdir()} == {'t.jsonl', 'out.jsonl'}

def holding(path):
    "A process that has locked a path, and says so in its first line."
    code = f'import sys; from diffusion_lm_nb.files import locked\nwith locked({str(path)!r}): print(1, flush=True); sys.stdin.read()'
    p = subprocess.Popen([sys.executable, '-c', code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert p.stdout.readline()
    return p

def test_every_out_is_locked(five, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path/'t.jsonl').write_text('5\n')
    (tmp_path/'i.txt').write_text('The ___{2} pub .\n')
    (tmp_path/'other').symlink_to('x')
    p, less = holding(tmp_path/'x'), ['--n', 1, '--steps', 1, '--model', folder]
    try:
        for out in ('x', './x', tmp_path/'x', 'other'):
            assert 'another process' in call('train', *TINY, five, '--out', out, '--steps', 1)[2]
            assert 'another process' in call('control', 'length', '--targets', 't.jsonl', *less, '--out', out)[2]
            assert 'another process' in call('infill', '--items', 'i.txt', *less, '--out', out)[2]
            assert 'another process' in call('pack', five, '--out', out)[2]
        p.kill(), p.wait()                                      # nothing is left of a killed one
        assert call('train', *TINY, five, '--out', 'x', '--steps', 1)[0] == 0
        assert call('pack', five, '--out', 'x.safetensors')[0] == 0
        assert not list(tmp_path.glob('.*'))
    finally: p.kill()

def test_a_lock_that_a_kill_left_behind_stops_nobody(folder, tmp_path):
    (tmp_path/'t.jsonl').write_text('5\n')
    (tmp_path/'.out.jsonl.lock').touch()
    args = '--targets', tmp_path/'t.jsonl', '--n', 1, '--steps', 1, '--model', folder
    assert call('control', 'length', *args, '--out', tmp_path/'out.jsonl')[0] == 0

def row(number, text, **more):
    made = dict(task='length', target=4, texts=[text], seconds=.1, method='diffusion', model='e2e')
    return json.dumps(made | more | dict(number=number)) + '\n'

def test_a_row_that_comes_twice_is_counted_once(tmp_path):
    f = tmp_path/'rows.jsonl'
    f.write_text(row(0, 'a cheap pub .') * 2 + row(1, 'a nice bar .'))
    code, out, err = call('evaluate', f, '--json')
    assert code == 0 and json.loads(out)['texts'] == 2 and 'twice' in err
    f.write_text(row(0, 'a cheap pub .') + row(0, 'a nice bar .'))
    assert 'again' in refused('evaluate', f)
    f.write_text(row(0, 'a cheap pub .', seed=0) + row(0, 'a nice bar .', seed=1)) # two seeds
    assert json.loads(call('evaluate', f, '--json')[1])['texts'] == 2


# --- 4: paths ---------------------------------------------------------------------------------------

def test_a_tilde_is_the_home_folder_in_every_path(five, folder, tmp_path, monkeypatch):
    home, here = tmp_path/'home', tmp_path/'here'
    home.mkdir(), here.mkdir()
    monkeypatch.setenv('HOME', str(home))
    monkeypatch.chdir(here)
    shutil.copy(five, home/'five.txt')
    shutil.copytree(folder, home/'model')
    (home/'t.jsonl').write_text('5\n')
    (home/'i.txt').write_text('The ___{2} pub .\n')
    less = '--n', 1, '--steps', 1, '--model', '~/model'
    for name, *args in (
        ('pack', '~/five.txt', '--out', '~/p.safetensors'),
        ('train', *TINY, '~/five.txt', '--out', '~/run', '--steps', 1),
        ('sample', *less), ('nll', '~/five.txt', '--model', '~/model', '--draws', 1),
        ('control', 'length', '--targets', '~/t.jsonl', '--out', '~/o.jsonl', *less),
        ('infill', '--items', '~/i.txt', '--out', '~/g.jsonl', *less),
        ('evaluate', '~/o.jsonl', '--json'),
    ): assert call(name, *args)[0] == 0, (name, call(name, *args))
    assert not list(here.iterdir())
    for name in ('p.safetensors', 'run/model.safetensors', 'o.jsonl', 'g.jsonl'):
        assert (home/name).exists(), name

@pytest.mark.parametrize('name', COMMANDS)
def test_an_unknown_home_and_an_empty_path_are_said(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = dict(train=['grammar'], nll=['x.txt'], control=['length'], evaluate=['x'], pack=['x'])
    args = first.get(name, [])
    option = dict(evaluate='--oracle', pack='--out', train='--out').get(name, '--model')
    assert 'empty' in refused(name, *args, option, '')
    if option == '--oracle': return
    if name == 'nll': (tmp_path/'x.txt').write_text('a pub')
    if name == 'pack': (tmp_path/'x').write_text('a pub')
    more = ['--out', 'o'] if name in ('control', 'infill') else []
    line = refused(name, *args, *more, option, '~no-such-user/x')
    assert 'home' in line and 'device' not in line
    assert {p.name for p in tmp_path.iterdir()} <= {'x', 'x.txt'}


# --- 5 and 6: words ---------------------------------------------------------------------------------

@pytest.mark.parametrize('text, words', [
    ('东京塔很高。', '东 京 塔 很 高 。'),
    ('私はラーメンを食べる', '私 は ラ ー メ ン を 食 べ る'),
    ('Eagle是pub', 'Eagle 是 pub'),
    ('2024年3月', '2024 年 3 月'),
])
def test_chinese_and_japanese_are_not_one_word(text, words, tmp_path):
    assert tokenise(text) == words.split()
    (tmp_path/'a.txt').write_text(text, encoding='utf8')
    assert read_own(tmp_path/'a.txt')[0].words == words.split()

def test_thai_without_spaces_is_said(tmp_path):
    (tmp_path/'a.txt').write_text('ฉันชอบกินข้าวผัดที่ร้านนี้\nร้านอาหารนี้ราคาถูกมาก\n' * 3, encoding='utf8')
    code, _, err = call('train', *TINY, tmp_path/'a.txt', '--out', tmp_path/'run', '--steps', 1)
    assert code == 0 and 'Thai' in err

@pytest.mark.parametrize('text, words', [
    ('cafe\u0301 Rouge', ['café', 'Rouge']),
    ('cafe \u0301 Rouge', ['café', 'Rouge']),                   # torn before, by another program
    ('नमस्ते दुनिया', ['नमस्ते', 'दुनिया']),
    ('ที่นี่ ดี', ['ที่นี่', 'ดี']),
    ('שָׁלוֹם', ['שָׁלוֹם']),
    ('\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645', ['\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645']),
    ('👨\u200d👩\u200d👧 ok', ['👨\u200d👩\u200d👧', 'ok']),
    ('👨 \u200d 👩', ['👨\u200d👩']),
    ('👍🏽👍', ['👍🏽', '👍']), ('🇩🇪🇫🇷', ['🇩🇪', '🇫🇷']), ('❤\ufe0f .', ['❤\ufe0f', '.']),
])
def test_words_are_not_torn_at_marks(text, words):
    import unicodedata
    words = [unicodedata.normalize('NFC', w) for w in words]
    for rules in ('train', 'test', 'stories'):
        assert tokenise(text, rules) == [w.lower() if rules == 'stories' else w for w in words]
        assert tokenise(' '.join(words), rules) == tokenise(text, rules)

def test_decomposed_text_is_read_as_composed(tmp_path):
    (tmp_path/'a.txt').write_text('Cafe\u0301 is open', encoding='utf8')
    (tmp_path/'a.jsonl').write_text(json.dumps(dict(text='Cafe\u0301 is open')))
    (tmp_path/'b.txt').write_text('name : Cafe\u0301||Cafe\u0301 is open', encoding='utf8')
    for name in ('a.txt', 'a.jsonl', 'b.txt'):
        assert read_own(tmp_path/name)[0].words == ['Café', 'is', 'open'], name
    assert read_own(tmp_path/'b.txt')[0].mr == [('name', 'Café')]
    v = Vocab.from_texts([['Café', 'is']], 0)
    assert v.encode(['Cafe\u0301']) == v.encode(['Café']) and v.known('Cafe\u0301') > v.pad


# --- 7: streams -------------------------------------------------------------------------------------

@pytest.mark.parametrize('encoding', ['ascii', 'cp1252'])
def test_help_does_not_die_of_an_encoding(encoding):
    code = 'import sys; from diffusion_lm_nb import commands as C\nfor n in sys.argv[1:]:\n' \
           ' try: getattr(C, f"dlm_{n}")(["--help"])\n except SystemExit as e: assert not e.code'
    env = {**os.environ, 'PYTHONIOENCODING': encoding, 'PYTHONPATH': str(repo)}
    done = subprocess.run([sys.executable, '-c', code, *COMMANDS], env=env, capture_output=True)
    assert done.returncode == 0 and b'--fluency' in done.stdout, done.stderr[-500:]
    done.stdout.decode(encoding)

@pytest.mark.parametrize('shell', ['{} >&-', '{} 2>&-', '{} >&- 2>&-', '{} 2>/dev/full', '{} | true'])
def test_a_closed_stream_ends_nothing(shell, folder, tmp_path):
    (tmp_path/'t.jsonl').write_text('5\n9\n')
    args = '--targets', tmp_path/'t.jsonl', '--n', 1, '--steps', 1, '--model', folder
    code, _, err = script('control', 'length', *args, '--out', tmp_path/'o.jsonl', shell=shell)
    assert code == 0 and b'Traceback' not in err and len(read_rows(tmp_path/'o.jsonl')) == 2

def test_training_goes_on_when_nobody_reads_its_progress(five, tmp_path):
    args = *TINY, five, '--out', tmp_path/'run', '--steps', 60
    code, out, err = script('train', *args, shell='({0} 2>&1; echo $? >%s) | head -c 1' % (tmp_path/'rc'))
    assert (tmp_path/'rc').read_text() == '0\n' and (tmp_path/'run/model.safetensors').exists()

def test_what_one_command_writes_another_reads(folder, tmp_path):
    env = dict(LC_ALL='C', PYTHONUTF8='0', PYTHONCOERCECLOCALE='0')
    code, out, _ = script('sample', '--n', 8, '--steps', 2, '--model', folder, **env)
    assert code == 0 and len(out.decode('utf8').splitlines()) == 8

@pytest.mark.parametrize('shell', ['{} | true', '{} >&-', '{} >/dev/full'])
def test_help_that_nobody_reads_is_no_error(shell):
    code, out, err = script('control', '--help', shell='set -o pipefail; ' + shell)
    assert code == 0 and b'Traceback' not in err and b'Exception' not in err, err

def test_results_on_a_full_disk_are_said():
    code, _, err = script('sample', '--n', 1, '--steps', 1, '--model', 'grammar', shell='{} >/dev/full')
    assert code == 2 and b'disk is full' in err and err.count(b'\n') == 1, err


# --- 8: full disks ----------------------------------------------------------------------------------

def test_a_full_disk_in_pack_is_one_line(five, tmp_path, monkeypatch):
    import safetensors.torch as S
    from safetensors import SafetensorError
    def full(*args, **kwargs):
        raise SafetensorError('Error while serializing: I/O error: No space left (os error 28)')
    monkeypatch.setattr(S, 'save_file', full)
    out = tmp_path/'p.safetensors'
    assert 'disk is full' in refused('pack', five, '--out', out)
    assert {p.name for p in tmp_path.iterdir()} == {'five.txt'}

def test_a_full_temporary_folder_stops_no_model(lm, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path/'none')) # nothing can be made there
    lm.save_pretrained(tmp_path/'m')
    assert {p.name for p in (tmp_path/'m').iterdir()} == {'model.safetensors', 'config.json', 'README.md'}

def test_a_limit_on_file_size_is_one_line(five, tmp_path):
    limited = 'ulimit -f 4; {}'
    args = *TINY, five, '--out', tmp_path/'run', '--steps', 1
    code, out, err = script('train', *args, shell=limited)
    assert code == 2 and b'Traceback' not in err, err[-500:]
    assert not (tmp_path/'run/model.safetensors').exists()


# --- 9: versions ------------------------------------------------------------------------------------

def test_the_floor_of_torch_is_that_of_transformers():
    from importlib.metadata import requires
    from configparser import ConfigParser
    from packaging.requirements import Requirement
    config = ConfigParser(delimiters=['='])
    config.read(repo/'settings.ini', encoding='utf8')
    def floor(lines):
        found = next(r for r in map(Requirement, lines) if r.name == 'torch')
        return min(s.version for s in found.specifier)
    ours = floor(config['DEFAULT']['requirements'].split())
    assert tuple(map(int, ours.split('.'))) >= tuple(map(int, floor(requires('transformers')).split('.')))
    assert '3.13' in (repo/'README.md').read_text(encoding='utf8')


# --- 10: values -------------------------------------------------------------------------------------

def test_yes_is_not_written_as_a_word():
    assert SemanticContent('family friendly', 'Yes').value == 'yes'
    assert SemanticContent('familyFriendly', ' NO ').phrases == SemanticContent('family friendly', 'no').phrases
    for wrong in ('maybe', 'true', '1', 'ja'):
        assert 'yes or no' in complaint(SemanticContent, 'family friendly', wrong)

@pytest.mark.parametrize('field, value, official', [
    ('food', 'french', 'French'), ('price', '£20-25', '£ 20 - 25'), ('food', 'FAST FOOD', 'Fast food'),
    ('price', 'less than £20', 'less than £ 20'), ('near', 'Cafe\u0301 rouge', 'Café Rouge'),
    ('priceRange', 'More Than £30', 'more than £ 30'), ('eatType', 'Coffee  Shop', 'coffee shop'),
    ('name', 'the eagle', 'The Eagle'), ('customer rating', '5 Out Of 5', '5 out of 5'),
])
def test_values_are_read_as_the_corpus_writes_them(field, value, official):
    c = SemanticContent(field, value).bind(DiffusionLM.from_pretrained('e2e'))
    assert c.value == official and c.check(f'x {official} .'.split())

def test_an_unknown_word_is_named_with_the_nearest():
    e2e = DiffusionLM.from_pretrained('e2e')
    line = complaint(e2e.sample, 1, SemanticContent('near', 'Cafe Roug'))
    assert "'Cafe'" in line and 'Café' in line
    line = complaint(e2e.sample, 1, SemanticContent('food', 'Frnch'))
    assert "'Frnch'" in line and 'French' in line
    own = SemanticContent('near', 'BURGER king').bind(e2e)
    assert own.value == 'Burger King'


# --- 11: words that are spelt like special tokens ------------------------------------------------------

def test_words_spelt_like_specials_are_unknown_words(lm, tmp_path):
    words = 'The PAD is START near END and UNK .'.split()
    v = lm.vocab
    ids = v.encode(words)
    assert ids[2] == ids[4] == ids[6] == ids[8] == v.unk
    _, mask = pad_batch([ids], v.pad)
    assert mask.all()                                           # no hole
    same = ['zzz' if w in ('PAD', 'START', 'END', 'UNK') else w for w in words]
    assert lm.nll([words], draws=4) == lm.nll([same], draws=4)
    (tmp_path/'a.txt').write_text('\n'.join(['a PAD pub', 'the END pub', 'a UNK START'] * 3))
    code, _, err = call('train', *TINY, tmp_path/'a.txt', '--out', tmp_path/'run', '--steps', 2)
    assert code == 0 and 'spelt like' in err
    (tmp_path/'b.txt').write_text('the PAD\n')
    code, out, _ = call('nll', tmp_path/'b.txt', '--model', tmp_path/'run', '--json', '--draws', 2)
    assert json.loads(out)['unk_rate'] == 0.5
    line = complaint(lm.sample, 1, SemanticContent('name', 'PAD'))
    assert 'PAD' in line


# --- 12: lengths of conjunctions ----------------------------------------------------------------------

VALUES = [('name', 'The Copper Pot'), ('near', 'the old bridge'), ('food', 'French'), ('Type', 'coffee shop')]

def test_several_values_get_a_text_that_can_hold_them():
    lm = DiffusionLM.from_pretrained('grammar')
    a, b, c, d = (SemanticContent(*v) for v in VALUES)
    both, every = a & b, a & b & c & d
    assert both.min_words == 6 and every.min_words == 9
    for k in range(40): assert lm.request(k, 0, every).n_words >= 9
    assert complaint(lm.sample, 1, both & Length(5))
    assert complaint(lm.sample, 1, every, n_words=8)
    assert len(lm.sample(1, both & Length(6), steps=1)[0].split()) == 6

def test_what_overlaps_counts_once():
    over = SemanticContent('name', 'The Rice Boat') & SemanticContent('near', 'Rice Boat House')
    assert over.min_words == 4
    twice = SemanticContent('food', 'French') & SemanticContent('food', 'french')
    assert twice.min_words == 1
    inside = SemanticContent('name', 'The Rice Boat') & SemanticContent('near', 'Rice')
    assert inside.min_words == 3

def test_gaps_hold_what_is_asked_for():
    lm = DiffusionLM.from_pretrained('grammar')
    near = SemanticContent('near', 'the old bridge')
    assert complaint(lm.infill, 'The Eagle ___{2} .', control=near)
    for seed in range(5):
        text = lm.infill('The Eagle ___ .', control=near, seed=seed, steps=30)[0]
        assert near.check(text.split()), text
    assert lm.infill('Luna is near ___{2} bridge .', control=near, steps=20)[0] == 'Luna is near the old bridge .'


# --- 13: modes of PyTorch -----------------------------------------------------------------------------

@pytest.mark.parametrize('control', [
    SemanticContent('food', 'French'), SemanticContent('food', 'French') & Length(7),
    PartsOfSpeech('DET NOUN PUNCT'), SyntaxSpan(1, 2, 'NP'),
], ids=repr)
def test_controls_work_in_inference_mode(control):
    lm = DiffusionLM.from_pretrained('grammar')
    before = lm.sample(2, control, steps=3)
    with torch.inference_mode():
        assert lm.sample(2, control, steps=3) == before
        assert DiffusionLM.from_pretrained('grammar').sample(2, control, steps=3) == before
        assert list(lm.trajectory(control=control, steps=3))[-1].text == before[0]

def test_a_compiled_network_can_be_saved_and_loaded(lm, tmp_path):
    import copy
    before, own = lm.sample(2, steps=3), copy.deepcopy(lm)
    own.net = torch.compile(own.net)
    own.save_pretrained(tmp_path/'m')
    assert DiffusionLM.from_pretrained(tmp_path/'m').sample(2, steps=3) == before

@pytest.mark.parametrize('cast', ['half', 'double', 'bfloat16'])
def test_other_precisions_say_what_to_do(cast, folder):
    lm = getattr(DiffusionLM.from_pretrained(folder), cast)()
    french = SemanticContent('food', 'French')
    for f in (lambda: lm.sample(1, steps=1), lambda: lm.sample(1, french, steps=1),
              lambda: lm.nll('a pub'), lambda: lm.infill('a ___{2} .'), lambda: list(lm.trajectory())):
        assert '.float()' in complaint(f)
    assert lm.float().sample(1, steps=1)


# --- 14: files that do not belong together --------------------------------------------------------------

def changed(folder, to, **config):
    "A copy of a model with another config.json."
    shutil.copytree(folder, to, dirs_exist_ok=True)
    own = json.loads((Path(to)/'config.json').read_text(encoding='utf8'))
    (Path(to)/'config.json').write_text(json.dumps(own | config), encoding='utf8')
    return to

@pytest.mark.parametrize('how', ['reordered', 'duplicated', 'numbers', 'swapped', 'spaced', 'null'])
@pytest.mark.parametrize('marked', [True, False])
def test_a_foreign_vocabulary_is_refused(how, marked, folder, tmp_path):
    words = json.loads((folder/'config.json').read_text())['words']
    n, first, rest = len(words), words[:4], words[4:]
    new = dict(reordered=first + rest[::-1], duplicated=words[:-1] + words[-2:-1], numbers=[*range(n)],
               swapped=words[:-2] + words[:-3:-1], spaced=words[:-1] + ['a b'], null=words[:-1] + [None])
    changed(folder, tmp_path/'m', words=new[how], **({} if marked else dict(vocabulary=None)))
    assert complaint(DiffusionLM.from_pretrained, tmp_path/'m')

def test_the_shipped_models_know_their_words(tmp_path):
    from diffusion_lm_nb.checkpoints import weights_home
    for home in sorted(p.parent for p in weights_home().glob('*/config.json')):
        config = json.loads((home/'config.json').read_text(encoding='utf8'))
        lists = [k for k in ('words', 'labels') if k in config]
        assert config.get('vocabulary') or not lists, home.name
    words = json.loads((weights_home()/'grammar/config.json').read_text())['words']
    changed(weights_home()/'grammar', tmp_path/'m', words=words[:4] + words[:3:-1])
    assert complaint(DiffusionLM.from_pretrained, tmp_path/'m')

def test_numbers_beyond_float32_are_damage(folder, tmp_path):
    from safetensors.torch import load_file, save_file
    shutil.copytree(folder, tmp_path/'m')
    f = tmp_path/'m/model.safetensors'
    tensors = {k: v.double() if v.is_floating_point() else v for k, v in load_file(f).items()}
    save_file(tensors, f)
    assert DiffusionLM.from_pretrained(tmp_path/'m')
    tensors['prior'][2] = 1e300
    save_file(tensors, f)
    assert 'finite' in complaint(DiffusionLM.from_pretrained, tmp_path/'m')

@pytest.mark.parametrize('args', [dict(mu='x'), dict(s=None), 'x', [1], dict(hi=True), dict(q=1.), dict(lo=math.inf)])
def test_a_schedule_of_strings_is_one_line(args, folder, tmp_path):
    changed(folder, tmp_path/'m', schedule_args=args)
    assert complaint(DiffusionLM.from_pretrained, tmp_path/'m')

def test_a_config_that_is_a_folder_is_one_line(folder, tmp_path):
    shutil.copytree(folder, tmp_path/'m')
    (tmp_path/'m/config.json').unlink()
    (tmp_path/'m/config.json').mkdir()
    assert 'folder' in complaint(DiffusionLM.from_pretrained, tmp_path/'m')
    refused('sample', '--model', tmp_path/'m')


# --- 15: figures that are none ----------------------------------------------------------------------

def test_no_draws_are_no_bound(lm):
    for wrong in (dict(draws=0), dict(draws=-3), dict(T=0), dict(batch_size=0), dict(draws=1.5)):
        assert complaint(lm.nll, 'The Eagle is a pub .', **wrong)

def test_the_plain_line_of_nll_says_what_was_left_out(folder, tmp_path):
    (tmp_path/'a.txt').write_text('The Eagle is a pub .\n' + 'very ' * 90 + '\n')
    code, out, _ = call('nll', tmp_path/'a.txt', '--model', folder, '--draws', 2)
    assert code == 0 and 'inf' not in out and 'left out' in out

def test_keeping_all_words_is_not_advised_twice(tmp_path):
    (tmp_path/'a.txt').write_text('a pub .\n' * 5 + 'far ' + 'much ' * 60 + '\n')
    code, _, err = call('train', *TINY, tmp_path/'a.txt', '--out', tmp_path/'run', '--steps', 1)
    assert code == 0 and '0 times' not in err and '--min-count' not in err and 'too long' in err
    (tmp_path/'b.txt').write_text('PAD END\n')
    assert '--min-count' not in refused('train', *TINY, tmp_path/'b.txt', '--out', tmp_path/'r2')


# --- 16: arguments of another kind --------------------------------------------------------------------

def test_whole_numbers_of_numpy_are_whole_numbers(lm):
    assert lm.sample(1, Length(np.int64(9)), steps=1) == lm.sample(1, Length(9), steps=1)
    assert json.dumps(Length(np.int32(9)).n) == '9'
    assert lm.sample(np.int64(1), n_words=np.int16(4), steps=np.int64(1), seed=np.uint8(3))
    assert Infill('a', '.', np.int64(2)).text == 'a ___{2} .'
    assert SyntaxSpan(np.int64(1), np.int64(2), 'NP').label_key == ('spans', 1, 2, 'NP')
    for wrong in (True, 9.0, '9', np.float32(9), np.bool_(True), None, [9]): assert complaint(Length, wrong)

class Mine(Control):
    def __init__(self, value): self.value = value
    def log_prob(self, logp, mask): return self.value(logp)

@pytest.mark.parametrize('value', [
    lambda l: l.sum((1, 2)) * math.nan, lambda l: torch.full((len(l),), math.inf), lambda l: None,
    lambda l: l[..., 0], lambda l: 0.5,
])
def test_a_log_prob_that_is_no_number_is_said(value, lm):
    for control in (Mine(value), Mine(value) & Length(7)):
        assert 'Mine' in complaint(lm.sample, 1, control, steps=1)

def test_what_is_no_control_is_said(lm):
    for wrong in ('food', 5, ['food'], Length, object()):
        assert 'control' in complaint(lm.sample, 1, control=wrong, steps=1)
    assert complaint(lambda: list(lm.trajectory(control='food')))
    for wrong in (None, 5, ['a', '___'], b'a ___'): assert complaint(lm.infill, wrong)
    for wrong in (None, 5, [None], [[1]], []): assert complaint(lm.nll, wrong)
    for wrong in (dict(steps='5'), dict(seed='x'), dict(guide='x'), dict(batch_size=0), dict(n_words='x'),
                  dict(guidance='x'), dict(solver=[])):
        assert complaint(lm.sample, 1, **wrong)


# --- 17: repetitions ----------------------------------------------------------------------------------

def test_immediate_repetitions_are_a_figure(tmp_path):
    (tmp_path/'a.txt').write_text('a pub near near it .\na cheap pub .\nit is 20 20 .\na bar .\n')
    assert json.loads(call('evaluate', tmp_path/'a.txt', '--json')[1])['repeats'] == 0.5

# -- found by trying variants

def test_the_numbers_of_a_shipped_model_carry_its_words(tmp_path):
    folder = tmp_path / 'grammar'
    shutil.copytree(weights_home() / 'grammar', folder)
    config = json.loads((folder / 'config.json').read_text())
    config['words'] = config['words'][:4] + config['words'][4:][::-1]
    del config['vocabulary']
    (folder / 'config.json').write_text(json.dumps(config))
    with pytest.raises(BadInput, match='not those of the numbers'):
        DiffusionLM.from_pretrained(folder)

@pytest.mark.parametrize('field, written, value', [
    ('near', 'burger-king', 'Burger King'), ('near', 'cafe rouge', 'Café Rouge'),
    ('price', '£20–25', '£ 20 - 25'), ('customer rating', '5-out-of-5', '5 out of 5'),
    ('area', 'City-Centre', 'city centre'), ('price', 'less than 20', 'less than £ 20')])
def test_hyphens_and_accents_do_not_make_another_value(field, written, value):
    assert ''.join(SemanticContent(field, written).value.split()) == ''.join(value.split())

def test_marks_of_direction_are_no_words():
    from diffusion_lm_nb.files import normal
    assert normal('\u200fשלום\u200e \ufeffabc') == 'שלום abc'

def test_a_gap_that_is_mistyped_is_said():
    lm = DiffusionLM.from_pretrained('grammar')
    for gap in ('___{-1}', '___{a}', '___.', '____'):
        with pytest.raises(BadInput, match='is no gap'): lm.infill(f'The Eagle {gap} pub .')

def test_damaged_weights_in_memory_are_said():
    lm = DiffusionLM.from_pretrained('grammar')
    next(lm.net.parameters()).data.fill_(math.nan)
    with pytest.raises(BadInput, match='not finite'): lm.sample(1, steps=2)

def test_one_number_for_several_sequences_is_no_log_prob():
    lm = DiffusionLM.from_pretrained('grammar')
    class Sum(Control):
        def log_prob(self, logp, mask): return logp.sum()
        def check(self, words): return True
    c = Sum()
    with pytest.raises(BadInput, match='number a sequence'):
        c.posterior(torch.zeros(2, 3, len(lm.vocab)).log_softmax(-1), None)

def test_the_last_step_cannot_wreck_a_good_model(tmp_path):
    args = ['grammar', '--out', tmp_path / 'm', '--device', 'cpu']
    assert call('train', *args, '--steps', 2)[0] == 0
    good = {p.name: p.read_bytes() for p in (tmp_path / 'm').iterdir()}
    refused('train', *args, '--steps', 3, '--resume', '--lr', '1e30', says='at most 0.1')
    assert good == {p.name: p.read_bytes() for p in (tmp_path / 'm').iterdir()}
    model = torch.nn.Linear(2, 2)
    run = T.Run(model, C.PRESETS['grammar'], 'cpu')
    model.weight.data[0, 0] = 1e6                       # no loss has been computed with it yet
    hook = T.CheckpointHook(tmp_path, 0)
    assert 'diverge' in complaint(hook.save, run) or '--lr' in complaint(hook.save, run)
    assert not (tmp_path / 'checkpoint.safetensors').exists()

"Thousands of cases a command: files, paths, encodings, numbers, signals, controls. None ends in a traceback."
import contextlib, csv, io, json, math, os, shutil, signal, tempfile, unicodedata
from functools import lru_cache
from pathlib import Path
import numpy as np
import pytest, torch
from hypothesis import HealthCheck, given, settings, strategies as st
from diffusion_lm_nb import (
    BadInput, DiffusionLM, Infill, Length, PartsOfSpeech, SemanticContent, SyntaxSpan
)
from diffusion_lm_nb import commands as C, files, sampling, training as T
from diffusion_lm_nb.corpora import keep_together, load_corpus, pack_corpus, split_words, tokenise
from diffusion_lm_nb.data import Vocab
from diffusion_lm_nb.files import RowFile, read_rows
from diffusion_lm_nb.guidance import joined, parts_of
from diffusion_lm_nb.reproduction import read_items, read_targets
from test_robust import FIVE, TINY, call, complaint, small_networks

CASES = {}

def cases(n, *args, **kwargs):
    "`given`, with so many cases, the same at each run."
    def wrap(f):
        CASES[f.__name__] = n
        return settings(max_examples=n, deadline=None, derandomize=True, database=None,
                        suppress_health_check=list(HealthCheck))(given(*args, **kwargs)(f))
    return wrap

def test_there_are_thousands_of_cases(): assert sum(CASES.values()) >= 2_000

@contextlib.contextmanager
def new_folder():
    "A folder of its own, in which we are."
    with tempfile.TemporaryDirectory() as d, contextlib.chdir(d): yield Path(d)

@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    "The folder of a model that is made in a moment, with its training run."
    torch.manual_seed(0)
    d = tmp_path_factory.mktemp('tiny')
    vocab = Vocab.from_texts([e.words for e in load_corpus('grammar')[:500]], 0)
    sizes = dict(length=20, width=16, layers=1, heads=2, dropout=0.)
    DiffusionLM(vocab.words, length_counts=[0, 1, 2, 3, 4, 5, 4, 3, 2, 1], **sizes).save_pretrained(d)
    return d

@lru_cache(1)
def model(folder): return DiffusionLM.from_pretrained(folder)

STRANGE = ['é', 'e\u0301', 'Cafe\u0301', '👨\u200d👩\u200d👧', '👍🏽', '🇩🇪', '中文', 'カ', 'が', 'नमस्ते', 'ที่นี่', 'שָׁ',
           'PAD', 'END', 'START', 'UNK', '___', '___{2}', '___{0}', '||', '£20-25', "isn't", '...', '--', "'s",
           '5.50', '\u0301', '\u200d', '\ufe0f', '\xad', '\u202b', '"', '{', '\\', 'St.', 'The', 'pub', 'is', '.']
words = st.one_of(st.sampled_from(STRANGE), st.text(st.characters(exclude_categories=['Cs', 'Cc', 'Zl', 'Zp']), min_size=1, max_size=6))
lines = st.lists(words, max_size=8).map(' '.join)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 80), st.floats(), lines, st.sampled_from(STRANGE)),
    lambda v: st.one_of(st.lists(v, max_size=3), st.dictionaries(st.sampled_from(['left', 'text', 'x']), v, max_size=3)),
    max_leaves=6)


# --- words and corpora ------------------------------------------------------------------------------

def is_mark(c): return unicodedata.category(c)[0] == 'M' or c in '\u200d\ufe0f'

@cases(400, lines, st.sampled_from(['train', 'test', 'stories']))
def test_tokens_lose_nothing_and_tear_nothing(text, rules):
    tokens, kept = tokenise(text, rules), keep_together(text)
    assert all(t and len(t.split()) == 1 for t in tokens)
    if rules != 'stories': assert ''.join(tokens) == ''.join(kept.split())
    for before, t in zip(['', *tokens], tokens): assert not (before and is_mark(t[0])), (before, t)
    assert split_words(text) == split_words(' '.join(split_words(text)))

@cases(120, st.lists(lines, min_size=1, max_size=5), st.sampled_from(['txt', 'csv', 'jsonl']))
def test_a_packed_corpus_reads_as_it_was_written(texts, kind):
    with new_folder() as d:
        f = d/f'a.{kind}'
        if kind == 'csv':
            with open(f, 'w', encoding='utf8', newline='') as out: csv.writer(out).writerows([['text'], *([t] for t in texts)])
        elif kind == 'jsonl': f.write_text('\n'.join(json.dumps(dict(text=t)) for t in texts))
        else: f.write_text('\n'.join(texts), encoding='utf8')
        try: examples = load_corpus(f)
        except BadInput: return
        own = kind != 'txt' or '||' not in next(t for t in texts if t.strip())
        if own: assert [e.words for e in examples] == [w for w in map(tokenise, texts) if w]
        pack_corpus(f, d/'b.safetensors')
        assert load_corpus(d/'b.safetensors') == examples
        code, out, err = call('pack', f, '--out', d/'c.safetensors')
        assert code == 0 and load_corpus(d/'c.safetensors') == examples

@cases(300, st.one_of(st.binary(max_size=60), lines.map(str.encode), json_values.map(lambda v: json.dumps(v).encode())),
       st.sampled_from(['.txt', '.csv', '.jsonl', '.json', '.safetensors', '.pt', '']), st.sampled_from([b'', b'text\n', b'\xef\xbb\xbf', b'{"text": "a"}\n']))
def test_any_file_is_a_corpus_or_one_line(data, suffix, head):
    with new_folder() as d:
        (d/f'a{suffix}').write_bytes(head + data)
        try: examples = load_corpus(d/f'a{suffix}')
        except BadInput as e: assert len(str(e).splitlines()) == 1, str(e)
        else: assert examples and all(isinstance(w, str) for e in examples for w in e.words)
        code, out, err = call('pack', f'a{suffix}', '--out', 'b.safetensors')
        assert code in (0, 2) and (code == 0) == (d/'b.safetensors').exists()

names = st.one_of(st.sampled_from(['~', '~x', '.', '..', ' ', 'a\nb', "a'b", 'a b', '-', '中.x', '\x00', 'é' * 200, 'a/b', './a', 'x/../y', '*', '$HOME', '\u202e']), lines)

@cases(120, names.map(lambda n: n.replace('//', '/').lstrip('/')), st.sampled_from(['', '.safetensors', '.bin']))
def test_any_path_is_written_or_one_line(name, suffix):
    with new_folder() as d:
        (d/'five.txt').write_text('\n'.join(FIVE))
        if name.strip('-') == '': name = 'x'
        if name.startswith('~') or name.count('..') > 1: name = './' + name.replace('..', '')
        code, out, err = call('pack', 'five.txt', f'--out={name}{suffix}')
        assert code in (0, 2), err
        if code == 2: assert len(err.strip().splitlines()) == 1 and {p.name for p in d.iterdir() if p.is_file()} == {'five.txt'}, err
        else: assert len(load_corpus(f'{name}{suffix}')) == len(FIVE)


# --- rows -------------------------------------------------------------------------------------------

rows = st.lists(st.lists(lines.filter(str.strip), min_size=1, max_size=2), min_size=1, max_size=5)

@cases(250, rows, st.integers(0, 10**6), st.sampled_from(['cut', 'twice', 'flip', 'blank', 'whole', 'crlf']))
def test_rows_survive_what_happens_to_files(texts, place, what):
    with new_folder() as d:
        same = dict(task='length', method='m', model='x', seed=0)
        texts = [(t * 2)[:2] for t in texts]
        def write(path, numbers):
            f = RowFile(path, [*range(len(texts))], 2, **same)
            for j in f.todo(): j in numbers and f.add(j, dict(target=j, texts=texts[j], seconds=.1))
        write('rows.jsonl', range(len(texts)))
        data = (d/'rows.jsonl').read_bytes()
        at = place % len(data)
        broken = dict(cut=data[:at], twice=data * 2, flip=data[:at] + bytes([data[at] ^ 1]) + data[at + 1:],
                      blank=data[:at] + b'\n' + data[at:], whole=data, crlf=data.replace(b'\n', b'\r\n'))[what]
        (d/'rows.jsonl').write_bytes(broken)
        with contextlib.redirect_stderr(io.StringIO()):
            try: write('rows.jsonl', range(len(texts)))
            except BadInput as e:
                assert (d/'rows.jsonl').read_bytes() == broken and what not in ('cut', 'twice', 'whole')
                assert len(str(e).splitlines()) == 1
            else:
                after = read_rows('rows.jsonl')
                assert sorted(r['number'] for r in after) == [*range(len(texts))]
                if what in ('cut', 'twice', 'whole'): assert [r['texts'] for r in after] == texts

@cases(50, rows, st.sampled_from(['length', 'free', 'semantic', 'infill']), st.sampled_from([5, ['food', ':', 'French'], 'The ___ .', None]))
def test_any_rows_are_judged_or_one_line(texts, task, target):
    with new_folder() as d:
        same = dict(task=task, method='m', model='x', seconds=None, target=target, references=[], best=texts[0][0])
        (d/'r.jsonl').write_text(''.join(json.dumps(same | dict(texts=t), ensure_ascii=False) + '\n' for t in texts), encoding='utf8')
        code, out, err = call('evaluate', 'r.jsonl', '--json')
        assert code in (0, 2), err
        if code == 0: assert json.loads(out)['texts'] == sum(map(len, texts))


# --- targets and items ------------------------------------------------------------------------------

good = st.sampled_from([
    ['food', ':', 'French'], 5, dict(pos=['DET', 'NOUN']), dict(tree='(S (NP a) (VP b))'), dict(spans=[[1, 2, 'NP']]),
    dict(left='a', right='b'), dict(pos=['DET'], words_=['a'], attr=['food', ':', 'x']), dict(obs1='a', obs2='b')])
def spoil(target, path, value):
    "The target with something else in one place."
    if isinstance(target, dict) and target:
        k = sorted(target)[path % len(target)]
        return target | {k: spoil(target[k], path // 3, value)}
    if isinstance(target, list) and target and path % 2:
        return target[:path % len(target)] + [spoil(target[path % len(target)], path // 3, value)] + target[path % len(target) + 1:]
    return value

@cases(300, good, st.integers(0, 100), json_values, st.sampled_from(['semantic', 'length', 'pos', 'tree', 'spans', 'semantic+pos', 'infill', 'anlg']))
def test_any_target_is_a_control_or_one_line(target, path, value, task):
    text = json.dumps(spoil(target, path, value), ensure_ascii=path % 2 == 0)
    with new_folder() as d:
        f = d/('t.json' if task == 'anlg' else 't.jsonl')
        f.write_text('{"0": %s}' % text if task == 'anlg' else text + '\n', encoding='utf8')
        try: found = read_items(f) if task in ('infill', 'anlg') else read_targets(f, task)
        except BadInput as e: assert len(str(e).splitlines()) == 1
        else: assert all(parts_of(c) for _, c in found) if task not in ('infill', 'anlg') else found


# --- commands and their numbers ---------------------------------------------------------------------

values = st.sampled_from(['0', '1', '2', '-1', '3', '1.5', 'nan', 'inf', '-inf', 'x', '', ' ', '1e9', '½', '٣', '0x3', '9' * 30, 'None', '0/1', '1/2', '2/2', 'ddim', 'cpu', 'cuda:99', 'é', '~nobody/x', '..'])
SMALL = dict(
    sample=['--n', '1', '--steps', '1'], nll=['five.txt', '--draws', '1', '--limit', '2'],
    control=['length', '--targets', 't.jsonl', '--n', '1', '--steps', '1', '--out', 'o.jsonl'],
    infill=['--items', 'i.txt', '--n', '1', '--steps', '1', '--out', 'o.jsonl'],
    evaluate=['texts.txt'], pack=['five.txt'], train=[*map(str, TINY), 'five.txt', '--out', 'run', '--steps', '1'],
    reproduce=['--protocol', 'x'], bench=['--parts', 'x'])
OPTIONS = dict(
    sample=['n', 'seed', 'length', 'solver', 'batch-size', 'device', 'shard', 'steps', 'model'],
    nll=['limit', 'split', 'draws', 'seed', 'device', 'model'],
    control=['n', 'method', 'steps', 'classifier', 'fluency', 'lr', 'inner', 'seed', 'limit', 'batch-size', 'shard', 'device', 'targets', 'out', 'model'],
    infill=['n', 'method', 'steps', 'seed', 'limit', 'batch-size', 'shard', 'device', 'items', 'out', 'model'],
    evaluate=['ngram', 'model', 'oracle'], pack=['out'],
    train=['steps', 'minutes', 'min-count', 'batch-size', 'lr', 'seed', 'device', 'precision', 'lm', 'accumulate', 'data', 'out'],
    reproduce=['methods', 'tasks', 'steps', 'shard', 'oracle', 'model', 'ngram'],
    bench=['pairs', 'size', 'batch-size', 'steps', 'solver', 'seconds'])

@cases(360, st.data(), st.sampled_from([n for n in OPTIONS for _ in range(1 if n == 'train' else 3)]))
def test_any_option_works_or_is_one_line(tiny, data, name):
    options = data.draw(st.dictionaries(st.sampled_from(OPTIONS[name]), values, max_size=3))
    with new_folder() as d:
        (d/'five.txt').write_text('\n'.join(FIVE))
        (d/'texts.txt').write_text('a pub .\n')
        (d/'t.jsonl').write_text('5\n4\n')
        (d/'i.txt').write_text('The ___{2} pub .\n')
        before = {p.name: p.read_bytes() for p in d.iterdir()}
        args = list(SMALL[name])
        if name in ('sample', 'nll', 'control', 'infill') and 'model' not in options: args += ['--model', tiny]
        code, out, err = call(name, *args, *(f'--{k}={v}' for k, v in options.items()))
        assert code in (0, 2), (options, err)
        if code == 2: assert out == '' and len(err.strip().splitlines()) == 1, (options, err)
        assert all((d/n).read_bytes() == b for n, b in before.items())

@cases(60, st.sampled_from(['ascii', 'latin1', 'cp1252', 'utf-16', 'utf-8', 'shift_jis', 'koi8-r', 'cp437']), st.integers(0, 30))
def test_any_stream_takes_the_texts(tiny, encoding, seed):
    raw = io.BytesIO()
    with contextlib.redirect_stdout(io.TextIOWrapper(raw, encoding=encoding)) as out:
        assert C.dlm_sample(['--n', '2', '--steps', '1', '--seed', str(seed), '--model', str(tiny)]) == 0
        out.flush()
    assert raw.getvalue().decode('utf8').splitlines() == model(tiny).sample(2, steps=1, seed=seed)

odd = st.sampled_from([None, True, 0, -1, 1.5, math.nan, math.inf, 'x', '', b'x', [], {}, [None], np.int64(2), np.float32(2), torch.tensor(2), torch.tensor([1, 2]), object(), Length, SemanticContent, 10**30, Length(4), 'ddim', np.array([1, 2])])
@cases(250, st.dictionaries(st.sampled_from(['n', 'control', 'steps', 'seed', 'first', 'solver', 'n_words', 'batch_size', 'guidance', 'guide']), odd, min_size=1, max_size=3))
def test_any_argument_works_or_is_one_line(tiny, args):
    args = dict(n=1, steps=1) | args
    try: texts = model(tiny).sample(**args)
    except BadInput as e: assert len(str(e).splitlines()) == 1
    else: assert all(isinstance(t, str) for t in texts)

@cases(120, odd, st.sampled_from([Length, SemanticContent, PartsOfSpeech, SyntaxSpan, Infill, Infill.parse, 'nll', 'infill', 'draws']), odd)
def test_any_control_of_odd_things_is_one_line(tiny, a, what, b):
    lm = model(tiny)
    makers = {SemanticContent: lambda: SemanticContent('food', a), SyntaxSpan: lambda: SyntaxSpan(a, b, 'NP'), Infill: lambda: Infill('a', 'b', a),
              'nll': lambda: lm.nll(a, draws=1), 'infill': lambda: lm.infill(a, steps=1), 'draws': lambda: lm.nll('a', draws=a)}
    try: makers.get(what, lambda: what(a))()
    except BadInput as e: assert len(str(e).splitlines()) == 1


# --- files of models --------------------------------------------------------------------------------

@cases(200, st.data())
def test_any_config_loads_or_is_one_line(tiny, data):
    with new_folder() as d:
        shutil.copytree(tiny, d/'m')
        config = json.loads((d/'m/config.json').read_text())
        key = data.draw(st.sampled_from(sorted(config)))
        part = config[key] if isinstance(config[key], (dict, list)) and config[key] and data.draw(st.booleans()) else config
        place = data.draw(st.sampled_from(sorted(part) if isinstance(part, dict) else range(len(part)))) if part is not config else key
        part[place] = data.draw(json_values)
        (d/'m/config.json').write_text(json.dumps(config))
        try: lm = DiffusionLM.from_pretrained(d/'m')
        except BadInput as e: assert len(str(e).splitlines()) == 1
        else:
            try: lm.sample(1, steps=1)
            except BadInput: pass

@cases(120, st.integers(0, 10**7), st.integers(0, 255), st.sampled_from(['flip', 'cut', 'add', 'head']))
def test_any_numbers_load_or_are_one_line(tiny, at, value, how):
    with new_folder() as d:
        shutil.copytree(tiny, d/'m')
        f = d/'m/model.safetensors'
        data = f.read_bytes()
        at %= len(data)
        if how == 'head': at %= 600
        f.write_bytes(data[:at] if how == 'cut' else data + bytes([value]) if how == 'add' else data[:at] + bytes([value]) + data[at + 1:])
        try: lm = DiffusionLM.from_pretrained(d/'m')
        except BadInput as e: assert len(str(e).splitlines()) == 1
        else: assert isinstance(lm.sample(1, steps=1, n_words=2)[0], str)


# --- controls together ------------------------------------------------------------------------------

controls = st.one_of(
    st.sampled_from([('food', 'French'), ('food', 'italian'), ('near', 'Burger King'), ('Type', 'coffee shop'), ('family friendly', 'YES'), ('price', '£20-25'), ('name', 'The Eagle'), ('name', 'Eagle King')]).map(lambda v: SemanticContent(*v)),
    st.integers(1, 20).map(Length),
    st.sampled_from(['The ___ .', 'The ___{3} pub', '___{2} near ___ .', 'is French ___', '___', 'a ___{9} b']).map(Infill.parse))

@cases(150, st.lists(controls, min_size=1, max_size=4), st.integers(0, 5))
def test_any_controls_together_give_a_text_that_can_hold_them(tiny, parts, seed):
    lm, control = model(tiny), joined(parts)
    try: text = lm.sample(1, control, steps=1, seed=seed)[0].split()
    except BadInput as e: assert len(str(e).splitlines()) == 1
    else:
        assert len(text) >= control.min_words
        for c in parts:
            if isinstance(c, (Length, Infill)): assert c.check(text), (c, text)


# --- signals ----------------------------------------------------------------------------------------

@cases(50, st.integers(0, 12), st.sampled_from([signal.SIGINT, signal.SIGTERM, signal.SIGHUP]), st.sampled_from(['add', 'step', 'write']))
def test_a_stopped_command_goes_on_and_no_text_differs(tiny, at, number, where):
    with new_folder() as d, pytest.MonkeyPatch.context() as m:
        (d/'t.jsonl').write_text('5\n4\n3\n')
        args = 'length', '--targets', 't.jsonl', '--n', '2', '--steps', '2', '--batch-size', '2', '--model', tiny, '--out'
        assert call('control', *args, 'whole.jsonl')[0] == 0
        count = iter(range(10**6))
        def stopping(f):
            def g(*a, **k):
                if next(count) == at: signal.raise_signal(number)
                return f(*a, **k)
            return g
        owner, name = dict(add=(RowFile, 'add'), step=(DiffusionLM, 'predict'), write=(files, 'new_folder'))[where]
        with m.context() as inner:
            inner.setattr(owner, name, stopping(getattr(owner, name)))
            code, out, err = call('control', *args, 'o.jsonl')
        assert code in (0, 130) and 'Traceback' not in err
        assert call('control', *args, 'o.jsonl')[0] == 0
        texts = lambda f: {r['number']: r['texts'] for r in read_rows(f)}
        assert texts('o.jsonl') == texts('whole.jsonl') and {p.name for p in d.iterdir()} == {'t.jsonl', 'o.jsonl', 'whole.jsonl'}

@cases(12, st.integers(1, 6), st.sampled_from([signal.SIGINT, signal.SIGTERM, signal.SIGHUP]))
def test_a_stopped_training_goes_on_exactly(small_networks, at, number):
    with new_folder() as d, pytest.MonkeyPatch.context() as m:
        (d/'five.txt').write_text('\n'.join(FIVE))
        args = *TINY, 'five.txt', '--steps', 6, '--out'
        assert call('train', *args, 'whole')[0] == 0
        count = iter(range(10**6))
        def late(self):
            if next(count) + 1 == at: signal.raise_signal(number)
            return False
        m.setattr(T.Progress, 'late', late)
        code, _, err = call('train', *args, 'run')
        assert code == 130 and '--resume' in err
        assert call('train', *args, 'run', '--resume')[0] == 0
        assert (d/'run/model.safetensors').read_bytes() == (d/'whole/model.safetensors').read_bytes()

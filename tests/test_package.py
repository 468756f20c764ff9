"The package is what the notebooks export, installs and imports anywhere, and the repository stays small and clean."
import ast, importlib, inspect, json, os, re, shutil, subprocess, sys, zipfile
from configparser import ConfigParser
from importlib.util import find_spec
from pathlib import Path
import pytest
from fresh import fresh_script
import diffusion_lm_nb

repo = Path(__file__).parents[1]
package = repo/'diffusion_lm_nb'
config = ConfigParser(delimiters=['=']); config.read(repo/'settings.ini', encoding='utf8')
settings = config['DEFAULT']
scripts = [s.split('=') for s in settings['console_scripts'].split()]
modules = sorted(p.stem for p in package.glob('[a-z]*.py'))
MB = 2 ** 20

def run(*args, **kwargs): # -> what it printed; the test fails with it where the command does
    done = subprocess.run(
        [str(a) for a in args], capture_output=True, text=True, timeout=300, **kwargs
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout

def tracked(): # every file that is committed, or would be
    try: out = run('git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard', cwd=repo)
    except (FileNotFoundError, AssertionError): pytest.skip('not a git checkout')
    return [repo/f for f in out.split('\0') if f and (repo/f).is_file()]

def texts(): # (file, its text) of every committed text file of ours
    for f in tracked():
        if 'mathjax' in f.parts or f.suffix in ('.safetensors', '.png', '.gif', '.svg'): continue
        yield f, f.read_text(encoding='utf8')

# -- the notebooks are the source

def test_package_is_what_the_notebooks_export(tmp_path):
    shutil.copytree(
        repo / 'nbs', tmp_path / 'nbs', ignore=shutil.ignore_patterns('.ipynb_checkpoints')
    )
    for f in ('pyproject.toml', 'settings.ini'):
        shutil.copy(repo / f, tmp_path)
    (tmp_path / package.name).mkdir()
    shutil.copy(package / '__init__.py', tmp_path / package.name)
    (tmp_path / package.name / 'checks').mkdir()
    shutil.copy(package / 'checks/__init__.py', tmp_path / package.name / 'checks')
    run(Path(sys.executable).with_name('nbdev-export'), cwd=tmp_path)
    def read(folder):
        files = [*folder.glob('*.py'), *folder.glob('checks/*.py')]
        return {str(p.relative_to(folder)): p.read_text(encoding='utf8') for p in files}
    ours, exported = read(package), read(tmp_path / package.name)
    assert sorted(ours) == sorted(
        exported
    ), 'a module without a notebook, or a notebook without its module'
    differ = [f for f in ours if ours[f] != exported[f]]
    assert not differ, f'{", ".join(differ)}: not what the notebooks export; run nbdev-export'

def house(): # modules in the order in which they may import: A–E, chapters, F–I
    names = [p.stem for p in (repo / 'nbs').glob('*_*.ipynb')]
    place = lambda n: (0 if n[0] in 'ABCDE' else 2 if n[0] in 'FGHI' else 1, BELOW.get(n[0], n))
    return [n.split('_', 1)[1] for n in sorted(names, key=place)]

BELOW = dict(A='0', C='1', B='2', D='3', E='4') # the corpora are built with the grammar

def test_a_module_imports_only_from_below():
    order = house()
    assert set(order) == set(modules)
    for m in modules:
        for node in ast.walk(ast.parse((package / f'{m}.py').read_text(encoding='utf8'))):
            if not isinstance(node, ast.ImportFrom): continue
            used = (node.module or '').removeprefix('diffusion_lm_nb.')
            if not (node.level or (node.module or '').startswith('diffusion_lm_nb.')): continue
            assert order.index(used) < order.index(m), f'{m} imports {used}, which stands above it'

def test_no_import_fills_a_registry():
    "A module assigns to names of its own alone, when it is imported."
    for m in modules:
        body = ast.parse((package / f'{m}.py').read_text(encoding='utf8')).body
        own = {t.id for n in body if isinstance(n, ast.Assign) for t in n.targets if hasattr(t, 'id')}
        for n in body:
            for t in n.targets if isinstance(n, ast.Assign) else []:
                base = t.value if isinstance(t, (ast.Subscript, ast.Attribute)) else None
                assert base is None or getattr(base, 'id', None) in own, f'{m}: {ast.unparse(n)}'

def test_editors_see_what_a_model_can_do():
    from diffusion_lm_nb import DiffusionLM
    from diffusion_lm_nb.denoiser import Interface
    for name in ('sample', 'infill', 'nll', 'trajectory'):
        told, real = (inspect.signature(getattr(c, name)) for c in (Interface, DiffusionLM))
        plain = lambda s: [(p.name, p.kind, p.default) for p in s.parameters.values()]
        assert plain(told) == plain(real), name
        assert all(p.kind is not p.VAR_KEYWORD for p in real.parameters.values())
        assert getattr(DiffusionLM, name) is not getattr(Interface, name)

def test_versions_agree(): assert settings['version'] == diffusion_lm_nb.__version__

def test_public_names_are_documented():
    bare = []
    for m in modules:
        mod = importlib.import_module(f'diffusion_lm_nb.{m}')
        for name in getattr(mod, '__all__', []):
            obj = getattr(mod, name)
            if not (inspect.isclass(obj) or inspect.isfunction(obj)):
                continue
            if not (obj.__doc__ or '').strip() or obj.__doc__.startswith(f'{name}('):
                bare.append(f'{m}.{name}')
            if inspect.isclass(obj):
                bare += [
                    f'{m}.{name}.{k}'
                    for k, v in vars(obj).items()
                    if not k.startswith('_')
                    and inspect.isfunction(v)
                    and not inspect.getdoc(getattr(obj, k))
                ]
    assert not bare, f'no docstring: {", ".join(bare)}'

PAGES = ['README.md', 'docs/results.md', 'docs/samples.md', 'docs/using.md']

@pytest.mark.parametrize('page', PAGES)
def test_a_page_names_what_there_is(page):
    text = re.sub(r'<!--.*?-->', '', (repo / page).read_text(encoding='utf8'), flags=re.S)
    for m, name in set(re.findall(r'`(\w+)\.(\w+)`', text)):
        if m not in modules:
            continue
        obj = getattr(importlib.import_module(f'diffusion_lm_nb.{m}'), name, None)
        assert obj is not None, f'{page} names {m}.{name}, which is not there'
    for path in re.findall(r'\]\((?!https?:|#)([^)#\s]+)', text):
        assert ((repo / page).parent / path).exists(), f'{page} links to {path}, which is not there'

# -- it installs and imports anywhere

HEAVY = (
    'nbdev execnb IPython spacy datasets accelerate matplotlib transformers sklearn pandas nltk'
    ' sacrebleu rouge_score'.split()
)

def test_import_is_light(tmp_path):
    out = run(
        sys.executable,
        '-c',
        'import sys, json, diffusion_lm_nb; print(json.dumps(list(sys.modules)))',
        cwd=tmp_path,
        env=os.environ | dict(PYTHONPATH=str(repo)),
    )
    assert not (
        heavy := [m for m in HEAVY if m in json.loads(out)]
    ), f'importing diffusion_lm_nb loads {heavy}'

@pytest.mark.parametrize('script, target', scripts, ids=[s for s, _ in scripts])
def test_command_answers_help(script, target, tmp_path):
    module, function = target.split(':')
    if not find_spec(module):
        pytest.skip(f'{module} is not written yet')
    assert callable(
        getattr(importlib.import_module(module), function, None)
    ), f'{module} has no {function}'
    (tmp_path / script).write_text(
        f'import sys\nfrom {module} import {function}\nif __name__ == "__main__":'
        f' sys.exit({function}())\n'
    ) # as pip writes it
    env = os.environ | dict(PYTHONPATH=str(repo))
    code, out, err = fresh_script(tmp_path / script, ['--help'], tmp_path, env, 60)
    assert code == 0 and not err and out.startswith('usage:'), out + err

def test_wheel_holds_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    packed = {n for n in names if '.dist-info/' not in n}
    assert packed == {
        p.relative_to(repo).as_posix()
        for p in package.rglob('*')
        if p.is_file() and '__pycache__' not in p.parts
    } | {f'diffusion_lm_nb/results/{p.name}' for p in (repo / 'results').glob('*.json')}
    assert any(n.endswith('.dist-info/licenses/LICENSE') for n in names)
    entry = ConfigParser(delimiters=['='])
    entry.read_string(
        zipfile.ZipFile(wheel)
        .read(next(n for n in names if n.endswith('entry_points.txt')))
        .decode()
    )
    assert dict(entry['console_scripts']) == dict(scripts)

ELSEWHERE = '''
import sys
sys.path.insert(0, {target!r})
import diffusion_lm_nb
assert diffusion_lm_nb.__file__.startswith({target!r}), diffusion_lm_nb.__file__
from diffusion_lm_nb.files import result_rows
assert result_rows('further') and result_rows('cpu')
if {e2e}:
    lm = diffusion_lm_nb.DiffusionLM.from_pretrained('e2e')
    assert len(lm.sample(2, steps=2, seed=0)) == 2
'''
def test_wheel_works_outside_the_checkout(wheel, tmp_path):
    target, away = tmp_path / 'site', tmp_path / 'away'
    away.mkdir()
    run(
        sys.executable,
        '-m',
        'pip',
        'install',
        '-q',
        '--no-deps',
        '--no-index',
        '--target',
        target,
        wheel,
    )
    run(
        sys.executable,
        '-I',
        '-c',
        ELSEWHERE.format(target=str(target), e2e=(package / 'weights/e2e').is_dir()),
        cwd=away,
        env=os.environ | dict(HF_HUB_OFFLINE='1'),
    )

@pytest.mark.skipif(os.name == 'nt' or not shutil.which('make'), reason='no make here')
def test_make_says_which_python_it_needs(tmp_path):
    shutil.copy(repo / 'Makefile', tmp_path)
    for f in ('setup.py', 'settings.ini', 'pyproject.toml', 'constraints.txt'):
        (tmp_path / f).touch()
    old = tmp_path / 'old'
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.8.1\nexit 1\n')
    old.chmod(0o755)
    for python, says in (
        (old, '3.11 or newer is needed; this is Python 3.8.1'),
        ('no-such-python', 'No no-such-python here'),
    ):
        done = subprocess.run(
            ['make', '-s', f'PYTHON={python}', 'test'], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode and says in done.stderr, done.stderr
        assert not (tmp_path / '.venv').exists()

@pytest.mark.parametrize('given, expected', [
    ({}, '1000'), (dict(GOMP_SPINCOUNT='7'), '7'), (dict(OMP_WAIT_POLICY='active'), None)])
def test_threads_do_not_spin_for_long_unless_somebody_says_so(given, expected):
    env = {k: v for k, v in os.environ.items() if k not in ('GOMP_SPINCOUNT', 'OMP_WAIT_POLICY')}
    program = 'import os, diffusion_lm_nb; print(os.environ.get("GOMP_SPINCOUNT"))'
    assert run(sys.executable, '-c', program, cwd=repo, env=env | given).strip() == str(expected)

# -- the repository

def test_size_limits():
    sizes = {f: f.stat().st_size for f in tracked()}
    assert not (big := [f.name for f, n in sizes.items() if n > 16 * MB]), f'over 16 MB: {big}'
    assert sum(n for f, n in sizes.items() if package/'weights' in f.parents) <= 40 * MB
    assert sum(sizes.values()) < 56_000_000

def test_every_weight_has_its_card():
    for folder in (p.parent for p in package.glob('weights/**/*.safetensors')):
        assert (folder / 'README.md').exists() and (
            folder / 'config.json'
        ).exists(), f'{folder.relative_to(repo)} lacks its card or its configuration'

def test_nothing_of_one_machine_in_the_text():
    here = re.compile(
        r'(?<![\w.~*])/(work|root|home|Users)/[\w.]+|pypi[.]org|pythonhosted[.]org|registry[.]npmjs|deb[.]debian[.]org'
    )
    for f, text in texts():
        if f.suffix == '.ipynb':
            text = re.sub(r'"image/png": "[^"]*"', '', text)
        assert not (m := here.search(text)), f'{f.relative_to(repo)} holds {m[0]}'

def plain(s): return ' '.join(re.findall(r'\w+', s.lower()))
def strings(x): # every text in a value that came from JSON; a list of words is a text
    if isinstance(x, str): yield x
    elif isinstance(x, list) and all(isinstance(w, str) for w in x): yield from [' '.join(x), *x]
    elif isinstance(x, (list, dict)):
        for v in x.values() if isinstance(x, dict) else x: yield from strings(v)

@pytest.mark.skipif(not os.environ.get('DLM_DATA'), reason='no corpora here (DLM_DATA)')
def test_no_corpus_sentence():
    """No text of eight words or more that stands in a corpus stands as a line, or in quotes, in the
    repository.
    """
    ours = {}
    for f, text in texts():
        if f.suffix == '.ipynb':
            text = '\n'.join(
                strings(
                    [
                        [c['source'], [o.get('text', []) for o in c.get('outputs', [])]]
                        for c in json.loads(text)['cells']
                    ]
                )
            )
        for line in text.splitlines():
            for s in [
                line,
                *(t for q in re.findall(r'"([^"]*)"|\'([^\']*)\'|`([^`]*)`', line) for t in q),
            ]:
                if len((p := plain(s)).split()) >= 8:
                    ours[p] = f.relative_to(repo)
    for f in Path(os.environ['DLM_DATA']).rglob('*'):
        if f.suffix not in ('.txt', '.csv', '.json', '.jsonl'):
            continue
        for line in f.read_text(encoding='utf8').splitlines():
            try:
                found = list(strings(json.loads(line)))
            except ValueError:
                found = (
                    line.split('||') + line.split(',"')
                    if f.suffix != '.json'
                    else re.findall(r'"((?:[^"\\]|\\.)*)"', line)
                )
            if 'e2e' not in f.parent.name:
                found += [p for s in found for p in re.split(r'[.!?]', s)]
            for s in found:
                assert (
                    p := plain(s)
                ) not in ours, f'{ours[p]} holds a sentence of a corpus ({f.name})'

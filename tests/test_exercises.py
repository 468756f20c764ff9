"Exercises: a check refuses its blank and two wrong answers, passes on the solution, and a class gets copies."
import ast, builtins, importlib, importlib.util, json, os, re, subprocess, sys
from pathlib import Path
from unittest.mock import MagicMock
import pytest
from diffusion_lm_nb import BadInput

repo = Path(__file__).parents[1]
chapters = sorted((repo / 'nbs').glob('[0-9]*.ipynb'))
each = pytest.mark.parametrize('chapter', chapters, ids=lambda p: p.stem)
spec = importlib.util.spec_from_file_location('exercises', repo / 'scripts/exercises.py')
script = importlib.util.module_from_spec(spec); spec.loader.exec_module(script)

def cells(path): return json.loads(path.read_text(encoding='utf8'))['cells']

def sources(path): # of its code cells, flags left out
    for c in cells(path):
        if c['cell_type'] == 'code':
            yield re.sub(r'^#\s*\|.*$', '', ''.join(c['source']), flags=re.M), c

def blanks(chapter): return [s for s, c in sources(chapter) if script.is_blank_cell(c)]

def number(chapter): return chapter.stem.split('_')[0]

class Names(dict):
    "What the chapter has made until its exercises: whatever a cell asks for."
    def __missing__(self, name):
        return getattr(builtins, name) if hasattr(builtins, name) else MagicMock(name=name)

def namespace(chapter):
    names = Names()
    for text, _ in sources(chapter):
        body = ast.parse(re.sub(r'^[%!].*$', 'pass', text, flags=re.M)).body
        if body and all(isinstance(s, (ast.Import, ast.ImportFrom)) for s in body): exec(text, names)
    return names

@each
def test_there_are_three_each_with_a_hint(chapter):
    found = blanks(chapter)
    calls = [re.search(r'^(check_\w+)\(', s, re.M)[1] for s in found]
    assert calls == [f'check_{number(chapter)}_{k}' for k in (1, 2, 3)]
    text = '\n'.join(''.join(c['source']) for c in cells(chapter) if c['cell_type'] == 'markdown')
    asked = text[text.index('\n## Exercises'):]
    parts = re.split(r'^[123]\. \*\*', asked, flags=re.M)[1:]
    assert len(parts) == 3
    for part in parts:
        hint = re.search(r'<details><summary>Hint</summary>\n\n(.+?)\n</details>', part, re.S)
        assert hint and len(hint[1].split()) >= 5, part[:200]

@each
def test_a_blank_is_refused(chapter):
    for text in blanks(chapter):
        with pytest.raises(AssertionError, match='replace the three dots'):
            exec(text, namespace(chapter))

def called(path, name): # calls of a function with this name at top level of a notebook's cells
    for text, _ in sources(path):
        for node in ast.walk(ast.parse(re.sub(r'^[%!].*$', 'pass', text, flags=re.M))):
            if isinstance(node, ast.Call) and getattr(node.func, 'id', '') == name: yield node

@each
def test_the_solution_passes_and_two_wrong_answers_do_not(chapter):
    "The calls are there; that they run is asked by test_notebooks."
    solutions = repo / 'nbs/solutions' / chapter.name
    module = importlib.import_module(f'diffusion_lm_nb.checks.{chapter.stem.split("_", 1)[1]}')
    assert [n for n in module.__all__] == [f'check_{number(chapter)}_{k}' for k in (1, 2, 3)]
    refused = [n.args[0].id for n in called(solutions, 'refuses')]
    for name in module.__all__:
        assert getattr(module, name).__doc__
        assert any(called(solutions, name)), f'{name} does not see the solution'
        assert refused.count(name) >= 2, f'{name} refuses {refused.count(name)} wrong answers'

@pytest.fixture(scope='module')
def copies(tmp_path_factory):
    out = tmp_path_factory.mktemp('class')
    for kind in ('student', 'solutions'): script.write_chapters(kind, str(out / kind))
    return out

def test_a_student_sees_no_solution(copies):
    for path in sorted((copies / 'student').glob('*.ipynb')):
        text = path.read_text(encoding='utf8')
        assert '(solutions/' not in text and '#|' not in text
        assert len([c for c in cells(path) if 'check_' in ''.join(c['source'])]) >= 3
    assert len(list((copies / 'student').glob('*.ipynb'))) == len(chapters)

def test_no_blank_is_left_in_the_solutions(copies):
    for path in sorted((copies / 'solutions').glob('*.ipynb')):
        code = '\n'.join(''.join(c['source']) for c in cells(path) if c['cell_type'] == 'code')
        assert '#|' not in code and not re.search(r'^\w+ = \.\.\.', code, re.M), path.name
        ids = [c['id'] for c in cells(path)]
        assert len(ids) == len(set(ids)), path.name

def run(path, folder): # -> exit code, what the cells of a notebook print
    code = '\n'.join(s for s, _ in sources(path))
    file = folder / f'{path.parent.name}_{path.stem}.py'
    file.write_text(code, encoding='utf8')
    env = os.environ | dict(MPLBACKEND='agg', OMP_NUM_THREADS='1', PYTHONPATH=str(repo))
    done = subprocess.run([sys.executable, file.name], cwd=folder, env=env, timeout=200,
                          capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr

@pytest.mark.parametrize('name', ['02_forward'])
def test_copies_run(copies, tmp_path, name):
    "The one with solutions runs to its end, the student's stops at the first blank."
    code, said = run(copies / f'solutions/{name}.ipynb', tmp_path)
    n = name.split('_')[0]
    assert code == 0 and all(f'Exercise {n}.{k}: right.' in said for k in (1, 2, 3)), said[-2000:]
    code, said = run(copies / f'student/{name}.ipynb', tmp_path)
    assert code == 1 and f'Exercise {n}.1: replace the three dots' in said, said[-2000:]

def test_other_folders_are_left_alone(tmp_path):
    (tmp_path / 'mine.txt').write_text('x')
    with pytest.raises(BadInput, match='holds other things'):
        script.write_chapters('student', str(tmp_path))
    with pytest.raises(BadInput, match='is a file'):
        script.write_chapters('student', str(tmp_path / 'mine.txt'))
    with pytest.raises(BadInput, match='no kind'):
        script.write_chapters('teacher', str(tmp_path / 'x'))
    assert [p.name for p in tmp_path.iterdir()] == ['mine.txt']
    script.write_chapters('student', str(tmp_path / 'x'))
    script.write_chapters('student', str(tmp_path / 'x'))              # its own are written again

"Every notebook runs with no corpus and no network, and what is committed of it is fit to be read."
import ast, json, os, re, shutil, subprocess, sys
from pathlib import Path
import nbformat, pytest
from fresh import fresh_run

repo = Path(__file__).parents[1]
sys.path.insert(0, str(repo/'scripts'))
import golden
sys.path.pop(0)
notebooks = sorted(
    p.relative_to(repo).as_posix()
    for p in (repo / 'nbs').rglob('*.ipynb')
    if '.ipynb_checkpoints' not in p.parts
)
each = pytest.mark.parametrize('notebook', notebooks)

def cells(notebook): return json.loads((repo/notebook).read_text(encoding='utf8'))['cells']
def code(notebook): # -> (source without flags, outputs) of the cells that a run shows
    for c in cells(notebook):
        lines = ''.join(c['source']).split('\n')
        flags = ' '.join(l.split('|')[1] for l in lines if re.match(r'#\s*\|', l))
        if c['cell_type'] == 'code' and not re.search(
            r'\b(hide|notest|slow|cuda|default_exp|eval: false)\b', flags
        ):
            yield '\n'.join(l for l in lines if not re.match(r'#\s*\|', l)), c['outputs']

def shows(
    source, # must this cell have an output? Yes if it prints at top level, or ends in a value
):
    body = ast.parse(re.sub(r'^[%!].*$', 'pass', source, flags=re.M)).body
    if any(
        isinstance(s, ast.Expr)
        and isinstance(s.value, ast.Call)
        and getattr(s.value.func, 'id', '') == 'print'
        for s in body
    ):
        return True
    last = body[-1] if body else None
    return (
        isinstance(last, ast.Expr)
        and not isinstance(last.value, (ast.Call, ast.Constant))
        and not source.rstrip().endswith(';')
    )

NUMBER = re.compile(r'[-−+]?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?')

def printed(cell): # -> text that a reader sees under a cell, figures left out
    parts = []
    for o in cell.get('outputs', []):
        parts += [''.join(o.get('text', '')), ''.join(o.get('data', {}).get('text/plain', ''))]
    text = '\n'.join(p for p in parts if p and not re.match(r'<Figure|<matplotlib|\[?<', p))
    return re.sub(r'0x[0-9a-f]{6,}', '0x', text)

def alike(a, b): # equal words; numbers within 2 %, or within 2 of the last digit shown
    if NUMBER.sub('#', a).split() != NUMBER.sub('#', b).split(): return False
    for x, y in zip(NUMBER.findall(a), NUMBER.findall(b)):
        if x == y: continue
        u, v = (float(n.replace('−', '-').replace(',', '')) for n in (x, y))
        digits = len(x.partition('.')[2].partition('e')[0])
        if abs(u - v) > max(.02 * max(abs(u), abs(v)), 2.01 * 10. ** -digits): return False
    return True

@each
def test_runs(notebook, tmp_path, fits):
    "A fresh run ends well, and prints what is saved; cells marked `#| varies` print times and the like."
    for name in ('pyproject.toml', 'settings.ini'): shutil.copy(repo/name, tmp_path)
    (tmp_path/'tests').symlink_to(repo/'tests')
    copy = tmp_path/notebook
    copy.parent.mkdir(parents=True)
    shutil.copy(repo/notebook, copy)
    env = {k: v for k, v in os.environ.items() if k != 'DLM_DATA'}
    home = str(tmp_path/'hub')
    env |= dict(OMP_NUM_THREADS='1', HF_HUB_OFFLINE='1', HF_HOME=home, PYTHONPATH=str(repo))
    env['DLM_FITS'] = fits
    done, said = fresh_run(notebook, tmp_path, env)
    assert done == 0 and 'Success.' in said, f'{done}: {said[-4000:]}'
    kept = json.loads((repo/'tests/golden.json').read_text())['machine']
    if kept != golden.machine(): return         # another kind of CPU may print other digits
    for old, new in zip(cells(notebook), json.loads(copy.read_text(encoding='utf8'))['cells']):
        if old['cell_type'] != 'code' or '#| varies' in ''.join(old['source']): continue
        a, b = printed(old), printed(new)
        assert alike(a, b), f'saved:\n{a[:1500]}\nfresh:\n{b[:1500]}\nunder:\n{"".join(old["source"])[:500]}'

def test_the_processor_of_the_first_core_is_named(tmp_path):
    "Outputs are compared where they were made alone; another model of a CPU rounds in another way."
    info = tmp_path/'cpuinfo'
    cores = [f'processor\t: {k}\nvendor_id\t: Maker\ncpu family\t: 6\nmodel\t\t: {m}\n'
             f'model name\t: A: b\nstepping\t: 2\n\n' for k, m in enumerate((207, 143))]
    info.write_text(''.join(cores))
    assert golden.processor(info) == 'Maker 6 207 2'
    assert golden.processor(tmp_path/'none')               # a system without such a file

def test_a_fresh_run_saves_what_it_prints(tmp_path):
    "Else the comparison above would compare what is saved with itself."
    for name in ('pyproject.toml', 'settings.ini'): shutil.copy(repo/name, tmp_path)
    stale = nbformat.v4.new_output('stream', text='3\n')
    cell = nbformat.v4.new_code_cell('print(1 + 1)', outputs=[stale])
    path = tmp_path/'nbs/a.ipynb'
    path.parent.mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    done, said = fresh_run('nbs/a.ipynb', tmp_path, os.environ | dict(PYTHONPATH=str(repo)))
    assert done == 0, said
    assert printed(json.loads(path.read_text())['cells'][0]).strip() == '2'

def test_a_stale_output_is_seen():
    assert alike('loss 1.234, 12 of 16', 'loss 1.235, 12 of 16') and alike('a  b', 'a b')
    for a, b in (('loss 1.23', 'loss 1.33'), ('12 of 16', '15 of 16'), ('a pub', 'a bar')):
        assert not alike(a, b)

@each
def test_outputs_are_there(notebook):
    runs = list(code(notebook))
    assert (
        any(out for _, out in runs) or not runs
    ), 'no outputs saved: nbdev-test --save, then nbdev-clean'
    for source, out in runs:
        assert out or not shows(source), f'no output saved under:\n{source}'

@each
def test_outputs_are_clean(notebook):
    for source, outputs in code(notebook):
        for o in outputs:
            assert o['output_type'] != 'error', f'an error stands under:\n{source}'
            assert (
                o.get('name') != 'stderr'
            ), f'a warning or a log stands under:\n{source}\n{"".join(o["text"])[:300]}'

@each
def test_no_path_of_a_machine(notebook):
    for c in cells(notebook):
        shown = [''.join(c['source'])] + [''.join(o.get('text', '')) for o in c.get('outputs', [])]
        shown += [
            ''.join(v)
            for o in c.get('outputs', [])
            for k, v in o.get('data', {}).items()
            if k.startswith('text/')
        ]
        for text in shown:
            assert not (
                m := re.search(r'(?<![\w.~])/(work|root|home|Users|tmp|opt|var)/\S+', text)
            ), f'{m[0]} in:\n{text[:300]}'

@each
def test_opens_in_jupyter(notebook):
    nb = json.loads((repo / notebook).read_text(encoding='utf8'))
    assert (
        nb['metadata'].get('kernelspec', {}).get('name') == 'python3'
    ), 'no kernelspec python3 in its metadata: JupyterLab asks for a kernel'
    assert any(
        c['cell_type'] == 'markdown' and ''.join(c['source']).startswith('# ') for c in nb['cells']
    ), 'no title (# NN · Title)'
    for c in nb['cells']:
        for o in c.get('outputs', []):
            assert (
                len(''.join(o.get('data', {}).get('image/png', ''))) < 1_000_000
            ), 'a figure of a megabyte'

@pytest.mark.parametrize('notebook', notebooks)
def test_a_code_line_has_at_most_100_characters(notebook):
    code = [''.join(c['source']).split('\n') for c in cells(notebook) if c['cell_type'] == 'code']
    assert not [line for lines in code for line in lines if len(line) > 100]

chapters = [n for n in notebooks if re.fullmatch(r'nbs/\d\d\w*\.ipynb', n)]

@pytest.mark.parametrize('notebook', chapters)
def test_a_chapter_ends_with_what_was_learnt_and_three_exercises(notebook):
    text = '\n'.join(''.join(c['source']) for c in cells(notebook) if c['cell_type'] == 'markdown')
    ends = ['## What was learnt', '## Exercises', '1. **', '2. **', '3. **', 'Solutions:']
    at = [text.rfind(f'\n{e}') for e in ends]
    assert -1 not in at and at == sorted(at), dict(zip(ends, at))

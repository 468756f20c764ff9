"Every notebook runs with no corpus and no network, and what is committed of it is fit to be read."
import ast, json, os, re, subprocess, sys
from pathlib import Path
import pytest

repo = Path(__file__).parents[1]
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

@each
def test_runs(notebook, tmp_path):
    env = {k: v for k, v in os.environ.items() if k != 'DLM_DATA'}
    env |= dict(
        OMP_NUM_THREADS='1', HF_HUB_OFFLINE='1', HF_HOME=str(tmp_path), PYTHONPATH=str(repo)
    )
    command = [Path(sys.executable).with_name('nbdev-test'), notebook]
    done = subprocess.run(command, cwd=repo, env=env, timeout=300, capture_output=True, text=True)
    assert done.returncode == 0 and 'Success.' in done.stdout, (done.stdout + done.stderr)[-4000:]

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

"The book builds without a warning and reads offline."
import html, json, re, subprocess, sys
from pathlib import Path
import pytest

repo = Path(__file__).parents[1]

@pytest.fixture(scope='module')
def book(tmp_path_factory):
    out = tmp_path_factory.mktemp('book')
    command = [
        sys.executable,
        '-m',
        'sphinx',
        '-q',
        '-W',
        '--keep-going',
        '-c',
        'docs',
        '-d',
        out / 'doctrees',
        'nbs',
        out / 'html',
    ]
    done = subprocess.run(command, cwd=repo, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return out / 'html'

def pages(book): return [p for p in book.rglob('*.html') if '_static' not in p.parts]

def test_every_notebook_is_a_page(book):
    for nb in (repo / 'nbs').rglob('*.ipynb'):
        if nb.name[0] not in '._' and '.ipynb_checkpoints' not in nb.parts:
            assert (book / nb.relative_to(repo / 'nbs').with_suffix('.html')).exists(), nb.name

def test_nothing_is_fetched_from_elsewhere(book):
    for p in pages(book):
        text = p.read_text(encoding='utf8')
        assert not (
            m := re.search(
                r'<(?:script|img|iframe)[^>]*\bsrc="(?:https?:)?//[^"]*|<link[^>]*\bhref="(?:https?:)?//[^"]*',
                text,
            )
        ), f'{p.name} fetches {m[0]}'
        if 'class="math' in text:
            assert 'mathjax/tex-svg-full.js' in text, f'{p.name} has formulas, and no MathJax'

def test_flags_and_callouts_are_rendered(book):
    for p in pages(book):
        text = html.unescape(re.sub(r'<[^>]*>', '', p.read_text(encoding='utf8')))
        assert not re.search(
            r'^#\| *\w|\[!(NOTE|TIP|IMPORTANT|WARNING|CAUTION)\]', text, re.M
        ), f'{p.name} shows a flag of nbdev or a raw callout'
        assert not re.search(
            r'(?<![\\\w])\$\$|\\(frac|bar|mathcal)\{',
            re.sub(r'\\[(\[].*?\\[)\]]', '', text, flags=re.S),
        ), f'{p.name} shows raw TeX'

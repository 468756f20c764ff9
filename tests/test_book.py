"The book builds without a warning and reads offline."
import html, json, re, shutil, subprocess, sys
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
    assert (book / '_static/mathjax/tex-svg-full.js').read_bytes().startswith(b'(function(){')
    assert not [*book.rglob('*.gz')]

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

@pytest.mark.skipif(not shutil.which('chromium'), reason='no Chromium here')
def test_the_figure_in_the_book_moves(book, tmp_path):
    "A click on Play in the first page: the words change, and the last ones are those of the text."
    text = (book / 'index.html').read_text(encoding='utf8')
    script = '''<script>addEventListener("load", () => {
        const page = document.querySelector("iframe").contentDocument, out = {};
        const shown = () => [...page.querySelectorAll("li span")].map(s => s.textContent).join(" ");
        const run = JSON.parse(page.getElementById("data").textContent).runs[0];
        out.last = run[run.length - 1].map(w => w[0]).join(" "); out.before = shown(); page.querySelector("button").click();
        setTimeout(() => { out.after = shown(); document.title = JSON.stringify(out) }, 12000) })
    </script>'''
    (book / 'driven.html').write_text(text.replace('</body>', script + '</body>'), encoding='utf8')
    done = subprocess.run(
        ['chromium', '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic',
         '--no-first-run', '--disable-background-networking', '--disable-component-update',
         '--disable-sync', f'--user-data-dir={tmp_path}', '--dump-dom',
         '--virtual-time-budget=30000', (book / 'driven.html').as_uri()],
        capture_output=True, text=True, timeout=120)
    seen = json.loads(html.unescape(re.search(r'<title>(.*?)</title>', done.stdout, re.S)[1]))
    assert seen['before'] != seen['after'] == seen['last'] and len(seen['after'].split()) > 10

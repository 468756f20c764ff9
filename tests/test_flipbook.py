"Pictures that move: the page holds all of them, its slider moves, and labels are never markup."
import html, io, json, re, shutil, subprocess
import pytest
from matplotlib.figure import Figure
from PIL import Image
from diffusion_lm_nb import BadInput
from diffusion_lm_nb.flipbook import flip

CHROMIUM = shutil.which('chromium') or shutil.which('google-chrome')

def figure(k, size=(3, 2)):
    fig = Figure(figsize=size)
    fig.subplots().plot([0, k], [0, 1], 'k')
    return fig

@pytest.fixture(scope='module')
def book(): return flip([figure(k) for k in range(1, 5)], ['one', 'two', 'three', 'four'], 'lines')

def data(book): return json.loads(re.search(r'json">(.*?)</script>', book.page(), re.S)[1])

def test_the_page_holds_every_picture(book):
    held = data(book)
    assert held['labels'] == ['one', 'two', 'three', 'four'] and len({*held['pictures']}) == 4
    assert not re.search(r'https?:', book.page())

def test_a_gif_has_a_frame_a_picture(book, tmp_path):
    book.save(tmp_path / 'a.gif')
    assert Image.open(tmp_path / 'a.gif').n_frames == 4
    book.save(str(tmp_path / 'a.html'))
    assert (tmp_path / 'a.html').read_text(encoding='utf8') == book.page()

def test_labels_are_never_markup():
    evil = '</script><b onload="x">'
    book = flip([figure(1)], [evil], evil)
    assert evil not in book.page() and data(book)['labels'] == [evil]
    outer = book._repr_html_()
    assert outer.count('<') == 2 and html.unescape(re.search(r'srcdoc="([^"]*)"', outer)[1]) == book.page()

@pytest.mark.parametrize('figures, labels, said', [
    ([], [], 'at least one'), ([figure(1)], ['a', 'b'], '2 labels for 1'),
    ([figure(1), figure(1, (4, 2))], ['a', 'b'], 'differ in size')])
def test_bad_figures_are_refused(figures, labels, said):
    with pytest.raises(BadInput, match=said): flip(figures, labels)

def test_other_kinds_of_file_are_refused(book, tmp_path):
    with pytest.raises(BadInput, match='html or .gif'): book.save(tmp_path / 'a.mp4')
    assert not [*tmp_path.iterdir()]

@pytest.mark.skipif(not CHROMIUM, reason='no Chromium here')
def test_the_slider_and_the_button_move(book, tmp_path):
    script = '''<script>addEventListener("load", () => {
        const out = [], see = () => out.push([find("label").textContent, find("picture").src.length > 99]);
        see(); at.value = 2; at.dispatchEvent(new Event("input")); see();
        at.value = 0; find("play").click();
        setTimeout(() => { see(); document.title = JSON.stringify(out) }, 3000) })</script>'''
    page = tmp_path / 'driven.html'
    page.write_text(book.page().replace('</html>', script + '</html>'), encoding='utf8')
    done = subprocess.run(
        [CHROMIUM, '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic',
         '--no-first-run', '--disable-background-networking', '--disable-component-update',
         '--disable-sync', f'--user-data-dir={tmp_path}/profile', '--dump-dom',
         '--virtual-time-budget=6000', page.as_uri()], capture_output=True, text=True, timeout=120)
    seen = json.loads(html.unescape(re.search(r'<title>(.*?)</title>', done.stdout, re.S)[1]))
    assert seen == [['one', True], ['three', True], ['four', True]]

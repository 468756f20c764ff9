"The moving figure: its data, its page (driven in a browser where there is one), its GIF."
import html, json, re, shutil, subprocess
from dataclasses import replace
import pytest
from diffusion_lm_nb import BadInput, DiffusionLM, Infill, SemanticContent
from diffusion_lm_nb.animation import column_places, frame, page, show

CHROMIUM = shutil.which('chromium') or shutil.which('google-chrome')

@pytest.fixture(scope='module')
def lm(): return DiffusionLM.from_pretrained('grammar')

@pytest.fixture(scope='module')
def runs(lm):
    food = SemanticContent('food', 'French')
    return [list(lm.trajectory(seed=2, control=c, steps=10, batch_size=1)) for c in (None, food)]

def test_likely_words_begin_with_the_word_of_the_text(runs):
    for step in runs[0]:
        assert [l[0][0] for l in step.likely] == step.text.split()
        for likely, p in zip(step.likely, step.p[1:-1]):
            ps = [q for _, q in likely]
            assert ps == sorted(ps, reverse=True) and sum(ps) <= 1.0001
            assert ps[0] == pytest.approx(p.item())

def test_data_say_what_the_steps_say(runs):
    data = show(*runs, names=['free', 'guided']).data
    assert data['t'] == [round(s.t, 3) for s in runs[0]]
    for run, rows in zip(runs, data['runs']):
        for step, row in zip(run, rows):
            assert [w for w, *_ in row] == step.text.split()
            assert all(0 <= p <= 100 and w not in [o for o, _ in rest] for w, p, rest in row)
            assert all(len(rest) <= 3 and p >= max([q for _, q in rest], default=0)
                       for _, p, rest in row)

def test_given_words_have_no_runners_up(lm):
    gap = Infill.parse('The Grey Heron is a ___{2} near the river .')
    last = show(lm.trajectory(seed=0, control=gap, steps=5, batch_size=1)).data['runs'][0][0]
    assert last[2] == ['Heron', 100, []]

def test_words_of_a_model_are_never_markup(runs):
    evil = '</script><script>document.title="broken"</script>'
    bad = [replace(s, text=' '.join([evil] + s.text.split()[1:])) for s in runs[0]]
    picture = show(bad, names=['<b>'])
    assert evil not in page(picture.data) and '<b>' not in page(picture.data)
    outer = picture._repr_html_()
    assert outer.count('<') == 2 # the frame and its end
    source = re.search(r'srcdoc="([^"]*)"', outer)[1]
    assert html.unescape(source) == page(picture.data)

@pytest.mark.parametrize('make, said', [
    (lambda a, b: show(), 'at least one'), (lambda a, b: show([]), 'at least one'),
    (lambda a, b: show(a, b[:4]), 'different numbers of steps'),
    (lambda a, b: show(a, b, names=['x']), '1 names for 2'),
    (lambda a, b: show([*a[:-1], replace(a[-1], text='shorter')]), 'changes its number of words')])
def test_bad_figures_are_refused(runs, make, said):
    with pytest.raises(BadInput, match=said): make(*runs)

def test_columns_do_not_overlap_and_fit(runs):
    rows = show(*runs).data['runs'][0]
    places = column_places(rows, 300)
    for i, (x, line) in enumerate(places):
        wide = 7 * max(len(row[i][0]) for row in rows)
        assert x == 0 or x + wide <= 300
        assert i + 1 == len(places) or places[i + 1][1] > line or places[i + 1][0] > x + wide

def test_the_gif_moves_and_loops(runs, tmp_path):
    from PIL import Image
    show(*runs).save(tmp_path/'a.gif')
    with Image.open(tmp_path/'a.gif') as gif:
        frames = []
        for k in range(gif.n_frames):
            gif.seek(k)
            frames.append(gif.convert('L').tobytes())
        assert gif.n_frames == 6 and gif.info['loop'] == 0 and gif.info['duration'] == 3000
    assert len(set(frames)) == 6
    assert (tmp_path/'a.gif').stat().st_size < 1_000_000

def test_a_frame_shows_the_words(runs):
    data = show(*runs).data
    assert frame(data, 0).tobytes() != frame(data, 10).tobytes()
    assert min(frame(data, 10).getdata()) < 30 # certain words are dark

def test_only_pages_and_gifs_are_written(runs, tmp_path):
    for name in ('a.png', 'a', 'html'):
        with pytest.raises(BadInput, match='.html or .gif'): show(*runs).save(tmp_path/name)
    assert not [*tmp_path.iterdir()]

def browse(path, script): # -> what the script leaves in `out`
    "Open the page in headless Chromium, run a script behind it, and read what it found."
    source = path.read_text(encoding='utf8').replace('</html>', '')
    source += f'<script>const out = {{}};{script};document.title = JSON.stringify(out)</script>'
    (path.parent/'driven.html').write_text(source, encoding='utf8')
    done = subprocess.run(
        [CHROMIUM, '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic',
         '--no-first-run', '--disable-background-networking', '--disable-component-update',
         '--disable-sync', f'--user-data-dir={path.parent/"profile"}', '--dump-dom',
         '--virtual-time-budget=8000', (path.parent/'driven.html').as_uri()],
        capture_output=True, text=True, timeout=120)
    return json.loads(html.unescape(re.findall(r'<title>(.*?)</title>', done.stdout, re.S)[-1]))

SHOWN = '[...document.querySelectorAll("ol")].map(l => [...l.querySelectorAll("span")]' \
        '.map(s => s.textContent).join(" "))'

@pytest.mark.skipif(not CHROMIUM, reason='no Chromium here')
def test_the_slider_moves_the_words(runs, tmp_path):
    show(*runs, names=['free', 'guided']).save(tmp_path/'a.html')
    seen = browse(tmp_path/'a.html', f'''
        out.start = {SHOWN};
        const bar = document.querySelector("input");
        bar.value = 10; bar.dispatchEvent(new Event("input"));
        out.end = {SHOWN};
        out.told = bar.getAttribute("aria-valuetext");
        bar.value = 4; bar.dispatchEvent(new Event("input"));
        const word = document.querySelectorAll("ol")[1].children[3]; word.focus();
        word.dispatchEvent(new Event("focus")); // a busy machine may give a window no focus
        out.word = document.getElementById("said").textContent;
        bar.value = 10; bar.dispatchEvent(new Event("input"));
        out.later = document.getElementById("said").textContent;
        out.wide = word.getBoundingClientRect().width;
        out.names = [...document.querySelectorAll("h2")].map(h => h.textContent)''')
    assert seen['start'] == [r[0].text for r in runs] and seen['end'] == [r[-1].text for r in runs]
    assert seen['told'].startswith('t = 0.00: ') and runs[1][-1].text in seen['told']
    word, sure, rest = show(*runs).data['runs'][1][4][3]
    assert seen['word'].startswith(f'{word} {sure} %') and all(w in seen['word'] for w, _ in rest)
    word, sure, _ = show(*runs).data['runs'][1][10][3] # the line follows the slider
    assert seen['later'].startswith(f'{word} {sure} %')
    assert seen['names'] == ['free', 'guided']

@pytest.mark.skipif(not CHROMIUM, reason='no Chromium here')
def test_play_runs_to_the_end_and_stops(runs, tmp_path):
    show(*runs).save(tmp_path/'a.html')
    seen = browse(tmp_path/'a.html', f'''
        const play = document.querySelector("button"), bar = document.querySelector("input");
        play.click(); out.during = play.textContent;
        setTimeout(() => {{ out.at = +bar.value; out.end = {SHOWN}; out.after = play.textContent;
                            document.title = JSON.stringify(out) }}, 4000)''')
    assert (seen['during'], seen['at'], seen['after']) == ('Pause', 10, 'Play')
    assert seen['end'] == [r[-1].text for r in runs]

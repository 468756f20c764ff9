"The teacher's kit: every chapter has its entry, figures and times are right, slides stand alone."
import gzip, json, math, re, shutil, subprocess, sys
from html import unescape
from pathlib import Path
import pytest

REPO = Path(__file__).parents[1]
sys.path.insert(0, str(REPO / 'scripts'))
import slides

PAGE = (REPO / 'nbs/teaching.md').read_text(encoding='utf8')
PARTS = re.split(r'(?m)^## ', PAGE)[1:]
ENTRIES = {m[1]: p for p in PARTS if (m := re.match(r'\[(\d\d\w?) · ', p))}
ORDER = list(slides.chapters())
PLANS = {p.split('\n')[0]: p for p in PARTS if not p.startswith('[')}
each_chapter = pytest.mark.parametrize('chapter', ORDER)

def teach(chapter): return int(re.search(r'(\d+) to teach', ENTRIES[chapter])[1])

def chapters_in(text): # '11 to 12b, 16' -> the chapters' numbers, in order
    "All chapters that a text names; 'a to b' is everything between."
    out = []
    for a, b in re.findall(r'\b(\d\d[a-h]?)\b(?: to (\d\d[a-h]?)\b)?', text):
        out += ORDER[ORDER.index(a):ORDER.index(b or a) + 1]
    return out

def anchor(heading): # as the book makes it
    text = re.sub(r'[^\w\- ]', '', heading.replace('`', '').lower())
    return text.replace(' ', '-')

def figures_by_heading(chapter): # -> [heading of figure 1, heading of figure 2, …]
    return [h for h, blocks in slides.sections(slides.chapters()[chapter])
            for kind, _ in blocks if kind == 'figure']

def rows(text): # -> list of lists of cells of all tables, without their heads
    lines = [line for line in text.split('\n') if line.startswith('|')]
    lines = [line for k, line in enumerate(lines) if not re.match(r'\|[-|]+$', line)
             and not (k + 1 < len(lines) and re.match(r'\|[-|]+$', lines[k + 1]))]
    return [[c.strip() for c in line.strip('|').split('|')] for line in lines]

# ---- the entries

def test_every_chapter_has_its_entry():
    assert list(ENTRIES) == ORDER, 'an entry for each; the plans name every chapter, too'
    assert len(PAGE.split()) < 9950

@each_chapter
def test_the_parts_of_an_entry(chapter):
    text = ENTRIES[chapter]
    names = ['Question.', 'Time.', 'Before.', 'Board.', 'Ask.', 'Misunderstanding.']
    found = re.findall(r'\*\*([A-Z][a-z]+\.)\*\*', text)
    assert found == names, 'the parts, each once and in this order'
    assert re.search(r'\*\*Question\.\*\* [^\n]+\?\n', text), 'a question ends so'
    questions = re.findall(r'(?m)^\d\. (.+)$', text)
    assert len(questions) == 3
    for q in questions:
        asked, _, answer = q.partition(' — ')
        assert asked.rstrip('*').endswith('?') and answer.endswith('.'), q
    assert re.search(r'\*\*Misunderstanding\.\*\* \*"[^"]+"\* Say: .+\.\n', text)
    drawing = re.search(r'```text\n(.*?)```', text, re.S)[1].rstrip('\n').split('\n')
    assert 3 <= len(drawing) <= 8 and max(map(len, drawing)) <= 72, 'two minutes at the board'
    assert drawing and drawing == [line.rstrip() for line in drawing]

@each_chapter
def test_the_figure_for_the_board(chapter):
    shown = figures_by_heading(chapter)
    m = re.search(r'\*\*Board\.\*\* (?:Figure (\d+) \(\[(.+?)\]\((\S+?)\)\)\.|(No figure))',
                  ENTRIES[chapter])
    assert m, 'names a figure and its section, or says that there is none'
    if m[4]:
        assert not shown, 'there are figures'
        return
    number, (target, _, place) = int(m[1]), m[3].partition('#')
    assert target == slides.chapters()[chapter].name
    assert 1 <= number <= len(shown), f'the notebook has {len(shown)} figures'
    title = slides.sections(slides.chapters()[chapter])[0][0]
    if place: assert place == anchor(shown[number - 1]), f'stands under {shown[number - 1]}'
    else: assert shown[number - 1] == title, 'a figure before the first section'
    if place: assert m[2].split(':')[0] in shown[number - 1].replace('`', '')

@each_chapter
def test_what_comes_before(chapter):
    before = re.search(r'\*\*Before\.\*\* (.+)', ENTRIES[chapter])[1]
    named = chapters_in(before)
    assert all(ORDER.index(c) < ORDER.index(chapter) for c in named)
    assert named or chapter == '01'

def test_reading_times():
    assert slides.with_times(PAGE) == PAGE, 'run: python scripts/slides.py --times'

def test_the_rule_of_reading_times(tmp_path):
    cell = lambda kind, source, **more: dict(cell_type=kind, source=source, **more)
    image = dict(data={'image/png': 'iVBOR'})
    code = '#| export\n' + 'x = 1\n\n' * 100 # 100 lines count, 5 minutes
    cells = [cell('markdown', 'word ' * 400), cell('code', code, outputs=[image]), # 4 + 5 + 1
             cell('markdown', 'word ' * 490 + '\n## Exercises\n' + 'word ' * 9000), # + 4.9
             cell('code', 'x = 1\n' * 9000)]
    file = tmp_path / '01_x.ipynb'
    file.write_text(json.dumps(dict(cells=cells)))
    assert slides.reading_minutes(file) == 15
    wrong = PAGE.replace(' minutes to read', '1 minutes to read')
    assert wrong != PAGE == slides.with_times(wrong)

COMPUTED = [ # chapter or plan, the value, as the page writes it
    ('01', math.log(118), 'log 118 = 4.77'), ('02', .9 * .8 * .7, '= 0.504'),
    ('03', .5 * 3 * .5, '= 0.75 nats'), ('05', .2 * .6 / (.2 * .6 + .4 * .1), 'is 0.75'),
    ('07', .5 * .2 ** 2, '= 0.02'), ('07b', .8 ** 2 / (.8 ** 2 + .2 ** 2), '= 0.94'),
    ('08', 2000 * .004, '8 nats'), ('09', 1 - .5 * .8, '= 0.6;'), ('09', .5 / .6, '= 0.83'),
    ('09', -math.log(.99), '−log 0.99 = 0.01'), ('10b', .12 / (.12 + .04), '= 0.75'),
    ('11b', math.exp(.7) / (math.exp(.7) + 1), '= 0.67'), ('12', 2 * 3 / (5 + 4), '= 0.67'),
    ('12b', math.exp(10 / 5), '= 7.39'), ('13', math.log(121), 'log 121 = 4.80'),
    ('13', 1 / math.sqrt(48), '= 0.14'), ('13b', 20 - 6 + 2, '= 16 words'),
    ('14', 1 - (7 / 8) ** 8, '= 0.66'), ('14', 3.4 / 5, '0.68 nats'), ('14', 3 / 4, 'against 0.75'),
    ('14b', .24 / .38, '0.63'), ('14b', .14 / .38, '0.37'), ('14c', .04 / .28, '.14 .29'),
    ('14c', .08 / .28, '.29 .57'), ('14c', .16 / .28, '.57 '), ('16', 7 * 5 + 3, '= 38'),
    ('16b', math.sqrt(.75 * .25 / 40), '= 0.068'), ('16b', math.sqrt(.75 * .25 / 200), '= 0.031'),
    ('17', .9 ** 3, '= 0.729'), ('18', 190 * 10 + 10, '1,910'),
    ('18', 64 * 768 / (2 * 64 + 768), '= 55'), ('18b', 13 * 20, '260 GB'),
    ('18b', 260 / 3, '87 each'), ('18b', 6 * 768, '= 4,608'), ('18b', 4 * 87, '= 348 MB'),
    ('An examination', .8 * .75 * .5, '= 0.3.'), ('An examination', math.log(.3 / .7), '= −0.85'),
    ('An examination', .5 * .4, '= 0.2 nats'), ('An examination', 1 - .6 * .75, '= 0.55'),
    ('An examination', .4 / .55, '= 0.73'), ('An examination', .25 / .55, '= 0.45'),
    ('An examination', .6 * .25 / .55, '= 0.27'), ('An examination', .8 * .2, '0.8 · 0.2'),
    ('An examination', math.sqrt(.16 / 50), '= 0.057'),
    ('An examination', math.sqrt(.16 / 200), '= 0.028')]

@pytest.mark.parametrize('place, value, text', COMPUTED)
def test_answers_that_can_be_computed(place, value, text):
    assert text in (ENTRIES | PLANS)[place]
    if '0.8 · 0.2' in text: return
    written = re.findall(r'−?\d*[.,]?\d+', text.replace('log 0.99', '').replace('log 118', '')
                         .replace('log 121', ''))[0]
    digits = len(written.partition('.')[2])
    number = float(written.replace(',', '').replace('−', '-'))
    assert abs(number - value) <= .5 * 10 ** -digits + 1e-9, (value, text)

def test_bracketings():
    catalan = lambda n: math.comb(2 * n, n) // (n + 1)
    assert [catalan(n - 1) for n in (3, 4, 6)] == [2, 5, 42] and '2, 5 and 42' in ENTRIES['11']
    assert (1 + 8990) / (10 + 8990) == .999 and 'step 8,990' in ENTRIES['06']

QUOTED = { # numbers that the chapter says or prints; page=chapter if it writes them otherwise
    '01': '13.40 0.79=0.790', '02': '0.5 -3.75 95', '03': '0.898 0.24 5.66', '04': '0.76',
    '06': '0.074 0.018', '06b': '20 62 88 90', '08': '0.185 0.098 0.049 0.803 1.001',
    '09b': '62=0.62 6=0.06 42=0.42 83=0.83 50=0.50', '09c': '0.64', '10': '0.19 12=twelve 7=seven',
    '11b': '0.500=.500 0.566 0.565 0.677 0.97 11', '12b': '10=10.0', '13': '1.34',
    '13b': '0.56=0.5636 1.14=1.138', '14b': '0.92 0.99', '14c': '0.88 1.00',
    '14d': '4,800 50', '15': '0.31 0.28 0.94', '15b': 'cost with room near', '17': '320',
    '18': '2.74 1.17 133 1,910 80', '18b': '4,608'}

@pytest.mark.parametrize('chapter', QUOTED)
def test_numbers_are_those_of_the_chapter(chapter):
    text = '\n'.join(t for _, blocks in slides.sections(slides.chapters()[chapter])
                     for kind, t in blocks if kind != 'figure').replace('−', '-')
    entry = ENTRIES[chapter].replace('−', '-')
    for number in QUOTED[chapter].split():
        here, _, there = number.partition('=')
        assert re.search(rf'(?<![\d.]){re.escape(here)}(?!\d)', entry), f'no {here} in the entry'
        assert (there or here) in text, f'no {there or here} in the chapter; look at the entry'

# ---- the plans

def minutes(clock): return 60 * int(clock[:2]) + int(clock[3:])

def test_the_workshop():
    plan = PLANS['A workshop of two days']
    days = [rows(d) for d in plan.split('### Day')[1:]]
    assert len(days) == 2
    taught = []
    for day in days:
        at = minutes(day[0][0])
        for clock, length, what in day:
            assert minutes(clock) == at, f'{clock} {what}: it is {at // 60}:{at % 60:02}'
            if m := re.match(r'chapter (\w+)$', what):
                taught.append(m[1])
                assert int(length) == teach(m[1]), what
            at += int(length)
        assert day[-1][2] == 'end'
    total = sum(int(r[1]) for day in days for r in day)
    said = [int(n) for n in re.search(r'have (\d+) minutes, of which (\d+)', plan).groups()]
    assert said == [total, sum(map(teach, taught))]
    left = chapters_in(re.search(r'Left out: (.+?)\. ', plan)[1])
    assert sorted(left + taught) == sorted(ORDER), 'every chapter is taught or left out'

def exercises(chapter): # -> numbers
    text = '\n\n'.join(t for h, blocks in slides.sections(slides.chapters()[chapter])
                       if h == 'Exercises' for kind, t in blocks if kind == 'text')
    return re.findall(r'(?m)^(\d)\. \*\*', text)

def test_the_course():
    plan = PLANS['A course of six weeks']
    length = int(re.search(r'of (\d+) minutes each', plan)[1])
    taught, total, meetings = [], [0, 0], rows(plan)
    assert [r[0] for r in meetings] == [f'{w}{m}' for w in range(1, 7) for m in 'ab']
    for name, chapters, t, rest, homework in meetings:
        named = chapters_in(chapters)
        assert int(t) == sum(map(teach, named)) and int(t) + int(rest) == length, name
        assert int(rest) >= 15
        taught += named
        total = [total[0] + int(t), total[1] + int(rest)]
        for c, n in re.findall(r'(\d\d\w?)\.(\d)', homework):
            assert c in taught and n in exercises(c), f'{name}: exercise {c}.{n}'
    said = re.search(r'(\d+) minutes of chapters and (\d+) of rest, (\d+) in all', plan).groups()
    assert [int(n) for n in said] == [*total, sum(total)]
    assert taught == sorted(taught, key=ORDER.index)
    left = chapters_in(re.search(r'Left out: (.+?);', plan)[1])
    assert sorted(left + taught) == sorted(ORDER)

def test_the_workshop_s_exercises_exist():
    plan = PLANS['A workshop of two days']
    named = re.findall(r'\b(\d\d\w?)\.(\d)\b', re.sub(r'Python \S+', '', plan))
    assert len(named) >= 4 and all(n in exercises(c) for c, n in named)

def test_the_examination():
    plan = PLANS['An examination']
    questions = re.split(r'(?m)^\*\*(\d+) \((\d+) points\)\.\*\*', plan)[1:]
    numbers, points, texts = questions[::3], questions[1::3], questions[2::3]
    assert numbers == [str(n) for n in range(1, 11)]
    assert sum(map(int, points)) == 100 and 'Ten questions, 100 points' in plan
    for p, text in zip(points, texts):
        asked, answer = text.split(' — *Answer.* ')
        assert sum(int(n) for n in re.findall(r' \((\d+)\)', asked)) == int(p), asked
        assert len(answer.split()) > 5

# ---- links

def test_links_resolve():
    for page in (REPO / 'nbs/teaching.md', REPO / 'docs/teaching.md'):
        text = page.read_text(encoding='utf8')
        for link in re.findall(r'\]\((\S+?)\)', text):
            name, _, place = link.partition('#')
            target = page.parent / name
            assert target.is_file(), link
            if place:
                headings = [anchor(h) for h, _ in slides.sections(target)]
                assert place in headings, link
    makefile = (REPO / 'Makefile').read_text(encoding='utf8')
    for target in set(re.findall(r'`make (\w+)', PAGE)):
        assert re.search(rf'(?m)^{target}:', makefile), target
    assert "'teaching'" in (REPO / 'docs/conf.py').read_text(encoding='utf8'), 'a page of the book'

# ---- slides

@pytest.fixture(scope='module')
def decks(tmp_path_factory):
    out = tmp_path_factory.mktemp('slides')
    assert slides.main([str(out)]) is None
    return out

@each_chapter
def test_a_deck(decks, chapter):
    source = slides.chapters()[chapter]
    text = (decks / f'{source.stem}.html').read_text(encoding='utf8')
    parts = text.split('<section class="slide">')[1:]
    assert len(parts) > 5
    heads = [unescape(re.sub('<[^>]*>', '', h)) for h in re.findall(r'<h[12]>(.*?)</h[12]>', text)]
    assert heads[0].startswith(f'{chapter} · ') and heads[-2:] == list(slides.LAST)
    assert '<li>' in parts[-1] and '<li>' in parts[-2]
    cells = slides.cells_of(source)
    saved = [p for c in cells for p in slides.pictures(c)]
    shown = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    assert sorted(shown) == sorted(saved), 'each figure of the notebook, once'
    sources = re.findall(r'\b(?:src|href|srcset|data)\s*=\s*"([^"]*)"|url\(([^)]*)\)', text)
    for a, b in sources:
        s = a or b
        assert s.startswith(('data:image/png;base64,', '#')) or s == 'mathjax/tex-svg-full.js' \
            or re.match(r'https?://', s) and f'<a href="{s}"' in text, f'fetches {s}'
    assert '@import' not in text and 'fetch(' not in text and '<iframe' not in text
    bare = re.sub(r'<(script|style|pre|code)\b.*?</\1>', '', text, flags=re.S)
    bare = re.sub(r'\\\[.*?\\\]|\\\(.*?\\\)', '', bare, flags=re.S)
    assert not re.search(r'\\(frac|bar|mathcal|mid)\b|\$\$', bare), 'raw TeX'

def test_mathjax_and_the_list(decks):
    packed = (REPO / 'docs/_static/mathjax/tex-svg-full.js.gz').read_bytes()
    assert (decks / 'mathjax/tex-svg-full.js').read_bytes() == gzip.decompress(packed)
    assert not [*decks.rglob('*.gz')]
    assert (decks / 'mathjax/LICENSE').is_file()
    text = (decks / 'index.html').read_text(encoding='utf8')
    links = re.findall(r'href="([^"]+)"', text)
    assert links == [f'{p.stem}.html' for p in slides.chapters().values()]

def test_some_chapters_and_wrong_names(tmp_path, capsys):
    assert slides.main([str(tmp_path / 'a'), '02', '09b_classifiers']) is None
    made = sorted(p.name for p in (tmp_path / 'a').glob('[0-9]*.html'))
    assert made == ['02_forward.html', '09b_classifiers.html']
    capsys.readouterr()
    for args, says in (([str(tmp_path / 'b'), '77'], 'no chapter 77'), ([], 'name the folder')):
        assert slides.main(args) == 2
        err = capsys.readouterr().err
        assert says in err and len(err.splitlines()) == 1
    assert not (tmp_path / 'b').exists()

def test_sentences_and_claims():
    assert slides.sentences('One $a. B$ is (Ho et al. 2020). Two `x. Y`? *Three*.') == [
        'One $a. B$ is (Ho et al. 2020).', 'Two `x. Y`?', '*Three*.']
    assert slides.sentences('One. (Two is so. Three too.) Four.') == [
        'One.', '(Two is so. Three too.)', 'Four.']
    assert slides.sentences('**The score.** The gradient is one.') == [
        '**The score.** The gradient is one.']
    assert slides.claims('**The figure shows *two* things here.** But **not** this.') == [
        'The figure shows *two* things here.']
    fenced = 'a\n```sh\n# no heading\n```\n## One\nb'
    assert [h for h, _ in slides.split_at_headings(fenced)] == [None, 'One']
    blocks = [('text', 'First.'), ('figure', 'x'), ('text', 'It falls with the noise. More.')]
    assert slides.caption(blocks, 1) == 'It falls with the noise. More.'

PROBE = '''<script>addEventListener('load', () => {
  const root = document.documentElement, page = () => location.hash
  const press = key => dispatchEvent(new KeyboardEvent('keydown', {key, cancelable: true}))
  const seen = () => [...document.querySelectorAll('.shown .number')].map(x => x.textContent)
  const wait = setInterval(() => {
    if (!root.dataset.ready) return
    clearInterval(wait)
    const was = []
    for (const k of ['Home', 'ArrowRight', 'ArrowRight', 'ArrowLeft', 'End', 'ArrowRight']) {
      press(k); was.push(page().slice(1) + ':' + seen().join()) }
    document.title = JSON.stringify({...root.dataset, was})
  }, 50)
})</script></body>'''

@pytest.mark.skipif(not shutil.which('chromium'), reason='no Chromium here')
@pytest.mark.parametrize('name', ['03_objective', '09_guidance', '17_further'])
def test_the_slides_in_a_browser(decks, tmp_path, name):
    "No slide overflows, formulas are drawn, and the arrow keys turn the pages."
    text = (decks / f'{name}.html').read_text(encoding='utf8')
    probe = decks / f'probe_{name}.html'
    probe.write_text(text.replace('</body>', PROBE), encoding='utf8')
    done = subprocess.run(
        ['chromium', '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic',
         '--no-first-run', '--disable-background-networking', '--disable-component-update',
         '--disable-sync', f'--user-data-dir={tmp_path}', '--window-size=1280,720', '--dump-dom',
         '--virtual-time-budget=20000', probe.as_uri()],
        capture_output=True, text=True, timeout=120)
    seen = json.loads(unescape(re.search(r'<title>(.*?)</title>', done.stdout, re.S)[1]))
    n = text.count('<section class="slide">')
    body = re.sub(r'<(script|style)\b.*?</\1>', '', text, flags=re.S)
    assert seen['overflow'] == '', f'slides {seen["overflow"]} overflow'
    assert int(seen['formulas']) == body.count('\\(') + body.count('\\[') > 0
    assert seen['errors'] == '0', 'MathJax could not read a formula'
    assert seen['was'] == [f'{k}:{k} / {n}' for k in (1, 2, 3, 2, n, n)]

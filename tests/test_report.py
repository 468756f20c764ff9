"The page of a report: what is marked is what counts, axes are whole, and it stands alone on any width."
import html, json, re, shutil, subprocess
from html.parser import HTMLParser
import pytest
from diffusion_lm_nb import Infill, Length, PartsOfSpeech, SemanticContent, SyntaxSpan, SyntaxTree
from diffusion_lm_nb import page as pages
from diffusion_lm_nb.commands import sample_of
from diffusion_lm_nb.controls import contains
from diffusion_lm_nb.marks import levels, marked, odd_ones, text_html, trees_html, word_html
from diffusion_lm_nb.page import report_html
from diffusion_lm_nb.report import bars_html, draw_fluency, draw_lengths, draw_success, page_rows
from diffusion_lm_nb.report import report_figure, small_figure, table_html
from diffusion_lm_nb.trees import read_tree, tree_spans

CHROMIUM = shutil.which('chromium') or shutil.which('google-chrome')
in_browser = pytest.mark.skipif(not CHROMIUM, reason='no Chromium here')
TREE = '(S (NP (DET _) (NOUN _)) (VP (AUX _) (ADJP (ADJ _))))'

class Reads:
    "A judge who reads every text as a nominal phrase and the rest."
    def tag(self, words): return (['DET', 'NOUN', 'AUX', 'ADJ', 'PUNCT'] * 20)[:len(words)]
    def parse(self, words):
        rest = ' '.join(f'(X {w})' for w in words[2:])
        return read_tree(f'(S (NP (DET {words[0]}) (NOUN {words[1]})) (VP {rest}))')

def row(task, text, **target): # as `dlm-control` writes it
    value = target.pop('value', target)
    return task, dict(task=task, target=value, texts=[text], **target.pop('more', {}))

ROWS = [
    row('semantic', 'The Eagle serves French food .', value=['food', ':', 'French']),
    row('pos', 'The pub is cheap .', pos=['DET', 'NOUN', 'AUX', 'VERB', 'PUNCT']),
    row('tree', 'The pub is cheap', tree=TREE),
    row('spans', 'The pub is near the river .', spans=[[3, 5, 'PP']]),
    row('length', 'A pub near a bar .', value=6),
    row('semantic+pos', 'The cheap pub .', pos=['DET', 'ADJ', 'NOUN', 'PUNCT'],
        attr=['price', ':', 'cheap']),
]
GAP = dict(task='infill', target='The Eagle is ___ .', texts=['The Eagle is a cheap pub .'],
           references=['a small pub'])

def figures(task, method='diffusion', success=.97, **more):
    return dict(task=task, method=method, success=success, interval=[success - .01, 1.],
                lm_score=5., distinct4=.5, texts=24, by_target=[success, 1.]) | more

@pytest.fixture(scope='module')
def report(): # all six tasks, floors, and a ceiling
    samples = {'free · unguided': [['None', 'The Mill is a pub .', dict(target=None)]] * 2}
    for task, r in [*ROWS, ('infill', GAP)]: samples[f'{task} · diffusion'] = [sample_of(task, r)]
    rows = [dict(task='free', method='unguided', lm_score=4.5, texts=24)]
    rows += [figures(task) for task, _ in ROWS]
    rows.append(dict(task='infill', method='diffusion', context_kept=1., bleu4=45., rouge_l=23.))
    rows += [dict(task=t, method='unguided', success=.1, interval=[.05, .2]) for t, _ in ROWS]
    rows.append(dict(task='tree', method='their sentences', success=.96, interval=[.9, 1.],
                     success_labeller=.92))
    return dict(protocol='quick', model='e2e', steps=50, seed=0, oracle='judge', hardware='a CPU',
                rows=rows, samples=samples, sizes=dict(pos=[5, 30], tree=[4, 20]), without=[])

@pytest.fixture(scope='module')
def page(report): return report_html(report)

def section(page, name): # -> the HTML of one task
    return re.search(rf'<section id="task-{re.escape(name)}">(.*?)</section>', page, re.S)[1]

class Reader(HTMLParser):
    "Open and wrong tags, and all attributes that could fetch or run something."
    def __init__(self, text):
        super().__init__()
        self.open, self.wrong, self.scripts, self.asks = [], [], 0, []
        self.feed(text)
    def handle_starttag(self, tag, attrs):
        if tag not in ('meta', 'br', 'img'): self.open.append(tag)
        self.scripts += tag == 'script'
        for name, value in attrs:
            local = (value or '').startswith(('#', 'data:image/png;base64,'))
            if name in ('src', 'href', 'srcset', 'action', 'data') and not local: self.asks.append(value)
            if name.startswith('on') or tag in ('link', 'iframe', 'object'): self.asks.append(name)
    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag: self.wrong.append(tag)

def test_page_is_whole_and_stands_alone(page):
    r = Reader(page)
    assert (r.open, r.wrong, r.scripts, r.asks) == ([], [], 1, [])
    assert 'http' not in page and '@import' not in page
    assert set(re.findall(r'url\((.*?)\)', page)) == {'#hatch'}
    assert '<button' not in page                    # those come with JavaScript

EVIL = '<script>alert(1)</script><img src=x onerror=alert(1)>"\'&</style></section>$\\frac{$'

def test_hostile_text_is_never_markup(report):
    bad = json.loads(json.dumps(report))
    bad |= dict(protocol=EVIL, model=EVIL, hardware=EVIL, oracle=EVIL, seed=EVIL, steps=EVIL)
    bad['without'] = [dict(task=EVIL, method=EVIL, reason=EVIL)]
    word = EVIL.replace(' ', '')
    for name, rows in list(bad['samples'].items()):
        for r in rows: r[:2] = EVIL, f'{word} {r[1]} {EVIL}'
        bad['samples'][f'{name}{EVIL}'] = bad['samples'][f'{EVIL}+{name}'] = rows
    bad['samples']['infill · diffusion'][0][2]['references'] = [EVIL]
    bad['rows'] += [figures(EVIL, EVIL), figures('pos', EVIL)]
    bad['rows'].append(dict(task='infill', method=EVIL, bleu4=EVIL))
    text = report_html(bad)
    r = Reader(text)
    assert (r.open, r.wrong, r.scripts, r.asks) == ([], [], 1, [])
    assert '<img src=x' not in text and text.count('&lt;script&gt;alert(1)') > 30

def test_hostile_words_in_marks_and_trees():
    words = [EVIL.replace(' ', ''), 'pub', 'is', '<b>']
    m = marked(' '.join(words), SyntaxTree(TREE), NamedReads())
    drawn = text_html(m) + trees_html(*m.tree)
    assert Reader(drawn).scripts == 0 and '<b>' not in drawn and '&lt;b&gt;' in drawn

class NamedReads(Reads):
    "Reads a text whose words are no brackets."
    def parse(self, words): return read_tree('(S (NP (DET _) (NOUN _)) (VP (AUX _) (VP (VERB _))))')

# -- what is marked is what counts

@pytest.mark.parametrize('text', [
    'The Eagle serves French food .', 'French food and French wine', 'french food',
    'A Frenchman cooks', 'food', '', 'The Eagle', 'The big Eagle', 'Eagle The Eagle The Eagle'])
@pytest.mark.parametrize('field, value', [('food', 'French'), ('name', 'The Eagle')])
def test_highlighted_words_are_the_value(text, field, value):
    c = SemanticContent(field, value)
    m = marked(text, c)
    bold = re.findall(r'<mark class="hit">(.*?)</mark>', text_html(m))
    assert bool(bold) == c.check(m.words) == m.verdicts[0][0]
    wanted = value.split()
    assert bold == wanted * (len(bold) // len(wanted))
    rest = [w for k, w in enumerate(m.words) if k not in m.hits]
    assert not contains(rest, wanted) or not m.words

def test_another_way_to_say_it_is_no_hit():
    m = marked('It is child friendly .', SemanticContent('family friendly', 'yes'))
    assert not m.hits and m.near == {2, 3} and m.verdicts[0][0] is False
    assert text_html(m).count('class="near"') == 2 and '✗' in text_html(m)

def test_wrong_tags_are_marked_and_named():
    c = PartsOfSpeech('DET NOUN AUX VERB PUNCT NOUN')
    m = marked('The pub is cheap .', c, Reads())
    wrong = [k for k in range(5) if 'wrong' in word_html(m, k)]
    assert wrong == [3] and '✗ ADJ, not VERB' in word_html(m, 3)
    assert 'VERB' not in word_html(m, 0) and '<i>DET</i>' in word_html(m, 0)
    assert '∅<i>✗ no NOUN</i>' in text_html(m) and m.verdicts == [(False, '4 of 6 tags are right')]
    longer = marked('The pub is', PartsOfSpeech('DET NOUN'), Reads())
    assert longer.verdicts[0][0] is False and 'one too many' in word_html(longer, 2)
    right = marked('The pub is cheap .', PartsOfSpeech('DET NOUN AUX ADJ PUNCT'), Reads())
    assert right.verdicts[0][0] is True and 'wrong' not in text_html(right)

def test_verdicts_are_those_of_the_metric():
    words = 'The pub is cheap .'.split()
    for c in (SyntaxSpan(0, 1, 'NP'), SyntaxSpan(1, 2, 'NP'), SyntaxSpan(3, 9, 'NP'),
              SyntaxTree(TREE), SyntaxTree('(S (NP _ _) (VP _ _ _))')):
        m = marked(' '.join(words), c, Reads())
        assert m.verdicts[0][0] == (c.score(words, Reads()) == 1), c
    assert marked('a b c', Length(3)).verdicts[0][0] and not marked('a b', Length(3)).verdicts[0][0]

def test_the_span_stands_in_brackets():
    m = marked('The pub is near the river .', SyntaxSpan(3, 5, 'PP'), None)
    shown = re.sub(r'<[^>]+>', '', text_html(m))
    assert shown.startswith('The pub is [near the river] PP .') and m.verdicts[0][0] is None
    past = marked('The pub', SyntaxSpan(1, 5, 'NP'), Reads())
    assert 'ends before word 5' in past.verdicts[0][1] and past.verdicts[0][0] is False

def test_the_gap_and_the_count_are_shown():
    m = marked('The Eagle is a cheap pub .', Infill.parse('The Eagle is ___ .'))
    assert re.findall(r'class="gap">(.*?)<', text_html(m)) == ['a', 'cheap', 'pub']
    m = marked('A Mill', Infill.parse('The Eagle is ___ .'))
    assert 'mark' not in text_html(m) and m.verdicts[0][0] is False
    counted = text_html(marked('a b c d e f g', Length(7)))
    assert re.findall(r'(\w)<sub>(\d+)</sub>', counted) == [('e', '5'), ('g', '7')]

def test_trees_show_what_differs():
    a = tree_spans(read_tree('(S (NP _ _) (VP _ (NP _) (PP _ (NP _ _))))'))
    b = tree_spans(read_tree('(S (NP _ _) (VP _ (NP (NP _) (PP _ (NP _ _)))))'))
    assert levels(a) == [0, 1, 1, 2, 2, 3] and levels(b) == [0, 1, 1, 2, 3, 3, 4]
    assert odd_ones(a, b) == set() and [b[k] for k in odd_ones(b, a)] == [(3, 6, 'NP')]
    left, right = trees_html(a, b, 'The pub is food near the river'.split()).split('</figure>')[:2]
    assert 'box odd' not in left and right.count('box odd') == 1 and '>+ NP</text>' in right
    assert right.count('<rect') == len(b) and '>river</text>' in right
    back = trees_html(b, a, ['_'] * 7).split('</figure>')[0]
    assert '>✗ NP</text>' in back                   # a sign, not a colour alone
    twice = [(0, 1, 'NP'), (0, 1, 'NP')]
    assert odd_ones(twice, twice[:1]) == {1}

# -- the whole page

def test_each_task_has_its_marks_on_the_page(page):
    assert '<mark class="hit">French</mark>' in section(page, 'semantic')
    assert '✗ ADJ, not VERB' in section(page, 'pos')
    assert section(page, 'tree').count('class="tree"') == 2
    assert '[</b>' in section(page, 'spans') and '] PP</b>' in section(page, 'spans')
    assert '<sub>6</sub>' in section(page, 'length') and '6 words' in section(page, 'length')
    assert '<mark class="gap">cheap</mark>' in section(page, 'infill')
    assert 'a person wrote: a small pub' in section(page, 'infill')
    both = section(page, 'semantic+pos')
    assert '<mark class="hit">cheap</mark><i>ADJ</i>' in both
    assert page.count('named judge') >= 2 and 'not selected' in page

def test_the_head_says_what_was_asked_and_met(page):
    head = page[:page.index('id="run"')]
    for title, question, _, _ in pages.ASKED.values():
        assert title in head and question in head
    assert head.count('97.0 %') == len(ROWS) and head.count('unguided texts: 10.0 %') == len(ROWS)
    assert 'people’s sentences: 96.0 %' in head and '95 % interval 96–100' in head
    assert 'a sample of the full protocol' in head and 'seed 0' in head

def test_the_unguided_text_has_the_same_number(report):
    free = [['None', f'free {k}', {}] for k in range(3)]
    told = [['6', f'steered {k} .', dict(target=6)] for k in range(4)]
    more = report | dict(samples={'free · unguided': free, 'length · diffusion': told,
                                  'length · fudge': told})
    text = report_html(more)
    ours, other = section(text, 'length').split('<h4>fudge</h4>')
    bare = re.sub(r'<sub>\d+</sub>', '', ours)
    for k in range(3):
        one = bare[bare.index(f'steered {k}'):bare.index(f'steered {k + 1}')]
        assert f'free {k}' in one and 'same seed and number' in one
    assert 'free' not in bare[bare.index('steered 3'):] # none with this number
    assert 'unguided' not in other                      # another model: not the same numbers

def test_axes_of_success_run_from_0_to_100(report):
    bars = bars_html(report)
    assert re.findall(r'text-anchor="\w+">(\d+)</text>', bars) == ['0', '25', '50', '75', '100']
    values = re.findall(r'class="value" x="(.*?)%".*?width="(.*?)%"', bars)
    assert values == [('0', '97.0')] * len(ROWS)
    assert {*re.findall(r'x2="(\d+)%" y1="0"', bars)} == {'0', '25', '50', '75', '100'}
    left, mid, right = report_figure(report).axes
    assert (left.get_xlim(), mid.get_ylim(), right.get_ylim()) == ((0, 100),) * 3
    for draw in (draw_success, draw_fluency, draw_lengths):
        ax = small_figure(draw, report).axes[0]
        assert (ax.get_xlim() if draw is draw_success else ax.get_ylim()) == (0, 100)
    far = dict(rows=[figures('pos', f'm{k}', lm_score=5. + 99 * k) for k in range(14)])
    ax = small_figure(draw_fluency, far).axes[0]
    assert (ax.get_xscale(), ax.texts[:]) == ('log', []) and ax.get_ylim() == (0, 100)
    low = dict(rows=[figures('pos', success=.02)], sizes={})
    assert report_figure(low).axes[0].get_xlim() == (0, 100)

def test_landmarks_are_marks_and_columns_not_rows(report):
    bars = bars_html(report)
    assert bars.count('class="floor" cx="10.0%"') == len(ROWS)
    assert bars.count('class="ceiling"') == 1 and 'svg x="96.0%"' in bars
    assert bars.count('○ unguided 10.0 %') == len(ROWS) and bars.count('◇ people 96.0 %') == 1
    two = bars_html(report | dict(rows=report['rows'] + [figures('tree', 'fudge')]))
    assert two.count('○ unguided') == len(ROWS) and two.count('class="floor"') == len(ROWS) + 1
    assert two.index('>tree<') < two.index('>tree, fudge<') < two.index('>spans<')
    rows = page_rows(report)
    assert [r['task'] for r in rows] == ['free', *(t for t, _ in ROWS), 'infill']
    table = table_html(report)
    assert table.count('<tr>') == 1 + len(rows) and '<td>–</td>' not in table
    assert '<th scope="col">unguided</th><th scope="col">people</th>' in table
    tree = re.search(r'<tr><th scope="row">tree</th>.*?</tr>', table)[0]
    assert 'data-v="0.1">10.0 %' in tree and 'data-v="0.96">96.0 %' in tree

# -- parts that are missing

def without(report, *keys): return {k: v for k, v in report.items() if k not in keys}

MISSING = dict(
    nothing=lambda r: r | dict(rows=[], samples={}, sizes={}),
    one_task=lambda r: r | dict(rows=[x for x in r['rows'] if x['task'] == 'length'],
                                samples={'length · diffusion': r['samples']['length · diffusion']}),
    no_unguided=lambda r: r | dict(samples={k: v for k, v in r['samples'].items() if 'free' not in k}),
    no_samples=lambda r: r | dict(samples={'tree · diffusion': []}),
    bare=lambda r: without(r, 'rows', 'samples', 'sizes', 'without', 'oracle', 'hardware'),
    cut_off=lambda r: r | dict(rows=r['rows'][:3], sizes={}),
    earlier=lambda r: r | dict(samples={
        'tree · diffusion': [('(S …)', 'The pub is cheap', TREE)], 'pos · ft': [('DET', 'The')]}),
    no_interval=lambda r: r | dict(rows=[without(x, 'interval', 'by_target') for x in r['rows']]),
    others=lambda r: r | dict(rows=[x | dict(method='fudge') for x in r['rows']]),
    broken_target=lambda r: r | dict(samples={'pos · diffusion': [('x', 'A pub', dict(target=3))]}),
    unknown=lambda r: r | dict(samples={'juggle · diffusion': [('x', 'A pub', dict(target=3))]}),
    grammar=lambda r: r | dict(model='grammar', protocol='glance'),
)

@pytest.mark.parametrize('name', MISSING)
def test_missing_parts_leave_a_whole_page(report, name):
    r = MISSING[name](report)
    text = report_html(r)
    found = Reader(text)
    assert (found.open, found.wrong, found.asks) == ([], [], [])
    ids = set(re.findall(r' id="([^"]+)"', text))
    assert set(re.findall(r'href="#([^"]+)"', text)) <= ids     # no link to what is not there
    assert not re.search(r'<section[^>]*><h2>[^<]*</h2></section>|>nan|None<', text)
    for title, *_ in pages.ASKED.values(): assert title in text
    if name in ('nothing', 'bare'):
        assert text.count('Not part of this run') == 6 and 'id="bars"' not in text
    if name == 'earlier': assert section(text, 'tree').count('class="tree"') == 2
    if name == 'others': assert '97.0 %</b> by fudge' in text

def test_without_the_parser_nothing_is_claimed(report, monkeypatch):
    text = report_html(report | dict(oracle='nobody'))
    assert 'not read' in section(text, 'pos') and 'wrong' not in section(text, 'pos')
    assert 'class="tree"' not in text and '<mark class="hit">French</mark>' in text

def test_the_limits_of_a_run_are_said(report):
    text = report_html(report | dict(without=[dict(task='pos', method='ft', reason='no weights')]))
    assert 'Not done: pos · ft: no weights' in text and 'A parser errs' in text
    assert 'by construction' in text and 'tree 92.0 %' in text and 'no ceiling' not in text
    bare = [r for r in report['rows'] if r['method'] != 'their sentences']
    assert 'no ceiling' in report_html(report | dict(rows=bare))
    full = report_html(report | dict(protocol='full', oracle='stanza+benepar'))
    assert 'sample of the full' not in full and 'A parser errs' not in full

def test_a_full_report_of_all_methods_is_small(report):
    long = ' '.join(f'word{k}' for k in range(60))
    tags = ['NOUN'] * 60
    samples, rows = {}, []
    for k in range(12):
        method = 'diffusion' if k == 0 else f'method-{k}'
        for task, target in (('pos', dict(pos=tags)), ('length', 60), ('spans', dict(
                spans=[[3, 9, 'PP']])), ('tree', dict(tree=f'(S {"(NP _ _ _) " * 20})')),
                ('semantic', ['food', ':', 'French'])):
            samples[f'{task} · {method}'] = [[str(target), long, dict(target=target)]] * 10
            rows.append(figures(task, method))
    samples['free · unguided'] = [['None', long, {}]] * 10
    text = report_html(report | dict(samples=samples, rows=rows))
    assert len(text.encode()) < 1_500_000

# -- in a browser

def browse(tmp_path, text, script, width): # page; function body over `page`, `out`; pixels
    "What the script leaves in `out`, with the page in a frame of that width."
    outer = (f'<!doctype html><title></title><iframe id="f" style="width:{width}px;height:900px;'
             f'border:0" srcdoc="{html.escape(text)}"></iframe><script>addEventListener("load", () '
             '=> { const page = document.getElementById("f").contentDocument, out = {};'
             f'{script}; document.title = JSON.stringify(out) }})</script>')
    (tmp_path/'driven.html').write_text(outer, encoding='utf8')
    done = subprocess.run(
        [CHROMIUM, '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic',
         '--no-first-run', '--disable-background-networking', '--disable-component-update',
         '--disable-sync', '--hide-scrollbars', f'--user-data-dir={tmp_path/"profile"}', '--dump-dom',
         '--virtual-time-budget=8000', '--window-size=1300,1000', (tmp_path/'driven.html').as_uri()],
        capture_output=True, text=True, timeout=120)
    return json.loads(html.unescape(re.search(r'<title>(.*?)</title>', done.stdout, re.S)[1]))

@in_browser
def test_the_table_is_sorted_by_its_heads(report, tmp_path):
    rows = [figures('pos', success=s, distinct4=d, texts=n)
            for s, d, n in ((.9, .1, 9), (1., .5, 100), (.95, .3, 24))]
    rows.append(dict(task='free', method='unguided', distinct4=.2))
    rows.append(figures('length', 'fudge', .05))
    seen = browse(tmp_path, report_html(report | dict(rows=rows)), '''
        const heads = [...page.querySelectorAll("#figures thead th")];
        const named = n => heads.find(h => h.textContent === n);
        const column = n => [...page.querySelectorAll("#figures tbody tr")].map(
          r => r.cells[heads.indexOf(named(n))].textContent);
        out.buttons = heads.every(h => h.querySelector("button[type=button]"));
        out.none = heads.map(h => h.getAttribute("aria-sort"));
        const press = n => { const b = named(n).querySelector("button"); b.focus(); b.click();
          return page.activeElement === b };
        out.focus = press("success"); out.up = column("success");
        out.said = named("success").getAttribute("aria-sort");
        press("success"); out.down = column("success");
        out.turned = named("success").getAttribute("aria-sort");
        press("task"); out.task = column("task");
        out.left = named("success").getAttribute("aria-sort");
        press("distinct-4"); out.variety = column("distinct-4");
        press("texts"); out.texts = column("texts");
        out.hint = getComputedStyle(page.getElementById("hint")).display''', 1200)
    assert seen['buttons'] and seen['focus'] and not any(seen['none'])
    assert seen['up'] == ['5.0 %', '90.0 %', '95.0 %', '100.0 %', ''] # what is empty comes last
    assert seen['texts'] == ['9', '24', '24', '100', '']            # numbers, not letters
    assert seen['down'] == ['100.0 %', '95.0 %', '90.0 %', '5.0 %', '']
    assert (seen['said'], seen['turned'], seen['left']) == ('ascending', 'descending', None)
    assert seen['task'] == ['free', 'length', 'pos', 'pos', 'pos']
    assert seen['variety'] == ['0.10', '0.20', '0.30', '0.50', '0.50']
    assert seen['hint'] == 'block'

WIDE = '''const root = page.documentElement, box = page.querySelector(".wide");
    out.width = root.clientWidth; out.scroll = root.scrollWidth;
    out.box = box ? [box.clientWidth, box.scrollWidth] : null;
    const inBox = e => e.closest(".wide, svg");
    out.past = [...page.querySelectorAll("body *")].filter(e => !inBox(e)
      && e.getBoundingClientRect().right > root.clientWidth + 1).map(e => e.outerHTML.slice(0, 80))'''

@in_browser
@pytest.mark.parametrize('width', [390, 320, 1200])
def test_the_page_never_scrolls_sideways(report, tmp_path, width):
    deep = '_'
    for label in 'NP PP NP SBAR VP NP PP NP VP S NP PP VP'.split(): deep = f'({label} {deep} _)'
    long = dict(report, samples=report['samples'] | {
        'tree · fudge': [['x', 'Averyveryverylongwordthatneverends' * 4 + ' a b c d', dict(
            target=dict(tree=deep))]], 'pos · a-method-with-a-very-long-name-that-has-no-end': [
                ['DET', 'The ' + 'x' * 90, dict(target=dict(pos=['DET', 'NOUN']))]]})
    long['rows'] = report['rows'] + [figures('pos', 'a-method-with-a-very-long-name-that-has-no-end')]
    seen = browse(tmp_path, report_html(long), WIDE, width)
    assert seen['width'] == width and seen['scroll'] <= width and not seen['past'], seen
    if width < 1000: assert seen['box'][1] > seen['box'][0]     # the table scrolls in its box

@in_browser
def test_print_is_black_on_white_and_cuts_no_row(page, tmp_path):
    printed = page.replace('@media print', '@media all')
    assert printed != page
    seen = browse(tmp_path, printed, '''const style = s => getComputedStyle(page.querySelector(s));
        out.nav = style("nav").display;
        out.cut = [...["tr", ".card", ".sample", ".bar", ".trees"]].map(s => style(s).breakInside);
        out.colours = [...new Set([...page.querySelectorAll("body *")].filter(e => e.closest("main"))
          .map(e => getComputedStyle(e).color))];
        out.hit = style("mark.hit").backgroundColor; out.line = style("mark.hit").borderBottomStyle;
        out.button = style("th button").display;   // a head with buttons is not repeated
        const box = page.querySelector(".wide"); out.over = getComputedStyle(box).overflowX''', 700)
    assert seen['button'] == 'contents' and seen['nav'] == 'none' and seen['over'] == 'visible'
    assert set(seen['cut']) == {'avoid'} and seen['colours'] == ['rgb(0, 0, 0)']
    assert seen['hit'] == 'rgba(0, 0, 0, 0)' and seen['line'] == 'solid'

@in_browser
def test_bars_are_as_long_as_they_say(report, tmp_path):
    seen = browse(tmp_path, report_html(report), '''
        const axis = page.querySelector("svg.axis").getBoundingClientRect();
        const bar = page.querySelector("svg.axis .value").getBoundingClientRect();
        out.share = (bar.right - axis.left) / axis.width; out.left = bar.left - axis.left''', 1200)
    assert seen['share'] == pytest.approx(.97, abs=.005) and abs(seen['left']) < 2

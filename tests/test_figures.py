"Figures in README.md and docs/results.md come from rows of results/, none of ours by hand."
import json, re, sys
from pathlib import Path
import pytest

HERE = Path(__file__).parents[1]
sys.path.insert(0, str(HERE / 'scripts'))
import readme

PAGES = pytest.mark.parametrize('template', readme.PAGES, ids=lambda p: p.name)

@PAGES
def test_a_page_says_what_the_rows_say(template):
    assert readme.rendered(template) == readme.PAGES[template].read_text()

@PAGES
def test_a_changed_row_is_noticed(monkeypatch, template):
    rows = readme.rows
    def changed(file):
        return [r | dict(success=.5) if r.get('task') == 'pos' else r for r in rows(file)]
    monkeypatch.setattr(readme, 'rows', changed)
    assert readme.rendered(template) != readme.PAGES[template].read_text()

# figures that no row can hold, and why
BY_HAND = {
    '95 %': 'the level of the intervals',
    '100 %': 'length, by construction; FT by a rule that is named',
    '6.9': 'millions of parameters of the shipped model (its config decides)',
    '5.3': 'millions of parameters of earlier models',
}

@PAGES
def test_no_figure_of_ours_is_written_by_hand(template):
    text = template.read_text()
    if template.name.startswith('README'):
        text = text[text.index('## Results'):text.index('## The chapters')]
    elif template.name.startswith('results'):
        text = text[:text.index('## What is comparable')]
    text = re.sub(r'\{\{.+?\}\}', '', text)
    found = re.findall(r'\d+(?:\.\d+)? %|\d+\.\d+', text)
    assert {*found} <= {*BY_HAND}


def test_texts_side_by_side_are_whole_and_copy_nothing():
    "Two targets a task; a method that has a row in the big table has its texts here."
    from diffusion_lm_nb.metrics import in_train
    found = readme.rows('samples')
    for task in {r['task'] for r in found}:
        own = [r for r in found if r['task'] == task]
        assert len({r['target'] for r in own}) == 2
        methods = {r['method'] for r in readme.rows('baselines') if r['task'] == task}
        methods &= readme.SAMPLED.keys()
        assert methods <= {r['method'] for r in own}, task
        for m in methods: assert sum(r['method'] == m for r in own) == 2
    texts = [r['text'].split() for r in found if r['text']]
    assert len(texts) > 50 and in_train(texts) == 0

def test_rows_of_other_weights_have_a_dagger():
    mine = dict(weights=readme.shipped_weights())
    assert readme.old(mine) == '' and readme.old({}) == readme.old(dict(weights='0')) == ' †'

# ---- the prose of the chapters

FIGURE = re.compile(r'(?<![\w.,§])\d*\.\d+(?!\w|\.\d)|(?<![\w.,])\d+ %')
NO_FIGURES = re.compile(                                   # formulas, code, links, numbers of sections
    r'\$\$.*?\$\$|\$[^$]*\$|```.*?```|`[^`]*`|\]\([^)]*\)|arXiv [\d.]+'
    r'|([Ss]ections?|[Cc]hapters?|appendix|§) ?[\dA-H.]+(( and |–|, )[\d.]+)*', re.S)
NUMBER = re.compile(r'(?<![\w.])-?\d*\.?\d+(?:e-?\d+)?')
NOTEBOOKS = sorted((HERE / 'nbs').glob('*.ipynb'))

# {chapter: {figure: where it comes from}}: what no cell of the chapter prints
SAID = {
    '01_data': {'0.14': 'the difference of two printed figures'},
    '03_objective': {'0.33': 'the difference of two printed figures'},
    '04_embedding': {'0.004': 'the tolerance of an exercise'},
    '05_denoiser': {'0.006': '2π / 1000, by the formula beside it'},
    '06_loss': {k: 'a run before the shipped one; no row, and the chapter says on how many texts'
                for k in ('1.60', '1.68')},
    '06b_training': {k: 'other seeds, not run in the notebook, as it says'
                     for k in ('24 %', '48 %', '49 %', '93 %')},
    '07b_sampling': {k: 'more texts, not run in the notebook, as it says'
                     for k in ('2.177', '2.164', '2.154', '0.006')},
    '08_likelihood': {k: "the paper's Table 7" for k in ('2.28', '1.77')},
    '09b_classifiers': {k: "the paper's settings" for k in ('.0005', '.05')},
    '10_controls': {k: 'chapter 09b prints it' for k in ('1.47', '1.33')},
    '10b_gaps': {'.09': 'the solutions print it'},
    '11_trees': {'1.8': 'the Catalan number of 19, 1,767,263,190'},
    '12b_teacher': {'1.535': 'chapter 16b prints it', '1.653': 'chapter 16b prints it',
                    '1.1': 'a smaller factor than those that are printed'},
    '14_baselines': {'1.2': 'the sum of two printed figures'},
    '14b_fine_tuning': {'29 %': "the paper's Table 4"},
    '14c_prefix_classifiers': {'.13': 'one printed figure over another',
                               **{k: "the paper's Table 2" for k in ('27 %', '7.96', '18 %')}},
    '14d_plug_and_play': {'9.9': "the paper's Table 2"},
    '14e_constrained_decoding': {'97.5': 'chapter 16b prints it'},
    '16b_metrics': {k: "the paper's Table 2" for k in ('2.55', '2.16')},
    '18_scale': {'99 %': 'half precision keeps eight bits, by definition', '.856': 'results/bench.json',
                 '13.9': 'results/bench.json'},
    'B_corpora': {k: 'of all of E2E, which is not shipped; tests/test_data.py with DLM_DATA'
                  for k in ('99.8', '99.9')},
    'D_ngram': {'1.7': 'a question, no result', '1.77': 'of all of E2E, which is not shipped',
                '1.65': 'chapter 16b prints it'},
}

def prose(notebook): # -> text of the markdown cells without formulas, code and links
    cells = json.loads(notebook.read_text(encoding='utf8'))['cells']
    said = (''.join(c['source']) for c in cells if c['cell_type'] == 'markdown')
    return '\n'.join(NO_FIGURES.sub(' ', s) for s in said)

def printed(notebook): # -> the numbers of its code and of what it prints
    out = []
    for c in json.loads(notebook.read_text(encoding='utf8'))['cells']:
        if c['cell_type'] != 'code': continue
        out.append(''.join(c['source']))
        for o in c['outputs']:
            out.append(''.join(o.get('text', '')))
            out += [''.join(v) for k, v in o.get('data', {}).items() if k.startswith('text/')]
    return [abs(float(x)) for x in NUMBER.findall('\n'.join(out).replace(',', ''))]

def backed(figure, numbers): # a share may be printed as .62 and said as 62 %
    "Does one of the numbers round to the figure?"
    digits = figure.removesuffix(' %')
    value, places = float(digits), len(digits.partition('.')[2])
    scales = (1, 100) if '%' in figure or value > 1 else (1,)
    return any(abs(n * s - value) <= .5001 * 10 ** -places for n in numbers for s in scales)

def unbacked(notebook):
    numbers = printed(notebook)
    return {f for f in FIGURE.findall(prose(notebook)) if not backed(f, numbers)}

@pytest.mark.parametrize('notebook', NOTEBOOKS, ids=[p.stem for p in NOTEBOOKS])
def test_a_figure_in_prose_is_printed_or_named(notebook):
    "A figure that the chapter says and no cell prints needs a reason above; a reason, a figure."
    assert unbacked(notebook) == {*SAID.get(notebook.stem, {})}

def test_a_wrong_figure_is_seen(tmp_path):
    text = (HERE / 'nbs/16b_metrics.ipynb').read_text(encoding='utf8')
    wrong = tmp_path / '16b_metrics.ipynb'
    assert 'F1 of 95.8' in text
    wrong.write_text(text.replace('F1 of 95.8', 'F1 of 96.37'), encoding='utf8')
    assert '96.37' in unbacked(wrong) and backed('62 %', [.618]) and not backed('.62', [.63])

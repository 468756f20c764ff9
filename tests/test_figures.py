"Figures in README.md come from rows of results/, and none of ours is written by hand."
import re, sys
from pathlib import Path
import pytest

HERE = Path(__file__).parents[1]
sys.path.insert(0, str(HERE / 'scripts'))
import readme

def test_readme_says_what_the_rows_say():
    assert readme.rendered() == readme.README.read_text()

def test_a_changed_row_is_noticed(monkeypatch):
    rows = readme.rows
    def changed(file):
        return [r | dict(success=.5) if r.get('task') == 'pos' else r for r in rows(file)]
    monkeypatch.setattr(readme, 'rows', changed)
    assert readme.rendered() != readme.README.read_text()

# figures that no row can hold, and why
BY_HAND = {
    '95 %': 'the level of the intervals',
    '100 %': 'length, by construction; FT by a rule that is named',
    '5.3': 'millions of parameters of the shipped model (its config decides)',
}

def test_no_figure_of_ours_is_written_by_hand():
    text = readme.TEMPLATE.read_text()
    text = text[text.index('## Results'):text.index('## The chapters')]
    text = re.sub(r'\{\{.+?\}\}', '', text)
    found = re.findall(r'\d+(?:\.\d+)? %|\d+\.\d+', text)
    assert {*found} <= {*BY_HAND}

"A blind reading: the page does not say who wrote what, pairs are balanced, answers counted right."
import json, re, sys
from collections import Counter
from pathlib import Path
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / 'scripts'))
import reading

METHODS = 'diffusion', 'ft-search', 'gedi'

@pytest.fixture()
def files(tmp_path):
    out = []
    for m in METHODS:
        f = tmp_path / f'{m}.jsonl'
        rows = [dict(task='semantic', target=['food', ':', str(k)], texts=[f'<b>{m[:2]}</b> {k}'],
                     method=m, model='e2e', seed=0, steps=50, seconds=1.) for k in range(7)]
        f.write_text(''.join(json.dumps(r) + '\n' for r in rows))
        out.append(str(f))
    return out

def made(tmp_path, files, *more):
    assert reading.main(['page', str(tmp_path / 'out'), *files, *more]) is None
    key = json.loads((tmp_path / 'out/key.json').read_text())
    return key, (tmp_path / 'out/page.html').read_text()

def test_the_page_is_blind_and_balanced(tmp_path, files):
    key, page = made(tmp_path, files, '--pairs', '60')
    assert not any(m in page for m in METHODS), 'the page names a method'
    assert '<b>di' not in page and '&lt;b&gt;di&lt;/b&gt;' in page, 'a text is not escaped'
    assert page.count('<fieldset>') == 120 and page.count('type="radio"') == 360
    both = Counter(tuple(sorted((p['a'], p['b']))) for p in key['pairs'])
    assert {*both.values()} == {20}
    left = Counter(p['a'] for p in key['pairs'])
    assert all(10 <= left[m] <= 30 for m in METHODS), left
    targets = Counter((p['target'], *sorted((p['a'], p['b']))) for p in key['pairs'])
    assert max(targets.values()) - min(targets.values()) <= 1 and len(targets) == 21

def test_the_key_says_who_stands_where(tmp_path, files):
    key, page = made(tmp_path, files, '--pairs', '40')
    for section, pair in zip(page.split('<section>')[1:], key['pairs']):
        left, right = re.findall(r'<p>&lt;b&gt;(\w\w)', section)
        assert (left, right) == (pair['a'][:2], pair['b'][:2])

def test_a_majority_is_more_than_half():
    assert [reading.majority([*v]) for v in ('a', 'ab', 'aab', 'a==', 'a=', 'bb=', '==')] == [
        'a', '=', 'a', '=', '=', 'b', '=']

def test_the_seed_decides(tmp_path, files):
    one, two, other = (made(tmp_path, files, '--seed', s)[0]['pairs'] for s in '001')
    assert one == two != other

def answers(tmp_path, key, prefer, name='a.json', pairs=None):
    said = {}
    for k, p in enumerate(key['pairs'][:pairs]):
        side = next((s for s in 'ab' if p[s] == prefer), '=')
        said[f'{k}-english'] = side
    (tmp_path / name).write_text(json.dumps(dict(page=key['page'], answers=said)))
    return str(tmp_path / name)

def test_scores(tmp_path, files, capsys):
    key, _ = made(tmp_path, files, '--pairs', '30')
    one = reading.read_answers(answers(tmp_path, key, 'ft-search'), key)
    rows = {(r['first'], r['second']): r for r in reading.scores(key, [one])}
    r = rows['diffusion', 'ft-search']
    assert (r['pairs'], r['for_first'], r['for_second'], r['share']) == (10, 0, 10, 0)
    assert abs(r['sign_test'] - 2 / 1024) < 1e-12 and 0 <= r['interval'][0] < r['interval'][1] < .31
    assert rows['diffusion', 'gedi']['share'] is None, 'no difference is no preference'
    assert {r['question'] for r in rows.values()} == {'english'}
    two = reading.read_answers(answers(tmp_path, key, 'diffusion'), key)
    divided = {(r['first'], r['second']): r for r in reading.scores(key, [one, two])}
    assert divided['diffusion', 'ft-search']['share'] is None, 'readers were divided'
    agreed = {(r['first'], r['second']): r for r in reading.scores(key, [one, one, two])}
    assert agreed['diffusion', 'ft-search']['for_second'] == 10
    assert reading.main(['score', str(tmp_path / 'out'), str(tmp_path / 'a.json')]) is None
    assert 'diffusion against ft-search: 10 to 0 of 10' in capsys.readouterr().out

def test_the_sign_test():
    assert reading.sign_test(5, 10) == 1 and abs(reading.sign_test(9, 10) - 22 / 1024) < 1e-12
    assert reading.sign_test(0, 0) == 1

def test_what_is_wrong_is_said(tmp_path, files, capsys):
    key, _ = made(tmp_path, files)
    (tmp_path / 'x.json').write_text('{"page": "other", "answers": {}}')
    foreign = dict(page=key['page'], answers={'999-english': 'a'})
    (tmp_path / 'y.json').write_text(json.dumps(foreign))
    (tmp_path / 'z.json').write_text('no json')
    out = str(tmp_path / 'out')
    for args, says in ((['score', out, str(tmp_path / 'x.json')], 'has no answers'),
                       (['score', out, str(tmp_path / 'y.json')], 'no answer to this page'),
                       (['score', out, str(tmp_path / 'z.json')], 'z.json'),
                       (['score', str(tmp_path), files[0]], 'make the page first'),
                       (['page', out, files[0]], 'two methods'),
                       (['page', out, *files, '--people'], 'leave out --people'),
                       (['page', out, *files, '--pairs', '0'], '--pairs')):
        assert reading.main(args) == 2
        assert says in (err := capsys.readouterr().err) and len(err.splitlines()) == 1, err

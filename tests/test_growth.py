"Chapter 17f: compute is counted as by hand, and lines are fitted as on paper."
import json, math, os, sys
from dataclasses import replace
from pathlib import Path
import pytest, torch
from fresh import fresh_script

HERE = Path(__file__).parents[1]
sys.path.insert(0, str(HERE / 'scripts'))
import growth as script
import parts
from diffusion_lm_nb import BadInput
from diffusion_lm_nb.corpora import load_corpus
from diffusion_lm_nb.growth import (
    compute_for, frontier, frontier_compute, growth_curves, loss_at, power_law, resampled_lines,
    slope_interval, student_interval, training_flops)
from diffusion_lm_nb.training import make_ar, make_diffusion

KINDS = 'gaussian', 'masked', 'ar'
C = torch.tensor([1e12, 3e12, 8e12, 2e13], dtype=torch.float64)

@pytest.fixture(scope='module')
def made():
    "Models of the script's presets, on the grammar."
    out, texts = {}, load_corpus('grammar')[:300]
    for kind in KINDS:
        p = replace(script.preset_of('e2e', kind, (32, 2)), min_count=0, exchange=0., batch_size=4)
        torch.manual_seed(0)
        out[kind] = (make_ar if kind == 'ar' else make_diffusion)(p, texts, 0)
    return out

def by_hand(kind, n, V, w=32, layers=2, d=16): # FLOPs of a text, forward: attention, all else
    attention = layers * 4 * n * n * w
    linear = layers * 24 * n * w * w + 2 * n * w * V
    if kind == 'ar': return attention, linear
    vectors = 3 if kind == 'gaussian' else 2
    return attention, linear + 2 * n * w * V + vectors * 2 * n * d * V + 4 * n * d * w + 3 * n * w * w

def test_a_step_of_the_ar_model_is_three_forward_passes(made):
    model, batch_at = made['ar']
    ids = batch_at(0)[0]
    hand = sum(by_hand('ar', ids.shape[1], len(model.vocab)))
    assert training_flops(model, batch_at(0)) == 3 * len(ids) * hand

@pytest.mark.parametrize('kind', KINDS[:2])
def test_a_self_conditioned_step_is_three_and_a_half(made, kind):
    "The inputs of the network have no gradient, and the first pass counts no attention."
    model, batch_at = made[kind]
    ids = batch_at(0)[0]
    attention, linear = (len(ids) * v for v in by_hand(kind, ids.shape[1], len(model.vocab)))
    found = training_flops(model, batch_at(0))
    assert .93 < found / (3.5 * linear + 3 * attention) <= 1
    assert found > 3 * (linear + attention)                # half of the steps look twice

def test_counting_changes_nothing(made):
    model, batch_at = made['masked']
    before = {k: v.clone() for k, v in model.state_dict().items()}
    first, again = (training_flops(model, batch_at(0)) for _ in range(2))
    assert first == again
    assert all(p.grad is None for p in model.parameters()) and model.training
    assert all(v.equal(before[k]) for k, v in model.state_dict().items())

def test_a_law_is_found_again():
    for floor, slope in ((0., -.12), (1.3, -.3)):
        loss = floor + 100 * C ** slope
        line = power_law(C, loss, floor)
        assert abs(line[0] - slope) < 1e-9 and abs(line[1] - math.log(100)) < 1e-7
        assert torch.allclose(loss_at(line, C, floor), loss)
        assert torch.allclose(compute_for(line, loss, floor), C)
    two = torch.stack([100 * C ** -.1, 50 * C ** -.2])
    assert torch.allclose(power_law(C.expand(2, -1), two)[0], torch.tensor([-.1, -.2]).double())

def test_a_floor_makes_a_straight_line_too_flat_here_and_too_steep_later():
    loss = 1.2 + (C / C[0]) ** -.15
    line = power_law(C, loss)
    assert -.15 < line[0] < 0 and loss_at(line, 1e18) < 1.2

def test_kinds_are_drawn_together():
    "The loss of the second row is the square of the first: so is every slope of every draw."
    loss = torch.tensor([2.2, 2.05, 1.92, 1.85], dtype=torch.float64)
    slopes, _ = resampled_lines(C.expand(2, -1), torch.stack([loss, loss ** 2]), draws=300)
    assert slopes.shape == (2, 300) and torch.allclose(slopes[1], 2 * slopes[0])
    assert slopes[0].std() > 0
    noisy, _ = resampled_lines(C, loss, torch.full((4,), .1), draws=300)
    assert noisy.std() > 2 * slopes[0].std()               # the error of measurement is in it

def test_every_draw_has_a_slope():
    "Two seeds a size whose compute differs by a hair: draws of one size are left out."
    twice = torch.cat([C[:2], 1.001 * C[:2]])
    slopes, _ = resampled_lines(twice, torch.tensor([2., 1.9, 2.1, 1.95]), draws=500)
    assert slopes.shape == (500,) and slopes.abs().max() < .2
    with pytest.raises(BadInput, match='factor of two'): resampled_lines(C[:1] * torch.ones(4), C)

def test_intervals():
    noise = torch.tensor([.01, -.02, .015, -.005]).double()
    loss = 100 * C ** -.12 * noise.exp()
    low, high = slope_interval(C, loss)
    assert low < power_law(C, loss)[0] < high
    narrow = slope_interval(C, loss, level=.5)
    assert low < narrow[0] < narrow[1] < high
    # on paper: x = 0, 1, 2; y = 0, 1, 3: slope 3/2, squares 1/6, one degree of freedom
    x, y = torch.tensor([0., 1., 2.]).double(), torch.tensor([0., 1., 3.]).double()
    low, high = student_interval(x.exp(), y.exp())
    assert abs((low + high) / 2 - 1.5) < 1e-9
    assert abs((high - low) / 2 - 12.706 * math.sqrt(1 / 6 / 2)) < 1e-9

def test_bad_points():
    with pytest.raises(BadInput, match='above the floor'): power_law(C, C * 0 + 1, 1.)
    with pytest.raises(BadInput, match='two runs'): power_law(C[:1], C[:1])
    with pytest.raises(BadInput, match='different compute'): power_law(C * 0 + 1, C)
    with pytest.raises(BadInput, match='three runs'): student_interval(C[:2], C[:2])

def row(kind, width, seed, **more):
    return dict(part='growth', corpus='e2e', method=kind, width=width, layers=2, seed=seed,
                steps=1000, flops=width * 1e9 * (1 + seed), bound=3. - width / 200 + seed / 10,
                std_error=.03) | more

def test_curves_are_aligned():
    rows = [row(k, w, s) for k in KINDS for w in (160, 64, 96) for s in (1, 0)]
    found = growth_curves(rows, 'e2e')
    assert list(found) == list(KINDS)
    for flops, bound, _ in found.values():
        assert flops.tolist() == [w * 1e9 for w in (64, 64, 96, 96, 160, 160)] # of seed 0
        assert torch.allclose(bound[::2] + .1, bound[1::2])
    rows.remove(row('masked', 96, 1))                      # a run that one kind lacks
    assert all(len(c) == 5 for curve in growth_curves(rows, 'e2e').values() for c in curve)
    slow = [row(k, w, 0, lr=5e-4) | dict(bound=9.) for k in KINDS for w in (64, 256)]
    assert growth_curves(rows + slow, 'e2e').keys() == found.keys()
    assert all(max(c[1]) < 9 and len(c[1]) == 5 for c in growth_curves(rows + slow, 'e2e').values())
    rows.append(row('ar', 96, 2, corpus='roc'))
    longer = [row('ar', 64, 9, steps=4000)]
    assert growth_curves(rows + longer, 'e2e').keys() == found.keys()
    assert not growth_curves(rows, 'e2e', steps=4000)
    assert growth_curves(rows, 'roc') == growth_curves([], 'e2e') == {}
    assert growth_curves([r for r in rows if r['width'] < 100], 'e2e') == {} # two sizes

def test_the_script(tmp_path, monkeypatch):
    code, _, err = fresh_script(HERE / 'scripts/growth.py', ['nothing'], HERE, os.environ, 60)
    assert code == 2 and "no corpus 'nothing'" in err.splitlines()[-1]
    assert script.training_flops is training_flops
    table = tmp_path / 'rows.json'
    table.write_text(json.dumps([dict(part='other')]))
    monkeypatch.setattr(parts, 'TABLE', table)
    for k in range(2): parts.put('growth', [row('ar', 64, k)]) # in place of what was there
    assert [r['part'] for r in json.loads(table.read_text())] == ['other', 'growth']
    assert [r['seed'] for r in parts.rows_of('growth')] == [1]
    small, large = (vars(script.preset_of('e2e', 'masked', s)) for s in (script.SIZES[0], script.SIZES[-1]))
    assert {k for k in small if small[k] != large[k]} == {'model'}
    assert {k for k in small['model'] if small['model'][k] != large['model'][k]} == {'width', 'layers'}

def test_the_frontier_holds_what_no_cheaper_run_beats():
    runs = [dict(flops=f, bound=b) for f, b in ((4, 2.), (1, 3.), (2, 3.5), (3, 2.), (8, 1.5))]
    assert [(r['flops'], r['bound']) for r in frontier(runs)] == [(1, 3.), (3, 2.), (8, 1.5)]
    assert frontier([]) == []

def test_compute_for_a_value_lies_on_the_line_between_two_runs():
    front = [dict(flops=C, bound=2 * C ** -.2) for C in (1e3, 1e4, 1e6)]
    for C in (1e3, 3e3, 1e4, 5e5, 1e6):
        assert frontier_compute(2 * C ** -.2, front) == pytest.approx(C)
    for C in (9e2, 2e6): assert frontier_compute(2 * C ** -.2, front) is None
    assert frontier_compute(1., front[:1]) is None and frontier_compute(1., []) is None

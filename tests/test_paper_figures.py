"Figure 4 in small (scripts/paper_figures.py): its arms differ in one thing, and its rule chooses."
import json, os, sys
from pathlib import Path
import pytest, torch

HERE = Path(__file__).parents[1]
sys.path.insert(0, str(HERE / 'scripts'))
import paper_figures as script
sys.path.pop(0)
from diffusion_lm_nb.forward import q_sample
from diffusion_lm_nb.loss import keyed_generator
from diffusion_lm_nb.objective import x0_from_eps

SQRT = dict(corpus='grammar', dim=4, schedule='sqrt')

@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.setattr(script, 'TABLE', tmp_path / 'rows.json')
    return script.TABLE

def made(steps=2, **run): return script.made(SQRT | run, 0, 4e-3, steps)

@pytest.mark.parametrize('vectors, still', [('learned', False), ('random', True)])
def test_random_vectors_stay_as_they_were_drawn(vectors, still):
    before, after = (made(steps, vectors=vectors, predicts='x0') for steps in (1, 40))
    assert torch.equal(before.emb.weight, after.emb.weight) is still
    assert not torch.equal(before.head[0].weight, after.head[0].weight)

def test_the_noise_is_predicted_and_a_long_estimate_is_cut():
    plain, cut = (made(vectors='learned', predicts=p) for p in ('eps', 'eps, cut'))
    assert not plain.cut and cut.cut
    cut.load_state_dict(plain.state_dict())
    x, t = torch.randn(3, 10, 4, generator=keyed_generator(0)), torch.tensor([1., .7, .1])
    with torch.no_grad(): long, short = (lm.predict(x, t)[1] for lm in (plain, cut))
    assert torch.allclose(long, x0_from_eps(plain.eps, x, t, plain.schedule))
    most = plain.emb.E.norm(dim=-1).max()
    assert long.norm(dim=-1).max() > 2 * most and short.norm(dim=-1).max() < 1.001 * most
    parallel = torch.nn.functional.cosine_similarity(long, short, -1)
    assert torch.allclose(parallel, torch.ones_like(parallel), atol=1e-4)

def test_the_loss_of_the_noise_is_that_of_the_noise(monkeypatch):
    lm = made(vectors='learned', predicts='eps')
    ids, mask = torch.randint(4, 20, (6, 10)), torch.ones(6, 10, dtype=torch.bool)
    monkeypatch.setattr(script, 'q_sample', lambda x0, t, schedule, noise: seen.update(noise=noise)
                        or q_sample(x0, t, schedule, noise))
    seen = {}
    _, parts = lm.loss(ids, mask, keyed_generator(1))
    assert parts['mse'] == (lm.eps - seen['noise']).pow(2).mean()

def test_what_has_a_row_is_not_run_again(table, monkeypatch):
    run = SQRT | dict(vectors='learned', predicts='x0')
    row = script.row_of(run, 0, 4e-3, 2, 3)
    assert json.loads(table.read_text()) == [row] and row['texts'] == 3
    monkeypatch.setattr(script, 'made', lambda *a: 1 / 0)
    assert script.row_of(run, 0, 4e-3, 2, 3) == row
    with pytest.raises(ZeroDivisionError): script.row_of(run, 1, 4e-3, 2, 3)

def test_a_learning_rate_is_chosen_by_texts_then_by_the_ratio():
    rows = [dict(grammatical=g, ngram_ratio=r) for g, r in ((.2, 1.), (.3, 3.), (.3, 2.), (.3, None))]
    assert max(rows, key=script.worth) is rows[2]

def test_without_a_grammar_the_ratio_chooses():
    rows = [dict(ngram_ratio=r) for r in (3., 2., None)]
    assert max(rows, key=script.worth) is rows[1]

@pytest.mark.skipif('DLM_DATA' not in os.environ, reason='E2E is not at hand')
def test_a_row_of_e2e_has_its_texts_and_its_judges(table):
    run = SQRT | dict(corpus='e2e', vectors='learned', predicts='x0')
    row = script.row_of(run, 0, 4e-3, 2, 3)
    assert row['teacher_ratio'] > 10 and row['ngram_ratio'] > 2 and 'grammatical' not in row
    assert row['command'].endswith('paper_figures.py e2e')
    assert all(len(e.words) <= 12 for e in script.texts_of('e2e', 'valid'))
    assert script.made(run, 0, 4e-3, 1).length == 14

@pytest.mark.parametrize('best, tried', [
    (8e-3, 3), (1.6e-2, 4), (3.2e-2, 5), (1., 5), (2e-3, 5), (0., 5)]) # the last but at the edge
def test_a_learning_rate_at_the_edge_is_followed(best, tried):
    asked = set()
    def worth(lr):
        asked.add(lr)
        return -abs(lr - best)
    found = script.chosen_rate(worth)
    assert found == min(max(best, script.WITHIN[0]), script.WITHIN[1]) and len(asked) == tried

def test_every_arm_is_there_once():
    assert len({tuple(sorted(r.items())) for r in script.RUNS}) == len(script.RUNS) == 15 + 6
    assert script.CHOOSING not in script.SEEDS

"The training runs of notebooks that tests keep for a session (fits.py) are what `fit` gives."
from dataclasses import replace
import pytest, torch
import fits as kept
from diffusion_lm_nb import loss, training
from diffusion_lm_nb.corpora import load_corpus
from diffusion_lm_nb.loss import Preset

SMALL = Preset('ar', 'grammar', dict(width=16, layers=1, heads=2), batch_size=4, steps=3, warmup=1,
               min_count=0, precision='no')

@pytest.fixture
def fit(tmp_path, monkeypatch):
    "`fit` as notebooks see it, and how often the real one was called."
    calls, real = [], training.fit
    monkeypatch.setattr(training, 'fit', lambda *a, **k: calls.append(1) or real(*a, **k))
    kept.remember(tmp_path/'fits')
    return training.fit, calls

def made(preset=SMALL, seed=0, texts=40):
    torch.manual_seed(seed)
    return training.make_ar(preset, load_corpus('grammar')[:texts], seed)

def run(fit, preset=SMALL, **more):
    model, batch_at = made(preset, **more)
    log = fit(model, batch_at, preset, device='cpu', quiet=True)
    return model, log, torch.rand(1)

def test_the_second_run_is_the_first(fit):
    (a, log, u), (b, log2, v) = run(fit[0]), run(fit[0])
    assert fit[1] == [1] and log == log2 and u == v and not b.training
    assert all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values()))

@pytest.mark.parametrize('preset, more', [
    (replace(SMALL, lr=2e-3), {}), (replace(SMALL, steps=4), {}), (replace(SMALL, batch_size=2), {}),
    (SMALL, dict(seed=1)), (SMALL, dict(texts=41)), (replace(SMALL, ema=.5), {})])
def test_another_recipe_or_other_texts_are_another_run(fit, preset, more):
    run(fit[0])
    run(fit[0], preset, **more)
    assert len(fit[1]) == 2

def test_a_model_of_a_notebook_is_trained_each_time(fit):
    class Own(training.ARTransformer):
        def token_nats(self, ids, mask): return 2 * super().token_nats(ids, mask)
    for _ in range(2):
        model, batch_at = made()
        own = Own(model.vocab.words, **SMALL.model)
        fit[0](own, batch_at, SMALL, device='cpu', quiet=True)
    assert len(fit[1]) == 2

def test_a_run_with_a_folder_is_made_each_time(fit, tmp_path):
    for where in ('a', 'b'):
        model, batch_at = made()
        fit[0](model, batch_at, SMALL, tmp_path/where, device='cpu', quiet=True)
        assert (tmp_path/where/'checkpoint.safetensors').exists()
    assert len(fit[1]) == 2

def test_what_patch_replaced_belongs_to_no_notebook(monkeypatch):
    model, _ = made()
    monkeypatch.setattr(type(model), '_orig_forward', torch.nn.Module.forward, raising=False)
    assert kept.from_package(model)

@pytest.mark.parametrize('place, name', [
    (training, 'pad_batch'), (training.ARTransformer, 'token_nats'), (loss, 'per_token_timesteps')])
def test_a_run_with_a_function_of_a_notebook_is_made_each_time(fit, monkeypatch, place, name):
    "Else a chapter that puts its own function in the package's place would get another's weights."
    own = getattr(place, name)
    def changed(*args, **kwargs): return own(*args, **kwargs)
    changed.__module__ = '__main__'
    run(fit[0])
    monkeypatch.setattr(place, name, changed)
    for _ in range(2): run(fit[0])
    assert len(fit[1]) == 3

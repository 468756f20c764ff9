import os, sys
os.environ.setdefault('OMP_NUM_THREADS', '1')
import pytest, torch

torch.set_num_threads(1)

@pytest.fixture(scope='session')
def lm():
    "A small model on the grammar, trained for a moment: text is poor, mechanics are all there."
    from dataclasses import replace
    from diffusion_lm_nb.corpora import load_corpus
    from diffusion_lm_nb.training import fit, make_diffusion
    from diffusion_lm_nb.commands import PRESETS
    p = PRESETS['grammar']
    p = replace(p, model=p.model | dict(width=64, layers=2), steps=60, batch_size=32)
    torch.manual_seed(0)
    model, batches = make_diffusion(p, load_corpus('grammar')[:2000], 0)
    fit(model, batches, p, device='cpu', quiet=True)
    return model.eval()

@pytest.fixture(scope='session')
def folder(lm, tmp_path_factory):
    "The same model, saved."
    d = tmp_path_factory.mktemp('model')
    lm.save_pretrained(d)
    return d

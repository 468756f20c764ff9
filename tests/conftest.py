import os, shutil, subprocess, sys
from pathlib import Path
os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('HF_HUB_OFFLINE', '1') # where no corpus is, nobody waits half a minute for one
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

SOURCES = ('setup.py', 'settings.ini', 'pyproject.toml', 'MANIFEST.in', 'README.md', 'LICENSE',
           'CHANGELOG.md', 'constraints.txt')

@pytest.fixture(scope='session')
def wheel(tmp_path_factory):
    "The wheel, built from the source distribution, so that this is complete too."
    repo, tmp = Path(__file__).parents[1], tmp_path_factory.mktemp('build')
    src = tmp/'src'
    src.mkdir()
    for f in SOURCES: shutil.copy(repo/f, src)
    unwanted = shutil.ignore_patterns('__pycache__')
    shutil.copytree(repo/'diffusion_lm_nb', src/'diffusion_lm_nb', ignore=unwanted)
    shutil.copytree(repo/'results', src/'results')
    def python(*args):
        done = subprocess.run([sys.executable, *map(str, args)], capture_output=True, text=True,
                              timeout=300, cwd=src)
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    python('setup.py', '-q', 'sdist', '-d', tmp)
    python('-m', 'pip', 'wheel', '-q', '--no-deps', '--no-index', '--no-build-isolation', '-w', tmp,
           next(tmp.glob('*.tar.gz')))
    return next(tmp.glob('*.whl'))

@pytest.fixture(scope='session')
def fits(tmp_path_factory):
    "A folder that all workers of this session share, for the training runs of notebooks (fits.py)."
    own = tmp_path_factory.getbasetemp()
    return str((own.parent if 'PYTEST_XDIST_WORKER' in os.environ else own)/'fits')

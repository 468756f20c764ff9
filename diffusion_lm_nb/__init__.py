"Diffusion-LM in notebooks: a diffusion model over word vectors that writes text under control."
__version__ = "0.1.0"

import os

# Threads of OpenMP wait for each other by spinning. Where another program has a core, most of the
# time goes into that, so they are told to sleep sooner. It must be said before torch is loaded.
if 'OMP_WAIT_POLICY' not in os.environ: os.environ.setdefault('GOMP_SPINCOUNT', '1000')

from .files import BadInput
from .denoiser import DiffusionLM
from . import training, sampling, likelihood, guidance, particles, controls, syntax, oracles
from . import teacher, language_models, mask_filling, baselines, fine_tuning, prefix_classifiers
from . import plug_and_play, infilling, gradient_decoding
from .guidance import Control
from .particles import Particles
from .controls import SemanticContent, Length
from .gaps import Infill
from .syntax import PartsOfSpeech, SyntaxTree, SyntaxSpan
from .oracles import Tagger, Parser
from .further import Regex

syntax.Syntactic.make_judge = staticmethod(teacher.make_judge)  # who answers `check`

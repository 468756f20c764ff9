"Diffusion-LM in notebooks: a diffusion model over word vectors that writes text under control."
__version__ = "0.1.0"

from .files import BadInput
from .denoiser import DiffusionLM
from . import training, sampling, likelihood, guidance, controls, syntax, oracles
from . import language_models, mask_filling, baselines, infilling, gradient_decoding
from .guidance import Control
from .controls import SemanticContent, Length, Infill
from .syntax import PartsOfSpeech, SyntaxTree, SyntaxSpan
from .oracles import Tagger, Parser

syntax.Syntactic.make_judge = staticmethod(oracles.make_judge)  # who answers `check`

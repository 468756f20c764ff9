"Diffusion-LM in notebooks: a diffusion model over word vectors that writes text and obeys controls."
__version__ = "0.1.0"

from .data import BadInput
from .denoiser import DiffusionLM
from . import training, sampling, guidance, controls, oracles, language_models, baselines
from .controls import SemanticContent, PartsOfSpeech, SyntaxTree, SyntaxSpan, Length, Infill

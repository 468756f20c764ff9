"What most notebooks and commands need, imported and made once, for the copies of `fresh`."
import gc
from importlib import import_module
from diffusion_lm_nb.corpora import load_corpus

models = 'transformers.models.{0}.modeling_{0}'
for name in ('matplotlib.pyplot', 'nltk', 'sacrebleu.metrics', 'IPython', 'nbdev.test',
             'diffusion_lm_nb.commands', *map(models.format, ('gpt2', 'bert', 'bart', 'xlm'))):
    import_module(name)
for split in ('train', 'valid'): load_corpus('grammar', split) # the module keeps it
gc.collect()
gc.freeze() # or each collection in a copy walks through all of this, and copies its pages

"""What goes past the paper, measured: rows of results/further.json (chapter 17).

    OMP_NUM_THREADS=1 python scripts/further.py regex        # eight patterns, some minutes
    OMP_NUM_THREADS=1 python scripts/further.py calibration  # texts in runs/calibration, an hour

A row of part *regex*: the share of 40 texts that match a pattern, with Wilson's interval; the share
of 200 unguided texts that do by chance; the teacher's perplexity over that of the unguided texts;
distinct-4 of the texts. The patterns were written before any text was seen; seed 5, 50 steps.

A row of part *calibration* (chapter 17b): 256 texts of a sampler under a control, beside draws of
p(w | c) of the grammar. The baselines are found in runs/17b (`dlm-train grammar-ar --out
runs/17b/grammar-ar`, likewise grammar-hmm, grammar-fudge, grammar-ft-semantic and the classifier
grammar-semantic); a sampler whose model is missing is left out, and said to be.
"""
import sys, time
from functools import partial
from pathlib import Path

import torch

from diffusion_lm_nb import DiffusionLM
from diffusion_lm_nb.controls import distinct, wilson_interval
from diffusion_lm_nb.files import BadInput
from diffusion_lm_nb.further import Regex
from diffusion_lm_nb.metrics import fluency
from diffusion_lm_nb.baselines import StreamWriter
from diffusion_lm_nb.calibration import *
from diffusion_lm_nb.classifiers import NoisyClassifier
from diffusion_lm_nb.commands import make_baseline
from diffusion_lm_nb.constrained_decoding import control_automaton
from diffusion_lm_nb.controls import Length, SemanticContent
from diffusion_lm_nb.grammar import Grammar
from diffusion_lm_nb.guidance import ClassifierGuidance, Control, DenoiserGuidance
from diffusion_lm_nb.particles import Particles
from diffusion_lm_nb.syntax import PartsOfSpeech
from diffusion_lm_nb.training import ARTransformer
from measure import commit, hardware, weights
from parts import kept, put, run_parts

PATTERNS = [
    '_* French _*', '_{11} .', 'The _{1,2} is _* .', '_* near the river .', '(!restaurant)* .',
    'There is a _* pub _* , called _+ .', '(!cheap)* pub (!cheap)* Japanese food (!cheap)* .',
    '_+ is a (cheap | moderately priced) _+ . It is (not)? family - friendly .']
N, SEED = 40, 5

def regex():
    "A row a pattern."
    lm = DiffusionLM.from_pretrained('e2e')
    free = [t.split() for t in lm.sample(200, seed=SEED)]
    base, rows = fluency(free), []
    for pattern in PATTERNS:
        control, begun = Regex(pattern), time.monotonic()
        texts = [t.split() for t in lm.sample(N, control, seed=SEED, batch_size=20)]
        seconds, hits = time.monotonic() - begun, sum(map(control.check, texts))
        rows.append(dict(
            part='regex', task='regex', method='diffusion', pattern=pattern, success=hits / N,
            interval=wilson_interval(hits, N), chance=sum(map(control.check, free)) / len(free),
            lm_score=fluency(texts), lm_ratio=fluency(texts) / base, distinct4=distinct(texts),
            states=len(control.leads), seconds_per_50=seconds / N * 50, n_targets=1, n_samples=N,
            model='e2e', weights=weights(), hardware=hardware(), commit=commit(),
            command='python scripts/further.py regex'))
        print({k: rows[-1][k] for k in ('pattern', 'success', 'chance', 'lm_ratio')}, flush=True)
    return rows

M, TRAINED = 256, Path('runs/17b')
GRAMMAR = Grammar()
TAGS = GRAMMAR.example(17, 3).tags
FRENCH = SemanticContent('food', 'French')
CONTROLS = { # name: (control, its task)
    'French': (FRENCH, 'semantic'),
    'French, 12 words': (FRENCH & Length(12), 'semantic+length'),
    'average': (SemanticContent('customer rating', 'average'), 'semantic'), # in longer texts
    'tags': (PartsOfSpeech(TAGS), 'pos'),
}

class TagsByLexicon(Control):
    "The tags, exactly: in this grammar each word has one tag, so P is a product over positions."
    fixes_length = True
    def __init__(self, tags): self.tags, self.min_words = tags, len(tags)
    def plan(self, lm, gen, n_words=None): return len(self.tags), {}
    def bind(self, lm):
        own = {word: upos((tag, word)) for tag, word in GRAMMAR._leaves()}
        assert len(own) == len(GRAMMAR._leaves()), 'a word has two tags'
        rows = [[own.get(w) == tag for w in lm.vocab.words] for tag in self.tags]
        self.may = torch.tensor(rows)
        return super().bind(lm)
    def log_prob(self, logp, mask):
        inner = logp[:, 1:len(self.tags) + 1].masked_fill(~self.may, -torch.inf)
        return inner.logsumexp(-1).sum(-1)

def truth_of(name, lm): # of CONTROLS -> `ConditionedGrammar`
    if name == 'tags': return ConditionedGrammar(GRAMMAR, *read_tags(TAGS))
    automaton = control_automaton(CONTROLS[name][0], lm)
    return ConditionedGrammar(GRAMMAR, *read_words(automaton, lm.vocab))

def perfect(lm, name=None): # a name of CONTROLS: with exact guidance
    if name is None: return GrammarLM(lm, GRAMMAR)
    if name == 'tags': return GrammarLM(lm, GRAMMAR, tags=TAGS)
    word = CONTROLS[name][0] if name == 'average' else FRENCH # a length is given anyway
    return GrammarLM(lm, GRAMMAR, control_automaton(word, lm))

def diffuse(lm, control=None, steps=50, solver='ancestral', **kwargs): # -> list of texts
    return lm.sample(M, control, seed=SEED, steps=steps, solver=solver, batch_size=64, **kwargs)

def exact_guidance(lm, name, steps=50):
    n = {'French, 12 words': 12, 'tags': len(TAGS)}.get(name)
    return diffuse(perfect(lm, name), steps=steps, n_words=n)

def with_right_lengths(lm, name):
    "Exact guidance whose number of words is drawn from p(n | c), which is known here."
    world = perfect(lm, name)
    world.length_probs.zero_()
    for n, (p, _) in truth_of(name, lm).by_length().items(): world.length_probs[n] = p
    return diffuse(world)

def rejection(write, control): # write(first, n) -> texts
    "The first M texts that satisfy the control, and no others."
    kept, first = [], 0
    while len(kept) < M:
        kept += [t for t in write(first, 512) if control.check(t.split())]
        first += 512
    return kept[:M]

def by_baseline(method, task, control, **settings):
    writer = make_baseline(method, task, 'cpu', str(TRAINED), 'grammar', **settings)
    return writer.write([control], M, SEED)[0]

def ar_rejection(control):
    writer = StreamWriter(ARTransformer.from_pretrained(TRAINED / 'grammar-ar'))
    def more(first, n): return writer.write([None], n, SEED + 1 + first)[0]
    return rejection(more, control)

def classifier_guided(lm, control):
    guide = ClassifierGuidance(NoisyClassifier.from_pretrained(TRAINED / 'grammar-semantic'))
    return diffuse(lm, control, guide=guide)

def samplers(name, lm): # of CONTROLS -> {sampler: function -> texts}
    control, task = CONTROLS[name]
    drawn = dict(guide=None, particles=Particles(4, keep='drawn'))
    through = dict(guide=DenoiserGuidance())
    out = {
        'draws of p(w | c)': lambda: [' '.join(e.words) for e in truth_of(name, lm).sample(M, 99)],
        'perfect network, exact guidance': lambda: exact_guidance(lm, name),
        'perfect network, token marginals': lambda: diffuse(perfect(lm), control, guide=None),
        'trained network, token marginals': lambda: diffuse(lm, control, guide=None),
    }
    if name == 'tags':
        exact = TagsByLexicon(TAGS)
        return out | {
            'perfect network, token marginals': lambda: diffuse(perfect(lm), exact, guide=None),
            'trained network, token marginals': lambda: diffuse(lm, exact, guide=None),
            'trained network, classifier, default': lambda: lm.sample(M, control, seed=SEED),
        }
    if name == 'average': return out | {
        'perfect network, exact, length from p(n | c)': lambda: with_right_lengths(lm, name),
        'perfect network, 4 particles': lambda: diffuse(perfect(lm), control, **drawn),
        'trained network, default': lambda: lm.sample(M, control, seed=SEED),
        'AR, rejection': lambda: ar_rejection(control),
        'FT': lambda: by_baseline('ft-sample', task, control),
        'FUDGE, weight 1': lambda: by_baseline('fudge', task, control, weight=1., top=200),
        'Ctrl-G': lambda: by_baseline('ctrl-g', task, control),
    }
    out |= {
        'trained network, gradient': lambda: diffuse(lm, control, **through),
        'trained network, 4 particles': lambda: diffuse(lm, control, **drawn),
        'trained network, classifier': lambda: classifier_guided(lm, control),
        'trained network, default': lambda: lm.sample(M, control, seed=SEED),
        'Ctrl-G': lambda: by_baseline('ctrl-g', task, control),
    }
    for steps in (20, 200):
        out[f'trained network, token marginals, {steps} steps'] = (
            lambda k=steps: diffuse(lm, control, k, guide=None))
    def write(first, n, steps=50):
        return lm.sample(n, seed=SEED + 1, first=first, solver='ancestral', batch_size=64,
                         steps=steps, n_words=12 if '12' in name else None)
    out['trained network, rejection'] = lambda: rejection(write, control)
    if name != 'French': return out | { # short texts: the perfect network is quick enough
        'perfect network, gradient': lambda: diffuse(perfect(lm), control, **through),
        'perfect network, 4 particles': lambda: diffuse(perfect(lm), control, **drawn),
        'perfect network, exact guidance, 20 steps': lambda: exact_guidance(lm, name, 20),
        'perfect network, token marginals, 200 steps':
            lambda: diffuse(perfect(lm), control, 200, guide=None),
        'trained network, rejection, 200 steps':
            lambda: rejection(lambda first, n: write(first, n, 200), control),
    }
    return out | {
        'perfect network, exact guidance, 20 steps': lambda: exact_guidance(lm, name, 20),
        'AR, rejection': lambda: ar_rejection(control),
        'FT': lambda: by_baseline('ft-sample', task, control),
        'FUDGE, weight 1': lambda: by_baseline('fudge', task, control, weight=1., top=200),
        'FUDGE, weight 8': lambda: by_baseline('fudge', task, control, weight=8.),
        'Ctrl-G, search': lambda: by_baseline('ctrl-g-search', task, control),
    }

def texts_of(sampler, name, write): # -> texts, seconds; from runs/calibration if they are there
    return kept(Path('runs/calibration'), f'{name}-{sampler}'.replace('|', ''), write)

def holds(name, words):
    if name == 'tags': # each word has one tag
        own = {word: upos((tag, word)) for tag, word in GRAMMAR._leaves()}
        return [own.get(w) for w in words] == TAGS
    return CONTROLS[name][0].check(words)

def calibration():
    "A row a control and sampler."
    lm, rows = DiffusionLM.from_pretrained('grammar'), []
    for name in CONTROLS:
        CONTROLS[name][0].bind(lm)
        c = truth_of(name, lm)
        lengths = {n: p for n, (p, _) in c.by_length().items()}
        draws = [[e.words for e in c.sample(M, 100 + k)] for k in range(5)]
        for sampler, write in samplers(name, lm).items():
            try: texts, seconds = texts_of(sampler, name, write)
            except BadInput as e:
                print(f'{name}, {sampler}: left out, {e}', flush=True)
                continue
            words = [t.split() for t in texts]
            derived = [w for w in words if GRAMMAR.log_prob(w) > -1e9]
            ok = [w for w in derived if holds(name, w)]
            gap, error = reverse_gap(ok, c, GRAMMAR)
            apart = [told_apart(words, others) for others in draws]
            rows.append(dict(
                part='calibration', task=name, method=sampler, p_control=c.p, entropy=c.entropy(),
                success=sum(holds(name, w) for w in words) / M, derivable=len(derived) / M,
                in_language=len(ok) / M,
                interval=wilson_interval(len(ok), M), gap=gap, gap_error=error,
                lengths=length_distance(words, lengths), told_apart=sum(apart) / 5,
                told_range=[min(apart), max(apart)],
                different=len(set(texts)) / M, seconds_per_50=seconds / M * 50, n_targets=1,
                n_samples=M, model='grammar', hardware=hardware(), commit=commit(),
                command='python scripts/further.py calibration'))
            shown = {k: round(v, 2) for k, v in rows[-1].items() if isinstance(v, float)}
            print(name, '|', sampler, shown, flush=True)
    return rows

PARTS = dict(regex=regex, calibration=calibration)

def measured(part):
    "The rows of a part, into the table."
    put(part, PARTS[part]())

if __name__ == '__main__': run_parts({k: partial(measured, k) for k in PARTS}, sys.argv[1:])

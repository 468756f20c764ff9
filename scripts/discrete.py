"""Gaussian, masked and uniform diffusion side by side: rows of results/further.json (chapter 17c).

    OMP_NUM_THREADS=1 python scripts/discrete.py perfect     # perfect networks, some minutes
    OMP_NUM_THREADS=1 python scripts/discrete.py grammar     # the shipped models of the grammar
    DLM_DATA=... OMP_NUM_THREADS=1 python scripts/discrete.py e2e   # models of runs/17c

Part *perfect*: 256 texts of twelve words by the perfect denoiser, in 2 to 50 steps. Part *grammar*:
the same by trained networks; their bound on 500 texts; texts under four controls, as in chapter 17b.
Part *e2e*: models of 1.06M parameters and 1,500 steps, made by `python scripts/discrete.py train
masked uniform gaussian`, with the word vectors of the shipped model, so that its classifier of syntax
serves all; controls act on token marginals alone.
Part *size*: the shipped network itself, and two copies of it that were trained 3,000 steps more,
one under Gaussian and one under absorbing noise (`python scripts/discrete.py warm gaussian
masked`). The masked copy is steered by a classifier of syntax of its own:

    dlm-train e2e-masked-syntax --lm runs/17c/warm-masked --out runs/17g/e2e-masked-syntax

Texts are kept in runs/discrete and not made twice.
"""
import json, sys, time
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from diffusion_lm_nb import DiffusionLM, Particles
from diffusion_lm_nb.calibration import *
from diffusion_lm_nb.controls import distinct, wilson_interval
from diffusion_lm_nb.corpora import load_corpus, repeats
from diffusion_lm_nb.discrete import InOrder, PerfectDiscreteLM
from diffusion_lm_nb.files import BadInput, write_atomic
from diffusion_lm_nb.likelihood import likelihood
from diffusion_lm_nb.loss import SMALL, Preset
from diffusion_lm_nb.metrics import fluency, success_rows
from diffusion_lm_nb.reproduction import pick, read_targets, shipped_targets
from diffusion_lm_nb.sampling import load_model
from diffusion_lm_nb.syntax import SyntaxClassifier
from diffusion_lm_nb.training import fit, make_diffusion
from diffusion_lm_nb.teacher import make_judge
import parts
from ablate import RECIPE
from dials import ratios
from further import CONTROLS, GRAMMAR, M, SEED, TAGS, TagsByLexicon, holds, truth_of
from measure import commit, hardware

KINDS = 'gaussian', 'masked', 'uniform'
STEPS = 2, 3, 5, 8, 12, 20, 50
ORDERS = {'masked, random order': False, 'masked, certain first': True}
TEXTS, MODELS = Path('runs/discrete'), Path('runs/17c')
E2E_STEPS, WARM_STEPS = 1500, 3000
NAMES = dict(gaussian='grammar', masked='grammar-masked', uniform='grammar-uniform')

def kept(name, write): return parts.kept(TEXTS, name, write)

def drawn(lm, control=None, steps=50, solver='ancestral', **kwargs):
    "256 texts, controls on token marginals alone."
    return lm.sample(M, control, seed=SEED, steps=steps, solver=solver, batch_size=64,
                     guide=None, **kwargs)

def judged(texts, truth, name=None): # a name of CONTROLS
    "What of the texts is right, and how far they are from draws of p(w | c)."
    words = [t.split() for t in texts]
    derived = [w for w in words if GRAMMAR.log_prob(w) > -1e9]
    ok = [w for w in derived if name is None or holds(name, w)]
    gap, error = reverse_gap(ok, truth, GRAMMAR)
    apart = [told_apart(words, [e.words for e in truth.sample(M, 100 + k)]) for k in range(5)]
    return dict(success=sum(name is None or holds(name, w) for w in words) / M,
                derivable=len(derived) / M, in_language=len(ok) / M,
                interval=wilson_interval(len(ok), M), gap=gap, gap_error=error,
                told_apart=sum(apart) / 5, told_range=[min(apart), max(apart)],
                different=len(set(texts)) / M)

def row(part, **more):
    out = dict(part=part, n_targets=1) | more | dict(hardware=hardware(), commit=commit(),
               command=f'python scripts/discrete.py {part.split("-")[1]}')
    print({k: round(v, 3) if isinstance(v, float) else v for k, v in more.items()
           if not isinstance(v, list)}, flush=True)
    return out

def of_twelve_words():
    return ConditionedGrammar(GRAMMAR, 0, lambda n, leaf: n + 1 if n < 12 else None,
                              lambda n: n == 12)

def perfect_of(kind, lm):
    return GrammarLM(lm, GRAMMAR) if kind == 'gaussian' else PerfectDiscreteLM(lm, GRAMMAR, kind)

def by_steps(part, models):
    "A row a model and number of steps: free texts of twelve words."
    truth, rows = of_twelve_words(), []
    if 'masked' in models: models = models | {k: models['masked'] for k in ORDERS}
    for kind, lm in models.items():
        solver = InOrder(ORDERS[kind]) if kind in ORDERS else 'ancestral'
        for steps in STEPS:
            texts, seconds = kept(f'{part}-{kind}-{steps}',
                                  lambda: drawn(lm, steps=steps, solver=solver, n_words=12))
            rows.append(row(part, method=kind, task='free, 12 words', steps=steps,
                            **judged(texts, truth), n_samples=M,
                            seconds_per_50=seconds / M * 50))
    return rows

def perfect():
    lm = DiffusionLM.from_pretrained('grammar')
    return by_steps('discrete-perfect', {k: perfect_of(k, lm) for k in KINDS})

def held_out(n=500): return [e.words for e in GRAMMAR.sample(n, seed=77)]

def bound_row(part, kind, lm, **more):
    texts = held_out()
    r = likelihood(lm, texts, limit=len(texts), seed=1)
    exact = -sum(GRAMMAR.log_prob(w) for w in texts) / sum(len(w) + 1 for w in texts)
    return row(part, method=kind, task='bound', bound=r['nats_per_token'], exact=exact,
               std_error=r['std_error'], texts=r['texts'],
               parameters=sum(p.numel() for p in lm.parameters()), **more)

def guided(name, kind): # of CONTROLS -> {guidance: arguments of `drawn`}
    "How the texts of a control are drawn; more ways where texts are short."
    out = {'token marginals': {}}
    if name != 'French, 12 words': return out
    out['4 particles'] = dict(particles=Particles(4, keep='drawn'))
    if kind == 'masked':
        out |= {k.split(', ')[1]: dict(solver=InOrder(v)) for k, v in ORDERS.items()}
    return out

def controlled(part, kind, lm, who):
    "A row a control and way of guidance, 50 steps."
    rows, shipped = [], DiffusionLM.from_pretrained('grammar')
    for name, (control, _) in CONTROLS.items():
        control.bind(shipped)
        truth = truth_of(name, shipped)
        if name == 'tags': control = TagsByLexicon(TAGS)
        for way, more in guided(name, kind).items():
            texts, seconds = kept(f'{part}-{who}-{kind}-{name}-{way}',
                                  lambda: drawn(lm, control, **more))
            rows.append(row(part, method=kind, network=who, guidance=way, task=name,
                            **judged(texts, truth, name), n_samples=M,
                            seconds_per_50=seconds / M * 50))
    return rows

def grammar():
    part, lm = 'discrete-grammar', DiffusionLM.from_pretrained('grammar')
    models = {k: DiffusionLM.from_pretrained(NAMES[k]) for k in KINDS}
    rows = [bound_row(part, k, m) for k, m in models.items()]
    rows += by_steps(part, models)
    for kind in KINDS:
        rows += controlled(part, kind, models[kind], 'trained')
        if kind != 'gaussian': rows += controlled(part, kind, perfect_of(kind, lm), 'perfect')
    return rows

def train(kind): # one of KINDS
    "A model of E2E with the word vectors of the shipped one, `E2E_STEPS` steps."
    recipe = {} if kind == 'gaussian' else dict(recipe=kind)
    p = replace(RECIPE, steps=E2E_STEPS, model=RECIPE.model | recipe)
    torch.manual_seed(0)
    lm, at = make_diffusion(p, load_corpus('e2e', 'train'), 0)
    shipped = DiffusionLM.from_pretrained('e2e')
    if lm.vocab.words != shipped.vocab.words: raise BadInput('another vocabulary than the shipped')
    lm.emb.load_state_dict(shipped.emb.state_dict())
    lm.emb.requires_grad_(False)
    begun = time.monotonic()
    fit(lm, at, p, MODELS / f'e2e-{kind}', resume=True, device='cpu')
    lm.save_pretrained(MODELS / f'e2e-{kind}')
    write_atomic(MODELS / f'e2e-{kind}' / 'seconds.json', json.dumps(time.monotonic() - begun))

def warm(kind): # gaussian or masked
    "The shipped network, `WARM_STEPS` more steps under this corruption."
    shipped = DiffusionLM.from_pretrained('e2e')
    recipe = {} if kind == 'gaussian' else dict(recipe=kind)
    model = SMALL | dict(layers=8, dropout=.05) | recipe
    p = Preset('diffusion', 'e2e', model, steps=WARM_STEPS, lr=5e-4, warmup=100, decay=1.,
               ema=.998, exchange=.5)
    torch.manual_seed(0)
    lm, at = make_diffusion(p, load_corpus('e2e', 'train'), 0)
    if lm.vocab.words != shipped.vocab.words: raise BadInput('another vocabulary than the shipped')
    lm.load_state_dict(shipped.state_dict())
    lm.emb.requires_grad_(False)
    out, begun = MODELS / f'warm-{kind}', time.monotonic()
    fit(lm, at, p, out, resume=True, device='cpu')
    lm.save_pretrained(out)
    write_atomic(out / 'seconds.json', json.dumps(time.monotonic() - begun))

TASKS = dict(semantic=20, pos=20, tree=20, spans=20, length=20) # targets

def e2e():
    part, rows = 'discrete-e2e', []
    valid = [e.words for e in load_corpus('e2e', 'valid') if len(e.words) <= 62]
    people, judge = fluency(valid), make_judge()
    for kind in KINDS:
        if not (MODELS / f'e2e-{kind}/seconds.json').exists():
            print(f'{kind}: left out, {MODELS}/e2e-{kind} is not there', flush=True)
            continue
        lm = load_model(str(MODELS / f'e2e-{kind}'), 'cpu')
        r = likelihood(lm, valid, 16, limit=400, seed=1)
        rows.append(row(part, method=kind, task='bound', bound=r['nats_per_block_token'],
                        std_error=r['std_error'], texts=r['texts'],
                        parameters=sum(p.numel() for p in lm.parameters()),
                        training_seconds=json.loads(
                            (MODELS / f'e2e-{kind}/seconds.json').read_text())))
        for steps in (10, 20, 50):
            texts, seconds = kept(f'{part}-{kind}-free-{steps}', lambda: lm.sample(
                200, seed=1, steps=steps, solver='ancestral', batch_size=20))
            words = [t.split() for t in texts]
            rows.append(row(part, method=kind, task='free', steps=steps, n_samples=200,
                            lm_score=fluency(words), **ratios(judge, words, valid),
                            repeats=repeats(words),
                            seconds_per_50=seconds / 4))
        for task, n in TASKS.items():
            targets, controls = zip(*pick(read_targets(shipped_targets(task), task), n))
            texts, seconds = kept(f'{part}-{kind}-{task}', lambda: lm.sample(
                n, list(controls), seed=2, solver='ancestral', batch_size=10, guide=None))
            words = [t.split() for t in texts]
            found = success_rows([dict(task=task, target=t, texts=[x])
                                   for t, x in zip(targets, texts)])
            rows.append(row(part, method=kind, task=task, n_samples=1, steps=50,
                            success=found['success'], interval=found.get('interval'),
                            n_targets=n, lm_score=fluency(words), lm_ratio=fluency(words) / people,
                            distinct4=distinct(words), seconds_per_50=seconds / n * 50))
    return rows

SIZED = {'shipped': 'e2e', 'gaussian': 'runs/17c/warm-gaussian', 'masked': 'runs/17c/warm-masked'}
READER, SIZED_TARGETS, SIZED_TEXTS = 'runs/17g/e2e-masked-syntax', 40, 2

def sized_bounds(kind, lm, valid):
    "The bound on 256 validation and 256 test texts."
    out = {}
    for split, texts in dict(valid=valid, test=fitting('test')).items():
        r = likelihood(lm, texts, 16, limit=256, seed=1)
        out |= {split: r['nats_per_block_token'], f'{split}_error': r['std_error']}
    return row('discrete-size', method=kind, task='bound', n_samples=256, **out,
               parameters=sum(p.numel() for p in lm.parameters()))

def fitting(split): return [e.words for e in load_corpus('e2e', split) if len(e.words) <= 62]

def sized_task(kind, lm, task, reader):
    "Two texts for each of 40 targets."
    targets, controls = zip(*pick(read_targets(shipped_targets(task), task), SIZED_TARGETS))
    for c in controls:
        if reader is not None and hasattr(c, 'given'): c.given = reader
    n = SIZED_TEXTS
    texts, seconds = kept(f'size-{kind}-{task}', lambda: lm.sample(
        n * len(controls), [c for c in controls for _ in range(n)], seed=2, solver='ancestral',
        batch_size=20, guide=None))
    return [dict(task=task, target=t, texts=texts[n * k:n * k + n])
            for k, t in enumerate(targets)], seconds / len(texts) * 50

def size():
    from protocol import costs, people_of, ratio
    valid, rows, judge, first = fitting('valid'), [], make_judge(), {}
    for kind, folder in SIZED.items():
        lm = plain(load_model(folder, 'cpu'))
        reader = SyntaxClassifier.from_pretrained(READER) if kind == 'masked' else None
        rows.append(sized_bounds(kind, lm, valid))
        for steps in (10, 20, 50):
            texts, seconds = kept(f'size-{kind}-free-{steps}', lambda: lm.sample(
                128, seed=1, steps=steps, solver='ancestral', batch_size=32))
            words = [t.split() for t in texts]
            rows.append(row('discrete-size', method=kind, task='free', steps=steps, n_samples=128,
                            **ratios(judge, words, valid), repeats=repeats(words),
                            seconds_per_50=seconds / 128 * 50))
        for task in TASKS:
            found, seconds = sized_task(kind, lm, task, reader)
            words = [[t.split() for t in r['texts']] for r in found]
            scores, mine = success_rows(found), costs(words)
            versus = first.setdefault(task, {}) # each later model against the Gaussian copy
            versus[kind] = scores['by_target'], mine
            more = {}
            if kind == 'masked':
                by, theirs = versus['gaussian']
                more['difference'], more['difference_interval'] = parts.difference(
                    scores['by_target'], by)
                more['cheaper'], more['cheaper_interval'] = parts.cheaper(mine, theirs)
            rows.append(row('discrete-size', method=kind, task=task, n_samples=SIZED_TEXTS,
                            steps=50, success=scores['success'], interval=scores['interval'],
                            **ratio(words, people_of(found)), **more,
                            seconds_per_50=seconds) | dict(n_targets=SIZED_TARGETS))
        parts.put('discrete-size', rows)                     # what is there is not lost
    return rows

def plain(lm):
    "Without the dials of the default sampler: ancestral steps at temperature 1."
    lm.temperature = lm.below = 1.
    return lm

PARTS = dict(perfect=perfect, grammar=grammar, e2e=e2e, size=size)

def train_all(kinds):
    "Train models of E2E; an unknown kind is said in one line, exit code 2."
    parts.run_parts({k: partial(train, k) for k in KINDS}, kinds or ['none'])

def measured(part):
    "The rows of a part, into the table."
    parts.put(f'discrete-{part}', PARTS[part]())

if __name__ == '__main__':
    first, *rest = sys.argv[1:] or ['']
    if first == 'train': train_all(rest)
    elif first == 'warm': parts.run_parts({k: partial(warm, k) for k in KINDS}, rest or ['none'])
    else: parts.run_parts({k: partial(measured, k) for k in PARTS}, sys.argv[1:],
                          ', and train KIND')

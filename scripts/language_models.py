#!/usr/bin/env python
"""Measures the language models of chapters 13 to 13c: one row a job and model, into
results/language_models.json.

    for m in gpt bert xlm xlm-mlm gpt2 bart bart-{mask,delete,infill,permute,rotate}
    do dlm-train e2e-$m --out runs/e2e-$m; done
    DLM_DATA=... OMP_NUM_THREADS=1 python scripts/language_models.py [JOB ...]

JOB: likelihood, masked, xlm, bart, samples, fine-tuning (on E2E's test texts), next-sentence, and
grammar, pairs and noises (no corpus is needed). A run that was cut off goes on; rows that are there
are kept. What is not trained is skipped, and its command is said. --models FOLDER, --table FILE:
other places; --limit N: the first N test texts, to try it out.

Texts of more than 62 words are left out. A Kneser-Ney 5-gram stands beside each likelihood: the
same words are known to it, the rest is UNK to both, and it counts the same training texts. Masked
words and gaps are drawn by a seed, the same for all models; only words that the models know are
masked. In a gap of unknown size, its end is not counted.
Fine-tuning: 100 labelled texts, as many of each class; the learning rate that did better on valid
texts; accuracy on test texts. Without pre-training: the same network, fresh.
Pairs: see chapter 13c.
"""
import argparse
import json
import math
import sys
import time
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from diffusion_lm_nb.files import write_atomic
from diffusion_lm_nb.corpora import load_corpus, sentences
from diffusion_lm_nb.grammar import Grammar
from diffusion_lm_nb.ngram import KneserNey
from diffusion_lm_nb.loss import Preset, keyed_generator
from diffusion_lm_nb.training import fit
from diffusion_lm_nb.language_models import (
    BERT, GPT, GPT2, LM_PRESETS, MASK, XLM, maker, sentence_pairs)
from diffusion_lm_nb.mask_filling import BART, BART_PRESETS, cloze, masked_scores
from diffusion_lm_nb.text_pairs import (
    TextClassifier, accuracy, entailment_pairs, fine_tune, next_sentence_accuracy,
    similarity_pairs)

sys.path.insert(0, str(Path(__file__).parent))
TABLE = Path(__file__).parents[1]/'results'/'language_models.json'
args = argparse.Namespace(table=TABLE, models=Path('runs'), limit=None)
BARTS = ['e2e-bart'] + [f'e2e-bart-{n}' for n in ('mask', 'delete', 'infill', 'permute', 'rotate')]
CLASSES = {'e2e-gpt': GPT, 'e2e-gpt2': GPT2, 'e2e-bert': BERT, 'e2e-xlm': XLM, 'e2e-xlm-mlm': XLM}
CLASSES |= dict.fromkeys(BARTS, BART)
MEANING = [('name', 'The Eagle'), ('eatType', 'pub'), ('food', 'French'), ('near', 'Burger King')]
HOLES = 'The Eagle is a'.split() + [None]*4 + 'near Burger King .'.split()  # hand-written
NOT_TRAINED = set()


# --- what is measured by hand here, and nowhere else

def cut_gap(words, gen, most=10):
    "A gap drawn by chance -> number of words before it, in it."
    n = 1 + int(torch.randint(min(most, len(words)), (), generator=gen))
    return int(torch.randint(len(words) - n + 1, (), generator=gen)), n


@torch.no_grad()
def gap_nats(lm, texts, gaps, mark=(MASK,)):
    "Cross-entropy of the words in the gaps, which `mark` marks in the source: dict(nats, words)."
    nats = []
    for words, (a, n) in zip(texts, gaps):
        source = words[:a] + [*mark] + words[a + n:]
        rows = (u.to(lm.net.device) for u in lm.rows([(source, words)]))
        nats += lm.token_nats(*rows)[0, a:a + n].tolist()
    return dict(nats=sum(nats)/len(nats), words=len(nats))


def left_nats(kn, texts, gaps):
    "The same of a 5-gram, which sees the left side only."
    nats = []
    for words, (a, n) in zip(texts, gaps):
        words = [w if kn.vocab is None or w in kn.vocab else 'UNK' for w in words]
        known = ['START']*4 + words
        nats += [-math.log(kn.prob(known[i + 4], tuple(known[i:i + 4]))) for i in range(a, a + n)]
    return dict(nats=sum(nats)/len(nats), words=len(nats))


RATINGS = {'low': 'low', '1 out of 5': 'low', 'average': 'average', '3 out of 5': 'average',
           'high': 'high', '5 out of 5': 'high'}


def rating(e):
    "How the customers rate the place: none, low, average or high."
    return RATINGS.get(dict(e.mr).get('customer rating'), 'none')


def food(e):
    "The kind of food, or none."
    return dict(e.mr).get('food', 'none')


def few_labels(examples, label, each, seed):
    "A few examples, `each` of each class, drawn by a seed."
    kept = {}
    for i in torch.randperm(len(examples), generator=keyed_generator(seed)).tolist():
        same = kept.setdefault(label(examples[i]), [])
        if len(same) < each:
            same.append(examples[i])
    return [e for k in sorted(kept) for e in kept[k]]


def tuned(lm, pretrained, few, classes, preset, seed, **kwargs):
    "A `TextClassifier` that starts from the model, or from the same network with fresh weights."
    torch.manual_seed(seed)
    start = lm if pretrained else type(lm)(**lm._hub_mixin_config)
    return fine_tune(TextClassifier(start, classes, **kwargs), few, preset, seed)


def labelled(examples, label):
    "What `fine_tune` takes: ((words,), class) of each text."
    return [((e.words,), label(e)) for e in examples]


# --- corpus, models, rows

@cache
def corpus(split):
    "E2E's texts of at most 62 words."
    return [e for e in load_corpus('e2e', split) if 0 < len(e.words) <= 62]


@cache
def test():
    "Test examples, and their words."
    kept = corpus('test')[:args.limit]
    return kept, [e.words for e in kept]


@cache
def model(name):
    "A trained model, or None."
    folder = args.models/name
    if (folder/'config.json').exists():
        return CLASSES[name].from_pretrained(folder).eval().requires_grad_(False)
    if name not in NOT_TRAINED:
        print(f'{name} is not trained: dlm-train {name} --out {folder}', flush=True)
    NOT_TRAINED.add(name)


def first(*names):
    "The first of these models that is trained, or None."
    return next(filter(None, map(model, names)), None)


@cache
def kneser_ney(known):
    "For a tuple of known words: the 5-gram, its nats of each test text."
    kn = KneserNey(5, {*known}).fit([e.words for e in corpus('train')])
    return kn, [*map(kn.nats, test()[1])]


def known(lm):
    return tuple(lm.vocab.words[:lm.writable])


def rows():
    return json.loads(args.table.read_text(encoding='utf8')) if args.table.exists() else []


def keep(job, name, measure, texts='e2e test', command=None):
    "A row with what `measure` gives, unless it is there or `measure` gives None."
    from measure import commit, hardware

    if any((r['job'], r['model']) == (job, name) for r in rows()):
        return
    start = time.time()
    if (measured := measure()) is None:
        return
    data = 'DLM_DATA=$DLM_DATA ' if texts.startswith('e2e') else ''
    row = dict(job=job, task=job.split()[0], method=job, model=name, corpus=texts) | measured
    row |= dict(seconds=round(time.time() - start, 1), hardware=hardware(), commit=commit(),
                command=f'{data}python scripts/language_models.py {command or job}')
    write_atomic(args.table, json.dumps([*rows(), row], ensure_ascii=False, indent=1) + '\n')
    print(job, name, {k: round(v, 3) for k, v in row.items() if isinstance(v, float)}, flush=True)


def trained(name, job, measure, label=None):
    "A row of what `measure` says of a model, if it is trained."
    def all_of_it():
        lm = model(name)
        return lm and about(name, lm) | measure(lm)
    keep(job, label or name, all_of_it)


def about(name, lm):
    "Its size, and how it was trained."
    run = args.models/name/'run.json'
    size = dict(parameters=sum(p.numel() for p in lm.parameters()))
    if not run.exists():
        return size
    said = json.loads(run.read_text())
    return size | {k: said[k] for k in ('steps', 'batch_size') if k in said}


# --- likelihood

def per_token(nats):
    "Nats of each test text -> nats a token, and a block token."
    words = test()[1]
    return dict(
        nats_per_token=sum(nats)/sum(len(w) + 1 for w in words),
        nats_per_block_token=sum(nats)/sum(len(w) + 3 for w in words),
        texts=len(words), left_out=len(load_corpus('e2e', 'test')[:args.limit]) - len(words))


def beside(lm):
    "The 5-gram that knows the same words, and the share of words that neither knows."
    words = [w for t in test()[1] for w in t]
    return dict(kneser_ney_5gram=per_token(kneser_ney(known(lm))[1]),
                unk_rate=sum(w not in lm.vocab.ids for w in words)/len(words))


def likelihood():
    examples, words = test()
    for name in ('e2e-gpt', 'e2e-gpt2'):
        trained(name, 'likelihood', lambda lm: per_token(lm.nats(words)) | beside(lm))
    mrs = [e.mr for e in examples]
    trained('e2e-gpt2', 'likelihood', lambda lm: per_token(lm.nats(words, mrs)) | beside(lm),
            'e2e-gpt2, MR as a prompt')
    if lm := first('e2e-gpt', 'e2e-gpt2'):
        keep('likelihood', 'Kneser-Ney 5-gram', lambda: per_token(kneser_ney(known(lm))[1]))


# --- masked words

def clozes(lm):
    "Test texts with None for some of the words that the model knows."
    out = []
    for i, words in enumerate(test()[1]):
        gapped = cloze(words, keyed_generator(11, i))
        out.append([g if w in lm.vocab.ids else w for w, g in zip(words, gapped)])
    return out


def scores(lm, with_mr=False):
    "What a `BERT` or `XLM` makes of the masked words."
    examples, words = test()

    def model_rows(texts, numbers):
        if isinstance(lm, BERT):
            return lm.rows([(t, None) for t in texts])
        return lm.rows([(examples[i].mr if with_mr else None, t) for t, i in zip(texts, numbers)])

    return masked_scores(lm, words, clozes(lm), model_rows)


def commonest(lm):
    "Accuracy of the commonest word."
    best = Counter(w for e in corpus('train') for w in e.words).most_common(1)[0][0]
    gone = []
    for words, gapped in zip(test()[1], clozes(lm)):
        gone += [w for w, g in zip(words, gapped) if g is None]
    return dict(accuracy=gone.count(best)/len(gone), words=len(gone))


def masked():
    for name in ('e2e-bert', 'e2e-xlm-mlm', 'e2e-xlm'):
        trained(name, 'masked', scores)
    if lm := first('e2e-bert', 'e2e-xlm', 'e2e-xlm-mlm'):
        keep('masked', 'always the commonest word', lambda: commonest(lm))


def xlm():
    for name in ('e2e-xlm-mlm', 'e2e-xlm'):
        for see in (False, True):
            label = f'{name}, {"with the MR" if see else "text alone"}'
            trained(name, 'xlm', lambda lm: scores(lm, see), label)


# --- gaps

def bart():
    words = test()[1]
    gaps = [cut_gap(t, keyed_generator(12, i)) for i, t in enumerate(words)]

    def both(lm):
        unmarked = dict(nats_unmarked=gap_nats(lm, words, gaps, [])['nats'])
        return dict(noise=','.join(lm.noise)) | gap_nats(lm, words, gaps) | unmarked

    for name in BARTS:
        trained(name, 'bart', both)
    if lm := first(*BARTS):
        keep('bart', 'Kneser-Ney 5-gram, left side',
             lambda: left_nats(kneser_ney(known(lm))[0], words, gaps))


# --- texts

def samples():
    one_gap = HOLES[:5] + HOLES[8:]
    write = {
        'e2e-gpt': lambda lm: lm.sample(3),
        'e2e-gpt2': lambda lm: lm.sample(3, MEANING),
        'e2e-bert': lambda lm: [' '.join(lm.fill(HOLES, s)) for s in range(3)],
        'e2e-xlm': lambda lm: [' '.join(lm.fill([None]*14, MEANING, s)) for s in range(3)],
        'e2e-bart': lambda lm: [' '.join(lm.write(one_gap, seed=s)) for s in range(3)],
    }
    for name, texts in write.items():
        trained(name, 'samples', lambda lm: dict(samples=texts(lm)))


# --- one stage or two

RUN = Preset('classifier', 'e2e', batch_size=16, steps=200, warmup=20, ema=0.95, precision='no')


def each_rate(lm, pretrained, label, labels=100, seeds=3):
    "Test accuracy at the learning rate that is best on valid texts."
    def pick(examples, n):
        order = torch.randperm(len(examples), generator=keyed_generator(13)).tolist()
        return [examples[i] for i in order[:n]]

    classes = sorted({*map(label, corpus('train'))})
    valid, tests = pick(corpus('valid'), min(300, args.limit or 300)), pick(test()[0], 1000)
    tried = {}
    for lr in (3e-4, 1e-3, 3e-3, 1e-2):
        for seed in range(seeds):
            few = few_labels(corpus('train'), label, labels//len(classes), seed)
            c = tuned(lm, pretrained, labelled(few, label), classes, replace(RUN, lr=lr), seed)
            tried.setdefault(lr, []).append(tuple(accuracy(c, labelled(part, label))
                                                  for part in (valid, tests)))
    lr = max(tried, key=lambda lr: sum(v for v, _ in tried[lr]))
    got = [t for _, t in tried[lr]]
    return dict(accuracy=sum(got)/seeds, seeds=' '.join(f'{a:.3f}' for a in got), accuracies=got,
                labels=labels, lr=lr, steps=RUN.steps)


def fine_tuning():
    for label in (food, rating):
        for name in ('e2e-gpt', 'e2e-bert'):
            for pretrained in (True, False):
                said = f'{name}, {label.__name__}, {"pre-trained" if pretrained else "fresh"}'
                trained(name, 'fine-tuning', lambda lm: each_rate(lm, pretrained, label), said)


# --- on the grammar, with shipped models and a GPT that is trained here in ten seconds

@cache
def grammar_gpt(steps=300):
    "The GPT of chapter 13, or one that is trained for longer."
    torch.manual_seed(0)
    preset = replace(LM_PRESETS['grammar-gpt'], steps=steps)
    lm, batch_at = maker(GPT)(preset, load_corpus('grammar'), 0)
    fit(lm, batch_at, preset, device='cpu', quiet=True)
    return lm


SEEDS = 10  # of the labelled texts, of fresh weights and of the order, for what is compared


def by_seed(got):
    "What a row holds of the accuracies."
    return dict(accuracy=sum(got)/len(got), seeds=' '.join(f'{a:.2f}' for a in got[:3]),
                accuracies=got)


def grammar_ratings(lm, pretrained, lr):
    "Accuracy of the rating of 300 valid texts, after 80 steps on 20 texts of each class, by seed."
    run = replace(RUN, corpus='grammar', steps=80, lr=lr, warmup=10, ema=0.9)
    judged, classes = load_corpus('grammar', 'valid')[:300], ['none', 'low', 'average', 'high']
    got = []
    for seed in range(SEEDS):
        few = labelled(few_labels(load_corpus('grammar'), rating, 20, seed), rating)
        got.append(accuracy(tuned(lm, pretrained, few, classes, run, seed),
                            labelled(judged, rating)))
    return by_seed(got) | dict(labels=80, lr=lr, steps=80)


# --- two texts at once

PAIRS = dict(entailment=entailment_pairs, similarity=similarity_pairs)
TWO = replace(RUN, batch_size=32, steps=2000, warmup=100, ema=0.98)
RATES, SHARES, EACH = (5e-4, 1e-3, 2e-3, 4e-3, 8e-3), (.7, .15, .15), (3000, 100, 100)


@cache
def by_meaning(corpus):
    "Training texts in three parts, for training, choice and test: no meaning is in two of them."
    texts = [e for e in load_corpus(corpus) if len(e.words) <= 40]
    groups = {}
    for e in texts:
        groups.setdefault(str(sorted(e.mr)), []).append(e)
    order = torch.randperm(len(groups), generator=keyed_generator(21)).tolist()
    names, parts, at = sorted(groups), [], 0
    for share in SHARES:
        end = at + round(share*len(groups))
        parts.append([e for k in order[at:end] for e in groups[names[k]]])
        at = end
    return parts


@cache
def pairs_of(corpus, task):
    "Pairs for training, choice of the learning rate, and test."
    return [PAIRS[task](part, n, keyed_generator(22, k))
            for k, (part, n) in enumerate(zip(by_meaning(corpus), EACH))]


def pair_accuracy(lm, corpus, task, pretrained, aux, hide=None, rates=RATES, seeds=5):
    "Test accuracy by seed, at the learning rate that one more seed chose on other pairs."
    parts = pairs_of(corpus, task)
    train, choice, tests = map(hide, parts) if hide else parts
    classes = sorted({name for _, name in train})

    def model(lr, seed):
        run = replace(TWO, corpus=corpus, lr=lr)
        return tuned(lm, pretrained, train, classes, run, seed, aux=aux,
                     symmetric=task == 'similarity')

    chosen = {lr: accuracy(model(lr, 100), choice) for lr in rates}
    lr = max(chosen, key=chosen.get)
    got = [accuracy(model(lr, seed), tests) for seed in range(seeds)]
    return by_seed(got) | dict(labels=len(train), lr=lr, steps=TWO.steps, tests=len(tests),
                               chosen={str(k): v for k, v in chosen.items()})


def without_first(labelled):
    "The same pairs, and nothing can be read of the first text."
    return [((['.'], b), name) for (_, b), name in labelled]


def without_second(labelled):
    "The same pairs, and nothing can be read of the second text."
    return [((a, ['.']), name) for (a, _), name in labelled]


def looked_up(corpus, task, key):
    "No network: the class that is most frequent in training where the pair has this key."
    train, _, tests = pairs_of(corpus, task)
    seen = {}
    for pair, name in train:
        seen.setdefault(key(pair), Counter())[name] += 1
    guess = {k: count.most_common(1)[0][0] for k, count in seen.items()}
    return by_seed([sum(guess.get(key(p)) == k for p, k in tests)/len(tests)])


def missing_words(pair):
    "Words of the second text that the first does not have, 9 at most."
    return min(sum(w not in pair[0] for w in pair[1]), 9)


@cache
def fields_of(corpus):
    "A function: two texts -> the fields of both."
    found = {tuple(e.words): tuple(sorted(f for f, _ in e.mr))
             for part in by_meaning(corpus) for e in part}
    return lambda pair: tuple(found[tuple(text)] for text in pair)


def pairs(names=('bert', 'gpt'), tasks=tuple(PAIRS), corpus='grammar'):
    of_job = dict(texts='grammar train, other meanings', command='pairs')
    starts = dict(bert=lambda: BERT.from_pretrained('grammar-bert'),
                  gpt=lambda: grammar_gpt(4000))
    arms = dict(bert=((True, 0.), (False, 0.)), gpt=((True, .5), (False, .5), (True, 0.)))
    for task in tasks:
        for name in names:
            for pretrained, aux in arms[name]:
                said = f'{corpus}-{name}, {task}, {"pre-trained" if pretrained else "fresh"}'
                said += ', λ = 0' if name == 'gpt' and not aux else ''
                keep('two texts', said, lambda: pair_accuracy(
                    starts[name](), corpus, task, pretrained, aux), **of_job)
        for what, hide in (('short', without_first), ('long', without_second)):
            keep('two texts', f'{corpus}-bert, {task}, the {what} text alone',
                 lambda: pair_accuracy(starts['bert'](), corpus, task, False, 0., hide,
                                       (2.5e-4, *RATES)), **of_job)
        keep('two texts', f'missing words, {task}',
             lambda: looked_up(corpus, task, missing_words), **of_job)
        keep('two texts', f'which fields, {task}',
             lambda: looked_up(corpus, task, fields_of(corpus)), **of_job)


# --- which noise prepares BART for gaps

def after_noise(noise, seed, steps=2000, more=300):
    """BART trained with a noise function, then with text infilling for a few steps, as all others;
    no noise: these few steps alone. Nats of the gaps before and after.
    """
    preset = replace(BART_PRESETS['grammar-bart'], steps=steps)
    torch.manual_seed(seed)
    texts = load_corpus('grammar')[:10_000]
    lm, batch_at = maker(BART)(replace(preset, model=preset.model | dict(noise=noise or 'infill')),
                               texts, seed)
    words = [e.words for e in load_corpus('grammar', 'test')[:300]]
    gaps = [cut_gap(w, keyed_generator(1, i)) for i, w in enumerate(words)]
    if noise:
        fit(lm, batch_at, preset, device='cpu', quiet=True)
    before = gap_nats(lm.eval(), words, gaps)['nats']
    lm.noise = ['infill']
    fit(lm, batch_at, replace(preset, steps=more, lr=1e-3), device='cpu', quiet=True)
    return dict(noise=noise or 'none', nats_before=before, steps=steps if noise else 0, more=more,
                seed=seed) | gap_nats(lm.eval(), words, gaps)


def noises(seeds=(0, 1)):
    for seed in seeds:
        for noise in ('', 'mask', 'delete', 'infill', 'permute', 'rotate', 'infill,permute'):
            keep('noise, then gaps', f'{noise or "no first stage"}, seed {seed}',
                 lambda: after_noise(noise, seed), texts='grammar test', command='noises')


def best_next_sentence(examples):
    """The accuracy of whoever knows the grammar: B is of another text if p(B | A) < p(B). Both are
    of the second sentences of the training texts, p(B) by counting.
    """
    grammar, cut = Grammar(), [sentences(e.words) for e in load_corpus('grammar')]
    seen = Counter(tuple(sum(c[1:], [])) for c in cut if len(c) > 1)
    found, answers = sentence_pairs(examples, keyed_generator(23))
    kept = [(*pair, bool(a)) for pair, a in zip(found, answers.tolist()) if a >= 0]
    right = 0
    for a, b, other in kept:
        given = {w: math.exp(grammar.log_prob(a + list(w))) for w in seen}
        here = math.exp(grammar.log_prob(a + b))/max(sum(given.values()), 1e-300)
        right += (here < seen[tuple(b)]/seen.total()) == other
    return dict(accuracy=right/len(kept), pairs=len(kept))


def next_sentences():
    "BERT's second objective, on held-out texts."
    def told(lm, examples):
        right, n = next_sentence_accuracy(lm, examples, keyed_generator(23))
        return dict(accuracy=right, pairs=n)

    keep('next sentence', 'grammar-bert', lambda: told(
        BERT.from_pretrained('grammar-bert').eval(), load_corpus('grammar', 'test')),
        texts='grammar test', command='next-sentence')
    keep('next sentence', 'the grammar itself',
         lambda: best_next_sentence(load_corpus('grammar', 'test')), texts='grammar test',
         command='next-sentence')
    if (args.models/'e2e-bert/config.json').exists():
        trained('e2e-bert', 'next sentence', lambda lm: told(lm, test()[0]))


def grammar():
    of_job = dict(texts='grammar valid', command='grammar')
    for name, lm in (('gpt', grammar_gpt), ('bert', lambda: BERT.from_pretrained('grammar-bert'))):
        for pretrained in (True, False):
            for lr in (5e-4, 2e-3):
                said = f'grammar-{name}, {"pre-trained" if pretrained else "fresh"}, lr {lr:g}'
                keep('fine-tuning on the grammar', said,
                     lambda: grammar_ratings(lm(), pretrained, lr), **of_job)
    words = [e.words for e in load_corpus('grammar', 'test')[:300]]
    gaps = [cut_gap(w, keyed_generator(1, i)) for i, w in enumerate(words)]
    lm, job = BART.from_pretrained('grammar-bart').eval(), 'gaps on the grammar'
    kn = KneserNey(5).fit([e.words for e in load_corpus('grammar')[:9600]])
    of_job['texts'] = 'grammar test'
    for low, high in ((1, 10), (1, 2), (3, 4), (5, 6), (7, 10)):
        of = [i for i, (_, n) in enumerate(gaps) if low <= n <= high]
        part = [words[i] for i in of], [gaps[i] for i in of]
        size = f'gaps of {low} to {high} words'
        keep(job, f'grammar-bart, {size}', lambda: gap_nats(lm, *part), **of_job)
        keep(job, f'5-gram, {size}', lambda: left_nats(kn, *part), **of_job)


JOBS = dict(likelihood=likelihood, masked=masked, xlm=xlm, bart=bart, samples=samples)
JOBS |= {'fine-tuning': fine_tuning, 'grammar': grammar, 'pairs': pairs, 'noises': noises,
         'next-sentence': next_sentences}


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('jobs', nargs='*', metavar='JOB', help=', '.join(JOBS))
    p.add_argument('--models', type=Path, help='folder of the trained models')
    p.add_argument('--table', type=Path, help='the JSON file')
    p.add_argument('--limit', type=int, help='the first N test texts')
    p.parse_args(namespace=args)
    if wrong := {*args.jobs} - {*JOBS}:
        sys.exit(f'no job {min(wrong)!r}; there are {", ".join(JOBS)}')
    for job in args.jobs or JOBS:
        JOBS[job]()


if __name__ == '__main__':
    main()

"""Measures the language models of chapter 13 on E2E's test texts: one row a job and model, into results/language_models.json. A run that was cut off goes on; rows that are there are kept.

    for m in gpt bert xlm xlm-mlm gpt2 bart bart-mask bart-delete bart-infill bart-permute bart-rotate; do dlm-train e2e-$m --out runs/e2e-$m; done
    DLM_DATA=... OMP_NUM_THREADS=1 python scripts/language_models.py [JOB ...]       # likelihood, masked, xlm, bart, samples, fine-tuning

What is not trained is skipped, and its command is said. --models=FOLDER, --table=FILE: other places; --limit=N: the first N test texts, to try it out.

Texts of more than 62 words are left out. A Kneser-Ney 5-gram stands beside each likelihood: the same words are known to it, the rest is UNK to both, and it counts the same training texts.
Hidden words and gaps are drawn by a seed, the same for all models; hidden are only words that the models know. In a gap whose size is not told, END of the gap is not counted.
Fine-tuning: 100 labelled texts, as many of each class; the learning rate that did better on valid texts; accuracy on test texts. Without pre-training: the same network, fresh.
"""
import json, math, sys, time
from collections import Counter
from functools import cache
from pathlib import Path
import torch
from measure import commit, hardware
from diffusion_lm_nb.files import write_atomic
from diffusion_lm_nb.corpora import load_corpus
from diffusion_lm_nb.ngram import KneserNey
from diffusion_lm_nb.language_models import (
    BART, BERT, Classifier, GPT, GPT2, MASK, XLM, cut_gap, few_labels, fine_tune, gap_nats,
    hidden_scores, hide, rating,
)
from diffusion_lm_nb.training import Preset, keyed_generator

option = lambda name, default: next(
    (a.split('=', 1)[1] for a in sys.argv if a.startswith(f'--{name}=')), default
)
TABLE, MODELS, LIMIT = (
    Path(option('table', Path(__file__).parents[1] / 'results/language_models.json')),
    Path(option('models', 'runs')),
    int(option('limit', 10**9)),
)
BARTS = ['e2e-bart'] + [f'e2e-bart-{n}' for n in ('mask', 'delete', 'infill', 'permute', 'rotate')]
CLASSES = {
    'e2e-gpt': GPT,
    'e2e-gpt2': GPT2,
    'e2e-bert': BERT,
    'e2e-xlm': XLM,
    'e2e-xlm-mlm': XLM,
} | dict.fromkeys(BARTS, BART)
MEANING = [('name', 'The Eagle'), ('eatType', 'pub'), ('food', 'French'), ('near', 'Burger King')]
HOLES = 'The Eagle is a'.split() + [None] * 4 + 'near Burger King .'.split() # hand-written
LABELS = dict(food=lambda e: dict(e.mr).get('food', 'none'), rating=rating)
TOLD = set()

@cache
def corpus(split): # texts of at most 62 words
    return [e for e in load_corpus('e2e', split) if 0 < len(e.words) <= 62]

@cache
def test(): # -> examples, word lists
    kept = corpus('test')[:LIMIT]
    return kept, [e.words for e in kept]

@cache
def model(name): # -> a trained model, or None
    if (MODELS / name / 'config.json').exists():
        return CLASSES[name].from_pretrained(MODELS / name).eval().requires_grad_(False)
    if name not in TOLD:
        print(f'{name} is not trained: dlm-train {name} --out {MODELS}/{name}', flush=True)
    TOLD.add(name)

@cache
def kneser_ney(words): # tuple of the words that are known -> the 5-gram, its nats of each test text
    kn = KneserNey(5, {*words}).fit([e.words for e in corpus('train')])
    return kn, [*map(kn.nats, test()[1])]

def known(lm): return tuple(lm.vocab.words[:getattr(lm, 'writable', len(lm.vocab))])

def rows(): return json.loads(TABLE.read_text(encoding='utf8')) if TABLE.exists() else []

def keep(job, name, measure): # measure: function -> what stands in the row; nothing is done twice
    if any((r['job'], r['model']) == (job, name) for r in rows()):
        return
    start = time.time()
    if (row := measure()) is None:
        return
    row = (
        dict(job=job, task=job.split()[0], method=job, model=name, corpus='e2e test')
        | row
        | dict(
            seconds=round(time.time() - start, 1),
            hardware=hardware(),
            commit=commit(),
            command=f'DLM_DATA=$DLM_DATA python scripts/language_models.py {job.split()[0]}',
        )
    )
    write_atomic(TABLE, json.dumps([*rows(), row], ensure_ascii=False, indent=1) + '\n')
    print(job, name, {k: round(v, 3) for k, v in row.items() if isinstance(v, float)}, flush=True)

def trained(
    name,
    job,
    measure,
    label=None, # the same for a model, if there is one; measure: function of it
):
    keep(
        job,
        label or name,
        lambda: None if (lm := model(name)) is None else about(name, lm) | measure(lm),
    )

def about(name, lm): # its size, and how it was trained
    run = MODELS / name / 'run.json'
    return dict(parameters=sum(p.numel() for p in lm.parameters())) | (
        {k: v for k, v in json.loads(run.read_text()).items() if k in ('steps', 'batch_size')}
        if run.exists()
        else {}
    )

# --- likelihood

def per_token(nats): # of each test text
    words = test()[1]
    return dict(
        nats_per_token=sum(nats) / sum(len(w) + 1 for w in words),
        nats_per_block_token=sum(nats) / sum(len(w) + 3 for w in words),
        texts=len(words),
        left_out=len(load_corpus('e2e', 'test')[:LIMIT]) - len(words),
    )

def likelihood():
    examples, words = test()
    beside = lambda lm: dict(
        kneser_ney_5gram=per_token(kneser_ney(known(lm))[1]),
        unk_rate=sum(w not in lm.vocab.ids for t in words for w in t) / sum(map(len, words)),
    )
    for name in ('e2e-gpt', 'e2e-gpt2'):
        trained(name, 'likelihood', lambda lm: per_token(lm.nats(words)) | beside(lm))
    trained(
        'e2e-gpt2',
        'likelihood',
        lambda lm: per_token(lm.nats(words, [e.mr for e in examples])) | beside(lm),
        'e2e-gpt2, MR as a prompt',
    )
    if lm := next(filter(None, map(model, ('e2e-gpt', 'e2e-gpt2'))), None):
        keep('likelihood', 'Kneser-Ney 5-gram', lambda: per_token(kneser_ney(known(lm))[1]))

# --- hidden words

def hidden(lm, see_mr=None): # None: a model that knows no MR
    examples, words = test()
    holes = [
        [h if w in lm.vocab.ids else w for w, h in zip(t, hide(t, keyed_generator(11, i)))]
        for i, t in enumerate(words)
    ]
    return hidden_scores(
        lm,
        words,
        holes,
        lambda t, part: lm.rows(
            [
                ((examples[i].mr if see_mr else None), w) if see_mr is not None else (w, None)
                for w, i in zip(t, part)
            ]
        ),
    )

def masked():
    trained('e2e-bert', 'masked', hidden)
    for name in ('e2e-xlm-mlm', 'e2e-xlm'):
        trained(name, 'masked', lambda lm: hidden(lm, False))
    if lm := next(filter(None, map(model, ('e2e-bert', 'e2e-xlm', 'e2e-xlm-mlm'))), None):
        keep('masked', 'always the commonest word', lambda: commonest(lm))

def commonest(lm):
    words, right, n = test()[1], 0, 0
    best = Counter(w for e in corpus('train') for w in e.words).most_common(1)[0][0]
    for i, t in enumerate(words):
        gone = [
            w for w, h in zip(t, hide(t, keyed_generator(11, i))) if h is None and w in lm.vocab.ids
        ]
        right, n = right + gone.count(best), n + len(gone)
    return dict(accuracy=right / n, words=n)

def xlm():
    for name in ('e2e-xlm-mlm', 'e2e-xlm'):
        for see in (False, True):
            trained(
                name,
                'xlm',
                lambda lm: hidden(lm, see),
                f'{name}, {"with the MR" if see else "text alone"}',
            )

# --- gaps

def bart():
    words = test()[1]
    gaps = [cut_gap(t, keyed_generator(12, i)) for i, t in enumerate(words)]
    for name in BARTS:
        trained(
            name,
            'bart',
            lambda lm: dict(noise=','.join(lm.noise))
            | gap_nats(lm, words, gaps)
            | dict(nats_unmarked=gap_nats(lm, words, gaps, [])['nats']),
        )

    def left_side(lm):
        kn, start = kneser_ney(known(lm))[0], ['START'] * 4
        each = [
            -math.log(kn.prob(w, tuple((start + t)[i : i + 4])))
            for t, (a, n) in zip(([w if w in kn.vocab else 'UNK' for w in t] for t in words), gaps)
            for i, w in enumerate(t)
            if a <= i < a + n
        ]
        return dict(nats=sum(each) / len(each), words=len(each))

    if lm := next(filter(None, map(model, BARTS)), None):
        keep('bart', 'Kneser-Ney 5-gram, left side', lambda: left_side(lm))

# --- texts

def samples():
    gap = [w for i, w in enumerate(HOLES) if w is not None or HOLES[i - 1] is not None]
    write = {
        'e2e-gpt': lambda lm: lm.sample(3),
        'e2e-gpt2': lambda lm: lm.sample(3, MEANING),
        'e2e-bert': lambda lm: [lm.fill(HOLES, s) for s in range(3)],
        'e2e-xlm': lambda lm: [lm.fill([None] * 14, MEANING, s) for s in range(3)],
        'e2e-bart': lambda lm: [lm.write(gap, seed=s) for s in range(3)],
    }
    for name, of in write.items():
        trained(
            name,
            'samples',
            lambda lm: dict(samples=[t if isinstance(t, str) else ' '.join(t) for t in of(lm)]),
        )

# --- one stage or two

def fine_tuning(
    each=100,
    steps=200,
    batch=16,
    rates=(3e-4, 1e-3, 3e-3, 1e-2),
    seeds=3,
    valid=300,
    tests=1000,
):
    def one_run(lm, pretrained, task, lr, seed): # -> accuracy on valid texts, on test texts
        label, classes = LABELS[task], sorted({*map(LABELS[task], corpus('train'))})
        few = few_labels(corpus('train'), label, each // len(classes), seed)
        torch.manual_seed(seed)
        start = lm if pretrained else type(lm)(**lm._hub_mixin_config)
        c = fine_tune(
            Classifier.from_lm(start, classes),
            few,
            label,
            Preset(
                'classifier',
                'e2e',
                batch_size=batch,
                steps=steps,
                lr=lr,
                warmup=20,
                ema=0.95,
                precision='no',
            ),
            seed,
            'cpu',
        )
        score = lambda examples: sum(
            a == label(e) for a, e in zip(c.predict([e.words for e in examples]), examples)
        ) / len(examples)
        pick = lambda examples, n: [
            examples[i]
            for i in torch.randperm(len(examples), generator=keyed_generator(13)).tolist()[:n]
        ]
        return score(pick(corpus('valid'), min(valid, LIMIT))), score(pick(test()[0], tests))

    def each_rate(lm, pretrained, task):
        tried = {lr: [one_run(lm, pretrained, task, lr, s) for s in range(seeds)] for lr in rates}
        lr = max(tried, key=lambda lr: sum(v for v, _ in tried[lr]))
        got = [t for _, t in tried[lr]]
        return dict(
            accuracy=sum(got) / seeds,
            seeds=' '.join(f'{a:.3f}' for a in got),
            accuracies=got,
            labels=each,
            lr=lr,
            steps=steps,
        )

    for task in LABELS:
        for name in ('e2e-gpt', 'e2e-bert'):
            for pretrained in (True, False):
                trained(
                    name,
                    'fine-tuning',
                    lambda lm: each_rate(lm, pretrained, task),
                    f'{name}, {task}, {"pre-trained" if pretrained else "fresh"}',
                )

JOBS = dict(likelihood=likelihood, masked=masked, xlm=xlm, bart=bart, samples=samples) | {
    'fine-tuning': fine_tuning
}

if __name__ == '__main__':
    asked = [a for a in sys.argv[1:] if not a.startswith('--')]
    if wrong := {*asked} - {*JOBS}: sys.exit(f'no job {min(wrong)!r}; there are {", ".join(JOBS)}')
    for job in asked or JOBS: JOBS[job]()

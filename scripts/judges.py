"""Measures the judges of chapter 12: one row a judge and test set, into results/judges.json.

    DLM_DATA=... OMP_NUM_THREADS=1 python scripts/judges.py [readers agreement teacher]

Readers: share of right universal tags, and labelled F1 by EVALB's rules, on the test splits of EWT
and GUM and on the hundred restaurant texts annotated by hand. Agreement: how far labeller and judge
agree on E2E, and, where spaCy is installed, both with it. Teacher: nats a token beside a
Kneser-Ney 5-gram on the same texts.
"""
import json, math, sys
from pathlib import Path
from diffusion_lm_nb.corpora import load_corpus, load_treebank
from diffusion_lm_nb.data import MAX_WORDS
from diffusion_lm_nb.files import BadInput, write_atomic
from diffusion_lm_nb.metrics import fit_ngram
from diffusion_lm_nb.oracles import Reader, bracketed_texts, reader_scores
from diffusion_lm_nb.teacher import make_judge
from diffusion_lm_nb.training import ARTransformer
from diffusion_lm_nb.trees import tree_f1, tree_spans
from measure import commit, hardware

HERE = Path(__file__).parents[1]
TABLE = HERE / 'results/judges.json'

def keep(job, **row):
    "Put the row in the place of the one of the same job."
    rows = json.loads(TABLE.read_text()) if TABLE.exists() else []
    row = dict(job=job, **row, hardware=hardware(), commit=commit(),
               command='DLM_DATA=$DLM_DATA python scripts/judges.py')
    jobs = [r['job'] for r in rows]
    at = jobs.index(job) if job in jobs else len(jobs)
    rows[at:at + 1] = [row]
    write_atomic(TABLE, json.dumps(rows, ensure_ascii=False, indent=1) + '\n')
    print({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}, flush=True)

def short(split): return [e.words for e in load_corpus('e2e', split) if len(e.words) <= MAX_WORDS]

def readers():
    "Judge and labeller against annotations."
    tests = dict(ewt=load_treebank('test', ['ewt']), gum=load_treebank('test', ['gum']),
                 hundred=bracketed_texts(HERE / 'tests/restaurant_100.txt'))
    for name in ('judge', 'labeller'):
        reader = Reader.from_pretrained(name)
        for test, examples in tests.items():
            keep(f'{name}-{test}', model=name, test=test, **reader_scores(reader, examples))

def agreement():
    "How often annotators agree on validation texts."
    valid = short('valid')[:1000]
    said = dict(model='judge, labeller', test='first 1,000 texts of E2E valid')
    a, b = (Reader.from_pretrained(n).read(valid) for n in ('judge', 'labeller'))
    same = sum(x == y for (s, _), (t, _) in zip(a, b) for x, y in zip(s, t))
    trees = sum(tree_f1(tree_spans(s), tree_spans(t)) for (_, s), (_, t) in zip(a, b))
    keep('agreement', **said, tags=same / sum(map(len, valid)), tree_f1_mean=trees / len(valid))
    try: spacy = make_judge('spacy')
    except BadInput as e: return print(e)
    third = [spacy.tag(w) for w in valid]
    for name, own in (('judge', a), ('labeller', b)):
        same = sum(x == y for (s, _), t in zip(own, third) for x, y in zip(s, t))
        keep(f'agreement-{name}-spacy', **said | dict(model=f'{name}, spacy'),
             tags=same / sum(map(len, valid)))

def teacher():
    "The teacher beside a 5-gram."
    model, kn = ARTransformer.from_pretrained('teacher'), fit_ngram('e2e')
    for split in ('test', 'valid'):
        texts = short(split)
        tokens, blocks = (sum(len(w) + n for w in texts) for n in (1, 3))
        t, k = sum(model.nats(texts)), sum(map(kn.nats, texts))
        keep(f'teacher-{split}', model='teacher', test=f'e2e {split}', nats_per_token=t / tokens,
             nats_per_block_token=t / blocks, lm_score=math.exp(t / tokens),
             kneser_ney_5gram=dict(nats_per_token=k / tokens, nats_per_block_token=k / blocks))

JOBS = dict(readers=readers, agreement=agreement, teacher=teacher)

if __name__ == '__main__':
    for job in sys.argv[1:] or JOBS: JOBS[job]()

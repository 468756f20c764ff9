"""Measures the judges of chapter 12: one row a judge and test set, into results/judges.json.

    DLM_DATA=... OMP_NUM_THREADS=1 python scripts/judges.py

Readers: share of right universal tags, and labelled F1 by EVALB's rules, on the test splits of EWT and GUM and on the hundred restaurant
texts annotated by hand; and how far labeller and judge agree on E2E. Teacher: nats a token beside a Kneser-Ney 5-gram on the same texts.
"""
import json, math
from pathlib import Path
from measure import commit, hardware
from diffusion_lm_nb.trees import tree_spans
from diffusion_lm_nb.trees import tree_f1
from diffusion_lm_nb.files import write_atomic
from diffusion_lm_nb.corpora import load_corpus
from diffusion_lm_nb.data import MAX_WORDS
from diffusion_lm_nb.corpora import load_treebank
from diffusion_lm_nb.oracles import Reader, bracketed_texts, reader_scores
from diffusion_lm_nb.metrics import fit_ngram
from diffusion_lm_nb.training import ARTransformer

HERE, rows = Path(__file__).parents[1] / 'results', []
def keep(**row):
    rows.append(
        row
        | dict(
            hardware=hardware(),
            commit=commit(),
            command='DLM_DATA=$DLM_DATA python scripts/judges.py',
        )
    )
    write_atomic(HERE / 'judges.json', json.dumps(rows, ensure_ascii=False, indent=1) + '\n')
    print({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}, flush=True)

tests = dict(
    ewt=load_treebank('test', ['ewt']),
    gum=load_treebank('test', ['gum']),
    hundred=bracketed_texts(HERE.parent / 'tests/restaurant_100.txt'),
)
readers = {name: Reader.from_pretrained(name) for name in ('judge', 'labeller')}
for name, reader in readers.items():
    for test, examples in tests.items():
        keep(job=f'{name}-{test}', model=name, test=test, **reader_scores(reader, examples))

valid = [e.words for e in load_corpus('e2e', 'valid') if len(e.words) <= MAX_WORDS][:1000]
a, b = (r.read(valid) for r in readers.values())
keep(
    job='agreement',
    model='judge, labeller',
    test='first 1,000 texts of E2E valid',
    tags=sum(x == y for (s, _), (t, _) in zip(a, b) for x, y in zip(s, t)) / sum(map(len, valid)),
    tree_f1_mean=sum(tree_f1(tree_spans(s), tree_spans(t)) for (_, s), (_, t) in zip(a, b))
    / len(valid),
)

teacher, kn = ARTransformer.from_pretrained('teacher'), fit_ngram('e2e')
for split in ('test', 'valid'):
    texts = [e.words for e in load_corpus('e2e', split) if len(e.words) <= MAX_WORDS]
    tokens, blocks, t, k = (
        sum(len(w) + 1 for w in texts),
        sum(len(w) + 3 for w in texts),
        sum(teacher.nats(texts)),
        sum(map(kn.nats, texts)),
    )
    keep(
        job=f'teacher-{split}',
        model='teacher',
        test=f'e2e {split}',
        nats_per_token=t / tokens,
        nats_per_block_token=t / blocks,
        lm_score=math.exp(t / tokens),
        kneser_ney_5gram=dict(nats_per_token=k / tokens, nats_per_block_token=k / blocks),
    )

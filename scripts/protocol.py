"""All of the targets, ten texts each: diffusion's texts from a GPU, and those of its rivals.

    DLM_DATA=… python scripts/protocol.py --judge OUT   # what `scripts/gpu.py protocol` brought home
    DLM_DATA=… python scripts/protocol.py METHOD [TASK …]           # a rival writes here, and is judged

One row a task and method, into results/protocol.json. Targets, judge, teacher and number of texts are
the same for all; rivals have the settings that `scripts/baselines.py --best` names. The ratio is the
teacher's perplexity over that of people's sentences (those of the targets; semantic content and length
have none, so test texts), with an interval over targets. Variety is the distinct-4 of one text a
target over that of people's sentences, in piles of one size. Texts lie in runs/protocol; a run that was
cut off goes on. Rows of the GPU have no seconds: ten processes shared the device.
"""
import gzip, json, sys
from pathlib import Path
import torch
from measure import commit, distinct4_ratio, hardware, weights
from authors import their_words
from diffusion_lm_nb.commands import BASELINES
from diffusion_lm_nb.corpora import load_corpus
from diffusion_lm_nb.files import BadInput, read_rows, write_atomic
from diffusion_lm_nb.loss import keyed_generator
from diffusion_lm_nb.metrics import evaluate_rows, fit_ngram
from diffusion_lm_nb.reproduction import run_job
from diffusion_lm_nb.teacher import make_judge

TABLE = Path(__file__).parents[1] / 'results/protocol.json'
TEXTS, TARGETS, WORK = 10, 200, Path('runs/protocol')
TASKS = 'free', 'semantic', 'length', 'pos', 'tree', 'spans', 'semantic+pos', 'semantic+tree'

def place(target): # of a row, as written
    "What rows are sorted by, so that those of two methods stand side by side."
    return json.dumps(target, sort_keys=True)

def of_authors(target): return isinstance(target, dict) and 'words_' in target

def costs(texts): # a list of word lists for each target
    "The teacher's nats and the tokens of each target's texts, `(targets, 2)`."
    found = []
    for own, nats in ((own, make_judge().teacher.nats(own)) for own in texts):
        kept = [(v, len(t) + 1) for t, v in zip(own, nats) if v is not None]
        found.append([sum(k) for k in zip(*kept)] or [0, 0])
    return torch.tensor(found, dtype=torch.double)

def ratio(texts, people): # a list of word lists for each target; word lists
    """Perplexity of the texts over people's, and its interval. Targets are drawn with replacement,
    each with the sentence it was read from; other sentences of people by themselves.
    """
    ours, theirs = costs(texts), costs([[w] for w in people])
    def value(i, j):
        a, b = ours[i].sum(0), theirs[j].sum(0)
        return float((a[0] / a[1] - b[0] / b[1]).exp())
    gen, n, m = keyed_generator(0), len(ours), len(theirs)
    def draw():
        i = torch.randint(n, (n,), generator=gen)
        return value(i, i if m == n else torch.randint(m, (m,), generator=gen))
    draws = sorted(draw() for _ in range(1000))
    return dict(lm_ratio=value(slice(n), slice(m)), lm_interval=[draws[25], draws[974]])

def people_of(rows):
    "The sentences from which the targets were read, or 1,000 test texts where there are none."
    if rows[0]['task'] != 'free' and isinstance(t := rows[0]['target'], dict):
        if of_authors(t): return [their_words(r['target']) for r in rows]
        valid = load_corpus('e2e', 'valid')
        return [valid[r['target']['example']].words for r in rows]
    return [e.words for e in load_corpus('e2e', 'test')[:1000]]

def keep(rows, ngram, **about):
    "Judge the rows of one task and method, and put them into the table."
    rows = sorted(rows, key=lambda r: place(r['target']))
    authors = of_authors(rows[0]['target'])
    texts = [[t.split() for t in r['texts']] for r in rows]
    people = people_of(rows)
    row = dict(authors_targets=authors) | evaluate_rows(rows, ngram) | ratio(texts, people)
    row |= dict(distinct4_ratio=distinct4_ratio([own[0] for own in texts], people))
    row |= dict(n_samples=len(texts[0]), steps=rows[0].get('steps'), **about)
    same = lambda r: (r['task'], r['method'], r['authors_targets'])
    old = json.loads(TABLE.read_text()) if TABLE.exists() else []
    every = sorted([r for r in old if same(r) != same(row)] + [row],
                   key=lambda r: (TASKS.index(r['task']), r['authors_targets'], r['method']))
    write_atomic(TABLE, json.dumps(every, ensure_ascii=False, indent=1) + '\n')
    print(same(row), {k: round(v, 3) for k, v in row.items() if isinstance(v, float)}, flush=True)

def judge(out): # folder
    "The rows of the GPU's first round: what each task has ten texts of, for every target."
    if not (Path(out) / 'protocol.json').exists():
        raise BadInput(f'{out} holds no protocol.json, which scripts/gpu.py protocol writes')
    report, piles = json.loads((Path(out) / 'protocol.json').read_text()), {}
    for line in gzip.decompress((Path(out) / 'protocol-rows.jsonl.gz').read_bytes()).splitlines():
        row = json.loads(line)
        if len(row['texts']) != TEXTS: continue
        key = row['task'], row['method'], of_authors(row['target'])
        piles.setdefault(key, []).append(row | dict(seconds=None))
    ngram = fit_ngram('e2e')
    for rows in piles.values():
        keep(rows, ngram, hardware=report['device'], commit=commit(), weights=weights(),
             command='python scripts/gpu.py protocol --out OUT --targets AUTHORS; '
                     'python scripts/protocol.py --judge OUT')

def rival(method, *tasks):
    "The same targets by a rival."
    if method not in BASELINES:
        raise BadInput(f'no rival {method!r}; there are {", ".join(BASELINES)}')
    if wrong := {*tasks} - {*TASKS}:
        raise BadInput(f'no task {min(wrong)!r}; there are {", ".join(TASKS)}')
    ngram, P = fit_ngram('e2e'), dict(targets=TARGETS, n=TEXTS, steps=50)
    WORK.mkdir(parents=True, exist_ok=True)
    for task in tasks or TASKS[1:]:
        try: writer = BASELINES[method](task, 'cpu', None)
        except BadInput as e:
            print(f'{method} {task}: {e}', flush=True)
            continue
        path = WORK / f'{method}-{task}.jsonl'
        run_job(None, task, method, P, path, None, 0, 'e2e', writer=writer)
        keep(read_rows(path), ngram, hardware=hardware(), commit=commit(),
             command=f'DLM_DATA=$DLM_DATA python scripts/protocol.py {method} {task}')

def main(*args):
    if not args or args == ('--judge',): raise BadInput('name a rival, or --judge and a folder')
    return judge(args[1]) if args[0] == '--judge' else rival(*args)

if __name__ == '__main__':
    try: main(*sys.argv[1:])
    except BadInput as e: sys.exit(print(f'protocol.py: {e}', file=sys.stderr) or 2)

"""Steers towards targets that the paper's authors released: one row a task and method, into results/authors.json.

    DLM_DATA=... OMP_NUM_THREADS=1 python scripts/authors.py OUT [--particles K | --reads] [TASK ...]

With --particles K drafts of each text compete (chapter 09c), with --reads the model reads the control (`e2e-given`,
chapter 17h): methods of their own. OUT holds the texts; a task that was cut off goes on where it was. Each text is judged by our judge, by the labeller (who taught the
steering classifier) and, where it is installed, by spaCy. The rows of `their sentences` judge the sentences that people wrote, from which
the authors read the targets. Success of the value in `semantic+pos` is without *yes* and *no*, which mean nothing as words.
"""
import json, os, random, sys, time
from pathlib import Path
from measure import commit, distinct4_ratio, hardware, weights
from diffusion_lm_nb import DiffusionLM
from diffusion_lm_nb.controls import SemanticContent
from diffusion_lm_nb.files import BadInput, write_atomic
from diffusion_lm_nb.guidance import parts_of
from diffusion_lm_nb.corpora import repeats
from diffusion_lm_nb.particles import Particles
from diffusion_lm_nb.metrics import bootstrap, fluency, part_scores
from diffusion_lm_nb.reproduction import real_words, target_control
from diffusion_lm_nb.teacher import make_judge

TABLE = Path(__file__).parents[1] / 'results/authors.json'
TASKS, N, SEED = ['pos', 'spans', 'semantic+pos'], 2, 0
ORACLES = ['judge', 'labeller', 'spacy']


def targets_of(task, folder): # -> list of (target as written, control)
    "The targets of a task, all of which must be read."
    rows = [json.loads(line) for line in (folder / f'{task.replace("+", "-")}.jsonl').open()]
    return [(row, target_control(task, row)) for row in rows]

def their_words(row): # a target as written
    "The sentence that people wrote."
    return [row['words_'][k] for k in real_words(row)]

def write(lm, wanted, path, particles): # list of (target, control); file -> N texts a target
    "The texts of a task, ten targets at a time, resumed from the file."
    done = json.loads(path.read_text()) if path.exists() else []
    for at in range(len(done), len(wanted), 10):
        begun = time.monotonic()
        rows = [(at + j) * N + k for j in range(len(wanted[at:at + 10])) for k in range(N)]
        texts = lm.sample_many([(r, wanted[r // N][1]) for r in rows], seed=SEED,
                               particles=particles)
        seconds = (time.monotonic() - begun) / len(rows)
        done += [dict(texts=texts[i:i + N], seconds=seconds) for i in range(0, len(texts), N)]
        write_atomic(path, json.dumps(done))
    return done

def success(wanted, texts, name): # texts: word lists a target; a name in ORACLES
    "Mean score of each part and its interval over targets; None if the oracle is not at hand."
    try: judge = make_judge(None if name == 'judge' else name)
    except BadInput: return None
    found = {}
    for (_, control), own in zip(wanted, texts):
        for k, part in enumerate(parts_of(control)):
            kind = type(part).__name__
            if isinstance(part, SemanticContent) and part.value in ('yes', 'no'): continue
            scores = [part_scores(control, t, judge)[k] for t in own]
            found.setdefault(kind, []).append(sum(scores) / len(scores))
    return {k: dict(success=sum(v) / len(v), interval=bootstrap(v), targets=len(v))
            for k, v in found.items()}

def row_of(task, method, wanted, texts, people): # texts: word lists a target; lists of words
    "One row of the table."
    flat, judge = [t for own in texts for t in own], make_judge()
    first = [own[0] for own in texts]
    return dict(
        task=task, method=method, n_targets=len(wanted), texts=len(flat),
        by={name: success(wanted, texts, name) for name in ORACLES},
        lm_score=fluency(flat, judge), ratio=fluency(flat, judge) / fluency(people, judge),
        distinct4_ratio=distinct4_ratio(first, people), repeats=repeats(flat))

def keep(row):
    "Replace the row of the same task and method."
    rows = json.loads(TABLE.read_text()) if TABLE.exists() else []
    key = lambda r: (TASKS.index(r['task']), r['method'])
    rows = sorted([r for r in rows if key(r) != key(row)] + [row], key=key)
    write_atomic(TABLE, json.dumps(rows, ensure_ascii=False, indent=1) + '\n')
    print({k: v for k, v in row.items() if k != 'command'}, flush=True)

def main(out, *tasks):
    folder, out, K, model = Path(os.environ['DLM_DATA']), Path(out), None, 'e2e'
    if tasks[:1] == ('--particles',): K, tasks = int(tasks[1]), tasks[2:]
    if tasks[:1] == ('--reads',): model, tasks = 'e2e-given', tasks[1:]
    method = f'diffusion, {K} particles' if K else 'diffusion'
    if model != 'e2e': method = 'diffusion that reads'
    option = f' --particles {K}' if K else ' --reads' if model != 'e2e' else ''
    lm = DiffusionLM.from_pretrained(model)
    out.mkdir(parents=True, exist_ok=True)
    for task in tasks or TASKS:
        wanted = targets_of(task, folder / 'authors_targets')
        people = [their_words(row) for row, _ in wanted]
        done = write(lm, wanted, out / f'{task}.json', Particles(K) if K else None)
        made = [[t.split() for t in row['texts']] for row in done]
        about = dict(model=model, seed=SEED, steps=50, hardware=hardware(), commit=commit(),
                     weights=weights(),
                     command='DLM_DATA=$DLM_DATA python scripts/authors.py runs/authors' + option)
        seconds = 50 * sum(row['seconds'] for row in done) / len(done)
        keep(row_of(task, method, wanted, made, people) | dict(seconds_per_50=seconds) | about)
        if model != 'e2e': continue # their sentences have their row
        keep(row_of(task, 'their sentences', wanted, [[w] for w in people], people) | about)

if __name__ == '__main__': main(*sys.argv[1:])

"""Sweeps the strength of guidance on valid data: one row a setting, into results/sweep.json.

    DLM_DATA=... OMP_NUM_THREADS=1 python scripts/sweep.py [TASK ...]     # 20 minutes
    DLM_DATA=... OMP_NUM_THREADS=1 python scripts/sweep.py --again [TASK ...] # the second round
    DLM_DATA=... python scripts/sweep.py --write N FILE   # targets of a third round, for a GPU
    DLM_DATA=... python scripts/sweep.py --judge OUT/sweep-rows.jsonl.gz # its texts, as rows
    python scripts/sweep.py --best

Targets are other texts of E2E's valid split than those of the protocol, as the *labeller* reads
them, and the labeller scores: the judge of the table is not asked. Fluency is the teacher's
perplexity over that of the targets' own sentences. Ours: `strength` (`size` in the rows) and
`inner` of `Syntactic`. The paper's way: λ, step size and inner steps of `ClassifierGuidance`. Nine
settings each, all with 50 steps. The three that are best by the rule go on to a second round of
twenty other targets, which decides. Particles: four, with the settings of the package. More steps:
what else costs about as much. --best says which setting the rule gives for each task and method.
"""
import gzip, json, random, sys, time
from functools import cache
from pathlib import Path
from measure import commit, hardware, weights
from diffusion_lm_nb import DiffusionLM
from diffusion_lm_nb.controls import contains
from diffusion_lm_nb.trees import tree_spans, tree_text
from diffusion_lm_nb.particles import Particles
from diffusion_lm_nb.reproduction import read_targets, shipped_targets, target_control, guide_for
from diffusion_lm_nb.files import write_atomic
from diffusion_lm_nb.corpora import load_corpus
from diffusion_lm_nb.teacher import make_judge
from diffusion_lm_nb.controls import distinct
from diffusion_lm_nb.metrics import fluency, success_rows

TABLE, TARGETS, AGAIN, TEXTS = Path(__file__).parents[1]/'results/sweep.json', 10, 20, 2
OURS = [dict(size=s, inner=i, steps=50) for s, i in (
    (.5, 1), (1, 1), (2, 1), (4, 1), (8, 1), (16, 1), (1, 2), (2, 2), (1, 3))]
DRAFTS, ALONE = [dict(particles=4, times=[.8, .6, .4], steps=50)], [dict(steps=200)]
PAPER = [dict(fluency=λ, lr=η, inner=i, steps=50) for λ, η, i in (
    (1e-4, .05, 3), (1e-4, .1, 3), (1e-4, .2, 3), (5e-4, .1, 3), (1e-3, .05, 3), (1e-3, .1, 3),
    (1e-3, .2, 3), (1e-2, .1, 3), (1e-4, .1, 1))]

def worth(r): # a row
    """The rule; the largest is chosen: success, lowered where the perplexity is over 1.5 times
    people's; of equals the more varied (to a tenth), then the more fluent. Gaps: ROUGE-L.
    """
    won = r['rouge_l'] if r['task'] == 'infill' else r['success'] / max(1, r['lm_ratio'] / 1.5)
    return won, round(r['distinct4'], 1), -r['lm_ratio']

@cache
def labeller(): return make_judge('labeller')

@cache
def valid(): return load_corpus('e2e', 'valid')

def targets(task, n=TARGETS, again=0): # -> n targets of a round, their sentences
    used = {
        t['example'] for t, _ in read_targets(shipped_targets(task), task) if isinstance(t, dict)
    }
    said = lambda e: [
        (f, v) for f, v in e.mr if v not in ('yes', 'no') and contains(e.words, v.split())
    ]
    pool, rng, out = (
        [i for i, e in enumerate(valid()) if i not in used and 6 <= len(e.words) <= 40 and said(e)],
        random.Random(f'sweep {task}'),
        [],
    )
    for k, size in enumerate((TARGETS, AGAIN)[:again]):    # none of the rounds before
        pool = sorted({*pool} - {*rng.sample(pool, size)})
        rng = random.Random(f'sweep {task}' + ' again' * (k + 1))
    picks = rng.sample(pool, n)
    for i in picks:
        e, t = valid()[i], {}
        tree = labeller().parse(e.words)
        if 'pos' in task:
            t['pos'] = labeller().tag(e.words)
        if 'tree' in task:
            t['tree'] = tree_text(tree)
        if 'spans' in task:
            t['spans'] = [
                list(
                    rng.choice(
                        [s for s in tree_spans(tree) if 1 <= s[1] - s[0] < len(e.words) - 1]
                        or tree_spans(tree)
                    )
                )
            ]
        if 'semantic' in task:
            f, v = rng.choice(said(e))
            t['attr'] = [*f.split(), ':', *v.split()]
        out.append(t)
    return out, [valid()[i].words for i in picks]

def chosen(rows): # of one task and method
    "The row that the rule gives: of the second round, where there was one."
    last = max(r['round'] for r in rows)
    return max((r for r in rows if r['round'] == last), key=worth)

def read(): # -> all rows
    return json.loads(TABLE.read_text()) if TABLE.exists() else []

def grids(task, again): # -> list of (method, settings)
    "What is to be tried."
    if not again:
        return [('diffusion', OURS if task != 'semantic' else []), ('diffusion-classifier', PAPER),
                ('diffusion, 4 particles', DRAFTS), ('diffusion, more steps', ALONE)]
    rows = [r for r in read() if r['task'] == task and r['round'] == 1]
    return [(m, [r['setting'] for r in sorted(
                (r for r in rows if r['method'] == m), key=worth)[:-4:-1]])
            for m in ('diffusion', 'diffusion-classifier')]

def dialled(controls, method, setting, lm): # -> arguments of `sample`
    "The controls with this setting, and what the sampler needs."
    out = dict(steps=setting['steps'])
    if 'size' in setting:
        for p in (p for c in controls for p in getattr(c, 'parts', [c]) if hasattr(p, 'inner')):
            p.strength, p.inner = setting['size'], setting['inner']
    if 'particles' in setting:
        out['particles'] = Particles(setting['particles'], setting['times'])
    if method == 'diffusion-classifier':
        own = {k: v for k, v in setting.items() if k != 'steps'}
        out['guide'] = guide_for(controls, method, lm, **own)
    return out

def scored(task, wanted, sentences, texts): # targets; their sentences; a list of texts a target
    "What stands in a row: success, fluency and variety, by the labeller and the teacher."
    words = [t.split() for own in texts for t in own]
    r = success_rows([dict(task=task, target=t, texts=own) for t, own in zip(wanted, texts)],
                     labeller())
    return dict(
        success=r['success'], lm_ratio=fluency(words) / fluency(sentences),
        distinct4=distinct(words), distinct4_people=distinct(sentences), oracle='labeller',
        **{k: v for k, v in r.items() if k.startswith('success_')})

def measured(lm, task, method, setting, wanted, sentences): # targets; word lists -> a row
    controls, start = [target_control(task, t) for t in wanted], time.time()
    how = dialled(controls, method, setting, lm)
    texts = lm.sample(len(wanted) * TEXTS, [c for c in controls for _ in range(TEXTS)], seed=1,
                      **how)
    seconds = time.time() - start
    groups = [texts[k * TEXTS:(k + 1) * TEXTS] for k in range(len(wanted))]
    return dict(
        task=task, method=method, setting=setting, **scored(task, wanted, sentences, groups),
        seconds_per_50=seconds / len(texts) * 50, n_targets=len(wanted), n_samples=TEXTS,
        hardware=hardware(), commit=commit(), weights=weights())

def main(*tasks):
    again = tasks[:1] == ('--again',)
    lm, tasks = DiffusionLM.from_pretrained('e2e'), tasks[again:]
    for task in tasks or ('pos', 'tree', 'spans', 'semantic'):
        wanted, sentences = targets(task, AGAIN if again else TARGETS, again)
        for method, settings in grids(task, again):
            for setting in settings:
                about = dict(task=task, method=method, setting=setting, round=1 + again)
                if any(about.items() <= r.items() for r in read()): continue
                row = measured(lm, task, method, setting, wanted, sentences) | about
                row['command'] = ('DLM_DATA=$DLM_DATA python scripts/sweep.py '
                                  + '--again ' * again + task)
                rows = json.dumps(read() + [row], ensure_ascii=False, indent=1)
                write_atomic(TABLE, rows + '\n')
                print({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()
                       if k not in ('hardware', 'commit', 'command')}, flush=True)

def write(n, file): # how many a task; where
    "The targets of a third round with their sentences, as `gpu.py sweep` reads them."
    asked = {t: [dict(target=w, sentence=s) for w, s in zip(*targets(t, int(n), 2))]
             for t in ('pos', 'tree', 'spans', 'semantic')}
    write_atomic(Path(file), json.dumps(asked, ensure_ascii=False))

def judge(file): # what `gpu.py sweep` wrote
    "Its texts as rows of the third round."
    piles, report = {}, json.loads((Path(file).parent / 'sweep.json').read_text())
    for r in map(json.loads, gzip.open(file, 'rt', encoding='utf8')):
        key = r['task'], r['method'], json.dumps(r['setting'])
        piles.setdefault(key, []).append(r)
    rows = [dict(
        task=task, method=method, setting=json.loads(setting), round=3,
        **scored(task, *([r[k] for r in pile] for k in ('target', 'sentence', 'texts'))),
        seconds_per_50=pile[0]['seconds'] / sum(len(r['texts']) for r in pile) * 50,
        n_targets=len(pile), n_samples=len(pile[0]['texts']),
        hardware=report['device'], commit=commit(), weights=weights(),
        command='python scripts/sweep.py --judge OUT/sweep-rows.jsonl.gz')
        for (task, method, setting), pile in piles.items()]
    old = [r for r in read() if not any(
        all(r[k] == new[k] for k in ('task', 'method', 'setting', 'round')) for new in rows)]
    write_atomic(TABLE, json.dumps(old + rows, ensure_ascii=False, indent=1) + '\n')
    for r in rows: print(r['task'], r['method'], r['setting'],
                         f'{r["success"]:.3f} at {r["lm_ratio"]:.2f}')

def best():
    "Print the setting of each task and method."
    by = {}
    for r in read(): by.setdefault((r['task'], r['method']), []).append(r)
    for key, own in by.items():
        r = chosen(own)
        print(*key, r['setting'], f'{r["success"]:.3f} at {r["lm_ratio"]:.2f}')

if __name__ == '__main__':
    what = {'--best': best, '--write': write, '--judge': judge}.get((sys.argv + [''])[1])
    what(*sys.argv[2:]) if what else main(*sys.argv[1:])

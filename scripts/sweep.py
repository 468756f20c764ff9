"""Sweeps the strength of guidance on valid data: one row a setting, into results/sweep.json.

    DLM_DATA=... OMP_NUM_THREADS=1 python scripts/sweep.py [TASK ...]     # 20 minutes
    python scripts/sweep.py --best

Targets are other texts of E2E's valid split than those of the protocol, as the *labeller* reads
them, and the labeller scores: the judge of the table is not asked. Fluency is the teacher's
perplexity over that of the targets' own sentences. Ours: `strength` (`size` in the rows) and
`inner` of `Syntactic`. The paper's way: λ, step size and inner steps of `ClassifierGuidance`. Nine
settings each, all with 50 steps. --best says which one the rule gives for each task and method.
"""
import json, random, sys, time
from functools import cache
from pathlib import Path
from measure import commit, hardware
from diffusion_lm_nb import DiffusionLM
from diffusion_lm_nb.controls import contains
from diffusion_lm_nb.trees import tree_spans, tree_text
from diffusion_lm_nb.reproduction import read_targets, shipped_targets, target_control, guide_for
from diffusion_lm_nb.files import write_atomic
from diffusion_lm_nb.corpora import load_corpus
from diffusion_lm_nb.teacher import make_judge
from diffusion_lm_nb.controls import distinct
from diffusion_lm_nb.metrics import fluency, success_rows

TABLE, TARGETS, TEXTS = Path(__file__).parents[1]/'results/sweep.json', 10, 2
OURS = [dict(size=s, inner=i, steps=50) for s, i in (
    (.5, 1), (1, 1), (2, 1), (4, 1), (8, 1), (16, 1), (1, 2), (2, 2), (1, 3))]
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

def targets(task, n=TARGETS): # -> n targets, their sentences
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

def main(*tasks):
    lm = DiffusionLM.from_pretrained('e2e')
    for task in tasks or ('pos', 'tree', 'spans', 'semantic'):
        wanted, sentences = targets(task)
        people = fluency(sentences)
        for method, grid in (
            ('diffusion', OURS if task != 'semantic' else []),
            ('diffusion-classifier', PAPER),
        ):
            for setting in grid:
                rows = json.loads(TABLE.read_text()) if TABLE.exists() else []
                if any(
                    (r['task'], r['method'], r['setting']) == (task, method, setting) for r in rows
                ):
                    continue
                controls, start = [target_control(task, t) for t in wanted], time.time()
                guide = None
                if method == 'diffusion':
                    for c in controls:
                        for p in getattr(c, 'parts', [c]):
                            if hasattr(p, 'inner'):
                                p.strength, p.inner = setting['size'], setting['inner']
                else:
                    guide = guide_for(
                        controls, method, lm, **{k: v for k, v in setting.items() if k != 'steps'}
                    )
                texts = lm.sample(
                    TARGETS * TEXTS,
                    [c for c in controls for _ in range(TEXTS)],
                    steps=setting['steps'],
                    seed=1,
                    guide=guide,
                )
                seconds = time.time() - start
                words = [t.split() for t in texts]
                r = success_rows(
                    [
                        dict(task=task, target=t, texts=texts[k * TEXTS : (k + 1) * TEXTS])
                        for k, t in enumerate(wanted)
                    ],
                    labeller(),
                )
                row = dict(
                    task=task,
                    method=method,
                    setting=setting,
                    success=r['success'],
                    lm_ratio=fluency(words) / people,
                    distinct4=distinct(words),
                    distinct4_people=distinct(sentences),
                    seconds_per_50=seconds / len(texts) * 50,
                    n_targets=TARGETS,
                    n_samples=TEXTS,
                    oracle='labeller',
                    hardware=hardware(),
                    commit=commit(),
                    command=f'DLM_DATA=$DLM_DATA python scripts/sweep.py {task}',
                )
                row |= {k: v for k, v in r.items() if k.startswith('success_')}
                write_atomic(TABLE, json.dumps(rows + [row], ensure_ascii=False, indent=1) + '\n')
                print(
                    task,
                    method,
                    setting,
                    {k: round(v, 3) for k, v in row.items() if isinstance(v, float)},
                    flush=True,
                )

def best():
    "Print the setting of each task and method."
    rows, by = json.loads(TABLE.read_text()), {}
    for r in rows: by.setdefault((r['task'], r['method']), []).append(r)
    for key, own in by.items():
        r = max(own, key=worth)
        print(*key, r['setting'], f'{r["success"]:.3f} at {r["lm_ratio"]:.2f}')

if __name__ == '__main__': best() if sys.argv[1:] == ['--best'] else main(*sys.argv[1:])

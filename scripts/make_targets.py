"""Draws the targets of the syntax tasks from E2E's valid split, as the judge of chapter 12 reads it, into diffusion_lm_nb/targets/.

    DLM_DATA=... python scripts/make_targets.py

Tags, brackets and spans are kept, words are not ("_" stands for each). `example` is the number of the text in the split, so that
whoever has the corpus can score the sentence itself. Field and value are drawn among those that the text says word for word.
"""
import json, random
from diffusion_lm_nb.controls import contains
from diffusion_lm_nb.trees import tree_spans
from diffusion_lm_nb.reproduction import shipped_targets
from diffusion_lm_nb.files import write_atomic
from diffusion_lm_nb.corpora import load_corpus
from diffusion_lm_nb.oracles import Reader

N, SEED, SHORTEST, LONGEST = 200, 0, 6, 40
judge, valid = Reader.from_pretrained('judge'), load_corpus('e2e', 'valid')

def draw(task, usable): # texts of the split in an order drawn by task and seed
    order = [i for i, e in enumerate(valid) if SHORTEST <= len(e.words) <= LONGEST and usable(e)]
    return random.Random(f'{task} {SEED}').sample(order, N)

def wordless(tree, tags): # brackets with the judge's tags, "_" for each word
    tags = iter(tags)
    walk = lambda t: (
        f'({next(tags)} _)' if isinstance(t, str) else f'({t.label()} {" ".join(map(walk, t))})'
    )
    return walk(tree)

def said(e):
    return [(f, v) for f, v in e.mr if v not in ('yes', 'no') and contains(e.words, v.split())]

def write(task, rows):
    write_atomic(
        shipped_targets('semantic').parent / f'{task}.jsonl',
        ''.join(json.dumps(r, ensure_ascii=False) + '\n' for r in rows),
    )
    print(task, len(rows))

for task in ('pos', 'tree', 'spans', 'semantic-pos', 'semantic-tree'):
    picks, rows = draw(task, said if task.startswith('semantic') else lambda e: True), []
    for i, (tags, tree) in zip(picks, judge.read([valid[i].words for i in picks])):
        rng, row = random.Random(f'{task} {i}'), {}
        if 'pos' in task:
            row['pos'] = tags
        if 'tree' in task:
            row['tree'] = wordless(tree, tags)
        if task == 'spans':
            spans = [
                s for s in tree_spans(tree) if 1 <= s[1] - s[0] < len(tags) - 1
            ] # not single words, not the whole text
            if not spans:
                spans = tree_spans(tree)
            row['spans'] = [list(rng.choice(spans))]
        if task.startswith('semantic'):
            f, v = rng.choice(said(valid[i]))
            row['attr'] = [*f.split(), ':', *v.split()]
        rows.append(row | dict(example=i))
    write(task, rows)

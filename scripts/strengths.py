"""How far the marginals are tilted for a span, on validation texts: rows into results/strengths.json.

    DLM_DATA=... OMP_NUM_THREADS=1 python scripts/strengths.py        # what has no row yet: 5 minutes

Targets: a span of the labeller's tree in each of 60 validation texts, drawn by chance among those
of two words and more that are not the whole text; two texts a target; the shipped judge decides.
The ratio is to the perplexity of the sentences that the spans were read from. `SyntaxSpan.strength`
is the weakest whose success is within one point of the best.
"""
import json, random, time
from pathlib import Path

from diffusion_lm_nb.corpora import load_corpus, repeats
from diffusion_lm_nb.files import write_atomic
from diffusion_lm_nb.metrics import bootstrap, fluency
from diffusion_lm_nb.sampling import load_model
from diffusion_lm_nb.syntax import SyntaxSpan
from diffusion_lm_nb.teacher import make_judge
from diffusion_lm_nb.trees import tree_spans
from measure import commit, hardware

TABLE, TARGETS, N, SEED = Path(__file__).parents[1] / 'results/strengths.json', 60, 2, 5
STRENGTHS = 1., 2., 4., 8., 16.

def wanted():
    "Targets and the sentences that they are from: two lists."
    teacher, gen, spans, people = make_judge('labeller'), random.Random(2), [], []
    texts = [e.words for e in load_corpus('e2e', 'valid') if 8 <= len(e.words) <= 40]
    for words in gen.sample(texts, TARGETS):
        inside = sorted((i, j, l) for i, j, l in tree_spans(teacher.parse(words))
                        if 1 <= j - i < len(words) - 1)
        spans.append(gen.choice(inside))
        people.append(words)
    return spans, people

def chosen(rows):
    "The strength that the rule of the first lines gives."
    best = max(r['success'] for r in rows)
    return min(r['strength'] for r in rows if r['success'] >= best - .01)

def main():
    rows = json.loads(TABLE.read_text()) if TABLE.exists() else []
    lm, judge, (spans, people) = load_model('e2e', 'cpu'), make_judge(), wanted()
    for strength in STRENGTHS:
        if any(r['strength'] == strength for r in rows): continue
        begun, controls = time.monotonic(), [SyntaxSpan(*s) for s in spans for _ in range(N)]
        for c in controls: c.strength = strength
        texts = [t.split() for t in lm.sample(len(controls), controls, seed=SEED)]
        seconds = time.monotonic() - begun
        found = [c.score(t, judge) for c, t in zip(controls, texts)]
        own = [sum(found[i:i + N]) / N for i in range(0, len(found), N)]
        rows.append(dict(
            strength=strength, targets=TARGETS, texts=len(texts), success=sum(own) / len(own),
            interval=bootstrap(own), ratio=fluency(texts, judge) / fluency(people, judge),
            repeats=repeats(texts), seconds=round(seconds, 1), seed=SEED, hardware=hardware(),
            commit=commit(), command='python scripts/strengths.py'))
        write_atomic(TABLE, json.dumps(sorted(rows, key=lambda r: r['strength']), indent=1) + '\n')
        print(strength, f'{rows[-1]["success"]:.3f} {rows[-1]["ratio"]:.3f}', flush=True)
    print('by the rule:', chosen(rows))

if __name__ == '__main__': main()

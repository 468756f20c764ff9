"""The rarest values of semantic content: are they met without breaking the text?

    DLM_DATA=... OMP_NUM_THREADS=1 python scripts/rare.py

Rows of results/rare.json: the ten of the 79 shipped pairs of field and value that the fewest
training texts of E2E say word for word, and fifty texts of each. Beside them stand the sentences of
people that say the value, from all splits (fifty at most, drawn by a seed); last, all ten together.
Success has Wilson's interval, the ratio of perplexities a bootstrap interval over texts, of 95 %.
"""
import json, random, time
from pathlib import Path

from diffusion_lm_nb.controls import contains, wilson_interval
from diffusion_lm_nb.corpora import load_corpus, repeats
from diffusion_lm_nb.files import write_atomic
from diffusion_lm_nb.reproduction import read_targets, shipped_targets
from diffusion_lm_nb.sampling import load_model
from diffusion_lm_nb.teacher import lm_score, make_judge
from measure import commit, hardware, weights
from protocol import ratio

TABLE, N, VALUES, SEED = Path(__file__).parents[1] / 'results/rare.json', 50, 10, 0

def sentences_with(phrase, texts): # list of words; word lists
    "The texts that say the phrase."
    return [t for t in texts if contains(t, phrase)]

def judged(teacher, texts, people, met): # word lists; how many of the texts say the value
    "Success and perplexity over that of people's sentences, each with its interval."
    found = ratio([[t] for t in texts], people)
    return dict(success=met / len(texts), interval=wilson_interval(met, len(texts)),
                lm_score=lm_score(teacher, texts), people=len(people),
                people_lm_score=lm_score(teacher, people), ratio=found['lm_ratio'],
                ratio_interval=found['lm_interval'])

def main():
    lm, teacher = load_model('e2e', 'cpu'), make_judge().teacher
    train = [e.words for e in load_corpus('e2e', 'train')]
    others = [e.words for split in ('valid', 'test') for e in load_corpus('e2e', split)]
    pairs = [c for _, c in read_targets(shipped_targets('semantic'), 'semantic')
             if c.value not in ('yes', 'no')]
    counts = [(len(sentences_with(c.value.split(), train)), i) for i, c in enumerate(pairs)]
    rows, ours, theirs = [], [], []
    note = dict(hardware=hardware(), commit=commit(), weights=weights(), command='python scripts/rare.py')
    for count, i in sorted(counts)[:VALUES]:
        control, begun = pairs[i], time.monotonic()
        texts = [t.split() for t in lm.sample(N, control, seed=SEED, first=i * N)]
        seconds = time.monotonic() - begun
        people = sentences_with(control.value.split(), train + others)
        people = random.Random(SEED).sample(people, min(N, len(people)))
        ours, theirs = ours + texts, theirs + people
        met = sum(contains(t, control.value.split()) for t in texts)
        rows.append(dict(field=control.field, value=control.value, training_texts=count, texts=N,
                         seconds=round(seconds, 1)) | judged(teacher, texts, people, met) | note)
        print({k: v for k, v in rows[-1].items() if k not in note}, flush=True)
    met = sum(round(r['success'] * N) for r in rows)
    rows.append(dict(value='all ten', texts=len(ours), repeats=repeats(ours)) | note |
                judged(teacher, ours, theirs, met))
    write_atomic(TABLE, json.dumps(rows, ensure_ascii=False, indent=1) + '\n')
    print({k: v for k, v in rows[-1].items() if k not in note})

if __name__ == '__main__': main()

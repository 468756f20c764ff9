"""A blind reading by people: pairs of texts on a page that anyone can fill in, and their score.

    python scripts/reading.py page OUT ROWS.jsonl MORE.jsonl [--people] [--pairs 100] [--seed 0]
    python scripts/reading.py score OUT ANSWERS.json [ANSWERS.json ...]

ROWS are what `dlm-control` wrote, a method a file, for the same task and targets; --people adds the
sentences that the targets of syntax were read from (DLM_DATA). OUT gets `page.html`, which works
without a network and saves the answers as a file, and `key.json`, which says who wrote what: do not
give it to readers. A pair has one target; which two methods, which target and which one stands left
is drawn by the seed. A reader says which text is better English, and which one does what was asked.

`score` counts, for each two methods and each question: how often the first was preferred, the
second, or neither; the first's share of the preferences with its Wilson interval; the sign test.
Several readers of one page count as one: the majority of each pair, so that pairs stay independent.
No reading has been made yet, so results/ has no such row.
"""
import argparse, html, itertools, json, math, random, sys
from pathlib import Path
from diffusion_lm_nb.controls import wilson_interval
from diffusion_lm_nb.corpora import load_corpus
from diffusion_lm_nb.files import BadInput, read_rows, write_atomic

QUESTIONS = {'english': 'Which is better English?', 'asked': 'Which does what was asked?'}
CHOICES = {'a': 'left', 'b': 'right', '=': 'no difference'}
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Which text is better?</title>
<style>
 body {{ font: 1.05rem/1.5 serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem }}
 section {{ border-top: 1px solid #999; padding: .8rem 0 }}
 .two {{ display: grid; grid-template-columns: 1fr 1fr; gap: 1rem }}
 .two p {{ border: 1px solid #999; padding: .5rem; margin: .3rem 0 }}
 fieldset {{ border: 0; padding: .2rem 0 }} legend {{ font-weight: bold; padding: 0 }}
 label {{ margin-right: 1.2rem }}
 @media (max-width: 34rem) {{ .two {{ grid-template-columns: 1fr }} }}
</style>
<h1>Which text is better?</h1>
<p>Each pair was written for the same request. Read both, and answer two questions. There is no
right answer; say what you think. You can stop at any time and save what you have.</p>
<form id="answers">{pairs}</form>
<p><button type="button" id="save">Save the answers as a file</button> <span id="count"></span></p>
<script>
const form = document.getElementById('answers')
form.addEventListener('change', () => {{
  const done = new Set([...new FormData(form).keys()]).size
  document.getElementById('count').textContent = done + ' of {all} answers'
}})
document.getElementById('save').addEventListener('click', () => {{
  const out = {{page: {page}, answers: Object.fromEntries(new FormData(form))}}
  const link = document.createElement('a')
  link.href = URL.createObjectURL(new Blob([JSON.stringify(out)], {{type: 'application/json'}}))
  link.download = 'answers.json'
  link.click()
}})
</script></html>
"""

def asked(task, target): # as in the rows -> one line for the reader
    "What was asked for, in words."
    if task == 'semantic': return 'Say: ' + ' '.join(map(str, target))
    if task == 'length': return f'{target} words'
    if isinstance(target, dict):
        return '; '.join(f'{k}: {v if isinstance(v, str) else json.dumps(v)}'
                         for k, v in target.items() if k in ('attr', 'pos', 'tree', 'spans'))
    return str(target)

def people(rows, task): # of one method
    "The sentences that the targets were read from, as rows of a method."
    if any(not isinstance(r['target'], dict) or 'example' not in r['target'] for r in rows):
        raise BadInput(f'targets of {task} were not read from sentences; leave out --people')
    texts = load_corpus('e2e', 'valid')
    return [r | dict(method='people', texts=[' '.join(texts[r['target']['example']].words)])
            for r in rows]

def by_method(files, with_people): # -> task, {method: {target as text: row}}
    "The rows of all files, sorted out; BadInput if they are not of one task."
    rows = [r for f in files for r in read_rows(f)]
    tasks = {r.get('task') for r in rows}
    if len(tasks) != 1:
        raise BadInput(f'rows of one task are compared, not of {sorted(map(str, tasks))}')
    task, = tasks
    if with_people: rows += people([r for r in rows if r['method'] == rows[0]['method']], task)
    out = {}
    for r in rows: out.setdefault(r['method'], {})[json.dumps(r['target'])] = r
    if len(out) < 2: raise BadInput('two methods at least; give another file, or --people')
    return task, out

def draw(methods, n, seed): # {method: {target: row}} -> n times (target, left, right)
    "Pairs with each two methods equally often; a target comes again only when all were used."
    rng, out = random.Random(f'reading {seed}'), []
    for both, k in zip(itertools.cycle(itertools.combinations(sorted(methods), 2)), range(n)):
        shared = sorted(set(methods[both[0]]) & set(methods[both[1]]))
        if not shared: raise BadInput(f'{both[0]} and {both[1]} have no target in common')
        used = [t for t, *pair in out if {*pair} == {*both}]
        fewest = min(used.count(t) for t in shared)
        target = rng.choice([t for t in shared if used.count(t) == fewest])
        out.append((target, *rng.sample(both, 2)))
    rng.shuffle(out)
    return out

def question(k, name, text): # number of the pair; a key of QUESTIONS
    radios = ''.join(
        f'<label><input type="radio" name="{k}-{name}" value="{v}"> {html.escape(said)}</label>'
        for v, said in CHOICES.items())
    return f'<fieldset><legend>{html.escape(text)}</legend>{radios}</fieldset>'

def make(out, files, with_people, n, seed):
    "Write the page and its key."
    task, methods = by_method(files, with_people)
    pairs, sections = draw(methods, n, seed), []
    for k, (target, *two) in enumerate(pairs):
        texts = [html.escape(methods[m][target]['texts'][0]) for m in two]
        head = html.escape(asked(task, json.loads(target)))
        sections.append(f'<section><p>{k + 1}. {head}</p><div class="two">'
                        + ''.join(f'<p>{t}</p>' for t in texts) + '</div>'
                        + ''.join(question(k, *q) for q in QUESTIONS.items()) + '</section>')
    name = f'{task} {seed} {n}'
    page = PAGE.format(pairs='\n'.join(sections), all=2 * n, page=json.dumps(name))
    key = dict(page=name, task=task, seed=seed,
               pairs=[dict(target=t, a=a, b=b) for t, a, b in pairs])
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / 'page.html', page)
    write_atomic(out / 'key.json', json.dumps(key, ensure_ascii=False, indent=1) + '\n')
    print(f'{n} pairs of {", ".join(sorted(methods))}: {out / "page.html"}')

def majority(votes): # list of CHOICES' keys
    "What most readers say; no difference where they are divided."
    a, b = votes.count('a'), votes.count('b')
    return 'a' if a > b and 2 * a > len(votes) else 'b' if b > a and 2 * b > len(votes) else '='

def sign_test(k, n): # two-sided
    "The probability of so uneven a split if both were preferred equally often."
    return min(1., 2 * sum(math.comb(n, j) for j in range(max(k, n - k), n + 1)) / 2 ** n)

def read_answers(file, key):
    "The answers of one reader; BadInput if they belong to another page."
    try: said = json.loads(Path(file).read_text(encoding='utf8'))
    except (OSError, ValueError) as e: raise BadInput(f'{file}: {e}') from None
    if not isinstance(said, dict) or said.get('page') != key['page']:
        raise BadInput(f'{file} has no answers to the page "{key["page"]}"')
    known = {f'{k}-{q}' for k in range(len(key['pairs'])) for q in QUESTIONS}
    for name, v in said['answers'].items():
        if name not in known or v not in CHOICES:
            raise BadInput(f'{file}: {name} = {v} is no answer to this page')
    return said['answers']

def scores(key, readers): # dict; list of {name: choice} -> list of rows
    "A row for each two methods and each question."
    out = {}
    for k, pair in enumerate(key['pairs']):
        for q in QUESTIONS:
            votes = [r[f'{k}-{q}'] for r in readers if f'{k}-{q}' in r]
            if not votes: continue
            first, second = sorted((pair['a'], pair['b']))
            won = {'a': pair['a'], 'b': pair['b'], '=': None}[majority(votes)]
            out.setdefault((first, second, q), []).append(won)
    rows = []
    for (first, second, q), won in sorted(out.items()):
        a, b = won.count(first), won.count(second)
        low, high = wilson_interval(a, a + b) if a + b else (0., 1.)
        rows.append(dict(first=first, second=second, question=q, pairs=len(won), for_first=a,
                         for_second=b, share=a / (a + b) if a + b else None,
                         interval=[low, high], sign_test=sign_test(a, a + b)))
    return rows

def show(rows):
    for r in rows:
        share = '   –' if r['share'] is None else f'{100 * r["share"]:3.0f}%'
        low, high = (100 * x for x in r['interval'])
        print(f'{QUESTIONS[r["question"]]:28} {r["first"]} against {r["second"]}:'
              f' {r["for_first"]} to {r["for_second"]} of {r["pairs"]}, {share} ({low:.0f} to {high:.0f}),'
              f' sign test {r["sign_test"]:.3f}')

def main(args=None):
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('what', choices=('page', 'score'))
    p.add_argument('out', type=Path)
    p.add_argument('files', nargs='+')
    p.add_argument('--people', action='store_true')
    p.add_argument('--pairs', type=int, default=100)
    p.add_argument('--seed', type=int, default=0)
    o = p.parse_args(args)
    try:
        if o.what == 'page':
            if not 1 <= o.pairs <= 10_000: raise BadInput(f'--pairs is 1 to 10,000, not {o.pairs}')
            return make(o.out, o.files, o.people, o.pairs, o.seed)
        key = o.out / 'key.json'
        if not key.is_file(): raise BadInput(f'no {key}; make the page first')
        key = json.loads(key.read_text(encoding='utf8'))
        show(scores(key, [read_answers(f, key) for f in o.files]))
    except BadInput as e:
        print(f'reading: {e}', file=sys.stderr)
        return 2

if __name__ == '__main__': sys.exit(main())

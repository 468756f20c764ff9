"""Measures the shipped E2E model: one row a job, into results/e2e.json (rows of other jobs are kept).

    DLM_DATA=... OMP_NUM_THREADS=1 python scripts/measure.py OUT [JOB ...]

OUT holds the texts; a job that was cut off goes on where it was. Without names all jobs are done: about two hours on one core.
Each row says the command that does the same by itself. --ar=FOLDER: an autoregressive Transformer to stand beside the likelihood bound.

    python scripts/measure.py --tables         # the tables of README.md, from results/e2e.json
"""
import hashlib, json, platform, random, subprocess, sys, time
from pathlib import Path
import torch
from diffusion_lm_nb import DiffusionLM
from diffusion_lm_nb.files import read_rows
from diffusion_lm_nb.commands import dlm_control, dlm_infill
from diffusion_lm_nb.files import write_atomic
from diffusion_lm_nb.corpora import load_corpus
from diffusion_lm_nb.data import MAX_WORDS, pad_batch
from diffusion_lm_nb.metrics import evaluate_rows, fit_ngram
from diffusion_lm_nb.likelihood import likelihood, ratio
from diffusion_lm_nb.loss import keyed_generator
from diffusion_lm_nb.commands import dlm_sample
from diffusion_lm_nb.training import load_ar

HERE = Path(__file__).parents[1]/'results'
TABLE = HERE/'e2e.json'
JOBS = {
    'free': (dlm_sample, '--n 1000'),
    'length': (dlm_control, 'length --n 20'),
    'semantic': (dlm_control, 'semantic --n 20'),
    'semantic-classifier': (dlm_control, 'semantic --n 20 --method diffusion-classifier'),
    'semantic-length': (dlm_control, 'semantic+length --n 8'),
    'infill': (dlm_infill, '--items e2e --limit 500 --n 3 --steps 30'),
    'infill-left-only': (dlm_infill, '--items e2e --limit 500 --n 3 --steps 30 --method left-only'),
    'infill-frequent': (dlm_infill, '--items e2e --limit 500 --n 1 --method frequent-words'),
    'timing': (dlm_control, 'semantic --n 50 --limit 3'),       # by itself, with OMP_NUM_THREADS=2
}
NLL = {'nll-test': 'test', 'nll-valid': 'valid'}
LIMIT = (
    500 # texts of the likelihood bound, drawn by a seed; None: until its standard error is 0.01
)

def hardware():
    name = next(
        (l.split(':')[1].strip() for l in open('/proc/cpuinfo') if 'model name' in l),
        platform.processor(),
    )
    return f'{torch.get_num_threads()} thread(s), {name}, float32'

def commit():
    return subprocess.run(
        ['git', 'rev-parse', '--short', 'HEAD'], capture_output=True, text=True, cwd=HERE
    ).stdout.strip()

def weights(): # what tells rows of these weights of E2E from rows of others
    path = HERE.parent / 'diffusion_lm_nb/weights/e2e/model.safetensors'
    return hashlib.sha256(path.read_bytes()).hexdigest()[:8]

def keep(job, row): # replace the row of the same job
    rows = [r for r in (json.loads(TABLE.read_text()) if TABLE.exists() else []) if r['job'] != job]
    rows = sorted(
        [*rows, dict(job=job) | row | dict(hardware=hardware(), commit=commit(), weights=weights())],
        key=lambda r: [*JOBS, 'human', *NLL].index(r['job']),
    )
    write_atomic(TABLE, json.dumps(rows, ensure_ascii=False, indent=1) + '\n')
    print(job, {k: v for k, v in row.items() if isinstance(v, (int, float))}, flush=True)

SIZE = 10_000 # 4-grams of the piles whose variety is compared

def grams(texts): # word lists
    "Their 4-grams, the texts in a seeded order."
    texts = random.Random(0).sample(texts, len(texts))
    return [tuple(t[i:i + 4]) for t in texts for i in range(len(t) - 3)]

def distinct4_ratio(texts, people): # word lists
    "Distinct-4 over people's, of as many 4-grams: it shrinks as texts pile up."
    ours, theirs = grams(texts), grams(people)
    n = min(len(ours), len(theirs))
    return len(set(ours[:n])) / max(1, len(set(theirs[:n])))

def variety(rows):
    "Distinct-4 of the first SIZE 4-grams, None if there are fewer."
    found = grams([t.split() for r in rows for t in r['texts']])[:SIZE]
    return dict(distinct4_10k=len(set(found)) / SIZE if len(found) == SIZE else None)

def texts(job, out, kn):
    run, args = JOBS[job]
    name = {dlm_sample: 'dlm-sample', dlm_control: 'dlm-control', dlm_infill: 'dlm-infill'}[
        run
    ] # a command carries the name of its function
    command = (
        f'{name} {args} > TEXTS.txt; dlm-evaluate TEXTS.txt'
        if job == 'free'
        else f'{name} {args} --out ROWS; dlm-evaluate ROWS'
    )
    start = time.time()
    if job == 'free':
        lm, path = DiffusionLM.from_pretrained('e2e'), out / 'free.txt'
        done = path.read_text().splitlines() if path.exists() else []
        resumed = bool(done)
        for at in range(len(done) - len(done) % 50, 1000, 50):
            done = done[:at] + lm.sample(50, seed=0, first=at)
            write_atomic(path, '\n'.join(done) + '\n')
        seconds = None if resumed else (time.time() - start) / 1000
        rows = [
            dict(
                task='free', target=None, texts=[t], seconds=seconds, method='unguided', model='e2e'
            )
            for t in done
        ]
    else:
        path = out / f'{job}.jsonl'
        resumed = path.exists() # its seconds are of several days, and of whatever else ran then
        if code := run([*args.split(), '--out', str(path)]):
            sys.exit(code)
        rows = read_rows(path)
    figures = evaluate_rows(rows, kn) | variety(rows)
    if resumed: figures |= dict(seconds_per_50=None)
    keep(
        job,
        figures
        | dict(
            n_samples=len(rows[0]['texts']),
            command=f'export DLM_DATA; {command} --ngram e2e --json',
        ),
    )

def human(
    # the same figures for what people wrote: all test texts, and a thousand of them beside the
    # thousand samples
    kn,
):
    words = [e.words for e in load_corpus('e2e', 'test') if len(e.words) <= MAX_WORDS]
    order = torch.randperm(len(words), generator=torch.Generator().manual_seed(0))[:1000].tolist()
    rows = [
        dict(
            task='free',
            target=None,
            texts=[' '.join(words[i])],
            seconds=None,
            method='test texts',
            model='e2e',
        )
        for i in order
    ]
    row = evaluate_rows(rows, kn) | variety(rows)
    keep(
        'human',
        row
        | dict(
            task='human',
            n_samples=1,
            ngram_ppl_all=kn.perplexity(words),
            command='dlm-evaluate TEXTS.txt --ngram e2e --json',
        ),
    )

def nats_of(ar, texts): # a model of `load_ar`, word lists -> (texts,) nats, exact
    "−log p of each text under an autoregressive model."
    nats = []
    for at in range(0, len(texts), 64):
        ids, mask = pad_batch([ar.vocab.encode(w) for w in texts[at : at + 64]], ar.vocab.pad)
        with torch.no_grad():
            nats += ar.token_nats(ids, mask).sum(1).tolist()
    return torch.tensor(nats).double()

def beside(nats, bound, sizes): # (texts,) each: theirs, ours, and the number of words of the texts
    "Another model's value of the same texts, and by how much the bound is above it, paired by text."
    more, error = ratio(bound - nats, sizes + 3)
    return dict(
        nats_per_token=float(nats.sum() / (sizes + 1).sum()),
        nats_per_block_token=float(nats.sum() / (sizes + 3).sum()),
        bound_minus_it=more,
        bound_minus_it_error=error,
    )

def nll(job, kn):
    split, bounds = NLL[job], []
    words = [e.words for e in load_corpus('e2e', split)]
    lm, start = DiffusionLM.from_pretrained('e2e'), time.time()
    own = lm.bound
    def kept_bound(*args, **more): # what `likelihood` adds up, kept by text
        bounds.append(own(*args, **more))
        return bounds[-1]
    lm.bound = kept_bound
    r = likelihood(lm, words, limit=LIMIT) | dict(seconds=time.time() - start)
    kept = [w for w in words if len(w) <= MAX_WORDS] # of which `likelihood` draws the same ones:
    order = torch.randperm(len(kept), generator=keyed_generator(0)).tolist()
    kept = [kept[i] for i in order[:LIMIT]]
    bound, sizes = torch.cat(bounds).double(), torch.tensor([float(len(w)) for w in kept]).double()
    assert (sizes + 1).sum() == r['tokens']
    r |= dict(
        block_std_error=ratio(bound, sizes + 3)[1],
        kneser_ney_5gram=beside(torch.tensor([*map(kn.nats, kept)]).double(), bound, sizes),
    )
    old = next((o for o in json.loads(TABLE.read_text()) if o['job'] == job), {})
    if folder := next((a[5:] for a in sys.argv if a.startswith('--ar=')), None):
        ar = load_ar(folder).eval()
        size = dict(parameters=sum(p.numel() for p in ar.parameters()))
        r |= dict(autoregressive=beside(nats_of(ar, kept), bound, sizes) | size)
    elif old.get('weights') == weights() and 'autoregressive' in old:
        r |= dict(autoregressive=old['autoregressive'])
    keep(
        job,
        dict(task='nll', method='bound', model='e2e', corpus=f'e2e {split}')
        | r
        | dict(
            command=f'DLM_DATA=$DLM_DATA dlm-nll e2e --split {split}'
            + (f' --limit {LIMIT}' if LIMIT else '')
            + ' --json'
        ),
    )

def tables(): # -> Markdown
    R = {r['job']: r for r in json.loads(TABLE.read_text())}
    people, pct = R['human']['ngram_ppl'], lambda v: '–' if v is None else f'{100 * v:.1f} %'
    out = [
        '| | texts | success | paper | perplexity ÷ people’s | distinct-4 | self-BLEU | copied |',
        '|---|---|---|---|---|---|---|---|',
    ]
    for job, name, paper in (
        ('free', 'no control', '–'),
        ('length', 'length, 10 to 40 words', '99.9 %'),
        ('semantic', 'semantic content, our way', '81.2 %'),
        ('semantic-classifier', 'semantic content, the paper’s way', '81.2 %'),
        ('semantic-length', 'semantic content + length', '–'),
        ('human', 'people (E2E test texts)', '–'),
    ):
        if job not in R:
            continue
        r = R[job]
        success = r.get('success_without_yes_no', r.get('success'))
        out.append(
            f'| {name} | {r["texts"]:,} | {pct(success)} | {paper} | {r["ngram_ppl"] / people:.2f}'
            f' | {r["distinct4_10k"]:.2f} | {r["self_bleu"]:.2f} |'
            f' {pct(r["in_train"]) if job != "human" else "–"} |'
        )
    out += [
        '',
        '| 500 E2E test texts, 3 to 8 words hidden | context kept | BLEU-4 | ROUGE-L of the gap |',
        '|---|---|---|---|',
    ]
    for job, name in (
        ('infill', 'diffusion'),
        ('infill-left-only', 'left context only'),
        ('infill-frequent', 'most frequent words'),
    ):
        if job in R:
            out.append(
                f'| {name} | {pct(R[job]["context_kept"])} | {R[job]["bleu4"]:.1f} |'
                f' {R[job]["rouge_l"]:.1f} |'
            )
    out += ['', '| nats a block token (nats a word and END) | test | valid |', '|---|---|---|']
    both = lambda r: f'{r["nats_per_block_token"]:.3f} ({r["nats_per_token"]:.3f})'
    cells = lambda f: ' | '.join(f(R[j]) if j in R else '–' for j in NLL)
    out += [
        '| diffusion, at most |'
        f' {cells(lambda r: both(r) + " ± " + format(r["std_error"], ".3f"))} |'
    ]
    if any('autoregressive' in R.get(j, {}) for j in NLL):
        out.append(
            '| autoregressive Transformer of the same size |'
            f' {cells(lambda r: both(r["autoregressive"]) if "autoregressive" in r else "–")} |'
        )
    return '\n'.join(
        [*out, f'| Kneser-Ney 5-gram | {cells(lambda r: both(r["kneser_ney_5gram"]))} |']
    )

def main(out, *jobs):
    out = Path(out); out.mkdir(parents=True, exist_ok=True)
    kn = fit_ngram('e2e')
    for job in jobs or [j for j in [*JOBS, 'human', *NLL] if j != 'timing']:
        if job in JOBS: texts(job, out, kn)
        elif job == 'human': human(kn)
        else: nll(job, kn)

if __name__ == '__main__':
    if '--tables' in sys.argv: sys.exit(print(tables()))
    main(*[a for a in sys.argv[1:] if not a.startswith('--')])

"""README.md and docs/results.md from their templates: every figure that we measured comes from a row
of results/.

    python scripts/readme.py           # writes both
    python scripts/readme.py --check   # exit code 1 if one of them is another

In a template {{expression}} stands for a value; the functions below are what it may call. A test
holds the pages against the rows, and looks for figures in the templates that are written by hand.
"""
import hashlib, json, re, sys
from pathlib import Path
from diffusion_lm_nb.controls import wilson_interval
from diffusion_lm_nb.metrics import bootstrap

HERE = Path(__file__).parents[1]
PAGES = { # template: page
    HERE / 'docs/README.in.md': HERE / 'README.md',
    HERE / 'docs/results.in.md': HERE / 'docs/results.md',
    HERE / 'docs/samples.in.md': HERE / 'docs/samples.md'}
KINDS = dict(pos='PartsOfSpeech', spans='SyntaxSpan', semantic='SemanticContent')
TASKS = {
    'semantic': 'semantic content (without the values yes and no)', 'pos': 'parts of speech',
    'tree': 'syntax tree, F1', 'spans': 'syntax spans', 'length': 'length',
    'semantic+tree': 'semantic content + tree',
    'semantic+pos': 'semantic content + parts of speech'}
PAPER = {'semantic': '81.2 %', 'pos': '90.0 %', 'tree': '86.0', 'spans': '93.8 %',
         'length': '99.9 %', 'semantic+tree': '69.8 / 74.8',
         'semantic+pos': '63.7 / 69.1'}
METHODS = {
    'diffusion': 'diffusion, our way', 'diffusion-classifier': 'diffusion, the paper’s way',
    'ft-search': 'FT-search', 'ft-sample': 'FT-sample', 'fudge': 'FUDGE', 'gedi': 'GeDi',
    'xlm': 'XLM', 'pplm': 'PPLM', 'ft-poe': 'FT-PoE', 'grid-beam': 'grid beam search',
    'ctrl-g': 'Ctrl-G', 'ctrl-g-search': 'Ctrl-G, search'}


def rows(file):
    "All rows of a file of results/."
    return json.loads((HERE / f'results/{file}.json').read_text())

def row(file, **key):
    "The one row that has these values, or None."
    found = [r for r in rows(file) if key.items() <= r.items()]
    if len(found) > 1: raise ValueError(f'{len(found)} rows of {file} have {key}')
    return found[0] if found else None

def pct(share, digits=1): return f'{100 * share:.{digits}f}'
def table(head, lines):
    "Markdown; a line is a list of cells."
    cells = [head, ['---'] * len(head), *lines]
    return '\n'.join('| ' + ' | '.join(c) + ' |' for c in cells)

def success(r, short=False):
    "Success of a row as the tables write it."
    if r is None: return '–'
    digits = 0 if short else 1
    if '+' in r['task']:
        other = r['task'].split('+')[1]
        return f'{pct(r["success_semantic"], digits)} / {pct(r["success_" + other], digits)}'
    text = pct(r['success'])
    if short: return text
    unit = '' if r['task'] == 'tree' else ' %'
    without = r.get('success_without_yes_no')
    return text + unit + (f' ({pct(without)})' if r['task'] == 'semantic' else '')

def people(): return row('cpu', task='people')['lm_score']
def free(): return row('cpu', task='free')
def dial(name):
    "A dial of the shipped model, from its config."
    return json.loads((HERE / 'diffusion_lm_nb/weights/e2e/config.json').read_text())[name]

def six_tasks():
    "Our way and the paper's, on shipped targets."
    lines = []
    for task, name in TASKS.items():
        r = row('cpu', task=task, method='diffusion')
        whole = len(r['by_target']) if min(r['by_target']) == 1 else 0
        low, high = wilson_interval(whole, whole) if whole else r['interval']
        lines.append([
            name, success(r), '' if '+' in task else f'{pct(low, 0)}–{pct(high, 0)}',
            success(row('cpu', task=task, method='diffusion-classifier')), PAPER[task],
            f'{r["lm_score"] / people():.2f}',
            f'{r["distinct4"] / free()["distinct4"]:.2f}'
            f' ({r["distinct4_first"] / free()["distinct4_first"]:.2f})'])
    return table(['', 'success', '95 %', 'the paper’s way', 'paper', 'perplexity ÷ people’s',
                  'distinct-4 ÷ unguided (one text a target)'], lines)

def each(values, digits=2):
    "0.82, 0.61 and 0.52."
    texts = [f'{v:.{digits}f}' for v in values]
    return ', '.join(texts[:-1]) + ' and ' + texts[-1]

def of_the_papers_way(what, tasks=('semantic', 'pos', 'tree', 'spans')):
    "Its texts' `distinct4` over unguided ones', or `lm_score` over people's."
    base = people() if what == 'lm_score' else free()[what]
    return each(row('cpu', task=t, method='diffusion-classifier')[what] / base for t in tasks)

def chance(tasks=('pos', 'tree', 'spans')):
    "Success of unguided texts on the same targets."
    found = [pct(row('cpu', task=t, method='unguided')['success'], 0) for t in tasks]
    return ', '.join(found[:-1]) + f' and {found[-1]} %'

def paired(task, other='diffusion-classifier', method='diffusion', name='baselines'):
    "A method minus another on the same targets, in points, with its bootstrap interval."
    pair = [row(name, task=task, method=m)['by_target'] for m in (method, other)]
    gaps = [100 * (a - b) for a, b in zip(*pair, strict=True)]
    low, high = bootstrap(gaps)
    return minus(f'{sum(gaps) / len(gaps):+.1f} ({low:+.1f} to {high:+.1f})')

def by_seed():
    "Our way with three sampling seeds, on the same targets; the first one is that of the tables."
    runs, lines = [rows('cpu'), *(rows_of_seed(s) for s in (1, 2))], []
    for task, name in dict(free='no control', **TASKS).items():
        if '+' in task: continue
        found = [row_of_task(run, task) for run in runs]
        lines.append([name.split(' (')[0],
                      *('–' if task == 'free' else success(r) for r in found),
                      *(f'{r["lm_score"] / people():.2f}' for r in found),
                      ', '.join(f'{pct(r["repeats"])}' for r in found)])
    return table(['', 'success, seed 0', 'seed 1', 'seed 2', 'perplexity ÷ people’s, seed 0',
                  'seed 1', 'seed 2', 'a word twice in a row, % of texts'], lines)

def rare_values():
    "The ten values that the fewest training texts say, and all of them together."
    def line(r):
        low, high = r['ratio_interval']
        met = '–'.join(pct(v, 0) for v in r['interval'])
        return [r['value'], f'{r["training_texts"]:,}' if 'training_texts' in r else '',
                str(r['texts']), f'{pct(r["success"])} ({met})',
                f'{r["ratio"]:.2f} ({low:.2f}–{high:.2f})']
    assert all(r['success'] == 1 and r['ratio_interval'][0] <= 1 for r in rows('rare')) # so the text
    return table(['value', 'training texts that say it', 'texts', 'success, %',
                  'perplexity ÷ that of people’s sentences'], [*map(line, rows('rare'))])

def row_of_task(run, task):
    "Our way's row of a task among the rows of a run; of free texts, that without a control."
    method = 'unguided' if task == 'free' else 'diffusion'
    return next(r for r in run if (r['task'], r['method']) == (task, method))

def rows_of_seed(seed):
    "The rows of results/seeds.json with this sampling seed, named as those of cpu.json."
    mine = [r for r in rows('seeds') if r['seed'] == seed]
    return [r | (dict(method='unguided') if r['task'] == 'free' else {}) for r in mine]

def authors_numbers():
    "The paper's way with the numbers that our sweep chose, and with the authors' own."
    ours, theirs, lines = 'diffusion-classifier', 'diffusion-authors', []
    for task in ('semantic', 'pos', 'tree', 'spans'):
        for method, name in ((ours, '50 steps, our sweep'), (theirs, '200 steps, the authors’')):
            r = row('cpu', task=task, method=method)
            low, high = r['interval']
            lines.append([
                f'{TASKS[task].split(" (")[0]}: {name}', f'{success(r)} ({pct(low)}–{pct(high)})',
                f'{r["lm_score"] / people():.2f}', f'{r["distinct4"] / free()["distinct4"]:.2f}',
                paired(task, theirs, ours, 'cpu') if method == ours else ''])
    return table(['', 'success (95 %)', 'perplexity ÷ people’s', 'distinct-4 ÷ unguided',
                  'sweep minus authors’, points (95 %, paired)'], lines)

def minus(text): return text.replace('-', '−')

def interval(task, method='diffusion'):
    "The interval of a row of authors.json by our judge."
    found = row('authors', task=task, method=method)['by']['judge'][KINDS[task]]
    return '–'.join(pct(v) for v in found['interval'])

def by_judges(r):
    "The success of a row of authors.json by each judge; of the value, too."
    kind = KINDS[r['task'].split('+')[-1]]
    judges = ['judge', 'labeller'] + (['spacy'] if kind == 'PartsOfSpeech' else [])
    text = ' / '.join(pct(r['by'][j][kind]['success']) for j in judges)
    value = r['by']['judge'].get('SemanticContent') if '+' in r['task'] else None
    ours = r['method'] == 'diffusion'
    return text + (f' (value: {pct(value["success"])})' if value and ours else '')

def authors():
    "The authors' own targets."
    names = {'pos': 'parts of speech', 'spans': 'syntax spans',
             'semantic+pos': 'semantic content + parts of speech'}
    lines = []
    for task, name in names.items():
        theirs = row('authors', task=task, method='their sentences')
        for method, drafts in (('diffusion', ''), ('diffusion, 4 particles', ', best of 4')):
            ours = row('authors', task=task, method=method)
            if ours: lines.append([name + drafts + old(ours), by_judges(ours), by_judges(theirs),
                                   f'{ours["ratio"]:.2f}', f'{ours["distinct4_ratio"]:.2f}'])
    return table(['the authors’ targets', 'success, %',
                  'the people’s sentences they were read from',
                  'perplexity ÷ these sentences’', 'distinct-4 ÷ theirs'], lines)

def baselines():
    "All methods on shipped targets."
    lines = []
    for method, name in METHODS.items():
        cells = [name]
        for task in TASKS:
            r = row('baselines', task=task, method=method)
            var = r and f' ({r["distinct4"] / free()["distinct4"]:.2f})'
            cells.append(success(r, short=True) + (var or ''))
        lines.append(cells)
    return table(['success, % (variety)', 'semantic', 'POS', 'tree', 'spans', 'length',
                  'semantic + tree', 'semantic + POS'], lines)

def gaps():
    "ROUGE-L of all methods on the same gaps."
    names = dict(diffusion='diffusion', bart='BART', delorean='DELOREAN', bert='BERT',
                 cold='COLD, 300 iterations', ar='AR')
    names['ar-left'] = 'left-only'
    found = [row('gaps', method=m) for m in names]
    return table(['fifty gaps of E2E test texts, 3 to 8 words', *names.values()],
                 [['ROUGE-L of the gap ([results/gaps.json](results/gaps.json))',
                   *(f'{r["rouge_l"]:.1f}' for r in found)]])

def nats(r): return f'{r["nats_per_block_token"]:.2f}'

def judges():
    "How well the judges read, and the teacher's likelihood."
    def of(test, what):
        ours, other = (row('judges', job=f'{m}-{test}') for m in ('judge', 'labeller'))
        if ours[what] is None: return '–'
        return f'{pct(ours[what])}' + (' %' if what == 'tags' else '') + f' ({pct(other[what])})'
    t = row('judges', job='teacher-test')
    tests = ['ewt', 'gum', 'hundred']
    return table(
        ['judge', 'EWT test', 'GUM test', '100 restaurant texts annotated by hand'],
        [['tags of the judge (of the labeller, who taught the steering classifier)',
          *(of(x, 'tags') for x in tests)],
         ['labelled F1 of its trees', *(of(x, 'tree_f1') for x in tests)],
         ['teacher, nats a block token on E2E test',
          f'{nats(t)}, a Kneser-Ney 5-gram {nats(t["kneser_ney_5gram"])}', '', '']])

def shipped_weights():
    "What tells rows of the shipped model, as measure.py writes it."
    path = HERE / 'diffusion_lm_nb/weights/e2e/model.safetensors'
    return hashlib.sha256(path.read_bytes()).hexdigest()[:8]

def old(r): return '' if r.get('weights') == shipped_weights() else ' †' # of an earlier model

def without_judge():
    "Controls that need no judge, with more texts."
    base, lines = row('e2e', job='human'), []
    for job, name, paper in (
            ('free', 'no control', '–'), ('length', 'length, 10 to 40 words', '99.9 %'),
            ('semantic', 'semantic content, our way', '81.2 %'),
            ('semantic-classifier', 'semantic content, the paper’s way', '81.2 %'),
            ('human', 'people (E2E test texts)', '–')):
        r = row('e2e', job=job)
        met = '–' if r.get('success') is None else success(r)
        lines.append([name + (old(r) if job != 'human' else ''), f'{r["texts"]:,}', met, paper,
                      f'{r["ngram_ppl"] / base["ngram_ppl"]:.2f}', f'{r["distinct4_10k"]:.2f}',
                      f'{r["self_bleu"]:.2f}',
                      '–' if job == 'human' else f'{pct(r["in_train"])} %'])
    return table(['', 'texts', 'success', 'paper', 'perplexity ÷ people’s', 'distinct-4',
                  'self-BLEU', 'copied'], lines)

def many_gaps():
    "Infilling of 500 texts."
    names = {'infill': 'diffusion', 'infill-left-only': 'left context only',
             'infill-frequent': 'most frequent words'}
    found = {n: row('e2e', job=j) for j, n in names.items()}
    def dagger(r): return '' if r['job'] == 'infill-frequent' else old(r)  # it has no model
    return table(['500 E2E test texts, 3 to 8 words hidden', 'context kept',
                  'BLEU-4 of the whole text', 'ROUGE-L of the gap'],
                 [[n + dagger(r), f'{pct(r["context_kept"])} %', f'{r["bleu4"]:.1f}',
                   f'{r["rouge_l"]:.1f}'] for n, r in found.items()])

def anlg():
    "A sentence between two."
    names = {
        'diffusion, MBR of 6': '`roc-gaps` on a CPU (8.5M parameters, some hours),'
                               ' the most typical of six texts',
        'left-only, MBR of 6': 'the same, left context only',
        'another item': 'a person’s sentence for another item',
        'people': 'people, against each other'}
    keys = 'bleu4_gap', 'rouge_l', 'cider'
    lines = [[name, *(f'{row("anlg", method=m)[k]:.1f}' for k in keys)]
             for m, name in names.items()]
    lines.append(['paper: Diffusion-LM (left-only; AR)', '7.1 (0.9; 6.7)', '28.3 (16.3; 27.0)',
                  '30.7 (3.5; 26.9)'])
    return table([f'aNLG dev, {row("anlg", method="diffusion, MBR of 6")["n_targets"]} items: a sentence between two'
                  ' ([results/anlg.json](results/anlg.json))',
                  'BLEU-4 of the gap', 'ROUGE-L', 'CIDEr'], lines)

def nll():
    "The bound beside exact likelihoods, on the same texts."
    found = [row('e2e', job=f'nll-{split}') for split in ('test', 'valid')]
    def two(r): return f'{r["nats_per_block_token"]:.3f} ({r["nats_per_token"]:.3f})'
    size = found[0]['autoregressive']['parameters'] / 1e6
    return table(
        ['nats a block token (nats a word and END)', 'test', 'valid'],
        [['diffusion, at most (± one standard error)', *(
            f'{r["nats_per_block_token"]:.3f} ± {r["block_std_error"]:.3f}'
            f' ({r["nats_per_token"]:.3f} ± {r["std_error"]:.3f})' for r in found)],
         [f'autoregressive Transformer of {size:.1f}M parameters',
          *(two(r['autoregressive']) for r in found)],
         ['Kneser-Ney 5-gram', *(two(r['kneser_ney_5gram']) for r in found)]])

def gpu_step(kind): # '' or ', graphed'
    "Milliseconds of a training step on a GPU."
    trial = rows('gpu_jobs')[0]['results']['graph']
    return f'{1000 * trial["seconds a step" + kind]:.0f}'

def gpu_free(steps):
    "Seconds for 2,000 unguided texts of the shipped weights: the last run of the job."
    job = [r for r in rows('gpu_jobs') if r['job'] == 'e2e'][-1]
    return f'{job["parts"][f"free {steps} ancestral"]["seconds"]:.0f}'

def gpu_guided(task):
    "Seconds for ten guided steps of 512 texts."
    return f'{rows("gpu_jobs")[0]["parts"][f"512 {task}"]["seconds"]:.1f}'

def behind(split):
    "The bound minus the likelihood of the autoregressive Transformer, nats a block token."
    r = row('e2e', job=f'nll-{split}')
    return f'{r["nats_per_block_token"] - r["autoregressive"]["nats_per_block_token"]:.3f}'

def ar_size():
    "Millions of parameters of that Transformer."
    return f'{row("e2e", job="nll-test")["autoregressive"]["parameters"] / 1e6:.1f}'

def bench():
    "The released recipe beside ours."
    r, = rows('bench')
    t, g, m = r['train'], r['guided'], r['memory_mb']
    def quality(who): return (f'{g["success_" + who]:.2f}; {g["lm_score_" + who]:.2f};'
                              f' {g["distinct4_" + who]:.2f}')
    small = g['spread']['faithful_small']['median']
    return table(
        ['', 'released', 'ours', ''],
        [['training, words a second, 6 layers of width 192', f'{t["faithful"]:,.0f}',
          f'{t["ours"]:,.0f}', f'{t["ratio"]:.1f} ×'],
         ['50 guided texts, seconds; released way with the small classifier, which wrote the'
          ' judged texts †', f'{small:.0f}', f'{g["ours"]:.1f}', f'{small / g["ours"]:.1f} ×'],
         ['– their success; perplexity under the teacher; distinct-4', quality('faithful'),
          quality('ours'), ''],
         ['the same with a classifier of the model’s size as in the paper, untrained, one control'
          ' timed, no texts judged †', f'{g["faithful"]:.0f}', f'{g["ours"]:.1f}',
          f'{g["ratio"]:.0f} ×'],
         ['memory, training; guided sampling', f'{m["train_faithful"]:.0f};'
          f' {m["guided_faithful"]:.0f} MB',
          f'{m["train_ours"]:.0f}; {m["guided_ours"]:.0f} MB', '']])

def bench_float32():
    "Our training loop without bfloat16, in words a second over the released one's."
    r, = rows('bench')
    return f'{r["ablation"]["+ packed"]["ratio"]["median"]:.1f}'

def size(preset):
    "Millions of parameters of a model that `dlm-train` makes from this preset."
    from diffusion_lm_nb.commands import PRESETS
    from diffusion_lm_nb.fine_tuning import FineTuned, MARKS
    from diffusion_lm_nb.training import ARTransformer
    words = json.loads((HERE / 'diffusion_lm_nb/weights/e2e/config.json').read_text())['words']
    args = PRESETS[preset].model
    model = (FineTuned(words + MARKS, writable=len(words), **args) if 'task' in args
             else ARTransformer(words, **args))
    return f'{sum(p.numel() for p in model.parameters()) / 1e6:.1f}'

def dials_ratio(found):
    low, high = found['lm_interval']
    return f'{found["lm_ratio"]:.2f} ({low:.2f}–{high:.2f})'

def ancestral_ratio():
    "Perplexity of free texts by η = 1 in 50 steps, over people's validation texts."
    return dials_ratio(row('dials', solver='ddim', dial=1., steps=50, grid='even', temperature=1.))

def judged(task):
    "Which of a task's targets the table counts: for semantic content those without yes and no."
    n = row('baselines', task=task, method='diffusion')['n_targets']
    if task != 'semantic': return [True] * n
    from diffusion_lm_nb.reproduction import pick, read_targets, shipped_targets
    targets = pick(read_targets(shipped_targets('semantic'), 'semantic'), n) # as the protocol does
    return [c.value not in ('yes', 'no') for _, c in targets]

def over_targets(r):
    "Success and its interval over the targets that count; Wilson's where all succeed."
    own = [s for s, ok in zip(r['by_target'], judged(r['task']), strict=True) if ok]
    whole = min(own) == 1
    success = r['success'] if len(own) == len(r['by_target']) else sum(own) / len(own)
    return success, wilson_interval(len(own), len(own)) if whole else bootstrap(own)

def cell(r):
    "Success and its interval; perplexity, variety and seconds below."
    if r is None: return '–'
    success, (low, high) = over_targets(r)
    digits = 1 if high - low < .02 else 0
    unit, seconds = '' if r['task'] == 'tree' else ' %', r['seconds_per_50']
    return (f'{pct(success)}{unit} ({pct(low, digits)}–{pct(high, digits)})<br>'
            f'{r["lm_score"] / people():.2f} · {r["distinct4"] / free()["distinct4"]:.2f} ·'
            f' {seconds:.{int(seconds < 10)}f} s')

def small_table():
    "Five tasks by five methods."
    names = ['diffusion', 'diffusion-classifier', 'ft-sample', 'ft-search', 'ctrl-g']
    lines = [[TASKS[task].split(' (')[0],
              *(cell(row('baselines', task=task, method=m)) for m in names)]
             for task in ('semantic', 'pos', 'tree', 'spans', 'length')]
    return table(['', 'ours', 'the paper’s way', 'FT-sample', 'FT-search',
                  'constrained AR (Ctrl-G)'], lines)

FULL = {
    'diffusion': 'diffusion, our way', 'diffusion-classifier': 'the paper’s way',
    'diffusion-authors': 'with the authors’ numbers', 'ft-sample': 'FT-sample',
    'ft-search': 'FT-search', 'ft-poe': 'FT-PoE', 'fudge': 'FUDGE', 'gedi': 'GeDi',
    'grid-beam': 'grid beam search', 'ctrl-g': 'Ctrl-G'}

def counted(task):
    "As `judged`, for rows of protocol.json, which are sorted by their targets."
    if task != 'semantic': return None
    from diffusion_lm_nb.reproduction import read_targets, shipped_targets
    targets = read_targets(shipped_targets(task), task)
    targets.sort(key=lambda t: json.dumps(t[0], sort_keys=True))
    return [c.value not in ('yes', 'no') for _, c in targets]

def full_success(r):
    "Success of a row of protocol.json over the targets that count, and its interval."
    own, which = r['by_target'], counted(r['task'])
    if which: own = [s for s, ok in zip(own, which, strict=True) if ok]
    whole = min(own) == 1
    return sum(own) / len(own), wilson_interval(len(own), len(own)) if whole else bootstrap(own)

def full_cell(r):
    "Success, perplexity over people's, both with intervals, and variety over people's."
    if r is None: return '–'
    success, (low, high) = full_success(r)
    least, most = r['lm_interval']
    return (f'{pct(success)} ({pct(low)}–{pct(high)})<br>{r["lm_ratio"]:.2f}'
            f' ({least:.2f}–{most:.2f}) · {r["distinct4_ratio"]:.2f}')

def full_table():
    "All targets, ten texts each, with the same judge."
    tasks = 'semantic', 'pos', 'tree', 'spans', 'length', 'semantic+pos'
    lines = [[name, *(full_cell(row('protocol', task=t, method=m, authors_targets=False))
                      for t in tasks)] for m, name in FULL.items()]
    return table(['', 'semantic', 'POS', 'tree', 'spans', 'length', 'semantic + POS'], lines)

def authors_full(task):
    "Success and perplexity of ten texts for each of the authors' targets, with intervals."
    r = row('protocol', task=task, method='diffusion', authors_targets=True)
    (low, high), (least, most) = r['interval'], r['lm_interval']
    return (f'{pct(r["success"])} % ({pct(low)}–{pct(high)}), at {r["lm_ratio"]:.2f}'
            f' ({least:.2f}–{most:.2f}) times the perplexity')

def full_paired(task, other, method='diffusion'):
    "A method minus another, on all targets, in points, with its bootstrap interval."
    pair = [row('protocol', task=task, method=m, authors_targets=False)['by_target']
            for m in (method, other)]
    which = counted(task) or [True] * len(pair[0])
    gaps = [100 * (a - b) for a, b, ok in zip(*pair, which, strict=True) if ok]
    low, high = bootstrap(gaps)
    return minus(f'{sum(gaps) / len(gaps):+.1f} ({low:+.1f} to {high:+.1f})')

def of_pair(what):
    "What part of a value and tags is met by ours, by FUDGE, and by two FT models multiplied."
    found = [pct(row('protocol', task='semantic+pos', method=m, authors_targets=False)[what])
             for m in ('diffusion', 'fudge', 'ft-poe')]
    return f'{found[0]}, {found[1]} and {found[2]} %'

def words_in_sets():
    "Mean number of words of a text: the smallest and the largest of the sets of the tables."
    shown = 'diffusion', 'diffusion-classifier', 'ft-sample', 'ft-search', 'fudge', 'ctrl-g'
    found = [r['mean_words'] for r in rows('baselines')
             if r['method'] in shown and r['task'] in TASKS]
    return f'{min(found):.0f} to {max(found):.0f}'

def weights_size(name):
    "Millions of parameters of a shipped classifier, as its card says."
    card = (HERE / f'diffusion_lm_nb/weights/{name}/README.md').read_text(encoding='utf8')
    return re.search(r'([\d.]+)M parameters', card)[1]

def widest_rare():
    "The rare value whose ratio has the highest upper end."
    high = max((r for r in rows('rare') if 'value' in r), key=lambda r: r['ratio_interval'][1])
    return f'the interval of {high["value"]} reaches {high["ratio_interval"][1]:.2f}'

def rival(name, what='steps'):
    "Of the training of a rival on a GPU, as results/gpu_jobs.json has it: the weights kept."
    found = next(r for r in rows('gpu_jobs') if r['job'] == 'rivals')['results']
    if what == 'size': return f'{found[name]["parameters"] / 1e6:.1f}'
    best = min(found[f'{name} curve'], key=lambda c: c['valid'])
    return f'{best["step"]:,}' if what == 'steps' else f'{best["seconds"]:.0f}'

def xlm_size(): # millions of parameters
    return f'{row("language_models", job="masked", model="e2e-xlm")["parameters"] / 1e6:.1f}'

def sweep_gap(method, **setting):
    "ROUGE-L of a setting on the ten gaps of the sweep."
    found, = [r for r in rows('baselines_sweep') if r['task'] == 'infill'
              and r['method'] == method and r['setting'] == setting]
    return f'{found["rouge_l"]:.1f}'

def cold_minutes():
    "For 50 texts with the authors' number of iterations, in the sweep."
    found, = [r for r in rows('baselines_sweep') if r['task'] == 'infill'
              and r['method'] == 'cold' and r['setting'] == {}]
    return f'{found["seconds_per_50"] / 60:.0f}'

def gap(method, interval=False):
    "ROUGE-L of the fifty gaps."
    r = row('gaps', method=method)
    low, high = bootstrap(r['by_target'])
    return f'{r["rouge_l"]:.1f}' + (f' ({low:.0f}–{high:.0f})' if interval else '')

def hand_gap(method):
    "BLEU-4 of the ten gaps that were written by hand."
    return f'{row("baselines", task="infill", method=method)["bleu4"]:.1f}'

def gap_paired(other):
    "ROUGE-L of diffusion's gaps minus another method's, gap by gap, with its interval."
    pair = [row('gaps', method=m)['by_target'] for m in ('diffusion', other)]
    each = [a - b for a, b in zip(*pair, strict=True)]
    low, high = bootstrap(each)
    return minus(f'{sum(each) / len(each):+.1f} ({low:+.1f} to {high:+.1f})')

def texts_read(name):
    "Millions of texts that a training had read up to the weights kept, repeats counted."
    if name == 'diffusion': # both runs, the second up to its best step
        found = [r['results']['train'] for r in rows('gpu_jobs') if r['job'] == 'e2e']
        return f'{sum(r["best_step"] * r["batch_size"] for r in found) / 1e6:.1f}'
    found = next(r for r in rows('gpu_jobs') if r['job'] == 'rivals')['results']
    best = min(found[f'{name} curve'], key=lambda c: c['valid'])
    return f'{best["step"] * found[name]["batch_size"] / 1e6:.2f}'

def authors_fluency(task):
    "Perplexity of ten texts for each of the authors' targets, over people's, with its interval."
    r = row('protocol', task=task, method='diffusion', authors_targets=True)
    low, high = r['lm_interval']
    return f'{r["lm_ratio"]:.2f} ({low:.2f}–{high:.2f})'

def before(figure, particles=''):
    "Of the authors' tags with the model before this one."
    r = row('authors_before', task='pos', method=f'diffusion{particles}')
    return f'{r[figure]:.2f}'

def bound(split):
    "Nats a block token, and their standard error."
    r = row('e2e', job=f'nll-{split}')
    return f'{r["nats_per_block_token"]:.3f} ± {r["block_std_error"]:.3f}'

def five_gram_paired(split):
    "The bound minus a Kneser-Ney 5-gram, text by text, nats a block token, with its interval."
    r = row('e2e', job=f'nll-{split}')['kneser_ney_5gram']
    ends = (r['bound_minus_it'] + k * 1.96 * r['bound_minus_it_error'] for k in (-1, 1))
    low, high = ends
    if split == 'test': assert low < 0 < high # so the text
    return minus(f'{r["bound_minus_it"]:+.3f} ({low:+.3f} to {high:+.3f})')

def small_gpt(what):
    "Of the GPT of chapter 13: millions of parameters, or nats a block token on all test texts."
    r = row('language_models', job='likelihood', model='e2e-gpt')
    return f'{r["parameters"] / 1e6:.1f}' if what == 'parameters' else nats(r)

def surer_ratio():
    "Perplexity of free texts by the share of fresh noise that steered texts have."
    return dials_ratio(row('dials', solver='renoise', dial=dial('steered_share'), steps=50,
                           texts=512, grid='even', temperature=dial('temperature')))

def cooled_ratio():
    "As `ancestral_ratio`, with the temperature of the default solver: the same steps, cooled."
    assert dial('share') == 0 # a share of 0 is η = 1
    return dials_ratio(row('dials', solver='ddim', dial=1., steps=50, grid='even', texts=512,
                           temperature=dial('temperature')))

def over_test():
    "The same in the unit of the tables: over people's test texts."
    return f'{free()["lm_score"] / people():.2f}'

def most_repeats(method='diffusion'):
    "The largest share of texts in which a word follows itself, over the controls of a method."
    return max(r['repeats'] for r in rows('cpu') if r['method'] == method and 'repeats' in r)

def second_reader(task):
    "Points by which the labeller's success is below the judge's."
    r = row('cpu', task=task, method='diffusion')
    return f'{100 * (r["success"] - r["success_labeller"]):.1f}'

def second(task, method):
    "What the labeller finds of a task's targets."
    return pct(row('cpu', task=task, method=method)['success_labeller'])

def second_interval():
    "Wilson's, of the target spans that the labeller finds in people's sentences, one a target."
    n = row('cpu', task='spans', method='diffusion')['n_targets']
    found = row('cpu', task='spans', method='their sentences')['success_labeller'] * n
    low, high = wilson_interval(round(found), n)
    return f'{pct(low, 0)} to {pct(high, 0)}'

SAMPLED = dict(FULL, **{'diffusion': 'diffusion, our way', 'pplm': 'PPLM, bag of words'})

def samples(task):
    "The texts of all methods for two targets of a task, with whether each is satisfied."
    found, parts = [r for r in rows('samples') if r['task'] == task], []
    for target in dict.fromkeys(r['target'] for r in found):
        lines = [[SAMPLED[r['method']], met(r), r['text'] or '*(a copy of a text of the corpus)*']
                 for r in found if r['target'] == target]
        parts.append(f'`{target}`\n\n' + table(['method', 'met', 'text'], lines))
    return '\n\n'.join(parts)

def met(r):
    "Is the target met, in a cell: a sign, or a share where a part can be met."
    if r['task'] in ('pos', 'tree'): return f'{100 * r["success"]:.0f} %'
    return '✓' if r['success'] == 1 else '✗'

def rendered(template):
    "The text of a page; in docs/ its links lead one folder up."
    text = template.read_text()
    text = re.sub(r'\{\{(.+?)\}\}', lambda m: str(eval(m[1], globals())), text)
    if PAGES[template].parent == HERE: return text
    return re.sub(r'\]\((?!https?:|#)', '](../', text)

def main():
    for template, page in PAGES.items():
        text = rendered(template)
        if '--check' in sys.argv:
            if text != page.read_text():
                sys.exit(f'{page.name} differs from the rows of results/:'
                         ' python scripts/readme.py')
        else: page.write_text(text)

if __name__ == '__main__': main()

"The page that runs the model in a browser: its JavaScript against the package, in parts and whole."
import json, os, re, shutil, signal, subprocess, sys, threading, time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
import pytest, torch
from diffusion_lm_nb import BadInput, DiffusionLM, Infill, Length, SemanticContent
from diffusion_lm_nb.corpora import E2E_VALUES, tokenise
from diffusion_lm_nb.guidance import parts_of
from diffusion_lm_nb.distillation import DistilledLM
from diffusion_lm_nb.loss import keyed_generator
from diffusion_lm_nb.sampling import time_grid
from diffusion_lm_nb.solvers import Renoise

repo = Path(__file__).parents[1]
sys.path.insert(0, str(repo/'scripts'))
import browser
sys.path.pop(0)

NODE, NPM = shutil.which('node'), shutil.which('npm')
CHROMIUM = shutil.which('chromium') or shutil.which('google-chrome')
ONNX = all(map(find_spec, ('onnx', 'onnxscript', 'onnxruntime')))
needs_node = pytest.mark.skipif(not NODE, reason='no node here')

@pytest.fixture(scope='module')
def lm(): return DiffusionLM.from_pretrained('e2e').float().eval()

@pytest.fixture(scope='module')
def config(lm): return browser.settings(lm, repo/'diffusion_lm_nb/weights/e2e')

@pytest.fixture(scope='module')
def node(tmp_path_factory):
    "A function: the lines of a program, and data `d` for it -> what it put into `out`."
    folder = tmp_path_factory.mktemp('node')
    for f in (repo/'docs/browser').glob('*.js'): shutil.copy(f, folder)
    (folder/'package.json').write_text('{"type": "module"}')
    modules = ['text', 'noise', 'phrase', 'sampler', 'gaps', 'model']
    head = ''.join(f'import * as _{m} from "./{m}.js";\n' for m in modules)
    head += f'Object.assign(globalThis, {", ".join("_" + m for m in modules)});\n'
    def run(program, **d):
        (folder/'run.js').write_text(f'''{head}
            import {{ readFileSync, writeFileSync }} from "node:fs";
            const d = JSON.parse(readFileSync("data.json", "utf8"), (k, v) =>
              v === "-inf" ? -Infinity : v), out = {{}};
            const plain = u => ArrayBuffer.isView(u) ? [...u] : u;
            {program}
            const json = (k, v) => v === -Infinity ? "-inf" : plain(v);
            writeFileSync("out.json", JSON.stringify(out, json));
            ''', encoding='utf8')
        data = json.dumps(d).replace('-Infinity', '"-inf"')
        (folder/'data.json').write_text(data, encoding='utf8')
        done = subprocess.run([NODE, 'run.js'], cwd=folder, capture_output=True, text=True,
                              timeout=120)
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads((folder/'out.json').read_text(encoding='utf8'))
    return run

def numbers(u): return u.flatten().tolist()
def close(found, expected, **tolerance):
    found = torch.tensor([-float('inf') if u == '-inf' else u for u in found], dtype=torch.float64)
    torch.testing.assert_close(found, expected.flatten().double(), **tolerance)

# --- words -----------------------------------------------------------------

@needs_node
def test_words_have_the_ids_of_the_package(node, lm):
    words = ['The', 'the', 'THE', 'Eagle', 'zebra', 'START', 'PAD', 'UNK', 'Cafe\u0301', 'Café',
             '’s', "'s", '\u200eThe', '£', '.', '', 'constructor', '__proto__']
    out = node('''const v = new Vocab(d.all);
        out.known = d.words.map(w => v.known(w)); out.id = d.words.map(w => v.idOf(w))''',
               all=lm.vocab.words, words=words)
    assert out['known'] == [lm.vocab.known(w) for w in words]
    assert out['id'] == [lm.vocab.id_of(w) for w in words]
    assert len(set(out['known'])) > 5

SENTENCES = [
    "It isn't the pub's fault; they've a £20-25 menu.", 'A family-friendly place, near Café Rouge!',
    'Rated 3.5 out of 5 ... really?', 'Price: less than £20.', 'more than £30',
    "St. Mary's is 'nice' -- or so they say", 'A 1 out of 5 rating, and a 1,000 reasons.',
    'The Twenty-Two', "we'll", 'über-nett (ja)',
    'Cafe\u0301 Brazil', '20- 25', 'x -y', 'a_b c.d']

@needs_node
def test_text_is_split_as_the_package_splits_it(node):
    out = node('out.words = d.map(tokenise)'.replace('d.map', 'd.texts.map'), texts=SENTENCES)
    assert out['words'] == [tokenise(t) for t in SENTENCES]

GAPS = ['The Eagle is a ___{4} near Burger King .', '___{2} serves cheap food .',
        'The Punter ___{6}', 'There is a ___{1} called Zebra ___{3} in the city centre .',
        'THE cafe ___{5} , near ___{2} .']

@needs_node
@pytest.mark.parametrize('text', GAPS)
def test_gaps_are_read_as_the_package_reads_them(node, lm, text):
    out = node('''const v = new Vocab(d.all), found = readGaps(d.text, v, 62);
        const r = layOut(found.parts, found.sizes);
        out.known = knownTokens(r, v); out.words = r.given.map(g => [g.at, g.word]);
        out.unknown = found.unknown''', all=lm.vocab.words, text=text)
    r = lm.request(0, 0, Infill.parse(text))
    assert out['known'] == r.known and dict(out['words']) == r.given
    assert out['unknown'] == [w for w in r.given.values() if lm.vocab.known(w) == lm.vocab.unk]

@needs_node
def test_signs_beside_a_word_are_split_off(node, lm):
    out = node('''const v = new Vocab(d.all);
        out.words = readWords("near Burger King, zebra's.", v);
        out.phrase = readPhrase("CHEAP Sushi, indian", v)''', all=lm.vocab.words)
    assert out['words'] == ['near', 'Burger', 'King', ',', "zebra's."]
    assert [lm.vocab.words[i] for i in out['phrase']] == ['cheap', 'Sushi', ',', 'Indian']

@needs_node
@pytest.mark.parametrize('call, said', [
    ('readPhrase("cheap suhsi", v)', '“suhsi” is a word that the model does not know.*sushi'),
    ('readPhrase("qqqqqqqqqqqq", v)', 'cannot write it.$'), ('readPhrase("  ", v)', 'empty'),
    ('readPhrase("<b>", v)', '“<b>” is a word that'),
    ('readGaps("The Eagle", v, 62)', 'no gap in the text'),
    ('readGaps("", v, 62)', 'no gap in the text'),
    ('readGaps("a ____ b", v, 62)', r'“____” is no gap.*___\{3\}'),
    ('readGaps("___ ___{62}", v, 62)', '63 words'),
    ('readGaps("a ___{0}", v, 62)', 'is no gap'), ('readGaps("a ___{-1}", v, 62)', 'is no gap'),
    ('readGaps("a ___{2}.", v, 62)', 'with spaces around it'),
    ('readGaps("a ___{62}", v, 62)', '63 words'),
    ('readGaps("a ___{99999999999}", v, 62)', 'the model writes 1 to 62')])
def test_what_cannot_be_done_gets_one_clear_line(node, lm, call, said):
    out = node(f'''const v = new Vocab(d.all);
        try {{ {call}; out.said = "nothing" }}
        catch (e) {{ out.said = e.message; out.ours = e instanceof InputError }}''',
               all=lm.vocab.words)
    assert re.search(said, out['said']) and out['ours'] and '\n' not in out['said'], out

@needs_node
def test_edit_distance_by_hand(node):
    pairs = [['', 'abc'], ['cheap', 'cheap'], ['suhsi', 'sushi'], ['pub', 'public'], ['a', '']]
    out = node('out.d = d.pairs.map(p => editDistance(...p))', pairs=pairs)
    assert out['d'] == [3, 0, 2, 3, 1]

# --- random numbers --------------------------------------------------------

def xoshiro(state, n): # the published algorithm once more
    s, out, low = list(state), [], 0xffffffff
    turn = lambda u, k: (u << k | u >> (32 - k)) & low
    for _ in range(n):
        out.append(turn(s[1] * 5 & low, 7) * 9 & low)
        t = s[1] << 9 & low
        s[2] ^= s[0]; s[3] ^= s[1]; s[1] ^= s[2]; s[0] ^= s[3]; s[2] ^= t; s[3] = turn(s[3], 11)
    return out

@needs_node
def test_the_generator_is_xoshiro_and_its_numbers_are_normal(node):
    out = node('''const r = new Random(7); out.state = r.state.slice();
        out.ints = Array.from({ length: 50 }, () => r.next());
        out.z = new Random(1).normals(20000); out.again = new Random(1).normals(5);
        out.other = new Random(2).normals(5); out.states = [0, 1, 2, 2 ** 32 - 1].map(seedState)''')
    assert out['ints'] == xoshiro(out['state'], 50)
    z = torch.tensor(out['z'])
    assert abs(z.mean()) < .03 and abs(z.var() - 1) < .04 and abs((z ** 4).mean() - 3) < .25
    assert abs((z[1:] * z[:-1]).mean()) < .03
    assert out['again'] == out['z'][:5] != out['other']
    assert len({tuple(s) for s in out['states']}) == 4 and all(any(s) for s in out['states'])

@needs_node
def test_lengths_are_drawn_as_often_as_in_the_package(node, lm, config):
    out = node('''out.p = [1, 3, 60].map(n => lengthProbs(d.counts, n));
        out.none = lengthProbs([1, 1, 0, 0], 2);
        const p = lengthProbs(d.counts, 3);
        out.n = [0, .2, .5, .9999999].map(u => draw(p, u))''', counts=config['length_counts'])
    for least, p in zip([1, 3, 60], out['p']):
        expected = lm.length_probs.clone()
        expected[:least] = 0
        close(p, (expected / expected.sum())[:len(p)], atol=1e-6, rtol=1e-5)
    assert out['none'] == [0, 0, 1, 0]         # as `draw_length`: `least`, if nothing is left
    sums = torch.tensor(out['p'][1]).cumsum(0)
    for u, n in zip([0, .2, .5, .9999999], out['n']):
        assert (sums[n - 1] if n else 0) <= u + 1e-6 and u < sums[n] + 1e-6 and n >= 3

# --- the phrase ------------------------------------------------------------

PHRASES = [('food', 'French'), ('near', 'Burger King'), ('name', 'Travellers Rest Beefeater'),
           ('family friendly', 'yes'), ('family friendly', 'no'), ('price', 'less than £ 20'),
           ('name', 'the the of')]

def marginals(lm, n, sharp=1.0, seed=0): # log p with known START and END, as `steer` hands it on
    gen = keyed_generator(seed, n)
    logits = sharp * torch.randn(1, n + 2, len(lm.vocab), generator=gen)
    known = torch.tensor([[lm.vocab.start] + [-1] * n + [lm.vocab.end]])
    return (logits + lm.logit_bias(known)).log_softmax(-1)

@needs_node
@pytest.mark.parametrize('field, value', PHRASES)
def test_phrase_probability_and_marginals_are_the_packages(node, lm, field, value):
    c = SemanticContent(field, value).bind(lm)
    for n, sharp in ((len(c.ids[0]) + 1, 1.), (14, 3.)):
        logp = marginals(lm, n, sharp)
        out = node('''const logp = Float32Array.from(d.logp);
            const p = phraseLogProb(logp, d.V, d.phrases);
            out.p = p.logP; out.q = phrasePosterior(logp, d.V, d)''',
                   logp=numbers(logp), V=len(lm.vocab), phrases=c.ids, avoid=c.avoid)
        from diffusion_lm_nb.guidance import phrase_log_prob
        assert out['p'] == pytest.approx(phrase_log_prob(logp, [c.ids]).item(), abs=2e-4)
        q = c.posterior(logp, None)
        assert (q - logp.exp()).abs().max() > .1           # the phrase does change something
        close(out['q'], q, atol=2e-4, rtol=2e-3)

@needs_node
def test_a_phrase_has_a_place_or_none(node):
    "By hand: ids of the words, −1 where a word is open."
    cases = [([[5, 6]], [0, -1, -1, 1], True), ([[5, 6]], [0, 5, -1, 1], True),
             ([[5, 6]], [0, -1, 5, 1], False), ([[5, 6]], [0, -1, 1], False),
             ([[5, 6], [7]], [0, -1, 1], True), ([[7]], [0, 7, 1], True), ([[7]], [0, 2, 1], False)]
    out = node('out.can = d.cases.map(([p, known]) => canStand(p, known))', cases=cases)
    assert out['can'] == [c[-1] for c in cases]

@needs_node
def test_phrase_marginals_by_enumeration(node):
    "Three positions, three words: all 27 texts."
    p = torch.rand(3, 3, generator=keyed_generator(3)).softmax(-1)
    texts = torch.cartesian_prod(*[torch.arange(3)] * 3)
    weight = p[0][texts[:, 0]] * p[1][texts[:, 1]] * p[2][texts[:, 2]]
    says = lambda t, f: any(t[k:k + len(f)] == f for k in range(4 - len(f)))
    for phrases, avoid in (([[1, 1]], []), ([[0, 1], [2]], []), ([[1]], [[2, 1]])):
        yes = torch.tensor([any(says(t, f) for f in phrases) and not any(says(t, f) for f in avoid)
                            for t in texts.tolist()])
        w = weight * yes
        expected = torch.stack([w[texts[:, n // 3] == n % 3].sum() for n in range(9)])
        out = node('out.q = phrasePosterior(Float32Array.from(d.logp), 3, d)',
                   logp=numbers(p.log()), phrases=phrases, avoid=avoid)
        close(out['q'], expected / w.sum(), atol=1e-5, rtol=1e-4)

# --- schedule, solver, loop ------------------------------------------------

@needs_node
def test_schedule_times_and_solver_steps(node, lm, config):
    gen = keyed_generator(5)
    x, x0, z = torch.randn(3, 1, 4, lm.dim, generator=gen)
    t, s, shares = [1., .5, .02, .8], [.98, .3, 0., .8], [0., .4, 1.]
    out = node('''const γ = new Entropic(d.schedule); out.γ = d.t.map(t => γ.logSnr(t));
        out.coefs = d.t.flatMap(t => γ.coefs(t));
        out.least = d.t.map((t, i) => leastVariance(d.s[i], t, γ));
        out.grid = [1, 7, 50, 200].map(timeGrid);
        const row = (u, i) => Float32Array.from(u[i]);
        out.x = d.shares.map(share => d.t.flatMap((t, i) =>
          [...renoise(row(d.x, i), row(d.x0, i), d.s[i], t, γ, share, row(d.z, i))]))''',
        schedule=config['schedule_args'], t=t, s=s, shares=shares,
        x=x[0].tolist(), x0=x0[0].tolist(), z=z[0].tolist())
    t, s = torch.tensor([t]), torch.tensor([s])
    close(out['γ'], lm.schedule.log_snr(t.double()), atol=1e-6, rtol=1e-6)
    close(out['coefs'], torch.cat(lm.schedule.coefs(t), -1), atol=1e-6, rtol=1e-5)
    close(out['least'], Renoise(0).moments(x, x0, s, t, lm.schedule)[1], atol=1e-6, rtol=1e-5)
    for steps, grid in zip([1, 7, 50, 200], out['grid']):
        close(grid, time_grid(steps), atol=1e-7, rtol=0)
    for share, found in zip(shares, out['x']):
        close(found, Renoise(share).step(x, x0, s, t, lm.schedule, z), atol=2e-5, rtol=1e-5)

@needs_node
def test_cooling_bans_and_estimates(node, lm, config):
    gen, v = keyed_generator(6), lm.vocab
    logp = (3 * torch.randn(1, 5, len(v), generator=gen)).log_softmax(-1)
    known, times = [v.start, -1, v.ids['pub'], -1, v.end], [1., .9, 0., .3, .8]
    out = node('''const l = Float32Array.from(d.logp), v = new Vocab(d.words), V = d.words.length;
        cool(l, V, d.times, d); allow(l, V, d.known, v);
        const p = l.map(Math.exp); out.p = p; out.l = [...l];
        out.x0 = meanEmbedding(p, V, Float32Array.from(d.E), d.dim);
        out.read = readOff(l, V, { nWords: 3, given: [{ at: 1, word: "PUB" }] }, v);
        out.context = putContext(new Float32Array(5 * d.dim), [{ at: 1, id: d.known[2] }],
          Float32Array.from(d.E), d.dim)''',
        logp=numbers(logp), known=known, times=numbers(torch.tensor(times)),
        E=numbers(lm.emb.E), **config)
    cold = lm.make_solver('renoise').cool(logp, torch.tensor([times]))
    assert (cold[0, 3] != logp[0, 3]).any() and (cold[0, 1] == logp[0, 1]).all()
    expected = (cold + lm.logit_bias(torch.tensor([known]))).log_softmax(-1)
    close(out['l'], expected, atol=2e-5, rtol=1e-5)
    close(out['x0'], expected.exp() @ lm.emb.E, atol=2e-5, rtol=1e-4)
    p, ids = expected[0, 1:4].exp().topk(4)
    assert out['read'][1] == dict(word='PUB', p=1, rest=[])
    for row in (0, 2):
        read = out['read'][row]
        found = [(read['word'], read['p']), *map(tuple, read['rest'])]
        best = [(v.words[i], q) for i, q in zip(ids[row].tolist(), p[row].tolist())]
        kept = best[:1] + [(w, q) for w, q in best[1:] if q >= .005]
        assert [w for w, _ in found] == [w for w, _ in kept]
        close([q for _, q in found], torch.tensor([q for _, q in kept]), atol=1e-5, rtol=1e-4)
    context = torch.zeros(5, lm.dim)
    context[2] = lm.emb.E[known[2]]
    close(out['context'], context, atol=1e-6, rtol=1e-5)

class Alone(DiffusionLM):
    "The loop without the network: evidence, some of the neighbour's, a little of the last x̂_0."
    def predict(self, x, t, mask=None, self_cond=None):
        own = self.evidence(x, t)
        logits = own + .3 * own.roll(1, 1) + self.prior
        if self_cond is not None: logits = logits + .1 * self_cond @ self.emb.E.T
        logp = logits.log_softmax(-1)
        return logp, logp.exp() @ self.emb.E

HEAD, LOOP = '''const v = describe(d, Float32Array.from(d.E)), V = d.words.length, { dim, E } = v;
  v.predict = async (x, times, scale, last) => {
    const out = new Float32Array(times.length * V);
    times.forEach((t, i) => { for (let w = 0; w < V; w++) {
      let e = 0, c = 0, b = 0;
      const at = (i || times.length) - 1; // the position before
      for (let k = 0; k < dim; k++) {
        e += x[i * dim + k] * E[w * dim + k];
        b += x[at * dim + k] * E[w * dim + k];
        if (last) c += last[i * dim + k] * E[w * dim + k];
      }
      out[i * V + w] = e * scale[i] + .3 * b * scale[at] + .1 * c + d.prior[w];
    } });
    return logSoftmax(out, V);
  };''', '''
  let at = 0;
  const noise = n => Float32Array.from(d.noise.slice(at, at += n));
  out.steps = [];
  for await (const s of sample(v, d.request, d.steps, noise))
    out.steps.push({ t: s.t, x: [...s.x], text: s.words.map(w => w.word).join(" ") });
  out.used = at'''

ALONE = HEAD + LOOP

def task(lm, control=None, n_words=None, seed=0, index=0, steps=50):
    "The request as the page has it; the package's own noise for it, (steps + 1, positions, dim)."
    r = lm.request(index, seed, control, n_words)
    n, L = len(r.known), min(lm.length, -(-len(r.known) // 16) * 16)
    noise = torch.stack([torch.randn(L, lm.dim, generator=r.gen) for _ in range(steps + 1)])[:, :n]
    given = [dict(at=i, word=w, id=lm.vocab.known(w)) for i, w in r.given.items()]
    phrase = None
    for c in parts_of(control):
        if isinstance(c, SemanticContent): phrase = dict(phrases=c.ids, avoid=c.avoid)
    return dict(nWords=n - 2, given=given, phrase=phrase), noise

CONTROLS = {'free': lambda: None, 'gap': lambda: Infill.parse(GAPS[0]),
            'unknown word': lambda: Infill.parse(GAPS[3]),
            'phrase': lambda: SemanticContent('near', 'Burger King'),
            'phrase in a gap': lambda: Infill.parse(GAPS[0]) & SemanticContent('food', 'French'),
            'phrase and length': lambda: SemanticContent('food', 'French') & Length(9),
            'avoid': lambda: SemanticContent('family friendly', 'yes')}

@needs_node
@pytest.mark.parametrize('kind', ['renoise', 'ddim'])
@pytest.mark.parametrize('name', CONTROLS)
def test_the_loop_step_by_step_without_the_network(node, lm, config, name, kind, monkeypatch):
    alone, control = Alone.from_pretrained('e2e').float().eval(), CONTROLS[name]()
    alone.share = .3                                       # the shipped 0 would hide a wrong share
    if kind == 'ddim': # a student's solvers (chapter 17d)
        monkeypatch.setattr(Alone, 'make_solver', DistilledLM.make_solver)
    request, noise = task(alone, control, seed=4, steps=10)
    out = node(ALONE, request=request, noise=numbers(noise), E=numbers(lm.emb.E),
               prior=numbers(alone.prior), **config | dict(share=.3, free_solver=kind, steps=10))
    steps = list(alone.trajectory(4, 0, control, steps=10, batch_size=1))
    assert len(out['steps']) == len(steps) == 11 and out['used'] == noise.numel()
    for found, step in zip(out['steps'], steps):
        close([found['t']], torch.tensor([step.t]), atol=1e-6, rtol=0)
        close(found['x'], step.x, atol=2e-3, rtol=2e-3)
    assert out['steps'][-1]['text'] == steps[-1].text

OPEN = [('The Eagle is a ___ near Burger King .', [3], 0), ('___ serves cheap food .', [3], 0),
        ('There is a ___{2} called Zebra ___ in the city centre .', [2, 3], 1),
        ('a ' * 58 + '___ .', [3], 0)]           # no room for more than three words

@needs_node
@pytest.mark.parametrize('text, sizes, k', OPEN)
def test_sizes_of_open_gaps_have_the_packages_probabilities(node, lm, config, text, sizes, k):
    "With the noise and the times of the package, and the network of the test above."
    alone = Alone.from_pretrained('e2e').float().eval()
    expected = alone.gap_size_probs(Infill.parse(text), sizes, k)
    gen = keyed_generator(0, 77)                   # as there
    steps = ((torch.arange(12) + torch.rand(12, generator=gen)) / 12 * 200).floor()
    noise = alone.forward_noise(12, lm.length + len(expected), gen)
    out = node(HEAD + '''
        const noise = d.tables.map(u => Float32Array.from(u));
        const { parts } = readGaps(d.text, v.vocab, 62);
        out.p = await gapSizeProbs(v, parts, d.sizes, d.k, d.i, noise);
        out.i = stratified(() => .5)''', E=numbers(lm.emb.E), prior=numbers(alone.prior),
        tables=[numbers(u) for u in noise], text=text, sizes=sizes, k=k, i=steps.int().tolist(),
        **config)
    assert len(expected) == (3 if text.startswith('a a') else 10) and expected.max() < .99
    close(out['p'], expected, atol=2e-3, rtol=2e-2)
    assert out['i'] == [int((k + .5) / 12 * 200) for k in range(12)]

# --- the folder, and the page in a browser ---------------------------------

def test_sources_fetch_nothing_from_elsewhere():
    for f in (repo/'docs/browser').iterdir():
        text = f.read_text(encoding='utf8')
        assert not re.search(r'(?:https?:)?//(?:[\w-]+\.)+\w{2,}', text), f.name
        assert 'innerHTML' not in text and 'eval(' not in text, f.name
    page = (repo/'docs/browser/index.html').read_text(encoding='utf8')
    assert "default-src 'none'" in page and "connect-src 'self'" in page

def test_javascript_reads_well():
    for f in (repo/'docs/browser').iterdir():
        lines = f.read_text(encoding='utf8').splitlines()
        assert max(map(len, lines)) <= 100, f.name
        if f.suffix != '.js': continue
        begun = None
        for n, line in enumerate(lines):
            if re.match(r'(?:export )?(?:async )?function|  \w+\(.*\) \{$', line): begun = n
            if begun is not None and re.match(r'\}|  \}$', line):
                assert n - begun < 40, f'{f.name}, line {begun + 1}'
                begun = None

def test_all_values_of_the_list_can_be_written(lm, config):
    assert len(config['values']) == sum(len(v.split('|')) for v in E2E_VALUES.values())
    for v in config['values']:
        control = SemanticContent(v['field'], v['value'])
        said = [' '.join(lm.vocab.words[i] for i in p) for p in v['phrases']]
        assert all(control.check(s.split()) for s in said) or v['field'] == 'family friendly', v

def test_what_is_missing_is_said_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(browser, 'find_spec', lambda name: None if name == 'onnx' else True)
    assert browser.main([]) == 2
    said = capsys.readouterr().err
    assert 'pip install onnx' in said and said.count('\n') == 1
    monkeypatch.setattr(browser, 'find_spec', lambda name: True)
    monkeypatch.setattr(browser.shutil, 'which', lambda name: None)
    assert browser.main([]) == 2 and 'Node.js' in capsys.readouterr().err

@pytest.fixture(scope='module')
def built(tmp_path_factory):
    "The page's folder, as the command writes it, and what it printed."
    if not ONNX: pytest.skip('onnx, onnxscript or onnxruntime is not installed')
    if not NPM: pytest.skip('no npm here')
    try: browser.runtime(repo/'_build/npm')
    except BadInput as e: pytest.skip(f'onnxruntime-web cannot be fetched: {e}')
    out = tmp_path_factory.mktemp('built')/'page'
    done = subprocess.run([sys.executable, repo/'scripts/browser.py', '--out', out],
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return out, done.stdout

@pytest.mark.parametrize('name, steps', [('e2e', 50), ('e2e-8', 8)])
def test_the_exported_networks_are_the_packages(built, name, steps):
    out, said = built
    model, lm = out/'model'/name/'model.onnx', DiffusionLM.from_pretrained(name).float().eval()
    assert float(re.search(rf'^{name}: .* from torch: (\S+)', said, re.M)[1]) < 1e-5
    assert browser.largest_difference(lm, model, 4) < 1e-5
    assert model.stat().st_size < 17 * 2 ** 20
    assert str(repo).encode() not in model.read_bytes()
    assert not out.with_name('page.part').exists()
    assert dict(name=name, steps=steps) in json.loads((out/'model/models.json').read_text())

def test_another_folder_is_not_overwritten(built, tmp_path, capsys):
    (tmp_path/'mine.txt').write_text('x')
    assert browser.main(['--out', str(tmp_path)]) == 2 and (tmp_path/'mine.txt').exists()
    assert 'holds something else' in capsys.readouterr().err

class Handler(SimpleHTTPRequestHandler):
    "The folder, the files of a test beside it, and a place that takes the result."
    def do_GET(self):
        body = self.server.extra.get(self.path)
        if body is None: return super().do_GET()
        self.send_response(200)
        kind = 'text/html' if self.path.endswith('html') else 'application/octet-stream'
        self.send_header('Content-Type', kind)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        self.server.result = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
        self.send_response(204)
        self.end_headers()
        self.server.came.set()
    def log_message(self, *args): pass

def drive(folder, script, tmp_path, files=(), timeout=400):
    "Run a module script beside the page in Chromium; what it hands to `send`."
    server = ThreadingHTTPServer(('127.0.0.1', 0), partial(Handler, directory=str(folder)))
    page = f'''<!doctype html><meta charset="utf-8"><body><script type="module">
        const send = r => fetch("/result", {{ method: "POST", body: JSON.stringify(r) }});
        const later = ms => new Promise(go => setTimeout(go, ms));
        try {{ {script} }} catch (e) {{ send({{ error: String(e.stack ?? e) }}) }}</script>'''
    server.extra = {'/test.html': page.encode(), **dict(files)}
    server.came, server.result = threading.Event(), None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f'http://127.0.0.1:{server.server_port}/test.html'
    process = subprocess.Popen(
        [CHROMIUM, '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic',
         '--no-first-run', '--disable-background-networking', '--disable-component-update',
         '--disable-sync', '--remote-debugging-port=0', '--window-size=1200,900',
         f'--user-data-dir={tmp_path/"profile"}', url],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try: assert server.came.wait(timeout), 'the browser sent no result'
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        server.shutdown()
        server.server_close()
    assert 'error' not in server.result, server.result
    return server.result

needs_browser = pytest.mark.skipif(not CHROMIUM, reason='no Chromium here')

WRITE_ALL = '''
    const tasks = await (await fetch("/tasks.json")).json();
    const worker = new Worker("./worker.js", { type: "module" });
    const texts = [], seconds = [];
    for (const [k, task] of tasks.entries()) {
      const noise = new Float32Array(await (await fetch(`/noise/${k}`)).arrayBuffer());
      const end = await new Promise((good, bad) => {
        worker.onmessage = ({ data }) => {
          if (data.kind === "done") good(data);
          if (data.kind === "failed") bad(Error(data.said));
        };
        worker.postMessage({ kind: "write", run: k + 1, seed: 0, noise, ...task });
      });
      texts.push(end.text); seconds.push(end.seconds);
    }
    send({ texts, seconds });'''

@needs_browser
@pytest.mark.parametrize('name', browser.MODELS)
def test_texts_in_the_browser_are_the_packages(built, name, tmp_path, capsys):
    "The same noise here and there: free texts, given lengths, gaps, phrases, and two of them."
    lm = DiffusionLM.from_pretrained(name).float().eval()
    steps = min(lm.steps, 16)
    wanted = [(None, None)] * 3 + [(None, n) for n in (6, 18, 40)]
    wanted += [(Infill.parse(t), None) for t in (GAPS[0], GAPS[1], GAPS[3])]
    wanted += [(SemanticContent(*PHRASES[k]), None) for k in (0, 2, 3)]
    wanted += [(SemanticContent('name', 'cheap sushi'), 20)]
    wanted += [(SemanticContent('food', 'French') & Infill.parse(GAPS[2]), None)]
    tasks, files, expected = [], {}, []
    for k, (control, n) in enumerate(wanted):
        expected += lm.sample(1, control, steps, seed=11, first=k, n_words=n, batch_size=1)
        request, noise = task(lm, control, n, 11, k, steps)
        tasks.append(dict(request=request, steps=steps, model=name))
        files[f'/noise/{k}'] = noise.numpy().tobytes()
    files['/tasks.json'] = json.dumps(tasks).encode()
    out = drive(built[0], WRITE_ALL, tmp_path, files)
    assert len(out['texts']) == len(expected) and len(set(expected)) == len(expected)
    pairs = [(a.split(), b.split()) for a, b in zip(out['texts'], expected)]
    assert all(len(a) == len(b) for a, b in pairs)
    same, words = sum(x == y for a, b in pairs for x, y in zip(a, b)), sum(len(b) for _, b in pairs)
    equal = sum(a == b for a, b in pairs)
    with capsys.disabled():
        print(f'\nbrowser, {name}: {equal} of {len(pairs)} texts equal, {same} of {words} words; '
              f'{sum(out["seconds"]) / len(pairs):.1f} s a text, '
              f'at most {max(out["seconds"]):.1f} s')
    assert same >= .95 * words
    for (control, _), text in zip(wanted, out['texts']):
        if isinstance(control, Infill): assert control.check(text.split())

USE_PAGE = '''
    const frame = document.createElement("iframe");
    frame.style = "width: 390px; height: 800px";
    frame.src = "index.html";
    document.body.append(frame);
    await new Promise(go => frame.onload = go);
    const doc = frame.contentDocument, find = id => doc.getElementById(id), out = {};
    const said = () => find("status").textContent;
    const until = async test => {
      for (const end = Date.now() + 90e3; !test(); await later(20))
        if (Date.now() > end) throw Error(`nothing came of ${test}; the page says: ${said()}`);
    };
    await until(() => said().startsWith("Ready"));
    const run = async (task, fields) => {
      find("with-phrase").checked = task === "phrase";
      doc.querySelector(`#task-${task === "phrase" ? "free" : task}`).checked = true;
      for (const [k, v] of Object.entries(fields)) find(k).value = v;
      const before = find("status").textContent;
      find("write").click();
      await until(() => /words in|a whole number|know|no gap|empty|no place/.test(said())
        && said() !== before && find("stop").disabled);
      return [said(), find("text").textContent,
              [...find("run").children].map(l => l.getAttribute("aria-label"))];
    };
'''

@needs_browser
def test_the_page_writes_and_complains(built, tmp_path):
    out = drive(built[0], USE_PAGE + '''
        out.length = await run("length", { words: 7, steps: 8 });
        out.again = await run("length", { words: 7, steps: 9 });
        out.same = await run("length", { words: 7, steps: 8 });
        out.gap = await run("gaps",
          { gaps: "The Zebra is <b>a</b> ___{2} near Burger King.", steps: 6 });
        out.bold = doc.querySelectorAll("#run b, #text b, #status b").length;
        out.wide = [doc.documentElement.scrollWidth, doc.documentElement.clientWidth];
        find("at").value = 0; find("at").dispatchEvent(new Event("input"));
        out.start = [...find("run").children].map(l => l.firstChild.textContent);
        out.places = [...find("run").children].map(l => [l.offsetLeft, l.offsetTop]);
        find("at").value = 6; find("at").dispatchEvent(new Event("input"));
        out.end = [...find("run").children].map(l => l.firstChild.textContent);
        out.still = [...find("run").children].map(l => [l.offsetLeft, l.offsetTop]);
        find("run").children[4].focus(); out.told = find("said").textContent;
        out.bad = [await run("length", { words: 63 }),
                   await run("phrase", { value: "", phrase: "suhsi" })];
        find("value").selectedIndex = 40; find("value").dispatchEvent(new Event("change"));
        out.disabled = find("phrase").disabled;
        out.chosen = find("value").selectedOptions[0].textContent;
        out.phrase = await run("phrase", { steps: 10 });
        out.unlabelled = [...doc.querySelectorAll("input, select, button")]
          .filter(e => !e.labels?.length && !e.getAttribute("aria-label") && !e.textContent)
          .map(e => e.id);
        out.from = [window, frame.contentWindow]
          .flatMap(w => w.performance.getEntriesByType("resource"))
          .map(e => new URL(e.name).origin);
        out.here = location.origin; send(out)''', tmp_path)
    said, text, labels = out['length']
    assert re.match(r'7 words in 8 steps, [\d.]+ s', said) and len(text.split()) == len(labels) == 7
    assert text == ' '.join(l.rsplit(';')[0].rsplit(' ', 2)[0] for l in labels)
    assert out['same'][1:] == out['length'][1:]
    said, text, _ = out['gap']
    assert re.fullmatch(r'The Zebra is <b>a</b> \S+ \S+ near Burger King \.', text)
    assert out['bold'] == 0
    assert '“Zebra”' in said and 'does not know' in said
    assert out['start'] != out['end'] and ' '.join(out['end']) == text
    assert out['places'] == out['still']
    assert re.match(r'\S+ \d+ %', out['told'])
    assert out['wide'][0] <= out['wide'][1]
    assert 'from 1 to 62' in out['bad'][0][0] and 'sushi' in out['bad'][1][0]
    assert out['disabled'] and out['chosen'].split(': ')[1] in out['phrase'][1]
    assert out['unlabelled'] == [] and set(out['from']) == {out['here']}

@needs_browser
def test_another_model_and_two_controls_at_once(built, tmp_path):
    out = drive(built[0], USE_PAGE + '''
        find("model").value = "e2e-8"; find("model").dispatchEvent(new Event("change"));
        out.steps = find("steps").value;
        out.eight = await run("length", { words: 9 });
        find("value").value = ""; find("value").dispatchEvent(new Event("change"));
        const both = async (fields, phrase = true) => {
          find("with-phrase").checked = phrase;
          for (const [k, v] of Object.entries(fields)) find(k).value = v;
          const before = said();
          find("write").click();
          await until(() => /words in|no place/.test(said()) && said() !== before
            && find("stop").disabled);
          return [said(), find("text").textContent];
        };
        out.two = await both({ phrase: "cheap sushi", words: 12 });
        doc.querySelector("#task-gaps").checked = true;
        out.gap = await both({ gaps: "The Eagle is a ___{4} ." });
        out.none = await both({ gaps: "The Eagle is a ___{1} ." });
        find("with-phrase").checked = false;
        out.open = await both({ gaps: "___ is a ___ near Burger King ." }, false);
        send(out)''', tmp_path)
    assert out['steps'] == '8' and re.match('9 words in 8 steps', out['eight'][0])
    assert 'cheap sushi' in out['two'][1] and len(out['two'][1].split()) == 12
    assert re.fullmatch(r'The Eagle is a .*cheap sushi.* \.', out['gap'][1])
    assert 'no place for the phrase' in out['none'][0]
    assert Infill.parse('___ is a ___ near Burger King .').check(out['open'][1].split())

@needs_browser
def test_stop_ends_a_run_and_the_next_seed_writes_another(built, tmp_path):
    out = drive(built[0], USE_PAGE + '''
        find("steps").value = 200; find("write").click();
        await until(() => find("run").children.length);
        find("stop").click(); await until(() => said().startsWith("Stopped"));
        out.at = find("at").value; out.text = find("text").textContent;
        out.one = await run("length", { words: 9, steps: 5, seed: 3 });
        find("next").click(); await until(() => !find("stop").disabled);
        await until(() => find("stop").disabled);
        out.seed = find("seed").value; out.two = find("text").textContent; send(out)''', tmp_path)
    assert int(out['at']) < 200 and out['text'] == '' and out['seed'] == '4'
    assert out['one'][1] != out['two'] and len(out['two'].split()) == 9

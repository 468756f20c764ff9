"""Writes the folder of a page that runs the shipped models in the browser, without Python.

    python scripts/browser.py [--out _build/browser]

The page is docs/browser/; the networks go to ONNX, their weights in half precision, as they are
shipped: that of `e2e`, and that of `e2e-8`, which its student writes with in eight steps. onnxruntime-web comes from npm once, into _build/npm/. Needed beside the package:
`pip install onnx onnxscript onnxruntime`, and Node.js with npm. Any static server can serve the
folder: `python -m http.server -d _build/browser 8000`.
"""
import argparse, json, logging, os, shutil, subprocess, sys, warnings
from importlib.util import find_spec
from pathlib import Path
import torch
from torch import nn
from diffusion_lm_nb import BadInput, DiffusionLM, SemanticContent
from diffusion_lm_nb.corpora import E2E_VALUES

REPO = Path(__file__).parents[1]
MODELS = 'e2e', 'e2e-8'
RUNTIME = 'onnxruntime-web', '1.30.0'
RUNTIME_FILES = 'ort.wasm.min.mjs', 'ort-wasm-simd-threaded.mjs', 'ort-wasm-simd-threaded.wasm'
INPUTS = 'x', 't', 'scale', 'last', 'has_last'
SETTINGS = ('dim', 'length', 'length_counts', 'schedule_args', 'share', 'steered_share',
            'temperature', 'below', 'words')

class Network(nn.Module):
    "`DiffusionLM.predict` for one text without pads, as ONNX shall have it."
    def __init__(self, lm): # `DiffusionLM`
        super().__init__()
        self.lm = lm
        self.register_buffer('E', lm.emb.E.detach().clone())
    def forward(self, x, # (1, length, dim)
                t, # (1, length) times
                scale, # (1, length): √ᾱ/(1−ᾱ), what the evidence is multiplied by (chapter 05)
                last, # like x: the last x̂_0
                has_last): # (1,): 1, or 0 in the first step
        "log p(w | x_t), `(1, length, vocab)`."
        evidence = (scale[..., None] * x) @ self.E.T
        alone = (evidence + self.lm.prior).softmax(-1)
        last = has_last * last + (1 - has_last) * (alone @ self.E)
        h = self.lm.net(x, t, None, last, alone @ self.lm.read.weight)
        return (self.lm.head(h) + evidence).log_softmax(-1)

def needed():
    "BadInput if something is not installed that the page is made with."
    missing = [m for m in ('onnx', 'onnxscript', 'onnxruntime') if not find_spec(m)]
    if missing:
        here = os.path.relpath(sys.executable)
        python = sys.executable if here.startswith('..') else here
        raise BadInput(f'{", ".join(missing)} not installed; do: '
                       f'{python} -m pip install {" ".join(missing)}')
    if not shutil.which('npm'): raise BadInput('no npm here; install Node.js 18 or newer')

@torch.no_grad()
def inputs(lm, n, gen, first=False): # words; generator; is it the first step?
    "Random inputs of the network at one time and its evidence scale, a tuple."
    t = torch.rand(1, generator=gen).expand(1, n + 2)
    a, σ = lm.schedule.coefs(t)
    ids = torch.randint(4, len(lm.vocab), (1, n + 2), generator=gen)
    x = a * lm.emb(ids) + σ * torch.randn(1, n + 2, lm.dim, generator=gen)
    last = torch.randn(1, n + 2, lm.dim, generator=gen)
    return x, t, (a / σ ** 2)[..., 0], last, torch.tensor([0. if first else 1.])

def halve(graph): # an ONNX graph, changed in place
    "Large tables in half precision, with a Cast to float32 behind each, where nothing is lost."
    from onnx import helper, numpy_helper

    casts = []
    for table in graph.initializer:
        values = numpy_helper.to_array(table)
        if values.dtype != 'float32' or values.size < 1000: continue
        half = values.astype('float16')
        if (half.astype('float32') != values).any(): continue
        name = table.name
        table.CopyFrom(numpy_helper.from_array(half, name + '.half'))
        casts.append(helper.make_node('Cast', [name + '.half'], [name], to=1))
    for node in reversed(casts): graph.node.insert(0, node)

def export(lm, path): # `DiffusionLM`; file that is written
    "The network as one ONNX file; any length from 1 word to the model's most."
    import onnx

    logging.getLogger('torch.onnx').setLevel(logging.ERROR)
    length = {1: torch.export.Dim('length', min=3, max=lm.length)}
    example = inputs(lm, 18, torch.Generator().manual_seed(0))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        program = torch.onnx.export(
            Network(lm).eval(), example, dynamo=True, verbose=False, opset_version=18,
            input_names=[*INPUTS], output_names=['logp'],
            dynamic_shapes=[length, length, length, length, None])
    model = program.model_proto
    for node in model.graph.node: del node.metadata_props[:]       # paths of this machine
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    del model.metadata_props[:], model.graph.metadata_props[:], model.functions[:]
    halve(model.graph)
    onnx.checker.check_model(model)
    onnx.save(model, path)

def largest_difference(lm, path, draws=12): # a model and its ONNX file
    "The largest difference of a token marginal between torch and onnxruntime."
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    gen, worst = torch.Generator().manual_seed(1), 0.0
    for k in range(draws):
        x, t, scale, last, has_last = given = inputs(lm, [1, 9, 23, 62][k % 4], gen, k % 3 == 0)
        feed = {name: u.numpy() for name, u in zip(INPUTS, given)}
        found = torch.tensor(session.run(None, feed)[0])
        with torch.no_grad(): logp, _ = lm.predict(x, t, None, last if has_last else None)
        worst = max(worst, (found.exp() - logp.exp()).abs().max().item())
    return worst

def phrase_values(lm): # `DiffusionLM`
    "The fields and values of E2E with the ids of what says them, a list of dicts."
    out = []
    for field, values in E2E_VALUES.items():
        for value in values.split('|'):
            c = SemanticContent(field, value).bind(lm)
            out.append(dict(field=field, value=value, phrases=c.ids, avoid=c.avoid))
    return out

def settings(lm, weights): # `DiffusionLM`; its folder
    "What the page must know of the model beside its weights, a dict."
    saved = json.loads((weights/'config.json').read_text(encoding='utf8'))
    if saved['schedule'] != 'entropic': raise BadInput('the page knows the entropic schedule only')
    own = dict(steps=lm.steps, free_solver=type(lm.make_solver('renoise')).__name__.lower())
    return {k: saved[k] for k in SETTINGS} | own | dict(values=phrase_values(lm))

def runtime(folder): # where npm installs
    "The folder of onnxruntime-web, fetched once."
    name, version = RUNTIME
    package = folder/'node_modules'/name
    note = package/'package.json'
    if not note.exists() or json.loads(note.read_text(encoding='utf8'))['version'] != version:
        folder.mkdir(parents=True, exist_ok=True)
        (folder/'package.json').write_text('{"private": true}\n', encoding='utf8')
        done = subprocess.run(['npm', 'install', '--ignore-scripts', '--no-audit', '--no-fund',
                               '--no-save', '--fetch-retries=1', f'{name}@{version}'], cwd=folder,
                              capture_output=True, text=True)
        if done.returncode:
            why = (done.stderr.strip().splitlines() or ['no reason given'])[0]
            raise BadInput(f'npm cannot install {name} {version}: {why}')
    return package

def write_model(name, folder): # shipped name; where its files go
    "The files of a model; its name and its number of steps, a dict."
    weights = REPO/'diffusion_lm_nb/weights'/name
    lm = DiffusionLM.from_pretrained(weights).float().eval()
    folder.mkdir(parents=True)
    export(lm, folder/'model.onnx')
    (folder/'embedding.bin').write_bytes(lm.emb.E.detach().numpy().astype('<f4').tobytes())
    text = json.dumps(settings(lm, weights), ensure_ascii=False)
    (folder/'model.json').write_text(text, encoding='utf8')
    print(f'{name}: largest difference of a marginal from torch: '
          f'{largest_difference(lm, folder/"model.onnx"):.1e}', flush=True)
    return dict(name=name, steps=lm.steps)

def build(out, npm): # folder that is written; folder for npm
    "Write the page's folder beside its place, and put it there when it is whole."
    if out.exists() and any(out.iterdir()) and not (out/'model').is_dir():
        raise BadInput(f'{out} holds something else; name a new folder with --out')
    ort, part = runtime(npm), out.with_name(out.name + '.part')
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(REPO/'docs/browser', part)
    (part/'ort').mkdir()
    for name in RUNTIME_FILES: shutil.copy(ort/'dist'/name, part/'ort'/name)
    for name in ('LICENSE', 'package.json'):
        if (ort/name).exists(): shutil.copy(ort/name, part/'ort'/name)
    found = [write_model(name, part/'model'/name) for name in MODELS]
    (part/'model/models.json').write_text(json.dumps(found), encoding='utf8')
    shutil.rmtree(out, ignore_errors=True)
    os.replace(part, out)

def megabytes(*paths): return sum(p.stat().st_size for p in paths) / 2 ** 20

def main(argv=None): # list of strings
    "Exit status: 0, or 2 if something is missing."
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', type=Path, default=REPO/'_build/browser')
    args = parser.parse_args(argv)
    try:
        needed()
        build(args.out, REPO/'_build/npm')
    except BadInput as e:
        print(f'browser.py: {e}', file=sys.stderr)
        return 2
    models = [args.out/'model'/name/'model.onnx' for name in MODELS]
    program = args.out/'ort'/RUNTIME_FILES[-1]
    print(f'models {megabytes(*models):.1f} MB, onnxruntime-web {megabytes(program):.1f} MB, all '
          f'{megabytes(*filter(Path.is_file, args.out.rglob("*"))):.1f} MB')
    shown = os.path.relpath(args.out)
    print(f'serve it:  python -m http.server -d {shown} 8000\nand open:  http://127.0.0.1:8000/')
    return 0

if __name__ == '__main__': sys.exit(main())

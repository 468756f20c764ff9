"""Trains the shipped model of the grammar, exactly as `dlm-train grammar --out OUT --device cpu` does, keeps copies of its weights on the way,
and measures how far the likelihood bound of each lies above the true -log P: writes grammar_curve.json beside this file.

    OMP_NUM_THREADS=1 python scripts/grammar_curve.py OUT      # about 25 minutes on one thread; a run that was cut off goes on
"""
import json, subprocess, sys, time
from pathlib import Path
import torch
from safetensors.torch import load_file, save_file
from diffusion_lm_nb.files import write_atomic
from diffusion_lm_nb.grammar import Grammar
from diffusion_lm_nb.corpora import load_corpus
from diffusion_lm_nb.ngram import KneserNey
from diffusion_lm_nb.data import pad_batch
from diffusion_lm_nb.denoiser import DiffusionLM
from diffusion_lm_nb.training import fit
from diffusion_lm_nb.commands import KINDS, PRESETS
import diffusion_lm_nb.sampling                                     # gives DiffusionLM its bound

STEPS = [50, 100, 200, 400, 800, 1500, 2500, 4000]
HARDWARE = '2 CPU cores, one thread'

def train(
    name,
    out,
    steps=(), # -> model, log, seconds of one thread; copies in out/step-N.safetensors
):
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    model, batch_at = KINDS[PRESETS[name].kind](PRESETS[name], load_corpus('grammar'), 0)
    keep = lambda step, ema: step in steps and save_file(
        {k: v.contiguous() for k, v in ema.items()}, out / f'step-{step}.safetensors'
    )
    before, start = (
        json.loads((out / 'seconds.json').read_text()) if (out / 'seconds.json').exists() else 0.0
    ), time.process_time()
    log = fit(model, batch_at, PRESETS[name], out, resume=True, device='cpu', watch=keep)
    seconds = before + time.process_time() - start
    write_atomic(out / 'seconds.json', json.dumps(seconds))
    return model, log, seconds

def above(nats, truth, tokens): # a number a text -> mean excess a token, its standard error
    d, n = nats - truth, tokens.sum()
    rate = d.sum() / n
    return float(rate), float((d - rate * tokens).std() * len(d) ** .5 / n)

@torch.no_grad()
def ar_nats(model, texts): # exact −log p a text
    out = []
    for i in range(0, len(texts), 100):
        ids, mask = pad_batch([model.vocab.encode(w) for w in texts[i:i + 100]], model.vocab.pad)
        out.append(model.token_nats(ids, mask).sum(1))
    return torch.cat(out)

def main(out):
    torch.set_num_threads(1)
    grammar, test = Grammar(), [e.words for e in load_corpus('grammar', 'test')]
    truth, tokens = torch.tensor([-grammar.log_prob(w) for w in test]), torch.tensor(
        [len(w) + 1.0 for w in test]
    )
    model, log, seconds = train('grammar', Path(out) / 'grammar', STEPS)
    curve, some = [], slice(0, 500)
    for step in STEPS:
        lm = DiffusionLM(**model._hub_mixin_config)
        lm.load_state_dict(load_file(Path(out) / f'grammar/step-{step}.safetensors'))
        excess, error = above(lm.bound(test[some]), truth[some], tokens[some])
        curve.append(
            dict(
                step=step,
                loss=next(r['loss'] for r in log if r['step'] == step),
                excess=excess,
                std_error=error,
            )
        )
        print(curve[-1], flush=True)
    model.save_pretrained(Path(out) / 'half', half=True)
    shipped = DiffusionLM.from_pretrained(Path(out) / 'half')
    nats = shipped.bound(test)
    excess, error = above(nats, truth, tokens)
    ar, ar_log, ar_seconds = train('grammar-ar', Path(out) / 'grammar-ar')
    kn = torch.tensor(
        list(map(KneserNey(5).fit([e.words for e in load_corpus('grammar')]).nats, test))
    )
    write_atomic(
        Path(__file__).parents[1]/'results/grammar_curve.json',
        json.dumps(
            dict(
                task='likelihood',
                method='diffusion',
                model='grammar',
                texts=(
                    'test split of the grammar: the first 500 for the curve, all 2,000 for the last'
                    ' figures'
                ),
                unit='nats a token (words and END) above the true -log P',
                curve=curve,
                log=[dict(step=r['step'], loss=r['loss']) for r in log],
                shipped=dict(
                    nats_per_token=float(nats.sum() / tokens.sum()),
                    excess=excess,
                    std_error=error,
                    parameters=sum(p.numel() for p in shipped.parameters()),
                    seconds=seconds,
                ),
                truth=float(truth.sum() / tokens.sum()),
                entropy=grammar.entropy() / (grammar.mean_length() + 1),
                yardsticks={
                    'autoregressive': above(ar_nats(ar, test), truth, tokens)[0],
                    'Kneser-Ney': above(kn, truth, tokens)[0],
                },
                autoregressive=dict(
                    parameters=sum(p.numel() for p in ar.parameters()), seconds=ar_seconds
                ),
                hardware=HARDWARE,
                commit=subprocess.run(
                    ['git', 'rev-parse', '--short', 'HEAD'],
                    capture_output=True,
                    text=True,
                    cwd=Path(__file__).parent,
                ).stdout.strip(),
                command='OMP_NUM_THREADS=1 python scripts/grammar_curve.py OUT',
            ),
            indent=1,
        )
        + '\n',
    )

if __name__ == '__main__': main(sys.argv[1])

"The training loop: what is saved and when, exact resume, several processes, what it says while it goes."
import errno, math, os, signal, subprocess, sys, threading
from dataclasses import replace
from pathlib import Path
import pytest, torch
from diffusion_lm_nb.files import BadInput
from diffusion_lm_nb.checkpoints import check_checkpoint
from diffusion_lm_nb.corpora import load_corpus
from diffusion_lm_nb.loss import TINY, ema_update, keyed_generator, learning_rate
from diffusion_lm_nb.loss import per_token_timesteps
from diffusion_lm_nb.training import Hook, Run, fit, make_accelerator, training_loop
from diffusion_lm_nb.commands import KINDS, PRESETS

def small(name, **more): # a preset, made small
    p = PRESETS[name]
    return replace(p, model=p.model | dict(width=32, layers=1, length=16), batch_size=8, steps=20,
                   **more)

P = small('grammar', warmup=5)
PAPER = small('grammar-paper')
TEXTS = [e for e in load_corpus('grammar')[:600] if len(e.words) <= 12]

def make(preset=P, seed=0):
    torch.manual_seed(seed)
    return KINDS[preset.kind](preset, TEXTS, seed)

def state(model): return {k: v.clone() for k, v in model.state_dict().items()}
def same(a, b): return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
def run(preset=P, out=None, seed=0, at=None, **kwargs):
    model, batch_at = make(preset, seed)
    if at: batch_at = at(batch_at)
    return model, fit(model, batch_at, preset, out, device='cpu', **{'quiet': True, **kwargs})

def breaks(n, what): # batch_at -> one that does something at step n
    def wrap(batch_at):
        def at(step):
            if step == n: what()
            return batch_at(step)
        return at
    return wrap

def power_cut(): raise RuntimeError('power cut')
def press(): signal.raise_signal(signal.SIGINT)

@pytest.mark.parametrize('preset', [P, PAPER, small('grammar-ar')], ids=['ours', 'paper', 'ar'])
@pytest.mark.parametrize('log_every', [7, 50])
def test_resume_is_exact(preset, log_every, tmp_path):
    whole, log = run(preset, log_every=log_every)
    with pytest.raises(RuntimeError, match='power cut'):
        run(preset, tmp_path, at=breaks(11, power_cut), log_every=log_every, save_every=0)
    again, log2 = run(
        preset, tmp_path, seed=5, resume=True, log_every=log_every, at=lambda _: make(preset)[1]
    )
    assert same(state(whole), state(again)) and log == log2
    assert [r['step'] for r in log] == ([7, 14, 20] if log_every == 7 else [20])

def test_a_row_is_the_mean_since_the_last_row():
    one, few = run(log_every=1)[1], run(log_every=7)[1]
    for r, (i, j) in zip(few, ((0, 7), (7, 14), (14, 20))):
        for k in ('loss', 'ce'):
            assert math.isclose(r[k], sum(q[k] for q in one[i:j]) / (j - i), rel_tol=1e-5)

def test_it_is_done_when_it_is_done(tmp_path):
    model, log = run(out=tmp_path)
    before = (tmp_path / 'checkpoint.safetensors').read_bytes()
    again, log2 = run(out=tmp_path, seed=5, resume=True, at=breaks(-1, power_cut))
    assert same(state(model), state(again)) and log == log2
    assert (tmp_path / 'checkpoint.safetensors').read_bytes() == before

@pytest.mark.parametrize('sign', [signal.SIGINT, signal.SIGTERM])
def test_signals_wait_for_the_end_of_the_step(sign, tmp_path):
    """A signal at any place of step 7, the optimiser's included: the checkpoint is that of step 8,
    and the run goes on exactly.
    """
    handler = signal.getsignal(sign)
    step = torch.optim.AdamW.step
    calls = []

    def late(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 8:
            signal.raise_signal(sign)
        return step(self, *args, **kwargs)

    torch.optim.AdamW.step = late
    try:
        with pytest.raises(KeyboardInterrupt):
            run(out=tmp_path)
    finally:
        torch.optim.AdamW.step = step
    assert signal.getsignal(sign) is handler
    model, batch_at = make()
    assert check_checkpoint(tmp_path / 'checkpoint.safetensors', model)['step'] == 8
    assert same(state(run(out=tmp_path, resume=True)[0]), state(run()[0]))

class Note(Hook):
    "Notes what is called when, and the weights of the second step."
    def __init__(self, stop=None): self.calls, self.last = [], stop
    def before_step(self, run): self.calls.append(('before', run.step))
    def after_step(self, run):
        self.calls.append(('after', run.step))
        run.stop = run.step == self.last
    def at_end(self, run): self.calls.append(('end', run.step))

@pytest.mark.parametrize('stop', [None, 2])
def test_the_loop_calls_its_hooks(stop):
    note, other = Note(stop), Note(stop)
    model, batch_at = make()
    training_loop(Run(model, replace(P, steps=3), 'cpu'), batch_at, [note, other])
    steps = range(stop or 3)
    each = [call for s in steps for call in (('before', s), ('after', s + 1))]
    assert note.calls == other.calls == [*each, ('end', len(steps))]

@pytest.mark.parametrize('preset', [P, PAPER, small('grammar-ar')], ids=['ours', 'paper', 'ar'])
def test_shards_one_after_the_other_are_the_whole_batch(preset):
    preset = replace(preset, model=preset.model | dict(dropout=0.), clip=0.)
    whole, log = run(preset, log_every=1)
    parts, log2 = run(preset, log_every=1, accumulate=4)
    for a, b in zip(log, log2): assert math.isclose(a['loss'], b['loss'], rel_tol=1e-3)
    for k, v in whole.state_dict().items():
        assert torch.allclose(v, parts.state_dict()[k], atol=2e-3)

def test_it_trains_in_another_thread():
    done = []
    t = threading.Thread(target=lambda: done.append(run(replace(P, steps=2)))); t.start(); t.join()
    assert done

def test_a_loss_that_is_not_finite_is_said_and_not_saved(tmp_path):
    with pytest.raises(RuntimeError):
        run(out=tmp_path, at=breaks(9, power_cut), save_every=0)
    before = (tmp_path / 'checkpoint.safetensors').read_bytes()

    def poison(batch_at):
        def at(step):
            ids, mask, gen = batch_at(step)
            if step == 10:
                torch.nn.init.constant_(model.emb.weight, math.nan)
            return ids, mask, gen

        return at

    model, batch_at = make()
    with pytest.raises(BadInput, match='learning rate'):
        fit(model, poison(batch_at), P, tmp_path, resume=True, device='cpu', quiet=True,
            log_every=15, save_every=0)
    meta = check_checkpoint(tmp_path / 'checkpoint.safetensors', make()[0])
    assert meta['step'] == 10

def test_a_full_disk_is_an_os_error(tmp_path, monkeypatch):
    "safetensors has an error of its own for it."
    from safetensors import SafetensorError
    import safetensors.torch

    def full(*args, **kwargs):
        raise SafetensorError(
            'Error while serializing: I/O error: No space left on device (os error 28)'
        )

    monkeypatch.setattr(safetensors.torch, 'save_file', full)
    with pytest.raises(OSError) as e:
        run(out=tmp_path)
    assert e.value.errno == errno.ENOSPC and not list(tmp_path.iterdir())

def test_time_is_up(tmp_path):
    model, log = run(replace(P, steps=10_000), tmp_path, minutes=.02)
    assert 0 < check_checkpoint(tmp_path/'checkpoint.safetensors', model)['step'] < 10_000

def test_bf16_is_on_inside_and_gone_afterwards():
    seen, (model, batch_at) = {}, make()
    for name in ('net.blocks.0.up', 'head'):
        model.get_submodule(name).register_forward_hook(
            lambda m, i, o, name=name: seen.update({name: o.dtype})
        )
    fit(model, batch_at, replace(P, precision='bf16', steps=3), device='cpu', quiet=True)
    assert seen == {'net.blocks.0.up': torch.bfloat16, 'head': torch.float32}
    for m in model.modules():
        m._forward_hooks.clear()
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert model.forward.__func__ is type(model).forward
    assert not {'forward', '_original_forward'} & {*vars(model)}
    with torch.no_grad():
        assert model.net.blocks[0].up(torch.zeros(1, 32)).dtype == torch.float32
    again = replace(P, steps=3)        # and once more in another precision
    fit(model, batch_at, again, device='cpu', quiet=True)

def test_the_paper_loss_reads_words_in_float32():
    model, batch_at = make(PAPER)
    terms = [
        make_accelerator(p, 'cpu').prepare(make(PAPER)[0]).eval()(*batch_at(0))[1]
        for p in ('no', 'bf16')
    ]
    for k in ('ce', 'tT'): assert torch.equal(terms[0][k], terms[1][k])

@pytest.mark.parametrize('precision, device', [('bf17', None), ('no', 'tpu'), ('no', 'cuda')])
def test_what_is_not_to_be_had(precision, device):
    if device == 'cuda' and torch.cuda.is_available(): pytest.skip('there is one')
    with pytest.raises(BadInput): make_accelerator(precision, device)

@pytest.mark.parametrize('preset', ['grammar', 'roc-gaps'])
def test_the_first_estimate_is_made_without_dropout(preset, monkeypatch):
    p = replace(PRESETS[preset], min_count=0)
    p = replace(p, model=p.model | dict(width=32, layers=1, heads=2))
    model, batch_at = KINDS[p.kind](p, load_corpus('grammar')[:64], 0)
    name, seen = 'predict_gap' if preset == 'roc-gaps' else 'predict', []
    own = getattr(type(model), name)
    def watched(self, *args, **kwargs):
        seen.append((self.net.training, torch.is_grad_enabled()))
        return own(self, *args, **kwargs)
    monkeypatch.setattr(type(model), name, watched)
    model.train()
    calls = set()
    for step in range(8):
        seen.clear()
        model(*batch_at(step))
        calls.add(tuple(seen))
    # one call, or an estimate as in use and then the call that learns
    assert calls == {((True, True),), ((False, False), (True, True))}
    assert model.net.training

def test_learning_rate_is_a_function_of_the_step():
    for p in PRESETS.values():
        rates = [learning_rate(p, s) for s in range(0, p.steps, max(1, p.steps // 500))]
        assert all(0 < r <= p.lr for r in rates) and max(rates) > 0.9 * p.lr
        assert learning_rate(p, p.steps) == 0

def test_per_token_timesteps_leave_the_rest_alone():
    g = keyed_generator(0)
    t = torch.rand(500, generator=g)
    mask = torch.arange(20) < torch.randint(1, 21, (500, 1), generator=g)
    times = per_token_timesteps(t, mask, g)
    assert ((times == t[:, None]) | (times == 0) | (times == 1)).all()
    assert not ((times == 0).any(1) & (times == 1).any(1)).any()

def test_progress(capsys):
    run(quiet=False, log_every=7)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == '' and [l.split()[1] for l in lines] == ['7/20', '14/20', '20/20']
    assert all('tokens/s' in l and 'min left' in l for l in lines)
    assert '0.0 min left' in lines[-1]

def test_a_bar_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True, raising=False)
    run(quiet=False, log_every=7)
    err = capsys.readouterr().err
    assert '20/20' in err and 'loss' in err and err.count('\n') == 1

GO = '''
import sys, torch
sys.path.insert(0, sys.argv.pop(1))
torch.set_num_threads(1)
from dataclasses import replace
from diffusion_lm_nb.commands import PRESETS, dlm_train
from diffusion_lm_nb.loss import TINY
sys.argv[0] = 'dlm-train'
small = TINY | dict(width=32, layers=1, dropout=0.)
PRESETS['quick'] = replace(PRESETS['grammar'], model=small, clip=0.)
sys.exit(dlm_train())
'''

def test_two_processes(tmp_path):
    "torchrun: one checkpoint, one voice, and the step of one process that sees the whole batch."
    script = tmp_path / 'go.py'
    script.write_text(GO)
    (tmp_path / 'my.txt').write_text('\n'.join(' '.join(e.words) for e in TEXTS))
    args = ['quick', '--data', 'my.txt', '--device', 'cpu', '--steps', '6', '--batch-size', '8']

    def go(n, out, *more):
        launch = [sys.executable]
        if n > 1:
            launch += ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', str(n)]
        return subprocess.run(
            [*launch, str(script), str(Path(__file__).parents[1]), *args, '--out', out, *more],
            cwd=tmp_path,
            env={**os.environ, 'OMP_NUM_THREADS': '1'},
            capture_output=True,
            text=True,
            timeout=300,
        )

    r = go(2, 'two')
    assert r.returncode == 0, r.stderr
    assert r.stderr.count('parameters') == 1 and r.stderr.count('weights in') == 1

    def quick(steps):
        model = TINY | dict(width=32, layers=1, dropout=0.0)
        p = replace(PRESETS['grammar'], model=model, clip=0.0, steps=steps, batch_size=8)
        torch.manual_seed(0)
        return (p, *KINDS['diffusion'](p, load_corpus(tmp_path / 'my.txt'), 0))

    p, model, batch_at = quick(6) # by hand: whole batches
    opt = torch.optim.AdamW(model.parameters(), p.lr, betas=p.betas, weight_decay=p.weight_decay)
    ema = state(model)
    for step in range(6):
        opt.param_groups[0]['lr'] = learning_rate(p, step)
        opt.zero_grad()
        model(*batch_at(step))[0].backward()
        opt.step()
        ema_update(ema, model, p.ema, step)
    from diffusion_lm_nb.denoiser import DiffusionLM

    two = DiffusionLM.from_pretrained(tmp_path / 'two').state_dict()
    assert all(torch.allclose(ema[k], two[k], atol=1e-5) for k in ema)
    assert go(1, 'two').returncode != 0 and go(2, 'two', '--resume').returncode == 0

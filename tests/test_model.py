"The model itself: saved and loaded, broken files, pads, and neighbours in a batch."
import json, socket
from pathlib import Path
import pytest, torch
from torch import nn
from diffusion_lm_nb.files import BadInput
from diffusion_lm_nb.data import SPECIALS
from diffusion_lm_nb import checkpoints
from diffusion_lm_nb.checkpoints import Pretrained
from diffusion_lm_nb.denoiser import DiffusionLM, diffusion_lm

WORDS = SPECIALS + 'The Eagle is a cheap pub near the river .'.split()
RECIPES = dict(
    tokens=dict(schedule='entropic', schedule_args=dict(mu=-1.3)),
    paper=dict(recipe='paper', heads=4),
)

def make(recipe='tokens', **kwargs):
    torch.manual_seed(0)
    return diffusion_lm(
        WORDS,
        **(
            dict(length=16, width=32, layers=2, length_counts=[0, 1, 2, 3] + [0] * 11)
            | RECIPES[recipe]
            | kwargs
        )
    ).eval()

def inputs(batch=4, seed=0):
    g = torch.Generator().manual_seed(seed)
    mask = torch.arange(16) < torch.randint(3, 17, (batch, 1), generator=g)
    return (
        torch.randn(batch, 16, 16, generator=g),
        torch.rand(batch, generator=g),
        mask,
        torch.randn(batch, 16, 16, generator=g),
    )

def predict(model, x, t, mask, cond):
    with torch.no_grad():
        return model.predict(
            x, t, mask if model.mask_pads else None, cond if model.self_cond else None
        )

@pytest.fixture
def offline(monkeypatch):
    "Whoever asks for the network is noted, and gets none."
    asked = []
    def refuse(*args, **kwargs): asked.append(args); raise OSError('no network in this test')
    monkeypatch.setattr(socket.socket, 'connect', refuse)
    monkeypatch.setattr(socket, 'getaddrinfo', refuse)
    return asked

def complaint(f, *args, **kwargs):
    with pytest.raises(BadInput) as e: f(*args, **kwargs)
    assert len(str(e.value).splitlines()) == 1
    return str(e.value)

# --- there and back

@pytest.mark.parametrize('recipe', RECIPES)
def test_round_trip_is_bit_for_bit(recipe, tmp_path, offline):
    model = make(recipe)
    model.save_pretrained(tmp_path / 'm')
    again = DiffusionLM.from_pretrained(tmp_path / 'm')
    for a, b in zip(predict(model, *inputs()), predict(again, *inputs())):
        assert torch.equal(a, b)
    assert (
        torch.equal(model.length_probs, again.length_probs)
        and again.vocab.words == WORDS
        and not again.training
    )
    assert {f.name for f in (tmp_path / 'm').iterdir()} == {
        'model.safetensors',
        'config.json',
        'README.md',
    }
    again.save_pretrained(tmp_path / 'n')
    for name in ('model.safetensors', 'config.json'):
        assert (tmp_path / 'm' / name).read_bytes() == (tmp_path / 'n' / name).read_bytes()
    assert not offline

def test_half_precision_is_close_and_loads_as_float32(tmp_path):
    model = make()
    model.save_pretrained(tmp_path / 'full')
    model.save_pretrained(tmp_path / 'half', half=True)
    assert (tmp_path / 'half/model.safetensors').stat().st_size < 0.6 * (
        tmp_path / 'full/model.safetensors'
    ).stat().st_size
    half = DiffusionLM.from_pretrained(str(tmp_path / 'half'))
    assert {p.dtype for p in half.parameters()} == {torch.float32}
    for a, b in zip(predict(model, *inputs()), predict(half, *inputs())):
        assert not torch.equal(a, b) and torch.allclose(a.exp(), b.exp(), atol=0.02)

def test_half_precision_refuses_what_it_cannot_hold(tmp_path):
    model = make()
    with torch.no_grad(): model.head.bias[0] = 1e6
    assert 'head.bias' in complaint(model.save_pretrained, tmp_path/'m', half=True)
    assert not (tmp_path/'m/model.safetensors').exists()

def test_printed_stdout_stays_empty(tmp_path, capsys):
    make().save_pretrained(tmp_path); DiffusionLM.from_pretrained(tmp_path)
    assert capsys.readouterr().out == ''

def test_a_card_that_is_there_stays(tmp_path):
    (tmp_path/'README.md').write_text('mine')
    make().save_pretrained(tmp_path)
    assert (tmp_path/'README.md').read_text() == 'mine'

def test_saving_over_a_model_never_leaves_half_of_it(tmp_path, monkeypatch):
    "A full disk or a kill while the new weights are written: the old model is still there."
    make().save_pretrained(tmp_path)
    old = {f.name: f.read_bytes() for f in tmp_path.iterdir()}

    def full(source, target):
        Path(target).write_bytes(b'half')
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(checkpoints.shutil, 'copyfile', full)
    with pytest.raises(OSError):
        make(width=64).save_pretrained(tmp_path)
    assert {f.name: f.read_bytes() for f in tmp_path.iterdir()} == old

def test_shipped_name(tmp_path, monkeypatch, offline):
    monkeypatch.setattr(checkpoints, 'weights_home', lambda: tmp_path)
    model = make()
    model.save_pretrained(tmp_path / 'tiny', half=True)
    (tmp_path / 'tagger').mkdir()
    (tmp_path / 'tagger/config.json').write_text('{"tags": 17}')
    assert torch.allclose(DiffusionLM.from_pretrained('tiny').emb.E, model.emb.E, atol=0.01)
    assert checkpoints.shipped() == ['tagger', 'tiny']
    says = complaint(DiffusionLM.from_pretrained, 'tinny')
    assert (
        'tinny' in says and 'tiny' in says and 'tagger' not in says
    ) # only what this class can load is offered
    assert 'words' in complaint(DiffusionLM.from_pretrained, 'tagger')
    assert not offline

def test_arguments_can_be_changed_on_loading(tmp_path):
    make().save_pretrained(tmp_path)
    assert DiffusionLM.from_pretrained(tmp_path, dropout=.5).net.drop.p == .5

def test_tied_embeddings_stay_tied(tmp_path):
    make().save_pretrained(tmp_path)
    model = DiffusionLM.from_pretrained(tmp_path)
    ids, x = torch.tensor([[4, 5]]), torch.randn(1, 2, 16)
    before = model.emb(ids), model.emb.logits(x)
    with torch.no_grad():
        model.emb.weight[5] += 1
    assert not torch.equal(before[0][:, 1], model.emb(ids)[:, 1]) and torch.equal(
        before[0][:, 0], model.emb(ids)[:, 0]
    )
    assert (before[1] - model.emb.logits(x)).abs().sum((0, 1)).nonzero().flatten().tolist() == [5]

class Tied(nn.Module, Pretrained):
    "Another kind of model that uses the same two methods: its output layer is its embedding."
    def __init__(self, n: int, width: int = 8):
        super().__init__()
        self.a, self.z = nn.Embedding(n, width), nn.Linear(width, n, bias=False)
        self.z.weight = self.a.weight

def test_other_models_can_use_it(tmp_path):
    model = Tied(5)
    for half in (False, True):
        model.save_pretrained(tmp_path, half=half)
        again = Tied.from_pretrained(tmp_path)
        assert again.a.weight is again.z.weight and torch.allclose(
            again.z.weight, model.a.weight, atol=0.01
        )
    assert 'words' in complaint(DiffusionLM.from_pretrained, tmp_path)

# --- what goes wrong

def test_unknown_names(tmp_path, monkeypatch, offline):
    monkeypatch.chdir(tmp_path)
    assert 'e2x' in complaint(DiffusionLM.from_pretrained, 'e2x')
    assert (
        './e2e' in complaint(DiffusionLM.from_pretrained, './e2e') and not offline
    ) # never the Hub
    Path('file').write_text('')
    assert 'is a file' in complaint(DiffusionLM.from_pretrained, 'file')
    assert 'is a file' in complaint(make().save_pretrained, 'file')

def test_hub_without_network(tmp_path, offline):
    says = complaint(DiffusionLM.from_pretrained, 'nobody/nothing', cache_dir=tmp_path)
    assert 'nobody/nothing' in says and 'Hub' in says and 'connection' in says

def test_folders_without_a_model(tmp_path):
    assert 'config.json' in complaint(DiffusionLM.from_pretrained, tmp_path)
    (tmp_path/'checkpoint.safetensors').write_bytes(b'')
    assert '--resume' in complaint(DiffusionLM.from_pretrained, tmp_path)
    make().save_pretrained(tmp_path)
    (tmp_path/'model.safetensors').rename(tmp_path/'pytorch_model.bin')
    assert 'model.safetensors' in complaint(DiffusionLM.from_pretrained, tmp_path)

@pytest.mark.parametrize('share', [0, .001, .3, .99])
def test_truncated_weights(share, tmp_path):
    make().save_pretrained(tmp_path)
    f = tmp_path/'model.safetensors'
    whole = f.read_bytes()
    f.write_bytes(whole[:int(share * len(whole))])
    assert 'cut off' in complaint(DiffusionLM.from_pretrained, tmp_path)

def test_foreign_weights(tmp_path):
    make().save_pretrained(tmp_path / 'a')
    make(width=64).save_pretrained(tmp_path / 'wide')
    make('paper').save_pretrained(tmp_path / 'paper')
    Tied(5).save_pretrained(tmp_path / 'tied')
    for name, what in (('wide', '64'), ('paper', 'emb.bias'), ('tied', 'lacks')):
        (tmp_path / 'a/model.safetensors').write_bytes(
            (tmp_path / name / 'model.safetensors').read_bytes()
        )
        assert what in complaint(DiffusionLM.from_pretrained, tmp_path / 'a')
    assert 'shape' in complaint(DiffusionLM.from_pretrained, tmp_path / 'wide', width=32)

@pytest.mark.parametrize(
    'key', ['words', 'schedule', 'schedule_args', 'recipe', 'length_counts', 'width']
)
def test_config_that_lacks_a_key(key, tmp_path):
    make().save_pretrained(tmp_path)
    config = json.loads((tmp_path / 'config.json').read_text())
    del config[key]
    (tmp_path / 'config.json').write_text(json.dumps(config))
    assert key in complaint(DiffusionLM.from_pretrained, tmp_path)

@pytest.mark.parametrize(
    'change',
    [
        dict(words=['a', 'b', 'c', 'd']),
        dict(words=7),
        dict(recipe='soup'),
        dict(schedule='soup'),
        dict(width='wide'),
        dict(schedule_args=dict(soup=1)),
        dict(width=33),
        dict(length_counts='many'),
    ],
)
def test_config_that_makes_no_sense(change, tmp_path):
    make().save_pretrained(tmp_path)
    (tmp_path / 'config.json').write_text(
        json.dumps(json.loads((tmp_path / 'config.json').read_text()) | change)
    )
    complaint(DiffusionLM.from_pretrained, tmp_path)

@pytest.mark.parametrize('text', ['', '{"words": [', '[1, 2]', 'null'])
def test_config_that_is_none(text, tmp_path):
    make().save_pretrained(tmp_path)
    (tmp_path/'config.json').write_text(text)
    assert 'JSON' in complaint(DiffusionLM.from_pretrained, tmp_path)

# --- pads and neighbours

def test_pads_are_not_heard():
    model, (x, t, mask, cond) = make(), inputs()
    junk = lambda u: torch.where(mask[..., None], u, 50 * torch.randn_like(u))
    for a, b in zip(predict(model, x, t, mask, cond), predict(model, junk(x), t, mask, junk(cond))):
        assert torch.equal(a[mask], b[mask])
    each = t[:, None].expand(-1, 16)
    for a, b in zip(
        predict(model, x, each, mask, cond),
        predict(model, x, torch.where(mask, each, 0.9), mask, cond),
    ):
        assert torch.equal(a[mask], b[mask])

def test_pads_matter_where_they_are_words():
    model, (x, t, mask, cond) = make('paper'), inputs()
    assert not torch.equal(
        predict(model, x, t, mask, cond)[1][mask],
        predict(model, torch.where(mask[..., None], x, 9.0), t, mask, cond)[1][mask],
    )

@pytest.mark.parametrize('recipe', RECIPES)
def test_a_text_does_not_know_its_neighbours(recipe):
    "In batches of one fixed shape, to the last bit, at whatever place in the batch."
    model, mine, others = make(recipe), inputs(8, 1), inputs(8, 2)
    for a, b in zip(
        predict(model, *mine),
        predict(model, *(torch.cat([m[:3], o[3:]]) for m, o in zip(mine, others))),
    ):
        assert torch.equal(a[:3], b[:3])
    order = torch.randperm(8)
    for a, b in zip(predict(model, *mine), predict(model, *(m[order] for m in mine))):
        assert torch.equal(a[order], b)

def test_one_time_a_text_is_one_time_a_word():
    model, (x, t, mask, cond) = make(), inputs()
    for a, b in zip(
        predict(model, x, t, mask, cond), predict(model, x, t[:, None].expand(-1, 16), mask, cond)
    ):
        assert torch.allclose(a, b, atol=1e-5)

def test_both_directions():
    model, (x, t, _, cond) = make(), inputs()
    changed = x.clone()
    changed[:, 9] += 1
    moved = (
        (predict(model, x, t, None, cond)[0] - predict(model, changed, t, None, cond)[0])
        .abs()
        .amax((0, 2))
    )
    assert (moved > 0).all()

def test_repr_is_one_useful_line():
    line = repr(make())
    assert '\n' not in line and '14 words' in line and 'tokens' in line and 'parameters' in line

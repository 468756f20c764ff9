"Gaps: where they are, what stands around them, a model that learns nothing else, and methods that are no diffusion."
import json
from dataclasses import replace
import pytest, torch
from hypothesis import given, settings, strategies as st
from diffusion_lm_nb import commands
from diffusion_lm_nb.gaps import Infill
from diffusion_lm_nb.infilling import GapLM, gap_mask
from diffusion_lm_nb.reproduction import read_items
from diffusion_lm_nb.commands import control_texts, infill_texts
from diffusion_lm_nb.files import BadInput
from diffusion_lm_nb.corpora import load_corpus, sentences, triples
from diffusion_lm_nb.data import SPECIALS, Vocab, pad_batch
from diffusion_lm_nb.denoiser import DiffusionLM
from diffusion_lm_nb.commands import PRESETS, dlm_train

NOUNS = 'ann ben cat dan'.split()
STORIES = [
    f"{a} came in . {a} sat down {end} all {verb} ."
    for a in NOUNS
    for verb in ('left', 'sang')
    for end in '.!'
]

def test_sentences_and_triples():
    s = sentences("He said `` no . '' Then he left ! why ?".split())
    assert [' '.join(x) for x in s] == ["He said `` no . ''", 'Then he left !', 'why ?']
    assert [' '.join(t) for t in triples([['a'], ['b'], ['c'], ['d']])] == [
        'a b c',
        'a b d',
        'a c d',
        'b c d',
    ]
    assert triples([['a'], ['b']]) == []

def test_known_words():
    v = Vocab(SPECIALS + ['The', 'pub', "'s"])
    assert [v.words[v.known(w)] for w in ('The', 'PUB', 'Pub', '’s', 'the', 'PAD', 'zebra')] == [
        'The',
        'pub',
        'pub',
        "'s",
        'UNK',
        'UNK',
        'UNK',
    ]

@given(
    st.lists(st.lists(st.sampled_from('abc.!'), min_size=1, max_size=20), min_size=1, max_size=6),
    st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_a_gap_is_one_run_of_words(texts, seed):
    v = Vocab(SPECIALS + [*'abc.!'])
    ids, mask = pad_batch([v.encode(t) for t in texts], v.pad)
    gap = gap_mask(ids, mask, {v.ids['.'], v.ids['!']}, torch.Generator().manual_seed(seed))
    for t, row in zip(texts, gap):
        at = row.nonzero()[:, 0].tolist()
        assert (
            at == list(range(at[0], at[-1] + 1)) and 1 <= at[0] and at[-1] <= len(t)
        ) # in a row, neither START nor END nor PAD
        if sum(w in '.!' for w in t) > 2:
            said = [t[k - 1] for k in at]
            assert (
                said[-1] in '.!' and not {*said[:-1]} & {*'.!'} and t[at[0] - 2] in '.!'
            ) # one whole sentence, not the first
            assert any(w in '.!' for w in t[at[-1] :]) # nor the last

@pytest.fixture(scope='module')
def gap_run(tmp_path_factory):
    d = tmp_path_factory.mktemp('gaps')
    (d / 'stories.txt').write_text('\n'.join(STORIES * 4))
    PRESETS['tiny-gaps'] = replace(
        PRESETS['roc-gaps'],
        model=dict(dim=8, width=32, layers=2, heads=2, length=16, dropout=0.0),
        steps=250,
        batch_size=32,
        lr=5e-3,
        warmup=10,
        ema=0.9,
        min_count=0,
        precision='no',
    )
    assert dlm_train(['tiny-gaps', '--data', str(d / 'stories.txt'), '--out', str(d / 'run')]) == 0
    return d / 'run'

def test_a_gap_model_reads_its_context(gap_run):
    lm = DiffusionLM.from_pretrained(gap_run) # loads as any other
    assert not isinstance(lm, GapLM)
    texts = [
        t
        for a in NOUNS
        for t in lm.infill(f'{a} came in . ___{{4}} all left .', n=4, steps=10, seed=0)
    ]
    assert all(
        t.split()[:4] == [a, 'came', 'in', '.']
        for a, ts in zip(NOUNS, zip(*[iter(texts)] * 4))
        for t in ts
    )
    assert sum(t.split()[4] == t.split()[0] for t in texts) >= 15 # chance: 4

def test_capitals_are_kept_and_understood(gap_run, tmp_path):
    items, out = tmp_path / 'items.json', tmp_path / 'out.jsonl'
    items.write_text(
        json.dumps(
            dict(
                x=dict(
                    obs1='Ben came in.', obs2='All left.', n_words=4, gold_labels=['Ben sat down .']
                )
            )
        )
    )
    infill_texts(items=str(items), model=str(gap_run), n=4, steps=10, out=str(out))
    row = json.loads(out.read_text())
    assert all(t.startswith('Ben came in .') and t.endswith('All left .') for t in row['texts'])
    assert sum(g[0].split()[0] == 'ben' for g in row['gaps']) >= 3

def test_stories_are_split_as_the_model_was_taught(tmp_path):
    f = tmp_path / 'items.json'
    f.write_text(json.dumps(dict(x=dict(obs1="It isn't.", obs2='So what?'))))
    assert read_items(f)[0][0].parts[:4] == ['It', 'isn', "'t", '.'] and read_items(f, 'test')[0][
        0
    ].parts[:4] == ['It', 'is', "n't", '.']

def test_a_text_without_room_is_refused(tmp_path):
    (tmp_path / 't.txt').write_text('a ' * 40)
    PRESETS['tiny-gaps-2'] = replace(
        PRESETS['roc-gaps'], model=dict(length=16), min_count=0, precision='no'
    )
    assert (
        dlm_train(
            ['tiny-gaps-2', '--data', str(tmp_path / 't.txt'), '--out', str(tmp_path / 'run')]
        )
        == 2
    )

class Parrot:
    "A method that says its own number."
    model, vocab = 'parrot', Vocab(SPECIALS + ['polly'])
    def write(self, controls, n, seed, indices=None, progress=None):
        return [[f'polly {j} {k} {seed}' for k in range(n)] for j in indices]

def test_other_methods_write_the_same_rows(tmp_path, monkeypatch):
    monkeypatch.setitem(commands.BASELINES, 'parrot', lambda task, device, folder: Parrot())
    (tmp_path / 't.jsonl').write_text('5\n9\n12\n')
    out = tmp_path / 'out.jsonl'
    control_texts(
        'length', targets=str(tmp_path / 't.jsonl'), n=2, out=str(out), method='parrot', shard='1/2'
    )
    control_texts('length', targets=str(tmp_path / 't.jsonl'), n=2, out=str(out), method='parrot')
    rows = [json.loads(l) for l in out.read_text().splitlines()]
    assert (
        [r['number'] for r in rows] == [1, 0, 2]
        and rows[0]['texts'] == ['polly 1 0 0', 'polly 1 1 0']
        and {r['model'] for r in rows} == {'parrot'}
    )
    with pytest.raises(BadInput, match='no method'):
        control_texts(
            'length', targets=str(tmp_path / 't.jsonl'), n=2, out=str(out), method='cuckoo'
        )

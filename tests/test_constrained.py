"Automata, the look ahead of an HMM, grid beam search and Ctrl-G."
import math, random
from dataclasses import replace
from itertools import product
import pytest, torch
from diffusion_lm_nb import BadInput, Infill, Length, PartsOfSpeech, SemanticContent
from diffusion_lm_nb.baselines import Stream, sample_stream
from diffusion_lm_nb.commands import KINDS, PRESETS, make_baseline
from diffusion_lm_nb.constrained_decoding import (
    Automaton, CtrlG, GridBeam, HMM, LookaheadStream, contains_any, control_automaton,
    grid_beam_search, has_length, written_by,
)
from diffusion_lm_nb.corpora import load_corpus
from diffusion_lm_nb.further import Regex
from diffusion_lm_nb.loss import keyed_generator
from diffusion_lm_nb.training import make_ar

WORDS = ['START', 'END', 'UNK', 'PAD', 'a', 'b', 'c']
EVERY = [list(t) for n in range(5) for t in product((4, 5, 6), repeat=n)] # up to four words

def accepts(automaton, text):
    state = 0
    for w in text: state = automaton.table[state, w].item()
    return automaton.accepts[state].item()

def contains(text, phrase):
    return any(text[i:i + len(phrase)] == phrase for i in range(len(text) - len(phrase) + 1))

def hmm(hidden=3, seed=0):
    torch.manual_seed(seed)
    return HMM(WORDS, hidden).requires_grad_(False)

def text_prob(model, text): # p(text END), by the loss
    ids = torch.tensor([[0, *text, 1]])
    return math.exp(-model.token_nats(ids, ids >= 0).sum())

@pytest.fixture(scope='module')
def base():
    torch.manual_seed(0)
    preset = replace(PRESETS['grammar-ar'], batch_size=8,
                     model=dict(width=32, layers=2, heads=2, dropout=0.))
    return make_ar(preset, load_corpus('grammar')[:600], 0)[0].eval().requires_grad_(False)

@pytest.fixture(scope='module')
def blind(base): # an HMM that has learnt nothing: success must not depend on it
    torch.manual_seed(1)
    return HMM(base.vocab.words, 5).requires_grad_(False)

def test_automata_agree_with_logic():
    draw = random.Random(0)
    for _ in range(30):
        phrases = [[draw.choice((4, 5, 6)) for _ in range(draw.randint(1, 3))]
                   for _ in range(draw.randint(1, 3))]
        n, one = draw.randint(1, 4), contains_any(phrases, 7)
        for automaton, truth in (
            (one, lambda t: any(contains(t, p) for p in phrases)),
            (~one, lambda t: not any(contains(t, p) for p in phrases)),
            (one & has_length(n, 7), lambda t: len(t) == n and any(contains(t, p) for p in phrases)),
            (~one & ~has_length(n, 7),
             lambda t: len(t) != n and not any(contains(t, p) for p in phrases)),
        ):
            assert all(accepts(automaton, t) == truth(t) for t in EVERY)

def test_fewest_words():
    both = contains_any([[4, 5]], 7) & has_length(3, 7)
    for t in EVERY:
        ways = [len(u) - len(t) for u in EVERY if u[:len(t)] == t and accepts(both, u)]
        state = 0
        for w in t: state = both.table[state, w].item()
        assert both.fewest(range(4))[state].item() == min(ways, default=math.inf)

@pytest.mark.parametrize('seed', range(4))
def test_the_look_ahead_is_the_sum_over_all_texts(seed):
    model, single = hmm(4, seed), contains_any([[4, 4], [5, 6]], 7)
    for automaton in (single, ~single, single & has_length(3, 7)):
        V = model.ahead(automaton, 5)
        for left in range(6): # tokens, END included
            total = sum(text_prob(model, t) for t in EVERY if len(t) < left and accepts(automaton, t))
            assert (model.initial.double() @ V[left, 0]).item() == pytest.approx(total, rel=1e-4)

class HMMStream: # the HMM as the base model
    def __init__(self, model):
        self.model, self.room, self.z = model, 60, model.initial[None]
    @property
    def logp(self):
        p = self.z @ self.model.emission
        p[:, [0, 2, 3]] = 0
        return p.log().log_softmax(-1)
    def read(self, ids):
        z = self.z * self.model.emission[:, ids].T
        self.z = z / z.sum(1, keepdim=True) @ self.model.transition
    def keep(self, rows): self.z = self.z[rows]

def test_with_the_hmm_as_base_model_the_draws_are_exact():
    model = hmm(3, 2)
    model.emission_logits[:, [0, 2, 3]] = -torch.inf # words and END only
    automaton = contains_any([[4, 5]], 7)
    truth = {tuple(t): text_prob(model, t) for t in EVERY if accepts(automaton, t)}
    for text, p in truth.items():
        stream, q = LookaheadStream(HMMStream(model), model, automaton, 4), 1.
        for w in (*text, 1):
            q *= stream.logp[0, w].exp().item()
            stream.read(torch.tensor([w]))
        assert q == pytest.approx(p / sum(truth.values()), rel=1e-4)

class Chain: # the next word depends on the last one
    table = 2 * torch.randn(7, 7, generator=torch.Generator().manual_seed(3))
    table = table.index_fill(1, torch.tensor([0, 2, 3]), -torch.inf).log_softmax(-1)
    room = 4
    def __init__(self): self.logp = self.table[:1]
    def read(self, ids): self.logp = self.table[ids]
    def keep(self, rows): self.logp = self.logp[rows]

def chain_cost(t):
    return -sum(Chain.table[a, b].item() for a, b in zip((0, *t), (*t, 1))) / (len(t) + 1)

@pytest.mark.parametrize('phrase', [[4], [5, 5], [6, 4, 5], [4, 4, 4]])
def test_grid_beam_search_finds_the_best_text(phrase):
    automaton = contains_any([phrase], 7)
    best = min((t for t in EVERY if accepts(automaton, t)), key=chain_cost)
    cost, found = grid_beam_search(Chain(), automaton, 1, 4, beam=30)[0]
    assert found == best and cost == pytest.approx(chain_cost(best), rel=1e-5)

CONTROLS = [SemanticContent('food', 'Japanese'), SemanticContent('name', 'The Copper Pot'),
            Length(1), Length(17), Length(9) & SemanticContent('near', 'Burger King'),
            SemanticContent('family friendly', 'yes'), Regex('The _{1,3} (is | near) _* .'),
            Regex('(!the)* .') & Length(8)]

@pytest.mark.parametrize('control', CONTROLS, ids=str)
def test_success_is_certain_whatever_the_models_know(base, blind, control):
    automaton = control_automaton(control, base)
    for writer in (CtrlG(base, blind), CtrlG(base, blind, beam=2), GridBeam(base, 2)):
        for text in writer.write([control], n=3)[0]:
            assert accepts(automaton, [base.vocab.ids[w] for w in text.split()]), text

def test_a_yes_is_not_a_part_of_a_no(base):
    automaton = control_automaton(SemanticContent('family friendly', 'yes'), base)
    read = lambda text: accepts(automaton, [base.vocab.ids[w] for w in text.split()])
    assert read('It is family friendly .') and not read('It is not family friendly .')

def test_a_text_does_not_depend_on_its_batch(base, blind):
    writer, control = CtrlG(base, blind), SemanticContent('food', 'Italian') & Length(12)
    four = writer.write([control], n=4, seed=5)[0]
    assert len({*four}) > 1 and writer.write([control], n=4, seed=5)[0] == four
    assert writer.write([control], n=1, seed=5)[0] == four[:1]
    free = Automaton(torch.zeros(1, len(base.vocab), dtype=torch.long), torch.tensor([True]))
    gens = lambda n: [keyed_generator(0, i) for i in range(n)]
    draw = lambda n: sample_stream(
        LookaheadStream(Stream(base, [0]), blind, free, 30), gens(n), 1, 30, least=1)
    assert draw(6)[:2] == draw(2) # of different lengths: rows that are finished change nothing

def test_what_cannot_be_met_is_refused(base, blind):
    for make in (lambda: CtrlG(base, blind), lambda: GridBeam(base)):
        for bad, match in (
            (Length(63), 'no text of at most 62 words'),
            (Length(2) & SemanticContent('name', 'The Copper Pot'), 'no text of at most'),
            (Length(4) & Length(5), 'no text of at most'),
            (PartsOfSpeech(['NOUN']), 'has no automaton'),
            (Infill('The', 'pub .', 2), 'has no automaton'),
            (SemanticContent('food', 'Martian'), 'Martian'),
        ):
            with pytest.raises(BadInput, match=match):
                make().write([bad], 1)
    for method in ('grid-beam', 'ctrl-g', 'ctrl-g-search'):
        with pytest.raises(BadInput, match='cannot do pos: the control has no automaton'):
            make_baseline(method, 'pos')
    with pytest.raises(BadInput, match='different words'):
        CtrlG(base, hmm())

def test_the_hmm_is_distilled_by_its_preset(base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = replace(PRESETS['grammar-hmm'], model=dict(of='grammar-ar', texts=40, hidden=8))
    with pytest.raises(BadInput, match='dlm-train grammar-ar'):
        KINDS['hmm'](small, [], 0)
    base.save_pretrained(tmp_path/'runs/grammar-ar')
    model, batch_at = KINDS['hmm'](small, [], 0)
    ids, mask = batch_at(0)
    texts = sorted([0, *t, 1] for t in written_by(base, 40, seed=0))
    assert written_by(base, 7, rows=3) == written_by(base, 7)
    assert sorted(r[m].tolist() for r, m in zip(ids, mask)) == texts
    before = model(ids, mask)[0]
    before.backward()
    for p in model.parameters(): p.data -= .5 * p.grad
    assert model(ids, mask)[0] < before

def test_methods_find_their_models(base, blind, tmp_path):
    base.save_pretrained(tmp_path/'ar')
    blind.save_pretrained(tmp_path/'hmm')
    food = SemanticContent('food', 'French')
    for method, writer in (('ctrl-g', CtrlG(base, blind)), ('grid-beam', GridBeam(base)),
                           ('ctrl-g-search', CtrlG(base, blind, beam=4))):
        made = make_baseline(method, 'semantic', 'cpu', tmp_path, 'grammar')
        assert made.name == method and made.write([food], 2) == writer.write([food], 2)

def test_a_row_without_a_way_out_is_refused():
    model = hmm(3, 1)
    class Mute(HMMStream): # a base model that can say nothing but b
        @property
        def logp(self): return torch.full((1, 7), -torch.inf).index_fill(1, torch.tensor([5]), 0.)
    stream = LookaheadStream(Mute(model), model, contains_any([[4]], 7), 2)
    stream.read(torch.tensor([5])) # one word is left, and it must be a
    with pytest.raises(BadInput, match='cannot be met any more'): stream.logp

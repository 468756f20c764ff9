"Corpora, grammar, tokeniser, packed files, the n-gram yardstick, and what comes out of broken input."
import csv
import json
import math
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from fresh import fresh_script

from diffusion_lm_nb.files import BadInput, atomic_path, write_atomic
from diffusion_lm_nb.grammar import Example, FIELDS, Grammar, RESTAURANT, canonical_field
from diffusion_lm_nb.corpora import (
    CORPORA, data_home, detokenise, field_values, load_corpus, pack_corpus, read_mr,
    read_official, read_own, tokenise, unpack_corpus,
)
from diffusion_lm_nb.ngram import KneserNey
from diffusion_lm_nb.data import Batches, MAX_WORDS, SPECIALS, Vocab, pad_batch

CARRIED = 'The Eagle is a cheap pub near the river .'.split()
needs_corpus = pytest.mark.skipif(
    not os.environ.get('DLM_DATA'), reason='DLM_DATA is not set: no corpus to test with'
)
grammar = Grammar()


def one_line(error): # the message of a BadInput, checked to be one line
    assert '\n' not in str(error.value)
    return str(error.value)


# --- the grammar -------------------------------------------------------------

def test_grammar_is_unambiguous(): assert grammar.num_derivations() == grammar.num_texts() > 1e7

def test_unambiguity_check_sees_ambiguity():
    twice = Grammar(
        RESTAURANT.replace(
            'VP.cost : 1 VBP/cost NP.sum',
            'VP.cost    : 1 VBP/cost NP.sum | 1 VBP/cost @priceRange.sum',
        )
    )
    assert twice.num_derivations() > twice.num_texts()

def test_one_derivation_by_our_parser_and_by_nltk():
    from nltk.parse import EarleyChartParser

    parser = EarleyChartParser(grammar.to_nltk())
    for e in grammar.sample(300, seed=11):
        assert len(grammar.derivations(e.words)) == 1
    for e in sorted(grammar.sample(30, seed=12), key=lambda e: len(e.words))[:3]:
        assert len(list(parser.parse(e.words))) == 1

def test_size_and_lengths():
    lengths = [len(e.words) for e in load_corpus('grammar')]
    assert 80 <= len(grammar.words) <= 150
    assert min(lengths) == 5 and 28 <= max(lengths) <= MAX_WORDS
    assert set(grammar.words) == {w for e in load_corpus('grammar') for w in e.words}

def test_carried_sentence():
    e = grammar.parse(CARRIED)
    assert e.mr == [
        ('name', 'The Eagle'),
        ('Type', 'pub'),
        ('price', 'cheap'),
        ('near', 'the river'),
    ]
    assert e.tags == 'DET PROPN AUX DET ADJ NOUN ADP DET NOUN PUNCT'.split()
    assert (
        e.tree
        == '(S (NP (DT The) (NNP Eagle)) (VP (VBZ is) (NP (NP (DT a) (JJ cheap) (NN pub)) (PP (IN'
        ' near) (NP (DT the) (NN river))))) (. .))'
    )

def test_examples_agree_with_themselves():
    from nltk import Tree
    labels = set()
    for e in grammar.sample(500, seed=3):
        tree = Tree.fromstring(e.tree)
        assert tree.leaves() == e.words and len(e.tags) == len(e.words) and 'X' not in e.tags
        assert grammar.parse(e.words) == e
        assert [f for f, _ in e.mr] == sorted({f for f, _ in e.mr}, key=FIELDS.index)
        for _, v in e.mr: assert v in ('yes', 'no') or f' {v} ' in f' {" ".join(e.words)} '
        labels |= {t.label() for t in tree.subtrees() if t.height() > 2}
    assert labels == {'S', 'NP', 'VP', 'PP', 'ADJP'}

def test_probabilities_sum_to_one_and_entropy_by_enumeration():
    def texts(item):
        if isinstance(item, tuple):
            return [[item[1]]]
        out = []
        for _, items in grammar.rules[item]:
            rows = [[]]
            for s in items:
                rows = [r + t for r in rows for t in texts(s)]
            out += rows
        return out

    for root in ('S.more_pr', 'S.more_rf', 'NP.place_r'):
        sub, all_of_them = Grammar(root=root), texts(root)
        logs = [sub.log_prob(t) for t in all_of_them]
        assert len(all_of_them) == len(set(map(tuple, all_of_them))) == sub.num_texts()
        assert math.isclose(sum(map(math.exp, logs)), 1, rel_tol=1e-9)
        assert math.isclose(-sum(math.exp(l) * l for l in logs), sub.entropy(), rel_tol=1e-9)
        assert math.isclose(
            sum(math.exp(l) * len(t) for l, t in zip(logs, all_of_them)),
            sub.mean_length(),
            rel_tol=1e-9,
        )

def test_entropy_by_monte_carlo():
    nats = [-grammar.log_prob(e.words) for e in grammar.sample(2000, seed=4)]
    mean = sum(nats) / len(nats)
    error = (sum((x - mean) ** 2 for x in nats)) ** .5 / len(nats)
    assert abs(mean - grammar.entropy()) < 4 * error < .5

@pytest.mark.parametrize(
    'words',
    [
        [],
        ['pub'],
        CARRIED[:-1],
        CARRIED + ['.'],
        ['the'] + CARRIED[1:],
        'A spaceship landed .'.split(),
    ],
)
def test_foreign_texts(words):
    assert (
        grammar.log_prob(words) == -math.inf
        and grammar.parse(words) is None
        and grammar.derivations(words) == []
    )

def test_an_example_depends_on_seed_and_number_alone():
    assert grammar.sample(20, seed=9)[17] == Grammar().example(9, 17)
    assert grammar.sample(5, seed=1) != grammar.sample(5, seed=2)

def test_load_corpus_hands_out_fresh_lists():
    first = load_corpus('grammar', 'test')
    first.clear()
    assert [len(load_corpus('grammar', s)) for s in CORPORA['grammar']] == [20_000, 2_000, 2_000]

@pytest.mark.parametrize(
    'rules,says',
    [
        ('S : 1 NP', 'no rule for'),
        ('S : 1 NN/a S', 'calls itself'),
        ('S : x NN/a', 'S : x NN/a'),
        ('S : 1', 'items'),
        ('S : 0 NN/a', 'weight above 0'),
        ('nonsense', 'nonsense'),
        ('', 'no symbol'),
    ],
)
def test_broken_grammars(rules, says):
    with pytest.raises(BadInput) as e:
        Grammar(rules)
    assert says in one_line(e)


# --- vocabulary and batches --------------------------------------------------

def test_vocab():
    v = Vocab.from_texts([['b', 'a', 'PAD'], ['b', 'c']], more_than=0)
    assert v.words == SPECIALS + ['b', 'a', 'c']
    assert v.encode(['b', 'zzz']) == [0, 4, 2, 1] and v.decode([0, 4, 3, 5, 1, 4]) == ['b', 'a']
    with pytest.raises(BadInput): Vocab(['a', 'b'])

def test_batches_are_a_function_of_the_step():
    seqs = [[0, *range(4, 4 + n % 9), 1] for n in range(200)]
    for kw in ({}, {'length': 16}):
        a, b = Batches(seqs, 3, 16, seed=5, **kw), Batches(seqs, 3, 16, seed=5, **kw)
        for step in range(40):
            a(step)
        for step in (31, 3, 17):
            assert (
                all((x == y).all() for x, y in zip(a(step)[:2], b(step)[:2]))
                and a(step)[2] == b(step)[2]
            )
        epoch = [i for s in range(a.per_epoch) for i in a(s)[2]]
        assert len(set(epoch)) == len(epoch) == a.per_epoch * 16
    assert Batches(seqs[:3], 3, 64)(5)[0].shape[0] == 3

def test_too_long_for_the_batch():
    with pytest.raises(BadInput) as e: pad_batch([[0, 4, 4, 4, 1]], 3, length=4)
    assert 'too long' in one_line(e)


# --- meaning -----------------------------------------------------------------

@pytest.mark.parametrize(
    'name,is_',
    [
        ('eatType', 'Type'),
        ('TYPE', 'Type'),
        ('price range', 'price'),
        ('priceRange', 'price'),
        ('Customer Rating', 'customer rating'),
        ('customer_rating', 'customer rating'),
        ('familyfriendly', 'family friendly'),
    ],
)
def test_fields(name, is_):
    assert canonical_field(name) == is_

@pytest.mark.parametrize('name', ['colour', '', 'name2x', None])
def test_unknown_field(name):
    with pytest.raises(BadInput) as e: canonical_field(name)
    assert all(f in one_line(e) for f in FIELDS)

def test_official_meaning():
    assert read_mr(
        'name[The Eagle], priceRange[£20-25], customer rating[5 out of 5], familyFriendly[no]'
    ) == [
        ('name', 'The Eagle'),
        ('price', '£ 20 - 25'),
        ('customer rating', '5 out of 5'),
        ('family friendly', 'no'),
    ]
    assert field_values(
        [Example(['a'], [('food', 'French')]), Example(['b'], [('food', 'French'), ('near', 'x')])]
    ) == Counter({('food', 'French'): 2, ('near', 'x'): 1})


# --- words -------------------------------------------------------------------

@pytest.mark.parametrize(
    'rules,text,words',
    [
        ('train', "It isn't £20-25.", "It isn 't £ 20 - 25 ."),
        ('test', "It isn't £20-25.", "It is n't £ 20 - 25 ."),
        ('train', 'About £12.50, or £1,000!', 'About £ 12.50 , or £ 1,000 !'),
        ('train', 'Family-friendly café', 'Family - friendly café'),
        ('train', "The Bakers' pub's...", "The Bakers ' pub 's ..."),
        ('test', "We won't, can't.", "We wo n't , ca n't ."),
        (
            'stories',
            'Her sister-in-law said "No" at 6:30, and CANNOT swim.',
            "her sister-in-law said '' no '' at 6:30 , and can not swim .",
        ),
        ('train', '', ''),
        ('train', ' \t ', ''),
    ],
)
def test_tokenise(rules, text, words):
    assert tokenise(text, rules) == words.split()
    assert tokenise(words, rules) == words.split() # text that has been split stays as it is

def test_tokenise_names_its_rules():
    with pytest.raises(BadInput) as e: tokenise('a', 'klingon')
    assert 'stories' in one_line(e)

def test_detokenise():
    assert (
        detokenise("It is n't cheap : £ 20 - 25 , family - friendly .".split())
        == "It isn't cheap: £20-25, family-friendly."
    )
    assert detokenise([]) == ''
    for e in grammar.sample(200):
        assert tokenise(detokenise(e.words)) == e.words

@needs_corpus
@pytest.mark.parametrize(
    'split,file,n',
    [
        ('train', 'trainset.csv', 42_061),
        ('valid', 'devset.csv', 4_672),
        ('test', 'testset_w_refs.csv', 4_693),
    ],
)
def test_tokeniser_follows_the_tokenised_corpus(split, file, n):
    theirs, ours = load_corpus('e2e', split), read_official(
        data_home() / 'e2e' / file, 'test' if split == 'test' else 'train'
    )
    assert len(theirs) == len(ours) == n
    equal = sum(a.words == b.words for a, b in zip(theirs, ours)) / n
    some, rules = theirs[::4], 'test' if split == 'test' else 'train'
    together = sum(tokenise(detokenise(e.words), rules) == e.words for e in some) / len(some)
    print(f'{split}: {equal:.2%} of the lines come out equal, {together:.2%} after detokenise')
    assert equal > 0.998 and together > 0.998 - 1e-3
    assert all(a.mr == b.mr for a, b in zip(theirs, ours))


# --- corpora -----------------------------------------------------------------

@needs_corpus
def test_e2e_has_the_papers_vocabulary():
    train = load_corpus('e2e')
    assert len(Vocab.from_texts([e.words for e in train])) == 821
    assert len(field_values(train)) == 79 and {f for f, _ in field_values(train)} == set(FIELDS)

@needs_corpus
def test_no_text_of_e2e_is_in_the_grammar():
    known = set(grammar.words)
    texts = {tuple(e.words) for s in CORPORA['e2e'] for e in load_corpus('e2e', s)}
    assert not [t for t in texts if known.issuperset(t) and grammar.log_prob(t) > -math.inf]

@needs_corpus
def test_kneser_ney_on_e2e():
    train, test = (
        [e.words for e in load_corpus('e2e', s) if len(e.words) <= MAX_WORDS]
        for s in ('train', 'test')
    )
    nats = sum(map((kn := KneserNey(5, Vocab.from_texts(train).ids).fit(train)).nats, test))
    assert abs(nats / sum(len(t) + 3 for t in test) - 1.65) < 0.01 # a block token
    assert abs(nats / sum(len(t) + 1 for t in test) - 1.77) < 0.01 # words and END
    assert kn.size == 817 + 2 # the words, END and UNK

@needs_corpus
def test_stories():
    assert [len(load_corpus('roc', s)) for s in CORPORA['roc']] == [53_348, 5_000]
    for e in load_corpus('roc', 'valid')[:500]:
        assert (t := ' '.join(e.words)) == t.lower() and tokenise(t, 'stories') == e.words

def official(folder): # a tiny release of our own making
    (folder / 'e2e').mkdir(parents=True)
    for f in ('trainset.csv', 'devset.csv', 'testset_w_refs.csv'):
        with open(folder / 'e2e' / f, 'w', encoding='utf8', newline='') as out:
            csv.writer(out).writerows(
                [['mr', 'ref'], ['name[Luna], eatType[pub]', "Luna isn't a pub, \"they\" say."]]
            )

def test_official_files_where_no_tokenised_ones_are(tmp_path, monkeypatch):
    official(tmp_path)
    monkeypatch.setenv('DLM_DATA', str(tmp_path))
    assert load_corpus('e2e') == [
        Example("Luna isn 't a pub , \" they \" say .".split(), [('name', 'Luna'), ('Type', 'pub')])
    ]
    assert "is n't" in ' '.join(load_corpus('e2e', 'test')[0].words)

def test_offline_names_both_ways(monkeypatch, tmp_path):
    import datasets

    def unreachable(*a, **k):
        raise ConnectionError('no way\nout')

    monkeypatch.delenv('DLM_DATA', raising=False)
    monkeypatch.setattr(datasets, 'load_dataset', unreachable)
    with pytest.raises(BadInput) as e:
        load_corpus('e2e')
    assert 'DLM_DATA' in one_line(e) and 'tuetschek/e2e_nlg' in one_line(e)
    with pytest.raises(BadInput) as e:
        load_corpus('roc')
    assert 'DLM_DATA' in one_line(e)

@pytest.mark.parametrize('answers', [True, False])
def test_a_missing_network_is_noticed_once(monkeypatch, answers):
    import datasets
    from huggingface_hub import constants, utils
    from diffusion_lm_nb.corpora import _offline_if_alone
    asked = []
    class Session:
        def head(self, address, timeout):
            asked.append(address)
            if not answers: raise ConnectionError('no way out')
    monkeypatch.setattr(utils, 'get_session', Session)
    for library in (constants, datasets.config):
        monkeypatch.setattr(library, 'HF_HUB_OFFLINE', False)
    for _ in range(2): _offline_if_alone()
    assert len(asked) == 1 + answers and constants.is_offline_mode() is not answers
    assert datasets.config.HF_HUB_OFFLINE is not answers

def test_from_the_hub(monkeypatch):
    import datasets

    monkeypatch.delenv('DLM_DATA', raising=False)
    monkeypatch.setattr(
        datasets,
        'load_dataset',
        lambda name, split, **k: [
            {'meaning_representation': 'name[Luna]', 'human_reference': f'Luna, {split}.'}
        ],
    )
    assert load_corpus('e2e', 'valid') == [
        Example(['Luna', ',', 'validation', '.'], [('name', 'Luna')])
    ]

@pytest.mark.parametrize(
    'name,split,says',
    [
        ('e2e', 'dev', 'train, valid, test'),
        ('roc', 'test', 'train, valid'),
        ('grammar', 'all', 'no split'),
        ('no/such/file.txt', 'train', 'grammar'),
        ('', 'train', ''),
    ],
)
def test_wrong_names(name, split, says):
    with pytest.raises(BadInput) as e:
        load_corpus(name, split)
    assert says in one_line(e)

def test_dlm_data_that_is_no_folder(monkeypatch):
    monkeypatch.setenv('DLM_DATA', '/no/such/folder')
    with pytest.raises(BadInput) as e: load_corpus('e2e')
    assert 'DLM_DATA' in one_line(e)


# --- one's own files, good and broken ----------------------------------------

def test_own_text_in_three_forms(tmp_path):
    texts = ["It's a pub, \"really\".", 'Café at the river.']
    (tmp_path / 'a.txt').write_text('\ufeff' + '\r\n\r\n'.join(texts), encoding='utf8')
    (tmp_path / 'a.jsonl').write_text(
        '\n'.join(json.dumps({'text': t, 'n': 1}) for t in texts), encoding='utf8'
    )
    with open(tmp_path / 'a.csv', 'w', encoding='utf8', newline='') as f:
        csv.writer(f).writerows([['id', 'text'], *enumerate(texts)])
    want = [Example(tokenise(t)) for t in texts]
    for f in ('a.txt', 'a.jsonl', 'a.csv'):
        assert load_corpus(tmp_path / f) == load_corpus(str(tmp_path / f)) == want
    with pytest.raises(BadInput) as e:
        load_corpus(tmp_path / 'a.txt', 'test')
    assert 'train' in one_line(e)

def test_own_text_that_is_tokenised_e2e(tmp_path):
    (tmp_path / 'a.txt').write_text(
        'name : Luna | Type : pub||Luna is a pub . \nname : Luna||no 5. here\n'
    )
    assert read_own(tmp_path / 'a.txt') == [
        Example('Luna is a pub .'.split(), [('name', 'Luna'), ('Type', 'pub')]),
        Example(['no', '5.', 'here'], [('name', 'Luna')]),
    ]

@pytest.mark.parametrize(
    'name,data,says',
    [
        ('a.txt', b'', 'empty'),
        ('a.txt', b' \n\n', 'empty'),
        ('a.txt', b'fine\nCaf\xe9', 'line 2'),
        ('a.txt', b'a : b||fine\nno bars', 'line 2'),
        ('a.jsonl', b'{"text": "a"}\n\n{"text": "b"', 'line 3'),
        ('a.jsonl', b'{"text": "a"}\n[1]', 'line 2'),
        ('a.jsonl', b'{"words": "a"}', 'line 1'),
        ('a.jsonl', b'{"text": 7}', 'line 1'),
        ('a.csv', b'id,words\n1,a', "'text'"),
        ('a.csv', b'text\n"open', 'not CSV'),
        ('a.csv', b'id,text\n1,a\n2', 'line 3'),
        ('a.csv', b'text\n', 'no text'),
        ('a.csv', b'text\n\xff', 'line 2'),
        ('a.safetensors', b'', 'pack_corpus'),
        ('a.safetensors', b'rubbish' * 99, 'pack_corpus'),
        ('a.pt', b'rubbish', 'pack_corpus'),
    ],
)
def test_broken_files(tmp_path, name, data, says):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(BadInput) as e:
        load_corpus(tmp_path / name)
    assert says in one_line(e) and str(tmp_path / name) in one_line(e)

def test_folder_and_missing_file(tmp_path):
    with pytest.raises(BadInput) as e: load_corpus(tmp_path)
    assert 'folder' in one_line(e)
    with pytest.raises(BadInput) as e: read_own(tmp_path/'none.txt')
    assert 'no such file' in one_line(e)


# --- packed corpora and files that are whole ---------------------------------

@pytest.mark.parametrize(
    'name',
    ['grammar', pytest.param('e2e', marks=needs_corpus), pytest.param('roc', marks=needs_corpus)],
)
def test_pack_round_trip(tmp_path, monkeypatch, name):
    if name == 'roc': monkeypatch.setitem(CORPORA, name, ('valid',)) # train is large
    path = tmp_path / 'c.safetensors'
    counts = pack_corpus(name, path)
    back = unpack_corpus(path)
    assert back == {s: load_corpus(name, s) for s in CORPORA[name]} and counts == {
        s: len(x) for s, x in back.items()
    }
    assert load_corpus(path, 'valid') == back['valid'] and os.listdir(tmp_path) == ['c.safetensors']
    with pytest.raises(BadInput) as e:
        load_corpus(path, 'nonsense')
    assert 'valid' in one_line(e)

def test_pack_own_file(tmp_path):
    (tmp_path/'a.txt').write_text('Luna is closed.\nCafé\n', encoding='utf8')
    assert pack_corpus(tmp_path/'a.txt', tmp_path/'b.safetensors') == {'train': 2}
    assert load_corpus(tmp_path/'b.safetensors') == load_corpus(tmp_path/'a.txt')
    with pytest.raises(BadInput): pack_corpus(tmp_path/'a.txt', tmp_path/'b.bin')

def test_packed_file_that_was_cut_off(tmp_path):
    (tmp_path/'a.txt').write_text('Luna is closed.\n' * 50)
    pack_corpus(tmp_path/'a.txt', p := tmp_path/'b.safetensors')
    data = p.read_bytes()
    for n in (5, len(data) // 2, len(data) - 1):
        p.write_bytes(data[:n])
        with pytest.raises(BadInput): load_corpus(p)

def test_safetensors_of_another_kind(tmp_path):
    import torch
    from safetensors.torch import save_file
    save_file({'weight': torch.zeros(2)}, tmp_path/'m.safetensors')
    with pytest.raises(BadInput) as e: load_corpus(tmp_path/'m.safetensors')
    assert 'pack_corpus' in one_line(e)

def test_write_atomic(tmp_path):
    p = tmp_path/'new folder'/'a.txt'
    write_atomic(p, 'café'); assert p.read_text(encoding='utf8') == 'café'
    write_atomic(p, b'bytes'); assert p.read_bytes() == b'bytes'
    write_atomic(p, lambda t: t.write_text('function')); assert p.read_text() == 'function'
    assert os.listdir(p.parent) == ['a.txt']

@pytest.mark.parametrize(
    'error', [OSError(28, 'No space left on device'), KeyboardInterrupt(), ValueError('x')]
)
def test_a_failed_write_leaves_the_old_file(tmp_path, error):
    p = tmp_path / 'a.txt'
    p.write_text('old')
    with pytest.raises(type(error)):
        with atomic_path(p) as temp:
            temp.write_text('half')
            raise error
    assert p.read_text() == 'old' and os.listdir(tmp_path) == ['a.txt']

def test_a_write_to_no_file(tmp_path):
    with pytest.raises(BadInput): write_atomic(tmp_path, 'x')
    with pytest.raises(BadInput): write_atomic('/dev/null', 'x')

def test_a_link_stays_a_link(tmp_path):
    (tmp_path/'target').write_text('old'); (tmp_path/'link').symlink_to('target')
    write_atomic(tmp_path/'link', 'new')
    assert (tmp_path/'link').is_symlink() and (tmp_path/'target').read_text() == 'new'


def dlm_pack(*args, cwd): # as the script that pip writes -> exit code, stdout, stderr
    (cwd / 'dlm-pack').write_text(
        'import sys\nfrom diffusion_lm_nb.commands import dlm_pack\nsys.exit(dlm_pack())\n')
    return fresh_script(cwd / 'dlm-pack', args, cwd, os.environ, 120)

def test_a_labelled_corpus_is_packed_with_its_trees(tmp_path, monkeypatch):
    from diffusion_lm_nb import commands
    from diffusion_lm_nb.corpora import Example
    asked = []
    def labelled(name, split):
        asked.append((name, split))
        return [Example(['It', 'is', split], [('food', 'French')], ['PRON', 'AUX', 'ADJ'],
                        '(S (NP It) (VP is ADJ))')]
    monkeypatch.setattr(commands, 'labelled_corpus', labelled)
    out = tmp_path / 'e.safetensors'
    commands.pack_file('e2e-labelled', str(out))
    assert asked == [('e2e', s) for s in ('train', 'valid', 'test')]
    for name, split in [*asked]:
        e, = load_corpus(out, split)
        assert e == labelled(name, split)[0] and e.tree.startswith('(S')

def test_dlm_pack(tmp_path):
    (tmp_path / 'a.txt').write_text('Luna is closed.\n')
    done = dlm_pack('a.txt', '--out', 'b.safetensors', cwd=tmp_path)
    assert done == (0, 'b.safetensors: 1 train\n', '')
    assert load_corpus(tmp_path / 'b.safetensors') == load_corpus(tmp_path / 'a.txt')
    for bad in (['none.txt'], ['a.txt', '--out', 'b.bin']):
        code, out, err = dlm_pack(*bad, cwd=tmp_path)
        assert code == 2 and not out and err.startswith('dlm-pack: ') and err.count('\n') == 1


# --- Kneser-Ney --------------------------------------------------------------

@pytest.mark.parametrize(
    'order,vocab', [(1, None), (2, None), (5, None), (3, {'The', 'is', 'a', '.'})]
)
def test_kneser_ney_sums_to_one(order, vocab):
    kn = KneserNey(order, vocab).fit([e.words for e in grammar.sample(300)])
    words = {g[0] for g in kn.counts[1]} | {'UNK'}
    for context in (
        ('START',) * 4,
        ('Eagle', 'is', 'a', 'cheap'),
        ('x', 'y', 'is', 'a'),
        ('x', 'y', 'z', '!'),
    ):
        assert math.isclose(
            sum(kn.prob(w, context[5 - order :] if order < 5 else context) for w in words),
            1,
            rel_tol=1e-9,
        )

def test_kneser_ney_comes_near_the_entropy_and_not_below():
    test = [e.words for e in load_corpus('grammar', 'test')]
    tokens, floor = sum(len(t) + 1 for t in test), -sum(map(grammar.log_prob, test))
    nats = [
        sum(map(KneserNey(5).fit([e.words for e in load_corpus('grammar')[:n]]).nats, test))
        for n in (300, 3000, 20_000)
    ]
    assert nats[0] > nats[1] > nats[2] > floor and (nats[2] - floor) / tokens < 0.1

def test_data_is_light():
    heavy = subprocess.run(
        [
            sys.executable,
            '-c',
            (
                'import sys, diffusion_lm_nb.data; print(*[m for m in ("nltk", "datasets", "nbdev",'
                ' "accelerate", "spacy") if m in sys.modules])'
            ),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert not heavy

"""Trees of samples: what is common is there once, and nobody sees what is not theirs."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm2vla.training.packing import Tokens, pack

IMAGE = 9


def seen_by(tree, place):
    return set(np.flatnonzero(tree.mask()[place]).tolist())


def test_common_beginnings_are_there_once():
    tree = pack([Tokens((1, 2, 3), (4, 5)), Tokens((1, 2, 6), (7,)), Tokens((1, 2, 3, 4, 5, 8), (5,))], None)
    assert len(tree) == 9  # 1 2 3 4 5, 6 7, 8 5
    assert sorted(zip(tree.ids[tree.sources], tree.targets, strict=True)) == [(3, 4), (4, 5), (6, 7), (8, 5)]


def test_a_picture_sees_itself_and_text_sees_only_what_was_before():
    tree = pack([Tokens((1, IMAGE, IMAGE, IMAGE, 2), (3,)), Tokens((1, IMAGE, IMAGE, IMAGE, 4), (5,))], IMAGE)
    assert tree.pictures == (0,)
    assert seen_by(tree, 1) == {0, 1, 2, 3}
    assert seen_by(tree, 0) == {0}
    second = int(np.flatnonzero(tree.ids == 4)[0])
    assert seen_by(tree, second) == {0, 1, 2, 3, second}


def test_two_pictures_are_two_blocks_and_a_repeated_one_names_its_picture():
    prompt = (1, IMAGE, IMAGE, 2, IMAGE, IMAGE, 3)
    tree = pack([Tokens(prompt, (4,)), Tokens((8, *prompt), (4,))], IMAGE)
    assert tree.pictures == (0, 1, 0, 1)
    first = int(np.flatnonzero(tree.blocks == 1)[0])
    assert {place for place in seen_by(tree, first) if tree.ids[place] == IMAGE} == set(
        np.flatnonzero((tree.blocks == 0) | (tree.blocks == 1)).tolist()
    )


def test_a_window_bounds_text_but_not_a_picture():
    tree = pack([Tokens((IMAGE,) * 5 + (1, 2, 3), (4,))], IMAGE)
    mask = tree.mask(window=2)
    assert np.flatnonzero(mask[7]).tolist() == [6, 7]
    assert mask[0, :5].all()


sequences = st.lists(st.integers(1, 4), min_size=1, max_size=6).map(tuple)


@given(st.lists(st.tuples(sequences, sequences), min_size=1, max_size=5))
@settings(max_examples=60)
def test_every_sample_can_be_read_off_the_tree_in_its_order(samples):
    tree = pack([Tokens(*sample) for sample in samples], IMAGE)
    mask, paths = tree.mask(), set()
    for place in range(len(tree)):
        way = np.flatnonzero(mask[place])
        assert sorted(tree.positions[way].tolist()) == list(range(tree.positions[place] + 1))
        paths.add(tuple(tree.ids[way[np.argsort(tree.positions[way])]].tolist()))
    for prompt, completion in samples:
        assert prompt + completion in paths
    assert len(tree.targets) == sum(len(completion) for _, completion in samples)

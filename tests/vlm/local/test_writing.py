"""Tokens become text as they arrive, whatever they are pieces of."""

import random

import pytest

from tests.vlm.tiny_model import make_tokenizer
from vlm2vla.vlm.local.writing import Spelling, Texts


class Counting:
    """A tokenizer that remembers how much it was asked to decode at once."""

    def __init__(self, tokenizer):
        self._tokenizer, self.longest, self.calls = tokenizer, 0, 0

    def __len__(self):
        return len(self._tokenizer)

    def decode(self, ids, **more):
        self.longest, self.calls = max(self.longest, len(ids)), self.calls + 1
        return self._tokenizer.decode(ids, **more)


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


@pytest.mark.parametrize("seed", range(20))
def test_pieces_join_to_the_whole_text_and_each_is_decoded_with_few_neighbours(tokenizer, seed):
    rng, pieces = (
        random.Random(seed),
        ["move the gripper", " ", "  ", "é", "日本", "🤖", "🤖🦾🤖", "[[2.5, 0.0]]", "\n", "ß", "<unused3>"],
    )
    text = "".join(rng.choices(pieces, k=60))
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    counting = Counting(tokenizer)
    spelling = Spelling(Texts(counting), frozenset())
    assert "".join(spelling.add(token) for token in ids) == tokenizer.decode(ids) == text
    assert counting.longest < 32


def test_a_beginning_that_was_given_decides_how_the_next_token_joins_it(tokenizer):
    ids = tokenizer("move the gripper forward", add_special_tokens=False)["input_ids"]
    for place in range(len(ids)):
        spelling = Spelling(Texts(tokenizer), frozenset(), ids[:place])
        assert (
            "".join(spelling.add(token) for token in ids[place:])
            == tokenizer.decode(ids)[len(tokenizer.decode(ids[:place])) :]
        )


def test_the_text_of_a_token_is_decoded_once(tokenizer):
    counting = Counting(tokenizer)
    texts = Texts(counting)
    assert [texts[300], texts[300], texts[10**6]] == [tokenizer.decode([300])] * 2 + [""]
    assert counting.calls == 1

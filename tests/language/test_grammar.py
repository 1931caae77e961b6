"""The grammars accept what the forms write, and nothing else; proven with the engine that will use them."""

import itertools

import numpy as np
import pytest

from vlm2vla.errors import ActionParseError
from vlm2vla.language import form
from vlm2vla.types import ActionChunk

FORMS = (
    "rows:0.5cm",
    "rows:1cm",
    "rows:0.3cm",
    "rows7:0.25cm:5deg",
    "sentence:0.5cm",
    "sentence:1cm",
    "sentence7:0.5cm:1deg",
    "tokens:0.5cm",
)


@pytest.fixture(scope="module")
def accepts():
    xgrammar = pytest.importorskip("xgrammar")
    testing = pytest.importorskip("xgrammar.testing")
    compiled = {name: xgrammar.Grammar.from_ebnf(form(name).grammar()) for name in FORMS}
    return lambda name, text: testing._is_grammar_accept_string(compiled[name], text)


@pytest.mark.parametrize("name", FORMS)
def test_every_text_that_a_form_writes_is_accepted_and_nothing_around_it(accepts, name):
    rng = np.random.default_rng(7)
    action_form = form(name)
    width = 7 if action_form.rotation else 4
    for rows in [*range(6), 20] * 4:
        values = rng.choice([0, 0.005, -0.005, 0.03, -0.1, 0.117, -0.333, 0.95, -0.98], size=(rows, width))
        values[:, -1] = rng.integers(0, 2, rows) if rng.random() < 0.7 else 1
        values[rng.random(rows) < 0.3, :-1] = 0
        text = action_form.verbalize(ActionChunk(values))
        assert accepts(name, text), text
        assert not accepts(name, f"{text} ")
        assert not accepts(name, f" {text}")


@pytest.mark.parametrize("name", FORMS)
def test_the_largest_values_are_accepted_and_larger_ones_refused(accepts, name):
    action_form = form(name)
    most = action_form.centimetres.most * action_form.centimetres.step / 100
    row = [most, -most, most, *([np.pi, -np.pi, np.pi] if action_form.rotation else []), 1]
    text = action_form.verbalize(ActionChunk(np.array([row])))
    assert accepts(name, text)
    if not name.startswith("tokens"):
        assert not accepts(name, text.replace("100", "101").replace("99.9", "100.2"))


def test_every_row_count_up_to_the_limit_is_accepted(accepts):
    action_form = form("rows:0.5cm")
    full = np.tile([0.01, 0, 0, 1.0], (64, 1))
    text = action_form.verbalize(ActionChunk(full))
    assert accepts("rows:0.5cm", text)
    assert not accepts("rows:0.5cm", text[:-1] + ", [1.0, 0.0, 0.0, 1]]")


@pytest.mark.parametrize(
    "text",
    [
        "[[-0.0, 0.0, 0.0, 1]]",
        "[[0, 0.0, 0.0, 1]]",
        "[[0.3, 0.0, 0.0, 1]]",
        "[[00.5, 0.0, 0.0, 1]]",
        "[[0.0, 0.0, 0.0, 2]]",
        "[[0.0, 0.0, 0.0]]",
        "[[0.0,0.0,0.0,1]]",
        "[[0.0, 0.0, 0.0, 1],]",
        "[0.0, 0.0, 0.0, 1]",
        "[[0.0, 0.0, 0.0, 0.0, 1]]",
        "[[100.5, 0.0, 0.0, 1]]",
        "[[0.0, 0.0, 0.0, 1]",
    ],
)
def test_rows_that_are_never_written_are_refused(accepts, text):
    assert accepts("rows:0.5cm", "[[0.5, 0.0, 0.0, 1]]")
    assert not accepts("rows:0.5cm", text)


@pytest.mark.parametrize(
    "text",
    [
        "move forward 4 cm",
        "move forward 4 cm, then lower 3 cm",
        "with the gripper open, move forward 4 cm, then close the gripper",
        "with the gripper open, hold still",
        "open the gripper, then open the gripper",
        "close the gripper, hold still, then close the gripper and raise 2 cm",
        "open the gripper and raise 2 cm",
        "move forward 4 cm, close the gripper",
        "move forward 4.0 cm, then close the gripper",
        "move forward 0 cm, then close the gripper",
        "move up 4 cm, then close the gripper",
        "move left 4 cm and forward 1 cm, then close the gripper",
        "hold still, then close the gripper",
    ],
)
def test_sentences_that_are_never_written_are_refused(accepts, text):
    assert accepts("sentence:0.5cm", "move forward 4 cm, then close the gripper")
    assert not accepts("sentence:0.5cm", text)


def test_the_sentence_grammar_and_the_form_agree_on_every_order_of_clauses(accepts):
    """All sentences of up to four clauses: accepted exactly if the form writes them itself."""
    action_form = form("sentence:0.5cm")
    clauses = ("raise 1 cm", "hold still", "open the gripper", "close the gripper and raise 1 cm")
    for count in range(1, 5):
        for chosen in itertools.product(clauses, repeat=count):
            body = ", ".join(chosen[:-1]) + ", then " + chosen[-1] if count > 1 else chosen[0]
            for text in (body, f"with the gripper closed, {body}"):
                try:
                    written = action_form.verbalize(action_form.parse(text)) == text
                except ActionParseError:
                    written = False
                assert accepts("sentence:0.5cm", text) is written, text

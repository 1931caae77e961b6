"""The sentence: row boundaries and the gripper survive, and nothing is guessed."""

import numpy as np
import pytest

from vlm2vla.errors import ActionParseError, AnnotationError
from vlm2vla.language import form
from vlm2vla.types import ActionChunk

SENTENCE = form("sentence:0.5cm")
SENTENCE7 = form("sentence7:0.5cm:1deg")


def chunk(*rows_cm) -> ActionChunk:
    rows = np.array(rows_cm, dtype=float)
    rows[:, :3] /= 100
    rows[:, 3:-1] = np.radians(rows[:, 3:-1])
    return ActionChunk(rows)


PAIRS = [
    (
        [(4, 1, 0, 1), (0, 0, -3, 1), (0, 0, 0, 0)],
        "move forward 4 cm and left 1 cm, lower 3 cm, then close the gripper",
    ),
    ([(2.5, 0, 0, 1)], "with the gripper open, move forward 2.5 cm"),
    ([(2.5, 0, 0, 0)], "with the gripper closed, move forward 2.5 cm"),
    ([(0, 0, 0, 0)], "close the gripper"),
    ([(0, 0, 0, 1)], "open the gripper"),
    ([(0, 0, 0, 1), (0, 0, 0, 1)], "open the gripper, then hold still"),
    ([(0, 0, 2, 0), (0, 0, 0, 0)], "with the gripper closed, raise 2 cm, then hold still"),
    ([(0, 0, -2, 1), (0, 0, 2, 0)], "lower 2 cm, then close the gripper and raise 2 cm"),
    ([(-1, -2, -3, 0), (0, 0, 0, 1)], "move back 1 cm and right 2 cm and down 3 cm, then open the gripper"),
    ([(0, 0, 0, 0), (0, 0, 3, 0), (0, 0, 0, 1)], "close the gripper, raise 3 cm, then open the gripper"),
    ([(0, 1, 0, 1), (0, 1, 0, 1)], "with the gripper open, move left 1 cm, then move left 1 cm"),
]


@pytest.mark.parametrize(("rows", "text"), PAIRS)
def test_rows_and_sentences_are_one_to_one(rows, text):
    assert SENTENCE.verbalize(chunk(*rows)) == text
    assert SENTENCE.parse(text) == chunk(*rows)


def test_rotations_have_words_of_their_own():
    rows = chunk((1, 0, 0, 5, 10, 15, 1), (0, 0, 0, -5, -10, -15, 1), (0, 0, 1, 0, 0, -90, 0))
    text = (
        "move forward 1 cm and roll left 5 degrees and tilt back 10 degrees and rotate counterclockwise 15 degrees, "
        "roll right 5 degrees and tilt forward 10 degrees and rotate clockwise 15 degrees, "
        "then close the gripper and raise 1 cm and rotate clockwise 90 degrees"
    )
    assert SENTENCE7.verbalize(rows) == text
    assert SENTENCE7.parse(text) == rows


def test_no_rows_and_a_row_of_rest_are_told_apart():
    nothing = ActionChunk(np.zeros((0, 4)))
    assert SENTENCE.verbalize(nothing) == "hold still"
    assert len(SENTENCE.parse("Hold still.")) == 0
    assert SENTENCE.parse("with the gripper open, hold still") == chunk((0, 0, 0, 1))


@pytest.mark.parametrize(
    "text",
    [
        "  Move forward 4 cm AND left 1 cm,lower 3 cm , then close the gripper.",
        "```\nmove forward 4 cm and left 1 cm, lower 3 cm, then close the gripper\n```",
        "Action: move forward 4.0 cm and left 1.00 cm, then lower 3 cm, then close the gripper. Done!",
        "move forward 4cm and left 1 centimeter then lower 3 centimetres then close the gripper\nThe cup is held.",
        "with the gripper open move forward 4 cm and move left 1 cm, move down 3 cm, then close the gripper",
        "move left 1 cm and forwards 4 cm, lower 3 cm,\nthen close the gripper",
    ],
)
def test_harmless_variation_is_read(text):
    assert SENTENCE.parse(text) == chunk((4, 1, 0, 1), (0, 0, -3, 1), (0, 0, 0, 0))


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        ("", 0, "nothing"),
        ("move forward 4 cm", 0, "gripper is not told"),
        ("with the gripper, move forward 4 cm", 16, "open' or 'closed"),
        ("with the gripper open, move 4 cm forward", 28, "direction"),
        ("with the gripper open, move forward", 35, "how far"),
        ("with the gripper open, move forward -4 cm", 36, "without sign"),
        ("with the gripper open, move forward NaN cm", 36, "how far"),
        ("with the gripper open, move forward 4", 37, "unit"),
        ("with the gripper open, move forward 4 mm", 38, "unit"),
        ("with the gripper open, move forward 4 degrees", 38, "unit"),
        ("with the gripper open, move forward 101 cm", 36, "beyond"),
        ("with the gripper open, move forward 4 cm and back 4 cm", 45, "same axis"),
        ("with the gripper open, move forward 4 cm, left 1 cm", 42, "expected"),
        ("with the gripper open, move forward 4 cm left 1 cm", 41, "expected"),
        ("with the gripper open, move forward 4 cm and close the gripper", 45, "direction"),
        ("with the gripper open, rotate clockwise 4 degrees", 30, "direction"),
        ("open the gripper, then", 22, "expected"),
        ("with the gripper open, move forward 4 cm. Then lower 3 cm.", 47, "one sentence"),
        ("with the gripper open, move forward 4 cm\nclose the gripper", 41, "one sentence"),
        ("[[1, 0, 0, 1]]", 0, "expected"),
    ],
)
def test_anything_else_is_refused_at_its_place(text, position, reason):
    with pytest.raises(ActionParseError, match=reason) as caught:
        SENTENCE.parse(text)
    assert caught.value.position == position


def test_rows_and_characters_are_bounded():
    with pytest.raises(ActionParseError, match="more than 64 rows"):
        SENTENCE.parse("open the gripper" + ", hold still" * 64)
    long = chunk(*[(1, 1, 1, 1, 1, 1, k % 2) for k in range(64)])
    with pytest.raises(AnnotationError, match="split the subtask"):
        SENTENCE7.verbalize(long)

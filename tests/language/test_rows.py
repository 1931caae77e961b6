"""The list of rows: how it looks, what is forgiven, what is refused and where."""

import numpy as np
import pytest

from vlm2vla.errors import ActionParseError, AnnotationError
from vlm2vla.language import MAX_CHARS, form
from vlm2vla.types import ActionChunk

ROWS = form("rows:0.5cm")
ROWS7 = form("rows7:0.5cm:1deg")
CHUNK = ActionChunk(np.array([[0.025, 0.0, -0.05, 1.0], [0.0, 0.0, -0.03, 0.0]]))
TEXT = "[[2.5, 0.0, -5.0, 1], [0.0, 0.0, -3.0, 0]]"


def test_rows_are_centimetres_with_one_decimal():
    assert ROWS.verbalize(CHUNK) == TEXT


def test_seven_values_add_degrees():
    row = [0.01, 0.0, 0.0, 0.0, np.radians(-15), np.radians(90), 0.0]
    assert ROWS7.verbalize(ActionChunk(np.array([row]))) == "[[1.0, 0.0, 0.0, 0, -15, 90, 0]]"


def test_decimals_follow_the_resolution():
    assert form("rows:1cm").verbalize(CHUNK) == "[[2, 0, -5, 1], [0, 0, -3, 0]]"
    assert form("rows:0.25cm").verbalize(CHUNK).startswith("[[2.50, 0.00, -5.00, 1]")


def test_tiny_negative_motion_is_zero_without_sign():
    assert ROWS.verbalize(ActionChunk(np.array([[-0.001, -1e-12, -0.0, 1.0]]))) == "[[0.0, 0.0, 0.0, 1]]"


def test_a_written_minus_zero_is_read_as_zero():
    assert not np.signbit(ROWS.parse("[[-0.0, -0, 0, 1]]").rows).any()


def test_rounding_is_carried_to_the_next_row():
    third = ActionChunk(np.tile([0.01 / 6, 0.0, 0.0, 1.0], (6, 1)))
    assert ROWS.quantize(third).translation[0] == pytest.approx(0.01)


def test_translation_form_leaves_rotation_out_and_rotation_form_adds_zeros():
    seven = ActionChunk(np.array([[0.01, 0, 0, 0.5, 0.5, 0.5, 1]]))
    assert ROWS.quantize(seven).rows.shape == (1, 4)
    assert ROWS7.quantize(CHUNK).rows.shape == (2, 7)
    assert ROWS7.parse("[]").rows.shape == (0, 7)


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        f"  \n{TEXT}\n ",
        TEXT.replace(" ", ""),
        TEXT.replace(",", " ,\n"),
        f"```\n{TEXT}\n```",
        f"```json\n{TEXT}\n```",
        f"```python\naction = {TEXT}\n```",
        f"Action: {TEXT}",
        f"ACTION CHUNK:\n{TEXT}",
        f"{TEXT} The gripper is closed now.",
        f"{TEXT}<end_of_turn>",
        f"{TEXT}. Note [1]",
        "[[2.5, 0, -5, 1], [0, 0, -3, 0]]",
        "[[+2.50, 0., -5.000, 1.0], [.0, -0.0, -3, 0.0]]",
        "[[2.5, 0.0, -5.0, 1,], [0.0, 0.0, -3.0, 0],]",
        "[[2.5, 0.0, \u22125.0, 1], [0.0, 0.0, \u22123.0, 0]]",
    ],
)
def test_harmless_variation_is_read(text):
    assert ROWS.parse(text) == CHUNK


def test_a_single_row_needs_no_outer_brackets():
    assert ROWS.parse("[2.5, 0, -5, 1]") == ActionChunk(CHUNK.rows[:1])


def test_values_between_the_steps_are_kept_as_written():
    assert ROWS.parse("[[2.3, 0, 0, 1]]").translation[0] == pytest.approx(0.023)


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        ("", 0, "nothing"),
        ("   ", 3, "nothing"),
        ("```json\n```", 11, "nothing"),
        ("move left", 0, "a list of rows"),
        ("I think [[1, 0, 0, 1]]", 0, "a list of rows"),
        ("[[1, 0, 0, 1]", 13, "the text ends"),
        ("[[1, 0, 0, 1], [2, 0", 20, "the text ends"),
        ("[[1, 0, 0, 1], 2]", 15, "expected"),
        ("[[1, 0, 0, 2]]", 11, "gripper"),
        ("[[1, 0, 0, 0.5]]", 11, "gripper"),
        ("[[1, 0, 0, -1]]", 11, "gripper"),
        ("[[1, 0, 0]]", 1, "4 values"),
        ("[[1, 0, 0, 0, 0, 0, 1]]", 1, "4 values"),
        ("[[1, 0, 0, 1], [1, 0, 0, 0, 0, 0, 1]]", 15, "4 values"),
        ("[[]]", 1, "4 values"),
        ("[[1, NaN, 0, 1]]", 5, "plain number"),
        ("[[1, Infinity, 0, 1]]", 5, "plain number"),
        ("[[1, -inf, 0, 1]]", 5, "plain number"),
        ("[[1e2, 0, 0, 1]]", 2, "plain number"),
        ("[[0x1, 0, 0, 1]]", 2, "plain number"),
        ("[[1.2.3, 0, 0, 1]]", 2, "plain number"),
        ("[[1.2., 0, 0, 1]]", 2, "plain number"),
        ("[[\u0661, 0, 0, 1]]", 2, "plain number"),
        ("[[1_0, 0, 0, 1]]", 2, "plain number"),
        ("[[--1, 0, 0, 1]]", 2, "plain number"),
        ("[[True, 0, 0, 1]]", 2, "plain number"),
        ("[[__import__('os').getcwd(), 0, 0, 1]]", 2, "plain number"),
        ("[[1, 0, 0, 1 if 1 else 0]]", 13, "expected"),
        ("[[100.5, 0, 0, 1]]", 2, "beyond"),
        ("[[0, -1000, 0, 1]]", 5, "beyond"),
        ("[[99999999999999999999, 0, 0, 1]]", 2, "plain number"),
        ("[[[1, 0, 0, 1]]]", 2, "plain number"),
        ("[[1, 0, 0, 1]], [[2, 0, 0, 1]]", 14, "one list"),
        ("[[1, 0, 0, 1]] or rather [[2, 0, 0, 1]]", 25, "one list"),
        ("[1, 0, 0, 1], [2, 0, 0, 1]", 12, "one list"),
        ("[[1, 0, 0, 1]]]", 14, "one list"),
        ("[[1 0 0 1]]", 4, "expected"),
        ("[[, 0, 0, 1]]", 2, "plain number"),
        ("{[1, 0, 0, 1]}", 0, "expected"),
    ],
)
def test_anything_else_is_refused_at_its_place(text, position, reason):
    with pytest.raises(ActionParseError, match=reason) as caught:
        ROWS.parse(text)
    assert caught.value.position == position


def test_rotation_beyond_half_a_turn_is_refused():
    with pytest.raises(ActionParseError, match="beyond the 180") as caught:
        ROWS7.parse("[[0, 0, 0, 0, 0, 181, 1]]")
    assert caught.value.position == 17


def test_size_and_nesting_are_bounded():
    row = "[1, 0, 0, 1]"
    assert len(ROWS.parse(f"[{', '.join([row] * 64)}]")) == 64
    with pytest.raises(ActionParseError, match="more than 64 rows"):
        ROWS.parse(f"[{', '.join([row] * 65)}]")
    with pytest.raises(ActionParseError, match="4000") as caught:
        ROWS.parse("[[1, 0, 0, 1]]" + " " * MAX_CHARS)
    assert caught.value.position == MAX_CHARS
    with pytest.raises(ActionParseError):
        ROWS.parse("[" * 3000)


def test_only_text_is_read():
    with pytest.raises(ActionParseError, match="NoneType"):
        ROWS.parse(None)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([[0.01, 0, 0, 0.5]], "exactly 0 or 1"),
        ([[np.nan, 0, 0, 1]], "not finite"),
        ([[1.01, 0, 0, 1]], "check the units"),
        ([[0.01, 0, 0, 1]] * 65, "split the subtask"),
    ],
)
def test_what_cannot_be_said_is_refused(rows, reason):
    with pytest.raises(AnnotationError, match=reason):
        ROWS.verbalize(ActionChunk(np.array(rows)))

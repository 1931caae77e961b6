"""Plans with amounts: one phrase for each straight way, read back as they were written."""

import numpy as np
import pytest

from vlm2vla.errors import ActionParseError
from vlm2vla.language import find_directions, form, measured_plan, measured_turned_round, parse_measured
from vlm2vla.types import ActionChunk


def chunk(text: str, name: str = "rows:0.5cm") -> ActionChunk:
    return form(name).parse(text)


def test_each_straight_way_is_one_phrase():
    there = chunk(
        "[[4.5, -3.0, -2.0, 1], [4.0, -3.0, -2.0, 1], [4.5, -3.0, -2.0, 1], [0.0, 0.0, -5.0, 1], [0, 0, 0, 0]]"
    )
    text = measured_plan(there)
    assert text == "forward 13 cm, right 9 cm, down 6 cm, then down 5 cm, then close the gripper"
    assert {(way.axis, way.sign) for way in find_directions(text)} == {("x", 1), ("y", -1), ("z", -1)}
    assert measured_turned_round(text) == "back 13 cm, left 9 cm, up 6 cm, then up 5 cm, then open the gripper"


@pytest.mark.parametrize(
    ("text", "gripper"),
    [
        ("[[0.0, 0.0, 4.0, 0], [0.0, 0.0, 4.0, 0]]", None),
        ("[[1.0, 0.0, -2.5, 1], [0.0, 0.0, 0.0, 0]]", 0),
        ("[[0.0, 0.0, 0.0, 1], [0.0, 0.0, 3.5, 1]]", 1),
        ("[[0.0, 0.0, 0.0, 0]]", 0),
        ("[]", None),
    ],
)
def test_what_is_said_is_the_motion(text, gripper):
    read = parse_measured(measured_plan(chunk(text)))
    assert read[:3] == pytest.approx(chunk(text).translation, abs=0.0026)
    assert np.isnan(read[6]) if gripper is None else read[6] == gripper


def test_turns_are_said_where_rows_have_them():
    text = measured_plan(chunk("[[0.0, 0.0, 0.0, 0, 0, 30, 1], [0.0, 0.0, -4.0, 0, 0, 0, 0]]", "rows7:0.5cm:1deg"))
    assert text.startswith("rotate counterclockwise 30 degrees")
    assert parse_measured(text)[5] == pytest.approx(np.radians(30), abs=0.01)


@pytest.mark.parametrize("text", ["move far forward, then close the gripper", "forward 3 degrees", "sideways 3 cm", ""])
def test_what_is_no_such_plan(text):
    with pytest.raises(ActionParseError):
        parse_measured(text)

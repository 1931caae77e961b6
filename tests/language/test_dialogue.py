"""The conversation: one builder for training samples and for the live policy."""

import numpy as np
import pytest

from vlm2vla.embodiment import STRETCH_RE1, WIDOWX
from vlm2vla.errors import ActionParseError, AnnotationError, NotFoundError
from vlm2vla.language import (
    completed_dialogue,
    dialogue,
    direction_dialogue,
    form,
    parse_subtasks,
    prompt_hash,
    prompt_names,
)
from vlm2vla.types import ActionChunk

ROWS = form("rows:0.5cm")
FULL = {
    "subtasks": ("Grasp the carrot", "Put it on the plate"),
    "subtask": "Grasp the carrot",
    "plan": "move down, then close the gripper",
    "chunk": "[[0.0, 0.0, -3.0, 1], [0.0, 0.0, 0.0, 0]]",
}


def roles(turns) -> str:
    return "".join(turn.role[0] for turn in turns)


def test_all_three_levels_are_one_conversation_over_one_image():
    turns = dialogue("put carrot on plate", WIDOWX, ROWS, **FULL)
    assert roles(turns) == "suauaua"
    assert [turn.images for turn in turns] == [0, 1, 0, 0, 0, 0, 0]
    assert "put carrot on plate" in turns[1].text
    assert parse_subtasks(turns[2].text) == FULL["subtasks"]
    assert FULL["subtask"] in turns[3].text
    assert [turns[4].text, turns[6].text] == [FULL["plan"], FULL["chunk"]]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((), "su"),
        (("subtasks",), "sua"),
        (("subtasks", "subtask"), "suau"),
        (("subtasks", "subtask", "plan"), "suauau"),
    ],
)
def test_the_first_missing_answer_is_left_open_for_the_policy(given, expected):
    turns = dialogue("put carrot on plate", WIDOWX, ROWS, **{name: FULL[name] for name in given})
    assert roles(turns) == expected


def test_what_the_policy_asks_is_what_training_showed():
    whole = dialogue("put carrot on plate", WIDOWX, ROWS, **FULL)
    for given in ((), ("subtasks", "subtask"), ("subtasks", "subtask", "plan")):
        asked = dialogue("put carrot on plate", WIDOWX, ROWS, **{name: FULL[name] for name in given})
        assert asked == whole[: len(asked)]


def test_a_subtask_without_the_list_starts_at_the_plan():
    turns = dialogue("put carrot on plate", WIDOWX, ROWS, subtask="Grasp the carrot")
    assert roles(turns) == "su"
    assert turns[1].images == 1
    assert "put carrot on plate" in turns[1].text
    assert "Grasp the carrot" in turns[1].text


def test_the_robot_and_its_axes_are_in_the_system_turn():
    system = dialogue("task", STRETCH_RE1, ROWS)[0].text
    assert STRETCH_RE1.title in system
    assert STRETCH_RE1.frame_text in system


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("rows:0.5cm", ["dx, dy, dz, gripper", "centimetres", "0.5"]),
        ("rows7:0.25cm:5deg", ["dyaw", "0.25", "5 degrees"]),
        ("sentence:1cm", ["sentence", "1"]),
        ("sentence7:0.5cm:2deg", ["sentence", "degrees", "2"]),
        ("tokens:0.5cm", ["tokens"]),
    ],
)
def test_every_form_is_asked_for_with_its_units(name, words):
    asked = dialogue("task", WIDOWX, form(name), subtask="Grasp", plan="move down")[-1].text
    assert all(word in asked for word in words)
    assert "$" not in asked


@pytest.mark.parametrize("name", ["rows:0.5cm", "rows7:0.5cm:1deg"])
def test_rows_are_asked_for_with_the_meaning_of_their_gripper(name):
    asked = dialogue("task", WIDOWX, form(name), subtask="Grasp", plan="move down")[-1].text
    assert "commanded when the row begins and held through it: 1 open, 0 closed" in asked
    assert ("droll" in asked) == name.startswith("rows7")


@pytest.mark.parametrize(
    ("axis", "said", "words"),
    [
        (3, "Positive droll leans the gripper left", "roll left"),
        (4, "positive dpitch tilts it back", "tilt back"),
        (5, "positive dyaw turns it counterclockwise", "rotate counterclockwise"),
    ],
)
def test_the_signs_of_rotations_are_those_of_the_sentences(axis, said, words):
    row = np.zeros((1, 7))
    row[0, axis] = np.radians(20)
    assert words in form("sentence7:0.5cm:1deg").verbalize(ActionChunk(row))
    assert said in dialogue("task", WIDOWX, form("rows7:0.5cm:1deg"), subtask="Grasp", plan="move down")[-1].text


def test_a_dollar_in_the_instruction_is_only_text():
    assert "pick $robot up" in dialogue("pick  $robot\nup", WIDOWX, ROWS)[1].text


@pytest.mark.parametrize("given", [{"plan": "move up"}, {"subtask": "Grasp", "chunk": "[]"}, {"chunk": "[]"}])
def test_a_later_answer_needs_the_earlier_one(given):
    with pytest.raises(AnnotationError, match="needs its"):
        dialogue("task", WIDOWX, ROWS, **given)


def test_a_dialogue_needs_an_instruction():
    with pytest.raises(AnnotationError, match="instruction"):
        dialogue(" ", WIDOWX, ROWS)


def test_the_extra_questions_show_two_images():
    for turns, answer in (
        (completed_dialogue("put carrot on plate", "Grasp the carrot", WIDOWX, True), "yes"),
        (completed_dialogue("put carrot on plate", "Grasp the carrot", WIDOWX, False), "no"),
        (direction_dialogue(WIDOWX, "left"), "left"),
        (direction_dialogue(WIDOWX, "none"), "none"),
    ):
        assert roles(turns) == "sua"
        assert turns[1].images == 2
        assert turns[2].text == answer
    assert roles(completed_dialogue("task", "Grasp", WIDOWX, None)) == "su"
    assert roles(direction_dialogue(WIDOWX, None)) == "su"
    with pytest.raises(AnnotationError):
        direction_dialogue(WIDOWX, "up")


@pytest.mark.parametrize(
    "text",
    ["1. Grasp\n2. Lift", "1) Grasp\n 2) Lift  \n", "Subtasks:\n\n1. Grasp\n2. Lift\n\nDone.", "- Grasp\n* Lift"],
)
def test_lists_of_subtasks_are_read(text):
    assert parse_subtasks(text) == ("Grasp", "Lift")


@pytest.mark.parametrize(
    ("text", "position"),
    [("", 0), ("grasp it", 0), ("1. Grasp\n3. Lift", 9), ("2. Grasp", 0), ("\n".join(["- go"] * 21), 100)],
)
def test_what_is_no_list_is_refused(text, position):
    with pytest.raises(ActionParseError) as caught:
        parse_subtasks(text)
    assert caught.value.position == position


def test_the_prompt_hash_follows_the_wording():
    assert prompt_hash("plan") != prompt_hash("system")
    assert prompt_hash() == prompt_hash(*reversed(prompt_names()))
    assert len(prompt_hash()) == 12
    with pytest.raises(NotFoundError, match="plan_first"):
        prompt_hash("../secret")

"""Instructions as people type them."""

import pytest

from vlm2vla.annotation.objects import Task, parse_task


@pytest.mark.parametrize(
    ("instruction", "noun", "to_place"),
    [
        ("put carrot on plate", "carrot", "to the plate"),
        ("put cup from counter or drying rack into sink", "cup", "to the sink"),
        ("Move the shoe to the top of the cooking pot.", "shoe", "to the top of the cooking pot"),
        ("Put the Pepper on the Plate", "Pepper", "to the Plate"),
        ("pick up the carrot and put it on the plate", "carrot", "to the plate"),
        ("the robot arm picks up the green cup and places it behind the sink", "green cup", "behind the sink"),
        ("put pot which is in sink on stove", "pot", "to the stove"),
        (
            "plce the can of soup next to the salt and pepper shaker",
            "can of soup",
            "next to the salt and pepper shaker",
        ),
        ("stack the small block on top of the big one", "small block", "on top of the big one"),
        ("place the blue spoon to the left of the pan", "blue spoon", "to the left of the pan"),
        ("carrot on plate", "carrot", "to the plate"),
        ("pick up the red cube", "red cube", ""),
        ("take the lid off the pot", "lid", ""),
    ],
)
def test_object_and_place(instruction, noun, to_place):
    task = parse_task(instruction)
    assert (task.object, task.to_place) == (noun, to_place)
    assert task.understood


@pytest.mark.parametrize(
    ("instruction", "noun", "action"),
    [
        ("turn lever vertical to front", "lever", "Turn the lever vertical to front"),
        ("flip pot upright which is in sink", "pot", "Flip the pot upright"),
        ("close the drawer", "drawer", "Close the drawer"),
        ("turn on the faucet", "faucet", "Turn on the faucet"),
        ("push the red block to the left", "red block", "Push the red block to the left"),
        ("unfold the cloth.", "cloth", "Unfold the cloth"),
    ],
)
def test_deeds_that_are_not_pick_and_place(instruction, noun, action):
    task = parse_task(instruction)
    assert (task.kind, task.object, task.action) == ("contact", noun, action)


def test_a_tool_is_what_the_fingers_take():
    assert parse_task("sweep the beans into a pile with the brush").tool == "brush"


@pytest.mark.parametrize(
    "instruction",
    [
        "把胡萝卜放在盘子上",
        "Положи морковь на тарелку",
        "Pon la zanahoria en el bol",
        "Lege die Karotte auf das Brett",
    ],
)
def test_other_languages_fall_back_to_generic_words(instruction):
    assert parse_task(instruction) == Task()


@pytest.mark.parametrize("instruction", ["", " ", "x", "...", "put", "the", "put it there", "1 2 3", "and and of the"])
def test_nonsense_gives_the_object_and_never_raises(instruction):
    task = parse_task(instruction)
    assert task.the_object == "the object"
    assert not task.understood

"""Direction and gripper words in free text: what is meant is found, names and places are not."""

import pytest

from vlm2vla.language import find_directions, find_gripper_words


def found(text: str) -> str:
    marks = {"slightly": "~", "": "", "far": "!"}
    return " ".join(
        f"{'+' if entry.sign > 0 else '-'}{entry.axis}{marks[entry.size]}" for entry in find_directions(text)
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Move down toward the pepper on the stove and grasp it", "-z"),
        (
            "After grasping, lift the pepper above knobs, then move diagonally forward and right toward the plate",
            "+z +x -y",
        ),
        ("move forward and slightly left, then move significantly downward before closing the gripper", "+x +y~ -z!"),
        ("lower the arm slightly to the left", "-z +y~"),
        ("pick up the can and move it left", "+y"),
        ("pick the cup up and move left", "+y"),
        ("move to the left and up", "+y +z"),
        ("move back and to the right", "-x -y"),
        ("pull back slightly", "-x~"),
        ("raise the gripper, then descend", "+z -z"),
        ("Lift up the lid", "+z"),
        ("rotate clockwise and tilt forward", "-yaw -pitch"),
        ("Rotate the gripper 90 degrees counter clockwise, tilt left slightly", "+yaw +roll~"),
        ("roll left, then move left", "+roll +y"),
        ("turn left", "+yaw"),
        ("slightly left, then down", "+y~ -z"),
        ("move forward slightly and left", "+x~ +y"),
        ("move left 3 cm", "+y"),
        ("moving left while lowering", "+y -z"),
        ("Reach down and forward to the carrot", "-z +x"),
        ("release the carrot and retreat upward", "-x +z"),
        ("move forward and right over the stove", "+x -y"),
        ("Close the gripper, lift up, move back toward the robot, and turn right", "+z -x -yaw"),
    ],
)
def test_directions_that_are_meant_are_found(text, expected):
    assert found(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "the leftover food is left on the table",
        "the spoon left on the table",
        "put the spoon on the left side of the towel",
        "move the left bowl to the right side of the table",
        "place the pot left of the spoon",
        "move to the right of the pot",
        "move towards the right front",
        "move the cup on the left to the plate",
        "open the upper drawer",
        "open the lower drawer",
        "lower drawer",
        "move to the upper left",
        "put cup into the sink",
        "pick up the can",
        "put the spoon down",
        "put the lid back on the pot",
        "go back to the start",
        "move right now",
        "move right above the cup",
        "take the lid off right away",
        "flip pot upright which is in sink",
        "turn lever vertical to front",
        "the upside down bowl",
        "Do not lift the pot",
        "move toward the plate",
    ],
)
def test_names_places_and_idioms_are_no_directions(text):
    assert found(text) == ""


def test_a_negation_ends_with_its_clause():
    assert found("without moving left, go up") == "+z"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("move down, then close the gripper", ("close",)),
        ("move up while opening the gripper", ("open",)),
        ("Grasp the carrot, lift it, then release it", ("close", "open")),
        ("to grasp the object, move down before closing the gripper", ("close",)),
        ("pick up the cup", ("close",)),
        ("let go of the spoon", ("open",)),
        ("let it go", ("open",)),
        ("drop the spoon in the pot", ("open",)),
        ("open its fingers", ("open",)),
        ("open the drawer", ()),
        ("close the microwave door", ()),
        ("After grasping, lift the pepper", ()),
        ("keep the gripper closed", ()),
        ("with the gripper open, move left", ()),
        ("with an open gripper", ()),
        ("carry the grasped cup", ()),
        ("drop down to the cup", ()),
        ("move the gripper left", ()),
        ("while holding the cup, move up", ()),
        ("do not close the gripper", ()),
    ],
)
def test_gripper_events_are_found(text, expected):
    assert find_gripper_words(text) == expected

"""Plans from numbers: few phrases that follow the path, and plans as text."""

import numpy as np
import pytest

from vlm2vla.errors import ActionParseError, AnnotationError
from vlm2vla.language import Direction, MotionPhrase, parse_plan, plan_of, verbalize_plan


def recording(*legs, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """[T, 7] from legs (steps, dx, dy, dz per step in cm, gripper)."""
    rows = [
        [dx / 100, dy / 100, dz / 100, 0, 0, 0, gripper] for count, dx, dy, dz, gripper in legs for _ in range(count)
    ]
    actions = np.array(rows, dtype=float)
    actions[:, :3] += np.random.default_rng(seed).normal(0, noise / 100, (len(rows), 3))
    return actions


def told(actions, **options) -> str:
    return verbalize_plan(plan_of(actions, **options))


def test_one_straight_motion_is_one_phrase():
    assert told(recording((8, 0.2, 0, -0.9, 1))) == "move down"
    assert told(recording((8, 0.4, 0, -0.9, 1))) == "move down and slightly forward"


def test_a_grasp_and_lift_reads_like_one():
    actions = recording((6, 0.3, 0, -1, 1), (3, 0, 0, 0, 0), (5, 0, 0, 1, 0))
    assert told(actions) == "move down and slightly forward, then close the gripper, then move up"


def test_a_change_of_direction_is_a_new_phrase():
    actions = recording((7, 1, 0, 0, 1), (7, 0, -1, 0, 1))
    assert told(actions) == "move forward, then move right"


@pytest.mark.parametrize("seed", range(5))
def test_noise_makes_no_phrases(seed):
    actions = recording((8, 0, 0, 1, 0), (12, 0.9, 0, 0, 0), (8, 0, 0, -1, 0), noise=0.15, seed=seed)
    assert told(actions) == "move up, then move forward, then move down"


def test_a_detour_that_is_tiny_joins_its_neighbour():
    actions = recording((16, 0.5, 0, 0, 1), (3, 0, 0.45, 0, 1), (16, 0.5, 0, 0, 1))
    assert told(actions) == "move far forward"


def test_a_plan_has_few_phrases():
    stairs = recording(*[(6, leg % 2, 0, 1 - leg % 2, 1) for leg in range(12)])
    assert 1 < len(plan_of(stairs)) <= 4
    assert len(plan_of(stairs[:24])) == 4


def test_the_same_motion_at_another_rate_gives_the_same_plan():
    slow = recording((8, 0, 0, 1, 0), (12, 0.9, 0, 0, 0))
    fast = np.repeat(slow, 6, axis=0)
    fast[:, :3] /= 6
    assert plan_of(fast, rate_hz=30) == plan_of(slow, rate_hz=5)


def test_gripper_changes_are_told_even_without_motion():
    still = recording((4, 0, 0, 0, 0))
    assert told(still) == "hold still"
    assert told(still, gripper_before=0.0) == "hold still"
    assert told(still, gripper_before=1.0) == "close the gripper"
    assert told(recording((3, 0, 0, 0, 0), (3, 0, 0, 0, 1))) == "open the gripper"


def test_motion_while_the_fingers_close_is_told_as_such():
    """The command changes at once, the fingers need about 0.6 s."""
    actions = recording((5, 0, 0, -1, 1), (2, 0, 0, -0.7, 0), (6, 0, 0, 0, 0))
    assert told(actions) == "move down, then move slightly down while closing the gripper"
    lifted = recording((5, 0, 0, -1, 1), (2, 0, 0, -0.7, 0), (1, 0, 0, 0, 0), (6, 0, 1, 0, 0))
    assert told(lifted) == "move down, then move slightly down while closing the gripper, then move left"
    assert told(actions[5:], gripper_before=1.0) == "move slightly down while closing the gripper"
    assert told(actions[5:], gripper_before=0.0) == "move slightly down"
    opening = actions.copy()
    opening[:, 6] = 1 - opening[:, 6]
    assert told(opening) == "move down, then move slightly down while opening the gripper"


def test_motion_too_small_for_a_word_is_not_told_with_the_gripper_either():
    actions = recording((5, 0, 0, -1, 1), (3, 0, 0, -0.2, 0), (5, 0, 0, 1, 0))
    assert told(actions) == "move down, then close the gripper, then move up"


def test_how_long_fingers_move_is_a_matter_of_time_not_of_steps():
    slow = recording((5, 0, 0, -1, 1), (3, 0, 0, -0.7, 0), (6, 0, 1, 0, 0))
    fast = np.repeat(slow, 6, axis=0)
    fast[:, :3] /= 6
    assert told(fast, rate_hz=30) == told(slow) == "move down, then move down while closing the gripper, then move left"


def test_rows_whose_gripper_is_done_before_they_move_know_no_while():
    actions = recording((1, 0, 0, -4, 1), (1, 0, 0, 5, 0))
    assert told(actions, settle_s=0) == "move down, then close the gripper, then move up"


@pytest.mark.parametrize("seed", range(20))
def test_every_plan_from_numbers_reads_back(seed):
    rng = np.random.default_rng(seed)
    gripper = np.repeat(rng.integers(0, 2, 8), 5)
    actions = np.column_stack([rng.normal(0, 0.01, (40, 3)), rng.normal(0, 0.1, (40, 3)), gripper])
    plan = plan_of(actions, rotation=bool(seed % 2), gripper_before=1.0)
    assert parse_plan(verbalize_plan(plan)) == plan


def test_rotation_is_told_on_request():
    actions = recording((6, 0, 0, -1, 1))
    actions[:, 5] = np.radians(-5)
    assert told(actions) == "move down"
    assert told(actions, rotation=True) == "move down and rotate clockwise"


def test_an_empty_recording_holds_still():
    assert plan_of(np.zeros((0, 7))) == (MotionPhrase(),)
    with pytest.raises(AnnotationError, match=r"\[T, 7\]"):
        plan_of(np.zeros((5, 3)))


def test_a_plan_is_written_as_the_paper_writes_it():
    plan = (MotionPhrase((Direction("z", -1), Direction("x", 1, "slightly"))), MotionPhrase(gripper="close"))
    assert verbalize_plan(plan) == "move down and slightly forward, then close the gripper"
    assert verbalize_plan(()) == "hold still"


def test_verbs_keep_the_meanings_of_left_and_forward_apart():
    axes = [Direction("y", 1), Direction("x", 1), Direction("roll", 1), Direction("pitch", -1), Direction("yaw", 1)]
    text = "move left, forward, roll left, tilt forward and rotate counterclockwise while opening the gripper"
    assert verbalize_plan((MotionPhrase(tuple(axes), "open"),)) == text


@pytest.mark.parametrize(
    "text",
    [
        "Move down and slightly forward, then close the gripper.",
        "  move  down and slightly forward then close the gripper",
        "Answer: move downward and slightly forwards, then close the gripper",
    ],
)
def test_harmless_variation_of_a_plan_is_read(text):
    assert verbalize_plan(parse_plan(text)) == "move down and slightly forward, then close the gripper"


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 0),
        ("go down", 0),
        ("move toward the cup", 5),
        ("move down to the cup", 10),
        ("move clockwise", 5),
        ("move up and down", 12),
        ("move up, then", 13),
        ("close the drawer", 0),
        ("move up while singing", 8),
    ],
)
def test_what_is_no_plan_is_refused_at_its_place(text, position):
    with pytest.raises(ActionParseError) as caught:
        parse_plan(text)
    assert caught.value.position == position


def test_phrases_that_contradict_themselves_cannot_be_made():
    with pytest.raises(AnnotationError, match="once"):
        MotionPhrase((Direction("z", 1), Direction("z", -1)))
    with pytest.raises(AnnotationError):
        Direction("up", 1)
    with pytest.raises(AnnotationError):
        MotionPhrase(gripper="drop")

"""The gripper as a bit: backward scan, and commands that are taken back at once."""

from collections.abc import Callable

import numpy as np
import pytest

from vlm2vla.embodiment import WIDOWX
from vlm2vla.motion import actions, binarize_gripper, debounce_gripper, gripper_bits
from vlm2vla.types import Episode, Source


def bits(text: str) -> np.ndarray:
    return np.array([float(letter) for letter in text])


def text(values: np.ndarray) -> str:
    return "".join(str(int(value)) for value in values)


@pytest.fixture
def recording() -> Callable[..., Episode]:
    def make(gripper, rate_hz=5.0, commanded=True) -> Episode:
        states = np.zeros((len(gripper), 7))
        states[:, 6] = gripper
        commands = states.copy() if commanded else None
        source = Source("synthetic", "")
        return Episode("e", "d", source, "do it", WIDOWX, rate_hz=rate_hz, states=states, commands=commands)

    return make


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("1110111", "1111111"),
        ("0001000", "0000000"),
        ("1101000", "1111000"),
        ("1110110111", "1111111111"),
        ("1110011", "1110011"),
        ("1111110", "1111110"),
        ("0111111", "0111111"),
        ("1111", "1111"),
        ("", ""),
    ],
)
def test_a_command_that_is_taken_back_within_one_step_of_5_hz_never_was(given, expected):
    steady = debounce_gripper(bits(given), 5.0)
    assert text(steady) == expected
    assert text(debounce_gripper(steady, 5.0)) == expected


def test_what_is_a_glitch_is_a_matter_of_time_not_of_steps():
    given = bits("1" * 10 + "0" * 6 + "1" * 10)
    assert debounce_gripper(given, 30.0).all()
    assert text(debounce_gripper(given, 10.0)) == text(given)


def test_the_given_commands_stay_as_they_are():
    given = bits("11011")
    debounce_gripper(given, 5.0)
    assert text(given) == "11011"


def test_a_value_in_between_takes_what_is_reached_after_it():
    assert text(binarize_gripper(np.array([1.0, 0.6, 0.4, 0.0, 0.3, 0.7, 1.0, 0.4]))) == "10001110"


@pytest.mark.parametrize("commanded", [True, False])
def test_every_user_of_the_gripper_sees_the_steady_signal(recording, commanded):
    episode = recording([1, 1, 0, 1, 1, 0.4, 0, 0], commanded=commanded)
    assert text(gripper_bits(episode)) == "11111000"
    assert text(actions(episode)[:, 6]) == "11111000"

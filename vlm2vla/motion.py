"""What the robot did between steps, as numbers: reached or commanded motion, and the gripper as a bit.

Pure numpy; knows no words and no files. All arrays in metres, radians, manipulation frame.
"""

from typing import Literal

import numpy as np

from vlm2vla.types import Episode

ActionSource = Literal["reached", "commanded"]

# A measured opening above this counts as open where a recording has no gripper commands.
OPEN_FROM = 0.5

CHATTER_S = 0.3
"""A gripper command that is taken back sooner than this is noise of the trigger."""


def unwrap_angles(states: np.ndarray) -> np.ndarray:
    """[T, 7] -> [T, 7] with roll, pitch, yaw continuous over time (no jumps of 2 pi)."""
    unwrapped = np.array(states, dtype=np.float64)
    unwrapped[:, 3:6] = np.unwrap(unwrapped[:, 3:6], axis=0)
    return unwrapped


def binarize_gripper(values: np.ndarray, *, closed: float = 0.05, opened: float = 0.95) -> np.ndarray:
    """[T] continuous -> [T] of exactly 0 or 1.

    Above `opened` is 1, below `closed` is 0; a value in between takes what is reached after it (backward scan,
    as Octo and OpenVLA do), and at the end of the recording its nearer side.
    """
    bits = np.empty(len(values))
    following: float | None = None
    for step in range(len(values) - 1, -1, -1):
        value = float(values[step])
        if value > opened:
            following = 1.0
        elif value < closed:
            following = 0.0
        elif following is None:
            bits[step] = float(value >= OPEN_FROM)
            continue
        bits[step] = following
    return bits


def debounce_gripper(bits: np.ndarray, rate_hz: float) -> np.ndarray:
    """[T] of 0 or 1 -> the same without pairs of changes that undo each other within less than `CHATTER_S`.

    Of changes in quick succession the last one counts. A change near the end of the recording that nothing takes
    back stays, and so does the first command.
    """
    steady = np.array(bits, dtype=np.float64)
    shortest = CHATTER_S * rate_hz
    kept: list[int] = []
    for step in (np.flatnonzero(np.diff(bits)) + 1).tolist():
        if kept and step - kept[-1] < shortest:
            kept.pop()
        else:
            kept.append(step)
    for first, last in zip([0, *kept], [*kept, len(steady)], strict=True):
        steady[first:last] = steady[first : first + 1]
    return steady


def gripper_bits(episode: Episode) -> np.ndarray:
    """[T] gripper command of each step, exactly 1 (open) or 0 (closed), without chatter (`debounce_gripper`).

    Commands where the recording has them; else the measured opening. The one gripper signal that plans, action text
    and checks go by.
    """
    if episode.commands is not None:
        bits = binarize_gripper(episode.commands[:, 6])
    else:
        bits = (episode.states[:, 6] >= OPEN_FROM).astype(np.float64)
    return debounce_gripper(bits, episode.rate_hz)


def actions(episode: Episode, source: ActionSource = "reached") -> np.ndarray:
    """[T, 7] motion from each step to the next, and the gripper command of the step.

    Row t is what happens between step t and t + 1; the last row has no motion, so that rows [a, b) add up to the
    displacement of the span [a, b). "reached" are differences of reached states with unwrapped angles;
    "commanded" are the recorded commands (they do not add up to a displacement: commands are not motion).
    """
    rows = np.zeros((len(episode), 7))
    if source == "commanded" and episode.commands is not None:
        rows[:-1, :6] = episode.commands[:-1, :6]
    else:
        rows[:-1, :6] = np.diff(unwrap_angles(episode.states)[:, :6], axis=0)
    rows[:, 6] = gripper_bits(episode)
    return rows


def displacement(episode: Episode, start_step: int, end_step: int) -> np.ndarray:
    """[6] reached motion over the half-open span: dx dy dz droll dpitch dyaw."""
    last = min(end_step, len(episode) - 1)
    first = min(start_step, last)
    states = unwrap_angles(episode.states)
    return states[last, :6] - states[first, :6]

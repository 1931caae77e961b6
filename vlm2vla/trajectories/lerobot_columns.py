"""Which columns of a LeRobot table are the end-effector's pose, motion and gripper, and which way the gripper counts.

Two layouts are known: one vector with named entries (`observation.state`, `action`; Bridge and our own export), and
one column per quantity (`state.eef_position`, ...; the simulated Franka of InternVLA). Names are not trusted for the
sign of a gripper: that is tested on the numbers. Knows arrays, no files.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlm2vla.embodiment import FRANKA, STRETCH_LONG, STRETCH_RE1, WIDOWX, Embodiment
from vlm2vla.errors import FormatError

Columns = Mapping[str, np.ndarray]

_ROBOTS = (
    *(("widowx", WIDOWX), ("bridge", WIDOWX), ("franka", FRANKA), ("panda", FRANKA)),
    *((STRETCH_LONG.name, STRETCH_LONG), ("stretch", STRETCH_RE1)),
)
_POSE = ("x", "y", "z", "roll", "pitch", "yaw")
_QUATERNION = ("qx", "qy", "qz", "qw")
_BRIDGE_ORDER = {7: (*_POSE, "gripper"), 8: (*_POSE, "pad", "gripper")}
# Closing of the Robotiq finger joint, radians.
_ROBOTIQ_CLOSED = 0.7853
# Time for a gripper to settle after a command, seconds.
_SETTLE_S = 1 / 3


@dataclass(frozen=True)
class ColumnMap:
    """How a data set's columns become states and commands.

    Attributes:
        embodiment: The robot.
        needed: Columns to read.
        convert: Columns of one episode, each [T, n], and their rate -> ([T, 7] states, [T, 7] commands or None, notes).
    """

    embodiment: Embodiment
    needed: tuple[str, ...]
    convert: Callable[[Columns, float], tuple[np.ndarray, np.ndarray | None, list[str]]]


def choose_columns(features: Mapping[str, Mapping[str, Any]], robot_type: str) -> ColumnMap:
    """Find the end-effector's columns by their names and shapes.

    Raises:
        FormatError: No end-effector pose is among them, or the robot is unknown.
    """
    robot = _robot(robot_type)
    if "state.eef_position" in features:
        return _split_columns(features, robot)
    state = next((key for key in ("observation.state", "state") if key in features), "")
    names = _names(features[state], robot) if state else None
    if names is None:
        found = ", ".join(key for key in features if "state" in key or "action" in key) or "none"
        raise FormatError(
            f"no end-effector pose (x y z roll pitch yaw gripper) among the columns ({found}); joint positions alone "
            "cannot be described as motion"
        )
    action_names = _names(features["action"], robot) if "action" in features else None
    return ColumnMap(robot, (state, *(("action",) if action_names else ())), _vector(state, names, action_names))


def quaternion_to_euler(quaternions: np.ndarray) -> np.ndarray:
    """[T, 4] qx qy qz qw -> [T, 3] roll pitch yaw of R = Rz(yaw) Ry(pitch) Rx(roll)."""
    x, y, z, w = (quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)).T
    roll = np.arctan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y))
    pitch = np.arcsin(np.clip(2 * (w * y - z * x), -1, 1))
    yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    return np.stack([roll, pitch, yaw], axis=1)


@dataclass(frozen=True)
class GripperSense:
    """Which way a gripper counts, as found in the numbers.

    Attributes:
        closes_when_high: Whether the higher command closes.
        grows_when_closing: Whether the measured value grows when closing.
        tested: False where the numbers could not tell and the usual meaning was taken.
    """

    closes_when_high: bool
    grows_when_closing: bool
    tested: bool


def gripper_sense(command: np.ndarray, measured: np.ndarray, target: np.ndarray, rate_hz: float) -> GripperSense:
    """Find out which side is closed: the one where an object stops the fingers before they reach their target.

    Args:
        command: [T] two-valued command.
        measured: [T] measured finger position, >= 0.
        target: [T] position that the fingers were sent to.
        rate_hz: Rate of the steps.
    """
    high = command > (command.min() + command.max()) / 2
    wait = max(1, round(_SETTLE_S * rate_hz))
    changed = np.flatnonzero(np.diff(high.astype(int)))
    settled = np.ones(len(high), dtype=bool)
    for step in changed:
        settled[step : step + 1 + wait] = False
    sides = settled & high, settled & ~high
    if not len(changed) or not all(side.sum() >= 2 for side in sides):
        return GripperSense(closes_when_high=True, grows_when_closing=True, tested=False)
    position = [float(np.median(measured[side])) for side in sides]
    short = [float(np.median(np.abs(target[side] - measured[side]))) for side in sides]
    travel = float(np.ptp(target)) or 1.0
    moved = abs(position[0] - position[1]) > 0.1 * travel
    if not moved or abs(short[0] - short[1]) < 0.05 * travel:
        return GripperSense(closes_when_high=True, grows_when_closing=True, tested=False)
    closes_when_high = short[0] > short[1]
    grows_with_command = position[0] > position[1]
    return GripperSense(closes_when_high, grows_with_command == closes_when_high, tested=True)


def _vector(state: str, names: Sequence[str], action_names: Sequence[str] | None) -> Callable[..., Any]:
    def convert(columns: Columns, rate_hz: float) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
        states, commands, notes = _named(columns[state], names), None, []
        if "qx" in names:
            notes.append("rotation given as quaternion, converted to roll pitch yaw")
        if action_names is not None and "action" in columns:
            if "qx" in action_names:
                notes.append("commands left out: their rotation is a quaternion; motion is what was reached")
            else:
                commands = _named(columns["action"], action_names)
        return states, commands, notes

    return convert


def _named(values: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """[T, n] with named entries -> [T, 7]."""
    if values.shape[1] != len(names):
        # Left as it is: the check of shapes says what is wrong, with file and episode.
        return values
    columns = {name: values[:, i] for i, name in enumerate(names)}
    if "qx" in columns:
        rotation = quaternion_to_euler(np.stack([columns[name] for name in _QUATERNION], axis=1))
    else:
        rotation = np.stack([columns[name] for name in _POSE[3:]], axis=1)
    position = np.stack([columns[name] for name in _POSE[:3]], axis=1)
    return np.concatenate([position, rotation, columns["gripper"][:, None]], axis=1)


def _split_columns(features: Mapping[str, Any], robot: Embodiment) -> ColumnMap:
    # The rotation with suffix X is zero when the gripper points straight down, as in Bridge.
    suffix = "_frankaX" if "state.eef_rotation_frankaX" in features else ""
    needed = [
        "state.eef_position",
        f"state.eef_rotation{suffix}",
        "state.gripper_width",
        "action.delta_eef_position",
        f"action.delta_eef_rotation{suffix}",
        "action.gripper_close",
        "action.gripper_width",
    ]
    missing = [key for key in needed if key not in features]
    if missing:
        raise FormatError(f"columns {', '.join(missing)} are missing; end-effector pose, motion and gripper are needed")
    position, rotation, width, delta, turn, close, target = needed

    def convert(columns: Columns, rate_hz: float) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
        # Six coupled finger joints, some with opposite sign: their mean size is the closing.
        measured = np.abs(columns[width]).mean(axis=1)
        goal = np.abs(columns[target]).mean(axis=1)
        command = columns[close][:, 0]
        sense = gripper_sense(command, measured, goal, rate_hz)
        opening = np.clip(measured / _ROBOTIQ_CLOSED, 0, 1)
        if sense.grows_when_closing:
            opening = 1 - opening
        high = command > 0
        opened = ~high if sense.closes_when_high else high
        states = np.concatenate([columns[position], columns[rotation], opening[:, None]], axis=1)
        commands = np.concatenate([columns[delta], columns[turn], opened[:, None].astype(float)], axis=1)
        return states, commands, [_sense_note(sense), _SPLIT_NOTE.format(position=position, rotation=rotation)]

    return ColumnMap(robot, tuple(needed), convert)


_SPLIT_NOTE = (
    "pose from {position} and {rotation} (zero when the gripper points down); commands from the delta columns, "
    "whose reference the data set does not state: prefer reached motion"
)


def _sense_note(sense: GripperSense) -> str:
    how = (
        "tested on the numbers: fingers stop short of their target on the closing side"
        if sense.tested
        else "not testable here, the usual meaning was taken"
    )
    side = "+1 closes" if sense.closes_when_high else "+1 opens"
    width = "grows when closing" if sense.grows_when_closing else "grows when opening"
    return f"gripper: command {side}, measured value {width} ({how}); stored as 1 open, 0 closed"


def _robot(robot_type: str) -> Embodiment:
    name = robot_type.lower()
    for mark, robot in _ROBOTS:
        if mark in name:
            return robot
    known = ", ".join(dict.fromkeys(robot.name for _, robot in _ROBOTS))
    raise FormatError(f"robot_type {robot_type!r} is not known; known are {known}: set it in meta/info.json")


def _names(feature: Mapping[str, Any], robot: Embodiment) -> tuple[str, ...] | None:
    """Entry names of a vector if it is an end-effector pose with gripper, in our words; else None."""
    shape = feature.get("shape") or ()
    names = _flat(feature.get("names"))
    size = int(shape[0]) if shape else len(names)
    if not names:
        # Without names, seven numbers of another robot may as well be joints.
        return _BRIDGE_ORDER.get(size) if robot is WIDOWX else None
    plain = tuple(_plain(name) for name in names)
    if len(plain) != size or len(set(plain)) != size:
        return None
    rotation = _QUATERNION if "qx" in plain else _POSE[3:]
    return plain if {*_POSE[:3], *rotation, "gripper"} <= set(plain) else None


def _flat(names: Any) -> list[str]:
    """Names come as a list, as {"motors": [...]}, or as lists in lists."""
    if isinstance(names, str):
        return [names]
    if isinstance(names, Mapping):
        names = list(names.values())
    return [flat for name in names or () for flat in _flat(name)]


def _plain(name: str) -> str:
    """`eef_x`, `ee.pos.x`, `Gripper_open` ... -> x, gripper."""
    parts = [part for part in name.lower().replace(".", "_").replace(" ", "_").split("_") if part]
    for part in reversed(parts):
        if part in (*_POSE, *_QUATERNION):
            return part
    if any(part in ("gripper", "grip") for part in parts):
        return "gripper"
    return "_".join(parts)

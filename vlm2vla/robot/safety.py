"""The rules between any policy and any robot: an action passes, is shortened, or is refused, and a sentence says why.

Pure: `Rules.judge` knows the action, the situation it is given, the embodiment and the limits; no policy, no words of
the action language and no driver. `vlm2vla.robot.safe_robot` puts the rules in front of a `Robot`; a robot's own limits
(joint limits, contact, run-stop) come on top. Metres, radians, manipulation frame.

The rules, in the order in which they are asked:

    numbers    seven finite numbers (or four: dx dy dz gripper), nothing else
    axes       no motion on an axis that the robot does not have
    gripper    exactly 0 (closed) or 1 (open)
    stale      decided on an observation that is recent enough, with a known position
    rate       not more actions per second than allowed
    step       at most so far on one axis in one action
    jump       no sudden change from the row before, within one chunk
    reach      the goal stays inside the embodiment's reach
    keep-out   the way there does not touch the table, the robot itself, or another box
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from vlm2vla.embodiment import AXES, Embodiment
from vlm2vla.errors import ConfigError

Verdict = Literal["pass", "clamped", "refused"]
RuleName = Literal["numbers", "axes", "gripper", "stale", "rate", "step", "jump", "reach", "keep-out"]
CLAMPABLE = ("gripper", "step", "reach", "keep-out")

# Rounding of sums of metres and radians; far below what any robot can resolve.
_TINY = 1e-9
TABLE = "the table"
_METRES, _RADIANS = slice(0, 3), slice(3, 6)
_WORDS = {"x": ("back", "forward"), "y": ("right", "left"), "z": ("down", "up")}


@dataclass(frozen=True)
class Box:
    """A box that the end-effector stays out of; corners in metres, infinite where it has no end."""

    name: str
    lower: tuple[float, float, float]
    upper: tuple[float, float, float]

    def __post_init__(self):
        if not all(low < high for low, high in zip(self.lower, self.upper, strict=True)):
            raise ConfigError(f"box {self.name!r}: every lower corner must be below its upper corner")


def table_box(height_m: float, *, x: tuple[float, float] = (-math.inf, math.inf)) -> Box:
    """The table: everything below its top, over the whole driven way, between two x."""
    return Box(TABLE, (x[0], -math.inf, -math.inf), (x[1], math.inf, height_m))


def tables(height_m: float | None) -> tuple[Box, ...]:
    """Keep-out boxes of a real robot's table: below its top nowhere, since nobody knows where it ends."""
    return () if height_m is None else (table_box(height_m),)


# The base moves along y with the hand, so its own parts have no end there. Frame: x = 0 at the middle of the base,
# z = 0 on the floor.
SELF_BOXES: dict[str, tuple[Box, ...]] = {
    "stretch_re1": (
        Box("the robot's own base", (-math.inf, -math.inf, -math.inf), (0.2, math.inf, 0.18)),
        Box("the robot's own mast", (-math.inf, -math.inf, -math.inf), (0.08, math.inf, math.inf)),
    )
}


@dataclass(frozen=True)
class SafetyConfig:
    """What may pass from a policy to a robot."""

    step_m: float = 0.05
    """Longest motion on one axis in one action, metres."""
    step_rad: float = 0.2
    """Largest rotation about one axis in one action, radians."""
    clamp: tuple[RuleName, ...] = ("step", "reach")
    """Rules that shorten an action (same direction) instead of refusing it: step, reach, keep-out, gripper."""
    max_rate_hz: float = 10.0
    """Most actions in one second of the robot's clock."""
    max_age_s: float = 30.0
    """Oldest observation that an action may be decided on."""
    jump_m: float = 0.08
    """Largest change on one axis from one row of a chunk to the next, metres."""
    jump_rad: float = 0.3
    """The same for rotations, radians."""
    margin_m: float = 0.0
    """Distance kept from every keep-out box."""

    def __post_init__(self):
        for name in ("step_m", "step_rad", "max_rate_hz", "max_age_s", "jump_m", "jump_rad"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"{name} must be a number above 0, not {value}")
        if not 0 <= self.margin_m < 1:
            raise ConfigError(f"margin_m must be from 0 to 1, not {self.margin_m}")
        for name in self.clamp:
            if name not in CLAMPABLE:
                raise ConfigError(f"rule {name!r} can only refuse; rules that can clamp: {', '.join(CLAMPABLE)}")


@dataclass(frozen=True, eq=False)
class Situation:
    """What an action is judged against.

    Attributes:
        ee: [7] where the end-effector is now, as in `Observation.ee`; None when nobody knows.
        age_s: Seconds since the observation that the action was decided on.
        recent_s: Seconds since each of the last actions.
        previous: [7] the row before in the same chunk; None for the first row.
    """

    ee: np.ndarray | None
    age_s: float = 0.0
    recent_s: tuple[float, ...] = ()
    previous: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Decision:
    """What the rules say about one action.

    Attributes:
        verdict: "pass" as it is, "clamped" to `action`, or "refused".
        action: [7] what may be carried out; None when refused.
        rule: Name of the rule that clamped (the last one) or refused; empty when it passed.
        message: The rule in words; empty when it passed.
    """

    verdict: Verdict
    action: np.ndarray | None
    rule: str = ""
    message: str = ""


class _RefusedError(Exception):
    """A rule says no."""

    def __init__(self, rule: RuleName, message: str):
        self.rule, self.message = rule, message


class Rules:
    """The rules for one embodiment.

    Args:
        embodiment: Whose axes and reach hold.
        config: The limits.
        keep_out: Boxes to stay out of, besides the robot's own (`SELF_BOXES`).
    """

    def __init__(self, embodiment: Embodiment, config: SafetyConfig | None = None, keep_out: tuple[Box, ...] = ()):
        self.embodiment = embodiment
        self.config = config or SafetyConfig()
        self.keep_out = (*SELF_BOXES.get(embodiment.name, ()), *keep_out)
        if self.config.step_m > embodiment.max_step_m or self.config.step_rad > embodiment.max_step_rad:
            raise ConfigError(
                f"one step of {embodiment.title} is at most {embodiment.max_step_m} m and "
                f"{embodiment.max_step_rad} rad; the limits ask for {self.config.step_m} m, {self.config.step_rad} rad"
            )

    def judge(self, action: Any, situation: Situation) -> Decision:
        """Decide about one action. Takes anything at all and never raises.

        Args:
            action: [7] or [4] row of an action chunk, whatever the policy made of it.
            situation: What it is judged against.
        """

        def steps(notes: list) -> np.ndarray:
            row = self._own(action, notes)
            self._recent(situation)
            row = self._step(row, notes)
            self._jump(row, situation)
            return self._room(row, situation, notes)

        return _decided(steps)

    def judge_alone(self, action: Any, ee: np.ndarray | None = None) -> Decision:
        """Only the rules that need no situation: numbers, axes, gripper, step. The last check beside the robot.

        Where the hand is known, `ee` [7], its way is kept out of the boxes, too.
        """

        def steps(notes: list) -> np.ndarray:
            row = self._step(self._own(action, notes), notes)
            return row if ee is None else self._clear(row, _position(ee), notes)

        return _decided(steps)

    @property
    def table_m(self) -> float | None:
        """Height of the table that the hand stays above, metres; None when no table is known."""
        return next((box.upper[2] for box in self.keep_out if box.name == TABLE), None)

    def judge_chunk(self, rows: Any, situation: Situation) -> tuple[Decision, ...]:
        """What would happen to a whole chunk, row after row, each from where the rows before would lead.

        Ends with the first refused row. The rate is judged for the first row only: a dry run takes no time.
        """
        decisions: list[Decision] = []
        for row in rows:
            decision = self.judge(row, situation)
            decisions.append(decision)
            if decision.action is None:
                break
            ee = None if situation.ee is None else np.array(situation.ee, dtype=np.float64)
            if ee is not None:
                ee[:6] += decision.action[:6]
            situation = Situation(ee, situation.age_s, (), decision.action)
        return tuple(decisions)

    def _own(self, action: Any, notes: list) -> np.ndarray:
        row = _numbers(action)
        for index, axis in enumerate(AXES):
            if row[index] != 0 and axis not in self.embodiment.axes:
                raise _RefusedError("axes", f"{self.embodiment.title} cannot move along {axis}; nothing moved")
        if row[6] not in (0.0, 1.0):
            if "gripper" not in self.config.clamp:
                raise _RefusedError("gripper", f"the gripper is 0 (closed) or 1 (open), not {row[6]:g}")
            notes.append(("gripper", f"gripper {row[6]:g} read as {'open' if row[6] >= 0.5 else 'closed'}"))
            row[6] = float(row[6] >= 0.5)
        return row

    def _recent(self, situation: Situation) -> None:
        age = situation.age_s
        if not age <= self.config.max_age_s:
            raise _RefusedError(
                "stale",
                f"decided on an observation {age:.1f} s ago; at most {self.config.max_age_s:g} s: look again",
            )
        if not age >= -_TINY:
            raise _RefusedError("stale", f"decided on an observation {-age:.1f} s ahead: the robot's clock went back")
        if sum(1 for ago in situation.recent_s if not ago >= 1.0) >= max(1.0, self.config.max_rate_hz):
            raise _RefusedError("rate", f"more than {self.config.max_rate_hz:g} actions in one second; wait")

    def _step(self, row: np.ndarray, notes: list) -> np.ndarray:
        config, body = self.config, self.embodiment
        for part, limit, absurd in (
            (_METRES, config.step_m, body.max_step_m),
            (_RADIANS, config.step_rad, body.max_step_rad),
        ):
            furthest = float(np.abs(row[part]).max())
            if furthest <= limit:
                continue
            if furthest <= limit + _TINY:
                row[part] = np.clip(row[part], -limit, limit)
                continue
            said = f"{_said(row, part)} in one step is more than {_amount(limit, part)}"
            if furthest > absurd + _TINY:
                raise _RefusedError("step", f"{said}; so much more that it is no motion of this robot (a wrong unit?)")
            if "step" not in self.config.clamp:
                raise _RefusedError("step", f"{said}; say it in shorter steps")
            notes.append(("step", f"{said}; shortened to {100 * limit / furthest:.0f} %"))
            row[part] = np.clip(row[part] * (limit / furthest), -limit, limit)
        return row

    def _jump(self, row: np.ndarray, situation: Situation) -> None:
        if situation.previous is None:
            return
        change = row - situation.previous
        for part, limit in ((_METRES, self.config.jump_m), (_RADIANS, self.config.jump_rad)):
            if not float(np.abs(change[part]).max()) <= limit + _TINY:
                jump = f"{_said(change, part)}; at most {_amount(limit, part)}"
                raise _RefusedError("jump", f"from one row to the next the motion jumps by {jump}")

    def _room(self, row: np.ndarray, situation: Situation, notes: list) -> np.ndarray:
        """Reach and keep-out boxes. A hand that is already outside may only come back."""
        if not row[:6].any():
            return row
        here = _position(situation.ee)
        share = 1.0
        for index, (low, high) in enumerate(self.embodiment.ee_limits):
            share = min(share, _share_within(here[index], row[index], low, high))
        row = self._shortened(row, share, "reach", "the goal is out of reach", notes)
        return self._clear(row, here, notes)

    def _clear(self, row: np.ndarray, here: np.ndarray, notes: list) -> np.ndarray:
        for box in self.keep_out:
            share = _share_outside(here, row[:3], box, self.config.margin_m)
            row = self._shortened(row, share, "keep-out", f"the way leads into {box.name}", notes)
        return row

    def _shortened(self, row: np.ndarray, share: float, rule: RuleName, reason: str, notes: list) -> np.ndarray:
        if share >= 1.0:
            return row
        if rule not in self.config.clamp:
            raise _RefusedError(rule, f"{reason}; nothing moved")
        if share < 0.01:
            raise _RefusedError(rule, f"{reason} and the hand is already at the edge; nothing moved")
        notes.append((rule, f"{reason}; shortened to {100 * share:.0f} %"))
        return np.concatenate([row[:6] * share, row[6:]])


def _decided(steps: Callable[[list], np.ndarray]) -> Decision:
    notes: list[tuple[RuleName, str]] = []
    try:
        row = steps(notes)
    except _RefusedError as refused:
        return Decision("refused", None, refused.rule, refused.message)
    if notes:
        return Decision("clamped", row, notes[-1][0], "; ".join(message for _, message in notes))
    return Decision("pass", row)


def _numbers(action: Any) -> np.ndarray:
    """[7] a fresh copy of `action`, or refused: no strings, no booleans, no objects."""
    try:
        if not isinstance(action, np.ndarray) and len(action) not in (4, 7):
            raise _RefusedError("numbers", f"an action is 7 numbers (or 4), not {len(action)}")
        given = np.asarray(action)
        shape, kind = given.shape, given.dtype.kind
        if kind not in "iuf" or shape not in ((4,), (7,)):
            raise _RefusedError("numbers", f"an action is 7 numbers (or 4), not {given.dtype} of shape {shape}")
        with np.errstate(over="ignore"):
            row = np.array(given, dtype=np.float64)
    except _RefusedError:
        raise
    except Exception as error:  # objects with wild __len__ or __array__: whatever they do, nothing moves
        raise _RefusedError("numbers", f"an action is 7 numbers (or 4), not {type(action).__name__}") from error
    if not np.isfinite(row).all():
        raise _RefusedError("numbers", f"an action must be finite numbers, not {np.array2string(row, precision=3)}")
    return row if len(row) == 7 else np.concatenate([row[:3], np.zeros(3), row[3:]])


def _position(ee: Any) -> np.ndarray:
    here = np.zeros(0) if ee is None else np.asarray(ee, dtype=np.float64).reshape(-1)[:3]
    if len(here) != 3 or not np.isfinite(here).all():
        raise _RefusedError("stale", "nobody knows where the hand is; look again before moving")
    return here


def _share_within(start: float, delta: float, low: float, high: float) -> float:
    """Share of `delta` (0..1) that ends within [low, high]; from outside, anything that does not lead further out."""
    if abs(delta) < _TINY:
        return 1.0
    edge = high if delta > 0 else low
    room = (edge - start) / delta
    return min(1.0, max(0.0, room)) if room < 1.0 - _TINY else 1.0


def _share_outside(start: np.ndarray, delta: np.ndarray, box: Box, margin: float) -> float:
    """Share of `delta` (0..1) for which no way from start to goal touches the box.

    Joints need not move in step, so every point between start and goal may be passed: the share is judged on the
    whole box that they span, not on the straight line.
    """
    if not delta.any():
        return 1.0
    lower, upper = np.array(box.lower) - margin, np.array(box.upper) + margin
    if ((lower < start) & (start < upper)).all():
        return 1.0 if _depth(start + delta, lower, upper) < _depth(start, lower, upper) else 0.0
    until = 0.0
    for at, step, low, high in zip(start, delta, lower, upper, strict=True):
        if low < at < high:
            continue
        towards = step > _TINY if at <= low else step < -_TINY
        if not towards:
            return 1.0
        until = max(until, ((low if at <= low else high) - at) / step)
    return 1.0 if until >= 1.0 else max(0.0, until - _TINY)


def _depth(point: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> float:
    """How deep a point is inside a box: the way to its nearest face, 0 or less outside."""
    return float(np.minimum(point - lower, upper - point).min())


def _said(row: np.ndarray, part: slice) -> str:
    index = part.start + int(np.abs(row[part]).argmax())
    axis, value = AXES[index], float(row[index])
    if part.start == 0:
        return f"{_WORDS[axis][value > 0]} {abs(value) * 100:.1f} cm"
    return f"{axis} {math.degrees(value):+.1f} degrees"


def _amount(limit: float, part: slice) -> str:
    return f"{limit * 100:g} cm" if part.start == 0 else f"{math.degrees(limit):.1f} degrees"

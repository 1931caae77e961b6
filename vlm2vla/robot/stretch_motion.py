"""Manipulation-frame motions as joint motions of a Stretch, and what became of them. Pure: no driver, no clock.

The arm of a Stretch reaches to its right, so in the manipulation frame +x is arm extension, +y is driving forward, +z
is lift up, and yaw is the wrist's; what turns the wrist moves arm and base as well, so that the fingertips stay where
they are (`stretch_geometry`). All in metres and radians; gripper openings 0 closed to 1 open. This module knows no
effort, no board and no timing.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vlm2vla.errors import ActionRefusedError
from vlm2vla.robot.protocol import Outcome
from vlm2vla.robot.stretch_geometry import Pose, ee_of, moved

# Joints that are told to move by less than this are left alone, metres or radians.
_NOTHING = 1e-9

AXIS_NAMES = ("x", "y", "z", "roll", "pitch", "yaw")


@dataclass(frozen=True)
class StretchConfig:
    """How a Stretch is driven.

    Attributes:
        speed: Speed profile of the robot's own parameters.
        arm_contact_pct: (negative, positive) effort at which a move of the arm ends as contact, percent; None for what
            the robot was calibrated with.
        lift_contact_pct: The same for the lift.
        base_contact_pct: Effort at which a base move ends as contact; None for the robot's own.
        guard_base: Turn guarded contact on for the wheels; an RE1 has it off.
        gripper_closed_pct: Goal of a closing gripper in stretch_body's unit: 0 fingertips touch, -100 hardest grip.
        tolerance_m: Arm, lift and base count as arrived this close to the goal.
        tolerance_rad: The wrist likewise.
        stale_s: Status of a motor or of the power board older than this is a fault.
        servo_stale_s: The same for wrist and gripper, which answer at 15 Hz and now and then not at all.
        stalled_s: A joint that stands still for so long short of its goal will not arrive any more.
        push_every_s: Least time between two sets of commands. An RE1 drops them above 20 Hz.
        push_s: Longest wait for the boards to take commands.
        stop_push_s: The same for a soft stop; after it the run-stop is pressed.
        still_s: Longest wait for standing still after a stop, before the run-stop is pressed.
    """

    speed: Literal["slow", "default"] = "slow"
    arm_contact_pct: tuple[float, float] | None = None
    lift_contact_pct: tuple[float, float] | None = None
    base_contact_pct: float | None = None
    guard_base: bool = True
    gripper_closed_pct: float = -50.0
    tolerance_m: float = 0.004
    tolerance_rad: float = 0.05
    stale_s: float = 0.2
    servo_stale_s: float = 0.4
    stalled_s: float = 1.0
    push_every_s: float = 0.06
    push_s: float = 1.0
    stop_push_s: float = 0.3
    still_s: float = 0.7


@dataclass(frozen=True)
class Joints:
    """Measured joint positions.

    Attributes:
        lift: Metres above its lowest point.
        arm: Metres of extension.
        base: Metres driven along the heading that the frame was fixed with.
        wrist_yaw: Radians, counter-clockwise from above positive, 0 along the arm.
        gripper: Opening 0..1.
    """

    lift: float
    arm: float
    base: float
    wrist_yaw: float
    gripper: float

    def as_dict(self) -> dict[str, float]:
        """Positions by joint name."""
        return {name: float(getattr(self, name)) for name in ("lift", "arm", "base", "wrist_yaw", "gripper")}

    def ee(self) -> np.ndarray:
        """[7] fingertips x y z, roll pitch yaw, opening."""
        x, y, z, yaw = ee_of(self.pose)
        return np.array([x, y, z, 0.0, 0.0, yaw, self.gripper])

    @property
    def pose(self) -> Pose:
        """What places the fingertips."""
        return Pose(base=self.base, arm=self.arm, lift=self.lift, yaw=self.wrist_yaw)


@dataclass(frozen=True)
class BaseFrame:
    """Pose of the base (odometry: x y in metres, heading in radians) at which y is 0."""

    x: float
    y: float
    heading: float

    def driven(self, x: float, y: float) -> float:
        """Metres from this pose to (x, y) along this heading."""
        return (x - self.x) * math.cos(self.heading) + (y - self.y) * math.sin(self.heading)


@dataclass(frozen=True)
class MotionPlan:
    """One action as joint goals.

    Attributes:
        start: Joints before it.
        goals: Absolute goal by joint name, only for joints that move; "base" in metres of the frame.
        opening: Goal opening, 0 or 1.
        clipped: Which joints the limits cut short, in words.
    """

    start: Joints
    goals: Mapping[str, float]
    opening: float
    clipped: tuple[str, ...] = ()


def check_action(action: np.ndarray) -> np.ndarray:
    """[7] `action` as floats.

    Raises:
        ActionRefusedError: Wrong shape, not finite, motion along an axis that a Stretch has not, gripper beyond 0..1.
    """
    try:
        row = np.asarray(action, dtype=float)
    except (TypeError, ValueError) as error:
        raise ActionRefusedError(f"an action is 7 numbers, this is {type(action).__name__}", rule="shape") from error
    if row.shape != (7,):
        raise ActionRefusedError(f"an action has shape (7,), this one {row.shape}", rule="shape")
    if not np.isfinite(row).all():
        raise ActionRefusedError("an action of finite numbers is needed", rule="finite")
    for axis in (3, 4):
        if row[axis]:
            raise ActionRefusedError(f"a Stretch cannot turn about {AXIS_NAMES[axis]}; that must be 0", rule="axes")
    if not 0.0 <= row[6] <= 1.0:
        raise ActionRefusedError(f"gripper {row[6]:g} is not between 0 (closed) and 1 (open)", rule="gripper")
    return row


def plan_motion(
    action: np.ndarray, joints: Joints, limits: Mapping[str, tuple[float, float]], config: StretchConfig
) -> MotionPlan:
    """Joint goals of one checked action.

    Args:
        action: [7] as `check_action` returned it.
        joints: Where the joints are.
        limits: (low, high) by joint name, for those that have any.
        config: For the smallest motion that counts.
    """
    goals: dict[str, float] = {}
    clipped: list[str] = []
    pose = moved(joints.pose, action[[0, 1, 2, 5]])
    for joint, wanted in (("arm", pose.arm), ("base", pose.base), ("lift", pose.lift), ("wrist_yaw", pose.yaw)):
        start = getattr(joints, joint)
        if abs(wanted - start) < _NOTHING:
            continue
        low, high = limits.get(joint, (-math.inf, math.inf))
        # A joint that already is beyond its limit may come back, and may not go further out.
        goal = min(max(wanted, min(low, start)), max(high, start))
        if abs(goal - wanted) > 1e-6:
            clipped.append(f"{joint} {wanted:.3f} is beyond its limits {low:.3f} to {high:.3f}")
        goals[joint] = goal
    return MotionPlan(joints, goals, float(action[6] >= 0.5), tuple(clipped))


def tolerance(joint: str, config: StretchConfig) -> float:
    """How close to its goal `joint` counts as arrived, metres or radians."""
    return config.tolerance_rad if joint == "wrist_yaw" else config.tolerance_m


def short_of(plan: MotionPlan, joints: Joints, config: StretchConfig) -> dict[str, float]:
    """Joints that are not yet at their goal, with what is left to go (signed, metres or radians)."""
    left = {joint: goal - getattr(joints, joint) for joint, goal in plan.goals.items()}
    return {joint: rest for joint, rest in left.items() if abs(rest) > tolerance(joint, config)}


def measured(plan: MotionPlan, joints: Joints) -> np.ndarray:
    """[7] change of x y z roll pitch yaw since the plan began, and the opening now."""
    change = joints.ee() - plan.start.ee()
    change[6] = joints.gripper
    return change


def judge(plan: MotionPlan, joints: Joints, still_s: float, config: StretchConfig) -> tuple[Outcome, str] | None:
    """How a motion without contact, run-stop or fault ended; None while it is under way.

    Args:
        plan: What was commanded.
        joints: Where the joints are.
        still_s: For how long nothing has moved.
        config: Tolerances.
    """
    left = short_of(plan, joints, config)
    if not left:
        return ("clipped", "; ".join(plan.clipped)) if plan.clipped else ("reached", "")
    if still_s < config.stalled_s:
        return None
    # stretch_body's own wait calls this done: it only knows that nothing moves any more.
    where = ", ".join(f"{joint} {_amount(joint, rest)} short of its goal" for joint, rest in left.items())
    return "timeout", f"stands still: {where}; no contact was reported"


def opening_of(pct: float, open_pct: float) -> float:
    """Gripper opening 0..1 of stretch_body's percent (0 fingertips touch, `open_pct` wide open)."""
    return min(1.0, max(0.0, pct / open_pct)) if open_pct > 0 else 0.0


def _amount(joint: str, rest: float) -> str:
    return f"{math.degrees(abs(rest)):.0f}°" if joint == "wrist_yaw" else f"{abs(rest) * 1000:.0f} mm"

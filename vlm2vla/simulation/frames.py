"""The manipulation frame and MuJoCo's world, and where the end-effector is for given joints.

Manipulation frame of an episode: +x away from the robot along its arm, +y to the left (the robot drives that way), +z
up; origin on the floor under the middle of the base where it stood when the episode began. MuJoCo's world has the axes
of the base itself: X ahead, Y left, so the arm points to -Y. Pure numbers; metres, radians.
"""

from dataclasses import dataclass

import numpy as np

# With every joint at 0: the axis of the wrist, and from there to the point between the fingertips (13 cm lower).
WRIST = np.array([0.14495, -0.02138, 0.0])
HAND_M = 0.19500
EE_HEIGHT_M = 0.03227


@dataclass(frozen=True)
class Pose:
    """Joint positions that place the end-effector, metres and radians."""

    base: float
    arm: float
    lift: float
    yaw: float


def to_world(points: np.ndarray) -> np.ndarray:
    """[..., 3] manipulation frame -> MuJoCo's world."""
    points = np.asarray(points, dtype=np.float64)
    return np.stack([points[..., 1], -points[..., 0], points[..., 2]], axis=-1)


def from_world(points: np.ndarray) -> np.ndarray:
    """[..., 3] MuJoCo's world -> manipulation frame."""
    points = np.asarray(points, dtype=np.float64)
    return np.stack([-points[..., 1], points[..., 0], points[..., 2]], axis=-1)


def yaw_to_world(yaw: float) -> float:
    """Direction of an angle that is counted from +x of the manipulation frame, counted from X of the world."""
    return yaw - np.pi / 2


def ee_of(pose: Pose) -> np.ndarray:
    """[4] x y z yaw of the point between the fingertips."""
    return np.array(
        [
            WRIST[0] + pose.arm + HAND_M * np.cos(pose.yaw),
            WRIST[1] + pose.base + HAND_M * np.sin(pose.yaw),
            EE_HEIGHT_M + pose.lift,
            pose.yaw,
        ]
    )


def moved(pose: Pose, delta: np.ndarray) -> Pose:
    """Where the joints must go so that the end-effector moves by `delta` [4] dx dy dz dyaw.

    While the wrist turns, arm and base make up for the way that the fingertips would swing.
    """
    yaw = pose.yaw + float(delta[3])
    swing = HAND_M * np.array([np.cos(yaw) - np.cos(pose.yaw), np.sin(yaw) - np.sin(pose.yaw)])
    return Pose(
        base=pose.base + float(delta[1] - swing[1]),
        arm=pose.arm + float(delta[0] - swing[0]),
        lift=pose.lift + float(delta[2]),
        yaw=yaw,
    )

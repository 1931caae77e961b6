"""The manipulation frame and MuJoCo's world; where the end-effector is for given joints is the real robot's geometry.

Manipulation frame of an episode: +x away from the robot along its arm, +y to the left (the robot drives that way), +z
up; origin on the floor under the middle of the base where it stood when the episode began. MuJoCo's world has the axes
of the base itself: X ahead, Y left, so the arm points to -Y. Pure numbers; metres, radians.
"""

import numpy as np

from vlm2vla.robot.stretch_geometry import EE_HEIGHT_M, HAND_M, WRIST, Pose, ee_of, moved

__all__ = [
    "EE_HEIGHT_M",
    "HAND_M",
    "WRIST",
    "Pose",
    "ee_of",
    "from_world",
    "moved",
    "to_world",
    "yaw_from_world",
    "yaw_to_world",
]


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


def yaw_from_world(yaw: float) -> float:
    """Inverse of `yaw_to_world`, from -pi to pi."""
    return float((yaw + 3 * np.pi / 2) % (2 * np.pi) - np.pi)

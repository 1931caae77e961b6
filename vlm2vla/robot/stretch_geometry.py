"""Where the hand of a Stretch RE1 is for given joints, and which joints bring it where it should be. Pure numbers.

One geometry for the real robot and for the simulated one, so that an action means the same on both: the end-effector
(the point between the fingertips) moves by dx dy dz and turns by dyaw. While the wrist turns, arm and base make up for
the way that the fingertips would swing. Manipulation frame, metres, radians; y counts from the middle of the base where
it stood when the episode began. Runs on Python 3.10.
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

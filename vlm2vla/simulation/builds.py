"""Simulated robots by name: the RE1 as it is, and one of another build that takes the same actions.

A build says how its arm and hand differ from the published robot, how far they go, and from where the external camera
looks. Numbers only; `robot_body` and `staging` put them into the model. Manipulation frame, metres, radians.
"""

from dataclasses import dataclass

import numpy as np

from vlm2vla.config import did_you_mean
from vlm2vla.embodiment import STRETCH_LONG, STRETCH_RE1, Embodiment
from vlm2vla.errors import ConfigError
from vlm2vla.simulation import frames
from vlm2vla.simulation.frames import Pose


@dataclass(frozen=True, eq=False)
class Build:
    """One simulated robot.

    Attributes:
        name: How it is chosen.
        title: For people.
        embodiment: Its axes and reach.
        hand_longer_m: So much further than on the RE1 are the fingertips from the axis of the wrist.
        arm_ahead_m: So much further along +y (where the base drives) the arm leaves the mast.
        arm_m: How far the arm extends.
        eye_shift_m, target_shift_m: External camera: where it stands and what it looks at, from its usual place.
    """

    name: str
    title: str
    embodiment: Embodiment
    hand_longer_m: float = 0.0
    arm_ahead_m: float = 0.0
    arm_m: float = 0.52
    eye_shift_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    target_shift_m: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def ee_of(self, pose: Pose) -> np.ndarray:
        """[4] x y z yaw of the point between the fingertips."""
        reach = self.hand_longer_m * np.array([np.cos(pose.yaw), np.sin(pose.yaw), 0.0, 0.0])
        return frames.ee_of(pose) + reach + [0.0, self.arm_ahead_m, 0.0, 0.0]

    def moved(self, pose: Pose, delta: np.ndarray) -> Pose:
        """Where the joints must go so that the end-effector moves by `delta` [4] dx dy dz dyaw."""
        goal = frames.moved(pose, delta)
        swing_x = self.hand_longer_m * float(np.cos(goal.yaw) - np.cos(pose.yaw))
        swing_y = self.hand_longer_m * float(np.sin(goal.yaw) - np.sin(pose.yaw))
        return Pose(goal.base - swing_y, goal.arm - swing_x, goal.lift, goal.yaw)


RE1 = Build("simulated", "Simulated Stretch RE1", STRETCH_RE1)

# A hand 8 cm longer on an arm that sits 6 cm further ahead and extends less; the camera stands 15 cm from its usual
# place and looks 9 degrees differently.
LONG = Build(
    "simulated-long",
    "Simulated Stretch with a long hand",
    STRETCH_LONG,
    hand_longer_m=0.08,
    arm_ahead_m=0.06,
    arm_m=0.50,
    eye_shift_m=(-0.05, -0.13, -0.06),
    target_shift_m=(0.02, 0.0, 0.0),
)

BUILDS = {each.name: each for each in (RE1, LONG)}


def build_called(name: str) -> Build:
    """The simulated robot called `name`.

    Raises:
        ConfigError: There is none; the message offers the closest one.
    """
    if name not in BUILDS:
        raise ConfigError(f"no simulated robot {name!r}; {did_you_mean(name, BUILDS)}")
    return BUILDS[name]

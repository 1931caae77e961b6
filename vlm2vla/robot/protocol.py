"""The protocol that simulated, real and remote robots share.

All numbers in the manipulation frame (+x away from the robot along its reach, +y left, +z up), metres, radians,
seconds; gripper 1 open, 0 closed. A robot carries out one small relative motion at a time, and answers with what was
really reached. It knows no words, no policy and no safety rule beyond its own limits: `vlm2vla.robot.safety` stands in
front of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from vlm2vla.embodiment import Embodiment

Outcome = Literal["reached", "contact", "clipped", "runstop", "timeout", "fault", "stopped", "refused"]
"""How an action ended.

reached: within tolerance of the goal. contact: a guarded contact stopped it. clipped: a joint limit cut it short.
runstop: the run-stop is pressed. timeout: not done in time; the robot was stopped. fault: the robot cannot be trusted
(stale status, mute board, lost link). stopped: `stop` was called. refused: nothing moved, the message says why.
"""


@dataclass(frozen=True)
class RobotStatus:
    """Whether the robot can move, and why not.

    Attributes:
        ready: It would carry out an action now.
        moving: Something moves.
        homed: Joints know where they are.
        runstop: The run-stop is pressed.
        problems: Sentences for people: what is wrong and how to mend it; empty when `ready`.
        battery_v: Volts, None where there is no battery.
        time_s: When this was measured, on the clock of `Observation.time_s`.
    """

    ready: bool
    moving: bool
    homed: bool
    runstop: bool
    problems: tuple[str, ...] = ()
    battery_v: float | None = None
    time_s: float = 0.0


@dataclass(frozen=True, eq=False)
class Observation:
    """What the robot sees and where it is, at one moment.

    Attributes:
        time_s: When, on the robot's own steady clock; only differences mean something.
        images: JPEG bytes by camera name; the first one is the policy's default view.
        ee: [7] end-effector x y z, roll pitch yaw, measured gripper opening 0..1, in the frame that was fixed when the
            episode began (for a Stretch: y follows the driven way).
        joints: Joint positions by name, metres or radians.
        status: The robot's status at that moment.
    """

    time_s: float
    images: Mapping[str, bytes]
    ee: np.ndarray
    joints: Mapping[str, float]
    status: RobotStatus


@dataclass(frozen=True, eq=False)
class ActionResult:
    """What became of one action.

    Attributes:
        outcome: How it ended.
        measured: [7] change of x y z, roll pitch yaw that was really reached, and the gripper opening at the end.
        message: For people; empty when it was reached.
        seconds: How long it took.
    """

    outcome: Outcome
    measured: np.ndarray = field(default_factory=lambda: np.zeros(7))
    message: str = ""
    seconds: float = 0.0


class Robot(Protocol):
    """A robot that can be driven. One caller drives; `stop` and `status` are safe from any thread at any time.

    Attributes:
        name: For people, and honest: a simulated robot says so.
        embodiment: Its axes and limits.
        simulated: True when nothing real moves.
    """

    name: str
    embodiment: Embodiment
    simulated: bool

    def observe(self) -> Observation:
        """Look, now.

        Raises:
            RobotError: There is no current observation (camera lost, stale status).
        """
        ...

    def act(self, action: np.ndarray, *, timeout_s: float = 10.0) -> ActionResult:
        """Carry out one row of an action chunk and wait until the robot is still again.

        Args:
            action: [7] dx dy dz, droll dpitch dyaw, gripper command. Axes that the robot does not have must be 0.
            timeout_s: After this the robot is stopped and the outcome is "timeout".

        Never raises for what goes wrong with the motion: the outcome says it.
        """
        ...

    def stop(self) -> bool:
        """Stop all motion; True once the robot has confirmed that it is still. An `act` under way ends as "stopped"."""
        ...

    def status(self) -> RobotStatus:
        """Whether it can move, cheaply."""
        ...

    def close(self) -> None:
        """Stop and let go of the hardware; safe to call twice."""
        ...

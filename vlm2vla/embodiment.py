"""Robots as constants: axes, units, limits, control rate.

All numbers are in the manipulation frame: +x away from the robot along its reach, +y to the left when looking
along +x, +z up; metres, radians, seconds; gripper 1 open, 0 closed. This module knows no data format and no driver.
"""

import difflib
from dataclasses import dataclass

from vlm2vla.errors import ConfigError

AXES = ("x", "y", "z", "roll", "pitch", "yaw")


@dataclass(frozen=True)
class Embodiment:
    """What the rest of the library must know of one robot.

    Attributes:
        name: Key in configurations and data sets.
        title: Name for people.
        rate_hz: Usual rate of recorded steps.
        ee_limits: ((x_min, x_max), (y_min, y_max), (z_min, z_max)) that the end-effector can reach, metres.
            Recorded positions far outside are a unit error.
        max_step_m: Longest motion of one recorded step, metres; longer ones are a unit error or a jump.
        max_step_rad: The same for one rotation axis, radians.
        frame_text: The axes in words, for prompts.
        axes: Axes that it can be driven along; a motion on any other axis is refused.
    """

    name: str
    title: str
    rate_hz: float
    ee_limits: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
    max_step_m: float
    max_step_rad: float
    frame_text: str
    axes: tuple[str, ...] = AXES


_FRAME_TEXT = (
    "Moving forward (away from the robot base) increases x, moving left increases y, moving up increases z. "
    "Left and right are the robot's own when it looks forward; they need not be left and right in the image. "
    "Gripper 1 is open, 0 is closed."
)

WIDOWX = Embodiment(
    name="widowx",
    title="WidowX 250",
    rate_hz=5.0,
    # A little wider than the 1 to 99 % range of BridgeData V2 positions.
    ee_limits=((-0.1, 0.65), (-0.45, 0.45), (-0.25, 0.5)),
    max_step_m=0.15,
    max_step_rad=1.0,
    frame_text=_FRAME_TEXT,
)

STRETCH_RE1 = Embodiment(
    name="stretch_re1",
    title="Hello Robot Stretch RE1",
    rate_hz=5.0,
    # x arm extension, y along the driving direction (the base moves, so it is wide), z lift.
    ee_limits=((-0.1, 1.2), (-5.0, 5.0), (-0.2, 1.4)),
    max_step_m=0.15,
    max_step_rad=1.0,
    frame_text=_FRAME_TEXT,
    axes=("x", "y", "z", "yaw"),
)

STRETCH_LONG = Embodiment(
    name="stretch_long",
    title="Hello Robot Stretch RE1 with a long hand",
    rate_hz=5.0,
    # Exists in the simulator only: driven like the RE1, with other reach. Its near end keeps clear of base and mast.
    ee_limits=((0.2, 0.95), (-5.0, 5.0), (-0.2, 1.4)),
    max_step_m=0.15,
    max_step_rad=1.0,
    frame_text=_FRAME_TEXT,
    axes=("x", "y", "z", "yaw"),
)

FRANKA = Embodiment(
    name="franka",
    title="Franka Emika Panda",
    rate_hz=30.0,
    ee_limits=((-0.9, 0.9), (-0.9, 0.9), (-0.3, 1.3)),
    max_step_m=0.15,
    max_step_rad=1.0,
    frame_text=_FRAME_TEXT,
)

EMBODIMENTS = {robot.name: robot for robot in (WIDOWX, STRETCH_RE1, STRETCH_LONG, FRANKA)}


def embodiment(name: str) -> Embodiment:
    """The robot called `name`.

    Raises:
        ConfigError: Unknown name; the message offers the closest one.
    """
    if name in EMBODIMENTS:
        return EMBODIMENTS[name]
    close = difflib.get_close_matches(name, EMBODIMENTS, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(EMBODIMENTS)}"
    raise ConfigError(f"no embodiment {name!r}; {hint}")

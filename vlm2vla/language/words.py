"""Direction words of motion plans: one word per axis and sign, and how a displacement becomes words.

Translations: forward/back (x), left/right (y), up/down (z), manipulation frame. Rotations keep an own verb each, so
that left and forward never mean two things: "roll left" is roll > 0 (fingertips swing left), "tilt back" is
pitch > 0 (they swing towards the base), "rotate counterclockwise" is yaw > 0 (seen from above).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from vlm2vla.embodiment import AXES
from vlm2vla.errors import AnnotationError

Size = Literal["slightly", "", "far"]
GripperWord = Literal["open", "close"]

WORDS: dict[str, tuple[str, str]] = {
    "x": ("forward", "back"),
    "y": ("left", "right"),
    "z": ("up", "down"),
    "roll": ("left", "right"),
    "pitch": ("back", "forward"),
    "yaw": ("counterclockwise", "clockwise"),
}
"""Word of the positive and of the negative direction of each axis."""
VERBS: dict[str, str] = {"x": "move", "y": "move", "z": "move", "roll": "roll", "pitch": "tilt", "yaw": "rotate"}
"""Verb that goes with the word."""

NOTICED_CM, SHORT_CM, FAR_CM = 0.8, 2.0, 15.0
"""Shorter translations have no word; below the second they are "slightly", from the third on "far"."""
NOTICED_DEG, SHORT_DEG, FAR_DEG = 8.0, 15.0, 60.0
"""The same for rotations."""
_MENTIONED, _EQUAL = 0.25, 0.6
"""Of the leading axis: smaller axes have no word, smaller ones than this are "slightly" ..."""
NEVER_SLIGHT_CM, NEVER_SLIGHT_DEG = 6.0, 30.0
"""... unless they are larger than this, whatever the leading axis does."""


@dataclass(frozen=True)
class Direction:
    """One axis, one sign, a rough size.

    Attributes:
        axis: "x", "y", "z", "roll", "pitch" or "yaw".
        sign: 1 or -1.
        size: "slightly", "" or "far".
    """

    axis: str
    sign: int
    size: Size = ""

    def __post_init__(self):
        if self.axis not in WORDS or self.sign not in (1, -1) or self.size not in ("slightly", "", "far"):
            raise AnnotationError(f"no direction {self.axis!r}, {self.sign!r}, {self.size!r}")

    @property
    def word(self) -> str:
        """Such as "forward" or "clockwise"."""
        return WORDS[self.axis][self.sign < 0]

    @property
    def verb(self) -> str:
        """One of "move", "roll", "tilt", "rotate"."""
        return VERBS[self.axis]


@dataclass(frozen=True)
class MotionPhrase:
    """One phrase of a motion plan; without directions and gripper it is "hold still".

    Attributes:
        directions: Each axis at most once.
        gripper: What the gripper does meanwhile, or None.
    """

    directions: tuple[Direction, ...] = ()
    gripper: GripperWord | None = None

    def __post_init__(self):
        axes = [direction.axis for direction in self.directions]
        if len(set(axes)) < len(axes):
            raise AnnotationError(f"a phrase names each axis once, not {', '.join(axes)}")
        if self.gripper not in ("open", "close", None):
            raise AnnotationError(f"a gripper opens or closes, it cannot {self.gripper!r}")


def directions_of(delta: np.ndarray) -> tuple[Direction, ...]:
    """Direction words of one displacement.

    Translations come first, then rotations, each with the largest axis in front. Axes below NOTICED_* or below a
    quarter of the largest have no word; below six tenths of it they are "slightly", up to NEVER_SLIGHT_*.

    Args:
        delta: [3] dx dy dz in metres, or [6] with droll dpitch dyaw in radians.

    Raises:
        AnnotationError: Another shape, or values that are not finite.
    """
    values = _in_text_units(delta)
    return _ranked(values[:3], ["x", "y", "z"], NOTICED_CM, SHORT_CM, NEVER_SLIGHT_CM, FAR_CM) + _ranked(
        values[3:], ["roll", "pitch", "yaw"], NOTICED_DEG, SHORT_DEG, NEVER_SLIGHT_DEG, FAR_DEG
    )


def measure(delta: np.ndarray) -> str:
    """A displacement with numbers, for people: "down 6.1 cm, forward 1.2 cm"; "no motion" below one millimetre.

    Translations before rotations, the biggest first, one decimal; rotations read "rotate clockwise 12.0 deg".

    Args:
        delta: [3] dx dy dz in metres, or [6] with droll dpitch dyaw in radians.

    Raises:
        AnnotationError: Another shape, or values that are not finite.
    """
    values = _in_text_units(delta)
    parts = []
    for first, last, unit in ((0, 3, "cm"), (3, len(values), "deg")):
        for index in sorted(range(first, last), key=lambda index: -abs(values[index])):
            if abs(values[index]) >= 0.1 - 1e-9:
                direction = Direction(AXES[index], 1 if values[index] > 0 else -1)
                verb = f"{direction.verb} " if unit == "deg" else ""
                parts.append(f"{verb}{direction.word} {abs(values[index]):.1f} {unit}")
    return ", ".join(parts) or "no motion"


def _in_text_units(delta: np.ndarray) -> list[float]:
    values = np.asarray(delta, dtype=np.float64)
    if values.shape not in ((3,), (6,)) or not np.isfinite(values).all():
        raise AnnotationError(f"a displacement is 3 or 6 finite numbers, not {delta!r}")
    return [*(values[:3] * 100.0).tolist(), *np.degrees(values[3:]).tolist()]


def _ranked(
    values: list[float], axes: list[str], noticed: float, short: float, never_slight: float, far: float
) -> tuple[Direction, ...]:
    if not values:
        return ()
    order = sorted(range(len(values)), key=lambda index: -abs(values[index]))
    leading = abs(values[order[0]])
    found = []
    for index in order:
        amount = abs(values[index])
        if amount < max(noticed, _MENTIONED * leading):
            break
        size: Size = "far" if amount >= far else ""
        if amount < short or amount < min(_EQUAL * leading, never_slight):
            size = "slightly"
        found.append(Direction(axes[index], 1 if values[index] > 0 else -1, size))
    return tuple(found)

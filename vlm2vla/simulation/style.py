"""How one expert moves: speed, path and mistakes, drawn from a seed. Numbers only; it knows no world."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Mistake = Literal["", "short", "high"]
RECOVERY_SHARE = 0.2


@dataclass(frozen=True, eq=False)
class Style:
    """One way to do it.

    Attributes:
        speed: Share of the longest step.
        start: Share of the speed with which a phase begins.
        hover_m: How high over the grasp the way down begins.
        bend_m: Sideways bend of the way across, metres at its middle.
        carry_m: Extra height when carrying across.
        lift_m: How high a thing is lifted in the end, its underside above the table.
        tremble_m: Random part of each row, one standard deviation.
        grasp_offset: [3] where the fingertips aim, from the grasp point.
        place_offset: [2] where a thing is put, from the middle of the destination.
        mistake: Of the first attempt to grasp.
        mistake_offset: [3] the error of that attempt.
    """

    speed: float
    start: float
    hover_m: float
    bend_m: float
    carry_m: float
    lift_m: float
    tremble_m: float
    grasp_offset: np.ndarray
    place_offset: np.ndarray
    mistake: Mistake = ""
    mistake_offset: np.ndarray = field(default_factory=lambda: np.zeros(3))

    def aim_error(self, attempts: int) -> np.ndarray:
        """[3] error of the grasp after so many misses; later attempts aim ever closer."""
        if attempts == 0 and self.mistake:
            return self.mistake_offset
        return self.grasp_offset / (1 + attempts)


def draw_style(seed: int, mistakes: bool | None = None) -> Style:
    """The style of a seed.

    Args:
        seed: Any whole number from 0.
        mistakes: With a mistake, without, or (None) with one in a share of the seeds.
    """
    rng = np.random.default_rng([seed, 11])
    offset = np.array([rng.uniform(-0.010, 0.003), rng.uniform(-0.006, 0.006), rng.uniform(-0.003, 0.005)])
    style = {
        "speed": rng.uniform(0.6, 1.0),
        "start": rng.uniform(0.3, 0.8),
        "hover_m": rng.uniform(0.05, 0.09),
        "bend_m": rng.normal(0.0, 0.02),
        "carry_m": rng.uniform(0.0, 0.05),
        "lift_m": rng.uniform(0.08, 0.14),
        "tremble_m": rng.uniform(0.0, 0.001),
        "grasp_offset": offset,
        "place_offset": rng.uniform(-0.012, 0.012, 2),
    }
    wanted = rng.random() < RECOVERY_SHARE if mistakes is None else mistakes
    kind: Mistake = ("short", "high")[rng.integers(2)]
    size = rng.uniform(0.0, 1.0)
    errors = {"short": [-0.045 - 0.015 * size, 0.0, 0.0], "high": [0.0, 0.0, 0.055 + 0.015 * size]}
    if wanted:
        style |= {"mistake": kind, "mistake_offset": np.array(errors[kind])}
    return Style(**style)

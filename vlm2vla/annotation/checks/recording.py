"""The numbers of one episode in the shape the checks need: computed once, asked per span."""

import re
from dataclasses import dataclass

import numpy as np

from vlm2vla import motion
from vlm2vla.annotation.segmentation import Event
from vlm2vla.types import AnnotatedEpisode, Episode

IDLE_M = 0.005
IDLE_RAD = 0.09


@dataclass(frozen=True, eq=False)
class Recording:
    """Motion and gripper of an episode.

    Attributes:
        path: [T + 1, 6] position relative to the first step: before step t, and after the last one.
        bits: [T] gripper command without chatter, 1 open, 0 closed.
        rate_hz: Steps per second.
    """

    path: np.ndarray
    bits: np.ndarray
    rate_hz: float

    @classmethod
    def of(cls, episode: Episode, annotated: AnnotatedEpisode) -> "Recording":
        """Reached motion, or commanded where the annotation says that it describes commands."""
        described = [entry.settings["motion"] for entry in annotated.provenance if "motion" in entry.settings]
        source = "commanded" if described and described[-1] == "commanded" else "reached"
        rows = motion.actions(episode, source)
        path = np.zeros((len(rows) + 1, 6))
        np.cumsum(rows[:, :6], axis=0, out=path[1:])
        return cls(path, rows[:, 6], episode.rate_hz)

    @property
    def steps(self) -> int:
        """Number of steps, T."""
        return len(self.bits)

    def net(self, start: int, end: int) -> np.ndarray:
        """[6] displacement over the span, metres and radians."""
        return self.path[end] - self.path[start]

    def travelled(self, start: int, end: int) -> np.ndarray:
        """[6] length of the way per axis, metres and radians."""
        return np.abs(np.diff(self.path[start : end + 1], axis=0)).sum(axis=0)

    def before(self, start: int) -> float:
        """Gripper command just before the span; at the beginning of the recording the first one."""
        return float(self.bits[max(start - 1, 0)])

    def events(self, start: int, end: int) -> list[tuple[int, Event]]:
        """Gripper changes at steps of the span."""
        low, high = max(start, 1), min(end, self.steps)
        changed = np.flatnonzero(self.bits[low:high] != self.bits[low - 1 : high - 1]) + low
        return [(int(step), "open" if self.bits[step] > 0.5 else "close") for step in changed]

    def is_idle(self, start: int, end: int) -> bool:
        """No motion above noise, and no gripper change."""
        moved = self.travelled(start, end)
        return bool(moved[:3].sum() < IDLE_M and moved[3:].sum() < IDLE_RAD and not self.events(start, end))


def resolution_cm(form_name: str) -> float:
    """Smallest translation step of an action form, from its name ("rows:0.5cm")."""
    found = re.search(r"(\d+(?:\.\d+)?)cm", form_name)
    return float(found.group(1)) if found else 0.5


@dataclass(frozen=True)
class Swing:
    """A move of one axis between two points where it turns back.

    Attributes:
        amount: Signed size, metres or radians.
        begin, end: Indexes of the path at which a fifth and four fifths of it are done.
    """

    amount: float
    begin: int
    end: int

    @property
    def sign(self) -> int:
        """Direction on the axis."""
        return 1 if self.amount > 0 else -1


def swings(values: list[float], threshold: float) -> list[Swing]:
    """The moves of a path on one axis, cut where it turns back by at least `threshold`."""
    found: list[Swing] = []
    pivot = extreme = low = high = 0
    sign = 0
    for index, value in enumerate(values):
        if not sign:
            low = index if value < values[low] else low
            high = index if value > values[high] else high
            if value - values[low] >= threshold:
                sign, pivot, extreme = 1, low, index
            elif values[high] - value >= threshold:
                sign, pivot, extreme = -1, high, index
        elif (value - values[extreme]) * sign > 0:
            extreme = index
        elif (values[extreme] - value) * sign >= threshold:
            found.append(_swing(values, pivot, extreme))
            pivot, extreme, sign = extreme, index, -sign
    return [*found, _swing(values, pivot, extreme)] if sign else found


def _swing(values: list[float], pivot: int, extreme: int) -> Swing:
    amount = values[extreme] - values[pivot]
    done = [(values[index] - values[pivot]) / amount for index in range(pivot, extreme + 1)]
    begin = next(index for index, share in enumerate(done) if share >= 0.2)
    end = next(index for index, share in enumerate(done) if share >= 0.8)
    return Swing(amount, pivot + begin, pivot + end)

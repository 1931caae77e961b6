"""Whether the numbers of a Stretch are alive, and whether it stands still. Pure but for the clock it is given.

stretch_body stamps a joint with the computer's time even when the board behind it has not answered, and a status thread
that died leaves its last numbers in place. What cannot lie is the board's own clock: as long as it advances, somebody
read it. Ages are counted on a steady clock, so setting the computer's time changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

STILL_M = 0.0004
"""Positions (metres or radians) that change less than this between looks have not moved."""


@dataclass
class _Source:
    mark: float
    alive_s: float


@dataclass
class _Joint:
    anchor: float
    moved_s: float
    seen_s: float


@dataclass
class StatusWatch:
    """Fed with marks (anything that changes with every answer of a source) and positions, a few times per answer.

    Attributes:
        limits_s: Greatest age by source.
    """

    limits_s: Mapping[str, float]
    _sources: dict[str, _Source] = field(default_factory=dict)
    _joints: dict[str, _Joint] = field(default_factory=dict)

    def look(self, now_s: float, marks: Mapping[str, float], positions: Mapping[str, tuple[str, float]]) -> None:
        """Take note of what the driver holds at `now_s`.

        Args:
            now_s: On a steady clock.
            marks: Mark by source.
            positions: (source, position) by joint.
        """
        answered = set()
        for name, mark in marks.items():
            source = self._sources.get(name)
            if source is None or source.mark != mark:
                self._sources[name] = _Source(mark, now_s)
                answered.add(name)
        for name, (source_name, position) in positions.items():
            joint = self._joints.setdefault(name, _Joint(position, now_s, now_s))
            if abs(position - joint.anchor) > STILL_M:
                joint.anchor, joint.moved_s = position, now_s
            if source_name in answered:
                joint.seen_s = now_s

    def age_s(self, name: str, now_s: float) -> float:
        """Seconds since `name` last answered."""
        return now_s - self._sources[name].alive_s if name in self._sources else float("inf")

    def stale(self, now_s: float) -> dict[str, float]:
        """Age in seconds of every source that is older than its limit."""
        ages = {name: self.age_s(name, now_s) for name in self.limits_s}
        return {name: age for name, age in ages.items() if age > self.limits_s[name]}

    def still_s(self, *names: str) -> float:
        """For how long all joints (or only `names`) are known to have stood still: up to their last answer."""
        joints = [self._joints[name] for name in (names or self._joints)]
        return max(0.0, min(joint.seen_s - joint.moved_s for joint in joints))

    def touch(self, now_s: float, *names: str) -> None:
        """`names` were told to move: count their standing still from now on."""
        for name in names:
            self._joints[name].moved_s = now_s

"""What a policy is, and the events by which it tells what it writes.

A policy writes at three levels: the subtasks once, then in every cycle a motion plan and an action chunk. Each method
is a generator, so that text can be shown while it is written; its last event is the result. A policy never moves
anything and never invents an action: when it cannot write one it says `GaveUp`, and the robot holds still.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from vlm2vla.robot import Observation
from vlm2vla.types import ActionChunk, Level


@dataclass(frozen=True)
class Streaming:
    """Text of one level so far, while it is being written."""

    level: Level
    text: str


@dataclass(frozen=True)
class SubtasksReady:
    """The subtasks of the whole task, in order; `raw` is what was written."""

    texts: tuple[str, ...]
    raw: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class PlanReady:
    """The motion plan of this cycle."""

    text: str
    raw: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class ParseFailed:
    """One try of a chunk that is not in the action language; it is written again."""

    attempt: int
    raw: str
    problem: str


@dataclass(frozen=True, eq=False)
class ChunkReady:
    """The action chunk of this cycle.

    Attributes:
        chunk: The motion.
        text: Its action text in one spelling.
        raw: What was written.
        attempts: How many tries it took.
        seconds: How long it took.
        later: How many more rows were written or begun, which are not carried out before the next look.
    """

    chunk: ActionChunk
    text: str
    raw: str = ""
    attempts: int = 1
    seconds: float = 0.0
    later: int = 0


@dataclass(frozen=True)
class GaveUp:
    """There is no chunk: the robot holds still, and `reason` says why."""

    reason: str
    attempts: int = 0


PolicyEvent = Streaming | SubtasksReady | PlanReady | ParseFailed | ChunkReady | GaveUp


@dataclass(frozen=True)
class Driving:
    """Where a rollout is: what a policy is asked with.

    Attributes:
        instruction: The task in words.
        subtasks: All of them; empty before they are written.
        index: The current one.
        plan: The motion plan of this cycle; empty before it is written.
        cycle: Number of the cycle, from 0.
        goal: [7] where the chunk of this cycle leads: end-effector x y z, roll pitch yaw, last gripper command, in the
            frame of the observations; None before it is written.
    """

    instruction: str
    subtasks: tuple[str, ...] = ()
    index: int = 0
    plan: str = ""
    cycle: int = 0
    goal: np.ndarray | None = field(default=None, compare=False)

    @property
    def subtask(self) -> str:
        """The current subtask; "" when all are done."""
        return self.subtasks[self.index] if self.index < len(self.subtasks) else ""

    def planned(self, plan: str) -> "Driving":
        """The same cycle with its plan."""
        return replace(self, plan=plan)

    def heading(self, goal: np.ndarray) -> "Driving":
        """The same cycle with where its chunk leads."""
        return replace(self, goal=goal)

    def next_cycle(self, done: bool) -> "Driving":
        """The next cycle, of the next subtask when this one is `done`."""
        return replace(self, index=self.index + done, plan="", cycle=self.cycle + 1, goal=None)


class Policy(Protocol):
    """Writes subtasks, plans and chunks.

    One that has an attribute `back_after` above 0 is taken back to the subtask before, after so many cycles in a row
    that should have finished one and did not.

    Attributes:
        name: For people and for the trace.
    """

    name: str

    def subtasks(self, driving: Driving, observation: Observation) -> Iterator[PolicyEvent]:
        """Ends with SubtasksReady, or GaveUp."""
        ...

    def plan(self, driving: Driving, observation: Observation) -> Iterator[PolicyEvent]:
        """Ends with PlanReady, or GaveUp."""
        ...

    def chunk(self, driving: Driving, observation: Observation) -> Iterator[PolicyEvent]:
        """Ends with ChunkReady, or GaveUp."""
        ...


@dataclass(frozen=True)
class Verdict:
    """Whether the current subtask is done, and by which sign."""

    done: bool
    reason: str = ""


class Verifier(Protocol):
    """Decides at run time whether a subtask is done (a check, in contrast, is about annotations)."""

    name: str

    def verify(self, driving: Driving, before: Observation, after: Observation) -> Verdict:
        """Look at the observation with which the subtask began and at the newest one."""
        ...

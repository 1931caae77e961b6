"""Between a decoded chunk and the robot: who has to say yes, and what a yes is good for.

An approval is bound to one question: to the decoded action, number by number, and to the look that it was decided on.
It expires, and is void when the robot was moved meanwhile. This module knows no page; the studio implements `Gate` with
buttons.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from vlm2vla.policy import ChunkReady, Driving
from vlm2vla.robot import Observation

# How far [7] the end-effector may seem to move while it stands still: metres, radians, share of the gripper's opening.
STATE_NOISE = np.array([0.004, 0.004, 0.004, 0.02, 0.02, 0.02, 0.05])


@dataclass(frozen=True)
class Approve:
    """What a person is asked to approve.

    Attributes:
        key: Hash of the chunk's numbers and of the look; an answer must name it.
        driving: Subtask and plan.
        text: The action text.
        asked_at: Seconds, on the clock of the loop.
        expires_after_s: A yes that comes later is void.
        chunk: What would be carried out.
        observation: What it was decided on.
    """

    key: str
    driving: Driving
    text: str
    asked_at: float
    expires_after_s: float
    chunk: ChunkReady
    observation: Observation


@dataclass(frozen=True)
class Decision:
    """The answer to an `Approve`.

    Attributes:
        go: Carry the chunk out.
        key: Which question is answered.
        reason: Why not, or what was changed.
        driving: Go on from here instead: other subtasks or another plan, said by a person. A plan that it holds is
            taken as it is; where it is empty the policy writes a new one.
        chunk: Carry this out instead, as written by a person; `key` is then the key of this chunk.
        asked_at: When the changed chunk was shown; None for an unchanged one.
    """

    go: bool
    key: str
    reason: str = ""
    driving: Driving | None = field(default=None)
    chunk: ChunkReady | None = field(default=None)
    asked_at: float | None = None


class Gate(Protocol):
    """Who decides whether a chunk is carried out."""

    def decide(self, question: Approve) -> Decision:
        """Answer; may wait for a person."""
        ...


class AutoGate:
    """Everything that the safety rules let through is carried out."""

    def decide(self, question: Approve) -> Decision:
        """Yes."""
        return Decision(True, question.key, "auto")


def approval_key(chunk: ChunkReady, observation: Observation) -> str:
    """Hash of what would be carried out, and of the look that it was decided on: names one question."""
    digest = hashlib.sha256(np.ascontiguousarray(chunk.chunk.rows).tobytes())
    digest.update(np.array([observation.time_s, *observation.ee], dtype=np.float64).tobytes())
    return digest.hexdigest()[:16]


def same_state(asked: Observation, now: Observation) -> bool:
    """The robot stands where it stood, apart from the noise of its sensors."""
    return bool((np.abs(asked.ee - now.ee) <= STATE_NOISE).all())

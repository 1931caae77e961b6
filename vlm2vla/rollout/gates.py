"""Between a decoded chunk and the robot: who has to say yes, and what a yes is good for.

An approval is bound to the hash of the decoded action and of the robot's state, and expires: if either changed, it is
void. This module knows no page; the studio implements `Gate` with buttons.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from vlm2vla.policy import ChunkReady, Driving
from vlm2vla.robot import Observation

# States nearer than this are the same state: sensor noise, metres and radians.
STATE_GRAIN = 0.002


@dataclass(frozen=True)
class Approve:
    """What a person is asked to approve.

    Attributes:
        key: Hash of the chunk's numbers and of the robot's state; an answer must name it.
        driving: Subtask and plan.
        text: The action text.
        asked_at: Seconds, on the clock of the loop.
        expires_after_s: A yes that comes later is void.
    """

    key: str
    driving: Driving
    text: str
    asked_at: float
    expires_after_s: float


@dataclass(frozen=True)
class Decision:
    """The answer to an `Approve`.

    Attributes:
        go: Carry the chunk out.
        key: Which question is answered.
        reason: Why not, or what was changed.
        driving: Go on from here instead: another subtask or plan, said by a person.
    """

    go: bool
    key: str
    reason: str = ""
    driving: Driving | None = field(default=None)


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
    """Hash of what would be carried out, and of where the robot is."""
    digest = hashlib.sha256(np.ascontiguousarray(chunk.chunk.rows).tobytes())
    digest.update(np.round(observation.ee / STATE_GRAIN).astype(np.int64).tobytes())
    return digest.hexdigest()[:16]

"""What happens in a rollout, as typed events in the order in which it happens. Everything shown or recorded is one."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from vlm2vla.policy import ChunkReady, Driving, PolicyEvent, Verdict
from vlm2vla.robot import ActionResult, Observation
from vlm2vla.robot.safety import Decision as SafetyDecision

End = Literal["finished", "gave up", "out of cycles", "stopped", "error"]


@dataclass(frozen=True, eq=False)
class Observed:
    """A look at the world; one becomes one step of the recorded episode."""

    observation: Observation


@dataclass(frozen=True)
class CycleBegan:
    """A cycle of plan, chunk, execution and verdict begins."""

    driving: Driving


@dataclass(frozen=True)
class PolicySaid:
    """An event of the policy, passed on."""

    driving: Driving
    event: PolicyEvent


@dataclass(frozen=True)
class ChunkDecided:
    """What the person (or the mode) decided about the chunk before anything moved.

    Attributes:
        chunk: What a person wrote instead of the policy's chunk; None when it was taken as it was.
    """

    driving: Driving
    approved: bool
    reason: str = ""
    chunk: ChunkReady | None = None


@dataclass(frozen=True, eq=False)
class ActionAsked:
    """One row goes to the safety rules.

    Attributes:
        row: Number of the row in its chunk.
        asked: [7] what the chunk says.
        decision: What the rules say; a refused row ends the chunk.
    """

    row: int
    asked: np.ndarray
    decision: SafetyDecision


@dataclass(frozen=True, eq=False)
class ActionDone:
    """What the robot really did with one row."""

    row: int
    result: ActionResult


@dataclass(frozen=True)
class SubtaskJudged:
    """The verifier's verdict after a chunk."""

    driving: Driving
    verdict: Verdict


@dataclass(frozen=True)
class Ended:
    """The rollout is over and the robot is still.

    Attributes:
        end: How the loop ended; "finished" means that the verifier called every subtask done. Whether the task was
            really done is for a task to say (success or failure); "error" is about the machinery and neither of them.
        reason: In words.
        driving: Where it ended.
    """

    end: End
    reason: str
    driving: Driving


Event = Observed | CycleBegan | PolicySaid | ChunkDecided | ActionAsked | ActionDone | SubtaskJudged | Ended

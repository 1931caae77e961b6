"""Closed-loop driving: policy + safety + robot. Yields events, records an episode with its trace."""

from vlm2vla.rollout.events import (
    ActionAsked,
    ActionDone,
    ChunkDecided,
    CycleBegan,
    Ended,
    Event,
    Observed,
    PolicySaid,
    SubtaskJudged,
)
from vlm2vla.rollout.gates import Approve, AutoGate, Decision, Gate
from vlm2vla.rollout.loop import RolloutConfig, drive
from vlm2vla.rollout.trace import Trace, record

__all__ = [
    "ActionAsked",
    "ActionDone",
    "Approve",
    "AutoGate",
    "ChunkDecided",
    "CycleBegan",
    "Decision",
    "Ended",
    "Event",
    "Gate",
    "Observed",
    "PolicySaid",
    "RolloutConfig",
    "SubtaskJudged",
    "Trace",
    "drive",
    "record",
]

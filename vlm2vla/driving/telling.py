"""Events of the driving loop as records, numbered for pages and kept on disk, with what each says in words."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from vlm2vla.driving.event_log import EventLog
from vlm2vla.driving.journal import Journal
from vlm2vla.driving.words import chunk_view, driving_view, judge, judged_view, motion_says, pose_view, row_says
from vlm2vla.policy import ChunkReady, Driving, GaveUp, ParseFailed, PlanReady, PolicyEvent, Streaming, SubtasksReady
from vlm2vla.robot import Observation
from vlm2vla.robot.safety import Rules
from vlm2vla.rollout import ActionAsked, ActionDone, ChunkDecided, CycleBegan, Event, PolicySaid, SubtaskJudged
from vlm2vla.rollout.loop import seven

MAX_RAW = 4000


@dataclass
class Counts:
    """What a run came to.

    Attributes:
        actions: Rows that were carried out.
        refused: Rows that the rules refused or shortened.
        parse_failures: Texts that were not action language.
    """

    actions: int = 0
    refused: int = 0
    parse_failures: int = 0


class Teller:
    """Makes the records of one run.

    Args:
        events: Where pages read.
        journal: Where they are kept.
        run: Id of the run.
        rules: What chunks are judged by.
    """

    def __init__(self, events: EventLog, journal: Journal, run: str, rules: Rules):
        self._events, self._journal, self._run, self._rules = events, journal, run, rules
        self.counts = Counts()
        self._newest: Observation | None = None
        self._step = 0
        self._cycle_step = 0

    def tell(self, kind: str, **fields: Any) -> None:
        """One record, kept for good."""
        self._journal.write(self._events.add(kind, run=self._run, **fields))

    def step(self, number: int, observation: Observation) -> None:
        """The newest step of the recording; nothing when it was told before."""
        if observation is self._newest:
            return
        self._newest, self._step = observation, number
        self._journal.frames(number, observation)
        self.tell("observed", step=number, **pose_view(observation))

    def event(self, event: Event) -> None:
        """One event of the loop."""
        if isinstance(event, CycleBegan):
            self._cycle_step = self._step
            self.tell("cycle", driving=driving_view(event.driving))
        elif isinstance(event, PolicySaid):
            self._said(event.driving, event.event)
        elif isinstance(event, ChunkDecided):
            edited = self._chunk(event.driving, event.chunk) if event.chunk else None
            self.tell(
                "decided",
                approved=event.approved,
                reason=event.reason,
                driving=driving_view(event.driving),
                chunk=edited,
            )
        elif isinstance(event, ActionAsked):
            self.counts.refused += event.decision.verdict != "pass"
            asked = np.round(event.asked, 5)
            self.tell(
                "action_asked",
                row=event.row,
                asked=asked.tolist(),
                says=row_says(asked),
                judged=judged_view(event.decision),
            )
        elif isinstance(event, ActionDone):
            self.counts.actions += 1
            result = event.result
            self.tell(
                "action_done",
                row=event.row,
                outcome=result.outcome,
                measured=np.round(result.measured, 5).tolist(),
                says=motion_says(result.measured[:6]),
                message=result.message,
                seconds=round(result.seconds, 3),
            )
        elif isinstance(event, SubtaskJudged):
            self.tell(
                "verdict",
                done=event.verdict.done,
                reason=event.verdict.reason,
                driving=driving_view(event.driving),
                before_step=self._cycle_step,
                after_step=self._step,
            )

    def _said(self, driving: Driving, said: PolicyEvent) -> None:
        if isinstance(said, Streaming):
            self._events.add("streaming", run=self._run, transient="streaming", level=said.level, text=said.text)
            return
        self._events.forget("streaming")
        if isinstance(said, SubtasksReady):
            self.tell("subtasks", texts=list(said.texts), raw=said.raw[:MAX_RAW], seconds=round(said.seconds, 3))
        elif isinstance(said, PlanReady):
            seconds = round(said.seconds, 3)
            self.tell("plan", text=said.text, raw=said.raw[:MAX_RAW], seconds=seconds, source="policy")
        elif isinstance(said, ParseFailed):
            self.counts.parse_failures += 1
            self.tell("parse_failed", attempt=said.attempt, raw=said.raw[:MAX_RAW], problem=said.problem)
        elif isinstance(said, ChunkReady):
            self.tell("chunk", source="policy", **self._chunk(driving, said))
        elif isinstance(said, GaveUp):
            self.tell("gave_up", reason=said.reason, attempts=said.attempts)

    def _chunk(self, driving: Driving, chunk: ChunkReady) -> dict[str, Any]:
        rows = seven(chunk.chunk.rows)
        judged = judge(rows, self._rules, self._newest) if self._newest is not None else []
        return {
            "text": chunk.text,
            "raw": chunk.raw[:MAX_RAW],
            "attempts": chunk.attempts,
            "seconds": round(chunk.seconds, 3),
            "judged": [judged_view(decision) for decision in judged],
        } | chunk_view(rows, driving.plan)

"""A rollout as data: an Episode of what was seen and done, an AnnotatedEpisode of what was said, the events as JSON.

One step per look at the world, which is one per action row, so spans of the trace fall on rows exactly. Where the robot
can be looked at while it moves (the simulator), steps are samples of a fixed rate instead (`Trace.sample`). A trace
opens in the review like any other annotation, and its corrections flow back to training.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, is_dataclass, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np

from vlm2vla.embodiment import Embodiment
from vlm2vla.errors import ActionParseError, InvalidEpisodeError
from vlm2vla.language import MAX_ROWS, ActionForm, form, plan_of, verbalize_plan
from vlm2vla.policy import ChunkReady, Driving
from vlm2vla.robot import ActionResult, Observation
from vlm2vla.rollout.events import (
    ActionAsked,
    ActionDone,
    ChunkDecided,
    CycleBegan,
    Ended,
    Event,
    Observed,
    PolicySaid,
)
from vlm2vla.rollout.loop import seven
from vlm2vla.types import ActionChunk, AnnotatedEpisode, AnnotatedSubtask, Episode, Provenance, Source

FORMAT = "rollout"
_PER_ROW = "one step per action row; the rate is the mean of the rollout"
_SAMPLED = "sampled while the robot moved; commands are the motion that was reached, and the gripper as it was told"
# A last look this much later than the last sample is a step of its own, seconds.
_LATER_S = 0.05


class Span(NamedTuple):
    """The steps of one cycle that moved.

    Attributes:
        start, end: First step, and the step after the last.
        driving: Subtask and plan.
        text: Action text.
        chunk: What it says; None before it is said.
        done: [7] each, the rows that were carried out: as the safety rules let them through, or as far as the robot
            came with one that it did not bring to its end.
        edited: A person wrote the action text.
    """

    start: int
    end: int
    driving: Driving
    text: str
    chunk: ActionChunk | None = None
    done: tuple[np.ndarray, ...] = ()
    edited: bool = False

    def said(self, action_form: ActionForm) -> str:
        """The action text in that form: word for word where it is in that form and says what was carried out.

        Else that is said anew: labels must be true to the numbers, up to the rounding of the form.
        """
        return self.text if self._true(action_form) else action_form.verbalize(ActionChunk(self._done))

    def rows(self, action_form: ActionForm) -> np.ndarray:
        """[H, 7] what was carried out; in the numbers of the text where that is true."""
        return seven(action_form.parse(self.text).rows) if self._true(action_form) else self._done

    @property
    def _done(self) -> np.ndarray:
        return np.array(self.done).reshape(-1, 7)

    def _true(self, action_form: ActionForm) -> bool:
        """Whether the form would say the same of the text and of what was carried out."""
        try:
            said = action_form.parse(self.text)
        except ActionParseError:
            return False
        done = action_form.quantize(ActionChunk(self._done))
        return np.array_equal(action_form.quantize(said).rows, done.rows)


@dataclass
class Trace:
    """What `record` collects while a rollout runs.

    Attributes:
        instruction, embodiment, policy: What was driven, and by whom.
        rate_hz: Rate of the samples; 0 for one step per action row.
        observations: One per step.
        commands: [7] what was sent to get from each step to the next.
        spans: One per cycle.
        log: Every event as JSON values with its "kind"; images are left out.
        ended: How it ended; None while it runs.
    """

    instruction: str
    embodiment: Embodiment
    policy: str
    rate_hz: float = 0.0
    observations: list[Observation] = field(default_factory=list)
    commands: list[np.ndarray] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)
    ended: Ended | None = None
    _asked: np.ndarray | None = field(default=None, repr=False)
    _acted: bool = field(default=False, repr=False)
    _seen: Observation | None = field(default=None, repr=False)

    @property
    def rotates(self) -> bool:
        """Chunks hold rotation: they have seven numbers a row."""
        return any(span.chunk is not None and span.chunk.rows.shape[1] == 7 for span in self.spans)

    @property
    def moved(self) -> bool:
        """There is something to keep: more than one step. A row may be carried out and move nothing."""
        return len(self.observations) > 1

    def sample(self, observation: Observation) -> None:
        """One more step, taken while the robot moves; only for a trace with a rate."""
        if self.observations:
            self._reach(observation)
        self.observations.append(observation)

    def look(self, observation: Observation) -> None:
        """A look of the loop: a step after every row; in a trace with a rate only the first one."""
        self._seen = observation
        if not self.observations:
            self.observations.append(observation)
        elif self.rate_hz:
            return
        elif self._acted:
            self.observations.append(observation)
        else:  # nothing was sent since the last look
            self.observations[-1] = observation
        self._acted = False

    def close(self) -> None:
        """The last look of a trace with a rate is a step when it shows something new."""
        seen = self._seen if self.rate_hz else None
        if seen is not None and seen.time_s - self.observations[-1].time_s > _LATER_S:
            self.sample(seen)

    def _reach(self, observation: Observation) -> None:
        """The command of the step before a sample is the motion that was reached, with the gripper as it was told."""
        command = observation.ee - self.observations[-1].ee
        command[6] = observation.ee[6] >= 0.5 if self._asked is None else self._asked[6]
        self.commands.append(command)

    def episode(self) -> Episode:
        """The recording.

        Raises:
            InvalidEpisodeError: Nothing moved, so there is nothing to record.
        """
        steps = len(self.observations)
        if not self.moved:
            raise InvalidEpisodeError("nothing moved in this rollout: there is nothing to keep as an episode")
        states = np.array([observation.ee for observation in self.observations])
        times = [observation.time_s for observation in self.observations]
        commands = np.zeros((steps, 7))
        commands[: len(self.commands)] = self.commands[:steps]
        commands[len(self.commands) :, 6] = self.commands[-1][6] if self.commands else float(states[-1, 6] >= 0.5)
        digest = hashlib.sha1(states.tobytes() + self.instruction.encode(), usedforsecurity=False).hexdigest()
        cameras = {name: Frames(self.observations, name) for name in self.observations[0].images}
        return Episode(
            id=f"rollouts-{digest[:12]}",
            dataset="rollouts",
            source=Source(FORMAT, "", ids={"policy": self.policy}),
            instruction=self.instruction,
            embodiment=self.embodiment,
            rate_hz=self.rate_hz or (steps - 1) / max(times[-1] - times[0], 1e-6),
            states=states,
            commands=commands,
            cameras=cameras,
            notes=(_SAMPLED if self.rate_hz else _PER_ROW,),
        )

    def annotated(self, action_form: str) -> AnnotatedEpisode:
        """What the policy said, over the steps in which it was done.

        Cycles that followed each other for the same subtask become one span: their rows one after the other, and where
        there were several, a plan derived from those rows. What was said word by word is in the log.
        """
        episode_id = self.episode().id
        groups: list[list[Span]] = []
        for span in self.spans:
            if span.start < span.end:
                last = groups[-1] if groups else None
                if last and _same(last[-1], span) and sum(len(each.done) for each in (*last, span)) <= MAX_ROWS:
                    last.append(span)
                else:
                    groups.append([span])
        subtasks = [
            self._subtask(group, number, episode_id, form(action_form)) for number, group in enumerate(groups, 1)
        ]
        if subtasks:  # the last look belongs to the last span, so that every step has a subtask
            subtasks[-1] = replace(subtasks[-1], end_step=len(self.observations))
        made = Provenance("policy", self.policy, datetime.now(UTC).isoformat(timespec="seconds"), model=self.policy)
        return AnnotatedEpisode(episode_id, action_form, tuple(subtasks), (made,))

    def _subtask(self, group: list[Span], number: int, episode_id: str, action_form: ActionForm) -> AnnotatedSubtask:
        start, end, driving, text = group[0].start, group[-1].end, group[0].driving, group[0].said(action_form)
        plan, source = driving.plan, "policy"
        if len(group) > 1:
            rows = np.vstack([span.rows(action_form) for span in group])
            chunk = action_form.quantize(ActionChunk(rows))
            text = action_form.verbalize(chunk)
            before = float(self.commands[start - 1][6]) if start else None
            phrases = plan_of(seven(chunk.rows), rotation=action_form.rotation, gripper_before=before, settle_s=0.0)
            plan = verbalize_plan(phrases)
            source = "kinematic"
        return AnnotatedSubtask(
            uid=f"s{number}-{episode_id[-6:]}",
            text=driving.subtask or self.instruction,
            start_step=start,
            end_step=end,
            plan=plan,
            chunk=text,
            sources={
                "subtask": "policy",
                "plan": source,
                "chunk": "person" if any(span.edited for span in group) else "policy",
            },
        )


@dataclass(frozen=True)
class Frames:
    """The images of one camera, in memory."""

    observations: list[Observation]
    camera: str

    def __len__(self) -> int:
        return len(self.observations)

    def read(self, step: int) -> bytes:
        """See `FrameSource.read`."""
        return self.observations[step].images[self.camera]


def record(events: Iterable[Event], trace: Trace) -> Iterator[Event]:
    """Pass events on and keep them in `trace`; what came before an interruption stays there."""
    for event in events:
        note(event, trace)
        yield event


def note(event: Event, trace: Trace) -> None:
    """Keep one event."""
    last = trace.spans[-1] if trace.spans else None
    if isinstance(event, CycleBegan):
        trace.spans.append(Span(_steps(trace), _steps(trace), event.driving, ""))
    elif isinstance(event, PolicySaid) and isinstance(event.event, ChunkReady) and last:
        trace.spans[-1] = last._replace(driving=event.driving, text=event.event.text, chunk=event.event.chunk)
    elif isinstance(event, ChunkDecided) and event.chunk is not None and last:
        trace.spans[-1] = last._replace(text=event.chunk.text, chunk=event.chunk.chunk, edited=True)
    elif isinstance(event, ActionAsked) and event.decision.action is not None:
        trace._asked = event.decision.action
        if not trace.rate_hz:
            trace.commands.append(event.decision.action)
    elif isinstance(event, Observed):
        trace.look(event.observation)
    elif isinstance(event, ActionDone) and last:
        trace._acted = True
        end = _steps(trace) + (not trace.rate_hz)  # without a rate, the look that follows is the step after it
        trace.spans[-1] = last._replace(end=end, done=(*last.done, _carried_out(trace._asked, event.result)))
    elif isinstance(event, Ended):
        trace.close()
        trace.ended = event
    trace.log.append(_plain(event))


def _carried_out(asked: np.ndarray | None, result: ActionResult) -> np.ndarray:
    """[7] the row that was sent; where it did not come to its end, the motion that was measured, gripper as told."""
    if asked is not None and result.outcome == "reached":
        return asked
    gripper = result.measured[6] >= 0.5 if asked is None else asked[6]
    return np.append(result.measured[:6], float(gripper))


def _same(one: Span, other: Span) -> bool:
    """Cycles of one subtask."""
    return one.driving.index == other.driving.index and one.driving.subtask == other.driving.subtask


def _steps(trace: Trace) -> int:
    """Index of the newest step."""
    return max(0, len(trace.observations) - 1)


def _plain(value: Any) -> Any:
    """JSON values; observations only as time, pose and joints."""
    if isinstance(value, Observation):
        return {"time_s": value.time_s, "ee": value.ee.tolist(), "joints": dict(value.joints)}
    if is_dataclass(value) and not isinstance(value, type):
        names = value.__dataclass_fields__
        return {name: _plain(getattr(value, name)) for name in names} | {"kind": type(value).__name__}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value

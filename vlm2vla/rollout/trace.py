"""A rollout as data: an Episode of what was seen and done, an AnnotatedEpisode of what was said, the events as JSON.

One step per look at the world, which is one per action row, so spans of the trace fall on rows exactly. A trace opens
in the review like any other annotation, and its corrections flow back to training.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, is_dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from vlm2vla.embodiment import Embodiment
from vlm2vla.errors import InvalidEpisodeError
from vlm2vla.language import MAX_ROWS, ActionForm, form, plan_of, verbalize_plan
from vlm2vla.policy import ChunkReady, Driving
from vlm2vla.robot import Observation
from vlm2vla.rollout.events import ActionAsked, ActionDone, CycleBegan, Ended, Event, Observed, PolicySaid
from vlm2vla.rollout.loop import seven
from vlm2vla.types import ActionChunk, AnnotatedEpisode, AnnotatedSubtask, Episode, Provenance, Source

FORMAT = "rollout"


@dataclass
class Trace:
    """What `record` collects while a rollout runs.

    Attributes:
        instruction, embodiment, policy: What was driven, and by whom.
        observations: One per step.
        commands: [7] per action row that was sent.
        spans: (first step, step after the last, driving, chunk text) per cycle that moved.
        log: Every event as JSON values with its "kind"; images are left out.
        ended: How it ended; None while it runs.
    """

    instruction: str
    embodiment: Embodiment
    policy: str
    observations: list[Observation] = field(default_factory=list)
    commands: list[np.ndarray] = field(default_factory=list)
    spans: list[tuple[int, int, Driving, str]] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)
    ended: Ended | None = None

    def episode(self) -> Episode:
        """The recording.

        Raises:
            InvalidEpisodeError: Nothing moved, so there is nothing to record.
        """
        steps = len(self.observations)
        if steps < 2:
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
            rate_hz=(steps - 1) / max(times[-1] - times[0], 1e-6),
            states=states,
            commands=commands,
            cameras=cameras,
            notes=("one step per action row; the rate is the mean of the rollout",),
        )

    def annotated(self, action_form: str) -> AnnotatedEpisode:
        """What the policy said, over the steps in which it was done.

        Cycles that followed each other for the same subtask become one span: their rows one after the other, and where
        there were several, a plan derived from those rows. What was said word by word is in the log.
        """
        episode_id = self.episode().id
        groups: list[list[tuple[int, int, Driving, str]]] = []
        for span in self.spans:
            if span[0] < span[1]:
                last = groups[-1] if groups else None
                if last and last[-1][2].index == span[2].index and span[1] - last[0][0] <= MAX_ROWS:
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

    def _subtask(self, group: list, number: int, episode_id: str, action_form: ActionForm) -> AnnotatedSubtask:
        start, end, driving, text = group[0][0], group[-1][1], group[0][2], group[0][3]
        plan, source = driving.plan, "policy"
        if len(group) > 1:
            rows = np.vstack([action_form.parse(chunk).rows for _, _, _, chunk in group])
            text = action_form.verbalize(ActionChunk(rows))
            before = float(self.commands[start - 1][6]) if start else None
            plan = verbalize_plan(plan_of(seven(rows), gripper_before=before, settle_s=0.0))
            source = "kinematic"
        return AnnotatedSubtask(
            uid=f"s{number}-{episode_id[-6:]}",
            text=driving.subtask or self.instruction,
            start_step=start,
            end_step=end,
            plan=plan,
            chunk=text,
            sources={"subtask": "policy", "plan": source, "chunk": "policy"},
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
    driving, text = Driving(trace.instruction), ""
    for event in events:
        if isinstance(event, CycleBegan):
            trace.spans.append((_steps(trace), _steps(trace), event.driving, ""))
        elif isinstance(event, PolicySaid) and isinstance(event.event, ChunkReady):
            driving, text = event.driving, event.event.text
        elif isinstance(event, ActionAsked) and event.decision.action is not None:
            trace.commands.append(event.decision.action)
        elif isinstance(event, Observed):
            trace.observations.append(event.observation)
        elif isinstance(event, ActionDone) and trace.spans:
            start = trace.spans[-1][0]
            trace.spans[-1] = (start, _steps(trace) + 1, driving, text)
        elif isinstance(event, Ended):
            trace.ended = event
        trace.log.append(_plain(event))
        yield event


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

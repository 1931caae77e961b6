"""Labels from the numbers alone: needs no key, costs nothing, and is the yardstick for other annotators.

Phases come from `segmentation`, words for the object from the instruction, plans and chunks from `derive`. It sees no
image: it does not know whether the gripper met the object, only that it closed.
"""

import time
from dataclasses import dataclass, replace

import numpy as np

from vlm2vla import motion
from vlm2vla.annotation import derive, segmentation
from vlm2vla.annotation.annotator import machine_uid, now
from vlm2vla.annotation.lexicon import BARE_HAND, verb_of, words_of
from vlm2vla.annotation.objects import Task, parse_task
from vlm2vla.annotation.segmentation import Phase
from vlm2vla.config import LanguageConfig
from vlm2vla.errors import AnnotationError
from vlm2vla.language import ActionForm, make_form
from vlm2vla.types import AnnotatedEpisode, AnnotatedSubtask, Episode, LabelSource, Provenance

AUTHOR = "kinematic 1"
IDLE_M = 0.005
IDLE_RAD = 0.09
# Without a grasp nothing tells the way to the object from the deed; recordings shorter than this are all way.
DEED_S = 3.0
CONTINUED = ", continued"


@dataclass(frozen=True)
class _Span:
    """A phase with its subtask text and, once it is known to fit, its action text."""

    start: int
    end: int
    text: str
    chunk: str = ""


class KinematicAnnotator:
    """Subtasks from gripper events and changes of direction; see `vlm2vla.annotation.annotator.Annotator`."""

    name: LabelSource = "kinematic"

    def __init__(self, config: LanguageConfig | None = None, *, recorded: bool = False):
        """Make an annotator.

        Args:
            config: How numbers become words.
            recorded: Take boundaries and texts of the subtasks that a recording came with, where it has any.
        """
        self.config = config or LanguageConfig()
        self._recorded = recorded
        self._form: ActionForm = make_form(self.config)

    def annotate(self, episode: Episode, *, span: tuple[int, int] | None = None, hint: str = "") -> AnnotatedEpisode:
        """Label the whole episode, or only `span`.

        A hint that begins with an action verb ("Pour the rice") is the text of the subtask when a span is given, so
        that the span becomes one subtask; without a span it replaces the instruction. Any other hint names the
        object ("blue cup").

        Raises:
            AnnotationError: The span is empty or outside the episode.
        """
        began = time.perf_counter()
        start, end = span or (0, len(episode))
        if not 0 <= start < end <= len(episode):
            raise AnnotationError(f"{episode.id} has steps 0 to {len(episode)}; there is no span {start} to {end}")
        rows = motion.actions(episode, self.config.motion)
        spans = [
            part
            for entry in self._spans(episode, rows, start, end, hint.strip())
            for part in self._sayable(rows, entry)
        ]
        subtasks = tuple(self._label(episode, rows, index, entry) for index, entry in enumerate(spans, start=1))
        provenance = Provenance(
            source=self.name,
            author=AUTHOR,
            created_at=now(),
            settings=self._settings(hint),
            seconds=round(time.perf_counter() - began, 4),
        )
        return AnnotatedEpisode(episode.id, self._form.name, subtasks, (provenance,))

    def _spans(self, episode: Episode, rows: np.ndarray, start: int, end: int, hint: str) -> list[_Span]:
        whole = (start, end) == (0, len(episode))
        if self._recorded and episode.subtasks and whole and not hint:
            return [_Span(each.start_step, each.end_step, each.text) for each in episode.subtasks]
        task = parse_task(episode.instruction)
        if hint:
            words = words_of(hint)
            if words and verb_of(words[0]):
                if not whole:
                    return [_Span(start, end, hint)]
                task = parse_task(hint)
            else:
                task = replace(task, object=hint.removeprefix("the ").removeprefix("The "), understood=True)
        # Always on reached motion: commands can go on where the arm stands still.
        reached = rows if self.config.motion == "reached" else motion.actions(episode, "reached")
        events = segmentation.gripper_events(reached[:, 6])
        if _is_idle(reached[start:end]) and not any(start <= step < end for step, _ in events):
            return [_Span(start, end, "Hold still")]
        found = segmentation.phases(reached, episode.states[:, 6], episode.rate_hz, start=start, end=end)
        texts = _texts(found, reached, events, task, episode.rate_hz)
        return _join([_Span(phase.start, phase.end, text) for phase, text in zip(found, texts, strict=True)])

    def _sayable(self, rows: np.ndarray, entry: _Span) -> list[_Span]:
        """The span, halved until each part's motion fits into one action chunk."""
        try:
            return [replace(entry, chunk=self._chunk(rows, entry))]
        except AnnotationError:
            if entry.end - entry.start == 1:
                raise
        middle = (entry.start + entry.end) // 2
        follow = entry.text if entry.text.endswith(CONTINUED) else entry.text + CONTINUED
        first, second = replace(entry, end=middle), replace(entry, start=middle, text=follow)
        return [*self._sayable(rows, first), *self._sayable(rows, second)]

    def _chunk(self, rows: np.ndarray, entry: _Span) -> str:
        before = derive.gripper_before(rows[:, 6], entry.start)
        part = rows[entry.start : entry.end]
        return self._form.verbalize(derive.chunk_of(part, before, self.config, rotation=self._form.rotation))

    def _label(self, episode: Episode, rows: np.ndarray, index: int, entry: _Span) -> AnnotatedSubtask:
        part = rows[entry.start : entry.end]
        before = derive.gripper_before(rows[:, 6], entry.start)
        return AnnotatedSubtask(
            uid=machine_uid(index, episode.id, entry.start),
            text=entry.text,
            start_step=entry.start,
            end_step=entry.end,
            plan=derive.plan_text(part, before, episode.rate_hz, rotation=self._form.rotation),
            chunk=entry.chunk,
            sources={"subtask": self.name, "plan": self.name, "chunk": self.name},
        )

    def _settings(self, hint: str) -> dict[str, object]:
        return {
            "action_form": self._form.name,
            "motion": self.config.motion,
            "merge_axis_cm": self.config.merge_axis_cm,
            "merge_total_cm": self.config.merge_total_cm,
            "window_s": segmentation.WINDOW_S,
            "enter_mm": 1000 * segmentation.ENTER_M,
            "leave_mm": 1000 * segmentation.LEAVE_M,
            **({"hint": hint} if hint else {}),
            **({"recorded": True} if self._recorded else {}),
        }


def _join(spans: list[_Span]) -> list[_Span]:
    """Neighbours with the same text are one subtask."""
    joined: list[_Span] = []
    for span in spans:
        if joined and joined[-1].text == span.text:
            joined[-1] = replace(joined[-1], end=span.end)
        else:
            joined.append(span)
    return joined


def _texts(
    found: list[Phase],
    rows: np.ndarray,
    events: list[tuple[int, segmentation.Event]],
    task: Task,
    rate_hz: float,
) -> list[str]:
    """One subtask text per phase."""
    closings = [step for step, event in events if event == "close"]
    deed_from = _deed_from(found, rows, rate_hz) if task.kind == "contact" and not closings else None
    texts = []
    for index, phase in enumerate(found):
        if phase.event:
            texts.append(_event_text(phase, task))
        elif phase.holding:
            following = found[index + 1] if index + 1 < len(found) else None
            texts.append(_carry_text(phase, following, rows, task))
        elif any(step >= phase.end for step in closings):
            texts.append(f"Move to {_handled(task)}")
        elif any(step < phase.end for step, _ in events) and any(step < phase.start for step in closings):
            texts.append(f"Move away from {_handled(task)}")
        elif deed_from is not None and index >= deed_from:
            texts.append(task.action)
        else:
            texts.append(f"Move to {task.the_object}")
    return texts


def _is_idle(rows: np.ndarray) -> bool:
    moved = np.abs(rows[:, :6]).sum(axis=0)
    return bool(moved[:3].sum() < IDLE_M and moved[3:].sum() < IDLE_RAD)


def _deed_from(found: list[Phase], rows: np.ndarray, rate_hz: float) -> int | None:
    """Index of the first phase in which a contact task without grasp is done; None when the recording stops before."""
    if not found or (found[-1].end - found[0].start) / rate_hz < DEED_S:
        return None
    return segmentation.turning_point(rows, found) or 0


def _verb(task: Task) -> str:
    """Base verb of the task in lower case, without its particle."""
    return task.verb.lower().split(" ", 1)[0]


def _handled(task: Task) -> str:
    """What the fingers take: the tool, if there is one."""
    return Task(object=task.tool).the_object if task.tool and task.kind == "contact" else task.the_object


def _event_text(phase: Phase, task: Task) -> str:
    bare = task.kind == "contact" and not task.tool and _verb(task) in BARE_HAND
    if phase.event == "close":
        return "Close the gripper" if bare else f"Grasp {_handled(task)}"
    return "Open the gripper" if bare or not phase.holding else f"Release {_handled(task)}"


def _carry_text(phase: Phase, following: Phase | None, rows: np.ndarray, task: Task) -> str:
    """What is done with the object between the fingers."""
    if task.kind == "contact":
        return task.action
    net = rows[phase.start : phase.end, :3].sum(axis=0)
    goes_on = following is not None and following.holding and not following.event
    rising = phase.heading == "up" and (goes_on or net[2] > 2 * float(np.hypot(net[0], net[1])))
    if rising or (task.kind == "pick" and phase.heading == "up"):
        return f"Lift {task.the_object}"
    if task.to_place:
        return f"Move {task.the_object} {task.to_place}"
    if phase.heading == "down":
        return f"Lower {task.the_object}"
    return f"Move {task.the_object}"

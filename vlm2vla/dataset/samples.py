"""Annotated episode -> conversations over images: what a VLM is trained on, before any file format.

Images are references (episode, camera, step); nothing is read here. The words of each conversation come from the
one dialogue builder in `vlm2vla.language`, which the live policy uses too.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from vlm2vla.dataset.select import form_called, known_to_the_end
from vlm2vla.errors import ExportError
from vlm2vla.language import MAX_SUBTASKS, Turn, completed_dialogue, dialogue, direction_dialogue
from vlm2vla.types import AnnotatedEpisode, AnnotatedSubtask, Episode

SampleKind = Literal["action", "completed", "direction"]
SampleLevel = Literal["subtask", "plan", "chunk", "completed", "direction"]


@dataclass(frozen=True)
class ImageRef:
    """One frame of one recording."""

    episode_id: str
    camera: str
    step: int


@dataclass(frozen=True)
class Sample:
    """One conversation and the images it is about.

    Attributes:
        id: Unique in an export.
        kind: action: the three levels; completed, direction: the paper's extra questions over two images.
        images: In the order in which the turns show them.
        turns: System, then user and assistant in turn; the last one is an answer.
        levels: What each assistant turn answers, in order.
        meta: Plain values that say where it comes from; the same keys in every sample.
    """

    id: str
    kind: SampleKind
    images: tuple[ImageRef, ...]
    turns: tuple[Turn, ...]
    levels: tuple[SampleLevel, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)


def default_camera(episode: Episode) -> str:
    """Name of the episode's default view.

    Raises:
        ExportError: The recording has no images.
    """
    name = next(iter(episode.cameras), "")
    if not name:
        raise ExportError(f"{episode.id} has no camera, so there is no image to ask about; use the parquet format")
    return name


def samples_of(annotated: AnnotatedEpisode, episode: Episode, *, joined: bool = True) -> Iterator[Sample]:
    """Conversations of every subtask, over the image at the subtask's first step.

    The first level lists the subtasks from this one on: what remains to be done as seen in that image. It is only
    asked when all that follows is labelled (otherwise the list would have holes) and not too long for a list; else
    the conversation starts at the motion plan.

    Args:
        annotated: Labels of `episode`, selected already.
        episode: The recording.
        joined: True: one conversation per subtask with all levels. False: the list of subtasks is a conversation of
            its own, and plan and chunk follow from an image and the current subtask, as the live policy asks for them
            in every cycle.

    Raises:
        ExportError: The episode has no images.
        ConfigError: Its action form is unknown.
        AnnotationError: The words do not make a dialogue.
    """
    for index, subtask in enumerate(annotated.subtasks):
        yield from samples_at(
            annotated,
            episode,
            index,
            subtask.start_step,
            subtask.plan,
            subtask.chunk,
            joined=joined,
        )


def samples_at(
    annotated: AnnotatedEpisode,
    episode: Episode,
    index: int,
    step: int,
    plan: str,
    chunk: str,
    *,
    joined: bool,
) -> Iterator[Sample]:
    """The conversations of subtask number `index` over the image at `step`; see `samples_of` for the rest.

    `plan` and `chunk` tell the motion from that step on.
    """
    words = form_called(annotated.action_form)
    subtask = annotated.subtasks[index]
    texts = [entry.text for entry in annotated.subtasks[index:]]
    image = (ImageRef(episode.id, default_camera(episode), step),)
    meta = _meta(annotated, episode, subtask, step)
    remaining = texts if known_to_the_end(annotated, index, len(episode)) and len(texts) <= MAX_SUBTASKS else []
    name = f"{episode.id}/{subtask.uid}" + (f"@{step}" if step != subtask.start_step else "")
    if remaining and not joined:
        turns = dialogue(episode.instruction, episode.embodiment, words, subtasks=remaining)
        yield Sample(f"{name}/list", "action", image, _answered(turns), ("subtask",), meta)
    shown = remaining if joined else []
    turns = dialogue(
        episode.instruction,
        episode.embodiment,
        words,
        subtasks=shown,
        subtask=subtask.text,
        plan=plan,
        chunk=chunk,
    )
    asked: tuple[SampleLevel, ...] = ("subtask", "plan", "chunk") if shown else ("plan", "chunk")
    yield Sample(name, "action", image, _answered(turns), asked, meta)


def completed_sample(
    episode: Episode,
    subtask: str,
    before_step: int,
    after_step: int,
    completed: bool,
    *,
    uid: str = "",
) -> Sample:
    """The paper's first extra question: is the subtask done between these two images?

    Raises:
        ExportError: The episode has no images.
    """
    turns = completed_dialogue(episode.instruction, subtask, episode.embodiment, completed)
    return _pair(episode, "completed", turns, before_step, after_step, uid)


def direction_sample(
    episode: Episode,
    before_step: int,
    after_step: int,
    direction: Literal["left", "right", "none"],
    *,
    uid: str = "",
) -> Sample:
    """The paper's second extra question: did the end-effector move left, right or neither between two images?

    Raises:
        ExportError: The episode has no images.
    """
    turns = direction_dialogue(episode.embodiment, direction)
    return _pair(episode, "direction", turns, before_step, after_step, uid)


def rows_of(sample: Sample) -> Iterator[tuple[SampleLevel, tuple[Turn, ...], Turn]]:
    """(level, prompt turns, answer turn) of every answer; the prompt holds all turns before it."""
    levels = iter(sample.levels)
    for index, turn in enumerate(sample.turns):
        if turn.role == "assistant":
            yield next(levels), sample.turns[:index], turn


def _pair(
    episode: Episode,
    kind: Literal["completed", "direction"],
    turns: Sequence[Turn],
    before_step: int,
    after_step: int,
    uid: str,
) -> Sample:
    view = default_camera(episode)
    images = (ImageRef(episode.id, view, before_step), ImageRef(episode.id, view, after_step))
    name = f"{episode.id}/{uid or '-'}/{kind}-{before_step}-{after_step}"
    meta = _values(episode, uid=uid, start_step=before_step, end_step=after_step)
    return Sample(name, kind, images, _answered(turns), (kind,), meta)


def _meta(annotated: AnnotatedEpisode, episode: Episode, subtask: AnnotatedSubtask, step: int) -> dict[str, Any]:
    return _values(
        episode,
        uid=subtask.uid,
        start_step=step,
        end_step=subtask.end_step,
        action_form=annotated.action_form,
        status=subtask.status,
        sources=subtask.sources,
    )


def _values(
    episode: Episode,
    *,
    uid: str,
    start_step: int,
    end_step: int,
    action_form: str = "",
    status: str = "",
    sources: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    sources = sources or {}
    return {
        "episode_id": episode.id,
        "dataset": episode.dataset,
        "embodiment": episode.embodiment.name,
        "uid": uid,
        "start_step": start_step,
        "end_step": end_step,
        "action_form": action_form,
        "status": status,
        "subtask_source": sources.get("subtask", ""),
        "plan_source": sources.get("plan", ""),
        "chunk_source": sources.get("chunk", ""),
    }


def _answered(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """The turns up to the last answer: a dialogue builder may end with the next open question."""
    kept = list(turns)
    while kept and kept[-1].role != "assistant":
        kept.pop()
    return tuple(kept)

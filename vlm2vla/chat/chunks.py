"""Annotated chunks of a workspace as open questions, for the likelihood lens."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from vlm2vla.chat.actions import TOKENS, WORDS
from vlm2vla.chat.lens import AskedChunk
from vlm2vla.dataset.select import reason_left_out
from vlm2vla.errors import ActionParseError, AnnotationError, NotFoundError, TrajectoryError
from vlm2vla.language import dialogue, form
from vlm2vla.pipeline import open_store
from vlm2vla.trajectories import EpisodeIndex
from vlm2vla.types import AnnotatedSubtask, Episode
from vlm2vla.vlm.chat import Message
from vlm2vla.vlm.protocol import ImagePart
from vlm2vla.workspace import Workspace

Value = TypeVar("Value")


def annotated_chunks(workspace: Workspace, count: int) -> list[AskedChunk]:
    """At most `count` chunks, evenly chosen over the labelled episodes of the workspace, accepted or not.

    Raises:
        NotFoundError: No label of the workspace has a chunk with a picture.
    """
    store, index = open_store(workspace), EpisodeIndex(workspace)
    labelled = [head for name in _evenly(index.ids(), count) if (head := store.head(name)) is not None]
    places = [
        (head.annotated, subtask)
        for head in labelled
        for subtask in head.annotated.subtasks
        if not reason_left_out(subtask, head.annotated.action_form, include_unreviewed=True)
    ]
    found: list[AskedChunk] = []
    for annotated, subtask in _evenly(places, count):
        found += _asked(index.get(annotated.episode_id), subtask, annotated.action_form)
    if not found:
        raise NotFoundError("this workspace has no labelled chunks; import and annotate episodes on the Annotate page")
    return found


def _evenly(values: Sequence[Value], count: int) -> list[Value]:
    if len(values) <= count:
        return list(values)
    return [values[number * len(values) // count] for number in range(count)]


def _asked(episode: Episode, subtask: AnnotatedSubtask, form_name: str) -> Iterator[AskedChunk]:
    words = form(WORDS)
    try:
        text = words.verbalize(words.quantize(form(form_name).parse(subtask.chunk)))
        image = ImagePart(episode.frame(subtask.start_step))
    except (ActionParseError, AnnotationError, TrajectoryError, NotFoundError):
        return  # rotations, or a frame that is gone
    asks = [_messages(episode, subtask, name, image) for name in (WORDS, TOKENS)]
    yield AskedChunk(f"{episode.instruction} · {subtask.text}", *asks, text)


def _messages(episode: Episode, subtask: AnnotatedSubtask, form_name: str, image: ImagePart) -> list[Message]:
    turns = dialogue(episode.instruction, episode.embodiment, form(form_name), subtask=subtask.text, plan=subtask.plan)
    return [Message(turn.role, (image, turn.text) if turn.images else (turn.text,)) for turn in turns]

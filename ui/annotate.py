"""The Annotate tab: what its page may ask, each answered by one method of the review service."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import gradio as gr
from pydantic import Field

from ui.calls import Call, handler
from ui.components import Inspector, Queue, Stage

if TYPE_CHECKING:
    from vlm2vla.review import Review

AnnotatorName = Literal["kinematic", "gemini"]


class QueueCall(Call):
    """A page of the queue."""

    query: dict[str, Any] = {}
    after: str | None = None


class EpisodeCall(Call):
    """Something about one episode."""

    episode: str = Field(max_length=300)


class SaveCall(EpisodeCall):
    """A change made on revision `base`."""

    base: int = Field(ge=0)


class EditCall(SaveCall):
    """One edit; the library checks what it says."""

    edit: dict[str, Any]


class RevertCall(SaveCall):
    """Back to a revision."""

    to: int


class AgainCall(SaveCall):
    """Annotate one subtask again."""

    uid: str
    annotator: AnnotatorName
    hint: str = Field("", max_length=300)


class AnnotateCall(EpisodeCall):
    """Annotate an episode."""

    annotator: AnnotatorName


class RateCall(EpisodeCall):
    """A score from 1 to 5."""

    uid: str
    level: Literal["subtask", "plan", "chunk"]
    score: int = Field(ge=1, le=5)


class CameraCall(EpisodeCall):
    """Frames of one camera."""

    camera: str


class ImportCall(Call):
    """A data set on this computer."""

    path: str = Field(max_length=1000)


class LabelCall(Call):
    """Annotate all that has no labels yet."""

    annotator: AnnotatorName = "kinematic"


def build(review: "Review") -> gr.Row:
    """Lay out the tab."""
    with gr.Row(elem_id="vs-annotate", equal_height=False) as row:
        Queue(queue_functions(review))
        Stage(stage_functions(review))
        Inspector(inspector_functions(review))
    return row


def queue_functions(review: "Review") -> list[Callable]:
    """What the queue may ask."""

    def list_queue(call: QueueCall) -> dict:
        return review.queue(call.query, call.after)

    def next_episode(call: QueueCall) -> str | None:
        return review.next(call.query, call.reviewer, call.after or "")

    def start_import(call: ImportCall) -> dict:
        return review.start_import(call.path)

    def start_annotating(call: LabelCall) -> dict:
        return review.start_annotating(call.annotator)

    def job(call: Call) -> dict | None:
        return review.job()

    def stop_job(call: Call) -> None:
        review.stop_job()

    return [handler(each) for each in (list_queue, next_episode, start_import, start_annotating, job, stop_job)]


def stage_functions(review: "Review") -> list[Callable]:
    """What player and timeline may ask."""

    def open(call: EpisodeCall) -> dict:
        return review.open(call.episode, call.reviewer)

    def release(call: EpisodeCall) -> None:
        review.release(call.episode, call.reviewer)

    def prefetch(call: CameraCall) -> None:
        review.prefetch(call.episode, call.camera)

    def edit(call: EditCall) -> dict:
        return review.edit(call.episode, call.base, call.edit, call.reviewer)

    def undo(call: SaveCall) -> dict:
        return review.undo(call.episode, call.base, call.reviewer)

    def redo(call: SaveCall) -> dict:
        return review.redo(call.episode, call.base, call.reviewer)

    def conflict(call: EditCall) -> dict:
        return review.conflict(call.episode, call.base, call.edit)

    return [handler(each) for each in (open, release, prefetch, edit, undo, redo, conflict)]


def inspector_functions(review: "Review") -> list[Callable]:
    """What the inspector may ask."""

    def rate(call: RateCall) -> dict:
        return review.rate(call.episode, call.uid, call.level, call.reviewer, call.score)

    def annotate(call: AnnotateCall) -> dict:
        return review.annotate(call.episode, call.annotator, call.reviewer)

    def reannotate(call: AgainCall) -> dict:
        return review.reannotate(call.episode, call.base, call.uid, call.annotator, call.hint, call.reviewer)

    def revert(call: RevertCall) -> dict:
        return review.revert(call.episode, call.base, call.to, call.reviewer)

    return [handler(each) for each in (rate, annotate, reannotate, revert)]

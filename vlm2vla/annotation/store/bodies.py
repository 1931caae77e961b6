"""The text of a stored revision: writing it, reading it back, and the status that follows from it. Pure."""

import json
from collections.abc import Sequence

from vlm2vla.errors import AnnotationError, EditError
from vlm2vla.types import LEVELS, STATUSES, AnnotatedEpisode, AnnotatedSubtask, Status


def storable(text: str, what: str) -> str:
    """`text` if both databases can hold it.

    Raises:
        EditError: A NUL character or half a surrogate pair.
    """
    if not isinstance(text, str):
        raise EditError(f"{what} must be text, not {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise EditError(f"{what} has a character that is none (at {error.start}); type it again") from error
    if "\x00" in text:
        raise EditError(f"{what} has a NUL character (at {text.index(chr(0))}); remove it")
    return text


def searchable(text: str) -> str:
    """`text` as something to look for; what no database can hold becomes a character that nothing contains."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace").replace("\x00", "\ufffd")


def dump_body(annotated: AnnotatedEpisode) -> str:
    """The text to store.

    Raises:
        EditError: A value that could not be read back.
    """
    try:
        text = annotated.dumps()
        _check(AnnotatedEpisode.from_json(json.loads(text)))
    except (AnnotationError, TypeError, ValueError, AttributeError) as error:
        raise EditError(f"the annotation of {annotated.episode_id} cannot be stored: {error}") from error
    return storable(text, f"the annotation of {annotated.episode_id}")


def parse_body(text: str, episode_id: str, number: int) -> AnnotatedEpisode:
    """Inverse of `dump_body`.

    Raises:
        AnnotationError: The text is no annotation of this episode; names both episode and revision.
    """
    try:
        annotated = AnnotatedEpisode.from_json(json.loads(text))
        _check(annotated)
        if annotated.episode_id != episode_id:
            raise AnnotationError(f"it is of {annotated.episode_id!r}")
    except (AnnotationError, ValueError, AttributeError, RecursionError) as error:
        raise AnnotationError(
            f"{episode_id}: revision {number} in the store is damaged ({error}); revert to another revision"
        ) from error
    return annotated


def derive_status(subtasks: Sequence[AnnotatedSubtask]) -> Status:
    """Status of an episode from those of its subtasks."""
    statuses = [subtask.status for subtask in subtasks]
    if statuses and all(status == "rejected" for status in statuses):
        return "rejected"
    if "flagged" in statuses:
        return "flagged"
    if statuses and all(status in ("accepted", "rejected") for status in statuses):
        return "accepted"
    return "in_review" if any(status != "pending" for status in statuses) else "pending"


def _check(annotated: AnnotatedEpisode) -> None:
    for subtask in annotated.subtasks:
        texts = (subtask.uid, subtask.text, subtask.plan, subtask.chunk, subtask.reason)
        if not all(isinstance(text, str) for text in texts):
            raise AnnotationError(f"subtask {subtask.uid!r} has a text that is none")
        if not all(type(step) is int for step in (subtask.start_step, subtask.end_step)):
            raise AnnotationError(f"subtask {subtask.uid!r} has a step that is no whole number")
        if subtask.status not in STATUSES:
            raise AnnotationError(f"subtask {subtask.uid!r} has the unknown status {subtask.status!r}")
        if not isinstance(subtask.sources, dict) or not set(subtask.sources) | set(subtask.stale) <= set(LEVELS):
            raise AnnotationError(f"subtask {subtask.uid!r} names an unknown level")

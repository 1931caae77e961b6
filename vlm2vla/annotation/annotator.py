"""What an annotator is: something that writes subtasks, motion plans and action text for an episode."""

import hashlib
from datetime import UTC, datetime
from typing import Protocol

from vlm2vla.types import AnnotatedEpisode, Episode, LabelSource


class Annotator(Protocol):
    """Episode -> AnnotatedEpisode.

    Attributes:
        name: The source that its labels carry.
    """

    name: LabelSource

    def annotate(self, episode: Episode, *, span: tuple[int, int] | None = None, hint: str = "") -> AnnotatedEpisode:
        """Label the whole episode, or only the half-open `span` of steps.

        Args:
            episode: The recording.
            span: Steps [start, end) to label; the answer's subtasks cover exactly them.
            hint: What a person knows of it (the object's name, or the text of the subtask).

        Raises:
            AnnotationError: The span is not in the episode, or no label could be made.
            ModelError: A model was asked and did not answer as needed.
        """
        ...


def machine_uid(index: int, episode_id: str, start_step: int) -> str:
    """Key of a machine-made subtask: the same for the same episode and start, unlike those of other starts."""
    digest = hashlib.sha1(f"{episode_id}:{start_step}".encode(), usedforsecurity=False).hexdigest()
    return f"s{index}-{digest[:6]}"


def now() -> str:
    """ISO 8601 time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")

"""What the numbers say of a span of steps: its motion plan and its action text.

The one way from recorded motion to words; annotators, re-derivation after an edit and the studio's "what the numbers
say" all call it. Knows nothing of subtasks, images or stores. Spans are half-open steps [start, end).
"""

import numpy as np

from vlm2vla import motion
from vlm2vla.config import LanguageConfig
from vlm2vla.errors import AnnotationError
from vlm2vla.language import ActionForm, merge_steps, plan_of, verbalize_plan
from vlm2vla.types import ActionChunk, Episode


def gripper_before(bits: np.ndarray, start: int) -> float | None:
    """Gripper command just before step `start` ([T] bits), None at the beginning of a recording."""
    return float(bits[start - 1]) if start > 0 else None


def span_actions(episode: Episode, start: int, end: int, config: LanguageConfig) -> tuple[np.ndarray, float | None]:
    """[end - start, 7] motion of the span, metres and radians, and the gripper command just before it.

    Raises:
        AnnotationError: The span is empty or outside the episode.
    """
    if not 0 <= start < end <= len(episode):
        raise AnnotationError(f"{episode.id} has steps 0 to {len(episode)}; there is no span {start} to {end}")
    rows = motion.actions(episode, config.motion)
    return rows[start:end], gripper_before(rows[:, 6], start)


def plan_text(rows: np.ndarray, before: float | None, rate_hz: float, *, rotation: bool) -> str:
    """[N, 7] motion -> motion plan in words."""
    return verbalize_plan(plan_of(rows, rotation=rotation, gripper_before=before, rate_hz=rate_hz))


def chunk_of(rows: np.ndarray, before: float | None, config: LanguageConfig, *, rotation: bool) -> ActionChunk:
    """[N, 7] motion -> merged rows of the action chunk, not yet rounded."""
    return merge_steps(
        rows,
        rotation=rotation,
        axis_cm=config.merge_axis_cm,
        total_cm=config.merge_total_cm,
        gripper_before=before,
    )


def derive_plan(episode: Episode, start: int, end: int, config: LanguageConfig) -> str:
    """Motion plan of the span, from the recorded motion.

    Raises:
        AnnotationError: The span is empty or outside the episode.
    """
    rows, before = span_actions(episode, start, end, config)
    return plan_text(rows, before, episode.rate_hz, rotation=config.form.endswith("7"))


def derive_chunk(episode: Episode, start: int, end: int, config: LanguageConfig, action_form: ActionForm) -> str:
    """Action text of the span in `action_form`, from the recorded motion.

    Raises:
        AnnotationError: The span is empty or outside the episode.
    """
    rows, before = span_actions(episode, start, end, config)
    return action_form.verbalize(chunk_of(rows, before, config, rotation=action_form.rotation))

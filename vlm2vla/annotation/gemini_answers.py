"""What Gemini is asked to fill in, and whether its answer can be an annotation.

Schemas of the two passes, and the rules that a schema cannot say: subtasks in order, every step in exactly one of them,
no empty words. Pure; knows no SDK and no prompt.
"""

from dataclasses import dataclass

from pydantic import BaseModel, Field

from vlm2vla.errors import ModelSchemaError

MAX_SUBTASKS = 24
MAX_TEXT = 400


class Event(BaseModel):
    """One thing that happens."""

    step: int = Field(description="Step at which it begins.")
    what: str = Field(description="One sentence.")


class Description(BaseModel):
    """First pass: what happens."""

    objects: list[str] = Field(description="Objects that play a part, in the words of the task.")
    events: list[Event] = Field(description="In order of time.")
    task_done: bool = Field(description="Whether the task is done at the end.")


class Span(BaseModel):
    """One subtask as the model gives it."""

    subtask: str = Field(description="Short imperative phrase with the object.")
    motion_plan: str = Field(description="How the end-effector moves, in words.")
    start_step: int
    end_step: int = Field(description="Step at which the next subtask begins.")


class Segmentation(BaseModel):
    """Second pass: the subtasks."""

    subtasks: list[Span]


@dataclass(frozen=True)
class PlannedSubtask:
    """A subtask whose words and steps [start_step, end_step) have been checked."""

    text: str
    plan: str
    start_step: int
    end_step: int


def check_segmentation(
    answer: Segmentation, first: int, end: int
) -> tuple[tuple[PlannedSubtask, ...], tuple[str, ...]]:
    """The subtasks over steps [first, end), each step in exactly one of them, and notes on what was mended.

    Small gaps, overlaps and ends that miss the recording by little are mended: the later start wins.

    Raises:
        ModelSchemaError: No or too many subtasks, steps out of order or out of bounds, large gaps, empty words.
    """
    spans = answer.subtasks
    if not 1 <= len(spans) <= min(MAX_SUBTASKS, end - first):
        raise ModelSchemaError(f"{len(spans)} subtasks for {end - first} steps; there must be 1 to {MAX_SUBTASKS}")
    tolerance = max(2, round(0.1 * (end - first)))
    notes: list[str] = []
    bounds = [_near(spans[0].start_step, first, tolerance, "the first subtask starts", notes)]
    for before, after in zip(spans, spans[1:], strict=False):
        bounds.append(_near(before.end_step, after.start_step, tolerance, f"{before.subtask!r} ends", notes))
    bounds.append(_near(spans[-1].end_step, end, tolerance, "the last subtask ends", notes))
    subtasks = []
    for number, (span, start, stop) in enumerate(zip(spans, bounds, bounds[1:], strict=False), 1):
        if not first <= start < stop <= end:
            raise ModelSchemaError(
                f"subtask {number} of the answer covers steps {start} to {stop}: it is empty, out of order or outside "
                f"{first} to {end}"
            )
        words = _words(span.subtask, f"subtask {number}"), _words(span.motion_plan, f"motion plan {number}")
        subtasks.append(PlannedSubtask(*words, start, stop))
    return tuple(subtasks), tuple(notes)


def _near(given: int, wanted: int, tolerance: int, what: str, notes: list[str]) -> int:
    """`wanted`, if `given` is not far from it; a difference is noted."""
    if abs(given - wanted) > tolerance:
        raise ModelSchemaError(f"{what} at step {given}, not {wanted}; more than {tolerance} steps cannot be mended")
    if given != wanted:
        notes.append(f"{what} at step {wanted}, not {given}")
    return wanted


def _words(text: str, what: str) -> str:
    """The text on one line.

    Raises:
        ModelSchemaError: Empty or far too long.
    """
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    if not line or len(line) > MAX_TEXT:
        raise ModelSchemaError(f"the words of {what} are {'empty' if not line else f'{len(line)} characters long'}")
    return line

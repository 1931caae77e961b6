"""A person types action language: "move forward 4 cm and lower 3 cm, then close the gripper", or the list form."""

from collections.abc import Callable, Iterator

import numpy as np

from vlm2vla.errors import ActionParseError
from vlm2vla.language import form, plan_of, verbalize_plan
from vlm2vla.policy.protocol import ChunkReady, Driving, GaveUp, ParseFailed, PlanReady, PolicyEvent, SubtasksReady
from vlm2vla.robot import Observation
from vlm2vla.types import ActionChunk

# A list is read as rows of four or seven numbers, anything else as a sentence.
_LISTS = ("rows:0.5cm", "rows7:0.5cm:1deg")
_SENTENCES = ("sentence7:0.5cm:1deg",)
OPEN_FROM = 0.5


class TypedPolicy:
    """Each text that a person types is one action chunk; the task is the one subtask.

    Args:
        read: Waits for the next text; None when the person is done. A text that is not action language is answered
            with ParseFailed, and `read` is asked again.
    """

    name = "a person typing"

    def __init__(self, read: Callable[[], str | None]):
        self._read = read
        self._ready: ChunkReady | None = None

    def subtasks(self, driving: Driving, observation: Observation) -> Iterator[PolicyEvent]:
        """The task itself."""
        yield SubtasksReady((driving.instruction,), driving.instruction)

    def plan(self, driving: Driving, observation: Observation) -> Iterator[PolicyEvent]:
        """Waits for a text that is action language, and says in words where it leads."""
        attempt = 0
        while (text := self._read()) is not None:
            attempt += 1
            try:
                chunk, spelled = read_action(text, observation)
            except ActionParseError as error:
                yield ParseFailed(attempt, text, str(error))
                continue
            self._ready = ChunkReady(chunk, spelled, text, attempt)
            yield PlanReady(_plan(chunk, observation), text)
            return
        yield GaveUp("nothing more was typed", attempt)

    def chunk(self, driving: Driving, observation: Observation) -> Iterator[PolicyEvent]:
        """The motion of the text that the plan was made of."""
        ready, self._ready = self._ready, None
        yield ready or GaveUp("nothing was typed")


def read_action(text: str, observation: Observation) -> tuple[ActionChunk, str]:
    """Action language as a person types it -> the motion, and its text in one spelling.

    Where a sentence says nothing about the gripper, it stays as it is.

    Raises:
        ActionParseError: The text is not action language.
    """
    return read_typed(text, _state(observation))


def read_typed(text: str, gripper: str) -> tuple[ActionChunk, str]:
    """The same for a gripper that is "open" or "closed".

    Raises:
        ActionParseError: The text is not action language.
    """
    listed = text.lstrip().startswith(("[", "```"))
    problem: ActionParseError | None = None
    for name in _LISTS if listed else _SENTENCES:
        for candidate in (text,) if listed else (text, f"with the gripper {gripper}, {text.strip()}"):
            try:
                chunk = form(name).parse(candidate)
                return chunk, form(name).verbalize(chunk)
            except ActionParseError as error:
                problem = problem or error
    raise problem or ActionParseError("this is not action language", text=text)


def _plan(chunk: ActionChunk, observation: Observation) -> str:
    rows = chunk.rows
    if rows.shape[1] == 4:
        rows = np.column_stack([rows[:, :3], np.zeros((len(rows), 3)), rows[:, 3]])
    before = 1.0 if observation.ee[6] >= OPEN_FROM else 0.0
    # Rows are not steps of a recording: the fingers are done when the row moves.
    return verbalize_plan(plan_of(rows, rotation=True, gripper_before=before, settle_s=0.0))


def _state(observation: Observation) -> str:
    return "open" if observation.ee[6] >= OPEN_FROM else "closed"

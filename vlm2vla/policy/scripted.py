"""A policy that says what it is given, word for word, with failures where they are wanted.

It goes through the same parsing and retrying as a learned policy, so that what happens on bad text can be seen.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vlm2vla.errors import ActionParseError
from vlm2vla.language import ActionForm, form
from vlm2vla.policy.protocol import (
    ChunkReady,
    Driving,
    GaveUp,
    ParseFailed,
    PlanReady,
    PolicyEvent,
    Streaming,
    SubtasksReady,
    Verdict,
)
from vlm2vla.robot import Observation


@dataclass(frozen=True)
class Script:
    """One cycle: a plan, and the texts that the successive tries of its chunk give."""

    plan: str
    tries: tuple[str, ...]


class ScriptedPolicy:
    """Says one script per cycle; after the last one it has nothing more to say and gives up.

    Args:
        subtasks: The subtasks it writes.
        cycles: What it writes in each cycle.
        action_form: Form of the chunk texts.
        max_attempts: Tries of one chunk before it gives up.
    """

    name = "scripted"

    def __init__(
        self,
        subtasks: Sequence[str],
        cycles: Sequence[Script],
        *,
        action_form: ActionForm | None = None,
        max_attempts: int = 4,
    ):
        self._subtasks, self._cycles, self._max = tuple(subtasks), tuple(cycles), max_attempts
        self._form = action_form or form("rows:0.5cm")

    def subtasks(self, driving: Driving, observation: Observation) -> Iterator[PolicyEvent]:
        """The given ones, word by word."""
        yield SubtasksReady(self._subtasks, "\n".join(self._subtasks))

    def plan(self, driving: Driving, observation: Observation) -> Iterator[PolicyEvent]:
        """The plan of this cycle, word by word."""
        if driving.cycle >= len(self._cycles):
            yield GaveUp("the script is at its end")
            return
        words = self._cycles[driving.cycle].plan.split()
        for count in range(1, len(words)):
            yield Streaming("plan", " ".join(words[:count]))
        yield PlanReady(self._cycles[driving.cycle].plan)

    def chunk(self, driving: Driving, observation: Observation) -> Iterator[PolicyEvent]:
        """The first try that parses."""
        tries = self._cycles[driving.cycle].tries[: self._max]
        for attempt, text in enumerate(tries, 1):
            yield Streaming("chunk", text)
            try:
                chunk = self._form.parse(text)
            except ActionParseError as error:
                yield ParseFailed(attempt, text, str(error))
                continue
            yield ChunkReady(chunk, self._form.verbalize(chunk), text, attempt)
            return
        yield GaveUp(f"no chunk parsed in {len(tries)} tries", len(tries))


class ScriptedVerifier:
    """Gives the verdicts it is told, in order; the last one holds on."""

    name = "scripted"

    def __init__(self, verdicts: Sequence[bool] = (True,)):
        self._verdicts = list(verdicts)

    def verify(self, driving: Driving, before: Observation, after: Observation) -> Verdict:
        """The next verdict."""
        done = self._verdicts.pop(0) if len(self._verdicts) > 1 else self._verdicts[0]
        return Verdict(done, "as scripted")

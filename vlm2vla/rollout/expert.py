"""The scripted expert as a policy and as its own verifier: it drives from the simulator's truth, one row per cycle.

What it drives is what its words say: every row goes through action text and back.
"""

from collections.abc import Callable, Iterator

from vlm2vla.language import form, plan_of, verbalize_plan
from vlm2vla.policy import ChunkReady, Driving, GaveUp, PlanReady, PolicyEvent, SubtasksReady, Verdict
from vlm2vla.robot import Observation
from vlm2vla.simulation import WorldState
from vlm2vla.simulation.expert import Expert, ExpertStep
from vlm2vla.types import ActionChunk

# Finer than a model's chunks: the expert aims by millimetres.
ACTION_FORM = "rows7:0.1cm:1deg"


class ExpertDriver:
    """A `Policy` and a `Verifier`.

    Args:
        expert: Decides from the state of the world.
        state: Gives that state.
    """

    name = "scripted expert"

    def __init__(self, expert: Expert, state: Callable[[], WorldState]):
        self._expert, self._state = expert, state
        self._form = form(ACTION_FORM)
        self._next: ExpertStep | None = None

    def subtasks(self, driving: Driving, observation: Observation) -> Iterator[PolicyEvent]:
        """The subtasks of the task when nothing goes wrong."""
        self._next = self._expert.next(self._state())
        yield SubtasksReady(self._expert.subtasks)

    def plan(self, driving: Driving, observation: Observation) -> Iterator[PolicyEvent]:
        """The next row in words."""
        if self._expert.gave_up:
            yield GaveUp(self._expert.gave_up)
            return
        rows = [] if self._next is None else [self._next.row]
        yield PlanReady(verbalize_plan(plan_of(ActionChunk(rows).rows, settle_s=0.0)) if rows else "hold still")

    def chunk(self, driving: Driving, observation: Observation) -> Iterator[PolicyEvent]:
        """The next row as action text; none when the task is done."""
        rows = [] if self._next is None else [self._next.row]
        text = self._form.verbalize(ActionChunk(rows))
        yield ChunkReady(self._form.parse(text), text, text)

    def verify(self, driving: Driving, before: Observation, after: Observation) -> Verdict:
        """A subtask is done when the expert goes on with the one after it."""
        self._next = self._expert.next(self._state())
        if self._next is None:
            return Verdict(not self._expert.gave_up, "nothing is left to do")
        return Verdict(self._next.subtask == driving.following, f"next: {self._next.subtask}")

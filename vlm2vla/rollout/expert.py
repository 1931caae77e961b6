"""The scripted expert as a policy and as its own verifier: it drives from the simulator's truth.

What it drives is what its words say: every chunk goes through action text and back.
"""

from collections.abc import Callable, Iterator

import numpy as np

from vlm2vla.language import form, plan_of, verbalize_plan
from vlm2vla.policy import ChunkReady, Driving, GaveUp, PlanReady, PolicyEvent, SubtasksReady, Verdict
from vlm2vla.robot import Observation
from vlm2vla.simulation import WorldState
from vlm2vla.simulation.expert import Expert
from vlm2vla.types import ActionChunk

ACTION_FORM = "rows:0.5cm"
TURNING_FORM = "rows7:0.5cm:1deg"
"""Where the task asks for the wrist."""


class ExpertDriver:
    """A `Policy` and a `Verifier`.

    Args:
        expert: Decides from the state of the world.
        state: Gives that state.

    Attributes:
        action_form: Name of the form in which it says its actions.
    """

    name = "scripted expert"

    def __init__(self, expert: Expert, state: Callable[[], WorldState]):
        self._expert, self._state = expert, state
        self.action_form = TURNING_FORM if expert.turns else ACTION_FORM
        self._form = form(self.action_form)
        self._rows = np.zeros((0, 7))

    def subtasks(self, driving: Driving, observation: Observation) -> Iterator[PolicyEvent]:
        """The subtasks of the task when nothing goes wrong."""
        yield SubtasksReady(self._expert.subtasks)

    def plan(self, driving: Driving, observation: Observation) -> Iterator[PolicyEvent]:
        """The next motions, as far as they can be foreseen, in words."""
        steps = self._expert.chunk(self._state())
        if self._expert.gave_up:
            yield GaveUp(self._expert.gave_up)
            return
        self._rows = np.array([step.row for step in steps]).reshape(-1, 7)
        before = float(observation.ee[6] >= 0.5)
        phrases = plan_of(self._rows, rotation=self._form.rotation, gripper_before=before, settle_s=0.0)
        yield PlanReady(verbalize_plan(phrases))

    def chunk(self, driving: Driving, observation: Observation) -> Iterator[PolicyEvent]:
        """The same motions as action text; none when the task is done."""
        rows = self._rows if self._form.rotation else self._rows[:, [0, 1, 2, 6]]
        text = self._form.verbalize(ActionChunk(rows))
        yield ChunkReady(self._form.parse(text), text, text)

    def verify(self, driving: Driving, before: Observation, after: Observation) -> Verdict:
        """A subtask is done when the expert would go on with a later one."""
        due = self._expert.current(self._state())
        left = "nothing is left to do" if due == len(driving.subtasks) else f"next: {driving.subtasks[due]}"
        return Verdict(due > driving.index, left)

"""Was a verdict right? A run-time verifier held against the simulator's truth, while a rollout goes on.

A subtask is done when the whole task stands done, or when one of several scripted experts, set down in this state of
the world, would go on with a later subtask. That is where recordings end a subtask. The experts differ in where exactly
they grasp and put things, as those of the recordings do; none of them makes a mistake on purpose, and none remembers
what was before (a thing that was let go on its place counts as released, before the hand is clear of it).

Only verdicts about the expert's own list of subtasks can be judged: of another list nobody knows the truth. What the
loop itself calls not done, because more rows are waiting, is nobody's verdict and is not counted.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from vlm2vla.evaluation.suite import VERDICTS
from vlm2vla.policy import ChunkReady
from vlm2vla.rollout.events import Event, PolicySaid, SubtaskJudged

if TYPE_CHECKING:
    from vlm2vla.simulation import Scene, WorldState
    from vlm2vla.simulation.tasks import Task

_STYLES = 8


class Judge:
    """Counts right and wrong verdicts of one rollout.

    Args:
        task: What is to be done.
        scene: Where.
        state: Gives the state of the world.
        succeeds: Whether the whole task stands done now.

    Attributes:
        counts: By kind, see `VERDICTS`.
    """

    def __init__(self, task: "Task", scene: "Scene", state: Callable[[], "WorldState"], succeeds: Callable[[], bool]):
        self._task, self._scene, self._state, self._succeeds = task, scene, state, succeeds
        self.counts = dict.fromkeys(VERDICTS, 0)
        self._waiting = False  # rows of the last chunk that were not carried out yet

    def see(self, event: Event) -> None:
        """Take one event into account, as soon as it happens: the truth is that of this moment."""
        said = event.event if isinstance(event, PolicySaid) else None
        if isinstance(said, ChunkReady):
            self._waiting = bool(said.later)
        if not isinstance(event, SubtaskJudged) or self._waiting:
            return
        driving, done = event.driving, event.verdict.done
        true = self.is_done(driving.subtasks, driving.index)
        if true is None:
            self.counts["unknown"] += 1
        else:
            self.counts[f"{'true' if done == true else 'false'}_{'done' if done else 'not_done'}"] += 1

    def is_done(self, subtasks: tuple[str, ...], index: int) -> bool | None:
        """Whether subtask number `index` is done now; None for another list of subtasks than the expert's."""
        from vlm2vla.simulation.expert import Expert

        state = self._state()
        experts = [Expert(self._task, self._scene, seed, mistakes=False) for seed in range(_STYLES)]
        true = experts[0].subtasks
        if [text.casefold() for text in subtasks] != [text.casefold() for text in true]:
            return None
        if self._succeeds():
            return True
        for expert in experts:
            step = expert.next(state)
            due = 0 if expert.gave_up else len(true) if step is None else true.index(step.subtask)
            if due > index:
                return True
        return False

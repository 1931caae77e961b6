"""How far a task has come, from the truth of the simulator: milestones, partial credit, success; error kept apart.

Knows no robot and no policy. A policy that fails is a failure; a robot or simulator that breaks is an error, and the
two are never mixed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from vlm2vla.simulation.tasks import Task
    from vlm2vla.simulation.world import WorldState

# The fingertips are this close to the object's centre: reached.
REACH_M = 0.05
# Held this far above where it began: lifted.
LIFT_M = 0.05
# A destination this far above where it stood is being carried itself.
_CARRIED_M = 0.02

Result = Literal["success", "failure", "error"]


@dataclass(frozen=True)
class Score:
    """What was achieved of one task so far.

    Milestones stay achieved once they were; `success` is about the present moment only, so that an object that was
    dropped again does not count.

    Attributes:
        reached, grasped, lifted: The fingertips came to the target; held it; held it 5 cm up.
        placed: It lies on the destination, let go.
        second_reached, second_grasped, second_lifted: The same for the object that is lifted afterwards.
        success: The whole task stands done now.
        partial: Share of the task's milestones, 0 to 1; 1 exactly where `success` is true.
        wrong_object: First object held that the task does not move, or "".
    """

    reached: bool = False
    grasped: bool = False
    lifted: bool = False
    placed: bool = False
    second_reached: bool = False
    second_grasped: bool = False
    second_lifted: bool = False
    success: bool = False
    partial: float = 0.0
    wrong_object: str = ""


@dataclass(frozen=True)
class Verdict:
    """How one trial ended.

    Attributes:
        result: "error" when robot or simulator broke: such a trial says nothing about the policy.
        score: What was achieved until then.
        message: What broke, or "".
    """

    result: Result
    score: Score
    message: str = ""


def milestones(task: "Task") -> tuple[str, ...]:
    """The milestones of a task, in order; each earns the same credit."""
    names = ["reached", "grasped", "lifted"]
    if task.destination:
        names.append("placed")
    if task.second:
        names += ["second_reached", "second_grasped", "second_lifted"]
    return tuple(names)


class Progress:
    """Scores a trial as it runs.

    Args:
        task: What should be done.
        start: The world before the first action.
    """

    def __init__(self, task: "Task", start: "WorldState"):
        self._task = task
        self._rest = {name: float(thing.position[2]) for name, thing in start.objects.items()}
        self._done: set[str] = set()
        self._wrong = ""
        self.score = self.update(start)

    def update(self, state: "WorldState") -> Score:
        """Take one more moment into account.

        A moment that falls between two calls is not seen: call it for every step.
        """
        task = self._task
        self._note(state, task.target, "")
        if task.destination and self._is_placed(state):
            self._done.add("placed")
        if task.second:
            self._note(state, task.second, "second_")
        mine = {task.target, task.second}
        wrong = [name for name, thing in state.objects.items() if thing.held and name not in mine]
        self._wrong = self._wrong or next(iter(wrong), "")
        success = bool(self._succeeds(state))
        names = milestones(task)
        achieved = sum(name in self._done for name in names)
        # Everything was achieved once, yet does not stand now: short of full credit by half a milestone.
        partial = 1.0 if success else min(achieved, len(names) - 0.5) / len(names)
        self.score = Score(
            **dict.fromkeys(names, False) | dict.fromkeys(self._done, True),
            success=success,
            partial=partial,
            wrong_object=self._wrong,
        )
        return self.score

    def verdict(self, error: str = "") -> Verdict:
        """The end of the trial.

        Args:
            error: What broke of the robot or the simulator, or "" when nothing did.
        """
        if error:
            return Verdict("error", self.score, error)
        return Verdict("success" if self.score.success else "failure", self.score)

    def _note(self, state: "WorldState", name: str, prefix: str) -> None:
        thing = state.objects[name]
        if thing.held or np.linalg.norm(np.asarray(thing.position) - state.ee[:3]) < REACH_M:
            self._done.add(prefix + "reached")
        if thing.held:
            self._done.add(prefix + "grasped")
        if self._is_lifted(state, name):
            self._done.add(prefix + "lifted")

    def _is_lifted(self, state: "WorldState", name: str) -> bool:
        thing = state.objects[name]
        return thing.held and thing.position[2] - self._rest[name] >= LIFT_M

    def _is_placed(self, state: "WorldState") -> bool:
        thing, place = state.objects[self._task.target], self._task.destination
        carried = state.objects[place].position[2] - self._rest[place] > _CARRIED_M
        return thing.on == place and not thing.held and not carried

    def _succeeds(self, state: "WorldState") -> bool:
        task = self._task
        if not task.destination:
            return self._is_lifted(state, task.target)
        return self._is_placed(state) and (not task.second or self._is_lifted(state, task.second))


def score(task: "Task", start: "WorldState", states: Iterable["WorldState"]) -> Score:
    """The score after all `states` of a trial that began in `start`."""
    progress = Progress(task, start)
    for state in states:
        progress.update(state)
    return progress.score

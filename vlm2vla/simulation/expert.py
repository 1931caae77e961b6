"""A scripted expert: from the true state of the world to the next small motion, again in every cycle.

It looks only at the state it is given (where objects are, what is held), so it carries on after a miss, a drop or a
push, whoever caused it. Path and speed vary with the seed. In a share of the episodes it makes a mistake on purpose and
recovers, so that recordings show what to do then. It knows nothing of images or words beyond the names of its subtasks.
"""

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from vlm2vla.simulation.frames import HAND_M
from vlm2vla.simulation.scenes import TURNED
from vlm2vla.simulation.style import Style, draw_style

if TYPE_CHECKING:
    from vlm2vla.simulation.scenes import Scene
    from vlm2vla.simulation.tasks import Task
    from vlm2vla.simulation.world import ObjectState, WorldState

Phase = Literal["approach", "descend", "close", "lift", "carry", "lower", "open", "retreat", "back off"]

# Errors at which a grasp still holds are wider (see the tests); these are what the expert strives for.
_ALIGNED_M = 0.010
_DEPTH_M = 0.008
_OVER_M = 0.012
# Along a box within this much, and turned by no more than this in one row, radians.
_ALONG_RAD = 0.05
_TURN_RAD = 0.19
# After a miss: this many motions up.
_BACK_OFF = 3
_RETREAT_M = 0.06
_ATTEMPTS = 6
# Nothing moved although it was told to: something is in the way.
_STALLED_M = 0.0015
_STALLED_CYCLES = 3
_OPEN_FROM = 0.6
# Fingers that were told to close are nearer than this, even around the widest thing.
_WIDE = 0.9
# Half of the fingertips' height, and a little air.
_PAD_M = 0.018
# A thing is let go with its underside this far above the foot of what it is put on or in.
_FLOOR_M = {"plate": 0.016, "tray": 0.014, "bowl": 0.022}


@dataclass(frozen=True, eq=False)
class ExpertStep:
    """One motion of the expert.

    Attributes:
        row: [7] dx dy dz, droll dpitch dyaw, gripper command (1 open, 0 closed); metres, manipulation frame.
        subtask: What this motion is part of, in words: "Grasp the red cube".
        phase: The part of the subtask.
    """

    row: np.ndarray
    subtask: str
    phase: Phase


class Expert:
    """Solves pick-up, pick-and-place, pick-place-lift and, with the wrist, pick-up-turned.

    Args:
        task: What to do.
        scene: The scene it is done in; heights and sizes of things are taken from it.
        seed: Variation in path, speed and mistakes.
        step_m: Longest motion of one row on one axis, metres; at most 0.05.
        gain: Share of the remaining way that one row may take; below 1 where the robot moves while it is looked at.
        grip_cycles: Cycles until the fingers have come to rest; 1 where each row is waited for.
        mistakes: Make a mistake on purpose: yes, no, or (None) in a share of the seeds.
        wrist: Turn the wrist where a thing asks for it; without, it does what four numbers a row can say.

    Attributes:
        turns: The task asks for the wrist.
        gave_up: Why it gave up, or "".
    """

    def __init__(
        self,
        task: "Task",
        scene: "Scene",
        seed: int = 0,
        *,
        step_m: float = 0.045,
        gain: float = 1.0,
        grip_cycles: int = 1,
        mistakes: bool | None = None,
        wrist: bool = True,
    ):
        self._task = task
        self._things = {thing.name: thing for thing in scene.objects}
        self._table = scene.table_height_m
        self.turns = wrist and self._things[task.target].kind == TURNED
        self._style = draw_style(seed, mistakes)
        self._speed = min(step_m, 0.05) * self._style.speed
        self._gain = gain
        self._grip_cycles = grip_cycles
        self._open_cycles = (grip_cycles + 1) // 2
        self._noise = np.random.default_rng([seed, 7])
        self._attempts = 0
        self._missed = False
        self._foretold = False  # the last close was foreseen; whether it was carried out is to be seen
        self._closing = self._opening = self._stalled = 0
        self._phase: Phase | None = None
        self._cycles_in_phase = 0
        self._last: tuple[np.ndarray, np.ndarray] | None = None
        self.gave_up = ""

    @property
    def subtasks(self) -> tuple[str, ...]:
        """The subtasks of the task when nothing goes wrong, in order."""
        task = self._task
        names = [f"Move to the {task.target}", f"Grasp the {task.target}", f"Lift the {task.target}"]
        if not task.destination:
            return tuple(names)
        names += [f"Move the {task.target} to the {task.destination}", f"Release the {task.target}"]
        if task.second:
            names += [f"Move to the {task.second}", f"Grasp the {task.second}", f"Lift the {task.second}"]
        return tuple(names)

    def next(self, state: "WorldState") -> ExpertStep | None:
        """The next motion in this state; None when the task is done, or given up (`gave_up` says why)."""
        self._watch(state)
        task = self._task
        step = None
        if not task.destination:
            step = self._pick(state, task.target)
        else:
            target = state.objects[task.target]
            if target.on != task.destination or target.held:
                step = self._pick_and_place(state)
            elif self._phase in ("open", "retreat") and not self._is_clear(state, task.target):
                opening = 0 < self._opening < self._open_cycles
                step = self._open() if opening else self._retreat(state)
            elif task.second:
                step = self._pick(state, task.second)
        if step is None:
            self._last = None
            return None
        self._cycles_in_phase = self._cycles_in_phase + 1 if step.phase == self._phase else 0
        self._phase = step.phase
        self._last = (np.array(state.ee[:3]), step.row)
        return step

    def chunk(self, state: "WorldState", rows: int = 12) -> tuple[ExpertStep, ...]:
        """The next motions of one subtask, as far as they can be foreseen: up to a command to the gripper, or `rows`.

        Empty when the task is done or given up. Call it again after they were carried out, or when they could not be.
        """
        steps: list[ExpertStep] = []
        start = np.array(state.ee[:3])
        step = self.next(state)
        stalled = self._stalled
        while step is not None:
            steps.append(step)
            if len(steps) == rows or step.phase in ("close", "open"):
                break
            state = _foreseen(state, step.row)
            memory = copy.deepcopy(self.__dict__)
            step = self.next(state)
            if step is None or step.subtask != steps[0].subtask:
                self.__dict__.update(memory)
                break
        if steps:
            self._foretold = len(steps) > 1 and steps[-1].phase == "close"
            self._stalled = stalled
            self._last = (start, np.sum([step.row for step in steps], axis=0))
        return tuple(steps)

    def current(self, state: "WorldState") -> int:
        """Index in `subtasks` of what is to be done in this state; their number when all is done."""
        step = copy.deepcopy(self).next(state)
        return self.subtasks.index(step.subtask) if step is not None else len(self.subtasks)

    # Watching: the little memory that the state does not hold.

    def _watch(self, state: "WorldState") -> None:
        """Count cycles in which the robot did not move although it was told to."""
        if self._last is None:
            self._stalled = 0
            return
        before, row = self._last
        asked, moved = np.abs(row[:3]).max(), np.linalg.norm(state.ee[:3] - before)
        self._stalled = self._stalled + 1 if asked > 0.003 and moved < _STALLED_M else 0

    # Picking up.

    def _pick(self, state: "WorldState", name: str) -> ExpertStep | None:
        thing = state.objects[name]
        if thing.held and self._phase != "back off":
            return self._lift(state, name)
        if self._foretold and state.ee[6] > _WIDE:
            self._closing = 0
        self._foretold = False
        if self._closing:
            return self._close(state, name)
        if self._phase == "back off" and self._cycles_in_phase < _BACK_OFF:
            return self._back_off(state, name)
        if self._attempts >= _ATTEMPTS or thing.position[2] < self._table - 0.03:
            self.gave_up = f"the {name} cannot be grasped"
            return None
        return self._approach(state, name)

    def _approach(self, state: "WorldState", name: str) -> ExpertStep | None:
        """Over the object, then down around it; the gripper opens on the way."""
        aim = self._grasp_point(state, name)
        offset = aim - state.ee[:3]
        lateral = float(np.abs(offset[:2]).max())
        turn = self._turn(state, name)
        hover = aim[2] + self._style.hover_m
        slack = 2 if self._phase == "descend" else 1
        if lateral < slack * _ALIGNED_M and abs(turn) < slack * _ALONG_RAD:
            arrived = abs(offset[2]) < _DEPTH_M and lateral < _ALIGNED_M
            if arrived or self._stalled >= _STALLED_CYCLES:
                return self._close(state, name)
            return self._step(offset, 1.0, f"Grasp the {name}", "descend", slow=0.7)
        subtask = f"Move to the {name}"
        safe = max(hover, self._clearance(state, name, aim))
        target = np.array([*aim[:2], safe])
        if state.ee[2] < safe - 0.02 and lateral > 0.03:
            # Rise before crossing.
            target[:2] = state.ee[:2] + 0.25 * offset[:2] * (state.ee[2] > safe - 0.05)
        elif lateral < 0.06:
            target[2] = hover
        bend = self._style.bend_m * min(1.0, lateral / 0.15)
        target[:2] += bend * np.array([-offset[1], offset[0]]) / max(lateral, 1e-6) if lateral > 0.05 else 0.0
        return self._step(target - state.ee[:3], 1.0, subtask, "approach", turn=turn)

    def _close(self, state: "WorldState", name: str) -> ExpertStep:
        """Close and wait until the fingers rest; nothing held then is a miss."""
        if self._closing >= self._grip_cycles:
            self._closing = 0
            self._attempts += 1
            self._missed = True
            return self._back_off(state, name)
        self._closing += 1
        return self._step(np.zeros(3), 0.0, f"Grasp the {name}", "close")

    def _back_off(self, state: "WorldState", name: str) -> ExpertStep:
        """After a miss: open, and straight up."""
        opened = state.ee[6] > _OPEN_FROM
        up = np.array([0.0, 0.0, self._style.hover_m / _BACK_OFF if opened else 0.0])
        return self._step(up, 1.0, f"Move to the {name}", "back off")

    def _lift(self, state: "WorldState", name: str) -> ExpertStep | None:
        height = state.objects[name].position[2] - self._half_height(state, name) - self._table
        if 0 < self._closing < self._grip_cycles:
            # The fingers touch; squeeze before the lift.
            self._closing = max(self._closing + 1, self._grip_cycles - 1)
            return self._step(np.zeros(3), 0.0, f"Grasp the {name}", "close")
        self._closing = 0
        if height >= self._style.lift_m:
            return None
        return self._step(np.array([0, 0, self._style.lift_m + 0.01 - height]), 0.0, f"Lift the {name}", "lift")

    # Placing.

    def _pick_and_place(self, state: "WorldState") -> ExpertStep | None:
        task = self._task
        thing = state.objects[task.target]
        if self._opening:
            return self._open()
        if not thing.held:
            return self._pick(state, task.target)
        if self._closing:
            step = self._lift(state, task.target)
            if step is not None and step.phase == "close":
                return step
        self._attempts = 0
        return self._carry(state, thing)

    def _carry(self, state: "WorldState", thing: "ObjectState") -> ExpertStep:
        task = self._task
        subtask = f"Move the {task.target} to the {task.destination}"
        place = np.asarray(state.objects[task.destination].position) + [*self._style.place_offset, 0]
        bottom = thing.position[2] - self._half_height(state, task.target)
        floor = place[2] + _FLOOR_M[self._things[task.destination].kind]
        offset = np.array([*(place[:2] - thing.position[:2]), 0.0])
        lateral = float(np.abs(offset[:2]).max())
        if lateral < _OVER_M or (self._phase == "lower" and lateral < 2 * _OVER_M):
            # The open hand is as wide as a bowl: it must be above the rim, or it takes the bowl along.
            rim = self._top(state, task.destination) + _PAD_M
            down = max(floor - bottom, rim - state.ee[2])
            if down > -0.006 or (self._phase == "lower" and self._stalled >= _STALLED_CYCLES):
                return self._open()
            offset[2] = down
            return self._step(offset, 0.0, subtask, "lower", slow=0.6)
        crossing = self._crossing(state, task.target) + self._style.carry_m
        offset[2] = self._table + crossing - bottom
        if offset[2] > 0.02:
            offset[:2] *= 0.3 * (offset[2] < 0.05)
            if self._phase not in ("carry", "lower"):
                return self._step(offset, 0.0, f"Lift the {task.target}", "lift")
        return self._step(offset, 0.0, subtask, "carry")

    def _open(self) -> ExpertStep:
        self._opening = (self._opening + 1) % (self._open_cycles + 1)
        return self._step(np.zeros(3), 1.0, f"Release the {self._task.target}", "open")

    def _retreat(self, state: "WorldState") -> ExpertStep:
        self._opening = 0
        name = self._task.target
        up = state.objects[name].position[2] + self._half_height(state, name) + _RETREAT_M + 0.01 - state.ee[2]
        return self._step(np.array([0.0, 0.0, up]), 1.0, f"Release the {name}", "retreat")

    def _is_clear(self, state: "WorldState", name: str) -> bool:
        above = state.ee[2] - state.objects[name].position[2] - self._half_height(state, name)
        return above > _RETREAT_M and not self._opening

    # Geometry.

    def _grasp_point(self, state: "WorldState", name: str) -> np.ndarray:
        """[3] where the fingertips go, with this attempt's own error."""
        aim = np.array(state.objects[name].position, dtype=np.float64)
        half = self._half_height(state, name)
        # Tall things are held above their middle.
        aim[2] += max(0.0, half - 0.035)
        # One mistake an episode is enough.
        error = self._style.aim_error(max(self._attempts, int(self._missed)))
        if self._things[name].kind == TURNED:
            error = _on_a_box(error, state.ee[5])
        aim += error
        aim[2] = max(aim[2], self._table + _PAD_M + 0.002)
        return aim

    def _turn(self, state: "WorldState", name: str) -> float:
        """Radians from the wrist to the direction in which the fingers take a thing: along a box, else as it is."""
        if not self.turns or self._things[name].kind != TURNED:
            return 0.0
        along = (state.objects[name].yaw + np.pi / 2) % np.pi - np.pi / 2
        return float(along - state.ee[5])

    def _half_height(self, state: "WorldState", name: str) -> float:
        """From the middle of a thing to its lowest point, also when it has fallen over."""
        width, _, height = self._things[name].size_m
        upright = min(1.0, abs(state.objects[name].upright))
        return float(height * upright + width * np.sqrt(1 - upright**2)) / 2

    def _crossing(self, state: "WorldState", moving: str) -> float:
        """Height above the table that clears everything else, metres."""
        tops = [self._top(state, name) - self._table for name in state.objects if name != moving]
        return max([0.0, *tops]) + 0.02

    def _top(self, state: "WorldState", name: str) -> float:
        """Height of the highest point of a thing; the position of a container or card is its foot."""
        thing = self._things[name]
        height = self._half_height(state, name) if thing.graspable else thing.size_m[2]
        return float(state.objects[name].position[2]) + height

    def _clearance(self, state: "WorldState", name: str, aim: np.ndarray) -> float:
        """Height of the fingertips at which they cross the table over everything else."""
        return self._table + self._crossing(state, name)

    def _step(
        self,
        offset: np.ndarray,
        gripper: float,
        subtask: str,
        phase: Phase,
        *,
        slow: float = 1.0,
        turn: float = 0.0,
    ) -> ExpertStep:
        """A row towards `offset` and `turn`, no faster than this expert moves; it starts gently."""
        style: Style = self._style
        starting = self._cycles_in_phase if phase == self._phase else 0
        limit = self._speed * slow * (style.start if starting == 0 else 1.0)
        delta = np.asarray(offset, dtype=np.float64) * self._gain
        longest = float(np.abs(delta).max())
        if longest > limit:
            delta *= limit / longest
            delta += self._noise.normal(0.0, style.tremble_m, 3) * (np.abs(delta) > 0.004)
        row = np.zeros(7)
        row[:3] = np.clip(delta, -0.05, 0.05)
        # The fingertips rest while the wrist turns: arm and base make up for their swing, at the speed of the others.
        most = min(_TURN_RAD, limit / HAND_M)
        row[5] = np.clip(turn * self._gain, -most, most)
        row[6] = gripper
        return ExpertStep(row, subtask, phase)


def _on_a_box(error: np.ndarray, yaw: float) -> np.ndarray:
    """An error of the aim where the hand is turned: small ones turn with it, and what falls short goes too high.

    A box is so long that fingers that fall short still hold it.
    """
    if error[0] < -0.03:
        return np.array([0.0, 0.0, -error[0] + 0.01])
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.array([cos * error[0] - sin * error[1], sin * error[0] + cos * error[1], error[2]])


def _foreseen(state: "WorldState", row: np.ndarray) -> "WorldState":
    """The state after a row that goes as told; what is held goes along."""
    ee = np.array(state.ee)
    ee[:6] += row[:6]
    ee[6] = row[6]
    objects = {
        name: replace(thing, position=thing.position + row[:3]) if thing.held else thing
        for name, thing in state.objects.items()
    }
    return replace(state, ee=ee, gripper_open=float(ee[6]), objects=objects)

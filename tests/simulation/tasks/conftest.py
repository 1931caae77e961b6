"""A table without physics, for tests of what does not need any: the gripper carries what it closes around."""

from dataclasses import replace

import numpy as np
import pytest

from vlm2vla.embodiment import STRETCH_RE1
from vlm2vla.robot import ActionResult
from vlm2vla.simulation.scenes import Scene
from vlm2vla.simulation.world import ObjectState, WorldState

CARRY_M = np.array([0.02, 0.025, 0.03])


class TinyWorld:
    """Moves exactly as told, 0.2 s a row; same methods as the simulator."""

    embodiment = STRETCH_RE1

    def __init__(self, scene: Scene):
        self.rendered = 0
        self.robot = self
        self.reset(scene)

    def reset(self, scene: Scene) -> None:
        self._scene = scene
        self._table = scene.table_height_m
        self._half = {thing.name: thing.size_m[2] / 2 for thing in scene.objects}
        self._containers = [thing.name for thing in scene.objects if thing.container]
        # As in the simulator, the position of a container or card is its foot.
        self._half = {name: half if scene.find(name).graspable else 0.0 for name, half in self._half.items()}
        self.at = {
            thing.name: np.array([*thing.position[:2], self._table + self._half[thing.name]]) for thing in scene.objects
        }
        self.rest = {name: "table" for name in self.at}
        self.held, self._grip = "", np.zeros(3)
        self.ee = np.array([0.25, 0.0, self._table + 0.25, 0.0, 0.0, 0.0, 1.0])
        self.time = 0.0

    def servo(self, row: np.ndarray, seconds: float) -> ActionResult:
        assert np.all(np.abs(row[:3]) <= 0.05 + 1e-9)
        self.time += seconds
        self.ee[:3] += row[:3]
        self.ee[2] = max(self.ee[2], self._table + 0.012)
        floor = 0.3 if self._inside() or self.held else 0.0
        self.ee[6] = np.clip(row[6], max(floor, self.ee[6] - 0.35), self.ee[6] + 0.35)
        if self.ee[6] <= 0.35 and row[6] < 0.5 and not self.held and self._inside():
            self.held = self._inside()
            self._grip = self.at[self.held] - self.ee[:3]
        if self.held and self.ee[6] > 0.5:
            self.drop()
        if self.held:
            self.at[self.held] = self.ee[:3] + self._grip
        return ActionResult("reached")

    def drop(self) -> None:
        """What is held falls straight down."""
        name, self.held = self.held, ""
        below = [other for other in self._containers if np.linalg.norm((self.at[other] - self.at[name])[:2]) < 0.06]
        self.rest[name] = below[0] if below else "table"
        top = (self.at[below[0]][2] if below else self._table) + 0.005 * bool(below)
        self.at[name][2] = top + self._half[name]

    def state(self) -> WorldState:
        objects = {
            name: ObjectState(
                position=at.copy(),
                lifted_m=float(at[2] - self._table - self._half[name]),
                held=name == self.held,
                on=None if name == self.held else self.rest[name],
            )
            for name, at in self.at.items()
        }
        return WorldState(time_s=self.time, ee=self.ee.copy(), gripper_open=float(self.ee[6]), objects=objects)

    def render(self, camera: str) -> bytes:
        self.rendered += 1
        return f"{camera} {self.rendered}".encode()

    def close(self) -> None:
        pass

    def _inside(self) -> str:
        graspable = [thing.name for thing in self._scene.objects if thing.graspable]
        near = [name for name in graspable if np.all(np.abs(self.at[name] - self.ee[:3]) < CARRY_M + [0, 0, 0.02])]
        return near[0] if near else ""


@pytest.fixture
def tiny_world():
    """Makes a `TinyWorld` of a scene."""
    return TinyWorld


@pytest.fixture
def changed():
    """A copy of a world's state with one object's facts changed."""

    def change(state: WorldState, name: str, **facts) -> WorldState:
        return replace(state, objects={**state.objects, name: replace(state.objects[name], **facts)})

    return change

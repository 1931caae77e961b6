"""A table with things on it and a Stretch beside it: scene, physics, pictures and robot in one place.

    world = World(make_scene(seed=1))
    observation = world.robot.observe()
    result = world.robot.act(np.array([0.04, 0, 0, 0, 0, 0, 1.0]))
    state = world.state()

Same scene and same actions give identical states. `reset` goes on with another scene in milliseconds.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vlm2vla.robot import Observation
from vlm2vla.simulation.builds import RE1, build_called
from vlm2vla.simulation.cameras import CAMERAS, Darkroom, encode_jpeg
from vlm2vla.simulation.engine import Engine, Snapshot
from vlm2vla.simulation.frames import from_world, yaw_from_world
from vlm2vla.simulation.model import build_model, handles
from vlm2vla.simulation.scenes import Scene, SceneObject
from vlm2vla.simulation.staging import rest_height, stage, texture_names
from vlm2vla.simulation.stretch import SimulatedStretch

_ON_M = 0.012
_FLOOR_M = 0.25


@dataclass(frozen=True, eq=False)
class ObjectState:
    """Where one object is.

    Attributes:
        position: [3] of its middle, manipulation frame, metres (of a container or card: of its foot).
        lifted_m: How far its middle is above where it rests on the table; negative on the floor.
        held: Both fingertips touch it.
        on: Name of the object it lies on or in, "table", "floor", or None while it is held or in the air.
        upright: Cosine of its tilt: 1 stands as it began, 0 lies on its side.
        yaw: Turn about z, radians, counter-clockwise from above.
    """

    position: np.ndarray
    lifted_m: float
    held: bool
    on: str | None
    upright: float = 1.0
    yaw: float = 0.0


@dataclass(frozen=True, eq=False)
class WorldState:
    """The truth at one moment, for scoring and for the expert; no policy sees it.

    Attributes:
        time_s: Simulated seconds since the scene began.
        ee: [7] as in `Observation.ee`.
        gripper_open: Measured opening 0..1.
        objects: State of every object by name.
    """

    time_s: float
    ee: np.ndarray
    gripper_open: float
    objects: Mapping[str, ObjectState]


class World:
    """One simulated scene with its robot.

    Attributes:
        scene: What lies on the table.
        robot: The robot to drive.
    """

    def __init__(
        self,
        scene: Scene,
        *,
        cache: Path | None = None,
        image_px: int = 224,
        speed: float = 0.0,
        robot: str = RE1.name,
        cameras: Sequence[str] = tuple(CAMERAS),
    ):
        """Build it; `cache` keeps the decimated meshes (default: in the workspace).

        Args:
            scene: What lies on the table.
            cache: Folder for meshes.
            image_px: Longer side of the pictures in observations.
            speed: Simulated seconds per second of the wall clock, 0 for as fast as possible.
            robot: Name of a simulated robot, see `builds`.
            cameras: Whose pictures are in observations; each takes its time.

        Raises:
            NotFoundError: The robot description is not installed.
            ConfigError: No such robot.
        """
        self._build = build_called(robot)
        self._model, self._blank = build_model(cache, self._build)
        self._places = handles(self._model)
        self._engine = Engine(self._model, self._places, self._build)
        self._darkroom = Darkroom(self._model)
        self._image_px = image_px
        self._engine.speed = speed
        self.robot = SimulatedStretch(self._engine, self.render, tuple(cameras))
        self.reset(scene)

    def reset(self, scene: Scene) -> None:
        """Begin again with `scene`; the robot is in its starting pose. Nothing is compiled."""
        with self.robot.idle():
            self._slots = self._darkroom.change(
                lambda: stage(self._model, self._blank, self._places, scene, build=self._build), texture_names(scene)
            )
            self.scene = scene
            self._engine.begin(scene, self._slots)
        spots = [
            (self._slots[thing.name], rest_height(thing), 0.55 * min(thing.size_m[:2])) for thing in scene.graspable
        ]
        self._darkroom.shade(tuple(spots), scene.table_height_m)

    def state(self) -> WorldState:
        """The truth at the newest moment; from any thread."""
        moment = self._engine.snapshot
        ee = self._engine.ee()
        touching = self._touching(moment)
        positions = {name: self._position(name, moment) for name in self._slots}
        upright = {name: self._upright(name, moment) for name in self._slots}
        states = {}
        for thing in self.scene.objects:
            position = positions[thing.name]
            held = thing.graspable and touching.get(thing.name, 0) == 3
            bottom = position[2] - rest_height(thing)
            states[thing.name] = ObjectState(
                position=position,
                lifted_m=float(bottom - self.scene.table_height_m),
                held=held,
                on=None if held else self._support(thing, positions, upright[thing.name]),
                upright=upright[thing.name],
                yaw=self._yaw(thing, moment),
            )
        return WorldState(moment.time_s, ee, float(ee[6]), states)

    def render(self, camera: str, px: int | None = None) -> bytes:
        """JPEG of the newest positions, upright; from any thread, also while the robot moves.

        Raises:
            NotFoundError: No such camera.
            ConfigError: A size that cannot be drawn.
            RobotError: No graphics, or closed.
        """
        return encode_jpeg(self.picture(camera, px))

    def picture(self, camera: str, px: int | None = None) -> np.ndarray:
        """[h, w, 3] uint8 of `render`, not encoded."""
        return self._darkroom.render(self._engine.snapshot.qpos, camera, px or self._image_px)

    def glimpse(self) -> Observation:
        """What `robot.observe` would give now, quickly: pictures of this moment are drawn when they are asked for.

        For looking in mid-motion. A later `reset` changes what those pictures show.

        Raises:
            RobotError: As `robot.observe`.
        """
        seen = self.robot.glance()
        return replace(seen, images=_Negatives(self._darkroom, self._engine.snapshot.qpos, self._image_px))

    def subscribe(self, period_s: float, call: Callable[[], None]) -> Callable[[], None]:
        """Run `call` in the driving thread every `period_s` of simulated time, also in mid-action.

        It may use `state`, `render` and `robot.observe`. Returns a function that ends the subscription.
        """
        return self._engine.subscribe(period_s, call)

    def wait(self, seconds: float) -> None:
        """Let simulated time pass with the robot at rest."""
        self._engine.hold(max(1, round(seconds / (self._engine.batch * self._engine.period_s))))

    @property
    def speed(self) -> float:
        """Simulated seconds per second of the wall clock; 0 is as fast as possible."""
        return self._engine.speed

    @speed.setter
    def speed(self, value: float) -> None:
        self._engine.speed = max(0.0, value)

    @property
    def qpos(self) -> np.ndarray:
        """All positions of the physics, a copy: what "identical states" compares."""
        return self._engine.data.qpos.copy()

    def close(self) -> None:
        """Stop the robot and let go of the graphics; safe to call twice."""
        self.robot.close()
        self._darkroom.close()

    def __enter__(self) -> "World":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _position(self, name: str, moment: Snapshot) -> np.ndarray:
        slot = self._slots[name]
        if slot.qpos < 0:
            return from_world(self._model.body_pos[slot.body])
        return from_world(moment.qpos[slot.qpos : slot.qpos + 3])

    def _upright(self, name: str, moment: Snapshot) -> float:
        slot = self._slots[name]
        if slot.qpos < 0:
            return 1.0
        _, x, y, _ = moment.qpos[slot.qpos + 3 : slot.qpos + 7]
        return float(1 - 2 * (x * x + y * y))

    def _yaw(self, thing: SceneObject, moment: Snapshot) -> float:
        slot = self._slots[thing.name]
        if slot.qpos < 0:
            return thing.yaw
        w, x, y, z = moment.qpos[slot.qpos + 3 : slot.qpos + 7]
        return yaw_from_world(float(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))))

    def _touching(self, moment: Snapshot) -> dict[str, int]:
        """Which fingertips touch which object: 1 left, 2 right, 3 both."""
        owner = {slot.geoms[0]: name for name, slot in self._slots.items() if slot.qpos >= 0}
        touching: dict[str, int] = {}
        for pair in moment.contacts.tolist():
            for pad, other in (pair, pair[::-1]):
                if pad in self._places.pads and other in owner:
                    bit = 1 << self._places.pads.index(pad)
                    touching[owner[other]] = touching.get(owner[other], 0) | bit
        return touching

    def _support(self, thing: SceneObject, positions: dict[str, np.ndarray], upright: float) -> str | None:
        """What it lies on, from positions alone: what sleeps has no contacts."""
        position = positions[thing.name]
        lowest = position[2] - _half_height(thing, upright)
        if lowest < _FLOOR_M:
            return "floor"
        for other in self.scene.objects:
            if other.name == thing.name or other.kind == "card":
                continue
            under = positions[other.name]
            away = float(np.hypot(*(position[:2] - under[:2])))
            if other.container:
                inside = away < min(other.size_m[:2]) / 2
                if inside and -0.005 < lowest - under[2] < other.size_m[2] + _ON_M:
                    return other.name
            elif away < other.radius_m and abs(lowest - under[2] - other.size_m[2] / 2) < _ON_M:
                return other.name
        return "table" if abs(lowest - self.scene.table_height_m) < _ON_M else None


class _Negatives(Mapping[str, bytes]):
    """Pictures of one moment by camera name, drawn at first sight; safe from any thread."""

    def __init__(self, darkroom: Darkroom, qpos: np.ndarray, px: int):
        self._darkroom, self._qpos, self._px = darkroom, qpos, px
        self._drawn: dict[str, bytes] = {}

    def __getitem__(self, camera: str) -> bytes:
        if camera not in CAMERAS:
            raise KeyError(camera)
        if camera not in self._drawn:
            self._drawn[camera] = encode_jpeg(self._darkroom.render(self._qpos, camera, self._px))
        return self._drawn[camera]

    def __iter__(self) -> Iterator[str]:
        return iter(CAMERAS)

    def __len__(self) -> int:
        return len(CAMERAS)


def _half_height(thing: SceneObject, upright: float) -> float:
    """How far the lowest point is below the position of a thing that is tilted like that."""
    if not thing.graspable:
        return 0.0
    x, _, z = (value / 2 for value in thing.size_m)
    if thing.kind == "ball":
        return x
    lean = float(np.sqrt(max(0.0, 1 - upright**2)))
    return z * abs(upright) + x * lean

"""Scenes for pictures: more varied than those of tasks, so that counting and telling apart are real questions.

Kinds and colours may repeat, an object may lie on a plate or in a bowl from the start, a table may be nearly empty.
"""

from dataclasses import dataclass, replace

import numpy as np

from vlm2vla.errors import ConfigError
from vlm2vla.simulation.frames import to_world, yaw_to_world
from vlm2vla.simulation.scenes import (
    COLOURS,
    MAX_GRASPABLE,
    REGION_X,
    REGION_Y,
    Scene,
    SceneNeeds,
    SceneObject,
    make_scene,
)
from vlm2vla.simulation.staging import rest_height
from vlm2vla.simulation.tasks import FAMILIES, make_task

# Height of the inside bottom of a container over its foot, and how far from its middle things lie in it, metres.
_BOTTOM = {"plate": 0.005, "bowl": 0.005, "tray": 0.006}
_SPREAD = {"plate": 0.030, "bowl": 0.010, "tray": 0.045}

_TASK_SHARE = 0.3
_EMPTY_SHARE = 0.02
_MOST_OBJECTS = 8
_CLOSE_M = 0.014


@dataclass(frozen=True)
class Spot:
    """Where an object's origin is: x, y, z over the floor, metres in the manipulation frame, and its turn, radians."""

    x: float
    y: float
    z: float
    yaw: float

    def world(self) -> np.ndarray:
        """[7] position and quaternion in MuJoCo's world."""
        turn = yaw_to_world(self.yaw)
        return np.array([*to_world(np.array([self.x, self.y, self.z])), np.cos(turn / 2), 0, 0, np.sin(turn / 2)])


def make_layout(seed: int) -> Scene:
    """0 to 8 (very rarely 9) objects and 0 to 3 cards; a third of the scenes are those of tasks."""
    rng = np.random.default_rng([seed, 41])
    if rng.random() < _TASK_SHARE:
        return make_task(FAMILIES[rng.integers(len(FAMILIES))], seed)[0]
    scene = _crowded(seed, rng)
    things = _fewer(rng, scene.objects)
    if rng.random() < 0.55:
        things = _repainted(rng, things)
    return replace(scene, objects=_named(things))


def spot_of(scene: Scene, thing: SceneObject) -> Spot:
    """Where a thing stands when nothing has moved."""
    return Spot(*thing.position, scene.table_height_m + rest_height(thing), thing.yaw)


def spot_on(scene: Scene, thing: SceneObject, place: SceneObject, rng: np.random.Generator) -> Spot:
    """Somewhere on or in a container, at rest."""
    angle, away = rng.uniform(-np.pi, np.pi), _SPREAD[place.kind] * np.sqrt(rng.random())
    x, y = place.position[0] + away * np.cos(angle), place.position[1] + away * np.sin(angle)
    height = scene.table_height_m + _BOTTOM[place.kind] + rest_height(thing)
    return Spot(float(x), float(y), height, float(rng.uniform(-0.35, 0.35)))


def _crowded(seed: int, rng: np.random.Generator) -> Scene:
    """A scene from which some things are taken away afterwards."""
    cards = int(rng.choice(4, p=(0.2, 0.25, 0.35, 0.2)))
    beside = int(rng.integers(0, cards + 1)) if rng.random() < 0.55 else 0
    containers = int(rng.choice(4, p=(0.35, 0.35, 0.25, 0.05)))
    if beside:
        containers = min(containers, 1)
    # No more is asked for than is quickly placed.
    graspable = int(rng.integers(1, 6 - containers)) if cards + beside < 3 else 1
    needs = SceneNeeds(max(graspable, beside), containers, cards, beside)
    try:
        scene = make_scene(seed, require=needs)
    except ConfigError:
        scene = make_scene(seed)
    return replace(scene, objects=_more(seed, rng, scene.objects)) if rng.random() < 0.4 else scene


def _more(seed: int, rng: np.random.Generator, things: tuple[SceneObject, ...]) -> tuple[SceneObject, ...]:
    """Some objects of another scene as well, closer to the others than fingers need it."""
    placed = list(things)
    room = MAX_GRASPABLE - sum(thing.graspable for thing in things)
    for guest in make_scene(seed + 5_000_000_000).graspable[:room]:
        for _ in range(20):
            x, y = (float(rng.uniform(low, high)) for low, high in (REGION_X, REGION_Y))
            gaps = [
                np.hypot(x - other.position[0], y - other.position[1]) - other.radius_m - guest.radius_m
                for other in placed
            ]
            if min(gaps, default=1.0) > _CLOSE_M:
                placed.append(replace(guest, position=(round(x, 4), round(y, 4)), beside=""))
                break
    order = ("graspable", "container", "")
    return tuple(thing for group in order for thing in placed if _group(thing) == group)


def _group(thing: SceneObject) -> str:
    return "graspable" if thing.graspable else "container" if thing.container else ""


def _fewer(rng: np.random.Generator, things: tuple[SceneObject, ...]) -> list[SceneObject]:
    objects = [thing for thing in things if thing.kind != "card"]
    if rng.random() < _EMPTY_SHARE:
        keep = 0
    else:
        keep = min(len(objects), _MOST_OBJECTS)
        if rng.random() < 0.45:
            keep = int(rng.integers(1, keep + 1))
    kept = {objects[index].name for index in rng.permutation(len(objects))[:keep]}
    return [thing for thing in things if thing.kind == "card" or thing.name in kept]


def _repainted(rng: np.random.Generator, things: list[SceneObject]) -> list[SceneObject]:
    """Few colours, so that several things share one; sometimes few kinds as well."""
    palette = rng.permutation(list(COLOURS))[: rng.integers(1, 5)]
    kind = str(rng.choice([thing.kind for thing in things if thing.graspable] or [""]))
    alike = rng.random() < 0.35
    model = next((thing for thing in things if thing.kind == kind), None)
    painted = []
    for thing in things:
        if thing.kind != "card":
            thing = replace(thing, colour=str(rng.choice(palette)))
        # Never larger than what stood there: it still fits between its neighbours.
        fits = model is not None and thing.graspable and model.size_m[0] <= thing.size_m[0] + 1e-9
        if alike and fits and model.size_m[2] <= thing.size_m[2] + 1e-9:
            thing = replace(thing, kind=model.kind, size_m=model.size_m)
        painted.append(thing)
    return painted


def _named(things: list[SceneObject]) -> tuple[SceneObject, ...]:
    """Names stay unique: the second red cube is "red cube 2"."""
    seen: dict[str, int] = {}
    named = []
    for thing in things:
        plain = f"{thing.symbol or thing.colour} {thing.kind}"
        seen[plain] = seen.get(plain, 0) + 1
        named.append(replace(thing, name=plain if seen[plain] == 1 else f"{plain} {seen[plain]}"))
    return tuple(named)

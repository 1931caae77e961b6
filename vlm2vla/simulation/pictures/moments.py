"""Moments of an episode without playing it: where the gripper is, how far it is open, what it holds, what it moved.

Drawn the way a policy meets them: before, over, beside and around an object, with it in the hand, over a container,
after letting go; and a share of plain random poses. Positions in the manipulation frame, metres over the floor.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from vlm2vla.simulation.pictures.layouts import Spot, spot_of, spot_on
from vlm2vla.simulation.robot_body import FINGER_CLOSED, FINGER_OPEN
from vlm2vla.simulation.scenes import REGION_X, REGION_Y, Scene, SceneObject
from vlm2vla.simulation.staging import rest_height

# Things taller than this (half) are held above their middle, and fingertips come no nearer to the table than that:
# as the expert does it.
_HELD_HALF, _LOWEST = 0.035, 0.020
# Half of the fingertips' height: the open hand lets go with them above the rim.
_PAD = 0.018

# The moments of one pick and place, in order, and how often a single picture shows each.
TIMELINE = ("start", "near", "over", "descend", "around", "lifted", "carried", "released", "retreat")
_WEIGHTS = (0.08, 0.14, 0.17, 0.17, 0.08, 0.14, 0.12, 0.06, 0.04)
_RANDOM_SHARE, _MISSED_SHARE = 0.15, 0.04
_ARRANGED_SHARE = 0.15
_YAW_SHARE = 0.12


@dataclass(frozen=True)
class Moment:
    """One moment.

    Attributes:
        phase: One of `TIMELINE`, "missed" (closed beside or over a thing) or "random".
        ee: x, y, z (over the floor) and yaw of the point between the fingertips.
        finger: Angle of both fingers, radians.
        holding: Name of the thing between the fingers, or "".
        moved: Where things are that are not where the scene put them.
    """

    phase: str
    ee: tuple[float, float, float, float]
    finger: float
    holding: str = ""
    moved: Mapping[str, Spot] = field(default_factory=dict)

    def spot(self, scene: Scene, thing: SceneObject) -> Spot:
        """Where a thing is now."""
        return self.moved.get(thing.name) or spot_of(scene, thing)


@dataclass(frozen=True)
class Errand:
    """What the moments of one scene have in common: what is fetched, where it goes, what lies elsewhere already."""

    target: SceneObject | None
    place: SceneObject | None
    moved: Mapping[str, Spot]


def grasp_point(scene: Scene, thing: SceneObject, spot: Spot) -> np.ndarray:
    """[3] where the fingertips go to hold a thing, or to let something go over a container or on a card."""
    if thing.graspable:
        half = thing.size_m[2] / 2
        return np.array([spot.x, spot.y, max(spot.z + max(0.0, half - _HELD_HALF), scene.table_height_m + _LOWEST)])
    height = thing.size_m[2] + _PAD if thing.container else _LOWEST
    return np.array([spot.x, spot.y, scene.table_height_m + height])


def draw_errand(scene: Scene, rng: np.random.Generator) -> Errand:
    """A target and a place by chance; now and then something lies in a container already."""
    graspable = [scene.graspable[index] for index in rng.permutation(len(scene.graspable))]
    containers = [scene.containers[index] for index in rng.permutation(len(scene.containers))]
    moved: dict[str, Spot] = {}
    if len(graspable) > 1 and containers and rng.random() < 2 * _ARRANGED_SHARE:
        lying = graspable.pop()
        moved[lying.name] = spot_on(scene, lying, containers[-1], rng)
        if rng.random() < 0.3:
            graspable.insert(0, lying)  # and is what is fetched
    return Errand(graspable[0] if graspable else None, containers[0] if containers else None, moved)


def draw_phases(errand: Errand, rng: np.random.Generator, count: int) -> tuple[str, ...]:
    """Phases of `count` moments in the order of time; independent ones in a third of the cases."""
    plain = [_draw_phase(errand, rng) for _ in range(count)]
    if rng.random() < 0.35:
        return tuple(plain)
    return tuple(sorted(plain, key=lambda phase: TIMELINE.index(phase) if phase in TIMELINE else 0))


def draw_moment(
    scene: Scene, errand: Errand, phase: str, rng: np.random.Generator, finger_around: Callable[[float], float]
) -> Moment:
    """A moment of that phase. It may be impossible (a hand inside a neighbour): the caller looks and draws again.

    Args:
        scene: The scene.
        errand: See `draw_errand`.
        phase: One of `draw_phases`.
        rng: Chance.
        finger_around: Angle of the fingers around a thing that is so wide, metres.
    """
    yaw = float(rng.uniform(-0.5, 0.5)) if rng.random() < _YAW_SHARE else 0.0
    target = errand.target
    if phase == "start" or (phase != "random" and target is None):
        low, high = (0.40, -0.08, 0.17), (0.50, 0.08, 0.23)
        if rng.random() < 0.3:
            return _at("start", scene, scene.ee_start, 0.0, FINGER_OPEN, errand)
        return _at("start", scene, rng.uniform(low, high), 0.0, FINGER_OPEN, errand)
    if phase == "random":
        place = rng.uniform((0.36, REGION_Y[0] - 0.06, 0.02), (REGION_X[1] + 0.04, REGION_Y[1] + 0.06, 0.36))
        closed = rng.random()
        finger = FINGER_CLOSED if closed < 0.3 else FINGER_OPEN if closed < 0.7 else rng.uniform(0.0, FINGER_OPEN)
        return _at("random", scene, place, yaw, float(finger), errand)
    if phase in ("released", "retreat"):
        return _after(scene, errand, phase, rng)
    if phase in ("around", "lifted", "carried"):
        return _held(scene, errand, phase, rng, yaw, finger_around)
    return _before(scene, errand, phase, rng, yaw)


def _draw_phase(errand: Errand, rng: np.random.Generator) -> str:
    chance = rng.random()
    if chance < _RANDOM_SHARE:
        return "random"
    if chance < _RANDOM_SHARE + _MISSED_SHARE:
        return "missed"
    phase = str(rng.choice(TIMELINE, p=_WEIGHTS))
    if phase in ("released", "retreat") and errand.place is None:
        return "lifted"
    return phase


def _at(phase: str, scene: Scene, place: np.ndarray, yaw: float, finger: float, errand: Errand) -> Moment:
    """A moment without anything in the hand; `place` has its height over the table."""
    x, y, z = (float(value) for value in place)
    return Moment(phase, (x, y, scene.table_height_m + z, yaw), finger, "", errand.moved)


def _before(scene: Scene, errand: Errand, phase: str, rng: np.random.Generator, yaw: float) -> Moment:
    """On the way to the target, and over it; sometimes to a container or card, as a question about it may ask."""
    thing = errand.target
    if phase in ("near", "over") and rng.random() < 0.2:
        thing = scene.objects[rng.integers(len(scene.objects))]
    spot = errand.moved.get(thing.name) or spot_of(scene, thing)
    point = grasp_point(scene, thing, spot)
    if phase == "near":
        point += [*rng.uniform(-0.13, 0.13, 2), rng.uniform(0.02, 0.20)]
    elif phase == "over":
        point += [*rng.normal(0, 0.010, 2), rng.uniform(0.03, 0.22)]
    elif phase == "missed":
        point += [*rng.normal(0, 0.030, 2), rng.uniform(0.0, 0.10)]
    else:
        point += [*rng.normal(0, 0.007, 2), rng.choice((0.0, rng.uniform(0.0, 0.02), rng.uniform(0.0, 0.09)))]
    finger = FINGER_CLOSED if phase == "missed" else FINGER_OPEN
    if phase == "near" and rng.random() < 0.1:
        finger = rng.uniform(0.5, 1.0) * FINGER_OPEN
    x, y, z = (float(value) for value in point)
    return Moment(phase, (x, y, z, yaw), float(finger), "", errand.moved)


def _held(
    scene: Scene,
    errand: Errand,
    phase: str,
    rng: np.random.Generator,
    yaw: float,
    finger_around: Callable[[float], float],
) -> Moment:
    """With the target between the fingers: on its place, lifted, on its way or over the container."""
    thing = errand.target
    spot = errand.moved.get(thing.name) or spot_of(scene, thing)
    x, y, z = spot.x, spot.y, spot.z
    if phase == "lifted":
        z += float(rng.choice((rng.uniform(0.004, 0.05), rng.uniform(0.02, 0.20))))
    elif phase == "carried":
        goal = np.array([rng.uniform(*REGION_X), rng.uniform(*REGION_Y)])
        above = 0.05
        if errand.place is not None:
            goal = np.array(errand.place.position) + rng.normal(0, 0.012, 2)
            above = errand.place.size_m[2] + 0.004
        share = 1.0 if rng.random() < 0.55 else rng.random()
        x, y = (float(value) for value in (1 - share) * np.array([x, y]) + share * goal)
        z = scene.table_height_m + rest_height(thing) + float(above + rng.uniform(0.0, 0.14))
    # Closing fingers push the thing to their middle, along their length it stays where it was.
    along = float(np.clip(rng.normal(-0.004, 0.005), -0.018, 0.010))
    hold = replace(spot, x=x, y=y, z=z, yaw=yaw + float(rng.normal(0, 0.03)))
    point = grasp_point(scene, thing, hold)
    above = float(np.clip(rng.normal(0.005, 0.003), -0.004, 0.012))
    ee = (x + along * np.cos(yaw), y + along * np.sin(yaw), float(point[2]) + above, yaw)
    height = max(ee[2], scene.table_height_m + _LOWEST - 0.002)
    finger = finger_around(_width(thing, ee[2] - z))
    return Moment(phase, (*ee[:2], height, yaw), finger, thing.name, {**errand.moved, thing.name: hold})


def _after(scene: Scene, errand: Errand, phase: str, rng: np.random.Generator) -> Moment:
    """The target lies in the container, the open hand is over it."""
    thing, place = errand.target, errand.place
    if place is None:
        return _at("start", scene, scene.ee_start, 0.0, FINGER_OPEN, errand)
    spot = spot_on(scene, thing, place, rng)
    point = grasp_point(scene, thing, spot)
    rim = scene.table_height_m + place.size_m[2] + _PAD
    up = rng.uniform(0.0, 0.02) if phase == "released" else rng.uniform(0.03, 0.15)
    finger = FINGER_OPEN * float(rng.choice((1.0, 1.0, rng.uniform(0.6, 1.0))))
    x, y = (float(value) for value in point[:2] + rng.normal(0, 0.004, 2))
    return Moment(phase, (x, y, float(max(point[2], rim) + up), 0.0), finger, "", {**errand.moved, thing.name: spot})


def _width(thing: SceneObject, above_middle: float) -> float:
    """How wide a thing is between the fingers, metres, held so far above its middle."""
    if thing.kind == "ball":
        radius = thing.size_m[0] / 2
        return float(2 * np.sqrt(max(radius**2 - above_middle**2, (0.4 * radius) ** 2)))
    return thing.size_m[1]

"""What is true of a picture: every thing and the gripper, in centimetres, as it is written beside the pixels.

Positions in the manipulation frame; heights over the table top. Offsets say how the gripper must move to be at the
grasp height around a thing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vlm2vla.simulation.engine import opening_of
from vlm2vla.simulation.pictures.camera import PictureCamera, Shot
from vlm2vla.simulation.pictures.layouts import Spot
from vlm2vla.simulation.pictures.moments import Moment, grasp_point
from vlm2vla.simulation.scenes import Scene, SceneObject
from vlm2vla.simulation.staging import rest_height

SEEN_PX = 38
"""A thing of which fewer pixels are visible is not asked about."""
_ON_M = 0.012
_BESIDE_M, _APART_M = 0.025, 0.045


@dataclass(frozen=True)
class Thing:
    """One thing of a picture.

    Attributes:
        name: Unique in its picture; the second of two red cubes is "red cube 2".
        kind, colour, symbol: As in `SceneObject`.
        x_cm, y_cm, z_cm: Its middle; z over the table top.
        dx_cm, dy_cm, dz_cm: From the end-effector to the point where the thing is held (of a container: where
            something is let go over it).
        width_cm, depth_cm, height_cm: Its extent.
        visible_px: Pixels of it in the picture.
        u_px, v_px: Where its middle appears, right and down; also where something covers it.
        held: It is between the fingers.
        on: Name of the container that it lies in, "table", or "" in the air.
        beside: Name of the one card that it lies next to, or "".
    """

    name: str
    kind: str
    colour: str
    symbol: str
    x_cm: float
    y_cm: float
    z_cm: float
    dx_cm: float
    dy_cm: float
    dz_cm: float
    width_cm: float
    depth_cm: float
    height_cm: float
    visible_px: int
    u_px: float
    v_px: float
    held: bool
    on: str
    beside: str

    @property
    def card(self) -> bool:
        """A printed picture, no object."""
        return self.kind == "card"

    @property
    def seen(self) -> bool:
        """Enough of it is visible."""
        return self.visible_px >= SEEN_PX


@dataclass(frozen=True)
class Hand:
    """The gripper.

    Attributes:
        x_cm, y_cm, z_cm: The point between the fingertips, z over the table top.
        yaw_deg: Turn about z.
        open: Opening 0..1.
        holding: Name of the thing between the fingers, or "".
        u_px, v_px: Where it appears.
    """

    x_cm: float
    y_cm: float
    z_cm: float
    yaw_deg: float
    open: float
    holding: str
    u_px: float
    v_px: float


@dataclass(frozen=True)
class View:
    """One picture in words and numbers: what questions are made from.

    Attributes:
        things: In the order of the patch labels.
        gripper: The gripper.
        phase: What kind of moment it is.
        table: What the table looks like.
        seed: Of its scene.
        pair: It is one of two moments of a scene.
    """

    things: tuple[Thing, ...]
    gripper: Hand
    phase: str
    table: str
    seed: int
    pair: bool

    @property
    def objects(self) -> tuple[Thing, ...]:
        """Everything that is no card."""
        return tuple(thing for thing in self.things if not thing.card)

    @property
    def cards(self) -> tuple[Thing, ...]:
        """The printed pictures."""
        return tuple(thing for thing in self.things if thing.card)

    def index(self, thing: Thing) -> int:
        """Number of a thing in `things`."""
        return self.things.index(thing)

    def to_json(self) -> dict[str, Any]:
        """A row of scenes.jsonl."""
        return asdict(self)

    @staticmethod
    def from_json(row: Mapping[str, Any]) -> "View":
        """Inverse of `to_json`."""
        things = tuple(Thing(**thing) for thing in row["things"])
        return View(things, Hand(**row["gripper"]), row["phase"], row["table"], row["seed"], row["pair"])


def describe(scene: Scene, moment: Moment, shot: Shot, camera: PictureCamera, *, pair: bool) -> View:
    """The truth about a picture that `camera` took."""
    ee = np.array(moment.ee[:3])
    spots = {thing.name: moment.spot(scene, thing) for thing in scene.objects}
    beside = _beside(scene, spots, moment.holding)
    things = []
    for thing, visible in zip(scene.objects, shot.visible_px, strict=True):
        middle = _middle(scene, thing, spots[thing.name])
        offset = grasp_point(scene, thing, spots[thing.name]) - ee
        u, v = camera.project(middle)
        held = thing.name == moment.holding
        things.append(
            Thing(
                name=thing.name,
                kind=thing.kind,
                colour=thing.colour,
                symbol=thing.symbol,
                **_centimetres(("x_cm", "y_cm", "z_cm"), middle - [0, 0, scene.table_height_m]),
                **_centimetres(("dx_cm", "dy_cm", "dz_cm"), offset),
                **_centimetres(("width_cm", "depth_cm", "height_cm"), thing.size_m),
                visible_px=visible,
                u_px=round(float(u), 1),
                v_px=round(float(v), 1),
                held=held,
                on="" if held else _support(scene, thing, spots),
                beside=beside.get(thing.name, ""),
            )
        )
    u, v = camera.project(ee)
    hand = Hand(
        **_centimetres(("x_cm", "y_cm", "z_cm"), ee - [0, 0, scene.table_height_m]),
        yaw_deg=round(float(np.degrees(moment.ee[3])), 1),
        open=round(opening_of(moment.finger), 3),
        holding=moment.holding,
        u_px=round(float(u), 1),
        v_px=round(float(v), 1),
    )
    return View(tuple(things), hand, moment.phase, scene.look.table_texture, scene.seed, pair)


def _centimetres(names: Iterable[str], metres: Iterable[float]) -> dict[str, float]:
    return {name: round(100 * float(value), 2) + 0.0 for name, value in zip(names, metres, strict=True)}


def _middle(scene: Scene, thing: SceneObject, spot: Spot) -> np.ndarray:
    height = spot.z if thing.graspable else scene.table_height_m + thing.size_m[2] / 2
    return np.array([spot.x, spot.y, height])


def _support(scene: Scene, thing: SceneObject, spots: Mapping[str, Spot]) -> str:
    spot = spots[thing.name]
    lowest = spot.z - rest_height(thing) - scene.table_height_m
    for place in scene.containers:
        under = spots[place.name]
        inside = np.hypot(spot.x - under.x, spot.y - under.y) < min(place.size_m[:2]) / 2
        if thing.graspable and inside and 0.001 < lowest < place.size_m[2] + _ON_M:
            return place.name
    return "table" if not thing.graspable or lowest < _ON_M else ""


def _beside(scene: Scene, spots: Mapping[str, Spot], holding: str) -> dict[str, str]:
    """The object that alone lies next to a card, and the card, where that is clear."""
    found: dict[str, str] = {}
    for card in scene.cards:
        gaps = sorted(
            (
                (_gap(card, thing, spots), thing.name)
                for thing in scene.objects
                if thing.kind != "card" and thing.name != holding and _support(scene, thing, spots) == "table"
            ),
        )
        alone = len(gaps) == 1 or (len(gaps) > 1 and gaps[1][0] > _APART_M)
        if gaps and gaps[0][0] < _BESIDE_M and alone:
            name = gaps[0][1]
            # Next to two cards is next to neither.
            found[name] = "" if name in found else card.name
    return {name: card for name, card in found.items() if card}


def _gap(card: SceneObject, thing: SceneObject, spots: Mapping[str, Spot]) -> float:
    one, other = spots[card.name], spots[thing.name]
    return float(np.hypot(one.x - other.x, one.y - other.y) - card.radius_m - thing.radius_m)

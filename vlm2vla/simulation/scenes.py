"""What lies on the table, from a seed: objects to hold, things to put them on, printed pictures, light and jitter.

Pure numbers; knows no MuJoCo. Positions in the manipulation frame as it is when an episode begins: +x away from the
robot along its arm, +y to the left (the robot's driving direction), origin on the floor under the middle of the base.
"""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from vlm2vla.errors import ConfigError

Kind = Literal["cube", "cylinder", "can", "ball", "box", "bowl", "plate", "tray", "card"]
GRASPABLE: tuple[Kind, ...] = ("cube", "cylinder", "can", "ball")
# Held too, but only where a task asks for it: long, lying across, to be grasped with a turned wrist.
TURNED: Kind = "box"
CONTAINERS: tuple[Kind, ...] = ("plate", "bowl", "tray")

COLOURS = {
    "red": (0.85, 0.10, 0.10),
    "green": (0.10, 0.60, 0.20),
    "blue": (0.10, 0.28, 0.85),
    "yellow": (0.97, 0.82, 0.10),
    "orange": (0.96, 0.48, 0.06),
    "purple": (0.48, 0.18, 0.66),
    "pink": (0.95, 0.50, 0.68),
    "white": (0.94, 0.94, 0.92),
    "brown": (0.42, 0.25, 0.13),
    "turquoise": (0.10, 0.70, 0.70),
}

SYMBOLS = ("star", "triangle", "heart", "moon", "sun", "tree", "arrow", "cross", "square", "circle") + tuple(
    "0123456789"
)
TABLE_TEXTURES = ("light wood", "dark wood", "grey cloth", "marble", "white board", "green felt")

# Most of each that a scene can hold: the bodies that the simulator keeps ready.
MAX_GRASPABLE, MAX_CONTAINERS, MAX_CARDS = 6, 3, 3

# Where objects may stand, manipulation frame, metres: within reach of the arm (0.34 to 0.86 m) and of the view.
REGION_X = (0.50, 0.78)
REGION_Y = (-0.26, 0.26)
# A box lies at such an angle (radians, to either side), and no further away than a turned hand reaches.
BOX_YAW = (1.22, 1.36)
BOX_FURTHEST_X = 0.69

# Fingers reach this far beyond a held object to either side; the next object begins no nearer.
_CLEARANCE = 0.055
_CARD_CLEARANCE = 0.006
# Half the width of the open hand, and how steeply it rises behind the fingertips (30 degrees).
_HAND_HALF, _HAND_SLOPE = 0.085, 0.577
# Room under the palm, over the point between the fingertips.
_UNDER_PALM = 0.045
_TRIES = 400


@dataclass(frozen=True)
class SceneObject:
    """One thing on the table.

    Attributes:
        name: Unique in its scene and said like that: "red cube", "star card".
        kind: What it is.
        colour: Name of its colour in `COLOURS`; of a card, the colour of the ink.
        size_m: Extent along its own x, y and z before it is turned, metres.
        position: (x, y) of its middle on the table, manipulation frame, metres.
        yaw: Turn about z, radians, counter-clockwise from above.
        symbol: What is printed on a card ("star", "7"), else "".
        beside: Name of the card that it was put next to, else "".
    """

    name: str
    kind: Kind
    colour: str
    size_m: tuple[float, float, float]
    position: tuple[float, float]
    yaw: float = 0.0
    symbol: str = ""
    beside: str = ""

    @property
    def graspable(self) -> bool:
        """The gripper can hold it."""
        return self.kind in (*GRASPABLE, TURNED)

    @property
    def container(self) -> bool:
        """Something can be put on it or in it."""
        return self.kind in CONTAINERS

    @property
    def radius_m(self) -> float:
        """Radius of a circle about `position` that holds the object."""
        if self.kind in ("cube", "box", "tray", "card"):
            return float(np.hypot(self.size_m[0], self.size_m[1]) / 2)
        return max(self.size_m[0], self.size_m[1]) / 2


@dataclass(frozen=True)
class Look:
    """Light, textures and small errors of the cameras: what changes a picture and no physics.

    Attributes:
        table_texture: Name in `TABLE_TEXTURES`; `texture_seed` draws its grain.
        floor_colour: Red, green, blue 0..1.
        light_position: Of the lamp, relative to the middle of the table, manipulation frame.
        light_strength, ambient: Brightness of the lamp and of everything else.
        camera_shift_m, camera_turn_rad, camera_zoom: External camera: how far it stands from its usual place, how it
            is turned about its own axes, factor on its field of view.
    """

    table_texture: str = "light wood"
    texture_seed: int = 0
    floor_colour: tuple[float, float, float] = (0.62, 0.62, 0.60)
    light_position: tuple[float, float, float] = (-0.3, 0.4, 1.6)
    light_strength: float = 0.5
    ambient: float = 0.42
    camera_shift_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    camera_turn_rad: tuple[float, float, float] = (0.0, 0.0, 0.0)
    camera_zoom: float = 1.0


@dataclass(frozen=True)
class Scene:
    """Everything that the simulator needs to begin: same scene, same episode.

    Attributes:
        seed: What it was made from.
        objects: Graspable objects first, then containers, then cards.
        table_height_m: Height of the table's top over the floor.
        look: Light, textures, camera jitter.
        ee_start: Where the end-effector begins: x, y, and height over the table.
    """

    seed: int
    objects: tuple[SceneObject, ...]
    table_height_m: float = 0.72
    look: Look = Look()
    ee_start: tuple[float, float, float] = (0.45, 0.0, 0.20)

    def find(self, name: str) -> SceneObject:
        """The object called `name`.

        Raises:
            ConfigError: There is none.
        """
        for thing in self.objects:
            if thing.name == name:
                return thing
        raise ConfigError(f"no {name!r} in this scene; there is {', '.join(thing.name for thing in self.objects)}")

    @property
    def graspable(self) -> tuple[SceneObject, ...]:
        """What the gripper can hold."""
        return tuple(thing for thing in self.objects if thing.graspable)

    @property
    def containers(self) -> tuple[SceneObject, ...]:
        """What things can be put on or in."""
        return tuple(thing for thing in self.objects if thing.container)

    @property
    def cards(self) -> tuple[SceneObject, ...]:
        """The printed pictures."""
        return tuple(thing for thing in self.objects if thing.kind == "card")


@dataclass(frozen=True)
class SceneNeeds:
    """What a task asks of a scene; the rest is left to the seed.

    Attributes:
        graspable: At least so many objects to hold.
        containers: At least so many things to put them on.
        cards: At least so many printed pictures.
        beside_cards: So many cards have exactly one graspable object next to them; all other objects keep away from
            the cards, so that "the object next to the star" has one answer.
        kinds: Kinds that must be there, e.g. ("plate",) or ("cube", "bowl").
    """

    graspable: int = 1
    containers: int = 0
    cards: int = 0
    beside_cards: int = 0
    kinds: tuple[Kind, ...] = ()


def make_scene(seed: int, *, require: SceneNeeds | None = None) -> Scene:
    """3 to 6 objects (graspable ones and containers), up to 3 cards, all within reach and apart from each other.

    Raises:
        ConfigError: More is asked for than fits.
    """
    needs = _checked(require or SceneNeeds())
    for attempt in range(_TRIES):
        rng = np.random.default_rng([seed, attempt])
        things = _choose(rng, needs)
        placed = _place(rng, things, needs)
        if placed is not None:
            height = round(float(rng.uniform(0.69, 0.75)), 4)
            low, high = (0.40, -0.08, 0.17), (0.50, 0.08, 0.23)
            start = tuple(round(float(value), 4) for value in rng.uniform(low, high))
            return Scene(seed, placed, height, _look(rng), start)
    raise ConfigError(f"seed {seed}: {needs} does not fit on the table; ask for less")


def _checked(needs: SceneNeeds) -> SceneNeeds:
    unknown = [kind for kind in needs.kinds if kind not in get_args(Kind)]
    if unknown:
        raise ConfigError(f"no kind of object {unknown[0]!r}; known: {', '.join(get_args(Kind))}")
    limits = {"graspable": MAX_GRASPABLE, "containers": MAX_CONTAINERS, "cards": MAX_CARDS, "beside_cards": MAX_CARDS}
    _check_counts(needs, limits)
    held = sum(kind in (*GRASPABLE, TURNED) for kind in needs.kinds)
    under = sum(kind in CONTAINERS for kind in needs.kinds)
    needs = replace(
        needs,
        graspable=max(needs.graspable, held, needs.beside_cards),
        containers=max(needs.containers, under),
        cards=max(needs.cards, needs.beside_cards),
    )
    _check_counts(needs, limits)
    return needs


def _check_counts(needs: SceneNeeds, limits: dict[str, int]) -> None:
    for field, most in limits.items():
        if not 0 <= getattr(needs, field) <= most:
            raise ConfigError(f"a scene holds 0 to {most} {field}, not {getattr(needs, field)}")


def _choose(rng: np.random.Generator, needs: SceneNeeds) -> list[SceneObject]:
    containers = max(needs.containers, int(rng.integers(0, 3)))
    low = max(needs.graspable, 3 - containers, 1)
    high = max(low, min(MAX_GRASPABLE, 6 - containers))
    graspable = int(rng.integers(low, high + 1))
    cards = max(needs.cards, int(rng.integers(0, 3)) if needs.beside_cards == 0 else needs.cards)
    held: list[Kind] = [kind for kind in needs.kinds if kind in (*GRASPABLE, TURNED)]
    kinds = _fill(rng, held, GRASPABLE, graspable)
    kinds += _fill(rng, [kind for kind in needs.kinds if kind in CONTAINERS], CONTAINERS, containers)
    things: list[SceneObject] = []
    used: set[str] = set()
    # Every colour at most once among the objects, so that a colour alone also names one thing.
    colours = [str(name) for name in rng.permutation(list(COLOURS))]
    for kind in kinds:
        colour = colours.pop()
        things.append(SceneObject(f"{colour} {kind}", kind, colour, _size(rng, kind), (0.0, 0.0)))
    inks = ("red", "green", "blue", "orange", "purple", "brown")
    for symbol in rng.permutation(list(SYMBOLS)):
        if len(used) == cards:
            break
        used.add(str(symbol))
        side = round(float(rng.uniform(0.062, 0.078)), 4)
        ink = str(rng.choice(inks))
        things.append(SceneObject(f"{symbol} card", "card", ink, (side, side, 0.001), (0.0, 0.0), 0.0, str(symbol)))
    return things


def _fill(rng: np.random.Generator, wanted: list[Kind], kinds: tuple[Kind, ...], count: int) -> list[Kind]:
    return wanted + [kinds[int(rng.integers(len(kinds)))] for _ in range(count - len(wanted))]


def _size(rng: np.random.Generator, kind: Kind) -> tuple[float, float, float]:
    def between(low: float, high: float) -> float:
        return round(float(rng.uniform(low, high)), 4)

    if kind == "cube":
        side = between(0.032, 0.044)
        return side, side, side
    if kind == "cylinder":
        width = between(0.030, 0.042)
        return width, width, between(0.045, 0.065)
    if kind == "can":
        width = between(0.046, 0.056)
        return width, width, between(0.070, 0.090)
    if kind == "ball":
        width = between(0.038, 0.052)
        return width, width, width
    if kind == "box":
        return between(0.130, 0.150), between(0.056, 0.064), between(0.030, 0.036)
    if kind == "bowl":
        return BOWL_SIZE
    if kind == "plate":
        return PLATE_SIZE
    return between(0.17, 0.20), between(0.13, 0.15), 0.022


# Turned shapes come in one size: their meshes are made once.
BOWL_SIZE = (0.150, 0.150, 0.050)
PLATE_SIZE = (0.175, 0.175, 0.018)


def _place(rng: np.random.Generator, things: list[SceneObject], needs: SceneNeeds) -> tuple[SceneObject, ...] | None:
    """Positions by chance, the large things first; None when there was no room."""
    cards = [thing for thing in things if thing.kind == "card"]
    others = [thing for thing in things if thing.kind != "card"]
    paired = dict(zip([thing.name for thing in others if thing.graspable], cards[: needs.beside_cards], strict=False))
    done: dict[str, SceneObject] = {}
    order = sorted(others, key=lambda thing: -thing.radius_m)
    for thing in cards[: needs.beside_cards] + order + cards[needs.beside_cards :]:
        card = done.get(paired[thing.name].name) if thing.name in paired else None
        placed = _try_place(rng, thing, card, list(done.values()), strict_cards=needs.beside_cards > 0)
        if placed is None:
            return None
        done[thing.name] = placed
    return tuple(done[thing.name] for thing in things)


def _try_place(
    rng: np.random.Generator,
    thing: SceneObject,
    card: SceneObject | None,
    others: list[SceneObject],
    *,
    strict_cards: bool,
) -> SceneObject | None:
    margin = max(0.0, thing.radius_m - 0.03)
    furthest = BOX_FURTHEST_X if thing.kind == TURNED else REGION_X[1] - margin
    for _ in range(60):
        if card is None:
            x = rng.uniform(REGION_X[0] + margin, furthest)
            y = rng.uniform(REGION_Y[0] + margin, REGION_Y[1] - margin)
        else:
            angle = rng.uniform(-np.pi, np.pi)
            away = card.radius_m + thing.radius_m + 0.012
            x, y = card.position[0] + away * np.cos(angle), card.position[1] + away * np.sin(angle)
            if not (REGION_X[0] <= x <= REGION_X[1] and REGION_Y[0] <= y <= REGION_Y[1]):
                continue
        trial = replace(
            thing,
            position=(round(float(x), 4), round(float(y), 4)),
            yaw=_yaw(rng, thing.kind),
            beside=card.name if card is not None else "",
        )
        if all(_apart(trial, other, strict_cards) for other in others):
            return trial
    return None


def _yaw(rng: np.random.Generator, kind: Kind) -> float:
    if kind in ("bowl", "plate"):
        return 0.0
    if kind == TURNED:
        return round(float(rng.uniform(*BOX_YAW) * rng.choice((-1, 1))), 4)
    # Closing fingers turn a cube that stands only a little askew.
    return round(float(rng.uniform(-0.35, 0.35)), 4)


def _apart(one: SceneObject, other: SceneObject, strict_cards: bool) -> bool:
    distance = float(np.hypot(one.position[0] - other.position[0], one.position[1] - other.position[1]))
    gap = distance - one.radius_m - other.radius_m
    if "card" in (one.kind, other.kind):
        together = one.beside == other.name or other.beside == one.name
        if together or not strict_cards:
            return gap >= _CARD_CLEARANCE
        return gap >= 0.05
    if not (one.graspable or other.graspable):
        return gap >= 0.02
    return gap >= _CLEARANCE and not _in_the_way(one, other) and not _in_the_way(other, one)


def _in_the_way(obstacle: SceneObject, target: SceneObject) -> bool:
    """The hand comes down on `target` at a slope from the robot's side: would it meet `obstacle` on the way?

    On a box it comes down along the box.
    """
    x, y = target.position[0] - obstacle.position[0], target.position[1] - obstacle.position[1]
    if target.kind == TURNED:
        cos, sin = float(np.cos(target.yaw)), float(np.sin(target.yaw))
        x, y = cos * x + sin * y, cos * y - sin * x
    nearer, beside = x, abs(y) - obstacle.radius_m
    if not target.graspable or beside > _HAND_HALF or nearer < 0:
        return False
    under_hand = target.size_m[2] / 2 + min((nearer - obstacle.radius_m) * _HAND_SLOPE - 0.015, _UNDER_PALM)
    return obstacle.size_m[2] > under_hand


def _look(rng: np.random.Generator) -> Look:
    def around(spread: float) -> tuple[float, float, float]:
        return tuple(float(value) for value in rng.uniform(-spread, spread, 3).round(4))

    grey = float(rng.uniform(0.45, 0.72))
    floor = np.clip(grey + rng.uniform(-0.05, 0.05, 3), 0, 1)
    return Look(
        table_texture=str(rng.choice(TABLE_TEXTURES)),
        texture_seed=int(rng.integers(0, 2**31)),
        floor_colour=tuple(float(value) for value in floor.round(3)),
        light_position=tuple(float(v) for v in (rng.uniform(-0.9, 0.5), rng.uniform(-0.8, 0.8), rng.uniform(1.2, 2.0))),
        light_strength=round(float(rng.uniform(0.38, 0.58)), 3),
        ambient=round(float(rng.uniform(0.34, 0.48)), 3),
        camera_shift_m=around(0.025),
        camera_turn_rad=around(0.012),
        camera_zoom=round(float(rng.uniform(0.97, 1.03)), 4),
    )

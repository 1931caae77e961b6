"""Questions about two pictures of one scene: what changed, where the gripper is nearer, what moved."""

import random
from typing import Any

from vlm2vla.simulation.pictures.questions.asked import a, label, the
from vlm2vla.simulation.pictures.questions.looks import opening
from vlm2vla.simulation.pictures.truth import Thing, View

_CLEARLY_CM = 3.0


def changes(first: View, second: View, rng: random.Random, number: int) -> list[dict[str, Any]]:
    """Rows of pairs.jsonl for pictures `number` and `number` + 1."""
    rows: dict[str, str] = {}
    for make in (_nearer, _nearer, _higher, _gripper_moved, _thing_moved, _thing_moved, _holding, _opened, _what_moved):
        made = make(first, second, rng)
        if made is not None:
            rows.setdefault(*made)
    return [
        {"first": number, "second": number + 1, "question": question, "answer": answer, "skill": "change"}
        for question, answer in rows.items()
    ]


def _nearer(first: View, second: View, rng: random.Random) -> tuple[str, str] | None:
    """In which picture the gripper is closer to a thing."""
    twins = _twins(first, second)
    if not twins:
        return None
    one, other = rng.choice(twins)
    before, after = (_away(thing) for thing in (one, other))
    noun = the(first, one, rng)
    if noun is None or abs(before - after) < _CLEARLY_CM:
        return None
    question = rng.choice(
        (f"Which picture shows the gripper closer to {noun}?", f"In which picture is the gripper nearer to {noun}?")
    )
    return question, "the first" if before < after else "the second"


def _higher(first: View, second: View, rng: random.Random) -> tuple[str, str] | None:
    """In which picture the gripper is higher."""
    rise = second.gripper.z_cm - first.gripper.z_cm
    if abs(rise) < _CLEARLY_CM:
        return None
    higher = rng.random() < 0.5
    word = "higher" if higher else "lower"
    return f"In which picture is the gripper {word}?", "the second" if (rise > 0) == higher else "the first"


def _gripper_moved(first: View, second: View, rng: random.Random) -> tuple[str, str] | None:
    """To which side the gripper moved."""
    before, after = first.gripper, second.gripper
    axis = rng.choice(("left or right", "forward or back", "up or down"))
    way = {
        "left or right": after.y_cm - before.y_cm,
        "forward or back": after.x_cm - before.x_cm,
        "up or down": after.z_cm - before.z_cm,
    }[axis]
    question = f"Did the gripper move {axis} from the first picture to the second?"
    plus, minus = axis.split(" or ")
    if abs(way) < 0.3:
        return question, "neither"
    return (question, plus if way > 0 else minus) if abs(way) > 2.0 else None


def _thing_moved(first: View, second: View, rng: random.Random) -> tuple[str, str] | None:
    """Whether a thing is elsewhere."""
    twins = _twins(first, second)
    moved = [pair for pair in twins if _way(*pair) > _CLEARLY_CM]
    if not twins:
        return None
    one, other = rng.choice(moved) if moved and rng.random() < 0.6 else rng.choice(twins)
    noun = the(first, one, rng)
    if noun is None or 0.3 < _way(one, other) < _CLEARLY_CM:
        return None
    return f"Did {noun} move?", "yes" if _way(one, other) > _CLEARLY_CM else "no"


def _what_moved(first: View, second: View, rng: random.Random) -> tuple[str, str] | None:
    """Which thing moved."""
    ways = [(_way(one, other), one) for one, other in zip(first.things, second.things, strict=True)]
    moved = [thing for way, thing in ways if way > 0.3]
    if any(0.3 < way < _CLEARLY_CM for way, _ in ways) or any(not thing.seen for thing in moved):
        return None
    question = rng.choice(("Which object was moved?", "What changed on the table?"))
    return question, ", ".join(map(label, moved)) or "nothing"


def _holding(first: View, second: View, rng: random.Random) -> tuple[str, str] | None:
    """Whether something was taken up or let go."""
    before, after = first.gripper.holding, second.gripper.holding
    if before == after:
        return "Was anything picked up or put down?", "no"
    things = {thing.name: thing for thing in second.things}
    if before and after:
        return None
    if after:
        return "Was anything picked up or put down?", f"{a(label(things[after]))} was picked up"
    return "Was anything picked up or put down?", f"{a(label(things[before]))} was put down"


def _opened(first: View, second: View, rng: random.Random) -> tuple[str, str] | None:
    """Whether the gripper opened or closed."""
    states = [("closed" if view.gripper.holding else opening(view)) for view in (first, second)]
    if "" in states:
        return None
    if states[0] == states[1]:
        return "Did the gripper open or close?", "neither"
    return "Did the gripper open or close?", "it opened" if states[1] == "open" else "it closed"


def _twins(first: View, second: View) -> list[tuple[Thing, Thing]]:
    """The same thing in both pictures, where both show it."""
    pairs = zip(first.things, second.things, strict=True)
    return [(one, other) for one, other in pairs if one.seen and other.seen and not one.card]


def _away(thing: Thing) -> float:
    return (thing.dx_cm**2 + thing.dy_cm**2 + thing.dz_cm**2) ** 0.5


def _way(one: Thing, other: Thing) -> float:
    return ((one.x_cm - other.x_cm) ** 2 + (one.y_cm - other.y_cm) ** 2 + (one.z_cm - other.z_cm) ** 2) ** 0.5

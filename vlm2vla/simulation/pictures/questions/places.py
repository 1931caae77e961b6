"""Questions about where things are: relations, extremes, regions, centimetres, what lies on and beside what.

Left is +y, behind is farther from the robot (+x): its own frame, and that of the picture.
"""

import random

from vlm2vla.simulation.pictures.questions.asked import (
    YES_NO,
    Asked,
    all_clear,
    half_steps,
    label,
    matching,
    seen_objects,
    the,
    whole,
)
from vlm2vla.simulation.pictures.truth import Thing, View

# Differences below this are not asked about, cm.
_CLEARLY_CM = 2.5
_BEST_BY_CM = 1.5
_REGIONS = {"y": ((-8.7, 8.7), ("right", "middle", "left")), "x": ((59.5, 68.5), ("near", "middle", "far"))}
_EDGE_CM = 1.2
_RELATIONS = {
    "left": ("Is {a} to the left of {b}?", "Is {a} left of {b}?"),
    "right": ("Is {a} to the right of {b}?", "Is {a} right of {b}?"),
    "behind": ("Is {a} behind {b}?", "Is {a} farther from the robot than {b}?"),
    "in front": ("Is {a} in front of {b}?", "Is {a} nearer to the robot than {b}?"),
}
_POINT = ("Point to {}.", "Where is {}?", "Locate {}.", "Give the position of {}.")


def relation(view: View, rng: random.Random) -> Asked | None:
    """How two things stand to each other, or what lies on what."""
    if rng.random() < 0.22:
        return _lying(view, rng)
    pair = _two(view, rng)
    if pair is None:
        return None
    one, other = pair
    first, second = the(view, one, rng), the(view, other, rng)
    ahead, left = one.x_cm - other.x_cm, one.y_cm - other.y_cm
    true = {"left": left, "right": -left, "behind": ahead, "in front": -ahead}
    if rng.random() < 0.25:
        best = max(true, key=true.get)
        if true[best] < 1.5 * sorted(true.values())[-2] + _CLEARLY_CM:
            return None
        question = f"Where is {first}, seen from {second}: left, right, behind or in front?"
        return Asked("relation", question, best, view.index(one), options=tuple(true), scorer="choice")
    word = rng.choice(tuple(true))
    if abs(true[word]) < _CLEARLY_CM:
        return None
    question = rng.choice(_RELATIONS[word]).format(a=first, b=second)
    answer = "yes" if true[word] > 0 else "no"
    return Asked("relation", question, answer, view.index(one), options=YES_NO, scorer="yes_no")


def extreme(view: View, rng: random.Random) -> Asked | None:
    """The leftmost object, the nearest one, the one closest to the gripper."""
    cards = rng.random() < 0.12
    things = view.cards if cards else tuple(thing for thing in view.objects if not thing.held)
    if len(things) < 2 or not all_clear(things):
        return None
    hand = view.gripper
    keys = {
        "leftmost": lambda thing: -thing.y_cm,
        "rightmost": lambda thing: thing.y_cm,
        "nearest to the robot": lambda thing: thing.x_cm,
        "farthest from the robot": lambda thing: -thing.x_cm,
        "closest to the gripper": lambda thing: ((thing.x_cm - hand.x_cm) ** 2 + (thing.y_cm - hand.y_cm) ** 2) ** 0.5,
    }
    word = rng.choice(tuple(keys))
    first, second = sorted(things, key=keys[word])[:2]
    if keys[word](second) - keys[word](first) < _BEST_BY_CM:
        return None
    noun = "card" if cards else "object"
    side = word in ("leftmost", "rightmost")
    noun += " on the table" if hand.holding and not cards else ""
    question = f"What is the {word} {noun}?" if side else f"Which {noun} is {word}?"
    return Asked("extreme", question, label(first), view.index(first))


def region(view: View, rng: random.Random) -> Asked | None:
    """In which third of the table a thing is."""
    axis = rng.choice(("x", "y"))
    thing = _any(view, rng)
    if thing is None or thing.held:
        return None
    value = thing.x_cm if axis == "x" else thing.y_cm
    limits, words = _REGIONS[axis]
    if min(abs(value - limit) for limit in limits) < _EDGE_CM:
        return None
    answer = words[sum(value > limit for limit in limits)]
    options = ", ".join(sorted(words[:2])) + f" or {words[2]}" if axis == "y" else "near, middle or far"
    if axis == "y":
        options = "left, middle or right"
    question = f"In which part of the table is {the(view, thing, rng)}: {options}?"
    return Asked("region", question, answer, view.index(thing), options=words, scorer="choice")


def pointing(view: View, rng: random.Random) -> Asked | None:
    """The x and y in whole centimetres; x, y and z of the gripper."""
    if rng.random() < 0.12:
        hand = view.gripper
        question = rng.choice(("Where is the gripper?", "Locate the gripper.", "Give the position of the gripper."))
        return Asked("pointing", question, whole(hand.x_cm, hand.y_cm, hand.z_cm), scorer="list_cm")
    thing = _any(view, rng)
    if thing is None:
        return None
    question = rng.choice(_POINT).format(the(view, thing, rng))
    return Asked("pointing", question, whole(thing.x_cm, thing.y_cm), view.index(thing), scorer="list_cm")


def offset(view: View, rng: random.Random) -> Asked | None:
    """From the gripper to a thing, in numbers, in words, or only the directions."""
    thing = _any(view, rng)
    if thing is None or thing.held:
        return None
    noun, index = the(view, thing, rng), view.index(thing)
    values = (thing.dx_cm, thing.dy_cm, thing.dz_cm)
    sort = rng.choice(("list", "list", "words", "words", "directions", "axis"))
    if sort == "list":
        question = rng.choice(
            (
                "What is the offset from the gripper to {}?",
                "From the gripper to {}, in cm:",
                "How far is {} from the gripper?",
            )
        ).format(noun)
        answer = "[" + ", ".join(f"{half_steps(value):.1f}" for value in values) + "]"
        return Asked("offset", question, answer, index, scorer="list_cm")
    if sort == "words":
        question = rng.choice(
            ("Which way and how far is it from the gripper to {}?", "Say in words how to get from the gripper to {}.")
        ).format(noun)
        return Asked("offset", question, in_words(*values), index, scorer="words_cm")
    if sort == "directions":
        words = [word for word, value in zip(_directions(values), values, strict=True) if abs(value) > 2.0]
        if any(0.8 < abs(value) <= 2.0 for value in values):
            return None
        question = rng.choice(("In which directions is {} from the gripper?", "Seen from the gripper, where is {}?"))
        return Asked("offset", question.format(noun), ", ".join(words) or "here", index)
    axis = rng.randrange(3)
    if abs(values[axis]) < 1.5:
        return None
    pair = ("forward or back", "left or right", "up or down")[axis]
    question = f"How far {pair} is {noun} from the gripper?"
    answer = f"{_directions(values)[axis]} {abs(half_steps(values[axis])):g} cm"
    return Asked("offset", question, answer, index, scorer="words_cm")


def beside(view: View, rng: random.Random) -> Asked | None:
    """What is next to a card, and which card is next to a thing."""
    pairs = [
        (thing, card) for thing in seen_objects(view) for card in view.cards if thing.beside == card.name and card.seen
    ]
    if not pairs:
        return None
    thing, card = rng.choice(pairs)
    if rng.random() < 0.65:
        noun = the(view, card, rng)
        question = rng.choice(("What is next to {}?", "Which object is beside {}?", "What lies near {}?")).format(noun)
        return Asked("beside", question, label(thing), view.index(thing))
    noun = the(view, thing, rng)
    if noun is None:
        return None
    question = rng.choice(("Which card is next to {}?", "What does the card beside {} show?")).format(noun)
    return Asked("beside", question, card.symbol, view.index(card))


def in_words(forward: float, left: float, up: float) -> str:
    """As in "forward 12 cm, left 3.5 cm, down 8 cm"; what rounds to nothing is left out."""
    parts = [
        f"{word} {abs(half_steps(value)):g} cm"
        for word, value in zip(_directions((forward, left, up)), (forward, left, up), strict=True)
        if half_steps(value)
    ]
    return ", ".join(parts) or "here"


def _directions(values: tuple[float, float, float]) -> tuple[str, str, str]:
    pairs = (("forward", "back"), ("left", "right"), ("up", "down"))
    return tuple(pair[value < 0] for pair, value in zip(pairs, values, strict=True))


def _any(view: View, rng: random.Random) -> Thing | None:
    """An object, now and then a card, that has a name of its own."""
    things = [thing for thing in view.things if thing.seen and (rng.random() < 0.4 or not thing.card)]
    things = [thing for thing in things if the(view, thing, rng)]
    return rng.choice(things) if things else None


def _two(view: View, rng: random.Random) -> tuple[Thing, Thing] | None:
    things = [thing for thing in view.things if thing.seen and not thing.held and the(view, thing, rng)]
    things = [thing for thing in things if not thing.card or rng.random() < 0.5]
    return tuple(rng.sample(things, 2)) if len(things) > 1 else None


def _lying(view: View, rng: random.Random) -> Asked | None:
    """What lies on the plate; does the cube lie on the plate."""
    places = [
        thing for thing in seen_objects(view) if thing.kind in ("plate", "bowl", "tray") and the(view, thing, rng)
    ]
    if not places or not all_clear(view.objects):
        return None
    place = rng.choice(places)
    noun, word = the(view, place, rng), "in" if place.kind == "bowl" else "on"
    inside = [thing for thing in view.objects if thing.on == place.name]
    if rng.random() < 0.5:
        if len(inside) > 1:
            return None
        answer = label(inside[0]) if inside else "nothing"
        return Asked("relation", f"What is {word} {noun}?", answer, view.index(place))
    others = [thing for thing in seen_objects(view) if thing.kind not in ("plate", "bowl", "tray")]
    if not others:
        return None
    thing = rng.choice(inside) if inside and rng.random() < 0.6 else rng.choice(others)
    first = the(view, thing, rng)
    if first is None or len(matching(view, thing.colour, thing.kind)) > 1:
        return None
    answer = "yes" if thing in inside else "no"
    return Asked("relation", f"Is {first} {word} {noun}?", answer, view.index(thing), options=YES_NO, scorer="yes_no")

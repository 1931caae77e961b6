"""Questions about what things are: which ones, their colour, shape, number, size, what is printed on cards."""

import random

from vlm2vla.simulation.instructions import words_of
from vlm2vla.simulation.pictures.questions.asked import (
    YES_NO,
    Asked,
    a,
    all_clear,
    label,
    matching,
    picture_of,
    plural,
    rarely,
    seen_objects,
    the,
)
from vlm2vla.simulation.pictures.truth import Thing, View
from vlm2vla.simulation.scenes import COLOURS, CONTAINERS, GRASPABLE, SYMBOLS

KINDS = (*GRASPABLE, *CONTAINERS)
_COLOUR = ("What colour is {}?", "Which colour does {} have?", "Tell me the colour of {}.")
_SHAPE = ("What is {}?", "What kind of thing is {}?", "What shape is {}?")
_EXISTS = ("Is there {}?", "Do you see {}?", "Is there {} in the picture?")
_COUNT = ("How many {} are there?", "How many {} do you see?", "Count the {}.")
# So much more says that one thing is clearly taller or larger than the other.
_TALLER, _LARGER = 1.35, 1.6
_TABLES = {
    "light wood": "light wooden table",
    "dark wood": "dark wooden table",
    "grey cloth": "table with a grey cloth",
    "marble": "marble table",
    "white board": "white table",
    "green felt": "green table",
}


def objects(view: View, rng: random.Random) -> Asked | None:
    """All objects, from left to right."""
    things = from_left(view.objects)
    if things is None or not all_clear(things):
        return None
    question = rng.choice(
        ("Which objects are there, from left to right?", "Name the objects from left to right.", "List all objects.")
    )
    return Asked("objects", question, ", ".join(map(label, things)) or "none")


def colour(view: View, rng: random.Random) -> Asked | None:
    """Colour of the only thing of its kind, or of a kind that is all of one colour."""
    thing = _one(
        rng, [thing for thing in seen_objects(view) if len({t.colour for t in matching(view, "", thing.kind)}) == 1]
    )
    if thing is None:
        return None
    alone = len(matching(view, "", thing.kind)) == 1
    noun = f"the {thing.kind}" if alone else f"each of the {plural(thing.kind)}"
    return Asked(
        "colour",
        rng.choice(_COLOUR).format(noun),
        thing.colour,
        view.index(thing) if alone else None,
        options=tuple(COLOURS),
        scorer="choice",
    )


def held_colour(view: View, rng: random.Random) -> Asked | None:
    """Colour or shape of what is between the fingers."""
    held = next((thing for thing in seen_objects(view) if thing.held), None)
    if held is None:
        return None
    if rng.random() < 0.5:
        question = rng.choice(("What colour is the thing in the gripper?", "What colour is the object that is held?"))
        return Asked("colour", question, held.colour, view.index(held), options=tuple(COLOURS), scorer="choice")
    question = rng.choice(("What shape is the thing in the gripper?", "What kind of thing is the gripper holding?"))
    return Asked("shape", question, held.kind, view.index(held), options=KINDS, scorer="choice")


def shape(view: View, rng: random.Random) -> Asked | None:
    """Kind of the only thing of its colour."""
    thing = _one(rng, [thing for thing in seen_objects(view) if len(matching(view, thing.colour)) == 1])
    if thing is None:
        return None
    noun = f"the {thing.colour} {rng.choice(('object', 'thing'))}"
    return Asked(
        "shape", rng.choice(_SHAPE).format(noun), thing.kind, view.index(thing), options=KINDS, scorer="choice"
    )


def count(view: View, rng: random.Random) -> Asked | None:
    """How many objects, objects of a kind, of a colour, or cards."""
    sort = rng.choice(("all", "kind", "kind", "colour", "colour", "both", "card"))
    present = rng.random() < 0.85
    thing = _one(rng, view.objects) if present else None
    kind = thing.kind if thing else rng.choice(KINDS)
    shade = thing.colour if thing else rng.choice(tuple(COLOURS))
    noun, things = {
        "all": (rng.choice(("objects", "things")) + " apart from cards", list(view.objects)),
        "kind": (plural(kind), matching(view, "", kind)),
        "colour": (f"{shade} objects", matching(view, shade)),
        "both": (f"{shade} {plural(kind)}", matching(view, shade, kind)),
        "card": ("cards", list(view.cards)),
    }[sort]
    if sort == "all" and rng.random() < 0.6:
        noun = "objects"
    if not all_clear(things) or (not things and not all_clear(view.things)):
        return None
    number = str(len(things))
    return Asked("count", rng.choice(_COUNT).format(noun), number, scorer="number")


def exists(view: View, rng: random.Random) -> Asked | None:
    """Is there such a thing: yes and no about as often; the wrong ones are nearly right."""
    if rng.random() < 0.12:
        return _card_exists(view, rng)
    wanted = _pick(view, rng)
    if wanted is None:
        return None
    phrase, answer, thing = wanted
    return Asked("exists", rng.choice(_EXISTS).format(a(phrase)), answer, thing, options=YES_NO, scorer="yes_no")


def synonym(view: View, rng: random.Random) -> Asked | None:
    """The same questions, with other words for kinds and colours."""
    sort = rng.choice(("colour", "shape", "exists", "word"))
    synonyms = words_of("en")["synonyms"]
    if sort == "exists":
        wanted = _pick(view, rng, rare=True)
        if wanted is None:
            return None
        phrase, answer, index = wanted
        return Asked("synonym", rng.choice(_EXISTS).format(a(phrase)), answer, index, options=YES_NO, scorer="yes_no")
    thing = _one(rng, seen_objects(view))
    if thing is None:
        return None
    index = view.index(thing)
    if sort == "colour" and len(matching(view, "", thing.kind)) == 1 and thing.kind in synonyms["kinds"]:
        question = rng.choice(_COLOUR).format(f"the {synonyms['kinds'][thing.kind]}")
        return Asked("synonym", question, thing.colour, index, options=tuple(COLOURS), scorer="choice")
    if sort == "shape" and len(matching(view, thing.colour)) == 1:
        question = rng.choice(_SHAPE).format(f"the {synonyms['colours'][thing.colour]} object")
        return Asked("synonym", question, thing.kind, index, options=KINDS, scorer="choice")
    phrase = the(view, thing, rng, rare=True)
    if sort == "word" and phrase:
        question = f"{rng.choice(('Where is', 'Point to', 'Locate'))} {phrase}"
        question += "?" if question.startswith("Where") else "."
        answer = f"[{round(thing.x_cm)}, {round(thing.y_cm)}]"
        return Asked("synonym", question, answer, index, scorer="list_cm")
    return None


def size(view: View, rng: random.Random) -> Asked | None:
    """Which of two is taller, larger, lower, smaller."""
    things = [thing for thing in seen_objects(view) if the(view, thing, rng)]
    if len(things) < 2:
        return None
    one, other = rng.sample(things, 2)
    tall = rng.random() < 0.5
    first, second = (_tall(one), _tall(other)) if tall else (_large(one), _large(other))
    ratio = max(first, second) / min(first, second)
    if ratio < (_TALLER if tall else _LARGER) or label(one) == label(other):
        return None
    more = rng.random() < 0.6
    word = ("taller" if more else "lower") if tall else ("larger" if more else "smaller")
    answer = label(one if (first > second) == more else other)
    question = f"Which is {word}, {the(view, one, rng, plain=True)} or {the(view, other, rng, plain=True)}?"
    return Asked("size", question, answer, options=(label(one), label(other)), scorer="choice")


def symbol(view: View, rng: random.Random) -> Asked | None:
    """What is printed on cards."""
    cards = [card for card in view.cards if card.seen]
    sort = rng.choice(("only", "exists", "ink", "which", "list", "where"))
    if sort == "exists":
        return _card_exists(view, rng)
    card = _one(rng, cards)
    if card is None:
        return None
    index = view.index(card)
    if sort == "ink":
        question = f"What colour is {picture_of(card.symbol).removeprefix('the picture of ')} printed in?"
        return Asked("symbol", question, card.colour, index, options=tuple(COLOURS), scorer="choice")
    if sort == "only" and len(view.cards) == 1:
        question = rng.choice(("What is on the card?", "What is printed on the card?", "What does the card show?"))
        return Asked("symbol", question, card.symbol, index, options=SYMBOLS, scorer="choice")
    if sort == "list":
        ordered = from_left(view.cards)
        if ordered is None or not all_clear(ordered):
            return None
        question = rng.choice(
            ("Which cards are there, from left to right?", "What do the cards show, from left to right?")
        )
        return Asked("symbol", question, ", ".join(thing.symbol for thing in ordered))
    if sort == "where":
        return _side_card(view, rng)
    if len(view.cards) > 1 and sum(thing.colour == card.colour for thing in view.cards) == 1:
        question = f"What is printed in {card.colour} on a card?"
        return Asked("symbol", question, card.symbol, index, options=SYMBOLS, scorer="choice")
    return None


def caption(view: View, rng: random.Random) -> Asked | None:
    """One sentence about everything."""
    things = from_left(view.things)
    if things is None or not all_clear(things):
        return None
    listed = [a(label(thing)) for thing in things if not thing.held] or ["nothing"]
    text = listed[0] if len(listed) == 1 else ", ".join(listed[:-1]) + " and " + listed[-1]
    hand = f"holds {a(label(_held(view)))}" if view.gripper.holding else f"is {opening(view)}"
    if opening(view) == "":
        return None
    question = rng.choice(("Describe the picture.", "What do you see?", "Give a caption for this picture."))
    return Asked("caption", question, f"On a {_TABLES[view.table]}: {text}. The gripper {hand}.")


def opening(view: View) -> str:
    """Either "open" or "closed", or "" in between."""
    return "open" if view.gripper.open > 0.6 else "closed" if view.gripper.open < 0.15 else ""


def from_left(things: tuple[Thing, ...]) -> list[Thing] | None:
    """From left (+y) to right, or None where two are level."""
    ordered = sorted(things, key=lambda thing: -thing.y_cm)
    level = any(one.y_cm - other.y_cm < 0.7 for one, other in zip(ordered, ordered[1:], strict=False))
    return None if level else ordered


def _one(rng: random.Random, things: list[Thing] | tuple[Thing, ...]) -> Thing | None:
    return rng.choice(things) if things else None


def _held(view: View) -> Thing:
    return next(thing for thing in view.things if thing.held)


def _tall(thing: Thing) -> float:
    return thing.height_cm


def _large(thing: Thing) -> float:
    return thing.width_cm * thing.depth_cm


def _pick(view: View, rng: random.Random, *, rare: bool = False) -> tuple[str, str, int | None] | None:
    """(phrase, yes or no, index): half of the time something that is there, else something that is not."""
    there = seen_objects(view)
    thing = _one(rng, there)
    if rng.random() < 0.5:
        if thing is None:
            return None
        pair = rng.choice(
            ((thing.colour, thing.kind), (thing.colour, thing.kind), ("", thing.kind), (thing.colour, ""))
        )
        answer = "yes"
    else:
        kinds, shades = KINDS, tuple(COLOURS)
        # A colour and a kind that are both there, or one of them, but not together.
        near = [thing.kind for thing in there] if rng.random() < 0.6 else kinds
        nears = [thing.colour for thing in there] if rng.random() < 0.6 else shades
        pair = rng.choice(
            [(rng.choice(nears or shades), rng.choice(near or kinds))] * 3
            + [("", rng.choice(kinds)), (rng.choice(shades), "")]
        )
        if matching(view, *pair):
            return None
        answer, thing = "no", None
    index = view.index(thing) if thing is not None and len(matching(view, *pair)) == 1 else None
    shade, kind = rarely(*pair, rng) if rare else pair
    return f"{shade} {kind or 'object'}".strip(), answer, index


def _card_exists(view: View, rng: random.Random) -> Asked | None:
    yes = rng.random() < 0.5
    card = _one(rng, [card for card in view.cards if card.seen])
    if yes and card is None:
        return None
    mark = card.symbol if yes else rng.choice(SYMBOLS)
    if not yes and any(card.symbol == mark for card in view.cards):
        return None
    question = rng.choice(("Is there a {} card?", "Do you see a card with {}?"))
    shown = mark if "{} card" in question else picture_of(mark).removeprefix("the picture of ")
    index = view.index(card) if yes else None
    return Asked("symbol", question.format(shown), "yes" if yes else "no", index, options=YES_NO, scorer="yes_no")


def _side_card(view: View, rng: random.Random) -> Asked | None:
    ordered = from_left(view.cards)
    if ordered is None or len(ordered) < 2 or not all_clear(ordered):
        return None
    side = rng.choice(("leftmost", "rightmost"))
    card = ordered[0] if side == "leftmost" else ordered[-1]
    question = f"What is on the {side} card?"
    return Asked("symbol", question, card.symbol, view.index(card), options=SYMBOLS, scorer="choice")

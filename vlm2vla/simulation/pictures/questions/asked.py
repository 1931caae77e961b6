"""One question, and how things are named in it so that the name fits one thing only."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from vlm2vla.simulation.instructions import words_of
from vlm2vla.simulation.pictures.truth import Thing, View

YES_NO = ("yes", "no")


@dataclass(frozen=True)
class Asked:
    """A question with its answer.

    Attributes:
        skill: What it takes to answer it.
        question, answer: In `language`; the answer in its one spelling.
        thing: Index in `View.things` of what it is about, or None.
        language: "en", "es", "zh" or "hi".
        options: All answers that come into question, where they are few.
        scorer: How an answer is compared: exact, choice, yes_no, number, list_cm.
        answers: Other spellings that are right as well.
    """

    skill: str
    question: str
    answer: str
    thing: int | None = None
    language: str = "en"
    options: tuple[str, ...] = ()
    scorer: str = "exact"
    answers: tuple[str, ...] = field(default=())

    def row(self) -> dict[str, Any]:
        """As it is written in questions.jsonl."""
        return {
            "skill": self.skill,
            "language": self.language,
            "question": self.question,
            "answer": self.answer,
            "thing": self.thing,
        }


Maker = Callable[[View, random.Random], Asked | None]
"""Makes a question about a picture, or None where there is nothing to ask."""


def fits(thing: Thing, colour: str = "", kind: str = "") -> bool:
    """A thing is of that colour and of that kind; "" fits everything. Cards have no colour, only their ink has."""
    return (not colour or (thing.colour == colour and not thing.card)) and (not kind or thing.kind == kind)


def matching(view: View, colour: str = "", kind: str = "") -> list[Thing]:
    """All things that fit, also those that nobody sees."""
    return [thing for thing in view.things if fits(thing, colour, kind)]


def seen_objects(view: View) -> list[Thing]:
    """Objects that can be asked about."""
    return [thing for thing in view.objects if thing.seen]


def all_clear(things: Sequence[Thing]) -> bool:
    """Every one of them is visible: they can be counted."""
    return all(thing.seen for thing in things)


def naming(view: View, thing: Thing) -> list[tuple[str, str]]:
    """(colour, kind) that name this thing and no other; "" leaves that word out."""
    pairs = [(thing.colour, thing.kind), ("", thing.kind), (thing.colour, "")]
    return [pair for pair in pairs if len(matching(view, *pair)) == 1]


def the(view: View, thing: Thing, rng: random.Random, *, plain: bool = False, rare: bool = False) -> str | None:
    """A noun phrase with "the", or None where none fits this thing alone.

    Args:
        view: The picture.
        thing: The thing.
        rng: Chance.
        plain: Colour and kind, nothing shorter.
        rare: With a synonym or a rare name of the colour.
    """
    if thing.card:
        return rng.choice((f"the {thing.symbol} card", picture_of(thing.symbol)))
    ways = naming(view, thing)
    if not ways:
        return None
    colour, kind = ways[0] if plain or rare or rng.random() < 0.6 else rng.choice(ways)
    if rare:
        colour, kind = rarely(colour, kind, rng)
    return f"the {colour} {kind or 'object'}" if colour else f"the {kind}"


def label(thing: Thing) -> str:
    """How an answer names it: "red cube", "star card"."""
    return f"{thing.symbol or thing.colour} {thing.kind}"


def rarely(colour: str, kind: str, rng: random.Random) -> tuple[str, str]:
    """The same with at least one word replaced by a synonym."""
    synonyms = words_of("en")["synonyms"]
    which = rng.randrange(3)
    rare_colour = synonyms["colours"].get(colour, colour) if which != 0 else colour
    rare_kind = synonyms["kinds"].get(kind, kind) if which != 1 else kind
    if (rare_colour, rare_kind) == (colour, kind):
        return synonyms["colours"].get(colour, colour), synonyms["kinds"].get(kind, kind)
    return rare_colour, rare_kind


def picture_of(symbol: str) -> str:
    """As in "the picture of a star"."""
    words = words_of("en")
    if symbol.isdigit():
        return words["pictures"]["digit"].format(symbol=symbol)
    return words["pictures"]["default"].format(symbol=words["symbols"][symbol])


def a(phrase: str) -> str:
    """With "a" or "an" in front."""
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


@cache
def plural(kind: str) -> str:
    """More than one of a kind: "cubes"."""
    return f"{kind}es" if kind.endswith(("s", "x", "ch")) else f"{kind}s"


def whole(*values: float) -> str:
    """A list of whole numbers: "[63, -12]"."""
    return "[" + ", ".join(str(round(value)) for value in values) + "]"


def half_steps(value: float) -> float:
    """Rounded to 0.5."""
    return round(2 * value) / 2 + 0.0

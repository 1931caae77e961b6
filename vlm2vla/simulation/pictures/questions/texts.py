"""Questions without a picture: facts, sums, word meanings, and lists and numbers in the forms that actions have.

The words and numbers of actions occur here in ordinary use: copied, listed, added up, said in other words. Nothing
here says what a robot should do.
"""

import random
from collections.abc import Callable
from functools import cache
from typing import Any

from vlm2vla.simulation.instructions import LANGUAGES, language_name, words_of
from vlm2vla.simulation.pictures.questions.asked import Asked, half_steps
from vlm2vla.simulation.pictures.questions.looks import KINDS
from vlm2vla.simulation.pictures.questions.places import in_words
from vlm2vla.simulation.pictures.questions.tongues import colour_word, kind_word
from vlm2vla.simulation.scenes import COLOURS

_WORDS = ("forward", "back", "left", "right", "up", "down")
_SIGNS = {"forward": "+x", "back": "-x", "left": "+y", "right": "-y", "up": "+z", "down": "-z"}
_ACTS = ("open the gripper", "close the gripper", "hold still", "lift", "release", "turn clockwise")


def texts(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """Rows of texts.jsonl."""
    made = []
    for maker in rng.choices([facts, arithmetic, words, forms], (0.17, 0.20, 0.25, 0.38), k=count):
        row = maker(rng).row()
        del row["thing"]
        made.append(row)
    return made


def facts(rng: random.Random) -> Asked:
    """What everybody knows."""
    questions, answers = rng.choice(list(_facts()["templates"].items()))
    place = rng.choice(list(answers))
    return Asked("facts", rng.choice(questions.split("|")).format(place), str(answers[place]))


def arithmetic(rng: random.Random) -> Asked:
    """Small sums with whole numbers and halves."""
    sort = rng.choice(("plus", "plus", "minus", "times", "halves", "negative", "compare", "next", "half", "number"))
    one, other = rng.randint(0, 20), rng.randint(0, 20)
    if sort == "plus":
        question = rng.choice(("What is {} plus {}?", "{} + {} =", "Add {} and {}.")).format(one, other)
        return _sum(question, one + other)
    if sort == "minus":
        question = rng.choice(("What is {} minus {}?", "{} - {} =")).format(one, other)
        return _sum(question, one - other)
    if sort == "times":
        one, other = one % 11, other % 11
        return _sum(rng.choice(("What is {} times {}?", "{} * {} =")).format(one, other), one * other)
    if sort == "halves":
        first, second = rng.randint(0, 30) / 2, rng.randint(0, 30) / 2
        if rng.random() < 0.5:
            return _sum(f"What is {first:g} plus {second:g}?", first + second)
        return _sum(f"What is {first:g} minus {second:g}?", first - second)
    if sort == "negative":
        first, second = rng.randint(-15, 15), rng.randint(-15, 15)
        return _sum(f"What is {first} plus {second}?", first + second)
    if sort == "compare":
        other += one == other
        larger = rng.random() < 0.5
        question = f"Which is {'larger' if larger else 'smaller'}, {one} or {other}?"
        return _sum(question, max(one, other) if larger else min(one, other))
    if sort == "next":
        return _sum(rng.choice((f"Which number comes after {one}?", f"What comes after {one}?")), one + 1)
    if sort == "half":
        if rng.random() < 0.5:
            return _sum(f"What is half of {one}?", one / 2)
        return _sum(f"What is twice {one}?", 2 * one)
    names = _facts()["numbers"]
    number = rng.randrange(len(names))
    if rng.random() < 0.5:
        return _sum(f"Write {names[number]} in digits.", number)
    return Asked("arithmetic", f"Write {number} as a word.", names[number])


def words(rng: random.Random) -> Asked:
    """Translations, opposites, synonyms, what kind of word it is."""
    sort = rng.choice(("to", "to", "from", "opposite", "synonym", "same", "is"))
    if sort in ("to", "from"):
        return _translation(rng, sort)
    if sort == "opposite":
        pair = rng.choice(_facts()["opposites"])
        one, other = rng.sample(pair, 2)
        question = rng.choice(("What is the opposite of {}?", "Give the opposite of {}.")).format(one)
        return Asked("words", question, other)
    if sort == "synonym":
        one, other = rng.sample(rng.choice(_facts()["synonyms"]), 2)
        return Asked("words", rng.choice(("Say {} with another word.", "What else means {}?")).format(one), other)
    table = words_of("en")["synonyms"]
    if sort == "same":
        plain, rare = rng.choice([*table["kinds"].items(), *((key, table["colours"][key]) for key in COLOURS)])
        if rng.random() < 0.6:
            question = rng.choice(("What does {} mean?", "Which plain word means {}?", "Another word for {}?"))
            return Asked("words", question.format(rare), plain)
        return Asked("words", rng.choice(("Another word for {}?", "Give a rarer word for {}.")).format(plain), rare)
    # An orange is both.
    colours = [(name, True) for name in COLOURS if name != "orange"]
    word, colour = rng.choice([*((kind, False) for kind in KINDS), *colours])
    if rng.random() < 0.4:
        word = table["colours" if colour else "kinds"].get(word, word)
    asked = rng.random() < 0.5
    question = f"Is {word} a {'colour' if asked else 'thing'}?"
    return Asked("words", question, "yes" if asked == colour else "no")


def forms(rng: random.Random) -> Asked:
    """Lists, rows of numbers, directions: copied, changed, added up, in other words."""
    makers: list[Callable[[random.Random], tuple[str, str]]] = [
        *(_repeat,) * 4,
        *(
            _numbered,
            _unnumbered,
            _edited,
            _counted,
            _completed,
            _signs,
            _as_numbers,
            _as_words,
            _summed,
            _split,
            _held,
        ),
    ]
    return Asked("format", *rng.choice(makers)(rng))


def _sum(question: str, value: float) -> Asked:
    return Asked("arithmetic", question, f"{value:g}")


def _translation(rng: random.Random, sort: str) -> Asked:
    tongue = rng.choice([language for language in LANGUAGES if language != "en"])
    group = rng.choice(("kind", "colour", "word", "word"))
    if group == "kind":
        english = rng.choice(KINDS)
        other = kind_word(english, tongue)
    elif group == "colour":
        english = rng.choice(tuple(COLOURS))
        other = colour_word(english, tongue)
    else:
        english = rng.choice(list(_facts()["words"]))
        other = _facts()["words"][english][tongue]
    name = language_name(tongue)
    if sort == "to":
        question = rng.choice(("Translate to {name}: {word}", "What is {word} in {name}?", "Say {word} in {name}."))
        return Asked("words", question.format(name=name, word=english), other, language=tongue)
    question = rng.choice(("Translate to English: {word}", "What does {word} mean in English?"))
    return Asked("words", question.format(word=other), english, language=tongue)


def _row(rng: random.Random) -> list[float]:
    """Three small numbers in steps of 0.5, often 0, and 0 or 1."""
    values = [half_steps(rng.uniform(-5, 5)) if rng.random() < 0.7 else 0.0 for _ in range(3)]
    return [*values, rng.randint(0, 1)]


def _written(row: list[float]) -> str:
    return "[" + ", ".join(f"{value + 0.0:.1f}" for value in row[:3]) + (f", {row[3]}]" if len(row) > 3 else "]")


def _rows(rows: list[list[float]]) -> str:
    return "[" + ", ".join(map(_written, rows)) + "]"


def _phrase(rng: random.Random) -> str:
    if rng.random() < 0.25:
        return rng.choice(_ACTS)
    first, second = rng.sample(_WORDS, 2)
    size = rng.choice(("", "", "slightly ", "far "))
    text = f"move {size}{first}"
    return text + rng.choice(("", f" and {second}", f" and slightly {second}"))


def _thing(rng: random.Random) -> str:
    return f"{rng.choice(tuple(COLOURS))} {rng.choice(KINDS)}"


def _sentence(rng: random.Random) -> str:
    """A short text in which the words of actions occur."""
    sort = rng.randrange(6)
    if sort == 0:
        return ", ".join(_phrase(rng) for _ in range(rng.randint(1, 4)))
    if sort == 1:
        return ", then ".join(_phrase(rng) for _ in range(rng.randint(2, 3)))
    if sort == 2:
        return _rows([_row(rng) for _ in range(rng.randint(1, 8))])
    if sort == 3:
        verbs = ("Move to", "Grasp", "Lift", "Release", "Find", "Count", "Paint")
        return f"{rng.choice(verbs)} the {_thing(rng)}"
    if sort == 4:
        return f"Move the {_thing(rng)} to the {_thing(rng)}"
    return in_words(*(rng.uniform(-30, 30) for _ in range(3)))


def _repeat(rng: random.Random) -> tuple[str, str]:
    text = _sentence(rng)
    return rng.choice(("Repeat: ", "Say this again: ", "Copy: ")) + text, text


def _items(rng: random.Random) -> list[str]:
    make = rng.choice((_thing, _phrase, lambda rng: rng.choice(list(_facts()["words"]))))
    return list(dict.fromkeys(make(rng) for _ in range(rng.randint(2, 6))))


def _numbered(rng: random.Random) -> tuple[str, str]:
    items = _items(rng)
    question = rng.choice(("Write as a numbered list: ", "Number these: ")) + "; ".join(items)
    return question, "\n".join(f"{number}. {item}" for number, item in enumerate(items, 1))


def _unnumbered(rng: random.Random) -> tuple[str, str]:
    items = _items(rng)
    listed = "\n".join(f"{number}. {item}" for number, item in enumerate(items, 1))
    which = rng.randrange(len(items))
    sort = rng.randrange(3)
    if sort == 0:
        return f"{listed}\nWhat is item {which + 1}?", items[which]
    if sort == 1:
        return f"{listed}\nHow many items are there?", str(len(items))
    return f"{listed}\nWrite it in one line.", "; ".join(items)


def _edited(rng: random.Random) -> tuple[str, str]:
    items = _items(rng)
    text = ", ".join(items)
    sort = rng.randrange(5)
    if sort == 0:
        return f"First item of: {text}", items[0]
    if sort == 1:
        return f"Last item of: {text}", items[-1]
    if sort == 2:
        return f"Reverse the list: {text}", ", ".join(reversed(items))
    if sort == 3:
        new = _thing(rng)
        return f"Add {new} to the list: {text}", f"{text}, {new}"
    gone = rng.choice(items)
    rest = [item for item in items if item != gone]
    return f"Remove {gone} from the list: {text}", ", ".join(rest) or "nothing"


def _counted(rng: random.Random) -> tuple[str, str]:
    if rng.random() < 0.5:
        rows = [_row(rng) for _ in range(rng.randint(1, 8))]
        return f"How many rows does {_rows(rows)} have?", str(len(rows))
    items = _items(rng)
    return f"How many items: {'; '.join(items)}", str(len(items))


def _completed(rng: random.Random) -> tuple[str, str]:
    """A pattern that goes on: the same row again, or counting on."""
    count = rng.randint(4, 7)
    row = _row(rng)
    rows = [row] * count
    if rng.random() < 0.4:
        step = [half_steps(rng.uniform(-1, 1)) for _ in range(3)]
        rows = [[a + number * b for a, b in zip(row[:3], step, strict=True)] for number in range(count)]
    given = rng.randint(2, count - 1)
    rest = rng.choice(("Which row comes next?", "What is the next row?"))
    return f"{_rows(rows[:given])}\n{rest}", _written(rows[given])


def _signs(rng: random.Random) -> tuple[str, str]:
    chosen = [rng.choice(pair) for pair in (_WORDS[:2], _WORDS[2:4], _WORDS[4:])]
    chosen = rng.sample(chosen, rng.randint(1, 3))
    signs = ", ".join(_SIGNS[word] for word in chosen)
    text = " and ".join(rng.choice(("", "", "slightly ")) + word for word in chosen)
    if rng.random() < 0.65:
        return rng.choice(("Write with signs: move ", "Axes and signs of: move ")) + text, signs
    return f"Say in words: {signs}", " and ".join(chosen)


def _as_numbers(rng: random.Random) -> tuple[str, str]:
    values = [half_steps(rng.uniform(-30, 30)) if rng.random() < 0.75 else 0.0 for _ in range(3)]
    question = rng.choice(("Write as [x, y, z]: ", "In numbers, x y z: ")) + in_words(*values)
    return question, _written(values)


def _as_words(rng: random.Random) -> tuple[str, str]:
    values = [half_steps(rng.uniform(-30, 30)) if rng.random() < 0.75 else 0.0 for _ in range(3)]
    return rng.choice(("Say {} in words.", "Which way and how far is {}?")).format(_written(values)), in_words(*values)


def _summed(rng: random.Random) -> tuple[str, str]:
    if rng.random() < 0.4:
        values = [rng.randint(-6, 6) for _ in range(rng.randint(2, 4))]
        return f"Sum of {values}?", str(sum(values))
    rows = [_row(rng)[:3] for _ in range(rng.randint(2, 3))]
    return f"Add the rows of {_rows(rows)}.", _written([sum(column) for column in zip(*rows, strict=True)])


def _split(rng: random.Random) -> tuple[str, str]:
    parts = rng.randint(2, 4)
    row = _row(rng)[:3]
    whole = [parts * value for value in row]
    return f"Divide {_written(whole)} into {parts} equal rows.", _rows([row] * parts)


def _held(rng: random.Random) -> tuple[str, str]:
    """The last number of a row is 1 for open and 0 for closed."""
    row = _row(rng)
    if rng.random() < 0.5:
        return f"In {_written(row)}, 1 is open and 0 is closed. Which is it?", "open" if row[3] else "closed"
    index = rng.randrange(3)
    return f"What is the {('first', 'second', 'third')[index]} number of {_written(row)}?", f"{row[index]:.1f}"


@cache
def _facts() -> dict[str, Any]:
    return words_of("facts")

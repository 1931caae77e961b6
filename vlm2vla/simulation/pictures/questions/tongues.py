"""Questions in Spanish, Mandarin and Hindi; their words come from the wordings of the instructions."""

import random
from functools import cache
from typing import Any

from vlm2vla.simulation.instructions import LANGUAGES, phrase, words_of
from vlm2vla.simulation.pictures.questions.asked import Asked, all_clear, matching, naming, plural, seen_objects, whole
from vlm2vla.simulation.pictures.questions.looks import KINDS
from vlm2vla.simulation.pictures.truth import Thing, View
from vlm2vla.simulation.scenes import COLOURS, SYMBOLS

OTHERS = ("es", "zh", "hi")
_SORTS = ("colour", "shape", "exists", "count", "pointing", "relation", "beside")
_CLEARLY_CM = 2.5


def language(view: View, rng: random.Random) -> Asked | None:
    """One of the skills in one of the languages."""
    tongue = rng.choice(OTHERS)
    return {
        "colour": _colour,
        "shape": _shape,
        "exists": _exists,
        "count": _count,
        "pointing": _pointing,
        "relation": _relation,
        "beside": _beside,
    }[rng.choice(_SORTS)](view, rng, tongue)


def colour_word(colour: str, tongue: str) -> str:
    """Citation form: "rojo", "红色", "हरा"."""
    direct = _questions(tongue).get("colours", {})
    word = words_of(tongue)["colours"][colour]
    return direct.get(colour) or (word[0] if isinstance(word, list) else word)


def kind_word(kind: str, tongue: str) -> str:
    """Citation form: "cubo", "方块", "डिब्बा"."""
    direct = _questions(tongue).get("kinds", {})
    word = words_of(tongue)["kinds"][kind]
    return direct.get(kind) or (word[0] if isinstance(word, list) else word)


def noun_phrase(thing: Thing, tongue: str, *, article: str = "the", oblique: bool = False) -> str:
    """As in "el cubo rojo", "un cubo rojo", "红色的方块", "हरा घन" (or oblique "हरे घन")."""
    if tongue == "hi" and not oblique and thing.symbol:
        return phrase(thing, tongue).replace(" के चित्र", " का चित्र")
    if tongue == "hi" and not oblique:
        gender = words_of("hi")["kinds"][thing.kind][1]
        colour = words_of("hi")["colours"][thing.colour]
        shade = colour_word(thing.colour, "hi") if gender == "m" else colour[1]
        return f"{shade} {kind_word(thing.kind, 'hi')}"
    text = phrase(thing, tongue)
    if tongue == "es" and article == "a":
        text = "un " + text.removeprefix("el ") if text.startswith("el ") else "una " + text.removeprefix("la ")
    return text


def _colour(view: View, rng: random.Random, tongue: str) -> Asked | None:
    thing = _one(rng, [thing for thing in seen_objects(view) if len(matching(view, "", thing.kind)) == 1])
    if thing is None:
        return None
    kind = words_of(tongue)["kinds"][thing.kind]
    word = kind[0] if isinstance(kind, list) else kind
    if tongue == "es":
        word = f"{words_of('es')['articles'][kind[1]]} {word}"
    question = _template("colour", rng, tongue).format(kind=word)
    options = tuple(colour_word(colour, tongue) for colour in COLOURS)
    return _asked(view, tongue, question, colour_word(thing.colour, tongue), thing, options, "choice")


def _shape(view: View, rng: random.Random, tongue: str) -> Asked | None:
    thing = _one(rng, [thing for thing in seen_objects(view) if len(matching(view, thing.colour)) == 1])
    if thing is None:
        return None
    shade = words_of("hi")["colours"][thing.colour][1] if tongue == "hi" else colour_word(thing.colour, tongue)
    question = _template("shape", rng, tongue).format(colour=shade)
    options = tuple(kind_word(kind, tongue) for kind in KINDS)
    return _asked(view, tongue, question, kind_word(thing.kind, tongue), thing, options, "choice")


def _exists(view: View, rng: random.Random, tongue: str) -> Asked | None:
    there = seen_objects(view)
    if not there:
        return None
    thing = rng.choice(there)
    yes = rng.random() < 0.5
    if not yes:
        other = rng.choice(there)
        colour = other.colour if rng.random() < 0.6 else rng.choice(tuple(COLOURS))
        kind = thing.kind if rng.random() < 0.6 else rng.choice(KINDS)
        if matching(view, colour, kind):
            return None
        thing = _Word("", kind, colour, "")
    text = noun_phrase(thing, tongue, article="a")
    question = _template("exists", rng, tongue).format(thing=text, a_thing=text)
    words = _questions(tongue)
    yes_word, no_word = words.get("there_is", words["yes"]), words.get("there_is_not", words["no"])
    asked = thing if yes and len(matching(view, thing.colour, thing.kind)) == 1 else None
    return _asked(view, tongue, question, yes_word if yes else no_word, asked, (yes_word, no_word), "choice")


def _count(view: View, rng: random.Random, tongue: str) -> Asked | None:
    words = _questions(tongue)
    sort = rng.choice(("count", "count_kind", "count_kind", "count_colour"))
    thing = _one(rng, view.objects)
    kind = thing.kind if thing and rng.random() < 0.85 else rng.choice(KINDS)
    colour = thing.colour if thing and rng.random() < 0.85 else rng.choice(tuple(COLOURS))
    pair = {"count": ("", ""), "count_kind": ("", kind), "count_colour": (colour, "")}[sort]
    things = list(view.objects) if sort == "count" else matching(view, *pair)
    if not all_clear(things) or (not things and not all_clear(view.things)):
        return None
    gender = words_of("es")["kinds"][kind][1]
    shade = words_of("hi")["colours"][colour][1] if tongue == "hi" else colour_word(colour, tongue)
    question = _template(sort, rng, tongue).format(
        kind=kind_word(kind, tongue),
        plural=words.get("plurals", {}).get(kind, ""),
        how_many=words.get("how_many", {}).get(gender, ""),
        colour=shade,
        colours=words.get("colour_plurals", {}).get(colour, ""),
    )
    return _asked(view, tongue, question, str(len(things)), None, (), "number")


def _pointing(view: View, rng: random.Random, tongue: str) -> Asked | None:
    cards = [card for card in view.cards if card.seen and rng.random() < 0.3]
    thing = _one(rng, [*_named(view), *cards])
    if thing is None:
        return None
    question = _about(thing, "pointing", rng, tongue)
    return _asked(view, tongue, question, whole(thing.x_cm, thing.y_cm), thing, (), "list_cm")


def _relation(view: View, rng: random.Random, tongue: str) -> Asked | None:
    things = [thing for thing in _named(view) if not thing.held]
    if len(things) < 2:
        return None
    one, other = rng.sample(things, 2)
    left, ahead = one.y_cm - other.y_cm, one.x_cm - other.x_cm
    word = rng.choice(("left", "right", "nearer", "farther"))
    value = {"left": left, "right": -left, "nearer": -ahead, "farther": ahead}[word]
    if abs(value) < _CLEARLY_CM:
        return None
    question = _template(word, rng, tongue).format(
        a=noun_phrase(one, tongue), b=noun_phrase(other, tongue, oblique=True)
    )
    for apart, contracted in words_of(tongue).get("contractions", {}).items():
        question = question.replace(apart, contracted)
    words = _questions(tongue)
    answer = words["yes"] if value > 0 else words["no"]
    return _asked(view, tongue, question, answer, one, (words["yes"], words["no"]), "choice")


def _beside(view: View, rng: random.Random, tongue: str) -> Asked | None:
    cards = {card.name: card for card in view.cards if card.seen}
    thing = _one(rng, [thing for thing in seen_objects(view) if thing.beside in cards])
    if thing is None:
        return None
    answer = noun_phrase(thing, tongue)
    if tongue == "es":
        answer = answer.removeprefix("el ").removeprefix("la ")
    question = _about(cards[thing.beside], "beside", rng, tongue)
    return _asked(view, tongue, question, answer, thing, (), "exact")


def _about(thing: Thing, sort: str, rng: random.Random, tongue: str) -> str:
    """A question about one thing."""
    question = _template(sort, rng, tongue).format(
        thing=noun_phrase(thing, tongue), thing_oblique=noun_phrase(thing, tongue, oblique=True)
    )
    for apart, contracted in words_of(tongue).get("contractions", {}).items():
        question = question.replace(apart, contracted)
    return question


class _Word:
    """A thing that is not there, to be named all the same."""

    def __init__(self, name: str, kind: str, colour: str, symbol: str):
        self.name, self.kind, self.colour, self.symbol = name, kind, colour, symbol


def _asked(
    view: View, tongue: str, question: str, answer: str, thing: Thing | None, options: tuple[str, ...], scorer: str
) -> Asked:
    index = view.index(thing) if thing is not None else None
    return Asked("language", question, answer, index, tongue, options, scorer)


def _named(view: View) -> list[Thing]:
    return [thing for thing in seen_objects(view) if (thing.colour, thing.kind) in naming(view, thing)]


def _one(rng: random.Random, things: list[Thing] | tuple[Thing, ...]) -> Thing | None:
    return rng.choice(things) if things else None


def _template(sort: str, rng: random.Random, tongue: str) -> str:
    return rng.choice(_questions(tongue)[sort])


@cache
def _questions(tongue: str) -> dict[str, Any]:
    return words_of("questions")[tongue]


def concept_words() -> dict[str, list[str]]:
    """Every single word for a kind, colour or symbol in all languages: {"kind:cube": ["cube", "cubo", ...], ...}."""
    words: dict[str, list[str]] = {}
    for language in LANGUAGES:
        tables, more = words_of(language), _questions(language) if language != "en" else {}
        for group, concept in (("kinds", "kind"), ("colours", "colour"), ("symbols", "symbol")):
            for name, word in tables[group].items():
                forms = [word] if isinstance(word, str) else word if concept == "colour" else word[:1]
                found = words.setdefault(f"{concept}:{name}", [])
                found += [form.split()[-1] for form in forms]
                rare = tables["synonyms"].get(group, {}).get(name)
                found += [rare] if rare else []
                found += [f"{rare}s"] if rare and concept == "kind" else []
                found += [more[group][name]] if name in more.get(group, {}) else []
        for name, forms in (more.get("plurals") or {}).items():
            words[f"kind:{name}"].append(forms.split()[-1])
        for name, form in (more.get("colour_plurals") or {}).items():
            words[f"colour:{name}"].append(form)
    for kind in (*KINDS, "card"):
        words[f"kind:{kind}"].append(plural(kind))
    words |= {f"symbol:{symbol}": [symbol] for symbol in SYMBOLS if symbol.isdigit()}
    return {concept: list(dict.fromkeys(names)) for concept, names in words.items()}

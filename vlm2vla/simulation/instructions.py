"""Instructions in four languages, from templates in `wordings/*.yaml`.

Knows how to say a task about objects of a scene; held-out wordings, synonyms and rare colour names never occur in
action data, so that a policy can be tested on them. It does not know what a task is, nor where objects are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol

import yaml

from vlm2vla.config import did_you_mean
from vlm2vla.errors import ConfigError

LANGUAGES = ("en", "es", "zh", "hi")
_FOLDER = Path(__file__).with_name("wordings")

Reference = Literal["", "picture", "synonym", "colour"]
"""How the target is named: plainly, by the picture beside it, by another word for its kind, by a rare colour name."""


class Named(Protocol):
    """What an object must tell to be spoken of (a `SceneObject` does)."""

    name: str
    kind: str
    colour: str
    symbol: str


@dataclass(frozen=True)
class Roles:
    """Who takes which part in the task.

    Attributes:
        target: What is picked up.
        destination: Where it goes, or None.
        second: What is lifted afterwards, or None.
        picture: The card that the target lies next to, where it is named by that, or None.
    """

    target: Named
    destination: Named | None = None
    second: Named | None = None
    picture: Named | None = None


def language_name(language: str) -> str:
    """The language's English name."""
    return _wordings(language)["language"]


def templates(key: str, language: str, *, held_out: bool = False) -> tuple[str, ...]:
    """The templates of a task family, or of "reference-picture".

    Raises:
        ConfigError: Unknown language or key.
    """
    known = _wordings(language)["templates"]
    if key not in known:
        raise ConfigError(f"no wordings for {key!r}; {did_you_mean(key, known)}")
    return tuple(known[key]["held_out" if held_out else "train"])


def phrase(thing: Named, language: str, reference: Reference = "") -> str:
    """The noun phrase of an object or card: "the red cube", "la lata roja", "the picture of a star".

    Raises:
        ConfigError: A kind, colour or symbol that the language has no word for.
    """
    words = _wordings(language)
    if thing.symbol:
        return _picture(thing.symbol, words)
    kind = _word(words["kinds"] | words["more_kinds"], thing.kind, "kind")
    noun, gender = (kind[0], "mf".index(kind[1])) if isinstance(kind, list) else (kind, 0)
    colour = _word(words["colours"], thing.colour, "colour")
    colour = colour[gender] if isinstance(colour, list) else colour
    synonyms = words["synonyms"]
    if reference == "synonym":
        noun = _word(synonyms["kinds"], thing.kind, "synonym for the kind")
    elif reference == "colour":
        colour = _word(synonyms["colours"], thing.colour, "rare name for the colour")
    articles = words.get("articles", {"m": "", "f": ""})
    return words["noun_phrase"].format(article=articles["mf"[gender]], colour=colour, kind=noun)


def say(template: str, roles: Roles, language: str, reference: Reference = "") -> str:
    """A template with its places filled in."""
    words = _wordings(language)
    text = template.format(
        target=phrase(roles.target, language, "" if reference == "picture" else reference),
        destination=phrase(roles.destination, language) if roles.destination else "",
        onto=_onto(roles.destination, language) if roles.destination else "",
        second=phrase(roles.second, language) if roles.second else "",
        picture=phrase(roles.picture, language) if roles.picture else "",
    )
    for apart, contracted in words.get("contractions", {}).items():
        text = text.replace(apart, contracted)
    return text


def has_synonym(thing: Named, reference: Reference, language: str = "en") -> bool:
    """Whether the language has another word for the kind ("synonym") or the colour ("colour") of a thing."""
    synonyms = _wordings(language)["synonyms"]
    if reference == "synonym":
        return thing.kind in synonyms["kinds"]
    return reference == "colour" and thing.colour in synonyms["colours"]


def held_out_words(language: str = "en") -> frozenset[str]:
    """Words for kinds and colours that no action data holds."""
    synonyms = _wordings(language)["synonyms"]
    return frozenset(synonyms["kinds"].values()) | frozenset(synonyms["colours"].values())


def words_of(language: str) -> Mapping[str, Any]:
    """All tables of a language; "questions" and "facts" have those that only questions need.

    Raises:
        ConfigError: Unknown language.
    """
    return _tables(language) if language in ("questions", "facts") else _wordings(language)


def alphabet() -> frozenset[str]:
    """Every character that an instruction can hold."""
    letters = set("0123456789 abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    for language in LANGUAGES:
        letters |= set((_FOLDER / f"{language}.yaml").read_text(encoding="utf-8"))
    return frozenset(letters - set('\n{}#[]"'))


def _onto(place: Named, language: str) -> str:
    onto = _wordings(language)["onto"]
    return onto.get(place.kind, onto["default"]).format(place=phrase(place, language))


def _picture(symbol: str, words: Mapping[str, Any]) -> str:
    if symbol.isdigit():
        return words["pictures"]["digit"].format(symbol=symbol)
    return words["pictures"]["default"].format(symbol=_word(words["symbols"], symbol, "symbol"))


def _word(table: Mapping[str, Any], key: str, what: str) -> Any:
    if key not in table:
        raise ConfigError(f"no word for the {what} {key!r}; {did_you_mean(key, table)}")
    return table[key]


@cache
def _wordings(language: str) -> Mapping[str, Any]:
    if language not in LANGUAGES:
        raise ConfigError(f"no wordings in the language {language!r}; {did_you_mean(language, LANGUAGES)}")
    return _tables(language)


@cache
def _tables(name: str) -> Mapping[str, Any]:
    return yaml.safe_load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))

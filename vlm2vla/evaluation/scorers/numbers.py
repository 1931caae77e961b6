"""Counts and places: one number, or a list of coordinates in centimetres."""

import re
from math import dist

from vlm2vla.evaluation.scorers.truth import Score, Truth

HIT_CM = 2.0
"""A place this close to the right one is a hit."""
_NUMBER = re.compile(r"(?<![\w.])[-+\u2212]?\d+(?:\.\d+)?(?![\w]|\.\d)")
_LIST = re.compile(r"[\[(]\s*([^\[\]()]*?)\s*[\])]")
_WORDS = {
    word: value
    for words in (
        "zero one two three four five six seven eight nine ten",
        "cero uno dos tres cuatro cinco seis siete ocho nueve diez",
        "\u96f6 \u4e00 \u4e8c \u4e09 \u56db \u4e94 \u516d \u4e03 \u516b \u4e5d \u5341",
        "\u0936\u0942\u0928\u094d\u092f \u090f\u0915 \u0926\u094b \u0924\u0940\u0928 \u091a\u093e\u0930"
        " \u092a\u093e\u0901\u091a \u091b\u0939 \u0938\u093e\u0924 \u0906\u0920 \u0928\u094c \u0926\u0938",
    )
    for value, word in enumerate(words.split())
} | {"una": 1, "un": 1, "none": 0, "\u4e24": 2, "\u092a\u093e\u0902\u091a": 5}


def number(answer: str, truth: Truth) -> Score:
    """The answer holds exactly one number, in digits or as a word from zero to ten, and it is the right one."""
    given, right = _only_number(answer), _only_number(truth.answers[0])
    if given is None:
        return Score(0.0)
    return Score(float(given == right), f"{given:g}")


def list_cm(answer: str, truth: Truth) -> Score:
    """A list of coordinates such as "[63, -12]": within 2 cm of the right place, all axes together.

    The first list in the answer counts; with another number of coordinates, or none, it is wrong. The distance is kept
    as `error_cm`.
    """
    given, right = _coordinates(answer), _coordinates(truth.answers[0])
    if given is None or right is None or len(given) != len(right):
        return Score(0.0)
    error = dist(given, right)
    return Score(float(error <= HIT_CM + 1e-9), str([float(f"{value:g}") for value in given]), round(error, 3))


def _only_number(text: str) -> float | None:
    found = [float(match.replace("\u2212", "-")) for match in _NUMBER.findall(text)]
    words = re.findall(r"[^\W\d_]+[\u0900-\u097f]*", text.lower()) if not found else []
    found += [float(_WORDS[word]) for word in _whole_words(text.lower(), words) if word in _WORDS]
    return found[0] if len(found) == 1 else None


def _whole_words(text: str, words: list[str]) -> list[str]:
    """Words between spaces and marks; Hindi's vowel signs belong to them, and Chinese is looked up by character."""
    if not words:
        return []
    hindi = re.findall(r"[\u0900-\u097f]+", text)
    if hindi:
        return hindi
    chinese = re.findall(r"[\u4e00-\u9fff]", text)
    return chinese or words


def _coordinates(text: str) -> tuple[float, ...] | None:
    match = _LIST.search(text.replace("\u2212", "-"))
    if not match:
        return None
    try:
        return tuple(float(part) for part in match.group(1).split(",") if part.strip()) or None
    except ValueError:
        return None

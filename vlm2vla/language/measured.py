"""Motion plans with amounts: "forward 28 cm, right 30.5 cm, down 9 cm, then down 5 cm, then close the gripper".

One phrase is one straight way, its axes in the order x, y, z and then rotations ("rotate clockwise 20 degrees"). The
words are those in which people tell where a thing is, so a model that can say that can say where to move.
"""

import math
import re

import numpy as np

from vlm2vla.embodiment import AXES
from vlm2vla.errors import ActionParseError, AnnotationError
from vlm2vla.language.even import even_rows
from vlm2vla.language.plan_text import HOLD
from vlm2vla.language.scale import MAX_CM, MAX_DEG
from vlm2vla.language.words import VERBS, WORDS
from vlm2vla.types import ActionChunk

_STEP_CM = 0.5
_GRIPPER = {1: "open the gripper", 0: "close the gripper"}
_ACTS = {text: bit for bit, text in _GRIPPER.items()}
_WAYS = {
    (VERBS[axis] if VERBS[axis] != "move" else "", word): (index, 1 - 2 * number)
    for index, axis in enumerate(AXES)
    for number, word in enumerate(WORDS[axis])
}
_PART = re.compile(r"(?:(roll|tilt|rotate) )?([a-z]+) (\d+(?:\.\d+)?) (cm|degrees)")


def measured_plan(chunk: ActionChunk) -> str:
    """The plan of a chunk; what is below half a step has no word.

    The gripper is named where its command changes, and where a chunk begins with a row that only commands it.

    Raises:
        AnnotationError: More motion than may be said.
    """
    phrases, bit = [], None
    for row in even_rows(chunk, row_cm=MAX_CM, row_rad=math.radians(MAX_DEG)).rows if len(chunk) else ():
        motion = _phrase(row[:-1])
        if row[-1] != bit and not (bit is None and motion):
            phrases.append(_GRIPPER[int(row[-1])])
        bit = row[-1]
        if motion:
            phrases.append(motion)
    return ", then ".join(phrases) or HOLD


def parse_measured(text: str) -> np.ndarray:
    """[7] what such a plan leads to in all: metres, radians, and 1, 0 or NaN for the last word about the gripper.

    Raises:
        ActionParseError: Not such a plan.
    """
    total = np.array([0.0] * 6 + [np.nan])
    for phrase in text.strip().removesuffix(".").split(", then "):
        if phrase in _ACTS:
            total[6] = _ACTS[phrase]
            continue
        for part in phrase.split(", ") if phrase != HOLD else ():
            found = _PART.fullmatch(part)
            way = _WAYS.get((found[1] or "", found[2])) if found else None
            if way is None or (found[4] == "cm") != (way[0] < 3):
                raise ActionParseError("no part of a plan with amounts", text=text, position=text.find(part))
            per_unit = 0.01 if way[0] < 3 else math.radians(1)
            total[way[0]] += way[1] * float(found[3]) * per_unit
    return total


def measured_turned_round(text: str) -> str:
    """The plan with every direction, and every act of the gripper, turned into its opposite.

    Raises:
        ActionParseError: Not such a plan.
    """
    parse_measured(text)
    pairs = [pair for words in WORDS.values() for pair in (words, words[::-1])]
    opposite = dict(pairs) | {"open": "close", "close": "open"}
    return re.sub(r"[a-z]+", lambda word: opposite.get(word[0], word[0]), text)


def _phrase(motion: np.ndarray) -> str:
    if not np.isfinite(motion).all() or np.abs(motion[:3]).max() > MAX_CM / 100:
        raise AnnotationError(f"no plan says a motion of {motion!r}")
    parts = []
    for index, value in enumerate(motion):
        axis = AXES[index]
        amount = round(abs(value) * 100 / _STEP_CM) * _STEP_CM if index < 3 else round(math.degrees(abs(value)))
        if amount:
            verb = "" if VERBS[axis] == "move" else f"{VERBS[axis]} "
            parts.append(f"{verb}{WORDS[axis][int(value < 0)]} {amount:g} {'cm' if index < 3 else 'degrees'}")
    return ", ".join(parts)

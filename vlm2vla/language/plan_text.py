"""Motion plans as text, an inverse pair: "move down and slightly forward, then close the gripper".

Phrases are joined by ", then ". Within one, directions are joined by ", " and " and "; a verb holds until another
one comes. A gripper that acts during the motion reads "move up while closing the gripper".
"""

import re

from vlm2vla.errors import ActionParseError, AnnotationError
from vlm2vla.language.scale import MAX_ROWS
from vlm2vla.language.scan import opening
from vlm2vla.language.words import VERBS, WORDS, Direction, MotionPhrase

HOLD = "hold still"
_ING = {"open": "opening", "close": "closing"}
_AXES = {(VERBS[axis], word): (axis, 1 - 2 * i) for axis, words in WORDS.items() for i, word in enumerate(words)}
_VERBS = set(VERBS.values())
_SAME = {"backward": "back", "backwards": "back", "forwards": "forward", "upward": "up", "upwards": "up"}
_SAME |= {"downward": "down", "downwards": "down", "counter-clockwise": "counterclockwise"}
_TOKEN = re.compile(r"\s*(?:(?P<word>[A-Za-z]+(?:-[A-Za-z]+)*)|(?P<mark>\S))")


def verbalize_plan(plan: tuple[MotionPhrase, ...]) -> str:
    """The plan in words; a plan without phrases is "hold still".

    Raises:
        AnnotationError: More phrases than a plan may have.
    """
    if len(plan) > MAX_ROWS:
        raise AnnotationError(f"a plan of {len(plan)} phrases is more than the {MAX_ROWS} it may have")
    return ", then ".join(_phrase(phrase) for phrase in plan) or HOLD


def parse_plan(text: str) -> tuple[MotionPhrase, ...]:
    """The plan that `verbalize_plan` wrote as `text`.

    Spaces, case, a final full stop and words such as "backward" are accepted. For what people and other models
    write use `find_directions`.

    Raises:
        ActionParseError: Not such a plan.
    """
    return _Reader(text).plan()


def _phrase(phrase: MotionPhrase) -> str:
    if not phrase.directions:
        return f"{phrase.gripper} the gripper" if phrase.gripper else HOLD
    parts = []
    verb = ""
    for direction in phrase.directions:
        spoken = [direction.verb] if direction.verb != verb else []
        verb = direction.verb
        parts.append(" ".join([*spoken, *([direction.size] if direction.size else []), direction.word]))
    text = ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else parts[0]
    return f"{text} while {_ING[phrase.gripper]} the gripper" if phrase.gripper else text


class _Reader:
    def __init__(self, text: str):
        self.text = text
        self.tokens = [
            (_SAME.get(match.group().strip().lower(), match.group().strip().lower()), match.start(match.lastgroup or 0))
            for match in _TOKEN.finditer(text, opening(text))
        ]
        self.index = 0

    def plan(self) -> tuple[MotionPhrase, ...]:
        phrases = [self._phrase()]
        while True:
            self._take(",")
            if not self._take("then"):
                break
            if len(phrases) == MAX_ROWS:
                raise self._error(f"more than {MAX_ROWS} phrases")
            phrases.append(self._phrase())
        self._take(".")
        if self.index < len(self.tokens):
            raise self._error("expected ', then' or the end of the plan")
        return tuple(phrases)

    def _phrase(self) -> MotionPhrase:
        if self._take("hold", "still"):
            return MotionPhrase()
        for word in _ING:
            if self._take(word, "the", "gripper"):
                return MotionPhrase(gripper=word)
        directions: list[Direction] = []
        verb = ""
        while True:
            verb, direction = self._direction(verb)
            if direction.axis in (known.axis for known in directions):
                raise self._error("the same axis twice in one phrase", self.index - 1)
            directions.append(direction)
            if not (self._take("and") or (not self._sees(",", "then") and self._take(","))):
                break
            self._take("and")
        for word, ing in _ING.items():
            if self._take("while", ing, "the", "gripper"):
                return MotionPhrase(tuple(directions), word)
        return MotionPhrase(tuple(directions))

    def _direction(self, verb: str) -> tuple[str, Direction]:
        if self._word() in _VERBS:
            verb = self._word()
            self.index += 1
        if not verb:
            raise self._error(f"expected {', '.join(sorted(_VERBS))}, open or close the gripper, or {HOLD}")
        size = next((word for word in ("slightly", "far") if self._take(word)), "")
        found = _AXES.get((verb, self._word()))
        if found is None:
            raise self._error(f"expected a direction to {verb}")
        self.index += 1
        return verb, Direction(*found, size)

    def _word(self) -> str:
        return self.tokens[self.index][0] if self.index < len(self.tokens) else ""

    def _sees(self, *words: str) -> bool:
        return tuple(word for word, _ in self.tokens[self.index : self.index + len(words)]) == words

    def _take(self, *words: str) -> bool:
        if not self._sees(*words):
            return False
        self.index += len(words)
        return True

    def _error(self, reason: str, index: int | None = None) -> ActionParseError:
        where = self.index if index is None else index
        position = self.tokens[where][1] if where < len(self.tokens) else len(self.text)
        return ActionParseError(reason, text=self.text, position=position)

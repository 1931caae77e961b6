"""Actions as a sentence: "move forward 4 cm and left 1 cm, lower 3 cm, then close the gripper".

One clause is one row. Clauses are joined by ", ", the last one by ", then "; the motions of one row by " and ".
- A row whose gripper command differs from the row before says so first: "close the gripper and raise 2 cm"; a row
  of zeros is then just "close the gripper". A first row of zeros says its command in the same way.
- A row of zeros that changes nothing is "hold still".
- The gripper before the first such word is the opposite of that word. Where no row says a word, the sentence begins
  "with the gripper open, " or "with the gripper closed, ". A sentence that leaves the gripper open to guessing is
  refused, never completed.
- "hold still" alone is the chunk without rows.
- Rotation (sentence7): "roll left" is positive roll (fingertips swing left), "tilt back" positive pitch (they swing
  towards the base), "rotate counterclockwise" positive yaw (seen from above).
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

from vlm2vla.errors import ActionParseError
from vlm2vla.language.quantized import QuantizedForm, checked_length, checked_value
from vlm2vla.language.scale import MAX_ROWS, Scale
from vlm2vla.language.scan import NUMBER, number, opening
from vlm2vla.types import ActionChunk

_AXIS_WORDS = (("forward", "back"), ("left", "right"), ("up", "down"))
_TURN_WORDS = (("roll", "left", "right"), ("tilt", "back", "forward"), ("rotate", "counterclockwise", "clockwise"))
_GRIPPER = {1: "open the gripper", 0: "close the gripper"}
_STATE = {1: "open", 0: "closed"}
HOLD = "hold still"

# (verb, word) -> (axis, sign); a bare raise or lower has the word "".
_MEANING = {("move", word): (axis, 1 - 2 * i) for axis, words in enumerate(_AXIS_WORDS) for i, word in enumerate(words)}
_MEANING |= {("raise", ""): (2, 1), ("lower", ""): (2, -1)}
_MEANING |= {
    (verb, word): (3 + axis, 1 - 2 * i)
    for axis, (verb, *words) in enumerate(_TURN_WORDS)
    for i, word in enumerate(words)
}
_VERBS = {verb for verb, _ in _MEANING}
_SAME = {"backward": "back", "backwards": "back", "forwards": "forward", "upward": "up", "upwards": "up"}
_SAME |= {"downward": "down", "downwards": "down", "lift": "raise", "counter-clockwise": "counterclockwise"}
_SAME |= {"anticlockwise": "counterclockwise"}
_UNITS = {"cm": "cm", "centimeter": "cm", "centimeters": "cm", "centimetre": "cm", "centimetres": "cm"}
_UNITS |= {"degree": "deg", "degrees": "deg", "deg": "deg", "\u00b0": "deg"}
_TOKEN = re.compile(
    rf"\s*(?:(?P<number>{NUMBER})(?![0-9]|\.[0-9])|(?P<word>[A-Za-z]+(?:-[A-Za-z]+)*|\u00b0)|(?P<mark>```|\S))"
)


@dataclass(frozen=True)
class SentenceForm(QuantizedForm):
    """Words and numbers, with (sentence7) or without (sentence) rotation."""

    @property
    def name(self) -> str:
        """As `vlm2vla.language.form` takes it."""
        if self.degrees:
            return f"sentence7:{self.centimetres.label}:{self.degrees.label}"
        return f"sentence:{self.centimetres.label}"

    def verbalize(self, chunk: ActionChunk) -> str:
        """Numbers to a sentence.

        Raises:
            AnnotationError: As `quantize`; more rows, more motion in a row, or a longer text than may be said.
        """
        multiples, gripper = self._speakable(chunk)
        if not multiples:
            return HOLD
        clauses = []
        told = False
        for index, (row, bit) in enumerate(zip(multiples, gripper, strict=True)):
            motion = self._motion(row)
            changes = bit != gripper[index - 1] if index else not motion
            told = told or changes
            said = [_GRIPPER[bit]] if changes else []
            clauses.append(" and ".join(said + motion) or HOLD)
        sentence = ", ".join(clauses[:-1]) + ", then " + clauses[-1] if len(clauses) > 1 else clauses[0]
        return checked_length(sentence if told else f"with the gripper {_STATE[gripper[0]]}, {sentence}")

    def parse(self, text: str) -> ActionChunk:
        """Sentence to numbers; the inverse of `verbalize`.

        Spaces, case, a code fence, a label in front, "then" between any clauses, spelled-out units and text behind
        the full stop (or on further lines) are accepted.

        Raises:
            ActionParseError: Anything else, also a sentence that does not tell the gripper.
        """
        reader = _Reader(text, self.scales)
        multiples, gripper = reader.sentence()
        return self._chunk(multiples, gripper)

    def grammar(self) -> str:
        """EBNF (xgrammar dialect) of exactly what `verbalize` writes, up to the bounds on rows and characters.

        Rows are not counted (the rules say which gripper word can follow which); bound the generated tokens.
        """
        lines = [
            f'root ::= "{HOLD}" | "with the gripper " ("open" | "closed") ", " motion calm | motion told '
            f'| "{_GRIPPER[1]}" after_open? | "{_GRIPPER[0]}" after_close?',
            # What follows a row while no gripper word may come, must still come, or came last as open or close.
            'calm ::= "" | (", " quiet)* ", then " quiet',
            'told ::= ", then " (open | close) | ", " (quiet told | open after_open | close after_close)',
            'after_open ::= ", then " (quiet | close) | ", " (quiet after_open | close after_close)',
            'after_close ::= ", then " (quiet | open) | ", " (quiet after_close | open after_open)',
            f'open ::= "{_GRIPPER[1]}" (" and " motion)?',
            f'close ::= "{_GRIPPER[0]}" (" and " motion)?',
            f'quiet ::= motion | "{HOLD}"',
            'motion ::= move (" and " turn)? | turn' if self.degrees else "motion ::= move",
            'move ::= "move " (x (" and " y)? (" and " z)? | y (" and " z)?) | ("raise " | "lower ") cm " cm"',
        ]
        lines += [f'{axis} ::= ("{a} " | "{b} ") cm " cm"' for axis, (a, b) in zip("xyz", _AXIS_WORDS, strict=True)]
        lines.append(f"cm ::= {self.centimetres.positive_rule(minimal=True)}")
        if self.degrees:
            lines.append('turn ::= roll (" and " tilt)? (" and " rotate)? | tilt (" and " rotate)? | rotate')
            lines += [f'{verb} ::= "{verb} " ("{a} " | "{b} ") deg " degrees"' for verb, a, b in _TURN_WORDS]
            lines.append(f"deg ::= {self.degrees.positive_rule(minimal=True)}")
        return "\n".join(lines) + "\n"

    def _motion(self, row: list[int]) -> list[str]:
        """The motions of one row in words, [] where it does not move."""
        length = self.centimetres
        moves = [f"{words[n < 0]} {length.spoken(n)} cm" for words, n in zip(_AXIS_WORDS, row[:3], strict=True) if n]
        if len(moves) == 1 and row[2]:
            moves = [f"{'raise' if row[2] > 0 else 'lower'} {length.spoken(row[2])} cm"]
        elif moves:
            moves[0] = f"move {moves[0]}"
        for (verb, *words), n in zip(_TURN_WORDS, row[3:], strict=False):
            if n:
                moves.append(f"{verb} {words[n < 0]} {self.degrees.spoken(n)} degrees")
        return moves


class _Token(NamedTuple):
    kind: str
    word: str
    start: int
    end: int


class _Reader:
    """Recursive descent over the words of one sentence."""

    def __init__(self, text: str, scales: tuple[Scale, ...]):
        self.text, self.scales = text, scales
        self.tokens: list[_Token] = []
        for match in _TOKEN.finditer(text, opening(text)):
            kind = match.lastgroup or "mark"
            word = match.group(kind)
            word = word.lower() if kind == "word" else word
            self.tokens.append(_Token(kind, _SAME.get(word, word), match.start(kind), match.end()))
        self.index = 0

    def sentence(self) -> tuple[list[list[float]], list[int]]:
        """All rows: multiples, and gripper bits."""
        before = self._state()
        if before is None and self._sees("hold", "still") and self._ends_at(self.index + 2):
            return [], []
        rows: list[list[float]] = []
        words: list[int | None] = []
        while True:
            if len(rows) == MAX_ROWS:
                raise self._error(f"more than {MAX_ROWS} rows")
            row, word = self._clause()
            rows.append(row)
            words.append(word)
            if not (self._take(",") or self._sees("then")):
                break
            self._take("then")
        self._refuse_more()
        first = next((word for word in words if word is not None), None)
        if before is None and first is None:
            raise ActionParseError(
                "the gripper is not told; begin with 'with the gripper open, ' or 'with the gripper closed, '",
                text=self.text,
                position=self.tokens[0].start,
            )
        state = before if before is not None else 1 - (first or 0)
        bits = []
        for word in words:
            state = state if word is None else word
            bits.append(state)
        return rows, bits

    def _state(self) -> int | None:
        if not self._sees("with", "the", "gripper"):
            return None
        self.index += 3
        bit = {"open": 1, "closed": 0}.get(self._word())
        if bit is None:
            raise self._error("expected 'open' or 'closed'")
        self.index += 1
        self._take(",")
        return bit

    def _clause(self) -> tuple[list[float], int | None]:
        """One row, and the gripper bit it says, or None."""
        row = [0.0] * len(self.scales)
        if self._sees("hold", "still"):
            self.index += 2
            return row, None
        bit = None
        for value, name in ((1, "open"), (0, "close")):
            if self._sees(name, "the", "gripper"):
                self.index += 3
                bit = value
        if bit is not None and not self._take("and"):
            return row, bit
        verb, said = "", set[int]()
        while True:
            if self._word() in _VERBS:
                verb = self._word()
                self.index += 1
            self._part(verb, row, said)
            if not self._take("and"):
                return row, bit

    def _part(self, verb: str, row: list[float], said: set[int]) -> None:
        """One direction with its number, added to `row`; `said` holds the axes before it."""
        word = "" if verb in ("raise", "lower") else self._word()
        axis, sign = _MEANING.get((verb, word), (-1, 0))
        if axis < 0 or axis >= len(row):
            known = "move, raise, lower, open, close or hold still" if len(row) == 3 else "a motion"
            raise self._error(f"expected {known}" if not verb else f"expected a direction to {verb}")
        if axis in said:
            raise self._error("the same axis twice in one row")
        said.add(axis)
        self.index += 1 if word else 0
        scale = self.scales[axis]
        figure = self._token()
        if figure.kind != "number" or figure.word[0] in "+-\u2212":
            raise self._error("expected how far, a number without sign")
        value = checked_value(number(figure.word), scale, self.text, figure.start)
        self.index += 1
        if _UNITS.get(self._word()) != scale.suffix:
            raise self._error(f"expected the unit, {'cm' if scale.suffix == 'cm' else 'degrees'}")
        self.index += 1
        row[axis] = sign * value / scale.step

    def _refuse_more(self) -> None:
        """Text behind the sentence is harmless, unless it goes on with actions."""
        if not self._ends_at(self.index):
            raise self._error("expected ',', 'and', 'then' or the end of the sentence")
        following = self.index + (self._token().word in (".", ";", "!"))
        while following < len(self.tokens) and self.tokens[following].word in ("then", "and", "next", ",", "```"):
            following += 1
        self.index = following
        if self._word() in _VERBS or self._sees("hold", "still") or self._word() in ("open", "close"):
            raise self._error("expected all actions in one sentence")

    def _ends_at(self, index: int) -> bool:
        if index >= len(self.tokens):
            return True
        token = self.tokens[index]
        return token.word in (".", ";", "!", "```") or "\n" in self.text[self.tokens[index - 1].end : token.start]

    def _token(self) -> _Token:
        size = len(self.text)
        return self.tokens[self.index] if self.index < len(self.tokens) else _Token("end", "", size, size)

    def _word(self) -> str:
        return self._token().word

    def _sees(self, *words: str) -> bool:
        return tuple(token.word for token in self.tokens[self.index : self.index + len(words)]) == words

    def _take(self, word: str) -> bool:
        if not self._sees(word):
            return False
        self.index += 1
        return True

    def _error(self, reason: str) -> ActionParseError:
        ends = ", but the text ends" if self.index >= len(self.tokens) else ""
        return ActionParseError(reason + ends, text=self.text, position=self._token().start)

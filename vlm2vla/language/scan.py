"""Reading action text one piece at a time, with positions for errors. Nothing is ever evaluated.

Knows what may stand around action text (spaces, code fences, a label) and what a plain number is; the forms know
the rest.
"""

import re

from vlm2vla.errors import ActionParseError
from vlm2vla.language.scale import MAX_CHARS

_FENCE = r"(?:```(?:[a-z]+(?=[ \t]*\n))?\s*)?"
_LABEL = r"(?:(?:the\s+)?(?:next\s+)?(?:actions?(?:[ _]chunk)?|chunk|answer)\s*[:=]\s*)?"
_OPENING = re.compile(rf"\s*{_FENCE}{_LABEL}{_FENCE}", re.IGNORECASE)
# Plain decimals only: no exponents, no NaN, no Infinity, and few enough digits to be a length.
NUMBER = r"[+\-\u2212]?(?:[0-9]{1,6}(?:\.[0-9]{1,12})?|\.[0-9]{1,12})"
_NUMBER = re.compile(rf"(?:{NUMBER}|[+\-\u2212]?[0-9]{{1,6}}\.)(?![\w.])")
_SPACE = re.compile(r"\s*")


def opening(text: str, *, limit: int = MAX_CHARS) -> int:
    """Index where the text proper starts, behind spaces, a code fence and a label such as "Action:".

    Raises:
        ActionParseError: Not a text, empty, or longer than `limit`.
    """
    if not isinstance(text, str):
        raise ActionParseError(f"expected text, not {type(text).__name__}")
    if len(text) > limit:
        raise ActionParseError(f"{len(text)} characters are more than the {limit} allowed", text=text, position=limit)
    match = _OPENING.match(text)
    start = match.end() if match else 0
    if not text[start:].strip():
        raise ActionParseError("nothing to read", text=text, position=start)
    return start


def number(text: str) -> float:
    """The value of what NUMBER matched."""
    return float(text.replace("\u2212", "-"))


class Scanner:
    """A position in a text.

    Attributes:
        text: The whole text.
        position: Index of the next character to read.
    """

    def __init__(self, text: str, position: int = 0):
        self.text = text
        self.position = position

    def skip_space(self) -> int:
        """Go to the next character that is no space; returns its index."""
        match = _SPACE.match(self.text, self.position)
        self.position = match.end() if match else self.position
        return self.position

    def take(self, piece: str) -> bool:
        """Read `piece` if it comes next (behind spaces)."""
        start = self.skip_space()
        if not self.text.startswith(piece, start):
            return False
        self.position = start + len(piece)
        return True

    def expect(self, piece: str, reason: str) -> None:
        """Read `piece`.

        Raises:
            ActionParseError: Something else comes next.
        """
        if not self.take(piece):
            raise self.error(reason)

    def number(self) -> float:
        """Read a plain decimal number.

        Raises:
            ActionParseError: Something else comes next.
        """
        match = _NUMBER.match(self.text, self.skip_space())
        if not match:
            raise self.error("expected a plain number")
        self.position = match.end()
        return number(match.group())

    def error(self, reason: str, position: int | None = None) -> ActionParseError:
        """The error to raise at the current position, or at `position`."""
        where = self.position if position is None else position
        if where >= len(self.text):
            reason = f"{reason}, but the text ends"
        return ActionParseError(reason, text=self.text, position=where)

"""Discrete action tokens: the ablation in which numbers are written with the VLM's ten least likely tokens.

Ten tokens stand for the digits 0 to 9. A value is a whole multiple of the resolution, shifted so that zero motion is
5, 50, 500 ..., and written with a fixed number of digits; a row is dx dy dz and one digit for the gripper (0 closed,
1 open). Nothing separates values or rows, so the model writes no other token than these ten. The chunk without rows
is the single digit 0.

Which ten tokens, and how many digits, the paper's ablation used is not published in detail; the default below names
ten tokens that Gemma's tokenizer reserves and never trains on. An adapter cannot tell such tokens apart where their
embeddings are all but the same, so others can be named (`vlm2vla.training.action_tokens` finds them); they stand in the
form's name then. Translation only, like the paper's form.
"""

import re
from dataclasses import dataclass

from vlm2vla.errors import ActionParseError, ConfigError
from vlm2vla.language.quantized import QuantizedForm
from vlm2vla.language.scale import MAX_ROWS, fixed_width
from vlm2vla.language.scan import opening
from vlm2vla.types import ActionChunk

GEMMA_UNUSED: tuple[str, ...] = tuple(f"<unused{n}>" for n in range(10))
"""Digits 0 to 9 as tokens that Gemma's tokenizer holds in reserve."""

_UNSPEAKABLE = re.compile(r"[\s\"\\,:]")
# A row of 3-digit values is 10 tokens of up to about 10 characters; 64 rows must fit.
_TOKEN_CHARS = 8 * 4000


@dataclass(frozen=True)
class TokensForm(QuantizedForm):
    """Fixed-width digits in ten tokens of a VLM.

    Attributes:
        tokens: For 0 to 9: distinct, without spaces, quotes, commas and colons, none the beginning of another.
    """

    tokens: tuple[str, ...] = GEMMA_UNUSED

    def __post_init__(self):
        if len(self.tokens) != 10 or any(not token or _UNSPEAKABLE.search(token) for token in self.tokens):
            raise ConfigError("action tokens must be ten texts without spaces, quotes, commas, colons and backslashes")
        for token in self.tokens:
            if sum(other.startswith(token) for other in self.tokens) > 1:
                raise ConfigError(f"action token {token!r} is the beginning of another one; they could be confused")

    @property
    def name(self) -> str:
        """As `vlm2vla.language.form` takes it; the tokens stand in it where they are not Gemma's."""
        which = "" if self.tokens == GEMMA_UNUSED else f":{','.join(self.tokens)}"
        return f"tokens:{self.centimetres.label}{which}"

    @property
    def zero(self) -> int:
        """What zero motion is written as: 5, 50, 500 ..., above the largest multiple."""
        zero = 5
        while zero <= self.centimetres.most:
            zero *= 10
        return zero

    @property
    def width(self) -> int:
        """Digits of one value."""
        return len(str(self.zero))

    def verbalize(self, chunk: ActionChunk) -> str:
        """Numbers to tokens.

        Raises:
            AnnotationError: As `quantize`; more rows, or more motion in a row, than may be said.
        """
        multiples, gripper = self._speakable(chunk)
        digits = "".join(
            "".join(str(self.zero + n) for n in row) + str(bit) for row, bit in zip(multiples, gripper, strict=True)
        )
        return "".join(self.tokens[int(digit)] for digit in digits or "0")

    def parse(self, text: str) -> ActionChunk:
        """Tokens to numbers; the inverse of `verbalize`. Spaces and text behind are accepted.

        Raises:
            ActionParseError: No tokens, an incomplete row, a value out of range, or too many rows.
        """
        start = opening(text, limit=_TOKEN_CHARS)
        values = {token: str(digit) for digit, token in enumerate(self.tokens)}
        one = re.compile(r"\s*(" + "|".join(re.escape(token) for token in self.tokens) + ")")
        digits: list[str] = []
        places: list[int] = []
        position = start
        while match := one.match(text, position):
            digits.append(values[match.group(1)])
            places.append(match.start(1))
            position = match.end()
        rest = next((at for token in self.tokens if (at := text.find(token, position)) >= 0), None)
        if rest is not None or not digits:
            raise ActionParseError("expected action tokens in one run", text=text, position=position)
        if digits == ["0"]:
            return self._chunk([], [])
        return self._rows(text, "".join(digits), places)

    def grammar(self) -> str:
        """EBNF (xgrammar dialect) of exactly what `verbalize` writes."""
        most = self.centimetres.most
        values = fixed_width(str(self.zero - most).zfill(self.width), str(self.zero + most), self.tokens)
        return (
            f'root ::= "{self.tokens[0]}" | row{{1,{MAX_ROWS}}}\n'
            f'row ::= value value value ("{self.tokens[0]}" | "{self.tokens[1]}")\n'
            f"value ::= {' | '.join(values)}\n"
        )

    def _rows(self, text: str, digits: str, places: list[int]) -> ActionChunk:
        size = 3 * self.width + 1
        if len(digits) > MAX_ROWS * size:
            raise ActionParseError(f"more than {MAX_ROWS} rows", text=text, position=places[MAX_ROWS * size])
        multiples, gripper = [], []
        for start in range(0, len(digits), size):
            row = digits[start : start + size]
            if len(row) < size:
                raise ActionParseError(
                    f"a row has {size} tokens, the last one has {len(row)}", text=text, position=places[start]
                )
            values = [int(row[at : at + self.width]) - self.zero for at in range(0, size - 1, self.width)]
            for index, value in enumerate(values):
                if abs(value) > self.centimetres.most:
                    where = places[start + index * self.width]
                    far = f"{value * self.centimetres.step:g} cm is beyond the {self.centimetres.limit:g} of one row"
                    raise ActionParseError(far, text=text, position=where)
            if row[-1] not in "01":
                raise ActionParseError("the gripper must be 0 or 1", text=text, position=places[start + size - 1])
            multiples.append(values)
            gripper.append(int(row[-1]))
        return self._chunk(multiples, gripper)

"""How a physical quantity becomes text: whole multiples of one step, and the limits of the action language.

Knows centimetres and degrees (they exist only in this package) and how multiples are printed and enumerated for a
grammar. Knows no chunk, no row and no form.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

from vlm2vla.errors import ConfigError

MAX_CM = 100.0
"""Longest translation of one row on one axis, centimetres; more is a unit error."""
MAX_DEG = 180.0
"""Largest rotation of one row on one axis, degrees."""
MAX_ROWS = 64
"""Most rows of one chunk."""
MAX_CHARS = 4000
"""Longest action text, with whatever stands around it."""

_MOST_DECIMALS = 2
_DIGITS = tuple("0123456789")


@dataclass(frozen=True)
class Scale:
    """Multiples of `step` up to `limit`, both in the unit of the text.

    Attributes:
        step: Smallest difference the text can say, centimetres or degrees.
        limit: Largest absolute value.
        per_si: Text units per metre or radian.
        suffix: "cm" or "deg", as it stands in the name of a form.
    """

    step: float
    limit: float
    per_si: float
    suffix: str

    @property
    def decimals(self) -> int:
        """Decimals that every multiple can be written with."""
        return next(places for places in range(_MOST_DECIMALS + 1) if _whole(self.step * 10**places))

    @property
    def most(self) -> int:
        """Largest multiple within the limit."""
        return math.floor(self.limit / self.step + 1e-9)

    @property
    def label(self) -> str:
        """As it stands in the name of a form, "0.5cm"."""
        return f"{self.step:g}{self.suffix}"

    def written(self, multiple: int) -> str:
        """Signed, always with the same decimals: 5 -> "2.5", -10 -> "-5.0", 0 -> "0.0"; never "-0.0"."""
        return f"{multiple * self.step:.{self.decimals}f}"

    def spoken(self, multiple: int) -> str:
        """Without sign and superfluous zeros, for sentences: 5 -> "2.5", -10 -> "5"."""
        text = f"{abs(multiple) * self.step:.{self.decimals}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text

    def positive_rule(self, *, minimal: bool) -> str:
        """EBNF of exactly the positive multiples as `written` (or, with `minimal`, as `spoken`) prints them."""
        parts = Fraction(round(self.step * 100), 100)
        if parts.numerator != 1:
            texts = (self.spoken(n) if minimal else self.written(n) for n in range(1, self.most + 1))
            return " | ".join(f'"{text}"' for text in texts)
        fractions = [self.written(n)[2:] for n in range(1, parts.denominator)]
        if minimal:
            fractions = [text.rstrip("0") for text in fractions]
        below = whole_numbers(1, int(self.limit) - 1)
        if not fractions:
            return whole_numbers(1, int(self.limit))
        tails = " | ".join(f'"{text}"' for text in fractions)
        if minimal:
            return f'"0." ({tails}) | ({below}) ("." ({tails}))? | "{int(self.limit)}"'
        zeros = "0" * self.decimals
        return f'"0." ({tails}) | ({below}) "." ("{zeros}" | {tails}) | "{int(self.limit)}.{zeros}"'


def centimetres(step: float) -> Scale:
    """Scale of translations.

    Raises:
        ConfigError: The step is not a multiple of 0.01 within the limit.
    """
    return _scale(step, MAX_CM, 100.0, "cm")


def degrees(step: float) -> Scale:
    """Scale of rotations.

    Raises:
        ConfigError: The step is not a multiple of 0.01 within the limit.
    """
    return _scale(step, MAX_DEG, 180.0 / math.pi, "deg")


def whole_numbers(low: int, high: int) -> str:
    """EBNF of the decimal numbers low..high without leading zeros."""
    rules = []
    for width in range(len(str(low)), len(str(high)) + 1):
        first, last = max(low, 10 ** (width - 1) if width > 1 else 0), min(high, 10**width - 1)
        rules += fixed_width(str(first), str(last), _DIGITS)
    return " | ".join(rules)


def fixed_width(low: str, high: str, digits: tuple[str, ...]) -> list[str]:
    """EBNF alternatives of the numbers low..high, both of the same width, leading zeros included."""
    anything = _choice(0, 9, digits)
    if len(low) == 1:
        return [_choice(int(low), int(high), digits)]
    rest = len(low) - 1
    if low[1:] == "0" * rest and high[1:] == "9" * rest:
        return [" ".join([_choice(int(low[0]), int(high[0]), digits)] + [anything] * rest)]
    if low[0] == high[0]:
        head = _choice(int(low[0]), int(low[0]), digits)
        return [f"{head} {tail}" for tail in fixed_width(low[1:], high[1:], digits)]
    rules = []
    start, stop = int(low[0]), int(high[0])
    if low[1:] != "0" * rest:
        rules += fixed_width(low, low[0] + "9" * rest, digits)
        start += 1
    if high[1:] != "9" * rest:
        stop -= 1
    if start <= stop:
        rules.append(" ".join([_choice(start, stop, digits)] + [anything] * rest))
    if high[1:] != "9" * rest:
        rules += fixed_width(high[0] + "0" * rest, high, digits)
    return rules


def _choice(low: int, high: int, digits: tuple[str, ...]) -> str:
    if digits == _DIGITS and low < high:
        return f"[{low}-{high}]"
    options = [f'"{digit}"' for digit in digits[low : high + 1]]
    return options[0] if len(options) == 1 else f"({' | '.join(options)})"


def _scale(step: float, limit: float, per_si: float, suffix: str) -> Scale:
    if not (math.isfinite(step) and 0 < step <= limit and _whole(step * 10**_MOST_DECIMALS)):
        raise ConfigError(f"the resolution {step:g} {suffix} must be a multiple of 0.01 above 0 and at most {limit:g}")
    return Scale(float(step), limit, per_si, suffix)


def _whole(value: float) -> bool:
    return value >= 1 - 1e-9 and abs(value - round(value)) < 1e-9

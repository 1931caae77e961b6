"""Plots as SVG text, without any library: dots with intervals, and dots in a plane."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

# Okabe and Ito: told apart by everybody.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555")
_INK, _GRID = "#222222", "#dddddd"
_WIDTH, _LABEL, _RIGHT, _ROW = 760, 210, 90, 22
_DIRECT = 4
"""So many points of a plane are named where they are; more would cover each other's names."""


@dataclass(frozen=True)
class Dot:
    """One value with its interval; `series` chooses the colour."""

    label: str
    series: str
    value: float
    low: float | None
    high: float | None


def colour_of(series: str, order: Sequence[str]) -> str:
    """The colour of a series, the same in every plot that names its series in this order."""
    return COLOURS[list(order).index(series) % len(COLOURS)]


def dots(
    values: Sequence[Dot], *, title: str, low: float = 0.0, high: float = 1.0, line: float | None = None, order=()
) -> str:
    """Dots with intervals, one row per label, the series of a label under each other; percent below.

    Args:
        values: What to draw.
        title: For those who cannot see it.
        low: Left end of the scale.
        high: Right end.
        line: A vertical line to compare with.
        order: Series in the order of their colours; as they come when empty.
    """
    series = list(order) or list(dict.fromkeys(dot.series for dot in values))
    labels = list(dict.fromkeys(dot.label for dot in values))
    top, step = 16 + 18 * len(_legend_rows(series)), 15
    heights = [max(_ROW, step * sum(dot.label == label for dot in values) + 8) for label in labels]
    height = top + sum(heights) + 34
    span = _WIDTH - _LABEL - _RIGHT

    def x(value: float) -> float:
        return _LABEL + span * (min(max(value, low), high) - low) / (high - low)

    parts = [_legend(series)]
    for tick in _ticks(low, high):
        parts.append(f'<line x1="{x(tick):.1f}" y1="{top}" x2="{x(tick):.1f}" y2="{height - 30}" stroke="{_GRID}"/>')
        parts.append(_text(x(tick), height - 14, f"{tick:.0%}", "middle"))
    if line is not None:
        parts.append(
            f'<line x1="{x(line):.1f}" y1="{top}" x2="{x(line):.1f}" y2="{height - 30}" stroke="{_INK}" '
            'stroke-dasharray="4 3"/>'
        )
    y = top
    for label, tall in zip(labels, heights, strict=True):
        mine = [dot for dot in values if dot.label == label]
        parts.append(_text(_LABEL - 10, y + tall / 2 + 4, label, "end"))
        for number, dot in enumerate(mine):
            middle = y + tall / 2 + (number - (len(mine) - 1) / 2) * step
            parts.append(_dot(dot, x, middle, colour_of(dot.series, series)))
        y += tall
    return _svg(height, title, parts)


def plane(
    points: Sequence[tuple[str, Dot, Dot]], *, title: str, across: str, up: str, line: float | None = None
) -> str:
    """Named points with intervals both ways, 0 to 100 % across and 0 to 120 % up; many are numbered, and named below.

    Args:
        points: (name, where across, where up).
        title: For those who cannot see it.
        across: Name of the horizontal scale.
        up: Name of the vertical one.
        line: A horizontal line to compare with.
    """
    height, left, bottom, top = 380, 70, 330, 20
    wide = _WIDTH - left - _RIGHT

    def x(value: float) -> float:
        return left + wide * min(max(value, 0), 1)

    def y(value: float) -> float:
        return bottom - (bottom - top) * min(max(value, 0), 1.2) / 1.2

    parts = []
    for tick in (0, 0.2, 0.4, 0.6, 0.8, 1.0):
        parts.append(f'<line x1="{x(tick)}" y1="{top}" x2="{x(tick)}" y2="{bottom}" stroke="{_GRID}"/>')
        parts.append(f'<line x1="{left}" y1="{y(tick)}" x2="{left + wide}" y2="{y(tick)}" stroke="{_GRID}"/>')
        parts.append(_text(x(tick), bottom + 18, f"{tick:.0%}", "middle"))
        parts.append(_text(left - 8, y(tick) + 4, f"{tick:.0%}", "end"))
    if line is not None:
        parts.append(
            f'<line x1="{left}" y1="{y(line)}" x2="{left + wide}" y2="{y(line)}" stroke="{_INK}" '
            'stroke-dasharray="4 3"/>'
        )
    parts.append(_text(left + wide / 2, height - 8, across, "middle"))
    parts.append(f'<g transform="translate(16 {(top + bottom) / 2}) rotate(-90)">{_text(0, 0, up, "middle")}</g>')
    for number, (name, right, above) in enumerate(points):
        colour = COLOURS[number % len(COLOURS)]
        here, there = x(right.value), y(above.value)
        if right.low is not None and right.high is not None:
            parts.append(_bar(x(right.low), there, x(right.high), there, colour))
        if above.low is not None and above.high is not None:
            parts.append(_bar(here, y(above.low), here, y(above.high), colour))
        parts.append(f'<circle cx="{here:.1f}" cy="{there:.1f}" r="5" fill="{colour}"/>')
        numbered = len(points) > _DIRECT
        parts.append(_text(here + 9, there - 8, f"{number + 1}" if numbered else name, "start"))
        if numbered:
            column, row = (left - 40) + number % 2 * (_WIDTH - left) / 2, height + 10 + 20 * (number // 2)
            parts.append(f'<circle cx="{column:.1f}" cy="{row}" r="5" fill="{colour}"/>')
            parts.append(_text(column + 12, row + 4, f"{number + 1}  {name}", "start"))
    more = 20 * ((len(points) + 1) // 2) + 8 if len(points) > _DIRECT else 0
    return _svg(height + more, title, parts)


def _dot(dot: Dot, x, y: float, colour: str) -> str:
    bar = ""
    if dot.low is not None and dot.high is not None:
        bar = _bar(x(dot.low), y, x(dot.high), y, colour)
    shown = f"{dot.value:.0%}" + ("" if dot.low is None else f" ({dot.low:.0%} to {dot.high:.0%})")
    return (
        f"<g><title>{escape(f'{dot.label}, {dot.series}: {shown}')}</title>{bar}"
        f'<circle cx="{x(dot.value):.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"/>'
        f"{_text(_WIDTH - _RIGHT + 12, y + 4, f'{dot.value:.0%}', 'start')}</g>"
    )


def _bar(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="2.5" '
        'stroke-opacity="0.55"/>'
    )


def _legend(series: Sequence[str]) -> str:
    parts = []
    for number, row in enumerate(_legend_rows(series)):
        for name, x in row:
            parts.append(f'<circle cx="{x}" cy="{14 + 18 * number}" r="4.5" fill="{colour_of(name, series)}"/>')
            parts.append(_text(x + 9, 18 + 18 * number, name, "start"))
    return "".join(parts)


def _legend_rows(series: Sequence[str]) -> list[list[tuple[str, int]]]:
    """(name, where it begins) of the series, as many in a row as fit."""
    rows, x = [[]], _LABEL
    for name in series:
        wide = 26 + 7 * len(name)
        if rows[-1] and x + wide > _WIDTH:
            rows.append([])
            x = _LABEL
        rows[-1].append((name, x))
        x += wide
    return rows


def _ticks(low: float, high: float) -> list[float]:
    step = next(step for step in (0.05, 0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0) if (high - low) / step <= 8)
    first = -int(-low // step) if low > 0 else int(low / step)
    return [round(number * step, 6) for number in range(first, int(high / step + 1e-9) + 1)]


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{_INK}">{escape(text)}</text>'


def _svg(height: float, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" width="{_WIDTH}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="12"><title>{escape(title)}</title>'
        f'<rect width="100%" height="100%" fill="#ffffff"/>{"".join(parts)}</svg>'
    )

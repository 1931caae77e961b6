"""What the Train page shows of a run: cells of the table, a sentence, the curve of its loss. No Gradio in it."""

import math
from collections.abc import Sequence
from html import escape
from itertools import pairwise
from typing import Any

COLUMNS = ("run", "state", "step", "loss", "held out", "answers/s", "time left")
KINDS = {"training": "", "held out": " held"}
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 900, 220, 44, 10, 12, 34
_MOST = 300  # points of a line; neighbours beyond that are averaged


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """One line of the table, of `RunFolder.summary`."""
    return (
        row["run"],
        row["state"],
        _steps(row),
        _number(row["loss"]),
        _number(row["held_out_loss"]),
        _number(row["samples_per_s"], 1),
        _time(row["seconds_left"]) if row["state"] == "training" else "",
    )


def told(row: dict[str, Any], said: str) -> str:
    """Where a run stands, as HTML; where it ended before it could tell, with the error that its process printed."""
    share = row["step"] / row["steps"] if row["steps"] else 0.0
    left = f"{_time(row['seconds_left'])} left" if row["state"] == "training" and row["seconds_left"] else ""
    steps = f"step {_steps(row)}" if row["steps"] else ""
    wrong = next((line for line in said.splitlines() if "Error" in line), "") if row["state"] == "killed" else ""
    lines = [escape(wrong or row["message"])] if wrong or row["message"] else []
    if row["result"]:
        lines.append(f"Weights: <code>{escape(row['result'])}</code>")
    head = ", ".join([f"<b>{row['state']}</b>", *filter(None, (steps, left))])
    bar = f'<div class="vs-progress"><i class="{row["state"]}" style="width: {share:.1%}"></i></div>'
    return f"<p>{head}</p>{bar}" + "".join(f"<p>{line}</p>" for line in lines)


def curve(rows: Sequence[tuple[int, str, float]]) -> str:
    """SVG of (step, kind, loss) rows; a kind without any has no line."""
    lines = {kind: _thinned([(step, loss) for step, of, loss in rows if of == kind]) for kind in KINDS}
    points = [point for line in lines.values() for point in line]
    if not points:
        return '<p class="vs-loss-none">The loss is drawn from the first step on.</p>'
    last, ticks = max(step for step, _ in points), _ticks(max(loss for _, loss in points))

    def place(step: float, loss: float) -> tuple[float, float]:
        across = (_WIDTH - _LEFT - _RIGHT) * step / max(last, 1)
        return _LEFT + across, _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * loss / ticks[-1]

    parts = []
    for tick in ticks:
        _, y = place(0, tick)
        parts.append(
            f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>{_text(_LEFT - 6, y + 4, f"{tick:g}")}'
        )
    for step in _ticks(last):
        if step <= last:
            parts.append(_text(place(step, 0)[0], _HEIGHT - _BOTTOM + 16, f"{step:g}", "middle"))
    parts.append(_text(_WIDTH - _RIGHT, _HEIGHT - 4, "step"))
    for number, (kind, line) in enumerate((kind, line) for kind, line in lines.items() if line):
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in line))
        dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>' for x, y in (place(*point) for point in line))
        shown = dots if len(line) == 1 or kind == "held out" else ""
        key = f'<circle cx="{_LEFT + 4 + 90 * number}" cy="{_HEIGHT - 8}" r="4"/>'
        parts.append(f'<g class="line{KINDS[kind]}"><polyline points="{drawn}"/>{shown}{key}</g>')
        parts.append(_text(_LEFT + 14 + 90 * number, _HEIGHT - 4, kind, "start"))
    label = ", ".join(f"{kind} {line[-1][1]:.4f} at step {line[-1][0]:g}" for kind, line in lines.items() if line)
    return (
        f'<svg class="vs-loss" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="Loss: {label}">'
        f"{''.join(parts)}</svg>"
    )


def _thinned(line: list[tuple[int, float]]) -> list[tuple[float, float]]:
    """At most `_MOST` points: means of neighbours."""
    line = [(step, loss) for step, loss in line if math.isfinite(loss)]
    size = -(-len(line) // _MOST) or 1
    parts = [line[first:stop] for first, stop in pairwise([*range(0, len(line), size), len(line)])]
    return [(part[-1][0], sum(loss for _, loss in part) / len(part)) for part in parts]


def _ticks(high: float) -> list[float]:
    """From 0 to `high` or a little beyond, at most six round numbers."""
    unit = 10.0 ** math.floor(math.log10(high)) if high > 0 else 1.0
    step = next(unit * share for share in (0.2, 0.5, 1, 2) if high <= 5 * unit * share)
    return [step * number for number in range(max(1, math.ceil(high / step - 1e-9)) + 1)]


def _text(x: float, y: float, text: str, anchor: str = "end") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _steps(row: dict[str, Any]) -> str:
    return f"{row['step']} of {row['steps']}" if row["steps"] else ""


def _number(value: float | None, digits: int = 4) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"

"""How numbers are written in the report."""

from collections.abc import Callable, Mapping
from typing import Any

from vlm2vla.evaluation.report.document import Link
from vlm2vla.evaluation.statistics import Interval

NOTHING = "\u2013"
To = Callable[[str], str]
"""Place of a stored result -> path of its copy beside the report."""


def share(value: Interval | Mapping[str, Any] | None) -> str:
    """A share in percent with its interval."""
    value = _mapping(value)
    if value is None or value["value"] is None:
        return NOTHING
    shown = f"{value['value']:.1%}"
    return shown if value["low"] is None else f"{shown} ({value['low']:.0%}\u2013{value['high']:.0%})"


def number(value: Interval | Mapping[str, Any] | None, digits: int = 2) -> str:
    """A number with its interval."""
    value = _mapping(value)
    if value is None or value["value"] is None:
        return NOTHING
    shown = f"{value['value']:.{digits}f}"
    return shown if value["low"] is None else f"{shown} ({value['low']:.{digits}f}\u2013{value['high']:.{digits}f})"


def points(value: Interval | Mapping[str, Any] | None) -> str:
    """A difference of shares in percentage points with its interval."""
    value = _mapping(value)
    if value is None:
        return NOTHING
    shown = f"{100 * value['value']:+.1f}"
    return shown if value["low"] is None else f"{shown} ({100 * value['low']:+.0f} to {100 * value['high']:+.0f})"


def p_value(value: float | None) -> str:
    """A p value in three digits."""
    return NOTHING if value is None else f"{value:.3g}"


def links(*places: tuple[str, str]) -> tuple[Link, ...] | str:
    """Links from (text, path), each path once; a dash where there are none. Paths that are "" are left out."""
    known: dict[str, str] = {}
    for text, path in places:
        if path:
            known.setdefault(path, text)
    return tuple(Link(text, path) for path, text in known.items()) or NOTHING


def _mapping(value: Interval | Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return value.to_json() if isinstance(value, Interval) else value

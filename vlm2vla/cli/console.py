"""What every command shares: its common flags, how it ends, and lines and bars for people on standard error."""

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from tqdm import tqdm

# Flags of several configs stand side by side: --max-cost, not --gemini.max-cost.
Flat = tyro.conf.OmitArgPrefixes


@dataclass(frozen=True)
class Common:
    """What every command takes."""

    workspace: Path | None = None
    """Artefact folder; VLM2VLA_HOME, else ~/.vlm2vla, when not given."""
    json: bool = False
    """End with one JSON object on standard output."""


@dataclass(frozen=True)
class Done:
    """How a command ended: what --json prints, and the exit status."""

    report: Mapping[str, Any]
    status: int = 0


def grouped(rows: Iterable[Mapping[str, Any]], *keys: str) -> dict[tuple, list[Mapping[str, Any]]]:
    """Rows that agree in these keys, together."""
    groups: dict[tuple, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return groups


def say(line: str) -> None:
    """One line for people."""
    print(line, file=sys.stderr)


class bar:
    """A progress bar on standard error, as a context that gives the callback."""

    def __init__(self, name: str, common: Common, unit: str = "episode"):
        self._bar = tqdm(desc=name, unit=unit, file=sys.stderr, disable=None if common.json else False)

    def __enter__(self) -> Callable[[int, int | None], None]:
        return self._update

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def _update(self, done: int, total: int | None) -> None:
        if total is not None and self._bar.total != total:
            self._bar.total = total
        self._bar.update(done - self._bar.n)

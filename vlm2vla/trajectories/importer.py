"""Import: read a data set past its damaged parts, index what is good, and report the rest.

Knows the order of things; the readers know formats, the index knows the disk.
"""

import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from vlm2vla.config import ImportConfig
from vlm2vla.errors import TrajectoryError
from vlm2vla.trajectories import formats
from vlm2vla.trajectories.index import EpisodeIndex
from vlm2vla.types import Episode
from vlm2vla.workspace import Workspace, write_atomic

logger = logging.getLogger(__name__)

# Called with the number of episodes read so far and how many there are, where that is known.
Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class ImportReport:
    """What an import found and did.

    Attributes:
        path: What was imported.
        format: Reader that was used.
        datasets: Names that the episodes were imported under.
        episodes: Good episodes found, those already present included; the same episode found twice counts once.
        steps: Steps of those episodes.
        added: How many of them are new in the workspace.
        updated: How many were present but got another place for their frames.
        duplicates: How often an episode was found again in this import.
        errors: One row per problem: kind, message, path, record.
        notes: What readers decided, and for how many episodes.
        seconds: Wall time.
        created_at: ISO 8601 time, UTC.
    """

    path: str
    format: str
    datasets: tuple[str, ...]
    episodes: int
    steps: int
    added: int
    updated: int
    duplicates: int
    errors: tuple[dict[str, Any], ...]
    notes: dict[str, int]
    seconds: float
    created_at: str

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def import_episodes(config: ImportConfig, workspace: Workspace, progress: Progress | None = None) -> ImportReport:
    """Index the episodes at `config.path`, and write a report into the workspace.

    Importing the same again adds nothing. Frames stay where they are.

    Raises:
        FormatError: No reader recognises the path, or several formats lie below it.
        WorkspaceError: The workspace cannot be written.
    """
    started, created_at = time.monotonic(), datetime.now(UTC)
    path = Path(os.path.abspath(Path(config.path).expanduser()))
    found = formats.choose(path, config.format)
    total = formats.count(found)
    if config.limit:
        total = config.limit if total is None else min(total, config.limit)
    tally = _Tally(progress, total)
    episodes = formats.read_found(found, dataset=config.dataset, rate_hz=config.rate_hz, on_error=tally.error)
    result = EpisodeIndex(workspace).add(tally.watch(islice(episodes, config.limit or None)))
    report = ImportReport(
        path=str(path),
        format=found[0][0],
        datasets=tuple(sorted(tally.datasets)),
        episodes=len(tally.ids),
        steps=tally.steps,
        added=result.added,
        updated=result.updated,
        duplicates=tally.duplicates,
        errors=tuple(tally.errors),
        notes=dict(tally.notes),
        seconds=round(time.monotonic() - started, 3),
        created_at=created_at.isoformat(timespec="seconds"),
    )
    name = f"import-{created_at:%Y%m%dT%H%M%S.%fZ}.json"
    write_atomic(workspace.reports / name, json.dumps(report.to_json(), indent=1, ensure_ascii=False))
    logger.info("imported %s: %d episodes, %d added, %d errors", path, report.episodes, result.added, len(tally.errors))
    return report


class _Tally:
    """Counts what passes by."""

    def __init__(self, progress: Progress | None, total: int | None):
        self._progress, self._total = progress, total
        self.ids: set[str] = set()
        self.datasets: set[str] = set()
        self.errors: list[dict[str, Any]] = []
        self.notes: dict[str, int] = {}
        self.steps = self.duplicates = 0

    def error(self, error: TrajectoryError) -> None:
        logger.debug("%s", error)  # whoever imports shows the report
        self.errors.append(error.as_row())

    def watch(self, episodes: Iterator[Episode]) -> Iterator[Episode]:
        for episode in episodes:
            if episode.id in self.ids:
                self.duplicates += 1
            else:
                self.ids.add(episode.id)
                self.steps += len(episode)
                self.datasets.add(episode.dataset)
                for note in episode.notes:
                    self.notes[note] = self.notes.get(note, 0) + 1
            if self._progress is not None:
                self._progress(len(self.ids), self._total)
            yield episode

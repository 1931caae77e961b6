"""The workspace's index of imported episodes: numbers, words, and where the frames are. No frames.

One parquet file per import, written whole or not at all. Files are only ever added; where an id occurs twice the later
file counts (a data set that moved, or got its missing videos, is imported again). Annotators read numbers from here and
never touch the source.
"""

import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vlm2vla.embodiment import embodiment
from vlm2vla.errors import NotFoundError, WorkspaceError
from vlm2vla.trajectories import formats
from vlm2vla.types import Episode, Source, Subtask
from vlm2vla.workspace import Workspace

logger = logging.getLogger(__name__)

# Small groups make one episode cheap to read; the columns of 60,000 episodes are still read in one go.
_GROUP_ROWS = 64
_STALE_PART_S = 24 * 3600

_LIGHT = ("id", "dataset", "instruction", "steps", "rate_hz", "embodiment", "cameras")
_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("dataset", pa.string()),
        ("instruction", pa.string()),
        ("steps", pa.int32()),
        ("rate_hz", pa.float64()),
        ("embodiment", pa.string()),
        ("cameras", pa.list_(pa.string())),
        ("format", pa.string()),
        ("path", pa.string()),
        ("locator", pa.string()),
        ("ids", pa.string()),
        ("paraphrases", pa.list_(pa.string())),
        ("subtasks", pa.string()),
        ("notes", pa.list_(pa.string())),
        ("states", pa.list_(pa.float64())),
        ("commands", pa.list_(pa.float64())),
    ]
)


@dataclass(frozen=True)
class EpisodeSummary:
    """What lists and queues show of an episode."""

    id: str
    dataset: str
    instruction: str
    steps: int
    rate_hz: float
    embodiment: str
    cameras: tuple[str, ...]


@dataclass(frozen=True)
class AddResult:
    """What `EpisodeIndex.add` did: new episodes, those already present, and those whose frames have a new place."""

    added: int
    present: int
    updated: int


class EpisodeIndex:
    """Imported episodes of a workspace, by id. Safe to use from several threads and beside other processes."""

    def __init__(self, workspace: Workspace):
        """Open the index.

        Raises:
            WorkspaceError: An index file is damaged.
        """
        self._folder = workspace.episodes
        self._lock = threading.RLock()
        self._files: dict[str, _File] = {}
        self._places: dict[str, tuple[_File, int]] = {}
        self._refresh()

    def __len__(self) -> int:
        """Number of episodes."""
        with self._lock:
            self._refresh()
            return len(self._places)

    def __contains__(self, id: str) -> bool:
        with self._lock:
            self._refresh()
            return id in self._places

    def ids(self, dataset: str = "") -> list[str]:
        """Ids in order of import, of one data set or of all."""
        with self._lock:
            self._refresh()
            return [
                id for id, (file, row) in self._places.items() if not dataset or file.column("dataset")[row] == dataset
            ]

    def datasets(self) -> dict[str, int]:
        """Number of episodes by data set."""
        counts: dict[str, int] = {}
        for summary in self.summaries():
            counts[summary.dataset] = counts.get(summary.dataset, 0) + 1
        return counts

    def summaries(self, dataset: str = "") -> list[EpisodeSummary]:
        """What lists show, in order of import, without any arrays."""
        with self._lock:
            self._refresh()
            rows = [file.summaries[row] for file, row in self._places.values()]
        return [summary for summary in rows if not dataset or summary.dataset == dataset]

    def get(self, id: str) -> Episode:
        """The episode called `id`; frames are read from the source when asked for.

        Raises:
            NotFoundError: No such episode.
        """
        with self._lock:
            self._refresh()
            if id not in self._places:
                raise NotFoundError(f"no episode {id!r} in {self._folder.parent}; it has {len(self._places)}")
            file, row = self._places[id]
            return _episode(file.row(row))

    def episodes(self, dataset: str = "") -> Iterator[Episode]:
        """Every episode in order of import, one row group in memory at a time."""
        with self._lock:
            self._refresh()
            places = dict(self._places)
        for file in dict.fromkeys(file for file, _ in places.values()):
            for number, row in file.rows():
                wanted = not dataset or row["dataset"] == dataset
                if wanted and places.get(row["id"]) == (file, number):
                    yield _episode(row)

    def add(self, episodes: Iterable[Episode]) -> AddResult:
        """Add what is new. All of it becomes visible at the end, in one new file; on an error nothing does.

        Stopping with Ctrl-C keeps what was read so far; adding the same again continues from there.

        Raises:
            WorkspaceError: The index cannot be written.
        """
        self._remove_stale_parts()
        writer = _Writer(self._folder)
        counts = {"added": 0, "present": 0, "updated": 0}
        seen: set[str] = set()
        try:
            for episode in episodes:
                what = "present" if episode.id in seen else self._compare(episode)
                seen.add(episode.id)
                counts[what] += 1
                if what != "present":
                    writer.append(episode)
        except KeyboardInterrupt:
            writer.commit()
            raise
        except BaseException:
            writer.abort()
            raise
        writer.commit()
        with self._lock:
            self._refresh()
        return AddResult(**counts)

    def _compare(self, episode: Episode) -> str:
        """Whether the episode is "added" (new), "updated" (its frames have a new place) or "present"."""
        with self._lock:
            if episode.id not in self._places:
                return "added"
            file, row = self._places[episode.id]
            path, locator = file.sources[0][row], file.sources[1][row]
        source = episode.source
        if path == source.path:
            return "present" if locator == _dump(source.locator) else "updated"
        return "present" if Path(path).exists() else "updated"

    def _refresh(self) -> None:
        """Notice files that another process added or removed."""
        found = {
            entry.name: entry.stat().st_mtime_ns
            for entry in os.scandir(self._folder)
            if entry.name.endswith(".parquet") and not entry.name.startswith(".")
        }
        if found == {name: file.mtime_ns for name, file in self._files.items()}:
            return
        files = {}
        for name, mtime_ns in sorted(found.items()):
            known = self._files.get(name)
            files[name] = known if known and known.mtime_ns == mtime_ns else _File(self._folder / name, mtime_ns)
        self._files = files
        self._places = {id: (file, row) for file in files.values() for row, id in enumerate(file.column("id"))}

    def _remove_stale_parts(self) -> None:
        """Remove what an import left behind that was killed long ago."""
        for part in self._folder.glob(".*.part"):
            try:
                if time.time() - part.stat().st_mtime > _STALE_PART_S:
                    part.unlink()
            except OSError:
                logger.warning("cannot remove %s", part)


class _File:
    """One parquet file of the index; columns for lists in memory, the rest read row group by row group."""

    def __init__(self, path: Path, mtime_ns: int):
        self.path, self.mtime_ns = path, mtime_ns
        try:
            self._parquet = pq.ParquetFile(path, page_checksum_verification=True)
            if not self._parquet.schema_arrow.equals(_SCHEMA):
                raise _damaged(path, "its columns are not those of this version")
            self._light = self._parquet.read(columns=list(_LIGHT))
        except (OSError, ValueError, pa.ArrowException) as error:
            raise _damaged(path, error) from error
        groups = (self._parquet.metadata.row_group(i).num_rows for i in range(self._parquet.num_row_groups))
        self._starts = np.cumsum([0, *groups])
        self._columns: dict[str, list[Any]] = {}

    def column(self, name: str) -> list[Any]:
        if name not in self._columns:
            self._columns[name] = self._light.column(name).to_pylist()
        return self._columns[name]

    @cached_property
    def summaries(self) -> list[EpisodeSummary]:
        columns = [self.column(name) for name in _LIGHT]
        return [EpisodeSummary(*row[:-1], cameras=tuple(row[-1])) for row in zip(*columns, strict=True)]

    @cached_property
    def sources(self) -> tuple[list[str], list[str]]:
        """(path, locator) columns; only importing needs them."""
        table = self._parquet.read(columns=["path", "locator"])
        return table.column("path").to_pylist(), table.column("locator").to_pylist()

    def row(self, number: int) -> dict[str, Any]:
        group = int(np.searchsorted(self._starts, number, side="right")) - 1
        return _row(self._group(self._parquet, group), number - int(self._starts[group]))

    def rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        parquet = pq.ParquetFile(self.path, page_checksum_verification=True)
        for group in range(parquet.num_row_groups):
            table = self._group(parquet, group)
            for offset in range(table.num_rows):
                yield int(self._starts[group]) + offset, _row(table, offset)

    def _group(self, parquet: pq.ParquetFile, group: int) -> pa.Table:
        try:
            return parquet.read_row_group(group, use_threads=False)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise _damaged(self.path, error) from error


def _damaged(path: Path, error: Exception | str) -> WorkspaceError:
    return WorkspaceError(f"index file {path} is damaged ({error}); remove it and import those data again")


class _Writer:
    """Writes one new file of the index; it appears under its name only when it is complete."""

    def __init__(self, folder: Path):
        # Names sort by time, so later files win over earlier ones.
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{uuid.uuid4().hex[:8]}.parquet"
        self._path, self._part = folder / name, folder / f".{name}.part"
        self._writer: pq.ParquetWriter | None = None
        self._rows: list[dict[str, Any]] = []

    def append(self, episode: Episode) -> None:
        self._rows.append(_as_row(episode))
        if len(self._rows) == _GROUP_ROWS:
            self._flush()

    def commit(self) -> None:
        self._flush()
        if self._writer is None:
            return
        try:
            self._writer.close()
            with open(self._part, "rb") as file:
                os.fsync(file.fileno())
            os.replace(self._part, self._path)
        except OSError as error:
            self.abort()
            raise WorkspaceError(f"cannot write the index file {self._path}: {error}") from error

    def abort(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._part.unlink(missing_ok=True)

    def _flush(self) -> None:
        if not self._rows:
            return
        try:
            if self._writer is None:
                self._writer = pq.ParquetWriter(self._part, _SCHEMA, compression="zstd", write_page_checksum=True)
            self._writer.write_table(pa.Table.from_pylist(self._rows, _SCHEMA), row_group_size=_GROUP_ROWS)
        except OSError as error:
            raise WorkspaceError(f"cannot write the index file {self._part}: {error}") from error
        self._rows = []


def _as_row(episode: Episode) -> dict[str, Any]:
    source = episode.source
    return {
        "id": episode.id,
        "dataset": episode.dataset,
        "instruction": episode.instruction,
        "steps": len(episode),
        "rate_hz": episode.rate_hz,
        "embodiment": episode.embodiment.name,
        "cameras": list(episode.cameras),
        "format": source.format,
        "path": source.path,
        "locator": _dump(source.locator),
        "ids": _dump(source.ids),
        "paraphrases": list(episode.paraphrases),
        "subtasks": json.dumps([asdict(subtask) for subtask in episode.subtasks], ensure_ascii=False),
        "notes": list(episode.notes),
        "states": episode.states.ravel(),
        "commands": None if episode.commands is None else episode.commands.ravel(),
    }


def _row(table: pa.Table, number: int) -> dict[str, Any]:
    """One row; number lists as arrays, without making Python floats of them."""
    row = {}
    for name in table.column_names:
        value = table.column(name)[number]
        numeric = name in ("states", "commands") and value.is_valid
        row[name] = value.values.to_numpy(zero_copy_only=False) if numeric else value.as_py()
    return row


def _episode(row: dict[str, Any]) -> Episode:
    source = Source(row["format"], row["path"], json.loads(row["locator"]), json.loads(row["ids"]))
    return Episode(
        id=row["id"],
        dataset=row["dataset"],
        source=source,
        instruction=row["instruction"],
        embodiment=embodiment(row["embodiment"]),
        rate_hz=row["rate_hz"],
        states=_matrix(row["states"]),
        commands=None if row["commands"] is None else _matrix(row["commands"]),
        cameras=formats.cameras(source, row["steps"]),
        paraphrases=tuple(row["paraphrases"]),
        subtasks=tuple(Subtask(**subtask) for subtask in json.loads(row["subtasks"])),
        notes=tuple(row["notes"]),
    )


def _matrix(values: np.ndarray) -> np.ndarray:
    """[T * 7] -> [T, 7], not tied to the row group's memory, read-only."""
    matrix = values.reshape(-1, 7).copy()
    matrix.setflags(write=False)
    return matrix


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)

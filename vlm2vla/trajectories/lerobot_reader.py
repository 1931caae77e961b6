"""LeRobot data sets, versions 2.x and 3.0, as episodes.

Numbers come from parquet, frames from MP4 (any codec PyAV decodes) or from image columns. Language columns of all three
generations are read: task only; `subtask_index` with `subtasks.parquet`; `language_persistent` and `language_events`. A
missing or broken video costs its camera, not the episode. Binary columns are never opened: they may be pickles.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vlm2vla.errors import CorruptRecordError, FormatError, InvalidEpisodeError, NotFoundError, TrajectoryError
from vlm2vla.trajectories.lerobot_columns import ColumnMap, choose_columns
from vlm2vla.trajectories.lerobot_layout import INFO, EpisodeEntry, Layout, open_layout
from vlm2vla.trajectories.validation import OnError, make_episode, malformed_as
from vlm2vla.trajectories.video import VideoFrames
from vlm2vla.types import Episode, FrameSource, Source, Subtask

FORMAT_V2, FORMAT_V3 = "lerobot-v2", "lerobot-v3"

_KEYS = ("episode_index", "frame_index", "timestamp", "task_index", "subtask_index")
_PERSISTENT, _EVENTS = "language_persistent", "language_events"
# Timestamps further from the grid of the data set's rate than this share of a step are kept one by one.
_IRREGULAR = 0.25


@dataclass(frozen=True)
class EpisodeLanguage:
    """Language columns of one episode, as they are stored.

    Attributes:
        persistent: Rows of `language_persistent`.
        events: (frame index, row) of `language_events`.
        subtasks: Spans of `subtask_index`, or of the persistent rows of style "subtask".
    """

    persistent: tuple[dict[str, Any], ...]
    events: tuple[tuple[int, dict[str, Any]], ...]
    subtasks: tuple[Subtask, ...]


@dataclass(frozen=True)
class TableFrames:
    """Frames of one camera that are stored in an image column of a parquet file."""

    path: str
    column: str
    first_row: int
    steps: int

    def __len__(self) -> int:
        return self.steps

    def read(self, step: int) -> bytes:
        """Encoded image of `step`; see `vlm2vla.types.FrameSource`."""
        row = self.first_row + step
        for group, (first, last) in enumerate(_row_groups(self.path)):
            if first <= row < last:
                data = _image_group(self.path, self.column, group)[row - first]
                if data:
                    return data
        raise CorruptRecordError(f"no image in column {self.column}", path=self.path, record=row)


@dataclass
class _Table:
    """The needed columns of one parquet file, and which rows belong to which episode."""

    path: Path
    columns: dict[str, np.ndarray]
    persistent: dict[int, list[dict[str, Any]]] = field(default_factory=dict)

    def rows(self, index: int) -> slice:
        """Rows of one episode.

        Raises:
            InvalidEpisodeError: There are none, or they are scattered.
        """
        if "episode_index" not in self.columns:
            return slice(0, len(next(iter(self.columns.values()))))
        found = np.flatnonzero(self.columns["episode_index"][:, 0] == index)
        if not len(found):
            raise InvalidEpisodeError("the file has no rows of this episode")
        if found[-1] - found[0] + 1 != len(found):
            raise InvalidEpisodeError("the rows of this episode are scattered among others")
        return slice(int(found[0]), int(found[-1]) + 1)


def read(path: Path, *, dataset: str = "", rate_hz: float = 0.0, on_error: OnError) -> Iterator[Episode]:
    """Episodes of a LeRobot data set, past damaged and invalid ones.

    Args:
        path: Folder with `meta/info.json`.
        dataset: Name to import under; the folder's name by default.
        rate_hz: True rate where that of info.json is wrong.
        on_error: Told about what is left out.

    Raises:
        FormatError: Metadata cannot be read, or hold no end-effector pose.
    """
    layout = open_layout(path)
    try:
        with malformed_as(FormatError, path / INFO):
            columns = choose_columns(layout.features, layout.robot_type)
    except FormatError as error:
        raise FormatError(error.args[0], path=path / INFO) from None
    reader = _Reader(layout, columns, dataset or path.name, rate_hz or layout.fps, on_error)
    for entry in layout.episodes(on_error):
        try:
            with malformed_as(InvalidEpisodeError, path / entry.data, entry.index):
                episode = reader.episode(entry)
            yield episode
        except TrajectoryError as error:
            where = error.path if error.path and error.path != str(path) else path / entry.data
            on_error(type(error)(error.args[0], path=where, record=entry.index))


def count(path: Path) -> int | None:
    """How many episodes info.json promises."""
    return open_layout(path).total_episodes


def cameras(source: Source, steps: int) -> dict[str, FrameSource]:
    """Frame sources of an episode that was read before."""
    root = Path(source.path)
    found: dict[str, FrameSource] = {}
    for name, entry in source.locator["cameras"].items():
        if "video" in entry:
            times = tuple(entry.get("times", ()))
            found[name] = VideoFrames(str(root / entry["video"]), entry["start_s"], entry["fps"], steps, times)
        else:
            found[name] = TableFrames(str(root / entry["table"]), entry["column"], entry["row"], steps)
    return found


def read_language(root: Path, episode_index: int) -> EpisodeLanguage:
    """The language columns of one episode.

    Raises:
        NotFoundError: No such episode.
        TrajectoryError: The data set cannot be read.
    """
    layout = open_layout(root)
    entry = next((entry for entry in layout.episodes(_raise) if entry.index == episode_index), None)
    if entry is None:
        raise NotFoundError(f"{root} has no episode {episode_index}")
    table = _load(root / entry.data, _KEYS)
    rows = table.rows(episode_index)
    events: list[tuple[int, dict[str, Any]]] = []
    parquet = _open(root / entry.data)
    if _EVENTS in parquet.schema_arrow.names:
        column = parquet.read(columns=[_EVENTS]).column(_EVENTS).slice(rows.start, rows.stop - rows.start)
        events = [(step, row) for step, entries in enumerate(column.to_pylist()) for row in entries or ()]
    persistent = table.persistent.get(episode_index, [])
    subtasks = _subtasks(layout, table, rows, persistent, rows.stop - rows.start)
    return EpisodeLanguage(tuple(persistent), tuple(events), subtasks)


class _Reader:
    """Reads the episodes of one data set in order; a file with many episodes is read once."""

    def __init__(self, layout: Layout, columns: ColumnMap, dataset: str, rate_hz: float, on_error: OnError):
        self._layout, self._columns, self._dataset, self._rate_hz = layout, columns, dataset, rate_hz
        self._on_error = on_error
        self._table: _Table | None = None
        self._broken_videos: set[str] = set()

    def episode(self, entry: EpisodeEntry) -> Episode:
        """Read one episode.

        Raises:
            TrajectoryError: It cannot be one.
        """
        layout = self._layout
        path = layout.root / entry.data
        if self._table is None or self._table.path != path:
            self._table = None
            self._table = _load(path, (*_KEYS, *self._columns.needed))
        table = self._table
        missing = [name for name in self._columns.needed if name not in table.columns]
        if missing:
            raise InvalidEpisodeError(f"columns {', '.join(missing)} are missing although info.json names them")
        rows = table.rows(entry.index)
        steps = rows.stop - rows.start
        numbers = {name: table.columns[name][rows] for name in self._columns.needed}
        states, commands, notes = self._columns.convert(numbers, self._rate_hz)
        persistent = table.persistent.get(entry.index, [])
        tasks = self._tasks(entry, table, rows)
        found, camera_notes = self._cameras(entry, table, rows)
        source = Source(
            format=FORMAT_V2 if layout.version == 2 else FORMAT_V3,
            path=str(layout.root),
            locator={"data": entry.data, "row": rows.start, "cameras": found},
            ids={"episode_index": str(entry.index)},
        )
        return make_episode(
            dataset=self._dataset,
            source=source,
            instruction=tasks[0] if tasks else "",
            embodiment=self._columns.embodiment,
            rate_hz=self._rate_hz,
            states=states,
            commands=commands,
            cameras=cameras(source, steps),
            paraphrases=[*tasks[1:], *(row["content"] or "" for row in persistent if row["style"] == "task_aug")],
            subtasks=_subtasks(layout, table, rows, persistent, steps),
            notes=notes + camera_notes,
            record=entry.index,
        )

    def _tasks(self, entry: EpisodeEntry, table: _Table, rows: slice) -> list[str]:
        """Task strings, that of the first frame first."""
        texts: list[str] = []
        if "task_index" in table.columns:
            numbers = dict.fromkeys(table.columns["task_index"][rows, 0].astype(int).tolist())
            texts = [self._layout.tasks[number] for number in numbers if number in self._layout.tasks]
        return [text for text in dict.fromkeys([*texts, *entry.tasks]) if text.strip()]

    def _cameras(self, entry: EpisodeEntry, table: _Table, rows: slice) -> tuple[dict[str, Any], list[str]]:
        """Locators of the cameras whose frames are there, and notes about the others; problems are reported."""
        found: dict[str, Any] = {}
        notes: list[str] = []
        times = _irregular_times(table, rows, self._layout.fps)
        for camera in self._layout.cameras:
            try:
                if camera.in_video:
                    locator = self._video(camera.key, entry, rows.stop - rows.start, times)
                else:
                    locator = self._image_column(camera.key, entry, table, rows)
            except CorruptRecordError as error:
                notes.append(f"camera {camera.name} left out: {error.args[0]}")
                if error.path not in self._broken_videos:
                    self._broken_videos.add(error.path)
                    message = f"camera {camera.name} left out: {error.args[0]}"
                    self._on_error(CorruptRecordError(message, path=error.path, record=entry.index))
                continue
            if locator is None:
                notes.append(f"camera {camera.name} left out: every frame is the same picture, a placeholder")
            else:
                found[camera.name] = locator
        return found, notes

    def _video(self, key: str, entry: EpisodeEntry, steps: int, times: list[float]) -> dict[str, Any] | None:
        if key not in entry.videos:
            raise CorruptRecordError("the metadata name no video of this episode", path=self._layout.root / INFO)
        place, start_s = entry.videos[key]
        path = self._layout.root / place
        if not path.is_file():
            raise CorruptRecordError(
                "the video that the metadata name is missing; put it there and import again", path=path
            )
        frames = VideoFrames(str(path), start_s, self._layout.fps, steps, tuple(times))
        frames.check_length()
        if frames.is_placeholder():
            return None
        locator = {"video": place, "start_s": start_s, "fps": self._layout.fps}
        return {**locator, "times": times} if times else locator

    def _image_column(self, key: str, entry: EpisodeEntry, table: _Table, rows: slice) -> dict[str, Any] | None:
        frames = TableFrames(str(table.path), key, rows.start, rows.stop - rows.start)
        if frames.read(0) == frames.read(len(frames) - 1) == frames.read(len(frames) // 2):
            return None
        return {"table": entry.data, "column": key, "row": rows.start}


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, page_checksum_verification=True)
    except FileNotFoundError as error:
        raise CorruptRecordError("the data file that the metadata name is missing", path=path) from error
    except (OSError, ValueError, pa.ArrowException) as error:
        raise CorruptRecordError(f"not a readable parquet file: {error}", path=path) from error


def _load(path: Path, names: Sequence[str]) -> _Table:
    """Read numeric columns as [rows, n] arrays, and the persistent language rows of each episode."""
    parquet = _open(path)
    present = [name for name in dict.fromkeys(names) if name in parquet.schema_arrow.names]
    try:
        data = parquet.read(columns=present)
        table = _Table(path, {name: _array(data.column(name), name) for name in present})
        if _PERSISTENT in parquet.schema_arrow.names:
            # The same rows stand on every frame of an episode; the first ones are enough.
            for batch in parquet.iter_batches(batch_size=256, columns=["episode_index", _PERSISTENT]):
                indices = batch.column("episode_index").to_numpy()
                for index in np.unique(indices).tolist():
                    if index not in table.persistent:
                        row = int(np.flatnonzero(indices == index)[0])
                        table.persistent[index] = batch.column(_PERSISTENT)[row].as_py() or []
    except (OSError, pa.ArrowException, KeyError) as error:
        raise CorruptRecordError(f"the data file cannot be read: {error}", path=path) from error
    return table


def _array(column: pa.ChunkedArray, name: str) -> np.ndarray:
    """[rows, n]; [rows, 1] of a plain column."""
    values = column.combine_chunks()
    rows = len(values)
    if isinstance(values, (pa.ListArray, pa.LargeListArray, pa.FixedSizeListArray)):
        flat = values.flatten()
        if values.null_count or rows and len(flat) % rows:
            raise InvalidEpisodeError(f"column {name} has rows of different length")
        if isinstance(values, (pa.ListArray, pa.LargeListArray)) and len({*np.diff(values.offsets.to_numpy())}) > 1:
            raise InvalidEpisodeError(f"column {name} has rows of different length")
        values = flat
    try:
        return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(rows, -1 if rows else 1)
    except (pa.ArrowException, ValueError) as error:
        raise InvalidEpisodeError(f"column {name} does not hold numbers: {error}") from error


def _irregular_times(table: _Table, rows: slice, fps: float) -> list[float]:
    """Timestamps where they leave the grid of `fps`, else nothing."""
    if "timestamp" not in table.columns:
        return []
    times = table.columns["timestamp"][rows, 0].astype(float)
    grid = np.arange(len(times)) / fps
    if np.isfinite(times).all() and np.abs(times - grid).max() > _IRREGULAR / fps and (times >= 0).all():
        return [round(float(time), 6) for time in times]
    return []


def _subtasks(
    layout: Layout, table: _Table, rows: slice, persistent: Sequence[Mapping[str, Any]], steps: int
) -> tuple[Subtask, ...]:
    """Spans of subtasks, of whichever generation the data set has."""
    starts = sorted(
        (round((row["timestamp"] or 0.0) * layout.fps), row["content"])
        for row in persistent
        if row["style"] == "subtask" and row["content"]
    )
    if not starts and "subtask_index" in table.columns:
        labels = table.columns["subtask_index"][rows, 0].astype(int)
        changes = [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist()]
        starts = [(step, layout.subtasks.get(int(labels[step]), "")) for step in changes]
    ends = [*(start for start, _ in starts), steps][1:]
    return tuple(
        Subtask(text, start, end)
        for (start, text), end in zip(starts, ends, strict=True)
        if text and start < end <= steps
    )


@lru_cache(maxsize=16)
def _row_groups(path: str) -> list[tuple[int, int]]:
    metadata = _open(Path(path)).metadata
    ends = np.cumsum([metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]).tolist()
    return list(zip([0, *ends[:-1]], ends, strict=True))


@lru_cache(maxsize=8)
def _image_group(path: str, column: str, group: int) -> list[bytes | None]:
    """Encoded images of one row group."""
    try:
        values = _open(Path(path)).read_row_group(group, columns=[column]).column(column).to_pylist()
        return [value["bytes"] if isinstance(value, dict) else value for value in values]
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise CorruptRecordError(f"images of column {column} cannot be read: {error}", path=path) from error


def _raise(error: TrajectoryError) -> None:
    raise error

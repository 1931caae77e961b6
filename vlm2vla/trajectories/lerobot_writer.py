"""Writes LeRobot v3.0: parquet with one row group per episode, H.264 video, statistics, language columns.

Episodes stream through; the folder appears under its name only when it is complete. Language rows come from the caller:
this module checks their form, and does not know what they say.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vlm2vla import motion
from vlm2vla.errors import ExportError
from vlm2vla.trajectories import lerobot_files
from vlm2vla.trajectories.lerobot_files import EpisodeRows, RowGroups, place_of
from vlm2vla.trajectories.lerobot_stats import Total, image_stats, vector_stats
from vlm2vla.trajectories.video_writer import CameraWriter, Clip
from vlm2vla.types import Episode

LanguageRow = Mapping[str, Any]

_DATA_MB, _VIDEO_MB = 100, 200
# Episodes looked at before the first is written, to learn which cameras there are.
_LOOK_AHEAD = 100
_NAMES = ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]
_PERSISTENT_STYLES = ("subtask", "plan", "memory", "motion", "task_aug")
_DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"


def _language_type(persistent: bool) -> pa.DataType:
    """Explicit, because inference makes a column of nulls of `camera`, and lerobot's JSON type cannot be built."""
    fields = [("role", pa.string()), ("content", pa.string()), ("style", pa.string())]
    fields += [("timestamp", pa.float32())] if persistent else []
    fields += [("camera", pa.string()), ("tool_calls", pa.list_(pa.string()))]
    return pa.list_(pa.struct(fields))


_VECTOR = pa.list_(pa.float32(), 7)
_COLUMNS: tuple[tuple[str, pa.DataType], ...] = (
    ("observation.state", _VECTOR),
    ("action", _VECTOR),
    ("timestamp", pa.float32()),
    ("frame_index", pa.int64()),
    ("episode_index", pa.int64()),
    ("index", pa.int64()),
    ("task_index", pa.int64()),
    ("language_persistent", _language_type(True)),
    ("language_events", _language_type(False)),
)


@dataclass(frozen=True)
class LeRobotWriteResult:
    """What was written.

    Attributes:
        path: The data set's folder.
        episodes, frames, tasks: Totals.
        cameras: Names of the cameras.
        notes: What readers of the data set should know (placeholders, resized frames, ...), with numbers of episodes.
    """

    path: Path
    episodes: int
    frames: int
    tasks: int
    cameras: tuple[str, ...]
    notes: tuple[str, ...]


def write_lerobot(
    out: Path,
    episodes: Iterable[tuple[Episode, Sequence[LanguageRow]]],
    *,
    subtask_columns: bool = False,
    cameras: Sequence[str] | None = None,
    compact: bool = False,
    progress: Callable[[int, int | None], None] | None = None,
) -> LeRobotWriteResult:
    """Write a LeRobot v3.0 data set.

    Args:
        out: Folder to make; it must not exist, or be empty.
        episodes: Each with its `language_persistent` rows: dicts of role, content, style, timestamp (seconds), camera,
            tool_calls. All episodes must be of one robot and one rate.
        subtask_columns: Also write `subtask_index` and `subtasks.parquet` as lerobot 0.4.4 to 0.5.1 read them.
        cameras: Cameras to write; by default those of the first hundred episodes. Where an episode lacks one, its
            frames are black, as in the Bridge release itself.
        compact: Small videos rather than quick random reads: for data sets that travel.
        progress: Called with the number of episodes written.

    Raises:
        ExportError: `out` is not empty, no episodes, mixed robots or rates, malformed language rows, disk errors.
        CorruptRecordError: A frame cannot be read. Nothing is left behind.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ExportError(f"{out} is not empty; choose another folder or remove it")
    stream = iter(episodes)
    head = list(islice(stream, _LOOK_AHEAD))
    if not head:
        raise ExportError("there are no episodes to write")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.", suffix=".part"))
    except OSError as error:
        raise ExportError(f"cannot write to {out.parent}: {error}") from error
    writer = None
    try:
        writer = _Writer(part, head, cameras, subtask_columns, compact)
        for number, (episode, rows) in enumerate(chain(head, stream), start=1):
            writer.add(episode, rows)
            if progress is not None:
                progress(number, None)
        writer.finish()
        part.chmod(0o755)
        # An empty folder of that name is replaced in one step.
        part.replace(out)
    except OSError as error:
        raise ExportError(f"cannot write {out}: {error}") from error
    finally:
        if writer is not None:
            writer.close()
        shutil.rmtree(part, ignore_errors=True)
    return writer.result(out)


class _Writer:
    """One data set under way."""

    def __init__(
        self,
        root: Path,
        head: Sequence[tuple[Episode, Sequence[LanguageRow]]],
        cameras: Sequence[str] | None,
        subtask_columns: bool,
        compact: bool,
    ):
        first = head[0][0]
        self._compact = compact
        self._root, self._robot, self._rate_hz = root, first.embodiment, first.rate_hz
        self._tasks: dict[str, int] = {}
        self._subtasks: dict[str, int] | None = {} if subtask_columns else None
        self._episodes = self._frames = 0
        self._notes: dict[str, int] = {}
        self._total = Total()
        self._schema = pa.schema([*_COLUMNS, *([("subtask_index", pa.int64())] if subtask_columns else [])])
        self._data = RowGroups(root, _DATA_PATH, _DATA_MB << 20)
        self._meta = EpisodeRows(root)
        names = dict.fromkeys(name for episode, _ in head for name in episode.cameras) if cameras is None else cameras
        self._cameras = {name: self._camera(name, [episode for episode, _ in head]) for name in names}

    def add(self, episode: Episode, rows: Sequence[LanguageRow]) -> None:
        """Write one episode."""
        if episode.embodiment is not self._robot or abs(episode.rate_hz - self._rate_hz) > 1e-6:
            raise ExportError(
                f"{episode.id} is a {episode.embodiment.title} at {episode.rate_hz:g} Hz, the episodes before it a "
                f"{self._robot.title} at {self._rate_hz:g} Hz; a LeRobot data set holds one robot and one rate: "
                "export each data set by itself"
            )
        table = self._table(episode, _checked_rows(episode, rows))
        place = self._data.write(table)
        stats = {
            name: vector_stats(_as_matrix(table.column(name)))
            for name in table.column_names
            if not name.startswith("language_")
        }
        columns: dict[str, Any] = {}
        for name, camera in self._cameras.items():
            frames = episode.cameras.get(name)
            clip = camera.add(frames.read if frames else None, len(episode))
            self._note(frames is None, f"camera {name} is black where the recording lacks it")
            self._note(clip.resized, f"camera {name} was resized to its first size")
            columns |= _video_columns(_key(name), clip)
            stats[_key(name)] = image_stats(clip.samples)
        for name in episode.cameras:
            self._note(name not in self._cameras, f"camera {name} was not written")
        self._total.add(stats)
        self._meta.write(self._episodes, episode.instruction, len(episode), self._frames, place, columns, stats)
        self._episodes += 1
        self._frames += len(episode)

    def finish(self) -> None:
        """Close all files and write the metadata."""
        import pandas as pd

        self.close()
        meta = self._root / "meta"
        for name, labels in (("task", self._tasks), ("subtask", self._subtasks)):
            if labels is not None:
                # lerobot finds the text as the row's label.
                table = pd.DataFrame({f"{name}_index": list(labels.values())}, index=pd.Index(list(labels), name=name))
                table.to_parquet(meta / f"{name}s.parquet")
        (meta / "stats.json").write_text(json.dumps(self._total.to_json(), indent=1))
        (meta / "info.json").write_text(json.dumps(self._info(), indent=1))

    def close(self) -> None:
        """Close what is open; more than once does no harm."""
        for closing in (self._data, self._meta, *self._cameras.values()):
            closing.close()

    def result(self, out: Path) -> LeRobotWriteResult:
        """What was written."""
        notes = tuple(f"{text} ({number} episodes)" for text, number in self._notes.items())
        return LeRobotWriteResult(out, self._episodes, self._frames, len(self._tasks), tuple(self._cameras), notes)

    def _note(self, happened: bool, text: str) -> None:
        if happened:
            self._notes[text] = self._notes.get(text, 0) + 1

    def _camera(self, name: str, episodes: Sequence[Episode]) -> CameraWriter:
        first = next((episode for episode in episodes if name in episode.cameras), None)
        if first is None:
            raise ExportError(f"none of the first episodes has a camera {name!r}")
        return CameraWriter(
            lambda number: self._root / _VIDEO_PATH.format(video_key=_key(name), **place_of(number)),
            first.image(0, name).size,
            self._rate_hz,
            _VIDEO_MB << 20,
            compact=self._compact,
        )

    def _table(self, episode: Episode, rows: list[LanguageRow]) -> pa.Table:
        steps = len(episode)
        actions = episode.commands
        if actions is None:
            actions = motion.actions(episode, "reached")
            self._note(True, "actions are reached motion: the recording has no commands")
        numbers = np.arange(steps)
        persistent = pa.array([rows], _language_type(True)).take(pa.array(np.zeros(steps, np.int64)))
        columns = {
            "observation.state": _vectors(episode.states),
            "action": _vectors(actions),
            "timestamp": (numbers / self._rate_hz).astype(np.float32),
            "frame_index": numbers,
            "episode_index": np.full(steps, self._episodes),
            "index": numbers + self._frames,
            "task_index": np.full(steps, self._tasks.setdefault(episode.instruction, len(self._tasks))),
            "language_persistent": persistent,
            "language_events": pa.array([[]] * steps, _language_type(False)),
        }
        if self._subtasks is not None:
            columns["subtask_index"] = self._subtask_numbers(rows, steps)
        return pa.table([columns[name] for name in self._schema.names], schema=self._schema)

    def _subtask_numbers(self, rows: list[LanguageRow], steps: int) -> np.ndarray:
        """[T] number of the subtask in force; frames before the first one have the empty text."""
        texts = np.full(steps, "", dtype=object)
        for row in rows:
            if row["style"] == "subtask":
                texts[round(row["timestamp"] * self._rate_hz) :] = row["content"]
        return np.array([self._subtasks.setdefault(text, len(self._subtasks)) for text in texts], dtype=np.int64)

    def _info(self) -> dict[str, Any]:
        rate = int(self._rate_hz) if float(self._rate_hz).is_integer() else self._rate_hz
        features: dict[str, Any] = {}
        for name, kind in zip(self._schema.names, self._schema.types, strict=True):
            if kind == _VECTOR:
                features[name] = {"dtype": "float32", "shape": [7], "names": _NAMES}
            elif name.startswith("language_"):
                features[name] = {"dtype": "language", "shape": [1], "names": None}
            else:
                features[name] = {"dtype": "float32" if name == "timestamp" else "int64", "shape": [1], "names": None}
        for name, camera in self._cameras.items():
            features[_key(name)] = _video_feature(camera.size, rate)
        return {
            "codebase_version": "v3.0",
            "robot_type": self._robot.name,
            "total_episodes": self._episodes,
            "total_frames": self._frames,
            "total_tasks": len(self._tasks),
            "chunks_size": lerobot_files.CHUNK_FILES,
            "data_files_size_in_mb": _DATA_MB,
            "video_files_size_in_mb": _VIDEO_MB,
            "fps": rate,
            "splits": {"train": f"0:{self._episodes}"},
            "data_path": _DATA_PATH,
            "video_path": _VIDEO_PATH,
            "features": features,
        }


def _checked_rows(episode: Episode, rows: Sequence[LanguageRow]) -> list[LanguageRow]:
    """Rows in lerobot's form, sorted, each timestamp exactly that of a frame.

    Raises:
        ExportError: A row that lerobot would refuse.
    """
    checked = []
    for row in rows:
        style, content = row.get("style"), row.get("content")
        if style not in _PERSISTENT_STYLES:
            raise ExportError(f"{episode.id}: language rows have no style {style!r}; known: {_PERSISTENT_STYLES}")
        if not content and not row.get("tool_calls"):
            raise ExportError(f"{episode.id}: a {style} row is empty")
        if row.get("camera") is not None:
            raise ExportError(f"{episode.id}: a {style} row must not name a camera")
        step = round(float(row.get("timestamp") or 0.0) * episode.rate_hz)
        if not 0 <= step < len(episode):
            raise ExportError(f"{episode.id}: a {style} row at {row['timestamp']} s lies outside the episode")
        checked.append(
            {
                "role": row.get("role") or "assistant",
                "content": content,
                "style": style,
                "timestamp": float(np.float32(step / episode.rate_hz)),
                "camera": None,
                "tool_calls": row.get("tool_calls"),
            }
        )
    return sorted(checked, key=lambda row: (row["timestamp"], row["style"], row["role"]))


def _video_columns(key: str, clip: Clip) -> dict[str, Any]:
    values = {**place_of(clip.file), "from_timestamp": clip.start_s, "to_timestamp": clip.end_s}
    return {f"videos/{key}/{name}": value for name, value in values.items()}


def _video_feature(size: tuple[int, int], rate: float) -> dict[str, Any]:
    info = {
        "video.height": size[1],
        "video.width": size[0],
        "video.codec": "h264",
        "video.pix_fmt": "yuv420p",
        "video.is_depth_map": False,
        "video.fps": rate,
        "video.channels": 3,
        "has_audio": False,
    }
    names = ["height", "width", "channels"]
    return {"dtype": "video", "shape": [size[1], size[0], 3], "names": names, "info": info}


def _key(camera: str) -> str:
    return f"observation.images.{camera}"


def _vectors(values: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.astype(np.float32).ravel()), 7)


def _as_matrix(column: pa.ChunkedArray) -> np.ndarray:
    values = column.combine_chunks()
    if isinstance(values, pa.FixedSizeListArray):
        return values.flatten().to_numpy().reshape(len(values), -1)
    return values.to_numpy().reshape(-1, 1)

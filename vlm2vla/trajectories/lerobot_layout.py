"""Where things lie in a LeRobot data set, versions 2.x and 3.0: everything under `meta/`, and the path templates.

Knows files and tables of metadata. Does not know what the columns of an episode mean.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlm2vla.errors import CorruptRecordError, FormatError, TrajectoryError
from vlm2vla.trajectories.validation import OnError, malformed_as

INFO = Path("meta") / "info.json"
_IMAGE_PREFIXES = ("observation.images.", "observation.", "video.", "image.")


@dataclass(frozen=True)
class Camera:
    """One camera: its name for people, its feature, and whether its frames are in videos or in the table."""

    name: str
    key: str
    in_video: bool


@dataclass(frozen=True)
class EpisodeEntry:
    """Where one episode lies.

    Attributes:
        index: The data set's own number of the episode.
        tasks: Task strings of the episode's metadata.
        data: Parquet file, relative to the root.
        videos: Camera feature -> (file relative to the root, time of its first frame in it).
    """

    index: int
    tasks: tuple[str, ...]
    data: str
    videos: Mapping[str, tuple[str, float]]


@dataclass(frozen=True)
class Layout:
    """One data set's metadata.

    Attributes:
        root: Folder of the data set.
        version: 2 or 3.
        fps: The data set's frames per second.
        robot_type: As info.json names it.
        total_episodes: As info.json says; None when it does not.
        features: Feature descriptions of info.json.
        cameras: In the order of info.json.
        tasks: Task index -> text.
        subtasks: Subtask index -> text; empty for most data sets.
    """

    root: Path
    version: int
    fps: float
    robot_type: str
    total_episodes: int | None
    features: Mapping[str, Mapping[str, Any]]
    cameras: tuple[Camera, ...]
    tasks: Mapping[int, str]
    subtasks: Mapping[int, str]
    data_path: str
    video_path: str
    chunks_size: int

    def episodes(self, on_error: OnError) -> Iterator[EpisodeEntry]:
        """Every episode's place, in order of the metadata; damaged entries are reported and left out.

        Raises:
            FormatError: The metadata of episodes are missing.
        """
        return self._episodes_v2(on_error) if self.version == 2 else self._episodes_v3(on_error)

    def _episodes_v2(self, on_error: OnError) -> Iterator[EpisodeEntry]:
        for number, row in _json_lines(self.root / "meta" / "episodes.jsonl", on_error):
            try:
                index = int(row["episode_index"])
                values = {"episode_chunk": index // self.chunks_size, "episode_index": index}
                videos = {
                    camera.key: (self._place(self.video_path, {**values, "video_key": camera.key}), 0.0)
                    for camera in self.cameras
                    if camera.in_video
                }
                tasks = row.get("tasks") or ()
                yield EpisodeEntry(index, _texts(tasks), self._place(self.data_path, values), videos)
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                on_error(
                    CorruptRecordError(
                        f"line {number} is not an episode: {error!r}",
                        path=self.root / "meta" / "episodes.jsonl",
                        record=number,
                    )
                )

    def _episodes_v3(self, on_error: OnError) -> Iterator[EpisodeEntry]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        files = sorted((self.root / "meta" / "episodes").glob("*/*.parquet"))
        if not files:
            raise FormatError("there is no table of episodes", path=self.root / "meta" / "episodes")
        for file in files:
            try:
                parquet = pq.ParquetFile(file, page_checksum_verification=True)
                # Statistics make most of this table; they are not needed.
                names = [name for name in parquet.schema_arrow.names if not name.startswith("stats/")]
                for batch in parquet.iter_batches(batch_size=1000, columns=names):
                    yield from self._entries_v3(batch.to_pylist(), file, on_error)
            except (OSError, ValueError, pa.ArrowException) as error:
                on_error(CorruptRecordError(f"the table of episodes cannot be read: {error}", path=file))

    def _entries_v3(self, rows: list[dict[str, Any]], file: Path, on_error: OnError) -> Iterator[EpisodeEntry]:
        for row in rows:
            try:
                index = int(row["episode_index"])
                data = self._place(
                    self.data_path,
                    {"chunk_index": row["data/chunk_index"], "file_index": row["data/file_index"]},
                )
                videos = {}
                for camera in self.cameras:
                    prefix = f"videos/{camera.key}/"
                    if not camera.in_video or row.get(f"{prefix}file_index") is None:
                        continue
                    values = {name: row[prefix + name] for name in ("chunk_index", "file_index")}
                    place = self._place(self.video_path, {**values, "video_key": camera.key})
                    videos[camera.key] = (place, float(row.get(f"{prefix}from_timestamp") or 0.0))
                yield EpisodeEntry(index, _texts(row.get("tasks") or ()), data, videos)
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                on_error(
                    CorruptRecordError(
                        f"a row of the table of episodes cannot be used: {error!r}",
                        path=file,
                        record=row.get("episode_index"),
                    )
                )

    def _place(self, template: str, values: Mapping[str, Any]) -> str:
        """A path template of info.json filled in, and kept inside the data set."""
        path = os.path.normpath(template.format(**values))
        if os.path.isabs(path) or path.startswith(".."):
            raise ValueError(f"path template {template!r} leads out of the data set")
        return path


def open_layout(root: Path) -> Layout:
    """Read the metadata of a data set.

    Raises:
        FormatError: info.json or the tasks are missing, unreadable, or of a version that is not known.
    """
    info = _read_info(root / INFO)
    version = version_of(info)
    if version is None:
        raise FormatError(
            f"LeRobot version {info.get('codebase_version')!r} is not known; versions 2.0, 2.1 and 3.0 are read",
            path=root / INFO,
        )
    with malformed_as(FormatError, root / INFO):
        features = dict(info["features"])
        fps = float(info["fps"])
        total = info.get("total_episodes")
        layout = Layout(
            root=root,
            version=version,
            fps=fps,
            robot_type=str(info.get("robot_type") or ""),
            total_episodes=None if total is None else int(total),
            features=features,
            cameras=_cameras(features),
            tasks=_tasks(root, version),
            subtasks=_labels(root / "meta" / "subtasks.parquet", "subtask_index"),
            data_path=str(info["data_path"]),
            video_path=str(info.get("video_path") or ""),
            chunks_size=int(info.get("chunks_size") or 1000),
        )
    if not fps > 0:
        raise FormatError(f"fps is {fps} in info.json; write the true rate there", path=root / INFO)
    return layout


def version_of(info: Mapping[str, Any]) -> int | None:
    """2 or 3, or None for versions that are not read."""
    name = str(info.get("codebase_version", ""))
    return 2 if name.startswith("v2.") else 3 if name.startswith("v3.") else None


def peek_version(root: Path) -> int | None:
    """Version of the data set at `root`, or None when it is none that is read; raises nothing."""
    try:
        return version_of(_read_info(root / INFO))
    except TrajectoryError:
        return None


def _read_info(path: Path) -> dict[str, Any]:
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"info.json cannot be read: {error}", path=path) from error
    if not isinstance(info, dict):
        raise FormatError("info.json is not a JSON object", path=path)
    return info


def _cameras(features: Mapping[str, Mapping[str, Any]]) -> tuple[Camera, ...]:
    cameras = []
    for key, feature in features.items():
        if feature.get("dtype") in ("video", "image"):
            prefix = next((prefix for prefix in _IMAGE_PREFIXES if key.startswith(prefix)), "")
            cameras.append(Camera(key.removeprefix(prefix) or key, key, feature["dtype"] == "video"))
    return tuple(cameras)


def _tasks(root: Path, version: int) -> dict[int, str]:
    if version == 3:
        return _labels(root / "meta" / "tasks.parquet", "task_index")
    path = root / "meta" / "tasks.jsonl"
    tasks: dict[int, str] = {}
    for _, row in _json_lines(path, _raise):
        tasks[int(row["task_index"])] = str(row["task"])
    return tasks


def _labels(path: Path, column: str) -> dict[int, str]:
    """A pandas table whose row label is the text and whose `column` is its number; empty when there is no file."""
    import pandas as pd
    import pyarrow as pa

    if not path.is_file():
        return {}
    try:
        table = pd.read_parquet(path)
        name = column.removesuffix("_index")
        texts = table[name] if name in table.columns else table.index
        return {int(number): str(text) for number, text in zip(table[column], texts, strict=True)}
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise FormatError(f"the table cannot be read: {error!r}", path=path) from error


def _json_lines(path: Path, on_error: OnError) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number from 1, object) of each line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise FormatError(f"{path.name} is missing; copy the whole meta folder", path=path) from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("not an object")
        except ValueError as error:
            on_error(CorruptRecordError(f"line {number} is not JSON: {error}", path=path, record=number))
            continue
        yield number, row


def _texts(values: Any) -> tuple[str, ...]:
    return tuple(str(value) for value in ([values] if isinstance(values, str) else values))


def _raise(error: TrajectoryError) -> None:
    raise error

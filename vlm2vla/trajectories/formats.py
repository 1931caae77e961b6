"""Which reader reads what: detection by the files themselves, and the way back from a `Source` to its frames.

Knows the marks of each format, and none of the formats' insides.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vlm2vla.config import did_you_mean
from vlm2vla.errors import FormatError, TrajectoryError
from vlm2vla.trajectories import bridge_raw, bridge_rlds, lerobot_layout, lerobot_reader
from vlm2vla.trajectories.validation import OnError
from vlm2vla.types import Episode, FrameSource, Source

# Folders that hold only frames; looking into them costs much and finds nothing.
_PRUNED = re.compile(r"images\d+|depth_images\d*|\.git|__pycache__")


class _Read(Protocol):
    def __call__(self, path: Path, *, dataset: str, rate_hz: float, on_error: OnError) -> Iterator[Episode]: ...


@dataclass(frozen=True)
class Reader:
    """One format.

    Attributes:
        read: Episodes of one data set.
        count: How many episodes its metadata promises, or None.
        cameras: Frame sources of an episode that was read before.
    """

    read: _Read
    count: Callable[[Path], int | None]
    cameras: Callable[[Source, int], dict[str, FrameSource]]


READERS: dict[str, Reader] = {
    bridge_rlds.FORMAT: Reader(bridge_rlds.read, bridge_rlds.count, bridge_rlds.cameras),
    bridge_raw.FORMAT: Reader(bridge_raw.read, bridge_raw.count, bridge_raw.cameras),
    lerobot_reader.FORMAT_V2: Reader(lerobot_reader.read, lerobot_reader.count, lerobot_reader.cameras),
    lerobot_reader.FORMAT_V3: Reader(lerobot_reader.read, lerobot_reader.count, lerobot_reader.cameras),
}


def find(path: Path, format: str = "auto") -> list[tuple[str, Path]]:
    """Data sets at or below `path`: (format, folder or file), in order of path.

    Args:
        path: File or folder.
        format: Only this format, or "auto".

    Raises:
        FormatError: The path does not exist, nothing is recognised, or `format` is unknown.
    """
    if format != "auto" and format not in READERS:
        raise FormatError(f"no format {format!r}; {did_you_mean(format, READERS)}")
    path = Path(os.path.abspath(path.expanduser()))
    if not path.exists():
        raise FormatError("no such file or folder", path=path)
    found = [entry for entry in _scan(path) if format in ("auto", entry[0])]
    if not found:
        wanted = "any format" if format == "auto" else f"format {format}"
        raise FormatError(
            f"nothing here looks like {wanted}: Bridge RLDS has features.json beside .tfrecord files, Bridge raw has "
            "policy_out.pkl in traj folders, LeRobot has meta/info.json",
            path=path,
        )
    return found


def choose(path: Path, format: str = "auto") -> list[tuple[str, Path]]:
    """As `find`, but all of one format.

    Raises:
        FormatError: Also when there are several: then the message names what was found where.
    """
    found = find(path, format)
    names = sorted({name for name, _ in found})
    if len(names) > 1:
        first = "; ".join(f"{name} in {next(folder for kind, folder in found if kind == name)}" for name in names)
        raise FormatError(f"several formats ({first}); name one of these folders, or choose with --format", path=path)
    return found


def detect(path: Path) -> str:
    """The one format at or below `path`; errors as `choose`."""
    return choose(path)[0][0]


def read(
    path: Path,
    format: str = "auto",
    *,
    dataset: str = "",
    rate_hz: float = 0.0,
    on_error: OnError | None = None,
) -> Iterator[Episode]:
    """Episodes at or below `path`, one in memory at a time.

    Args:
        path: File or folder.
        format: Reader to use; "auto" looks at the files.
        dataset: Name to import under; the data set's own by default.
        rate_hz: True rate of the steps where the files are wrong; 0 takes the data set's.
        on_error: Told about each problem, and reading goes on. Without it the first one is raised.

    Raises:
        FormatError: Nothing is recognised, or several formats are.
        TrajectoryError: The first problem, without `on_error`.
    """
    yield from read_found(choose(path, format), dataset=dataset, rate_hz=rate_hz, on_error=on_error)


def read_found(
    found: list[tuple[str, Path]], *, dataset: str = "", rate_hz: float = 0.0, on_error: OnError | None = None
) -> Iterator[Episode]:
    """As `read`, for data sets that `find` or `choose` named before."""
    for name, folder in found:
        try:
            yield from READERS[name].read(folder, dataset=dataset, rate_hz=rate_hz, on_error=on_error or _raise)
        except FormatError as error:
            if on_error is None:
                raise
            on_error(error)


def count(found: list[tuple[str, Path]]) -> int | None:
    """How many episodes the metadata of found data sets promise; None when one does not say."""
    total = 0
    for name, folder in found:
        try:
            promised = READERS[name].count(folder)
        except TrajectoryError:
            promised = None
        if promised is None:
            return None
        total += promised
    return total


def cameras(source: Source, steps: int) -> dict[str, FrameSource]:
    """Frame sources of an episode that was read before.

    Raises:
        FormatError: The source was written by a reader that this version does not have.
    """
    if source.format not in READERS:
        raise FormatError(f"no reader for format {source.format!r}; update the program", path=source.path)
    return READERS[source.format].cameras(source, steps)


def _raise(error: TrajectoryError) -> None:
    raise error


def _scan(path: Path) -> Iterator[tuple[str, Path]]:
    if path.is_file():
        if bridge_rlds.is_shard(path):
            yield bridge_rlds.FORMAT, path
        return
    for name, folders, files in os.walk(path):
        folder = Path(name)
        kind = _kind(folder, files)
        if kind:
            yield kind, folder
            folders.clear()
        folders[:] = sorted(entry for entry in folders if not _PRUNED.fullmatch(entry))


def _kind(folder: Path, files: list[str]) -> str:
    """Format of the data set whose top this folder is, or ""."""
    if any(bridge_rlds.is_shard(Path(file)) for file in files):
        return bridge_rlds.FORMAT
    if bridge_raw.MARK in files:
        return bridge_raw.FORMAT
    if (folder / lerobot_layout.INFO).is_file():
        version = lerobot_layout.peek_version(folder)
        return lerobot_reader.FORMAT_V3 if version == 3 else lerobot_reader.FORMAT_V2
    return ""

"""BridgeData as the robot recorded it: a folder per trajectory with images and pickles.

    <set>/<env>/<task>/<nn>/<YYYY-MM-DD_HH-MM-SS>/raw/traj_group0/traj0/
        images0/im_0.jpg ...   obs_dict.pkl   policy_out.pkl   lang.txt

There is one frame more than actions; the last frame gets no motion. Recordings before 2021-07-23 have cameras that are
one step late: the first observation and the last action are dropped, as the data set's own converter does.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from vlm2vla.embodiment import WIDOWX
from vlm2vla.errors import CorruptRecordError, InvalidEpisodeError, TrajectoryError
from vlm2vla.trajectories import safe_pickle
from vlm2vla.trajectories.validation import OnError, make_episode, malformed_as, pad_commands
from vlm2vla.types import Episode, FrameSource, Source

FORMAT = "bridge-raw"
DATASET = "bridge_raw"
MARK = "policy_out.pkl"

_LATE_CAMERAS_UNTIL = date(2021, 7, 23)
_DATED = re.compile(r"^(\d{4})-(\d\d)-(\d\d)_\d\d-\d\d-\d\d$")
_CAMERA = re.compile(r"^images(\d+)$")
_FRAME = re.compile(r"^im_(\d+)(\.jpe?g|\.png)$", re.IGNORECASE)
_CONFIDENCE = re.compile(r"^\s*confidence\s*:", re.IGNORECASE)
# Parts of the path that name a trajectory wherever the data lie: date / raw / group / trajectory.
_KEY_PARTS = 4


@dataclass(frozen=True)
class FolderFrames:
    """Frames of one camera as numbered files."""

    folder: str
    first: int
    suffix: str
    steps: int

    def __len__(self) -> int:
        return self.steps

    def read(self, step: int) -> bytes:
        """Encoded image of `step`; see `vlm2vla.types.FrameSource`."""
        path = Path(self.folder) / f"im_{self.first + step}{self.suffix}"
        try:
            data = path.read_bytes()
        except OSError as error:
            raise CorruptRecordError(
                "the image cannot be read; put it back, or import the episode from its new place", path=path
            ) from error
        if not data.startswith((b"\xff\xd8", b"\x89PNG")):
            raise CorruptRecordError("the file is not a JPEG or PNG image", path=path)
        return data


def read(path: Path, *, dataset: str = "", rate_hz: float = 0.0, on_error: OnError) -> Iterator[Episode]:
    """The episode of one trajectory folder, if it is good.

    Args:
        path: Trajectory folder.
        dataset: Name to import under; "bridge_raw" by default.
        rate_hz: True rate; 5 Hz of the WidowX by default.
        on_error: Told about what is left out.
    """
    try:
        with malformed_as(InvalidEpisodeError, path):
            episode = _episode(path, dataset or DATASET, rate_hz or WIDOWX.rate_hz, on_error)
        yield episode
    except TrajectoryError as error:
        on_error(error)


def count(path: Path) -> int | None:
    """One: a folder is a trajectory."""
    return 1


def cameras(source: Source, steps: int) -> dict[str, FrameSource]:
    """Frame sources of an episode that was read before."""
    return {
        name: FolderFrames(str(Path(source.path) / name), entry["first"], entry["suffix"], steps)
        for name, entry in source.locator["cameras"].items()
    }


def _episode(path: Path, dataset: str, rate_hz: float, on_error: OnError) -> Episode:
    states, commands = _states(path / "obs_dict.pkl"), _commands(path / MARK)
    extra = len(states) - len(commands)
    if extra not in (0, 1):
        raise InvalidEpisodeError(
            f"{len(states)} states for {len(commands)} actions; there must be one more state than actions", path=path
        )
    frames = len(states)
    notes = ["one frame more than actions: the last frame has no motion"] if extra else []
    skip = 1 if _late_cameras(path) else 0
    if skip:
        states, commands = states[1:], commands[:-1]
        notes.append("cameras before 2021-07-23 are one step late: first frame and last action dropped")
    if extra:
        commands = pad_commands(commands)
    found, camera_notes = _find_cameras(path, frames, skip, on_error)
    wordings = _wordings(path / "lang.txt")
    source = Source(
        format=FORMAT,
        path=str(path),
        locator={"cameras": found},
        ids={"trajectory": "/".join(path.parts[-_KEY_PARTS:])},
    )
    return make_episode(
        dataset=dataset,
        source=source,
        instruction=wordings[0] if wordings else "",
        embodiment=WIDOWX,
        rate_hz=rate_hz,
        states=states,
        commands=commands,
        cameras=cameras(source, len(states)),
        paraphrases=wordings[1:],
        notes=notes + camera_notes,
    )


def _states(path: Path) -> np.ndarray:
    """[T + 1, 7] reached states."""
    observations = safe_pickle.load(path)
    if not isinstance(observations, dict) or "full_state" not in observations:
        keys = ", ".join(map(str, observations)) if isinstance(observations, dict) else type(observations).__name__
        raise InvalidEpisodeError(f"there is no full_state among the observations ({keys})", path=path)
    return _matrix(observations["full_state"], path)


def _commands(path: Path) -> np.ndarray:
    """[T, 7] commanded deltas and gripper; rows may be dicts or bare arrays of mixed types."""
    rows = safe_pickle.load(path)
    if not isinstance(rows, (list, tuple, np.ndarray)) or len(rows) == 0:
        raise InvalidEpisodeError("there are no actions", path=path)
    return _matrix([row.get("actions") if isinstance(row, dict) else row for row in rows], path)


def _matrix(rows: Any, path: Path) -> np.ndarray:
    try:
        matrix = np.array([np.asarray(row, dtype=np.float64) for row in rows])
    except (TypeError, ValueError) as error:
        raise InvalidEpisodeError(f"the rows are not numbers of equal length: {error}", path=path) from error
    if matrix.ndim != 2 or matrix.shape[1] != 7:
        raise InvalidEpisodeError(f"the rows have shape {list(matrix.shape)}, not [T, 7]", path=path)
    return matrix


def _wordings(path: Path) -> list[str]:
    """Instruction and its other wordings; crowd workers' confidence is not one."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise InvalidEpisodeError("there is no instruction: lang.txt cannot be read", path=path) from error
    return list(dict.fromkeys(line.strip() for line in lines if line.strip() and not _CONFIDENCE.match(line)))


def _late_cameras(path: Path) -> bool:
    for part in reversed(path.parts):
        if match := _DATED.match(part):
            try:
                return date(*map(int, match.groups())) < _LATE_CAMERAS_UNTIL
            except ValueError:
                return False
    return False


def _find_cameras(path: Path, frames: int, skip: int, on_error: OnError) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Cameras with every frame that are not one constant placeholder; the first `skip` frames are dropped."""
    found: dict[str, dict[str, Any]] = {}
    notes: list[str] = []
    numbered = ((int(match[1]), folder) for folder in path.iterdir() if (match := _CAMERA.match(folder.name)))
    for _, folder in sorted(numbered):
        # By number, not by name: im_10 comes after im_9.
        entries = sorted((int(match[1]), match[2]) for file in folder.iterdir() if (match := _FRAME.match(file.name)))
        numbers = [number for number, _ in entries]
        if len(numbers) != frames or numbers != list(range(numbers[0], numbers[0] + frames)):
            on_error(
                CorruptRecordError(
                    f"{len(numbers)} frames where {frames} without gaps are needed; the camera is left out", path=folder
                )
            )
        elif _constant([folder / f"im_{number}{suffix}" for number, suffix in entries]):
            notes.append(f"camera {folder.name} left out: every frame is the same picture, a placeholder")
        else:
            found[folder.name] = {"first": numbers[0] + skip, "suffix": entries[0][1]}
    return found, notes


def _constant(files: list[Path]) -> bool:
    """Whether all files hold the same bytes; sizes tell first, which is cheap."""
    if len({file.stat().st_size for file in files}) > 1:
        return False
    first = files[0].read_bytes()
    return all(file.read_bytes() == first for file in files[1:])

"""BridgeData in RLDS form: a folder with `features.json` and TFRecord shards, as TFDS writes it.

Knows the flat form of `bridge_dataset` (action of 7 values) and the older one of `bridge` in Open X-Embodiment (action
of world_vector, rotation_delta, open_gripper). What the files say of themselves is often wrong and not used: the
`has_image_*` flags, `is_last`, and the descriptions in features.json. Whether a camera is real is judged by its bytes.
"""

import json
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from vlm2vla.embodiment import WIDOWX
from vlm2vla.errors import CorruptRecordError, FormatError, InvalidEpisodeError, TrajectoryError
from vlm2vla.trajectories.tfrecord import Example, Record, read_record, records
from vlm2vla.trajectories.validation import OnError, make_episode, malformed_as
from vlm2vla.types import Episode, FrameSource, Source

FORMAT = "bridge-rlds"
logger = logging.getLogger(__name__)

_SHARD = re.compile(r"^(?P<name>.+?)-(?P<split>[^-.]+)\.tfrecord(-(?P<shard>\d+)-of-(?P<count>\d+))?$")
_STATE = "steps/observation/state"
_INSTRUCTIONS = ("steps/language_instruction", "steps/observation/natural_language_instruction")
# Records kept parsed for reading frames; one of the 256-pixel release takes about 3 MB.
_CACHED_RECORDS = 8


@dataclass(frozen=True)
class Shard:
    """One TFRecord file and how many records it should hold (None when nothing says)."""

    path: Path
    split: str
    expected: int | None


@dataclass(frozen=True)
class Builder:
    """What a builder folder says about itself.

    Attributes:
        name: Name of the data set.
        dict_action: The older form with three action features.
        instruction: Feature of the instruction.
        cameras: Camera name -> feature.
        shards: In order of split and number.
    """

    name: str
    dict_action: bool
    instruction: str
    cameras: Mapping[str, str]
    shards: tuple[Shard, ...]


@dataclass(frozen=True)
class RecordFrames:
    """Frames of one camera inside a TFRecord record; all cameras of a record share one read."""

    path: str
    offset: int
    crc: int
    feature: str
    steps: int

    def __len__(self) -> int:
        return self.steps

    def read(self, step: int) -> bytes:
        """Encoded image of `step`; see `vlm2vla.types.FrameSource`."""
        example, spans = _frames(self.path, self.offset, self.crc, self.feature)
        if not 0 <= step < len(spans):
            raise CorruptRecordError(f"no frame {step}; there are {len(spans)}", path=self.path, record=self.feature)
        return example.blob(spans[step])


def is_shard(path: Path) -> bool:
    """Whether the file name is that of a TFRecord shard."""
    return _SHARD.match(path.name) is not None


def open_builder(path: Path) -> Builder:
    """Read the metadata of a builder folder, or of the folder of one shard.

    Raises:
        FormatError: No features.json, no shards, or features that are not Bridge's.
    """
    folder = path if path.is_dir() else path.parent
    with malformed_as(FormatError, folder / "features.json"):
        features = _flatten(_json(folder / "features.json"))
        return _builder(path, folder, features)


def _builder(path: Path, folder: Path, features: Mapping[str, Mapping[str, Any]]) -> Builder:
    action = features.get("steps/action", {})
    if _shape(action) == (7,):
        dict_action = False
    elif {"steps/action/world_vector", "steps/action/rotation_delta", "steps/action/open_gripper"} <= features.keys():
        dict_action = True
    else:
        found = {key: _shape(value) for key, value in features.items() if key.startswith("steps/action")}
        raise FormatError(
            f"the actions are not Bridge's 7 values: {found or 'there are none'}; only Bridge in RLDS form is read",
            path=folder / "features.json",
        )
    if _shape(features.get(_STATE, {})) != (7,):
        raise FormatError("there is no observation/state of 7 values", path=folder / "features.json")
    instruction = next((key for key in _INSTRUCTIONS if key in features), "")
    if not instruction:
        raise FormatError("there is no instruction among the features", path=folder / "features.json")
    prefix = "steps/observation/"
    cameras = {
        key.removeprefix(prefix): key
        for key, value in sorted(features.items())
        if key.startswith(prefix) and "image" in value and "depth" not in key
    }
    info = _json(folder / "dataset_info.json") if (folder / "dataset_info.json").is_file() else {}
    with malformed_as(FormatError, folder / "dataset_info.json"):
        shards = _shards(folder, info, only=None if path.is_dir() else path.name)
    if not shards:
        raise FormatError("there is no TFRecord shard beside features.json", path=folder)
    match = _SHARD.match(shards[0].path.name)
    name = str(info.get("name") or (match["name"] if match else folder.name))
    return Builder(name, dict_action, instruction, cameras, shards)


def count(path: Path) -> int | None:
    """How many episodes the metadata promises; None when it does not say."""
    expected = [shard.expected for shard in open_builder(path).shards]
    return None if None in expected else sum(expected)


def read(path: Path, *, dataset: str = "", rate_hz: float = 0.0, on_error: OnError) -> Iterator[Episode]:
    """Episodes of a builder folder (or of one shard), past damaged and invalid ones.

    Args:
        path: Builder folder or shard.
        dataset: Name to import under; the builder's own by default.
        rate_hz: True rate; 5 Hz of the WidowX by default.
        on_error: Told about each record that is left out.

    Raises:
        FormatError: The folder is not a Bridge builder folder.
    """
    builder = open_builder(path)
    for shard in builder.shards:
        try:
            for record in records(shard.path, expected=shard.expected, on_error=on_error):
                try:
                    with malformed_as(InvalidEpisodeError, shard.path, record.index):
                        episode = _episode(builder, shard, record, dataset or builder.name, rate_hz or WIDOWX.rate_hz)
                    yield episode
                except TrajectoryError as error:
                    on_error(_located(error, shard.path, record.index))
        except (CorruptRecordError, FormatError) as error:
            on_error(error)


def cameras(source: Source, steps: int) -> dict[str, FrameSource]:
    """Frame sources of an episode that was read before."""
    locator = source.locator
    return {
        name: RecordFrames(source.path, locator["offset"], locator["crc"], feature, steps)
        for name, feature in locator["cameras"].items()
    }


def _episode(builder: Builder, shard: Shard, record: Record, dataset: str, rate_hz: float) -> Episode:
    example = Example(record.data)
    states = _rows(example, _STATE, 7)
    steps = len(states)
    flags = len(example.ints("steps/is_first"))
    if flags != steps:
        raise InvalidEpisodeError(f"{steps} states for {flags} steps")
    commands = _commands(example, builder.dict_action)
    if len(commands) != steps:
        raise InvalidEpisodeError(f"{len(commands)} actions for {steps} steps; get the shard again or repair it")
    wordings = [text for text in dict.fromkeys(example.texts(builder.instruction)) if text.strip()]
    real, notes = _real_cameras(example, builder.cameras, steps)
    source = Source(
        format=FORMAT,
        path=str(shard.path),
        locator={
            "offset": record.offset,
            "crc": record.crc,
            "record": record.index,
            "split": shard.split,
            "cameras": real,
        },
        ids=_ids(example),
    )
    return make_episode(
        dataset=dataset,
        source=source,
        instruction=wordings[0] if wordings else "",
        embodiment=WIDOWX,
        rate_hz=rate_hz,
        states=states,
        commands=commands,
        cameras=cameras(source, steps),
        paraphrases=wordings[1:],
        notes=notes,
        record=record.index,
    )


def _commands(example: Example, dict_action: bool) -> np.ndarray:
    """[T, 7] commanded deltas and gripper."""
    if not dict_action:
        return _rows(example, "steps/action", 7)
    parts = [_rows(example, "steps/action/world_vector", 3), _rows(example, "steps/action/rotation_delta", 3)]
    # A flag (stored as integer) in the published set, a float in derived ones.
    try:
        gripper = example.ints("steps/action/open_gripper").astype(np.float64)
    except CorruptRecordError:
        gripper = example.floats("steps/action/open_gripper").astype(np.float64)
    parts.append(gripper.reshape(-1, 1))
    if len({len(part) for part in parts}) != 1:
        raise InvalidEpisodeError(f"action features have {[len(part) for part in parts]} rows; they must be equal")
    return np.concatenate(parts, axis=1)


def _rows(example: Example, key: str, width: int) -> np.ndarray:
    """[T, width] of a flattened feature."""
    values = example.floats(key)
    if len(values) % width:
        raise InvalidEpisodeError(f"{key} holds {len(values)} values, which is not a multiple of {width}")
    return values.reshape(-1, width).astype(np.float64)


def _real_cameras(example: Example, features: Mapping[str, str], steps: int) -> tuple[dict[str, str], list[str]]:
    """Cameras with a picture per step that are not one constant dummy, and notes about the others."""
    real, notes = {}, []
    for name, feature in features.items():
        spans = example.blob_spans(feature)
        if not spans:
            continue
        first = example.blob(spans[0])
        if len(spans) != steps:
            notes.append(f"camera {name} left out: {len(spans)} frames for {steps} steps")
        elif not first or all(b - a == len(first) and example.blob((a, b)) == first for a, b in spans[1:]):
            notes.append(f"camera {name} left out: every frame is the same picture, a placeholder")
        else:
            real[name] = feature
    return real, notes


def _ids(example: Example) -> dict[str, str]:
    """The data set's own key of an episode: (file_path, episode_id); the older form has none."""
    ids = {}
    for name in ("file_path", "episode_id"):
        key = f"episode_metadata/{name}"
        if key not in example:
            continue
        try:
            values = example.texts(key)
        except CorruptRecordError:
            values = [str(value) for value in example.ints(key)]
        if values:
            ids[name] = values[0]
    return ids


@lru_cache(maxsize=_CACHED_RECORDS)
def _record(path: str, offset: int, crc: int) -> Example:
    return Example(read_record(Path(path), offset, crc))


@lru_cache(maxsize=_CACHED_RECORDS * 4)
def _frames(path: str, offset: int, crc: int, feature: str) -> tuple[Example, list[tuple[int, int]]]:
    example = _record(path, offset, crc)
    return example, example.blob_spans(feature)


def _located(error: TrajectoryError, path: Path, record: int) -> TrajectoryError:
    """The error with file and record, where it does not have them yet."""
    return error if error.path else type(error)(error.args[0], path=path, record=record)


def _shards(folder: Path, info: Mapping[str, Any], only: str | None) -> tuple[Shard, ...]:
    lengths = {
        split.get("name"): [int(length) for length in split.get("shardLengths", ())]
        for split in info.get("splits", ())
        if isinstance(split, dict)
    }
    shards = []
    for path in sorted(folder.iterdir()):
        match = _SHARD.match(path.name)
        if match is None or (only is not None and path.name != only):
            continue
        number, known = int(match["shard"] or 0), lengths.get(match["split"], [])
        total = int(match["count"] or 1)
        shards.append(Shard(path, match["split"], known[number] if total == len(known) and number < total else None))
    return tuple(shards)


def _flatten(node: Mapping[str, Any], prefix: str = "") -> dict[str, Mapping[str, Any]]:
    """Nested features.json -> feature key as in the records -> its description."""
    if "featuresDict" in node:
        flat: dict[str, Mapping[str, Any]] = {}
        for name, child in node["featuresDict"].get("features", {}).items():
            flat |= _flatten(child, f"{prefix}/{name}" if prefix else name)
        return flat
    if "sequence" in node:
        return _flatten(node["sequence"]["feature"], prefix)
    return {prefix: node}


def _shape(feature: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(int(size) for size in feature.get("tensor", {}).get("shape", {}).get("dimensions", ()))


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FormatError(f"{path.name} is missing; copy it beside the shards", path=path) from error
    except (OSError, ValueError) as error:
        raise FormatError(f"{path.name} is not readable JSON: {error}", path=path) from error
    if not isinstance(value, dict):
        raise FormatError(f"{path.name} is not a JSON object", path=path)
    return value

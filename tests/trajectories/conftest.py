"""Synthetic recordings of every format, written byte by byte, so that readers are not tested against themselves."""

import io
import json
import struct
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import av
import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

DOWN = np.array([0.25, 0.0, 0.15, 0.0, -0.2, 0.0, 1.0])


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while True:
        byte = value & 127
        value >>= 7
        out.append(byte | (128 if value else 0))
        if not value:
            return bytes(out)


def _field(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def feature(value: Any, *, packed: bool = True) -> bytes:
    """A tf.train.Feature of float array, integer list, or list of bytes."""
    if isinstance(value, np.ndarray) and value.dtype == np.float32:
        raw = value.ravel().tobytes()
        floats = _field(1, raw) if packed else b"".join(b"\x0d" + raw[i : i + 4] for i in range(0, len(raw), 4))
        return _field(2, floats)
    if value and isinstance(value[0], int):
        ints = _field(1, b"".join(map(varint, value))) if packed else b"".join(b"\x08" + varint(v) for v in value)
        return _field(3, ints)
    return _field(1, b"".join(_field(1, blob) for blob in value))


def example(features: dict[str, Any], *, packed: bool = True) -> bytes:
    entries = (
        _field(1, _field(1, key.encode()) + _field(2, feature(value, packed=packed))) for key, value in features.items()
    )
    return _field(1, b"".join(entries))


def masked(data: bytes) -> int:
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked(length)) + data + struct.pack("<I", masked(data))


def jpeg(seed: int, size: int = 16) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (size, size, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=80)
    return out.getvalue()


@dataclass
class Motion:
    """Plausible numbers of one episode: down, close, up."""

    steps: int = 12
    seed: int = 0
    instruction: str = "put carrot on plate"
    states: np.ndarray = field(init=False)
    commands: np.ndarray = field(init=False)

    def __post_init__(self):
        random = np.random.default_rng(self.seed)
        half = self.steps // 2
        self.commands = np.zeros((self.steps, 7), np.float32)
        self.commands[1:half, 2] = -0.012
        self.commands[half:, 2] = 0.012
        self.commands[1:, :6] += random.normal(0, 0.002, (self.steps - 1, 6)).astype(np.float32)
        self.commands[:, 6] = np.arange(self.steps) < half
        moves = 0.8 * self.commands[:-1, :6]
        path = np.concatenate([np.zeros((1, 6)), np.cumsum(moves, axis=0)])
        self.states = np.tile(DOWN, (self.steps, 1)).astype(np.float32)
        self.states[:, :6] += path
        self.states[:, 6] = np.where(np.arange(self.steps) < half + 1, 1.0, 0.2)


FEATURES_FLAT = {
    "steps/action": ("float32", [7]),
    "steps/observation/state": ("float32", [7]),
    "steps/observation/image_0": ("image", [16, 16, 3]),
    "steps/observation/image_1": ("image", [16, 16, 3]),
    "steps/language_instruction": ("text", []),
    "steps/language_embedding": ("float32", [512]),
    "steps/is_first": ("bool", []),
    "steps/is_last": ("bool", []),
    "episode_metadata/file_path": ("text", []),
    "episode_metadata/episode_id": ("int32", []),
    "episode_metadata/has_image_0": ("bool", []),
}
FEATURES_DICT = {
    "steps/action/world_vector": ("float32", [3]),
    "steps/action/rotation_delta": ("float32", [3]),
    "steps/action/open_gripper": ("bool", []),
    "steps/action/terminate_episode": ("float32", []),
    "steps/observation/state": ("float32", [7]),
    "steps/observation/image": ("image", [16, 16, 3]),
    "steps/observation/natural_language_instruction": ("text", []),
    "steps/is_first": ("bool", []),
}


def features_json(features: dict[str, tuple[str, list[int]]]) -> dict[str, Any]:
    """The nested form that TFDS writes."""

    def leaf(kind: str, shape: list[int]) -> dict[str, Any]:
        dimensions = {"dimensions": [str(size) for size in shape]} if shape else {}
        if kind == "image":
            return {"image": {"shape": dimensions, "dtype": "uint8", "encodingFormat": "jpeg"}}
        if kind == "text":
            return {"text": {}}
        return {"tensor": {"shape": dimensions, "dtype": kind}, "description": "7x joint velocities, wrong on purpose"}

    tree: dict[str, Any] = {}
    for key, (kind, shape) in features.items():
        *parents, name = key.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {"featuresDict": {"features": {}}})["featuresDict"]["features"]
        node[name] = leaf(kind, shape)
    if "steps" in tree:
        tree["steps"] = {"sequence": {"feature": tree["steps"]}}
    return {"featuresDict": {"features": tree}}


class Rlds:
    """Writes builder folders."""

    Motion = Motion
    record = staticmethod(record)
    example = staticmethod(example)

    def flat(self, motion: Motion, number: int = 0, **changes: Any) -> dict[str, Any]:
        """Features of one episode in the flat form; `changes` replace some (None removes)."""
        steps = len(motion.states)
        features = {
            "steps/action": motion.commands,
            "steps/observation/state": motion.states,
            "steps/observation/image_0": [jpeg(number * 1000 + i) for i in range(steps)],
            "steps/observation/image_1": [jpeg(7)] * steps,
            "steps/language_instruction": [motion.instruction.encode()] * steps,
            "steps/language_embedding": np.zeros((steps, 512), np.float32),
            "steps/is_first": [1] + [0] * (steps - 1),
            "steps/is_last": [0] * steps,
            "episode_metadata/file_path": [b"/somewhere/toysink/out.npy"],
            "episode_metadata/episode_id": [number],
            "episode_metadata/has_image_0": [0],
        }
        features |= {f"steps/{key}" if not key.startswith("episode") else key: value for key, value in changes.items()}
        return {key: value for key, value in features.items() if value is not None}

    def older(self, motion: Motion, number: int = 0) -> dict[str, Any]:
        """Features of one episode with the three action features of Open X-Embodiment."""
        steps = len(motion.states)
        return {
            "steps/action/world_vector": motion.commands[:, :3].copy(),
            "steps/action/rotation_delta": motion.commands[:, 3:6].copy(),
            "steps/action/open_gripper": [int(value) for value in motion.commands[:, 6]],
            "steps/action/terminate_episode": np.zeros(steps, np.float32),
            "steps/observation/state": motion.states,
            "steps/observation/image": [jpeg(number * 1000 + i) for i in range(steps)],
            "steps/observation/natural_language_instruction": [motion.instruction.encode()] * steps,
            "steps/is_first": [1] + [0] * (steps - 1),
        }

    def episodes(self, number: int, steps: int = 12) -> list[dict[str, Any]]:
        return [self.flat(Motion(steps=steps, seed=i), i) for i in range(number)]

    def write(
        self, folder: Path, episodes: list[dict[str, Any]], *, name="bridge_dataset", form="flat", split="train"
    ) -> Path:
        """Write one shard and the metadata; returns the shard."""
        folder.mkdir(parents=True, exist_ok=True)
        features = FEATURES_FLAT if form == "flat" else FEATURES_DICT
        (folder / "features.json").write_text(json.dumps(features_json(features)))
        split_info = {"name": split, "shardLengths": [str(len(episodes))]}
        (folder / "dataset_info.json").write_text(json.dumps({"name": name, "splits": [split_info]}))
        shard = folder / f"{name}-{split}.tfrecord-00000-of-00001"
        shard.write_bytes(b"".join(record(example(features)) for features in episodes))
        return shard

    @staticmethod
    def offsets(shard: Path) -> list[int]:
        """Byte offset of each record's header."""
        data, position, found = shard.read_bytes(), 0, []
        while position < len(data):
            found.append(position)
            position += 16 + struct.unpack_from("<Q", data, position)[0]
        return found

    @staticmethod
    def flip(file: Path, position: int) -> None:
        """Damage one byte."""
        data = bytearray(file.read_bytes())
        data[position] ^= 0x40
        file.write_bytes(data)


def shade(step: int) -> np.ndarray:
    """[32, 48, 3] picture whose left half tells the step, also after lossy coding."""
    picture = np.full((32, 48, 3), 255, np.uint8)
    picture[:, :24] = 12 * step
    return picture


def step_of(image: Image.Image) -> int:
    """Inverse of `shade`."""
    return round(float(np.asarray(image)[4:28, 4:20].mean()) / 12)


class LeRobot:
    """Writes data sets in the older layouts, which the library only reads."""

    Motion = Motion
    shade = staticmethod(shade)
    step_of = staticmethod(step_of)
    names = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")

    @staticmethod
    def png(step: int) -> bytes:
        out = io.BytesIO()
        Image.fromarray(shade(step)).save(out, "PNG")
        return out.getvalue()

    @staticmethod
    def video(path: Path, frames: int, *, rate: int = 5, codec: str = "libx264", picture=shade) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=rate)
            stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
            for step in range(frames):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(step), format="rgb24")))
            container.mux(stream.encode())

    def v21(self, root: Path, episodes: int = 2, steps: int = 12, **options: Any) -> Path:
        """One data set; options: info (changes), columns (of episode number -> other columns), codec, rate."""
        info = {
            "codebase_version": "v2.1",
            "robot_type": "widowx",
            "total_episodes": episodes,
            "chunks_size": 1,
            "fps": 5,
            "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
            "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
            "features": {
                "observation.images.top": {"dtype": "video", "shape": [32, 48, 3]},
                "observation.state": {"dtype": "float32", "shape": [7], "names": {"motors": list(self.names)}},
                "action": {"dtype": "float32", "shape": [7], "names": list(self.names)},
                "annotation.anything": {"dtype": "binary", "shape": [1]},
            },
        } | options.get("info", {})
        (root / "meta").mkdir(parents=True)
        (root / "meta" / "info.json").write_text(json.dumps(info))
        tasks = [f"put item {i} on plate" for i in range(episodes)]
        lines = [json.dumps({"task_index": i, "task": task}) for i, task in enumerate(tasks)]
        (root / "meta" / "tasks.jsonl").write_text("\n".join(lines))
        rows = [
            {"episode_index": i, "tasks": [tasks[i]], "length": steps, "task_data": {"x": 1}} for i in range(episodes)
        ]
        (root / "meta" / "episodes.jsonl").write_text("\n".join(map(json.dumps, rows)))
        for i in range(episodes):
            motion = Motion(steps=steps, seed=i)
            columns = {
                "observation.state": motion.states.tolist(),
                "action": motion.commands.tolist(),
                "annotation.anything": [b"cposix\nsystem\n(S'touch /tmp/never'\ntR."] * steps,
                "timestamp": (np.arange(steps) / 5).astype(np.float32),
                "frame_index": np.arange(steps),
                "episode_index": np.full(steps, i),
                "index": np.arange(steps) + i * steps,
                "task_index": np.full(steps, i),
            } | options.get("columns", lambda i: {})(i)
            columns = {name: values for name, values in columns.items() if values is not None}
            values = {"episode_chunk": i, "episode_index": i, "chunk_index": 0, "file_index": i}
            data = root / info["data_path"].format(**values)
            data.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.table(columns), data)
            for key, feature in info["features"].items():
                if feature["dtype"] == "video":
                    place = root / info["video_path"].format(**values, video_key=key)
                    self.video(place, steps, rate=options.get("rate", 5), codec=options.get("codec", "libx264"))
        return root


@pytest.fixture
def lerobot() -> LeRobot:
    return LeRobot()


@pytest.fixture
def rlds() -> Rlds:
    return Rlds()


@pytest.fixture
def episodes_like():
    """Many episodes made from one, each with its own numbers and id, without reading a file."""

    def make(episode, number: int):
        for i in range(number):
            states = episode.states + i * 1e-7
            yield replace(
                episode, id=f"{episode.dataset}-{i:012x}", states=states, instruction=f"put item {i} on plate"
            )

    return make

"""Reading a Bridge-like TFRecord shard: this library, with and without its checksums, against the `tfrecord` package.

Both read the numbers, the instruction and every encoded frame of the main camera. That package parses in C and checks
nothing: a shard with a flipped byte reads without an error.
"""

import io
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from vlm2vla.trajectories.tfrecord import Example, records

EPISODES, STEPS, PIXELS, ROUNDS = 40, 38, 256, 15
KEYS = ("steps/action", "steps/observation/state", "steps/language_instruction", "steps/observation/image_0")


def make_shard(path: Path, seed: int = 0) -> None:
    """A shard with three cameras and a language embedding per step, as BridgeData V2 has."""
    from tfrecord import TFRecordWriter

    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (STEPS, 16, 16, 3), dtype=np.uint8)
    frames = [_jpeg(pixels) for pixels in coarse]
    writer = TFRecordWriter(str(path))
    for _ in range(EPISODES):
        example = {
            "steps/action": (rng.normal(0, 0.01, STEPS * 7).tolist(), "float"),
            "steps/observation/state": (rng.normal(0, 0.1, STEPS * 7).tolist(), "float"),
            "steps/language_embedding": (rng.normal(0, 1, STEPS * 512).tolist(), "float"),
            "steps/language_instruction": ([b"put carrot on plate"] * STEPS, "byte"),
            "steps/is_first": ([1] + [0] * (STEPS - 1), "int"),
        }
        example |= {f"steps/observation/image_{camera}": (frames, "byte") for camera in range(3)}
        writer.write(example)
    writer.close()


def ours(path: Path, check_crc: bool = True) -> int:
    """Read with this library; returns the bytes of frames seen."""
    total = 0
    for record in records(path, check_crc=check_crc):
        example = Example(record.data)
        example.floats(KEYS[0]), example.floats(KEYS[1]), example.blobs(KEYS[2])
        total += sum(len(frame) for frame in example.views(KEYS[3]))
    return total


def theirs(path: Path) -> int:
    """Read with the `tfrecord` package; returns the bytes of frames seen."""
    from tfrecord.reader import tfrecord_loader

    kinds = dict(zip(KEYS, ("float", "float", "byte", "byte"), strict=True))
    return sum(sum(len(frame) for frame in row[KEYS[3]]) for row in tfrecord_loader(str(path), None, kinds))


def main() -> None:
    """Print the ratios, round by round in turn, of processor time: that is what the three have in common."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.tfrecord-00000-of-00001"
        make_shard(path)
        assert ours(path) == theirs(path), "the two readers disagree"
        rounds = [(_seconds(ours, path), _seconds(ours, path, False), _seconds(theirs, path)) for _ in range(ROUNDS)]
        megabytes = path.stat().st_size / 1e6
    checked, unchecked = ([row[2] / row[column] for row in rounds] for column in (0, 1))
    print(
        f"{EPISODES} episodes, {megabytes:.0f} MB; speed of the tfrecord package = 1: "
        f"checksums on {statistics.median(checked):.1f} ({min(checked):.1f} to {max(checked):.1f}), "
        f"off {statistics.median(unchecked):.1f} ({min(unchecked):.1f} to {max(unchecked):.1f}); aim 2.0 with checksums"
    )


def _seconds(read: Callable[..., int], *arguments: object) -> float:
    start = time.process_time()
    read(*arguments)
    return time.process_time() - start


def _jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((PIXELS, PIXELS), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


if __name__ == "__main__":
    main()

"""Reading a Bridge-like TFRecord shard: this library (checksums on) against the `tfrecord` package (it has none).

Both read the numbers, the instruction and every encoded frame of the main camera.
"""

import io
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from vlm2vla.trajectories.tfrecord import Example, records

EPISODES, STEPS, PIXELS, ROUNDS = 40, 38, 256, 5
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


def ours(path: Path) -> int:
    """Read with checksums; returns the bytes of frames seen."""
    total = 0
    for record in records(path):
        example = Example(record.data)
        example.floats(KEYS[0]), example.floats(KEYS[1]), example.blobs(KEYS[2])
        total += sum(len(frame) for frame in example.blobs(KEYS[3]))
    return total


def theirs(path: Path) -> int:
    """Read with the `tfrecord` package; returns the bytes of frames seen."""
    from tfrecord.reader import tfrecord_loader

    kinds = dict(zip(KEYS, ("float", "float", "byte", "byte"), strict=True))
    return sum(sum(len(frame) for frame in row[KEYS[3]]) for row in tfrecord_loader(str(path), None, kinds))


def main() -> None:
    """Print the ratio of the two, round by round in turn."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.tfrecord-00000-of-00001"
        make_shard(path)
        assert ours(path) == theirs(path), "the two readers disagree"
        ratios, seconds = [], []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            ours(path)
            middle = time.perf_counter()
            theirs(path)
            seconds.append(middle - start)
            ratios.append((time.perf_counter() - middle) / seconds[-1])
        megabytes = path.stat().st_size / 1e6
    print(
        f"{EPISODES} episodes, {megabytes:.0f} MB: {statistics.median(ratios):.1f}x the tfrecord package "
        f"(min {min(ratios):.1f}, max {max(ratios):.1f}; {megabytes / statistics.median(seconds):.0f} MB/s), aim 2x"
    )


def _jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((PIXELS, PIXELS), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


if __name__ == "__main__":
    main()

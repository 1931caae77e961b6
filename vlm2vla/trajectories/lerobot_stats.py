"""Statistics of a LeRobot data set: per episode, and of all episodes together. Knows arrays, no files."""

from collections.abc import Mapping
from typing import Any

import numpy as np

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
_MAX_SIDE = 150
Stats = dict[str, np.ndarray]


def vector_stats(values: np.ndarray) -> Stats:
    """Statistics of [T, n] numbers over T; each is [n], count is [1]."""
    return _stats(np.asarray(values, dtype=np.float64), axis=0, count=len(values))


def image_stats(images: list[np.ndarray]) -> Stats:
    """Statistics of [h, w, 3] uint8 pictures per channel, on a scale of 0 to 1; each is [3, 1, 1]."""
    # Every few pixels are enough, and quantiles of millions are slow.
    thinned = (image[:: 1 + image.shape[0] // _MAX_SIDE, :: 1 + image.shape[1] // _MAX_SIDE] for image in images)
    pixels = np.concatenate([image.reshape(-1, 3) for image in thinned]).astype(np.float64) / 255
    flat = _stats(pixels, axis=0, count=len(images))
    return {name: value if name == "count" else value.reshape(3, 1, 1) for name, value in flat.items()}


class Total:
    """Statistics of all episodes, updated one at a time.

    Quantiles are the mean of the episodes' quantiles weighted by their steps, as lerobot does it: an approximation.
    """

    def __init__(self) -> None:
        self._features: dict[str, Stats] = {}

    def add(self, features: Mapping[str, Stats]) -> None:
        """Take in one episode."""
        for name, stats in features.items():
            known = self._features.get(name)
            self._features[name] = stats if known is None else _merge(known, stats)

    def to_json(self) -> dict[str, Any]:
        """The content of stats.json."""
        return {name: {key: value.tolist() for key, value in stats.items()} for name, stats in self._features.items()}


def _stats(values: np.ndarray, axis: int, count: int) -> Stats:
    quantiles = np.quantile(values, list(QUANTILES.values()), axis=axis)
    return {
        "min": values.min(axis=axis),
        "max": values.max(axis=axis),
        "mean": values.mean(axis=axis),
        "std": values.std(axis=axis),
        "count": np.array([count]),
        **dict(zip(QUANTILES, quantiles, strict=True)),
    }


def _merge(one: Stats, two: Stats) -> Stats:
    total = one["count"] + two["count"]
    share = two["count"] / total
    mean = one["mean"] + (two["mean"] - one["mean"]) * share
    variance = (one["std"] ** 2 + (one["mean"] - mean) ** 2) * (1 - share) + (
        two["std"] ** 2 + (two["mean"] - mean) ** 2
    ) * share
    return {
        "min": np.minimum(one["min"], two["min"]),
        "max": np.maximum(one["max"], two["max"]),
        "mean": mean,
        "std": np.sqrt(variance),
        "count": total,
        **{name: one[name] * (1 - share) + two[name] * share for name in QUANTILES},
    }

"""A folder of labelled pictures of the table, as it was rendered for pretraining: read, checked, divided.

    manifest.json     version, count, seed, px, grid, the command that made it
    pixels.npy        uint8 [N, px, px, 3], upright RGB
    patches.npy       int8 [N, grid * grid], row-major: index of the thing that covers it, 100 gripper, -1 nothing
    scenes.jsonl      per picture the things and the gripper, centimetres
    questions.jsonl   per picture a list of questions with answers
    texts.jsonl       questions without a picture
    pairs.jsonl       questions about two pictures of one scene

Neighbours 2k and 2k + 1 may show the same scene; they never stand on two sides of the division. Knows no simulator.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vlm2vla.errors import CorruptRecordError, FormatError, NotFoundError
from vlm2vla.training.pretrain.config import THINGS

VERSION = 1
HELD_OUT_SHARE, HELD_OUT_MOST = 0.05, 600


@dataclass(frozen=True)
class PictureSet:
    """Pictures with everything that is known about them.

    Attributes:
        folder: Where they lie.
        manifest: What made them.
        pixels: uint8 [N, px, px, 3], mapped from disk.
        patches: int8 [N, grid * grid].
        scenes: Per picture {"things": [...], "gripper": {...}}.
    """

    folder: Path
    manifest: dict[str, Any]
    pixels: np.ndarray = field(repr=False)
    patches: np.ndarray = field(repr=False)
    scenes: list[dict[str, Any]] = field(repr=False)

    def __len__(self) -> int:
        return len(self.scenes)

    @property
    def px(self) -> int:
        """Side of a picture, pixels."""
        return self.pixels.shape[1]

    @property
    def grid(self) -> int:
        """Patches on a side."""
        return round(self.patches.shape[1] ** 0.5)

    @property
    def held_out(self) -> range:
        """Rows that no stage learns from: the last ones, an even number."""
        count = min(HELD_OUT_MOST, int(len(self) * HELD_OUT_SHARE)) // 2 * 2
        start = len(self) // 2 * 2 - count
        return range(start, start + count)

    @property
    def training(self) -> range:
        """Rows to learn from."""
        return range(self.held_out.start)

    @cached_property
    def questions(self) -> list[list[dict[str, Any]]]:
        """Per picture its questions."""
        rows = list(_lines(self.folder / "questions.jsonl"))
        if len(rows) != len(self):
            raise CorruptRecordError(
                f"{len(rows)} rows of questions for {len(self)} pictures; render the set again",
                path=self.folder / "questions.jsonl",
            )
        return rows

    @cached_property
    def texts(self) -> list[dict[str, Any]]:
        """Questions without a picture."""
        return list(_lines(self.folder / "texts.jsonl"))

    def with_texts(self, more: Sequence[Mapping[str, Any]]) -> "PictureSet":
        """The same set with more questions without a picture, behind its own."""
        other = replace(self)
        other.__dict__["texts"] = [*self.texts, *more]
        return other

    @cached_property
    def pairs(self) -> list[dict[str, Any]]:
        """Questions about two pictures; none when the set has none."""
        path = self.folder / "pairs.jsonl"
        return list(_lines(path)) if path.exists() else []


def open_pictures(folder: Path | str) -> PictureSet:
    """Read a folder that the command `pictures` has made.

    Raises:
        NotFoundError: No such folder, or it is still being rendered (its manifest is written last).
        FormatError: Files of another version or shape.
        CorruptRecordError: Files that contradict each other.
    """
    folder = Path(folder)
    if not (folder / "manifest.json").is_file():
        raise NotFoundError(f"no finished picture set in {folder}; make one with: vlm2vla pictures --out {folder}")
    manifest = _manifest(folder / "manifest.json")
    pixels, patches = _array(folder / "pixels.npy", np.uint8), _array(folder / "patches.npy", np.int8)
    scenes = list(_lines(folder / "scenes.jsonl"))
    px, grid = manifest["px"], manifest["grid"]
    if pixels.shape[1:] != (px, px, 3) or patches.shape[1:] != (grid * grid,):
        raise FormatError(
            f"pixels {pixels.shape} and patches {patches.shape} are not {px} px and {grid} x {grid} patches",
            path=folder,
        )
    if not manifest["count"] == len(pixels) == len(patches) == len(scenes):
        raise CorruptRecordError(
            f"{manifest['count']} pictures by the manifest, {len(pixels)} in pixels, {len(patches)} in patches,"
            f" {len(scenes)} scenes; render the set again",
            path=folder,
        )
    patches = np.array(patches)
    _check(scenes, patches, folder)
    return PictureSet(folder, manifest, pixels, patches, scenes)


def _check(scenes: list[dict[str, Any]], patches: np.ndarray, folder: Path) -> None:
    things = np.where(patches < THINGS, patches, -1).max(axis=1)
    for row, scene in enumerate(scenes):
        if not isinstance(scene, dict) or "things" not in scene or "gripper" not in scene:
            raise CorruptRecordError("a scene without things or gripper", path=folder / "scenes.jsonl", record=row)
        if things[row] >= len(scene["things"]):
            raise CorruptRecordError(
                f"a patch shows thing {things[row]} of {len(scene['things'])}", path=folder / "patches.npy", record=row
            )


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text())
        version = manifest["version"]
        if version != VERSION or not all(isinstance(manifest[key], int) for key in ("count", "px", "grid")):
            raise FormatError(f"picture set of version {version}, not {VERSION}; render it again", path=path)
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"not the manifest of a picture set ({error!r})", path=path) from error
    return manifest


def _array(path: Path, kind: type) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise NotFoundError(f"no {path.name} in {path.parent}; render the picture set again") from error
    except (ValueError, OSError, EOFError) as error:
        raise CorruptRecordError(f"not a readable array ({error}); render the set again", path=path) from error
    if array.dtype != kind:
        raise FormatError(f"numbers of type {array.dtype}, not {np.dtype(kind)}", path=path)
    return array


def _lines(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise NotFoundError(f"no {path.name} in {path.parent}; render the picture set again")
    with path.open(encoding="utf-8") as lines:
        for row, line in enumerate(lines):
            try:
                yield json.loads(line)
            except ValueError as error:
                raise CorruptRecordError(f"not JSON ({error})", path=path, record=row) from error

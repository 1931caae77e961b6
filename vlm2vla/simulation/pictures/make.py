"""Makes a set of labelled pictures on disk: pixels, patches, scenes, questions.

Resumable, and the same for any number of processes: every picture follows from the seed and its number alone.

    manifest.json    what it is and how it was made; written last
    pixels.npy       uint8 [N, 220, 220, 3], external camera, upright
    patches.npy      int8 [N, 100], 10 x 10 row by row: index of the thing, 100 gripper, -1 nothing
    scenes.jsonl     a `View` per picture
    questions.jsonl  a list of questions per picture
    pairs.jsonl      questions about two moments of a scene: {"first", "second", "question", "answer", "skill"}
    texts.jsonl      questions without a picture
    words.json       words for every kind, colour and symbol in all languages
"""

import json
import multiprocessing
import random
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from vlm2vla.config import PicturesConfig
from vlm2vla.errors import ConfigError, WorkspaceError
from vlm2vla.simulation.pictures.camera import GRID, PX, VIEW, PictureCamera, Shot
from vlm2vla.simulation.pictures.layouts import make_layout
from vlm2vla.simulation.pictures.moments import Errand, Moment, draw_errand, draw_moment, draw_phases
from vlm2vla.simulation.pictures.questions import ask
from vlm2vla.simulation.pictures.questions.changes import changes
from vlm2vla.simulation.pictures.questions.texts import texts
from vlm2vla.simulation.pictures.questions.tongues import concept_words
from vlm2vla.simulation.pictures.truth import View, describe
from vlm2vla.simulation.scenes import REGION_X, REGION_Y, Scene

VERSION = 1
_SHARD = 200
_DRAWS = 25
_PAIR_SHARE = 0.3


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture and what is true of it."""

    shot: Shot
    view: View


def make_pictures(config: PicturesConfig, progress: Callable[[int, int], None] | None = None) -> dict:
    """Write a set into `config.out` and return its manifest; a set that is begun is finished.

    Raises:
        ConfigError: A count below 1, or the folder holds another set.
        WorkspaceError: The folder cannot be written.
        RobotError: No graphics on this computer.
    """
    if config.count < 1 or config.processes < 1 or config.questions < 1:
        raise ConfigError("count, processes and questions are at least 1")
    folder = _begin(config)
    starts = [start for start in range(0, config.count, _SHARD) if not _done(folder, start)]
    finished = config.count - sum(min(_SHARD, config.count - start) for start in starts)
    work = partial(_shard, config)
    for written in _spread(work, starts, config.processes):
        finished += written
        if progress is not None:
            progress(finished, config.count)
    parts = [_part(folder, start).read_text(encoding="utf-8") for start in range(0, config.count, _SHARD)]
    _write(folder / "scenes.jsonl", "".join(parts))
    write_questions(config)
    manifest = _manifest(config)
    _write(folder / "manifest.json", json.dumps(manifest, indent=2) + "\n")
    shutil.rmtree(folder / "parts")
    return manifest


def write_questions(config: PicturesConfig) -> None:
    """Write all questions about the scenes in `config.out`: they need no pixels."""
    folder = config.out
    with (folder / "scenes.jsonl").open(encoding="utf-8") as lines:
        views = [View.from_json(json.loads(line)) for line in lines]
    asked = (
        [each.row() for each in ask(view, random.Random(f"{config.seed} {row} questions"), config.questions)]
        for row, view in enumerate(views)
    )
    _write_lines(folder / "questions.jsonl", asked)
    pairs = (
        question
        for first in range(0, len(views) - 1, 2)
        if views[first].pair
        for question in changes(views[first], views[first + 1], random.Random(f"{config.seed} {first} pairs"), first)
    )
    _write_lines(folder / "pairs.jsonl", pairs)
    _write_lines(folder / "texts.jsonl", texts(random.Random(config.seed), config.texts))
    _write(folder / "words.json", json.dumps(concept_words(), ensure_ascii=False, indent=1) + "\n")


def take_scene(camera: PictureCamera, seed: int, moments: int) -> list[Picture]:
    """`moments` pictures of the scene with that seed, in the order of time."""
    rng = np.random.default_rng([seed, 43])
    scene = make_layout(seed)
    errand = draw_errand(scene, rng)
    camera.stage(scene)
    pictures = []
    for phase in draw_phases(errand, rng, moments):
        moment = _possible(camera, scene, errand, phase, rng)
        shot = camera.take(moment)
        pictures.append(Picture(shot, describe(scene, moment, shot, camera, pair=moments > 1)))
    return pictures


def moments_of(seed: int, first: int) -> int:
    """1 or 2: whether pictures `first` (even) and `first` + 1 show the same scene."""
    return 2 if np.random.default_rng([seed + first, 47]).random() < _PAIR_SHARE else 1


def _possible(camera: PictureCamera, scene: Scene, errand: Errand, phase: str, rng: np.random.Generator) -> Moment:
    moment = draw_moment(scene, errand, phase, rng, camera.finger_around)
    for _ in range(_DRAWS):
        if camera.possible(moment):
            return moment
        moment = draw_moment(scene, errand, phase, rng, camera.finger_around)
    # Nowhere to put the hand like that: wait above everything.
    return draw_moment(scene, Errand(None, None, {}), "start", rng, camera.finger_around)


def _shard(config: PicturesConfig, start: int) -> int:
    """Make pictures `start` and following; returns their number."""
    folder, count = config.out, min(_SHARD, config.count - start)
    pixels = np.load(folder / "pixels.npy", mmap_mode="r+")
    patches = np.load(folder / "patches.npy", mmap_mode="r+")
    views = []
    for first in range(start, start + count, 2):
        pictures = _two(config.seed, first)[: start + count - first]
        for row, picture in enumerate(pictures, first):
            pixels[row], patches[row] = picture.shot.pixels, picture.shot.patches
            views.append(picture.view.to_json())
    pixels.flush()
    patches.flush()
    _write_lines(_part(folder, start), views)  # last: it says that the shard is done
    return count


def _two(seed: int, first: int) -> list[Picture]:
    camera = _camera()
    if moments_of(seed, first) == 2:
        return take_scene(camera, seed + first, 2)
    return [*take_scene(camera, seed + first, 1), *take_scene(camera, seed + first + 1, 1)]


_CAMERAS: list[PictureCamera] = []


def _camera() -> PictureCamera:
    """One camera per process."""
    if not _CAMERAS:
        _CAMERAS.append(PictureCamera())
    return _CAMERAS[0]


def _spread(work: Callable[[int], int], starts: list[int], processes: int) -> Iterator[int]:
    if processes == 1:
        yield from map(work, starts)
        while _CAMERAS:
            _CAMERAS.pop().close()
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap_unordered(work, starts)


def _begin(config: PicturesConfig) -> Path:
    """The folder with empty arrays; what another call began stays."""
    folder = config.out
    order = {"count": config.count, "seed": config.seed, "questions": config.questions, "version": VERSION}
    begun = folder / "parts" / "order.json"
    if (folder / "manifest.json").exists():
        raise ConfigError(f"{folder} holds a finished set of pictures; give another folder, or delete it")
    try:
        begun.parent.mkdir(parents=True, exist_ok=True)
        if begun.exists():
            if json.loads(begun.read_text()) != order:
                raise ConfigError(f"{folder} holds a set that was begun with {begun.read_text()}; give another folder")
            return folder
        for name, shape, kind in (
            ("pixels", (config.count, PX, PX, 3), np.uint8),
            ("patches", (config.count, GRID * GRID), np.int8),
        ):
            np.lib.format.open_memmap(folder / f"{name}.npy", "w+", kind, shape).flush()
        _write(begun, json.dumps(order))
    except OSError as error:
        raise WorkspaceError(f"cannot write pictures to {folder}: {error}") from error
    return folder


def _done(folder: Path, start: int) -> bool:
    return _part(folder, start).exists()


def _part(folder: Path, start: int) -> Path:
    return folder / "parts" / f"{start:07d}.scenes.jsonl"


def _write_lines(path: Path, rows: Iterable) -> None:
    _write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    beside = path.with_name(f".{path.name}.part")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def _manifest(config: PicturesConfig) -> dict:
    return {
        "version": VERSION,
        "count": config.count,
        "seed": config.seed,
        "px": PX,
        "grid": GRID,
        "view": VIEW,
        "region": {"x_cm": [100 * value for value in REGION_X], "y_cm": [100 * value for value in REGION_Y]},
        "made_by": f"python -m vlm2vla pictures --out DIR --count {config.count} --seed {config.seed}"
        f" --questions {config.questions} --texts {config.texts}",
        "python": sys.version.split()[0],
    }

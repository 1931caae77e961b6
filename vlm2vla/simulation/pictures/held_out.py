"""A small VQA set of scenes that no pretraining sees: JPEGs and items.jsonl, spread evenly over skills and languages.

A row is {"id", "image", "skill", "language", "question", "answer", "answers", "options", "scorer", "group"}; questions
about two pictures have "images" instead, questions of text alone no image.
"""

import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from vlm2vla.config import PicturesConfig
from vlm2vla.errors import ConfigError, WorkspaceError
from vlm2vla.simulation.pictures.camera import PictureCamera
from vlm2vla.simulation.pictures.make import Picture, moments_of, take_scene
from vlm2vla.simulation.pictures.questions import ask
from vlm2vla.simulation.pictures.questions.asked import YES_NO, Asked
from vlm2vla.simulation.pictures.questions.changes import changes
from vlm2vla.simulation.pictures.questions.texts import texts

PER_PICTURE = 4
_POOL = 160
_TEXTS = 100
_CHANGES = 40
# Heights are read within a centimetre.
_CLOSE_CM = 1
_NAME = "tabletop"


def make_held_out(config: PicturesConfig, progress: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """Write the set into `config.out`, which must not hold one yet, and return its manifest.

    Raises:
        ConfigError: A count below 1, or the folder holds a set.
        WorkspaceError: The folder cannot be written.
        RobotError: No graphics on this computer.
    """
    if config.count < 1:
        raise ConfigError("count is at least 1")
    images = config.out / "images"
    if (config.out / "items.jsonl").exists():
        raise ConfigError(f"{config.out} holds a VQA set; give another folder, or delete it")
    rows: list[dict[str, Any]] = []
    asked_so_far: Counter[str] = Counter()
    moved = 0
    try:
        images.mkdir(parents=True, exist_ok=True)
        with PictureCamera() as camera:
            for first in range(0, config.count, 2):
                pictures = _two(camera, config.seed, first)[: config.count - first]
                for number, picture in enumerate(pictures, first + 1):
                    (config.out / _image(number)).write_bytes(picture.shot.jpeg)
                    rng = random.Random(f"{config.seed} {number} held out")
                    rows += [_row(asked, number) for asked in _chosen(picture, rng, asked_so_far)]
                if len(pictures) == 2 and pictures[0].view.pair and moved < _CHANGES:
                    rows.extend(_changed(pictures, first + 1, random.Random(f"{config.seed} {first} held out")))
                    moved = sum(row["skill"] == "change" for row in rows)
                if progress is not None:
                    progress(min(first + 2, config.count), config.count)
        rows += _without_pictures(random.Random(f"{config.seed} texts held out"))
        for number, row in enumerate(rows, 1):
            row["id"] = f"{_NAME}-{number:04d}"
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (config.out / "items.jsonl").write_text(lines, encoding="utf-8")
        manifest = _manifest(config, rows)
        (config.out / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise WorkspaceError(f"cannot write the VQA set to {config.out}: {error}") from error
    return manifest


def _two(camera: PictureCamera, seed: int, first: int) -> list[Picture]:
    if moments_of(seed, first) == 2:
        return take_scene(camera, seed + first, 2)
    return [*take_scene(camera, seed + first, 1), *take_scene(camera, seed + first + 1, 1)]


def _chosen(picture: Picture, rng: random.Random, so_far: Counter[str]) -> list[Asked]:
    """Of many questions about a picture those of which the set has fewest; answers stay in balance, too."""
    pool = [asked for asked in ask(picture.view, rng, _POOL) if asked.scorer != "words_cm"]
    chosen: list[Asked] = []
    while pool and len(chosen) < PER_PICTURE:
        rng.shuffle(pool)
        fewest = min(so_far[_cell(asked)] for asked in pool)
        wanted = _cell(next(asked for asked in pool if so_far[_cell(asked)] == fewest))
        of_cell = [asked for asked in pool if _cell(asked) == wanted]
        scorer = rng.choice(sorted({asked.scorer for asked in of_cell}))
        alike = [asked for asked in of_cell if asked.scorer == scorer]
        best = min(alike, key=lambda asked: so_far[f"{_cell(asked)} {asked.answer}"])
        so_far.update([_cell(best), f"{_cell(best)} {best.answer}"])
        chosen.append(best)
        pool = [asked for asked in pool if _cell(asked) != _cell(best)]
    return chosen


def _cell(asked: Asked) -> str:
    """What is counted: a skill, of other languages each one."""
    return f"{asked.skill} {asked.language}" if asked.language != "en" else asked.skill


def _row(asked: Asked, number: int) -> dict[str, Any]:
    answers = list(dict.fromkeys((asked.answer, *asked.answers)))
    scorer = asked.scorer
    if asked.skill == "height" and not asked.options:
        high = int(asked.answer.removesuffix(" cm"))
        answers = [f"{value} cm" for value in (high, high - _CLOSE_CM, high + _CLOSE_CM)]
        scorer = "exact"
    return {
        "id": "",
        "image": _image(number),
        "skill": asked.skill,
        "language": asked.language,
        "question": asked.question,
        "answer": asked.answer,
        "answers": answers,
        "options": list(asked.options) or None,
        "scorer": scorer,
        "group": f"{number:04d}",
    }


def _changed(pictures: list[Picture], number: int, rng: random.Random) -> list[dict[str, Any]]:
    """Two questions about what changed between two pictures."""
    rows = changes(pictures[0].view, pictures[1].view, rng, number)
    chosen = rng.sample(rows, min(2, len(rows)))
    return [
        {
            "id": "",
            "image": None,
            "images": [_image(number), _image(number + 1)],
            "skill": "change",
            "language": "en",
            "question": row["question"],
            "answer": row["answer"],
            "answers": [row["answer"]],
            "options": list(YES_NO) if row["answer"] in YES_NO and row["question"].endswith("move?") else None,
            "scorer": "yes_no" if row["answer"] in YES_NO and row["question"].endswith("move?") else "exact",
            "group": f"{number:04d}",
        }
        for row in chosen
    ]


def _without_pictures(rng: random.Random) -> list[dict[str, Any]]:
    """As many of every text skill, no question twice."""
    rows: dict[str, dict[str, Any]] = {}
    counts: Counter[str] = Counter()
    for text in texts(rng, 40 * _TEXTS):
        if counts[text["skill"]] < _TEXTS // 4 and text["question"] not in rows:
            counts[text["skill"]] += 1
            scorer = "number" if text["skill"] == "arithmetic" and text["answer"].lstrip("-").isdigit() else "exact"
            rows[text["question"]] = {
                "id": "",
                "image": None,
                **text,
                "answers": [text["answer"]],
                "options": None,
                "scorer": scorer,
                "group": f"text-{len(rows):03d}",
            }
    return list(rows.values())


def _image(number: int) -> str:
    return f"images/{number:04d}.jpg"


def _manifest(config: PicturesConfig, rows: list[dict[str, Any]]) -> dict[str, Any]:
    counts = Counter(row["skill"] for row in rows)
    return {
        "name": _NAME,
        "pictures": config.count,
        "seed": config.seed,
        "questions": len(rows),
        "skills": dict(sorted(counts.items())),
        "made_by": f"python -m vlm2vla pictures --held-out --out DIR --count {config.count} --seed {config.seed}",
    }

"""VQA rows for replay: questions with and without pictures, mixed into training so that what a VLM knows is kept.

Reads the folder that the command `pictures` makes (pixels.npy, questions.jsonl, texts.jsonl) and writes rows like
`write_trl`, so that training reads both in one way. Questions are asked as in VQA: the picture, where there is one,
then the question.
"""

import json
from collections.abc import Set
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from PIL import Image

from vlm2vla.dataset.folder import IMAGES, export_folder
from vlm2vla.dataset.trl import ROWS
from vlm2vla.errors import ExportError

PER_PICTURE = 8
# Questions without a picture for each picture, where the folder has as many.
TEXTS_PER_PICTURE = 3


def write_replay(
    pictures: Path,
    out: Path,
    count: int,
    *,
    seed: int = 0,
    per_picture: int = PER_PICTURE,
    held_out: Set[str] = frozenset(),
) -> int:
    """Write up to `count` pictures with `per_picture` questions each, and texts; returns how many rows there are.

    Args:
        pictures: Folder of pictures with questions, and of questions without pictures.
        out: Folder to write.
        count: Pictures.
        seed: Which pictures and questions.
        per_picture: Questions on one picture.
        held_out: Questions without a picture that a test asks: they are not replayed.

    Raises:
        ExportError: No such pictures, or `out` is not empty.
    """
    pixels, questions = _read(pictures)
    rng = np.random.default_rng([seed, 31])
    chosen = np.sort(rng.permutation(len(pixels))[:count])
    written = 0
    with export_folder(out) as folder:
        (folder / IMAGES).mkdir()
        with (folder / ROWS).open("w", encoding="utf-8", newline="\n") as file:
            for number in chosen.tolist():
                name = f"{IMAGES}/{number:06d}.png"
                asked = questions[number]
                if not asked:
                    continue
                Image.fromarray(pixels[number]).save(folder / name, compress_level=1)
                for index in sorted(rng.permutation(len(asked))[:per_picture].tolist()):
                    _write(file, _row(f"picture-{number}", index, [name], asked[index]))
                    written += 1
            for index, text in enumerate(_texts(pictures, held_out, TEXTS_PER_PICTURE * len(chosen), rng)):
                _write(file, _row(f"text-{index}", index, [], text))
                written += 1
        if not written:
            raise ExportError(f"{pictures} has no questions to replay")
    return written


def _row(source: str, index: int, images: list[str], question: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": f"vqa/{source}/{index}",
        "file_names": images,
        "prompt": [{"role": "user", "content": question["question"]}],
        "completion": [{"role": "assistant", "content": question["answer"]}],
        "level": question.get("skill", "vqa"),
        "kind": "vqa",
        "episode_id": source,
    }


def _write(file: TextIO, row: dict[str, Any]) -> None:
    file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _texts(folder: Path, held_out: Set[str], most: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Questions without a picture, no question twice."""
    path = folder / "texts.jsonl"
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        rows = {row["question"]: row for row in map(json.loads, lines) if row["question"] not in held_out}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ExportError(f"cannot read the questions in {path}: {error}") from error
    found = list(rows.values())
    return [found[index] for index in rng.permutation(len(found))[:most].tolist()]


def _read(folder: Path) -> tuple[np.ndarray, list[list[dict[str, Any]]]]:
    try:
        pixels = np.load(folder / "pixels.npy", mmap_mode="r")
        lines = (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()
        questions = [json.loads(line) for line in lines]
    except (OSError, ValueError) as error:
        raise ExportError(f"no pictures with questions in {folder}: {error}") from error
    if len(questions) != len(pixels):
        raise ExportError(f"{folder}: {len(pixels)} pictures, but questions about {len(questions)}")
    return pixels, questions

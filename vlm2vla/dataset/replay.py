"""VQA rows for replay: questions about pictures, mixed into training so that what a VLM knows is kept.

Reads the folder that the command `pictures` makes (manifest.json, pixels.npy, questions.jsonl) and writes rows like
`write_trl`, so that training reads both in one way. Questions are asked as in VQA: the picture, then the question.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vlm2vla.dataset.folder import IMAGES, export_folder
from vlm2vla.dataset.trl import ROWS
from vlm2vla.errors import ExportError

PER_PICTURE = 8


def write_replay(pictures: Path, out: Path, count: int, *, seed: int = 0, per_picture: int = PER_PICTURE) -> int:
    """Write up to `count` pictures with `per_picture` questions each; returns how many rows there are.

    Args:
        pictures: Folder of pictures with questions.
        out: Folder to write.
        count: Pictures.
        seed: Which pictures and questions.
        per_picture: Questions on one picture.

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
                    file.write(json.dumps(_row(number, index, name, asked[index]), ensure_ascii=False) + "\n")
                    written += 1
        if not written:
            raise ExportError(f"{pictures} has no questions to replay")
    return written


def _row(picture: int, index: int, image: str, question: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": f"vqa/{picture}/{index}",
        "file_names": [image],
        "prompt": [{"role": "user", "content": question["question"]}],
        "completion": [{"role": "assistant", "content": question["answer"]}],
        "level": question.get("skill", "vqa"),
        "kind": "vqa",
        "episode_id": f"picture-{picture}",
    }


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

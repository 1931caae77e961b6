"""The gate: does the finished model see? Asked through its own processor, on pictures that no stage has learned from.

Every skill is scored three times: on the picture, on a blank picture in its place, and as chance (the share of the
commonest answer). Places and offsets in centimetres count as right within NEAR_CM and also give their median error.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vlm2vla.training.pretrain.pictures import PictureSet

if TYPE_CHECKING:
    from PIL.Image import Image

NEAR_CM = 2.0
AIMS = {"colour": 0.9, "shape": 0.9, "relation": 0.85, "exists": 0.85, "extreme": 0.85}
"""Least share of right answers."""
AIMS_CM = {"pointing": NEAR_CM, "offset": NEAR_CM}
"""Largest median error."""
_ABOVE_BLANK = 0.15
"""A model that sees is this much better with the picture than without, on average over the skills with pictures."""
_LIST = re.compile(r"\[\s*-?\d+(?:\.\d+)?(?:\s*,\s*-?\d+(?:\.\d+)?)*\s*\]")
_BATCH = 24
_MOST_TOKENS = 64


@dataclass(frozen=True)
class Item:
    """One question of the gate.

    Attributes:
        skill, language: As in questions.jsonl.
        question: What is asked.
        answers: Accepted answers, the canonical one first.
        images: The pictures, in order; none for text alone.
    """

    skill: str
    language: str
    question: str
    answers: tuple[str, ...]
    images: "tuple[Image, ...]" = ()


def run_gate(
    model_folder: Path, held_out: Path | None, pictures: PictureSet, *, limit: int = 0, per_picture: int = 6
) -> dict[str, Any]:
    """Ask everything and add it up.

    Args:
        model_folder: A finished model; loaded with the Auto classes like any other.
        held_out: A VQA set (items.jsonl and images), or None for held-out pictures of `pictures`.
        pictures: Where the held-out pictures are, without a VQA set.
        limit: Ask at most so many.
        per_picture: Questions of each held-out picture.

    Returns:
        passed, score, blank, by skill: right, blank, chance, items, median_cm, blank_median_cm.
    """
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model = AutoModelForImageTextToText.from_pretrained(model_folder, dtype="float32").eval()
    processor = AutoProcessor.from_pretrained(model_folder)
    items = items_of(held_out) if held_out is not None else items_of_pictures(pictures, per_picture)
    if limit and limit < len(items):
        chosen = np.random.default_rng(0).permutation(len(items))[:limit]
        items = [items[int(index)] for index in sorted(chosen)]
    real = ask(model, processor, items)
    seen = [item for item in items if item.images]
    blank = ask(model, processor, [_blank(item) for item in seen])
    return grade(items, real, seen, blank)


def items_of(folder: Path) -> list[Item]:
    """The items of a VQA set."""
    from PIL import Image

    items = []
    for line in (folder / "items.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        names = row.get("images") or ([row["image"]] if row.get("image") else [])
        images = tuple(Image.open(folder / name).convert("RGB") for name in names)
        answers = tuple(row.get("answers") or (row["answer"],))
        items.append(Item(row["skill"], row["language"], row["question"], answers, images))
    return items


def items_of_pictures(pictures: PictureSet, per_picture: int) -> list[Item]:
    """Questions about the pictures that the stages only look at, and some without a picture."""
    from PIL import Image

    rng = np.random.default_rng(7)
    items = []
    for number in pictures.held_out:
        asked = pictures.questions[number]
        image = Image.fromarray(np.asarray(pictures.pixels[number]))
        for index in rng.permutation(len(asked))[:per_picture]:
            row = asked[int(index)]
            items.append(Item(row["skill"], row["language"], row["question"], (row["answer"],), (image,)))
    for index in rng.integers(0, max(1, len(pictures.texts)), min(150, len(pictures.texts))):
        row = pictures.texts[int(index)]
        items.append(Item(row["skill"], row["language"], row["question"], (row["answer"],)))
    return items


def ask(model: Any, processor: Any, items: Sequence[Item]) -> list[str]:
    """Greedy answers, in the order of the items."""
    import torch

    answers = [""] * len(items)
    # One batch holds only questions with the same number of pictures.
    for count in sorted({len(item.images) for item in items}):
        alike = [index for index, item in enumerate(items) if len(item.images) == count]
        alike.sort(key=lambda index: len(items[index].question))
        for start in range(0, len(alike), _BATCH):
            part = alike[start : start + _BATCH]
            inputs = _inputs(processor, [items[index] for index in part])
            with torch.no_grad():
                out = model.generate(**inputs, max_new_tokens=_MOST_TOKENS, do_sample=False)
            for index, row in zip(part, out[:, inputs["input_ids"].shape[1] :], strict=True):
                answers[index] = processor.decode(row, skip_special_tokens=True).strip()
    return answers


def _inputs(processor: Any, items: Sequence[Item]) -> Mapping[str, Any]:
    texts = []
    for item in items:
        parts = [{"type": "image"} for _ in item.images]
        message = {"role": "user", "content": [*parts, {"type": "text", "text": item.question}]}
        texts.append(processor.apply_chat_template([message], add_generation_prompt=True))
    images = [list(item.images) for item in items if item.images]
    return processor(
        text=texts,
        images=images or None,
        return_tensors="pt",
        padding=True,
        padding_side="left",
        add_special_tokens=False,
    )


def grade(items: Sequence[Item], real: Sequence[str], seen: Sequence[Item], blank: Sequence[str]) -> dict[str, Any]:
    """Scores by skill from answers to `items`, and to those of them that had a picture with a blank one instead."""
    skills: dict[str, dict[str, Any]] = {}
    right, error = _scored(items, real)
    right_blank, error_blank = _scored(seen, blank)
    by_skill: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        by_skill[item.skill].append(item)
    for skill, asked in sorted(by_skill.items()):
        common = Counter(item.answers[0].casefold() for item in asked).most_common(1)[0][1]
        row: dict[str, Any] = {
            "right": round(float(np.mean(right[skill])), 3),
            "blank": round(float(np.mean(right_blank[skill])), 3) if right_blank[skill] else None,
            "chance": round(common / len(asked), 3),
            "items": len(asked),
        }
        if error[skill]:
            row["median_cm"], row["blank_median_cm"] = _median(error[skill]), _median(error_blank[skill])
        skills[skill] = row
    looked = [row for row in skills.values() if row["blank"] is not None]
    score = float(np.mean([row["right"] for row in looked])) if looked else 0.0
    without = float(np.mean([row["blank"] for row in looked])) if looked else 0.0
    missed = [skill for skill, aim in AIMS.items() if skill in skills and skills[skill]["right"] < aim]
    for skill, aim in AIMS_CM.items():
        median = skills.get(skill, {}).get("median_cm", 0.0)
        missed += [skill] if median is None or median > aim else []
    return {
        "passed": not missed and score - without >= _ABOVE_BLANK,
        "missed": missed,
        "score": round(score, 3),
        "blank": round(without, 3),
        "skills": skills,
    }


def _scored(items: Sequence[Item], answers: Sequence[str]) -> tuple[dict[str, list[bool]], dict[str, list[float]]]:
    right: dict[str, list[bool]] = defaultdict(list)
    error: dict[str, list[float]] = defaultdict(list)
    for item, answer in zip(items, answers, strict=True):
        wanted = numbers_in(item.answers[0])
        if wanted is None or not item.images:
            right[item.skill].append(_plain(answer) in {_plain(each) for each in item.answers})
            continue
        found = numbers_in(answer)
        far = float(np.abs(found - wanted).max()) if found is not None and len(found) == len(wanted) else np.inf
        right[item.skill].append(far <= NEAR_CM)
        error[item.skill].append(far)
    return right, error


def _median(errors: Sequence[float]) -> float | None:
    """None where most answers were no places at all."""
    middle = float(np.median(errors)) if errors else np.inf
    return round(middle, 2) if np.isfinite(middle) else None


def numbers_in(text: str) -> np.ndarray | None:
    """The first list of numbers in a text."""
    match = _LIST.search(text)
    return np.array([float(each) for each in match.group().strip("[] ").split(",")]) if match else None


def _plain(text: str) -> str:
    return " ".join(text.casefold().strip(" .。").split())


def _blank(item: Item) -> Item:
    from PIL import Image

    empty = tuple(Image.new("RGB", image.size, (128, 128, 128)) for image in item.images)
    return Item(item.skill, item.language, item.question, item.answers, empty)

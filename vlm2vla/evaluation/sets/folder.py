"""Our own VQA sets: a folder with one question a line, and images beside it.

    {"id", "image": "images/0001.jpg" or null, "question", "answer", "answers": [...], "options": [...] or {"A": ...},
     "scorer": "exact", "skill", "language", "group", "category"}

Only `question` and `answer` are needed. Options as an object have letters and are asked for by letter; options as a
list are the words that an answer may be. A manifest.json beside it may give "name" and "suffix".
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlm2vla.errors import EvaluationError
from vlm2vla.evaluation.items import LETTERS, Item, VqaSet
from vlm2vla.evaluation.pictures import Picture
from vlm2vla.evaluation.scorers import SCORERS

_FIRST_CHOICE = "items.jsonl"


def read(path: Path) -> VqaSet:
    """Read a folder or a .jsonl file.

    Raises:
        EvaluationError: No such file, or several and none is called items.jsonl.
    """
    file = _file(path)
    about = _manifest(file.parent / "manifest.json")
    items: dict[str, Item] = {}
    problems: list[tuple[str, str]] = []
    with file.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                item = _item(json.loads(line), number, file.parent)
                if item.id in items:
                    raise EvaluationError(f"the id {item.id!r} stands twice")
                items[item.id] = item
            except (EvaluationError, ValueError, KeyError, TypeError, AttributeError) as error:
                message = f"no {error}" if isinstance(error, KeyError) else str(error)
                problems.append((f"{file.name}:{number}", message))
    name = str(about.get("name") or (path.name if path.is_dir() else path.stem))
    return VqaSet(name, str(path), tuple(items.values()), tuple(problems), str(about.get("suffix", "")))


def _file(path: Path) -> Path:
    if path.is_file():
        return path
    files = sorted(path.glob("*.jsonl"))
    chosen = [file for file in files if file.name == _FIRST_CHOICE] or files
    if len(chosen) != 1:
        names = ", ".join(file.name for file in files) or "none"
        raise EvaluationError(f"{path}: expected {_FIRST_CHOICE} or a single .jsonl file, found {names}")
    return chosen[0]


def _manifest(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise EvaluationError(f"{path}: not JSON: {error}") from error
    return about if isinstance(about, dict) else {}


def _item(row: Mapping[str, Any], number: int, folder: Path) -> Item:
    question = str(row["question"]).strip()
    if not question:
        raise EvaluationError("the question is empty")
    options, lettered, answers = _options(row)
    scorer = str(row.get("scorer") or ("choice" if options else "exact"))
    if scorer == "vqa_accuracy" and row.get("answers"):
        answers = tuple(str(answer) for answer in row["answers"])  # each person's answer counts, equal ones too
    if scorer not in SCORERS:
        raise EvaluationError(f"no scorer {scorer!r}; there are {', '.join(SCORERS)}")
    pictures = _pictures(row, folder)
    group = str(row.get("group") or (pictures[0].name if pictures else ""))
    benchmark = str(row.get("benchmark") or "")
    return Item(
        id=str(row.get("id", number)),
        question=question,
        answers=answers,
        scorer=scorer,
        pictures=pictures,
        options=options,
        lettered=lettered,
        hint=str(row.get("hint") or ""),
        skill=str(row.get("skill") or row.get("category") or ""),
        language=str(row.get("language") or row.get("lang") or ""),
        group=group,
        meta={"benchmark": benchmark} if benchmark else {},
    )


def _options(row: Mapping[str, Any]) -> tuple[tuple[str, ...], bool, tuple[str, ...]]:
    """(options, lettered, accepted answers)."""
    options, answer = row.get("options"), row["answer"]
    if isinstance(options, Mapping):
        letters = list(LETTERS[: len(options)])
        if sorted(options) != letters:
            raise EvaluationError(f"options must be lettered A, B, C ..., not {', '.join(options)}")
        texts = tuple(str(options[letter]) for letter in letters)
        if len(texts) < 2 or len(set(texts)) < len(texts):
            raise EvaluationError("options must be at least two, and all different")
        if str(answer) not in letters:
            raise EvaluationError(f"the answer {answer!r} is not one of the letters {', '.join(letters)}")
        return texts, True, (texts[letters.index(str(answer))],)
    accepted = [str(answer), *(str(other) for other in row.get("answers") or [])]
    return tuple(str(option) for option in options or ()), False, tuple(dict.fromkeys(accepted))


def _pictures(row: Mapping[str, Any], folder: Path) -> tuple[Picture, ...]:
    names = row.get("images") or ([row["image"]] if row.get("image") else [])
    pictures = []
    root = folder.resolve()
    for name in names:
        path = (folder / str(name)).resolve()
        if not path.is_relative_to(root):
            raise EvaluationError(f"the image {name!r} lies outside the set's folder")
        if not path.is_file():
            raise EvaluationError(f"the image {name!r} is not there")
        pictures.append(Picture(path, name=str(name)))
    return tuple(pictures)

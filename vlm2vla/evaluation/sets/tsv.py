"""VLMEvalKit's tables: tab-separated, images as base64 in the table.

Columns: index, question, optional hint, A, B, C, D ..., answer, category, l2-category, image. An image cell may be the
index of another row that holds the image. In MMBench's own table rotated copies of a question have index + k * 10**6;
where there are none, `asking` rotates the options itself.
"""

import base64
import binascii
import csv
import sys
from collections.abc import Mapping
from pathlib import Path

from vlm2vla.errors import EvaluationError
from vlm2vla.evaluation.items import LETTERS, Item, VqaSet
from vlm2vla.evaluation.pictures import Picture

CIRCULAR_STEP = 10**6
_REFERENCE_CHARS = 64
"""An image cell this short is the index of another row."""


def read(path: Path) -> VqaSet:
    """Read one table.

    Raises:
        EvaluationError: Not a table with question and answer.
    """
    rows = _rows(path)
    by_index = {row["index"]: row for row in rows if row.get("index")}
    copies = any(_number(row) >= CIRCULAR_STEP for row in rows)
    items: list[Item] = []
    problems: list[tuple[str, str]] = []
    for number, row in enumerate(rows, 2):
        try:
            items.append(_item(row, by_index, copies, path))
        except EvaluationError as error:
            problems.append((f"{path.name}:{row.get('index') or number}", str(error)))
    return VqaSet(path.stem, str(path), tuple(items), tuple(problems))


def _rows(path: Path) -> list[dict[str, str]]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t")
            rows = [{key: value or "" for key, value in row.items() if key} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise EvaluationError(f"{path} is not a tab-separated table: {error}") from error
    missing = {"question", "answer"} - set(reader.fieldnames or ())
    if missing:
        raise EvaluationError(f"{path} has no column {' and no column '.join(sorted(missing))}: not a VQA table")
    return rows


def _item(row: Mapping[str, str], by_index: Mapping[str, Mapping[str, str]], copies: bool, path: Path) -> Item:
    index = row.get("index") or ""
    if not row["question"].strip() or not row["answer"].strip():
        raise EvaluationError("question or answer is empty (answers of public test splits are not published)")
    options = _options(row)
    answer = row["answer"].strip()
    if options:
        if answer not in LETTERS[: len(options)]:
            raise EvaluationError(f"the answer {answer!r} is not the letter of an option")
        answer = options[LETTERS.index(answer)]
    base = str(_number(row) % CIRCULAR_STEP) if index.isdigit() else index
    category = row.get("category", "")
    mme = not options and answer.lower() in ("yes", "no")
    return Item(
        id=index or row["question"],
        question=row["question"],
        answers=(answer,),
        scorer="choice" if options else ("yes_no" if mme else "exact"),
        pictures=_pictures(row, by_index, path),
        options=options,
        lettered=bool(options),
        hint=row.get("hint", ""),
        skill=category,
        language="zh" if _is_chinese(row["question"]) else "en",
        group=row.get("image_path") or _image_owner(row, base),
        circular_of=base if copies else "",
        meta={"category": category, "split": row.get("split", "")},
    )


def _options(row: Mapping[str, str]) -> tuple[str, ...]:
    """Options without a gap; absent ones are empty cells (or "nan", as pandas writes them)."""
    found = []
    for letter in LETTERS:
        text = row.get(letter, "")
        if not text.strip() or text.strip().lower() == "nan":
            break
        found.append(text)
    if found and len(set(found)) < len(found):
        raise EvaluationError("two options are the same")
    return tuple(found)


def _pictures(row: Mapping[str, str], by_index: Mapping[str, Mapping[str, str]], path: Path) -> tuple[Picture, ...]:
    cell = row.get("image", "")
    if not cell:
        return ()
    if len(cell) <= _REFERENCE_CHARS:
        other = by_index.get(cell)
        if other is None or len(other.get("image", "")) <= _REFERENCE_CHARS:
            raise EvaluationError(f"its image is that of row {cell}, which has none")
        cell = other["image"]
    try:
        data = base64.b64decode(cell, validate=False)
    except (binascii.Error, ValueError) as error:
        raise EvaluationError(f"the image is not base64: {error}") from error
    return (Picture(data=data, name=f"{path.name}:{row.get('index', '')}"),)


def _image_owner(row: Mapping[str, str], base: str) -> str:
    cell = row.get("image", "")
    return str(int(cell) % CIRCULAR_STEP) if 0 < len(cell) <= _REFERENCE_CHARS and cell.isdigit() else base


def _number(row: Mapping[str, str]) -> int:
    text = row.get("index", "")
    return int(text) if text.isdigit() else 0


def _is_chinese(text: str) -> bool:
    return any("\u4e00" <= letter <= "\u9fff" for letter in text)

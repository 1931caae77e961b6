"""Benchmarks as lmms-eval's data sets are stored: Parquet with an image column of {"bytes", "path"}.

Columns are recognised by name: image or image_1 ...; question; answer or answers; options (a list, or the text of one)
or A, B, C, D. Which scorer a set needs follows from its name and columns (`PROFILES`) and can be said outright.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vlm2vla.errors import EvaluationError
from vlm2vla.evaluation.items import LETTERS, Item, VqaSet
from vlm2vla.evaluation.pictures import Picture

# Part of the name -> (scorer, order how to answer). The order is identical for base and fine-tuned models.
SHORT = "Answer the question using a single word or phrase."
PROFILES = {
    "textvqa": ("vqa_accuracy", SHORT),
    "vqav2": ("vqa_accuracy", SHORT),
    "docvqa": ("anls", SHORT),
    "infovqa": ("anls", SHORT),
    "infographic": ("anls", SHORT),
    "chartqa": ("relaxed", "Answer the question with a single word."),
    "ocrbench": ("substring", ""),
    "mme": ("yes_no", ""),
    "mmmu": ("choice_last", SHORT),
    "realworldqa": ("letter_or_exact", ""),
}
_MOST_OPTIONS = 9


def read(path: Path) -> VqaSet:
    """Read one file or a folder of files.

    Raises:
        EvaluationError: Not Parquet, or no column for question and answer.
    """
    files = [path] if path.is_file() else sorted(path.rglob("*.parquet"))
    name = path.stem if path.is_file() else path.name
    scorer, suffix = _profile(name)
    items: list[Item] = []
    problems: list[tuple[str, str]] = []
    for number, row in enumerate(_rows(files)):
        try:
            items.append(_item(row, number, name, scorer))
        except (EvaluationError, KeyError, ValueError, TypeError, SyntaxError) as error:
            problems.append((f"row {number}", f"no column {error}" if isinstance(error, KeyError) else str(error)))
    return VqaSet(name, str(path), tuple(items), tuple(problems), suffix)


def _profile(name: str) -> tuple[str, str]:
    lower = name.lower()
    # "mmmu" before "mme": the longest name that fits.
    fitting = [part for part in PROFILES if part in lower]
    return PROFILES[max(fitting, key=len)] if fitting else ("", "")


def _rows(files: list[Path]) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for file in files:
        try:
            with pq.ParquetFile(file) as table:
                for batch in table.iter_batches(batch_size=64):
                    yield from batch.to_pylist()
        except (OSError, pa.ArrowException) as error:
            raise EvaluationError(f"{file} cannot be read as Parquet: {error}") from error


def _item(row: Mapping[str, Any], number: int, name: str, scorer: str) -> Item:
    question = str(row["question"]).strip()
    options = _options(row)
    answers = _answers(row, options)
    if not question or not answers:
        raise EvaluationError("question or answer is empty (answers of public test splits are not published)")
    if options:
        scorer = scorer if scorer in ("choice_last", "letter_or_exact") else "choice"
        if answers[0] not in options:
            raise EvaluationError(f"the answer {answers[0]!r} is not one of the options")
    pictures = _pictures(row, number, name)
    first = next(iter(pictures), None)
    identity = row.get("question_id", row.get("id", row.get("index", number)))
    skill = str(row.get("category") or row.get("question_type") or row.get("subfield") or row.get("type") or "")
    scorer = scorer or ("yes_no" if answers[0].lower() in ("yes", "no") else "exact")
    if scorer == "substring" and row.get("dataset") == "HME100k":
        scorer = "substring_formula"
    return Item(
        # MME asks two questions under one id, so the row's number belongs to it.
        id=f"{identity}#{number}",
        question=question,
        answers=answers,
        scorer=scorer,
        pictures=pictures,
        options=options,
        lettered=bool(options),
        hint=str(row.get("hint") or ""),
        skill=skill,
        group=first.digest if first else "",
        meta={"category": skill, "question_id": str(identity)},
    )


def _options(row: Mapping[str, Any]) -> tuple[str, ...]:
    found = row.get("options")
    if isinstance(found, str):
        found = ast.literal_eval(found) if found.strip().startswith("[") else None
    if not found:
        found = []
        for letter in LETTERS[:_MOST_OPTIONS]:
            if row.get(letter) in (None, ""):
                break
            found.append(row[letter])
    texts = tuple(str(option) for option in found)
    if len(set(texts)) < len(texts):
        raise EvaluationError("two options are the same")
    return texts


def _answers(row: Mapping[str, Any], options: tuple[str, ...]) -> tuple[str, ...]:
    given = row.get("answers", row.get("answer"))
    given = [] if given is None else given
    answers = tuple(str(answer) for answer in (given if isinstance(given, list) else [given]))
    if not options or not answers:
        return answers
    # A letter, or the number of the option (AI2D).
    letter = answers[0].strip()
    if len(letter) == 1 and letter in LETTERS[: len(options)]:
        return (options[LETTERS.index(letter)],)
    if letter not in options and letter.isdigit() and int(letter) < len(options):
        return (options[int(letter)],)
    return answers


def _pictures(row: Mapping[str, Any], number: int, name: str) -> tuple[Picture, ...]:
    found = []
    for column in ("image", *(f"image_{index}" for index in range(1, 8))):
        value = row.get(column)
        for entry in value if isinstance(value, list) else [value]:
            data = entry.get("bytes") if isinstance(entry, Mapping) else entry
            if isinstance(data, bytes) and data:
                found.append(Picture(data=data, name=f"{name}, row {number}, {column}"))
    return tuple(found)

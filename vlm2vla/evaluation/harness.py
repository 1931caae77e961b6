"""lmms-eval as runner: our sets as its local tasks, its per-sample logs as our results.

Its numbers come from its own prompts and rules (of MMBench: from its prompts, by the letters in the answers). They are
kept apart and never compared with ours.
"""

import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlm2vla.errors import EvaluationError
from vlm2vla.evaluation.asking import Asked
from vlm2vla.evaluation.items import LETTERS, VqaSet
from vlm2vla.evaluation.scorers import Truth
from vlm2vla.evaluation.scorers.letters import choice
from vlm2vla.evaluation.sets.tsv import CIRCULAR_STEP
from vlm2vla.evaluation.statistics import bootstrap, mcnemar, mean_of_groups

# How an answer begins where the request failed.
_FAILED = "[LMMS_EVAL_REQUEST_FAILED"
# What its rows hold beside scores.
_NO_SCORE = frozenset(("doc_id", "idx", "doc_hash", "doc", "target", "input_len", "token_counts", "submission"))

_TASK = """task: {name}
dataset_path: {data}
dataset_kwargs:
  load_from_disk: true
test_split: test
output_type: generate_until
doc_to_visual: !function utils.doc_to_visual
doc_to_text: !function utils.doc_to_text
doc_to_target: target
generation_kwargs:
  max_new_tokens: {tokens}
  temperature: 0
  do_sample: false
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
    ignore_case: true
    ignore_punctuation: true
"""
_FUNCTIONS = '''"""Functions of a local task: the picture and the words of a question."""


def doc_to_visual(doc):
    return [doc["image"].convert("RGB")] if doc["image"] is not None else []


def doc_to_text(doc, lmms_eval_specific_kwargs=None):
    return doc["text"]
'''


def write_task(vqa: VqaSet, folder: Path, *, tokens: int = 64) -> str:
    """Write a set as a local task; questions with more than one picture are left out.

    Returns:
        Name of the task; `folder` is what lmms-eval takes as --include_path.

    Raises:
        EvaluationError: None of the questions can be asked in this way.
    """
    from datasets import Dataset, DatasetDict, Features, Image, Value
    from PIL import Image as Pillow

    rows = []
    for item in vqa.items:
        if len(item.pictures) > 1:
            continue
        image = Pillow.open(io.BytesIO(item.pictures[0].read().data)) if item.pictures else None
        target = LETTERS[item.correct] if item.lettered else item.answers[0]
        rows.append({"id": item.id, "image": image, "text": Asked(item).text(vqa.suffix), "target": target})
    if not rows:
        raise EvaluationError(f"the set {vqa.name} has no question with at most one picture")
    name = "vlm2vla_" + re.sub(r"[^A-Za-z0-9]+", "_", vqa.name).strip("_").lower()
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    text = Value("string")
    features = Features({"id": text, "image": Image(), "text": text, "target": text})
    data = place / f"data-{vqa.digest}-{len(rows)}"
    if not data.exists():
        DatasetDict({"test": Dataset.from_list(rows, features=features)}).save_to_disk(str(data))
    (place / f"{name}.yaml").write_text(_TASK.format(name=name, data=data.resolve(), tokens=tokens))
    (place / "utils.py").write_text(_FUNCTIONS)
    return name


def import_logs(logs: Mapping[str, Path], base: str, harness: str) -> dict[str, Any]:
    """Scores and retention from per-sample logs.

    Args:
        logs: Folder of each model's logs (samples_<task>.jsonl somewhere in it).
        base: The model that the others are compared with.
        harness: Name and version, for the report.

    Returns:
        {"harness", "base", "tasks": {task: {model: {metric: interval}}}, "retention": {task: {model: {metric: ...}}},
        "failed": {task: {model: number}}}; requests that failed count as wrong in lmms-eval, here they are left out.

    Raises:
        EvaluationError: A model has no log, its log is damaged, or it answered nothing.
    """
    read = {model: _samples(folder, model) for model, folder in logs.items()}
    values = {model: found for model, (found, _) in read.items()}
    failed: dict[str, dict[str, int]] = {}
    for model, (_, numbers) in read.items():
        for task, number in numbers.items():
            failed.setdefault(task, {})[model] = number
    tasks: dict[str, Any] = {}
    kept: dict[str, Any] = {}
    for model, by_task in values.items():
        for task, metrics in by_task.items():
            for metric, scores in metrics.items():
                mean = mean_of_groups(scores.items()).to_json() | {"questions": len(scores)}
                tasks.setdefault(task, {}).setdefault(model, {})[metric] = mean
                old = values[base].get(task, {}).get(metric, {})
                if model != base and old:
                    row = _kept({key: (scores[key], old[key]) for key in scores.keys() & old.keys()})
                    kept.setdefault(task, {}).setdefault(model, {})[metric] = row
    return {"harness": harness, "base": base, "tasks": tasks, "retention": kept, "failed": failed}


def _kept(pairs: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
    rows = list(pairs.values())
    lost, won = (sum(old > new for new, old in rows), sum(new > old for new, old in rows))
    ratio = bootstrap(rows, lambda new, old: new / old).to_json() if any(old for _, old in rows) else None
    return {"raw": ratio, "questions": len(rows), "lost": lost, "won": won, "p": round(mcnemar(lost, won), 6)}


def _samples(folder: Path, model: str) -> tuple[dict[str, dict[str, dict[str, float]]], dict[str, int]]:
    """Task -> metric -> question -> score, and task -> failed requests.

    Questions are told apart by doc_id: doc_hash is the same for all of them. Rotated copies of a question (MMBench) are
    one, right if all are.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    failed: dict[str, int] = {}
    trouble = ""
    for path in sorted(folder.rglob("*samples_*.jsonl")):
        task = path.stem.split("samples_")[-1]
        try:
            rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        except ValueError as error:
            raise EvaluationError(f"{path} is damaged: {error}") from error
        metrics: dict[str, dict[str, float]] = {}
        lost: set[str] = set()
        for row in rows:
            question, said = _question(row), str(row.get("filtered_resps", ""))
            if _FAILED in said:
                failed[task] = failed.get(task, 0) + 1
                trouble = trouble or said.split(_FAILED)[1].strip("'\"[] ")
                lost.add(question)
                continue
            for name, value in row.items():
                if name not in _NO_SCORE and (score := _score(value)) is not None:
                    known = metrics.setdefault(name, {})
                    known[question] = min(score, known.get(question, score))
        found[task] = {
            name: {question: score for question, score in scores.items() if question not in lost}
            for name, scores in metrics.items()
        }
    if failed and not any(found.values()):
        raise EvaluationError(f"{model} answered none of the questions: {trouble}")
    if not any(found.values()):
        raise EvaluationError(f"lmms-eval left no scores of {model} in {folder}")
    return found, failed


def _question(row: Mapping[str, Any]) -> str:
    """What a row is about."""
    told = row.get("gpt_eval_score")
    index = str(told.get("index", "")) if isinstance(told, Mapping) else ""
    return f"{int(index) % CIRCULAR_STEP}" if index.isdigit() else str(row["doc_id"])


def _score(value: Any) -> float | None:
    """A number, or what a task says of one question (MMStar: "score"; MMBench: answer and prediction); else None."""
    if isinstance(value, Mapping):
        return _score(value["score"]) if "score" in value else _chosen(value)
    return float(value) if isinstance(value, int | float) else None


def _chosen(told: Mapping[str, Any]) -> float | None:
    """MMBench's log has no score: lmms-eval lets another model grade at the end. Here only its first stage counts.

    Whatever names no option is wrong, where MMBench asks that other model, or guesses.
    """
    options = []
    for letter in LETTERS:
        text = str(told.get(letter) or "nan").strip()
        if text == "nan":
            break
        options.append(text)
    answer, said = str(told.get("answer", "")), told.get("prediction")
    if said is None or answer not in tuple(LETTERS[: len(options)]):
        return None
    correct = LETTERS.index(answer)
    return choice(str(said), Truth((options[correct],), tuple(options), correct, True, "")).value

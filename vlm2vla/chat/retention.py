"""Stored comparisons of fine-tuned models with their base, and the questions on which they differ, for a page.

Reads what `evaluate vqa` stored, grades the answers again for the gallery, and asks nothing. A question of the gallery
becomes a question of the chat with exactly the words that were asked.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlm2vla.chat.store import ChatStore
from vlm2vla.errors import EvaluationError, NotFoundError
from vlm2vla.evaluation import Item, VqaSet, load_set
from vlm2vla.evaluation.answers import read_answers
from vlm2vla.evaluation.asking import Asked
from vlm2vla.evaluation.grading import Grade
from vlm2vla.evaluation.report.evidence import Evidence, Stored, collect
from vlm2vla.evaluation.report.papers import paper
from vlm2vla.evaluation.retention import LINE, Flip
from vlm2vla.evaluation.vqa import gallery
from vlm2vla.workspace import Workspace

JSON = dict[str, Any]
_SETS = 3
_SHOWN = ("set", "base", "questions", "circular", "made_at", "scores", "retention", "retention_by_skill")


@dataclass(frozen=True)
class _Opened:
    """A set with the grades of one comparison.

    Attributes:
        vqa: The set.
        flips: By fine-tuned model.
    """

    vqa: VqaSet
    flips: dict[str, tuple[Flip, ...]]


class Comparisons:
    """Every stored comparison of a workspace, and of folders that ship. Safe to call from several threads."""

    def __init__(self, workspace: Workspace, store: ChatStore, shipped: Sequence[Path] = ()):
        """Nothing is read yet.

        Args:
            workspace: Whose results are shown.
            store: Where pictures of the gallery are kept when they are asked about.
            shipped: Further folders of results.
        """
        self._workspace, self._store, self._shipped = workspace, store, tuple(shipped)
        self._opened: OrderedDict[tuple[str, str], _Opened] = OrderedDict()
        self._lock = threading.Lock()

    def list(self) -> list[JSON]:
        """Newest first: id, set, models, number of questions, whether they were repeated, when it was made.

        Raises:
            EvaluationError: A stored result is damaged.
        """
        rows = [
            {
                "id": name,
                "models": list(stored.value["scores"]),
                "repeated": any("agreement" in row for row in stored.value["scores"].values()),
                **{key: stored.value[key] for key in ("set", "questions", "circular", "made_at")},
            }
            for name, stored in self._stored().items()
        ]
        return sorted(rows, key=lambda row: row["made_at"], reverse=True)

    def open(self, name: str) -> JSON:
        """Scores and retention of one comparison, whole and by skill; the paper's table beside them.

        Raises:
            NotFoundError: There is none of that id.
        """
        stored = self._one(name)
        return {key: stored.value.get(key) for key in _SHOWN} | {"id": name, "line": LINE, "paper": paper("vqa")}

    def harness(self) -> Sequence[JSON]:
        """What another harness measured over our served models, newest first; its numbers stand beside ours nowhere.

        Returns:
            {"id", "harness", "made_at", "base", "rows": one per task, metric and model: {"task", "metric", "model",
            "score": interval, "questions", "failed", "kept": {"raw", "lost", "won", "p"} or None}} of each run.

        Raises:
            EvaluationError: A stored result is damaged.
        """
        runs = [
            {"id": stored.path.parent.name, "rows": list(_harness_rows(stored.value))}
            | {key: stored.value.get(key, "") for key in ("harness", "made_at", "base")}
            for stored in self._evidence().harness
        ]
        return sorted(runs, key=lambda run: run["made_at"], reverse=True)

    def gallery(self, name: str, tuned: str) -> JSON:
        """The questions that base and fine-tuned model did not both get right or wrong: lost ones first.

        Returns:
            {"flips": [...], "problem": why there are none to show, or ""}.

        Raises:
            NotFoundError: No such comparison or model.
        """
        stored = self._one(name)
        if tuned not in stored.value["retention"]:
            raise NotFoundError(f"{tuned!r} was not compared here; there is {', '.join(stored.value['retention'])}")
        try:
            opened = self._open(name, stored)
        except (NotFoundError, EvaluationError) as error:
            return {"flips": [], "problem": f"the questions are not here any more: {error}"}
        return {"flips": [_flip(flip) for flip in opened.flips[tuned]], "problem": ""}

    def picture(self, name: str, item: str, number: int) -> tuple[bytes, str]:
        """Bytes and type of an image of a question.

        Raises:
            NotFoundError: No such comparison, question or image.
            EvaluationError: It cannot be read.
        """
        pictures = self._item(name, item).pictures
        if not 0 <= number < len(pictures):
            raise NotFoundError(f"{item} has {len(pictures)} images")
        part = pictures[number].read()
        return part.data, part.mime_type

    def question(self, name: str, item: str) -> JSON:
        """A question as the models were asked it, ready for the chat: text, ids of kept images, the right answer.

        Raises:
            NotFoundError: No such comparison or question.
            EvaluationError, ConfigError: An image cannot be used.
        """
        found = self._item(name, item)
        images = [self._store.keep_image(picture.read().data) for picture in found.pictures]
        text = Asked(found).text(self._open(name, self._one(name)).vqa.suffix)
        return {"text": text, "images": images, "answer": found.answers[0]}

    def _item(self, name: str, item: str) -> Item:
        for each in self._open(name, self._one(name)).vqa.items:
            if each.id == item:
                return each
        raise NotFoundError(f"{name} has no question {item!r}")

    def _stored(self) -> dict[str, Stored]:
        return {_id(stored): stored for stored in self._evidence().vqa if stored.value.get("retention")}

    def _evidence(self) -> Evidence:
        return collect([self._workspace.evaluations, *(folder for folder in self._shipped if folder.is_dir())])

    def _one(self, name: str) -> Stored:
        found = self._stored().get(name)
        if found is None:
            raise NotFoundError(f"no comparison {name!r} in this workspace")
        return found

    def _open(self, name: str, stored: Stored) -> _Opened:
        key = (name, str(stored.value["made_at"]))
        with self._lock:
            if key not in self._opened:
                self._opened[key] = self._graded(stored)
            while len(self._opened) > _SETS:
                self._opened.popitem(last=False)
            return self._opened[key]

    def _graded(self, stored: Stored) -> _Opened:
        value, folder = stored.value, stored.path.parent
        vqa = _part(self._set(stored), value["questions"])
        answers = {
            name: {answer.key: answer for answer in read_answers(folder / Path(row["run"]).name)}
            for name, row in value["scores"].items()
        }
        base = answers[value["base"]]
        return _Opened(
            vqa, {name: gallery(vqa, base, answers[name], circular=value["circular"]) for name in value["retention"]}
        )

    def _set(self, stored: Stored) -> VqaSet:
        problem = ""
        for where in (stored.value["source"], stored.value["set"]):
            try:
                vqa = load_set(where, places=(self._workspace.vqa_sets,))
            except (NotFoundError, EvaluationError) as error:
                problem = problem or str(error)
                continue
            if vqa.digest == stored.value["digest"]:
                return vqa
            problem = f"{where} has changed since it was asked"
        raise EvaluationError(problem)


def _harness_rows(value: Mapping[str, Any]) -> Iterator[JSON]:
    for task, models in value["tasks"].items():
        for model, metrics in models.items():
            for metric, score in metrics.items():
                yield {
                    "task": task,
                    "metric": metric,
                    "model": model,
                    "score": score,
                    "questions": score["questions"],
                    "failed": value["failed"].get(task, {}).get(model, 0),
                    "kept": value["retention"].get(task, {}).get(model, {}).get(metric),
                }


def _part(vqa: VqaSet, questions: int) -> VqaSet:
    """The questions that a comparison of so many was made of, see `--limit`."""
    part = vqa.first(questions)
    return part if len(part.items) == questions else vqa


def _id(stored: Stored) -> str:
    return stored.path.parent.name + stored.path.stem.removeprefix("report")


def _flip(flip: Flip) -> JSON:
    item = flip.base.item
    return {
        "item": item.id,
        "lost": flip.lost,
        "skill": item.skill,
        "language": item.language,
        "question": item.question,
        "options": list(item.options) if item.lettered else [],
        "right": item.answers[0],
        "base": _said(flip.base),
        "tuned": _said(flip.tuned),
        "images": len(item.pictures),
    }


def _said(grade: Grade) -> JSON:
    return {"answer": grade.answer.strip(), "value": round(grade.value, 3), "error_cm": grade.error_cm}

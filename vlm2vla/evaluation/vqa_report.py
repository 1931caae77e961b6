"""The outcome of VQA evaluation as values, and as the JSON that commands print. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from vlm2vla.evaluation.retention import Retention, Scored


@dataclass(frozen=True)
class ModelResult:
    """One model on the set.

    Attributes:
        name: Of the model.
        run: Folder of its stored answers.
        asked: Questions that were put to it in this call; 0 when all answers were there.
        errors: Questions without an answer; they are left out of every score.
        total: Score over all questions; None where nothing was answered.
        plain: In circular evaluation: the score without rotations.
        by_skill, by_language: The same in parts.
        blank: Score on grey pictures, where that was asked.
        points: MME's points, for sets with its categories.
        agreement: Repeat stability, where questions were repeated.
        seconds: Median time of an answer.
    """

    name: str
    run: str
    asked: int
    errors: int
    total: Scored | None
    plain: Scored | None
    by_skill: Mapping[str, Scored]
    by_language: Mapping[str, Scored]
    blank: Scored | None
    points: Mapping[str, float]
    agreement: float | None
    seconds: float | None


@dataclass(frozen=True)
class VqaReport:
    """Some models on one set.

    Attributes:
        set: Name; `source` is where it was read, `questions` how many it has.
        base: The model that the others are compared with.
        circular: Whether lettered questions count only when every rotation is right.
        models: Results, the base first.
        retention: By fine-tuned model: over everything, and by skill (p values corrected over the skills).
        pairs: (first fine-tuned model, another one, the first against the other) on the same questions.
        problems: Rows of the set that could not be asked.
    """

    set: str
    source: str
    digest: str
    questions: int
    base: str
    circular: bool
    models: tuple[ModelResult, ...]
    retention: Mapping[str, Retention]
    retention_by_skill: Mapping[str, Mapping[str, Retention]]
    pairs: tuple[tuple[str, str, Retention], ...]
    problems: tuple[tuple[str, str], ...]
    made_at: str
    folder: str

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, rounded; `scores` and `retention` by model are what most people want."""
        about = {key: value for key, value in asdict(self).items() if key != "models"}
        return _plain(about) | {
            "scores": {model.name: _score_row(model) for model in self.models},
            "retention": {name: _retention_row(kept) for name, kept in self.retention.items()},
            "retention_by_skill": {
                name: {skill: _retention_row(kept) for skill, kept in skills.items()}
                for name, skills in self.retention_by_skill.items()
            },
            "pairs": [{"first": first, "second": second} | _retention_row(each) for first, second, each in self.pairs],
        }


def _score_row(model: ModelResult) -> dict[str, Any]:
    row: dict[str, Any] = {"score": None, "low": None, "high": None, "questions": 0}
    if model.total:
        interval = model.total.score.to_json()
        row = {"score": interval.pop("value"), **interval, "questions": model.total.questions}
        row["chance"] = round(model.total.chance, 4)
    row |= {"errors": model.errors, "asked": model.asked, "run": model.run}
    if model.plain:
        row["plain"] = round(model.plain.score.value, 4)
    if model.blank:
        row["blank"] = round(model.blank.score.value, 4)
    if model.agreement is not None:
        row["agreement"] = round(model.agreement, 4)
    if model.points:
        row["points"] = {name: round(value, 1) for name, value in model.points.items()}
    for name, parts in (("by_skill", model.by_skill), ("by_language", model.by_language)):
        row[name] = {key: part.score.to_json() | {"questions": part.questions} for key, part in parts.items()}
    return row


def _retention_row(kept: Retention) -> dict[str, Any]:
    raw = kept.raw.to_json() if kept.raw else {"value": None, "low": None, "high": None}
    row = {"raw": raw.pop("value"), **raw}
    for name in ("centred", "above_floor", "difference"):
        interval = getattr(kept, name)
        row[name] = interval.to_json() if interval else None
    return row | {
        "base": round(kept.base, 4),
        "tuned": round(kept.tuned, 4),
        "questions": kept.questions,
        "kept_85": kept.kept,
        "base_right_tuned_wrong": kept.only_base,
        "base_wrong_tuned_right": kept.only_tuned,
        "test": kept.test,
        "p": round(kept.p, 6),
        "p_holm": None if kept.p_holm is None else round(kept.p_holm, 6),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value

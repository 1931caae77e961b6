"""What was measured of each model: a comparison graded again from its stored answers, success, open loop."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlm2vla.errors import EvaluationError, NotFoundError
from vlm2vla.evaluation import VqaSet, load_set
from vlm2vla.evaluation.answers import read_answers
from vlm2vla.evaluation.grading import Grade, grade
from vlm2vla.evaluation.lines import read_about
from vlm2vla.evaluation.report.evidence import Evidence, Stored
from vlm2vla.evaluation.report.weights import answers_of, newest_weights
from vlm2vla.evaluation.retention import compare, scored
from vlm2vla.evaluation.statistics import Interval
from vlm2vla.evaluation.suite import Cell, cell, families_of

_ANSWERS = "answers.jsonl"


@dataclass(frozen=True)
class Graded:
    """A comparison, graded again from its answers.

    Attributes:
        stored: The comparison.
        vqa: Its questions; None where the set is not here (then there are no grades).
        base: Grades of the base; `floor` those on grey pictures.
        tuned: Of every other model that was asked the same set in the same way, also in other comparisons.
        places: Where the answers of each model lie.
    """

    stored: Stored
    vqa: VqaSet | None = None
    base: Sequence[Grade] = ()
    floor: Sequence[Grade] = ()
    tuned: Mapping[str, Sequence[Grade]] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """What is known of one model.

    Attributes:
        name, weights: Name and fingerprint.
        score, kept, above_floor: VQA score and retention, raw and above the base on grey pictures.
        answers: Place of its answers, "" without.
        driven: The paper's suite in the usual way, all families; None where it did not drive.
        rollouts: Place of these trials, "" without.
        actions: Open loop.
    """

    name: str
    weights: str
    score: Interval | None = None
    kept: Interval | None = None
    above_floor: Interval | None = None
    answers: str = ""
    driven: Cell | None = None
    rollouts: str = ""
    actions: Stored | None = None

    @property
    def off_cm(self) -> Interval | None:
        """Open loop: how far the sum of a written chunk is from the recorded one."""
        return interval(self.actions.value["actions"]["total_cm"]) if self.actions else None


def measured(evidence: Evidence, graded: Graded | None) -> dict[str, Measured]:
    """Everybody that has weights, by name."""
    known = {name: weights for name, weights in newest_weights(evidence).items() if weights}
    return {name: _one(evidence, graded, name, weights) for name, weights in known.items()}


def _one(evidence: Evidence, graded: Graded | None, name: str, weights: str) -> Measured:
    found: dict[str, Any] = {"actions": evidence.actions_of(name)}
    suite = evidence.paper
    if suite and name in suite.models:
        driven = cell(suite.rows, name, families_of(suite.name), "all")
        if driven.success:
            found |= {"driven": driven, "rollouts": suite.run_of(name).place}
    return Measured(name, weights, **found, **(_retention(graded, name) if graded else {}))


def _retention(graded: Graded, name: str) -> dict[str, Any]:
    if name in graded.tuned:
        kept, score = compare(graded.base, graded.tuned[name], graded.floor), scored(graded.tuned[name])
        if kept and score:
            numbers = {"score": score.score, "kept": kept.raw, "above_floor": kept.above_floor}
            return numbers | {"answers": graded.places[name]}
    elif row := graded.stored.value["retention"].get(name):  # the set is not here: as it was told then
        score = graded.stored.value["scores"][name]
        return {
            "score": interval(score | {"value": score["score"]}),
            "kept": interval(row | {"value": row["raw"]}),
            "above_floor": interval(row["above_floor"]),
            "answers": f"{Path(graded.stored.place).parent}/{Path(score['run']).name}/{_ANSWERS}",
        }
    return {}


def interval(row: Mapping[str, Any] | None) -> Interval | None:
    """An interval from stored JSON."""
    return Interval(row["value"], row["low"], row["high"]) if row and row["value"] is not None else None


def regrade(stored: Stored, evidence: Evidence, places: tuple[Path, ...]) -> Graded:
    """Grade a comparison again; without its set there are no grades, and nothing else is lost.

    Args:
        stored: The comparison.
        evidence: Says which weights count.
        places: Where sets are looked for.
    """
    vqa = set_of(stored, places)
    if vqa is None:
        return Graded(stored)
    current, value = newest_weights(evidence), stored.value
    base = read_about(answers_of(stored, value["base"]))
    found: dict[tuple[str, bool], Sequence[Grade]] = {}
    answered: dict[str, str] = {}
    for run in sorted(stored.path.parent.glob("*/run.json")):
        about = read_about(run.parent)
        name, blank, weights = str(about.get("model")), bool(about.get("blank")), about.get("fingerprint")
        same = all(about.get(key) == base.get(key) for key in ("sampling", "wording"))
        if not same or current.get(name, weights) != weights:
            continue
        grades = grade(vqa, {answer.key: answer for answer in read_answers(run.parent)}, circular=value["circular"])
        if len(grades) < value["scores"][value["base"]]["questions"]:
            continue  # stopped, or asked a part: not comparable with those that answered all
        found[name, blank] = grades
        if not blank:
            answered[name] = (run.parent / _ANSWERS).relative_to(stored.root).as_posix()
    return Graded(
        stored,
        vqa,
        found.get((value["base"], False), ()),
        found.get((value["base"], True), ()),
        {name: grades for (name, blank), grades in found.items() if not blank and name != value["base"]},
        answered,
    )


def set_of(stored: Stored, places: tuple[Path, ...]) -> VqaSet | None:
    """The questions that were asked; None where their files are gone or have changed."""
    for name in (stored.value["source"], stored.value["set"]):
        try:
            vqa = load_set(name, places=places)
        except (NotFoundError, EvaluationError):
            continue
        if vqa.digest == stored.value["digest"]:
            part = vqa.first(stored.value["questions"])
            return part if len(part.items) == stored.value["questions"] else vqa
    return None

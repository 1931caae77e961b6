"""Stored answers -> graded ones. Pure: grading again costs nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations

from vlm2vla.evaluation.answers import Answer
from vlm2vla.evaluation.asking import Asked, questions
from vlm2vla.evaluation.items import Item, VqaSet
from vlm2vla.evaluation.scorers import score


@dataclass(frozen=True)
class Grade:
    """One question, graded. In circular evaluation all rotations of it together.

    Attributes:
        id: Of the question, circular copies of it count as one.
        item: The question in the set's own order.
        value: 0 to 1; in circular evaluation 1 only if every rotation is right.
        chance: Expected value of a guess.
        answer: What was said (to the first rotation).
        understood: What the scorer took it to be.
        error_cm: Distance to the right place, where the answer is one.
    """

    id: str
    item: Item
    value: float
    chance: float
    answer: str
    understood: str = ""
    error_cm: float | None = None

    @property
    def cluster(self) -> str:
        """What is resampled together."""
        return self.item.cluster


def grade(vqa: VqaSet, answers: Mapping[str, Answer], *, circular: bool = False) -> tuple[Grade, ...]:
    """Grade what was answered.

    A question that ended with an error, or was not asked yet, is left out; in circular evaluation already when that
    holds for one of its rotations.

    Args:
        vqa: The set.
        answers: Stored answers by key; only the first repetition is graded.
        circular: All rotations of lettered questions count as one, right if all are.
    """
    together: dict[str, list[Grade | None]] = {}
    for asked in questions(vqa, circular=circular):
        given = answers.get(asked.key)
        graded = None if given is None or given.error else _graded(asked, given.answer)
        unit = asked.item.unit if circular else asked.item.id
        together.setdefault(unit, []).append(graded)
    whole = {unit: grades for unit, grades in together.items() if None not in grades}
    return tuple(_joined(unit, grades) if circular else grades[0] for unit, grades in whole.items())


def _graded(asked: Asked, answer: str) -> Grade:
    item, result = asked.item, score(asked.item.scorer, answer, asked.truth)
    return Grade(item.id, item, result.value, item.chance, answer, result.understood, result.error_cm)


def _joined(unit: str, grades: list[Grade]) -> Grade:
    if len(grades) == 1:
        return replace(grades[0], id=unit)
    chance = 1.0
    for each in grades:
        chance *= each.chance
    said = "/".join(each.understood or "?" for each in grades)
    return replace(grades[0], id=unit, value=min(each.value for each in grades), chance=chance, understood=said)


def agreement(vqa: VqaSet, answers: Iterable[Answer]) -> float | None:
    """Repeat stability: share of pairs of answers to one question that are understood alike; None without repeats."""
    items = {item.id: item for item in vqa.items}
    by_question: dict[tuple[str, int], list[str]] = {}
    for given in answers:
        item = items.get(given.item)
        if item is not None and not given.error:
            graded = _graded(Asked(item, given.rotation), given.answer)
            understood = graded.understood or given.answer.strip().lower()
            by_question.setdefault((given.item, given.rotation), []).append(understood)
    pairs = [first == second for said in by_question.values() for first, second in combinations(said, 2)]
    return sum(pairs) / len(pairs) if pairs else None

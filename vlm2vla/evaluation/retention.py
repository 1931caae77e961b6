"""What a fine-tuned model kept of its base: scores, retention raw and chance-centred, paired tests, what flipped. Pure.

Retention = fine-tuned score / base score. Chance-centred: (s - chance) / (base - chance), over the same questions.
Above the floor: the same with the base's score on grey pictures in place of chance, so that what can be guessed
without looking does not count as kept.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vlm2vla.evaluation.grading import Grade
from vlm2vla.evaluation.statistics import (
    Interval,
    bootstrap,
    bootstrap_crossed,
    holm,
    mcnemar,
    mean_of_groups,
    newcombe_paired,
    permutation,
)

LINE = 0.85
"""The paper's headline: more than 85 % of the base's score is kept."""
_SMALLEST_BASE = 0.02
"""A base score less than this above its floor, or not surely above it, divides by noise: no ratio is given."""


@dataclass(frozen=True)
class Scored:
    """How one model did on some questions.

    Attributes:
        score: Mean with its interval, images (or questions) resampled.
        questions: How many.
        chance: Expected score of guessing.
        median_error_cm: Over answers that are places; None without any.
    """

    score: Interval
    questions: int
    chance: float
    median_error_cm: float | None = None


@dataclass(frozen=True)
class Retention:
    """One fine-tuned model against its base on the questions that both answered.

    Attributes:
        base, tuned: Their scores on these questions.
        questions: How many.
        raw: tuned / base.
        centred: (tuned - chance) / (base - chance).
        above_floor: The same with the base's score on grey pictures; None when that was not asked.
        difference: tuned - base.
        only_base, only_tuned: Questions that only one of them got (half or more) right.
        test: Which test `p` is of: "mcnemar" where questions are independent, else "permutation" by image.
        p: Its p value; `p_holm` is adjusted for all skills or sets of one comparison.
    """

    base: float
    tuned: float
    questions: int
    raw: Interval | None
    centred: Interval | None
    above_floor: Interval | None
    difference: Interval
    only_base: int
    only_tuned: int
    test: str
    p: float
    p_holm: float | None = None

    @property
    def kept(self) -> str:
        """Against the 85 % line: "yes" and "no" only when the whole interval lies on one side."""
        if self.raw is None or self.raw.low is None or self.raw.high is None:
            return "not shown"
        if self.raw.low >= LINE:
            return "yes"
        return "no" if self.raw.high < LINE else "not shown"


def scored(grades: Sequence[Grade]) -> Scored | None:
    """Mean score and its interval; None without grades."""
    if not grades:
        return None
    errors = [grade.error_cm for grade in grades if grade.error_cm is not None]
    return Scored(
        mean_of_groups((grade.cluster, grade.value) for grade in grades),
        len(grades),
        sum(grade.chance for grade in grades) / len(grades),
        round(float(np.median(errors)), 2) if errors else None,
    )


def by(grades: Iterable[Grade], key: Callable[[Grade], str]) -> dict[str, list[Grade]]:
    """Grades by skill, language or anything else; those without one are left out."""
    found: dict[str, list[Grade]] = {}
    for grade in grades:
        if name := key(grade):
            found.setdefault(name, []).append(grade)
    return dict(sorted(found.items()))


def compare(base: Sequence[Grade], tuned: Sequence[Grade], floor: Sequence[Grade] = ()) -> Retention | None:
    """Retention of `tuned` against `base` on the questions that both answered; None when there are none.

    Args:
        base: Grades of the base model.
        tuned: Of the fine-tuned one.
        floor: Of the base model on grey pictures.
    """
    first, blank = {grade.id: grade for grade in base}, {grade.id: grade for grade in floor}
    pairs = [(first[grade.id], grade) for grade in tuned if grade.id in first]
    if not pairs:
        return None
    groups: dict[str, np.ndarray] = {}
    for old, new in pairs:
        seen = blank.get(new.id)
        row = np.array([new.value, old.value, old.chance, seen.value if seen else np.nan, 1.0])
        groups[old.cluster] = groups.get(old.cluster, 0) + row
    table = np.array(list(groups.values()))
    binary = all(grade.value in (0.0, 1.0) for pair in pairs for grade in pair)
    only_base = sum(old.value >= 0.5 > new.value for old, new in pairs)
    only_tuned = sum(new.value >= 0.5 > old.value for old, new in pairs)
    independent = binary and len(groups) == len(pairs)
    p = mcnemar(only_base, only_tuned) if independent else permutation(table[:, 0] - table[:, 1])
    sums = table.sum(axis=0)
    return Retention(
        base=sums[1] / sums[4],
        tuned=sums[0] / sums[4],
        questions=len(pairs),
        raw=_ratio(table, lambda new, old, chance, seen: (new, old)),
        centred=_ratio(table, lambda new, old, chance, seen: (new - chance, old - chance)),
        above_floor=_ratio(table, lambda new, old, chance, seen: (new - seen, old - seen)),
        difference=_difference(pairs, table, independent),
        only_base=only_base,
        only_tuned=only_tuned,
        test="mcnemar" if independent else "permutation",
        p=p,
    )


def _ratio(table: np.ndarray, parts: Callable[..., tuple]) -> Interval | None:
    sums = table.sum(axis=0)
    bottom = parts(*sums[:4])[1]
    # A floor that was not measured is nan, and compares as False.
    if not bottom / sums[4] >= _SMALLEST_BASE:
        return None
    surely = bootstrap(table, lambda new, old, chance, seen, count: parts(new, old, chance, seen)[1] / count)
    if surely.low is not None and surely.low <= 0:
        return None

    def ratio(new: float, old: float, chance: float, seen: float, count: float) -> np.ndarray:
        above, below = parts(new, old, chance, seen)
        return above / below

    return bootstrap(np.nan_to_num(table), ratio)


def _difference(pairs: Sequence[tuple[Grade, Grade]], table: np.ndarray, independent: bool) -> Interval:
    if not independent:
        return bootstrap(table[:, [0, 1, 4]], lambda new, old, count: (new - old) / count)
    counts = {(old, new): 0 for old in (0, 1) for new in (0, 1)}
    for old, new in pairs:
        counts[int(old.value), int(new.value)] += 1
    return newcombe_paired(counts[1, 1], counts[0, 1], counts[1, 0], counts[0, 0])


@dataclass(frozen=True)
class OverSeeds:
    """One way of fine-tuning, trained once or several times, on the questions that the base and all of them answered.

    Attributes:
        seeds: How many trainings.
        questions: How many.
        score: Mean over the trainings.
        raw, above_floor: As in `Retention`, of the mean over the trainings.
    """

    seeds: int
    questions: int
    score: Interval
    raw: Interval | None
    above_floor: Interval | None


def over_seeds(
    base: Sequence[Grade], tuned: Sequence[Sequence[Grade]], floor: Sequence[Grade] = ()
) -> OverSeeds | None:
    """Retention of several trainings together, trainings and images both resampled; None without common questions.

    Args:
        base: Grades of the base model.
        tuned: Of each training.
        floor: Of the base model on grey pictures.
    """
    old, *new = _aligned([base, *tuned])
    seen = {grade.id: grade.value for grade in floor}
    if not old:
        return None
    asked = [(each.cluster, each.value, seen.get(each.id, np.nan), 1.0) for each in old]
    tables = [np.stack([_sums((each.cluster, each.value) for each in grades) for grades in new]), _sums(asked)[None]]
    _, below, blank, count = (column for table in tables for column in table.mean(axis=0).sum(axis=0))
    known = below / count >= _SMALLEST_BASE
    above = (below - blank) / count >= _SMALLEST_BASE  # False for a floor that was not measured
    return OverSeeds(
        len(new),
        len(old),
        bootstrap_crossed(tables, lambda new, old, seen, count: new / count),
        bootstrap_crossed(tables, lambda new, old, seen, count: new / old) if known else None,
        bootstrap_crossed(tables, lambda new, old, seen, count: (new - seen) / (old - seen)) if above else None,
    )


def kept_more(
    base: Sequence[Grade], first: Sequence[Sequence[Grade]], second: Sequence[Sequence[Grade]]
) -> Interval | None:
    """How much more of the base's score the trainings of one variant keep than those of another, on average.

    Trainings of both and images are resampled; None without common questions, or where the base knows nothing.
    """
    old, *new = _aligned([base, *first, *second])
    if not old or sum(grade.value for grade in old) / len(old) < _SMALLEST_BASE:
        return None
    sums = [_sums((each.cluster, each.value) for each in grades) for grades in (*new, old)]
    tables = [np.stack(sums[: len(first)]), np.stack(sums[len(first) : -1]), sums[-1][None]]
    return bootstrap_crossed(tables, lambda one, other, old: (one - other) / old)


def _aligned(lists: Sequence[Sequence[Grade]]) -> list[list[Grade]]:
    """The grades of questions that are in all lists, in one order."""
    by_id = [{grade.id: grade for grade in grades} for grades in lists]
    common = [grade.id for grade in lists[0] if all(grade.id in known for known in by_id)]
    return [[known[each] for each in common] for known in by_id]


def _sums(rows: Iterable[tuple]) -> np.ndarray:
    """(group, *values) -> [G, K] sums by group, groups in the order in which they come."""
    groups: dict[str, np.ndarray] = {}
    for group, *values in rows:
        groups[group] = groups.get(group, 0) + np.array(values)
    return np.array(list(groups.values()))


def corrected(comparisons: Mapping[str, Retention]) -> dict[str, Retention]:
    """The same comparisons with Holm's p over all of them."""
    adjusted = holm({name: each.p for name, each in comparisons.items()})
    return {name: replace(each, p_holm=adjusted[name]) for name, each in comparisons.items()}


@dataclass(frozen=True)
class Flip:
    """A question on which base and fine-tuned model differ.

    Attributes:
        lost: True: the base was right and the fine-tuned model is not; False: the other way round.
        base, tuned: Their grades, with answers and question.
    """

    lost: bool
    base: Grade
    tuned: Grade


def flips(base: Sequence[Grade], tuned: Sequence[Grade]) -> tuple[Flip, ...]:
    """The gallery: "base right -> tuned wrong" first, then the reverse; the largest changes first."""
    first = {grade.id: grade for grade in base}
    found = [
        Flip(first[grade.id].value > grade.value, first[grade.id], grade)
        for grade in tuned
        if grade.id in first and (first[grade.id].value >= 0.5) != (grade.value >= 0.5)
    ]
    return tuple(sorted(found, key=lambda flip: (not flip.lost, -abs(flip.base.value - flip.tuned.value))))

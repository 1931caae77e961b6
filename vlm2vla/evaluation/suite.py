"""Suites of closed-loop trials: which task families, who drives which seeds, and what came out. Pure.

SUITE/run.json     settings that all trials share
SUITE/rows.jsonl   one trial a line: {"model", "fingerprint", "family", "seed", "result", "partial", ...}

Every model drives the same seeds, so differences are paired. A trial that ended with an error says something about the
machinery and nothing about a model: it is counted apart and left out of every rate, for pairs on both sides.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vlm2vla.config import did_you_mean
from vlm2vla.errors import ConfigError
from vlm2vla.evaluation.statistics import (
    Interval,
    bootstrap,
    bootstrap_crossed,
    holm,
    mcnemar,
    mean_of_groups,
    newcombe_paired,
    wilson,
)

EXPERT = "expert"
IN_DISTRIBUTION = ("pick-up", "pick-and-place", "pick-place-lift")
OUT_OF_DISTRIBUTION = ("pick-up-translated", "pick-up-reference")
SUITES: Mapping[str, tuple[str, ...]] = {
    "paper": (*IN_DISTRIBUTION, *OUT_OF_DISTRIBUTION),
    "turned": ("pick-up-turned",),
}
"""Task families of each suite; turned needs rotation and is none of the paper's."""


@dataclass(frozen=True)
class Job:
    """One trial that is to be driven."""

    model: str
    fingerprint: str
    family: str
    seed: int

    @property
    def key(self) -> tuple[str, str, str, int]:
        """Unique in a suite."""
        return self.model, self.fingerprint, self.family, self.seed


def families_of(suite: str) -> tuple[str, ...]:
    """The task families of a suite.

    Raises:
        ConfigError: No such suite.
    """
    if suite not in SUITES:
        raise ConfigError(f"no suite {suite!r}; {did_you_mean(suite, SUITES)}")
    return SUITES[suite]


def jobs_of(suite: str, models: Mapping[str, str], seeds: Sequence[int], *, block: int = 4) -> tuple[Job, ...]:
    """Every trial of a suite, all models and families through some seeds before the next ones.

    So a suite that is stopped early has tried everybody about equally often.

    Args:
        suite: Name.
        models: Names with their fingerprints.
        seeds: The same for all.
        block: Seeds of one model and family in a row.

    Raises:
        ConfigError: No such suite.
    """
    families = families_of(suite)
    return tuple(
        Job(model, fingerprint, family, seed)
        for start in range(0, len(seeds), block)
        for model, fingerprint in models.items()
        for family in families
        for seed in seeds[start : start + block]
    )


def waiting(jobs: Iterable[Job], rows: Iterable[Mapping[str, Any]], *, retry_errors: bool = False) -> list[Job]:
    """Jobs that have no result yet."""
    done = {
        (row["model"], row["fingerprint"], row["family"], row["seed"])
        for row in newest(rows)
        if not (retry_errors and row["result"] == "error")
    }
    return [job for job in jobs if job.key not in done]


def newest(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The last row of each trial."""
    found = {(row["model"], row["fingerprint"], row["family"], row["seed"]): row for row in rows}
    return list(found.values())


@dataclass(frozen=True)
class Cell:
    """One model in one task family (or in several together, `family` is then a name for them).

    Attributes:
        trials: Without errors.
        errors: Trials that broke.
        success: Share that succeeded; None without trials.
        partial: Mean share of milestones.
        of_expert: Success as a share of the expert's on the same seeds; None where the expert never succeeded.
        parse_rate: Share of chunks whose first try parses without help; None where no model wrote any.
        cycle_s: Median seconds that a cycle of writing takes.
        ends: How often each way of ending came, most frequent first.
    """

    model: str
    family: str
    trials: int
    errors: int
    success: Interval | None
    partial: Interval | None
    of_expert: Interval | None
    parse_rate: float | None
    cycle_s: float | None
    ends: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Pair:
    """Two models on the same seeds of one task family.

    Attributes:
        pairs: Seeds that both drove without an error.
        difference: Success of the first minus that of the second.
        only_first, only_second: Seeds at which only one of them succeeded.
        p: Exact McNemar; `p_holm` is adjusted over the families of one comparison.
    """

    first: str
    second: str
    family: str
    pairs: int
    difference: Interval
    only_first: int
    only_second: int
    p: float
    p_holm: float | None = None


def cell(rows: Sequence[Mapping[str, Any]], model: str, families: Sequence[str], name: str = "") -> Cell:
    """One model in some task families."""
    mine = [row for row in rows if row["model"] == model and row["family"] in families]
    good = [row for row in mine if row["result"] != "error"]
    expert = {
        (row["family"], row["seed"]): row["result"] == "success"
        for row in rows
        if row["model"] == EXPERT and row["result"] != "error"
    }
    both = [
        (float(row["result"] == "success"), float(expert[row["family"], row["seed"]]))
        for row in good
        if (row["family"], row["seed"]) in expert
    ]
    won = sum(row["result"] == "success" for row in good)
    chunks, unparsable = (
        sum(row.get("words", {}).get(f"first_tries_{kind}", 0) for row in good) for kind in ("chunks", "unparsable")
    )
    cycles = sorted(seconds for row in good for seconds in row.get("cycle_s", ()))
    ends: dict[str, int] = {}
    for row in good:
        ends[row["end"].split(":")[0]] = ends.get(row["end"].split(":")[0], 0) + 1
    return Cell(
        model=model,
        family=name or ", ".join(families),
        trials=len(good),
        errors=len(mine) - len(good),
        success=wilson(won, len(good)) if good else None,
        partial=mean_of_groups((f"{row['family']}/{row['seed']}", row["partial"]) for row in good) if good else None,
        of_expert=bootstrap(both, lambda new, old: new / old) if any(old for _, old in both) else None,
        parse_rate=1 - unparsable / chunks if chunks else None,
        cycle_s=cycles[len(cycles) // 2] if cycles else None,
        ends=tuple(sorted(ends.items(), key=lambda pair: -pair[1])),
    )


def pair(
    rows: Sequence[Mapping[str, Any]], first: str, second: str, families: Sequence[str], name: str = ""
) -> Pair | None:
    """Two models on the seeds that both drove; None when there are none."""
    results: dict[str, dict[tuple[str, int], bool]] = {first: {}, second: {}}
    for row in rows:
        if row["model"] in results and row["family"] in families and row["result"] != "error":
            results[row["model"]][row["family"], row["seed"]] = row["result"] == "success"
    shared = results[first].keys() & results[second].keys()
    if not shared:
        return None
    outcomes = [(results[first][key], results[second][key]) for key in shared]
    counts = {each: outcomes.count(each) for each in ((True, True), (True, False), (False, True), (False, False))}
    only_first, only_second = counts[True, False], counts[False, True]
    return Pair(
        first=first,
        second=second,
        family=name or ", ".join(families),
        pairs=len(shared),
        difference=newcombe_paired(counts[True, True], only_first, only_second, counts[False, False]),
        only_first=only_first,
        only_second=only_second,
        p=mcnemar(only_first, only_second),
    )


def compared(rows: Sequence[Mapping[str, Any]], first: str, second: str, families: Sequence[str]) -> tuple[Pair, ...]:
    """Two models in each family, p values corrected over the families; families without common seeds are left out."""
    found = {family: each for family in families if (each := pair(rows, first, second, (family,)))}
    adjusted = holm({family: each.p for family, each in found.items()})
    return tuple(replace(each, p_holm=adjusted[family]) for family, each in found.items())


def success_of(
    rows: Sequence[Mapping[str, Any]], models: Sequence[str], families: Sequence[str]
) -> tuple[Interval, int] | None:
    """Mean success of several models, such as one variant trained several times, and over how many trials each.

    Of one model Wilson's interval; of several, over the trials that all of them drove, models and trials resampled.
    """
    if len(models) == 1:
        found = cell(rows, models[0], families)
        return (found.success, found.trials) if found.success else None
    won = _won(rows, models, families)
    if not won.shape[1]:
        return None
    tables = [won[:, :, None], np.ones((1, won.shape[1], 1))]
    found = bootstrap_crossed(tables, lambda hits, count: hits / count)
    if found.low is not None and found.high is not None:  # few seeds say little, but a share is none below 0
        found = Interval(found.value, max(0.0, found.low), min(1.0, found.high))
    return found, won.shape[1]


def success_between(
    rows: Sequence[Mapping[str, Any]], first: Sequence[str], second: Sequence[str], families: Sequence[str]
) -> Interval | None:
    """Mean success of some models minus that of others, over the trials that all of them drove; None without any."""
    if len(first) == len(second) == 1:
        found = pair(rows, first[0], second[0], families)
        return found.difference if found else None
    won = _won(rows, [*first, *second], families)
    if not won.shape[1]:
        return None
    tables = [won[: len(first), :, None], won[len(first) :, :, None], np.ones((1, won.shape[1], 1))]
    return bootstrap_crossed(tables, lambda one, other, count: (one - other) / count)


def _won(rows: Sequence[Mapping[str, Any]], models: Sequence[str], families: Sequence[str]) -> np.ndarray:
    """[model, trial] 1.0 where it succeeded, over the trials that all of them drove without an error."""
    results: dict[str, dict[tuple[str, int], float]] = {model: {} for model in models}
    for row in rows:
        if row["model"] in results and row["family"] in families and row["result"] != "error":
            results[row["model"]][row["family"], row["seed"]] = float(row["result"] == "success")
    shared = sorted(set.intersection(*(set(each) for each in results.values())))
    return np.array([[results[model][key] for key in shared] for model in models])


VERDICTS = ("true_done", "false_done", "true_not_done", "false_not_done", "unknown")
"""What a run-time verifier said, and whether the simulator agrees; unknown: nobody can tell (see rollout/truth.py)."""


@dataclass(frozen=True)
class Verdicts:
    """A run-time verifier against the simulator's truth, while one model drove.

    Attributes:
        judged, unknown: Verdicts that can be held against the truth, and those that cannot.
        right: Share of right ones, with an interval over trials.
        done, not_done: The same where the subtask is done, and where it is not.
    """

    judged: int
    unknown: int
    right: Interval | None
    done: Interval | None
    not_done: Interval | None


def verdicts_of(rows: Sequence[Mapping[str, Any]], model: str) -> Verdicts | None:
    """The verdicts of one model's trials; None where none were kept."""
    counted = [(row, row["verdicts"]) for row in rows if row["model"] == model and row.get("verdicts")]
    if not counted:
        return None

    def share(*kinds: str) -> Interval | None:
        hits = [
            (f"{row['family']}/{row['seed']}", float(kind.startswith("true")))
            for row, counts in counted
            for kind in kinds
            for _ in range(counts[kind])
        ]
        return mean_of_groups(hits) if hits else None

    totals = {kind: sum(counts[kind] for _, counts in counted) for kind in VERDICTS}
    return Verdicts(
        judged=sum(totals.values()) - totals["unknown"],
        unknown=totals["unknown"],
        right=share(*VERDICTS[:4]),
        done=share("true_done", "false_not_done"),
        not_done=share("true_not_done", "false_done"),
    )


@dataclass(frozen=True)
class SuiteReport:
    """What a suite showed so far.

    Attributes:
        suite: Name.
        folder: Where its rows are.
        rollouts: Trials that are there, errors included.
        missing: Trials that were asked for and are not there yet.
        cells: Every model in every family.
        pairs: Models compared on the same seeds.
    """

    suite: str
    folder: str
    rollouts: int
    missing: int
    cells: tuple[Cell, ...]
    pairs: tuple[Pair, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, rounded."""
        return {
            "suite": self.suite,
            "run": self.folder,
            "rollouts": self.rollouts,
            "missing": self.missing,
            "errors": sum(each.errors for each in self.cells),
            "success": {
                model: {each.family: _cell_row(each) for each in self.cells if each.model == model}
                for model in dict.fromkeys(each.model for each in self.cells)
            },
            "pairs": [_pair_row(each) for each in self.pairs],
        }


def report_of(
    suite: str, folder: str, rows: Iterable[Mapping[str, Any]], models: Sequence[str], missing: int = 0
) -> SuiteReport:
    """Sum up the newest row of every trial.

    Args:
        suite: Name.
        folder: Where the rows are.
        rows: All of them.
        models: Whose cells are wanted; each is compared with the first one.
        missing: See `SuiteReport`.
    """
    latest, families = newest(rows), families_of(suite)
    first, *others = [model for model in models if model != EXPERT] or [EXPERT]
    return SuiteReport(
        suite,
        folder,
        sum(row["model"] in models and row["family"] in families for row in latest),
        missing,
        tuple(cell(latest, model, (family,)) for model in models for family in families),
        tuple(each for other in others for each in compared(latest, first, other, families)),
    )


def _cell_row(each: Cell) -> dict[str, Any]:
    return {
        "trials": each.trials,
        "errors": each.errors,
        "success": each.success.to_json() if each.success else None,
        "partial": each.partial.to_json() if each.partial else None,
        "of_expert": each.of_expert.to_json() if each.of_expert else None,
        "parse_rate": None if each.parse_rate is None else round(each.parse_rate, 4),
        "cycle_s": each.cycle_s,
        "ends": dict(each.ends),
    }


def _pair_row(each: Pair) -> dict[str, Any]:
    return {
        "first": each.first,
        "second": each.second,
        "family": each.family,
        "pairs": each.pairs,
        "difference": each.difference.to_json(),
        "only_first": each.only_first,
        "only_second": each.only_second,
        "p": round(each.p, 6),
        "p_holm": None if each.p_holm is None else round(each.p_holm, 6),
    }

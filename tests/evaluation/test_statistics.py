"""Intervals and tests against textbook numbers, other implementations, and their own promise of coverage."""

from math import comb

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep

from vlm2vla.evaluation import statistics
from vlm2vla.evaluation.statistics import Interval


def close(interval: Interval, low: float, high: float, tolerance: float = 5e-4):
    assert interval.low == pytest.approx(low, abs=tolerance)
    assert interval.high == pytest.approx(high, abs=tolerance)


def test_wilson():
    close(statistics.wilson(7, 10), 0.3968, 0.8922)
    assert statistics.wilson(0, 20).low == 0
    assert statistics.wilson(20, 20).high == 1
    with pytest.raises(ValueError, match="0 trials"):
        statistics.wilson(0, 0)


def test_newcombe_paired_holds_its_promise():
    """Exact coverage of the interval by enumerating all outcomes of 20 pairs."""
    trials = 20
    cells = [(0.5, 0.2, 0.1, 0.2), (0.2, 0.05, 0.35, 0.4), (0.7, 0.1, 0.1, 0.1)]
    outcomes = [
        (both, first, second, trials - both - first - second)
        for both in range(trials + 1)
        for first in range(trials + 1 - both)
        for second in range(trials + 1 - both - first)
    ]
    intervals = [statistics.newcombe_paired(*outcome) for outcome in outcomes]
    for cell in cells:
        truth = cell[1] - cell[2]
        covered = 0.0
        for outcome, interval in zip(outcomes, intervals, strict=True):
            ways, left = 1, trials
            for count in outcome:
                ways *= comb(left, count)
                left -= count
            if interval.low - 1e-12 <= truth <= interval.high + 1e-12:
                covered += ways * float(np.prod(np.power(cell, outcome)))
        assert 0.93 < covered < 0.995


def test_newcombe_paired_knows_that_pairs_help():
    paired = statistics.newcombe_paired(40, 10, 0, 10)
    low, high = confint_proportions_2indep(50, 60, 40, 60, method="newcomb")
    assert paired.value == pytest.approx(10 / 60)
    assert paired.high - paired.low < high - low
    assert paired.low > 0
    mirrored = statistics.newcombe_paired(40, 0, 10, 10)
    assert (mirrored.low, mirrored.high) == (pytest.approx(-paired.high), pytest.approx(-paired.low))


def test_mcnemar_is_exact():
    assert statistics.mcnemar(0, 0) == 1
    assert statistics.mcnemar(8, 0) == pytest.approx(2 * 0.5**8)
    assert statistics.mcnemar(5, 5) == 1


def test_permutation_of_signs():
    assert statistics.permutation([1.0] * 8) == pytest.approx(2 * 0.5**8)
    assert statistics.permutation([1, -1, 1, -1]) == 1
    assert statistics.permutation([0, 0]) == 1
    assert statistics.permutation([]) == 1
    assert statistics.permutation(np.random.default_rng(0).normal(0.6, 1, 60)) < 0.01


def test_holm():
    adjusted = statistics.holm({"a": 0.01, "b": 0.04, "c": 0.03})
    assert adjusted == {"a": pytest.approx(0.03), "b": pytest.approx(0.06), "c": pytest.approx(0.06)}
    assert statistics.holm({}) == {}


def test_the_bootstrap_is_scipys():
    rng = np.random.default_rng(3)
    base = rng.random(150) < 0.8
    tuned = base & (rng.random(150) < 0.85)
    rows = np.column_stack([tuned, base]).astype(float)
    ours = statistics.bootstrap(rows, lambda new, old: new / old, seed=1, resamples=20_000)
    theirs = stats.bootstrap(
        (rows[:, 0], rows[:, 1]),
        lambda new, old, axis: new.sum(axis=axis) / old.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=20_000,
        batch=2000,
        rng=np.random.default_rng(2),
    ).confidence_interval
    close(ours, theirs.low, theirs.high, 0.006)


def test_groups_widen_the_interval():
    rng = np.random.default_rng(0)
    rows = [(f"image {number}", float(value)) for number in range(40) for value in [rng.random() < 0.6] * 5]
    together = statistics.mean_of_groups(rows)
    alone = statistics.mean_of_groups((f"{number}", value) for number, (_, value) in enumerate(rows))
    assert together.value == alone.value
    assert together.high - together.low > 1.8 * (alone.high - alone.low)


def test_a_perfect_score_is_still_uncertain():
    interval = statistics.mean_of_groups([("a", 1.0), ("a", 1.0), ("b", 1.0)])
    assert interval.high == 1
    assert interval.low < 0.5


def test_what_cannot_be_told_is_none():
    assert statistics.bootstrap([(1.0, 2.0)], lambda top, bottom: top / bottom).low is None
    never = statistics.bootstrap([(1.0, 1.0), (0.0, 0.0)], lambda top, bottom: top / bottom)
    assert (never.low, never.high) == (None, None)  # some resamples divide by zero


def crossed(table: np.ndarray) -> Interval:
    """Mean of a [repetitions, groups] table."""
    shared = np.ones((1, table.shape[1], 1))
    return statistics.bootstrap_crossed([table[:, :, None], shared], lambda total, count: total / count)


def test_repetitions_and_groups_both_widen_the_interval():
    groups = np.random.default_rng(0).normal(0.7, 0.2, 80)
    alone = crossed(groups[None])
    assert alone.value == pytest.approx(groups.mean())
    close(alone, *stats.norm.interval(0.95, groups.mean(), groups.std() / 80**0.5), 0.01)
    same = crossed(np.stack([groups] * 3))
    close(same, alone.low, alone.high, 0.005)  # three times the same says no more than once
    apart = crossed(np.stack([groups - 0.1, groups, groups + 0.1]))
    assert apart.value == pytest.approx(alone.value)
    assert apart.high - apart.low > 1.5 * (alone.high - alone.low)


def test_the_spread_of_three_repetitions_is_not_taken_for_less_than_it_is():
    mean = crossed(np.array([[-0.1], [0.0], [0.1]]) + np.zeros((3, 10)))
    assert (mean.high - mean.low) / 2 >= 1.96 * 0.1 / 3**0.5
    assert crossed(np.array([[0.5]])).low is None


@pytest.mark.parametrize(("of_seeds", "of_groups"), [(0.1, 0.0), (0.1, 0.6), (0.0, 0.6)])
def test_the_interval_of_three_repetitions_holds_its_promise(of_seeds, of_groups):
    rng, held, tries = np.random.default_rng(1), 0, 300
    for _ in range(tries):
        table = rng.normal(0, of_seeds, (3, 1)) + rng.normal(0, of_groups, (1, 40)) + rng.normal(0, 1e-6, (3, 40))
        found = crossed(table)
        held += found.low <= 0 <= found.high
    assert held / tries > 0.9

"""How sure a number is: intervals of shares, paired tests, bootstrap over groups, corrections for many tests. Pure.

Every interval is two-sided, 95 % unless said otherwise. scipy and statsmodels do the work and are loaded when they are
needed; what they lack is the interval of a paired difference.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, sqrt

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 4000
_PERMUTATIONS = 9999


@dataclass(frozen=True)
class Interval:
    """A number with its interval; `low` and `high` are None where the data cannot tell."""

    value: float
    low: float | None
    high: float | None

    def to_json(self) -> dict[str, float | None]:
        """Rounded to 4 decimals."""
        return {
            "value": round(self.value, 4),
            "low": None if self.low is None else round(self.low, 4),
            "high": None if self.high is None else round(self.high, 4),
        }


def wilson(successes: int, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """Wilson interval of a share; never outside 0 to 1.

    Raises:
        ValueError: No trials, or more successes than trials.
    """
    from statsmodels.stats.proportion import proportion_confint

    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"{successes} successes in {trials} trials")
    low, high = proportion_confint(successes, trials, alpha=1 - confidence, method="wilson")
    return Interval(successes / trials, max(0.0, float(low)), min(1.0, float(high)))


def newcombe_paired(both: int, only_first: int, only_second: int, neither: int) -> Interval:
    """Difference of two shares over the same trials, first minus second (Newcombe 1998, method 10).

    Args:
        both: Trials in which both succeeded; the others likewise.
        only_first: Only the first one.
        only_second: Only the second one.
        neither: None of them.

    Raises:
        ValueError: No trials.
    """
    trials = both + only_first + only_second + neither
    if trials == 0:
        raise ValueError("a paired difference needs trials")
    first, second = wilson(both + only_first, trials), wilson(both + only_second, trials)
    margins = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    product = both * neither - only_first * only_second
    if margins == 0:
        correlation = 0.0
    else:
        # The correction for continuity of method 10 applies to positive association only.
        product = max(product - trials / 2, 0.0) if product > 0 else product
        correlation = product / sqrt(margins)
    down, up = first.value - first.low, second.high - second.value
    low = (only_first - only_second) / trials - sqrt(max(0.0, down**2 - 2 * correlation * down * up + up**2))
    up, down = first.high - first.value, second.value - second.low
    high = (only_first - only_second) / trials + sqrt(max(0.0, up**2 - 2 * correlation * up * down + down**2))
    return Interval((only_first - only_second) / trials, low, high)


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact p of McNemar's test: are the two kinds of disagreement equally frequent?"""
    from scipy.stats import binomtest

    if only_first + only_second == 0:
        return 1.0
    return float(binomtest(only_first, only_first + only_second, 0.5).pvalue)


def permutation(differences: Sequence[float], seed: int = 0) -> float:
    """The p of a paired permutation test: signs of the differences (one per group) flipped; all ways if few."""
    from scipy.stats import permutation_test

    values = np.asarray([value for value in differences if value != 0], dtype=float)
    if len(values) < 2:
        return 1.0
    result = permutation_test(
        (values, np.zeros_like(values)),
        lambda first, second, axis: (first - second).sum(axis=axis),
        permutation_type="samples",
        n_resamples=_PERMUTATIONS,
        vectorized=True,
        rng=np.random.default_rng(seed),
    )
    return float(min(1.0, result.pvalue))


def holm(p_values: Mapping[Hashable, float]) -> dict[Hashable, float]:
    """The p values adjusted for being several (Holm): below 0.05 still holds after looking at all of them."""
    from statsmodels.stats.multitest import multipletests

    if not p_values:
        return {}
    adjusted = multipletests(list(p_values.values()), method="holm")[1]
    return dict(zip(p_values, (float(value) for value in adjusted), strict=True))


def bootstrap(
    groups: Sequence[Sequence[float]],
    statistic: Callable[..., np.ndarray],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """Interval of a statistic of sums, groups resampled (BCa; percentile where BCa has no answer).

    Args:
        groups: One row per group, such as (sum of scores, number of questions).
        statistic: Takes one array per column, summed over groups, and gives the number; it must work elementwise.
        seed: Of the resampling.
        resamples: How many.
    """
    table = np.asarray(groups, dtype=float)
    value = float(statistic(*table.sum(axis=0)))
    if len(table) < 2 or not isfinite(value):
        return Interval(value, None, None)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(table), np.full(len(table), 1 / len(table)), size=resamples)
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = np.asarray(statistic(*(weights @ table).T), dtype=float)
        left_out = np.asarray(statistic(*(table.sum(axis=0) - table).T), dtype=float)
    # Where all resamples agree the groups tell nothing of the doubt: that is no proof that there is none.
    if not np.isfinite(drawn).all() or np.ptp(drawn) == 0:
        return Interval(value, None, None)
    low, high = _bca(value, drawn, left_out)
    return Interval(value, low, high)


def bootstrap_crossed(
    tables: Sequence[np.ndarray], statistic: Callable[..., np.ndarray], *, seed: int = 0, resamples: int = RESAMPLES
) -> Interval:
    """Interval of a statistic of sums where what was repeated and the groups are both resampled (percentile).

    Three seeds tell little of how seeds differ. A resample often draws the same one again, so deviations from their
    mean are widened by sqrt(S / (S - 1)); and the ends are moved out as Student's t is wider than the normal curve, by
    the degrees of freedom of all that was resampled (Satterthwaite).

    Args:
        tables: Each [S, G, K]: repetitions (training seeds; 1 for what has none), groups (the same in all tables),
            sums. The repetitions of each table are drawn by themselves, the groups together.
        statistic: Takes one array per column of all tables, as for `bootstrap`: mean over repetitions, summed over
            groups.
        seed: Of the resampling.
        resamples: How many.
    """
    value = float(statistic(*(column for table in tables for column in table.mean(axis=0).sum(axis=0))))
    groups = tables[0].shape[1]
    if groups < 2 or not isfinite(value):
        return Interval(value, None, None)
    rng = np.random.default_rng(seed)
    some_groups = rng.multinomial(groups, np.full(groups, 1 / groups), size=resamples)
    some = [
        rng.multinomial(len(each), np.full(len(each), 1 / len(each)), size=resamples) / len(each) for each in tables
    ]
    every = [np.full((1, len(each)), 1 / len(each)) for each in tables]
    wide = [_widened(table) for table in tables]

    def drawn(repetitions: Sequence[np.ndarray], of_groups: np.ndarray) -> np.ndarray:
        columns = []
        for table, rows in zip(wide, repetitions, strict=True):
            columns += [((rows @ table[:, :, k]) * of_groups).sum(axis=1) for k in range(table.shape[2])]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(statistic(*columns), dtype=float)

    together = drawn(some, some_groups)
    if not np.isfinite(together).all() or np.ptp(together) == 0:
        return Interval(value, None, None)
    parts = [(np.var(drawn(every, some_groups)), groups - 1)]
    for number, table in enumerate(tables):
        if len(table) > 1:
            one = [some[number] if place == number else rows for place, rows in enumerate(every)]
            parts.append((np.var(drawn(one, np.ones((1, groups)))), len(table) - 1))
    low, high = np.quantile(together, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    out = _student(parts)
    return Interval(value, value - out * (value - float(low)), value + out * (float(high) - value))


def _widened(table: np.ndarray) -> np.ndarray:
    count, mean = len(table), table.mean(axis=0)
    return mean + (table - mean) * sqrt(count / (count - 1)) if count > 1 else table


def _student(parts: Sequence[tuple[float, int]]) -> float:
    """How much wider than the normal curve's an interval must be, from (variance, degrees of freedom) of its parts."""
    from scipy.stats import norm, t

    below = sum(variance**2 / freedom for variance, freedom in parts)
    if not below > 0:
        return 1.0
    freedom = sum(variance for variance, _ in parts) ** 2 / below
    tail = (1 + CONFIDENCE) / 2
    return float(t.ppf(tail, freedom) / norm.ppf(tail))


def _bca(value: float, drawn: np.ndarray, left_out: np.ndarray) -> tuple[float, float]:
    from scipy.stats import norm

    tails = np.array([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    below = ((drawn < value).mean() + (drawn <= value).mean()) / 2
    if 0 < below < 1 and np.isfinite(left_out).all():
        off = left_out.mean() - left_out
        spread = (off**2).sum() ** 1.5
        skew = (off**3).sum() / (6 * spread) if spread > 0 else 0.0
        bias, points = norm.ppf(below), norm.ppf(tails)
        tails = norm.cdf(bias + (bias + points) / (1 - skew * (bias + points)))
    low, high = np.quantile(drawn, tails)
    return float(low), float(high)


def mean_of_groups(rows: Iterable[tuple[str, float]], *, seed: int = 0) -> Interval:
    """Mean of values, its interval by resampling their groups; Wilson's where each group is one hit or miss.

    Raises:
        ValueError: No rows.
    """
    sums: dict[str, list[float]] = {}
    binary = True
    for group, value in rows:
        total = sums.setdefault(group, [0.0, 0.0])
        total[0] += value
        total[1] += 1
        binary = binary and value in (0.0, 1.0)
    if not sums:
        raise ValueError("a mean needs values")
    hits, count = (sum(total[place] for total in sums.values()) for place in (0, 1))
    if binary and (count == len(sums) or hits in (0, count)):
        # Resampling knows no doubt where all values are the same; each group is one hit or miss then.
        return wilson(round(len(sums) * hits / count), len(sums))
    return bootstrap(list(sums.values()), lambda total, number: total / number, seed=seed)

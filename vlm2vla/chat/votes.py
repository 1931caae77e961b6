"""Win rates from votes: which of two models people prefer, and how sure that is."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vlm2vla.evaluation.statistics import wilson

_VOTED_ON = ("conversation", "exchange", "by", "question", "images", "answers")
"""What makes two votes one that was thought over."""


@dataclass(frozen=True)
class WinRate:
    """One pair of models, in alphabetical order.

    Attributes:
        first, second: Names.
        wins, losses: Votes for the first and for the second.
        ties, both_bad: The other votes.
        rate: Share of the first among votes for either; None without any.
        interval: Its 95 % Wilson interval.
    """

    first: str
    second: str
    wins: int
    losses: int
    ties: int
    both_bad: int
    rate: float | None
    interval: tuple[float, float] | None


def win_rates(votes: Iterable[Mapping[str, Any]], *, blind_only: bool = True) -> tuple[WinRate, ...]:
    """Win rates of every pair that was compared side by side.

    A later vote on the same answers to the same question replaces an earlier one of the same person; a question that
    was changed, or asked again and answered otherwise, is another one. Votes in conversations with one or more than two
    panes are not counted.
    """
    newest: dict[str, Mapping[str, Any]] = {}
    for vote in votes:
        if len(vote.get("order", ())) == 2 and (vote.get("blind") or not blind_only):
            newest[json.dumps([vote.get(name) for name in _VOTED_ON], sort_keys=True)] = vote
    tallies: dict[tuple[str, str], dict[str, int]] = {}
    for vote in newest.values():
        left, right = vote["order"]
        pair = (min(left, right), max(left, right))
        choice = vote["choice"]
        if choice in ("left", "right"):
            choice = "wins" if (left if choice == "left" else right) == pair[0] else "losses"
        tally = tallies.setdefault(pair, {"wins": 0, "losses": 0, "tie": 0, "both bad": 0})
        tally[choice] = tally.get(choice, 0) + 1
    return tuple(_rate(pair, tally) for pair, tally in sorted(tallies.items()))


def _rate(pair: tuple[str, str], tally: Mapping[str, int]) -> WinRate:
    decided = tally["wins"] + tally["losses"]
    sure = wilson(tally["wins"], decided) if decided else None
    return WinRate(
        *pair,
        tally["wins"],
        tally["losses"],
        tally["tie"],
        tally["both bad"],
        sure.value if sure else None,
        (round(sure.low, 4), round(sure.high, 4)) if sure else None,
    )

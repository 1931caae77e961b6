"""How rollouts ended in the simulator: each of them, and all together.

A trial that fails says something about the policy, one with an error about the machinery: they are counted apart, and
errors are left out of the success rate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Literal

from vlm2vla.evaluation.statistics import wilson

BY_HAND = "stopped by Ctrl-C"
"""What `TrialReport.stopped` says where a person ended it."""


@dataclass(frozen=True)
class Trial:
    """How one rollout ended.

    Attributes:
        seed: Of scene, task and policy.
        instruction: The task in words.
        result: By the simulator's truth; "error" when robot or simulator broke.
        partial: Share of the task's milestones, 0 to 1.
        end: How the loop ended, and why.
        actions: Rows that were carried out.
        simulated_s, wall_s: How long it took, in the simulator and on the clock.
        kept: Folder of the recorded rollout, "" when it was not kept.
        words: How much was written: subtasks, plans, chunks, tries that did not parse; and of a model's first tries,
            how many chunks, and how many that would not have parsed without help.
        cycle_s: Seconds that writing took in each cycle, plan and chunk together.
        verdicts: How many verdicts of the verifier were right, see `rollout.truth`; empty where the expert judges.
    """

    seed: int
    instruction: str
    result: Literal["success", "failure", "error"]
    partial: float
    end: str
    actions: int
    simulated_s: float
    wall_s: float
    kept: str = ""
    words: Mapping[str, int] = field(default_factory=dict)
    cycle_s: tuple[float, ...] = ()
    verdicts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class TrialReport:
    """All trials together.

    Attributes:
        trials: Number of trials without an error.
        success_rate: Share of them that succeeded; None when there is none.
        interval: Wilson interval of that share, 95 %.
        partial_credit: Mean share of milestones.
        errors: One row per trial that broke.
        real_time_factor: Simulated seconds per second of the clock, median over trials, camera frames included.
        cycle_s: Median seconds that a model writes in one cycle; None where none did.
        parse_rate: Share of chunks whose first try parses without help; None where no model wrote any.
        rows: Every trial.
        stopped: Why trials are missing, in words; empty when all that were asked for are here.
    """

    trials: int
    success_rate: float | None
    interval: tuple[float, float] | None
    partial_credit: float | None
    errors: tuple[dict[str, Any], ...]
    real_time_factor: float | None
    cycle_s: float | None
    parse_rate: float | None
    rows: tuple[Trial, ...]
    stopped: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def report_of(rows: Sequence[Trial]) -> TrialReport:
    """All of them together."""
    good = [trial for trial in rows if trial.result != "error"]
    sure = wilson(sum(trial.result == "success" for trial in good), len(good)) if good else None
    factors = sorted(trial.simulated_s / trial.wall_s for trial in good if trial.wall_s > 0)
    cycles = [seconds for trial in good for seconds in trial.cycle_s]
    chunks, unparsable = (
        sum(trial.words.get(f"first_tries_{name}", 0) for trial in good) for name in ("chunks", "unparsable")
    )
    return TrialReport(
        trials=len(good),
        success_rate=sure.value if sure else None,
        interval=(round(sure.low, 4), round(sure.high, 4)) if sure else None,
        partial_credit=sum(trial.partial for trial in good) / len(good) if good else None,
        errors=tuple({"seed": trial.seed, "message": trial.end} for trial in rows if trial.result == "error"),
        real_time_factor=round(factors[len(factors) // 2], 1) if factors else None,
        cycle_s=round(median(cycles), 3) if cycles else None,
        parse_rate=1 - unparsable / chunks if chunks else None,
        rows=tuple(rows),
    )

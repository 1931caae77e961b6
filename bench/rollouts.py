"""The scripted expert in closed loop in the simulator, both cameras rendered: how often it succeeds, and how fast."""

import tempfile
from pathlib import Path

from vlm2vla.config import TrialsConfig
from vlm2vla.rollout.trials import run_trials
from vlm2vla.workspace import Workspace

TASKS, TRIALS, AIM, AIM_FACTOR = ("pick-up", "pick-and-place", "pick-place-lift"), 50, 0.9, 5


def main() -> None:
    """Print success with its interval, and simulated seconds for each second of the clock."""
    for task in TASKS:
        with tempfile.TemporaryDirectory() as folder:
            # What is kept is recorded by both cameras.
            report = run_trials(TrialsConfig(task=task, trials=TRIALS, keep=True), Workspace.open(Path(folder)))
        if report.stopped:
            raise SystemExit(f"{task}: {report.stopped}")
        low, high = report.interval
        print(
            f"{task}: {report.success_rate:.0%} of {report.trials} succeeded ({low:.0%} to {high:.0%}, the aim is "
            f"{AIM:.0%}), {len(report.errors)} errors; {report.real_time_factor:.1f}x real time with camera frames "
            f"(the aim is {AIM_FACTOR}x)",
            flush=True,
        )


if __name__ == "__main__":
    main()

"""Many rollouts in the simulator, in parallel processes, with the simulator's truth as the judge.

A trial that fails says something about the policy, one with an error about the machinery: they are counted apart, and
errors are left out of the success rate.
"""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vlm2vla.config import TrialsConfig
from vlm2vla.rollout.events import ActionDone
from vlm2vla.rollout.expert import ACTION_FORM, ExpertDriver
from vlm2vla.rollout.keep import keep, write_trace
from vlm2vla.rollout.loop import RolloutConfig, drive
from vlm2vla.rollout.statistics import wilson
from vlm2vla.rollout.trace import Trace, record
from vlm2vla.workspace import Workspace

if TYPE_CHECKING:
    from vlm2vla.simulation import Scene, World
    from vlm2vla.simulation.tasks import Task

MAX_CYCLES = 400


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
        rows: Every trial.
    """

    trials: int
    success_rate: float | None
    interval: tuple[float, float] | None
    partial_credit: float | None
    errors: tuple[dict[str, Any], ...]
    real_time_factor: float | None
    rows: tuple[Trial, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def run_trials(
    config: TrialsConfig, workspace: Workspace, progress: Callable[[int, int | None], None] | None = None
) -> TrialReport:
    """Drive `config.trials` tasks with seeds from `config.seed` on."""
    folder = workspace.rollouts if config.keep else None
    workers = config.workers or os.cpu_count() or 1
    seeds = range(config.seed, config.seed + config.trials)
    shares = [tuple(seeds[start::workers]) for start in range(min(workers, len(seeds)))]
    rows: list[Trial] = []
    if len(shares) == 1:
        for trial in _drive_all(config.task, shares[0], folder):
            rows.append(trial)
            if progress:
                progress(len(rows), len(seeds))
    else:
        import multiprocessing

        # Graphics and threads of this process do not survive a fork.
        with ProcessPoolExecutor(len(shares), mp_context=multiprocessing.get_context("spawn")) as pool:
            waiting = [pool.submit(_drive_share, config.task, share, folder) for share in _pieces(shares)]
            for done in waiting:
                rows += done.result()
                if progress:
                    progress(len(rows), len(seeds))
    rows.sort(key=lambda trial: trial.seed)
    keep(workspace, [Path(trial.kept) for trial in rows if trial.kept])
    return _report(rows)


def _pieces(shares: list[tuple[int, ...]], size: int = 5) -> list[tuple[int, ...]]:
    """Small pieces in turn, so that progress is seen and no worker waits long for another."""
    return [
        share[start : start + size] for start in range(0, len(shares[0]), size) for share in shares if share[start:]
    ]


def _drive_share(task: str, seeds: tuple[int, ...], folder: Path | None) -> list[Trial]:
    return list(_drive_all(task, seeds, folder))


def _drive_all(family: str, seeds: tuple[int, ...], folder: Path | None) -> Iterator[Trial]:
    from vlm2vla.simulation import World
    from vlm2vla.simulation.tasks import make_task

    world = None
    try:
        for seed in seeds:
            scene, task = make_task(family, seed)
            world = world or World(scene)
            world.reset(scene)
            yield _trial(world, scene, task, seed, folder)
    finally:
        if world is not None:
            world.close()


def _trial(world: "World", scene: "Scene", task: "Task", seed: int, folder: Path | None) -> Trial:
    from vlm2vla.simulation.expert import Expert
    from vlm2vla.simulation.success import Progress

    began, state = time.perf_counter(), world.state()
    progress = Progress(task, state)
    driver = ExpertDriver(Expert(task, scene, seed), world.state)
    unsubscribe = world.subscribe(0.2, lambda: progress.update(world.state()))
    trace = Trace(task.instruction, world.robot.embodiment, driver.name)
    try:
        events = drive(world.robot, driver, driver, task.instruction, config=RolloutConfig(MAX_CYCLES))
        actions = sum(isinstance(event, ActionDone) for event in record(events, trace))
    finally:
        unsubscribe()
    ended = trace.ended
    progress.update(world.state())
    verdict = progress.verdict(ended.reason if ended.end == "error" else "")
    kept = str(write_trace(folder, trace, ACTION_FORM)) if folder and actions else ""
    simulated = world.state().time_s - state.time_s
    return Trial(
        seed=seed,
        instruction=task.instruction,
        result=verdict.result,
        partial=verdict.score.partial,
        end=f"{ended.end}: {ended.reason}",
        actions=actions,
        simulated_s=round(simulated, 2),
        wall_s=round(time.perf_counter() - began, 3),
        kept=kept,
    )


def _report(rows: list[Trial]) -> TrialReport:
    good = [trial for trial in rows if trial.result != "error"]
    won = sum(trial.result == "success" for trial in good)
    factors = sorted(trial.simulated_s / trial.wall_s for trial in good if trial.wall_s > 0)
    return TrialReport(
        trials=len(good),
        success_rate=won / len(good) if good else None,
        interval=wilson(won, len(good)) if good else None,
        partial_credit=sum(trial.partial for trial in good) / len(good) if good else None,
        errors=tuple({"seed": trial.seed, "message": trial.end} for trial in rows if trial.result == "error"),
        real_time_factor=round(factors[len(factors) // 2], 1) if factors else None,
        rows=tuple(rows),
    )

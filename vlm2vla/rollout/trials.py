"""Many rollouts in the simulator, in parallel processes, with the simulator's truth as the judge."""

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from vlm2vla.config import PolicyConfig, ToldConfig, TrialsConfig
from vlm2vla.errors import ConfigError, EvaluationError, NotFoundError
from vlm2vla.policy import ChunkReady, ParseFailed, PlanReady, Policy, SubtasksReady, Verifier, VLMPolicy
from vlm2vla.rollout.drivers import EXPERTS, Drivers
from vlm2vla.rollout.events import ActionDone, Event, PolicySaid
from vlm2vla.rollout.expert import ACTION_FORM, TURNING_FORM, ExpertDriver
from vlm2vla.rollout.keep import keep, write_trace
from vlm2vla.rollout.loop import RolloutConfig, drive
from vlm2vla.rollout.told import REPLAY, TYPED, Told
from vlm2vla.rollout.trace import Trace, record
from vlm2vla.rollout.trial_report import BY_HAND, Trial, TrialReport, report_of
from vlm2vla.rollout.truth import Judge
from vlm2vla.rollout.workers import in_processes
from vlm2vla.vlm.registry import ModelRegistry
from vlm2vla.workspace import Workspace

if TYPE_CHECKING:
    from vlm2vla.simulation import Scene, World
    from vlm2vla.simulation.tasks import Task

log = logging.getLogger(__name__)

MAX_CYCLES = 400
# Milestones are looked for, and kept rollouts are sampled, this often (simulated seconds).
LOOK_S = 0.2
# At most so many trials are driven in a row by one process.
_PIECE = 5


def run_trials(
    config: TrialsConfig,
    workspace: Workspace,
    progress: Callable[[int, int | None], None] | None = None,
    *,
    policy: PolicyConfig | None = None,
    told: ToldConfig | None = None,
) -> TrialReport:
    """Drive `config.trials` tasks with seeds from `config.seed` on.

    What was done before Ctrl-C, or before a worker was killed, is reported, and `TrialReport.stopped` says so; nothing
    of it is stored but the rollouts that are kept, each of them as soon as it is over.

    Raises:
        NotFoundError: No model or episode of that name.
        ConfigError: What was told is not what the policy needs.
        EvaluationError: A worker was killed before anything was done.
        KeyboardInterrupt: Before anything was done.
    """
    seeds = range(config.seed, config.seed + config.trials)
    rows: list[Trial] = []
    stopped = ""
    try:
        for trial in drive_seeds(config, seeds, workspace, progress, policy=policy, told=told):
            rows.append(trial)
            if trial.kept:
                keep(workspace, [Path(trial.kept)])
    except (KeyboardInterrupt, EvaluationError) as error:
        if not rows:
            raise
        stopped = BY_HAND if isinstance(error, KeyboardInterrupt) else str(error)
    return replace(report_of(sorted(rows, key=lambda trial: trial.seed)), stopped=stopped)


def drive_seeds(
    config: TrialsConfig,
    seeds: Sequence[int],
    workspace: Workspace,
    progress: Callable[[int, int | None], None] | None = None,
    *,
    policy: PolicyConfig | None = None,
    told: ToldConfig | None = None,
) -> Iterator[Trial]:
    """The trials of these seeds in the order in which they are done; `config.trials` and `config.seed` do not matter.

    Args:
        config: What is driven, and by whom.
        seeds: One trial each.
        workspace: Whose models and episodes drive.
        progress: Called with how many are done, and of how many.
        policy: How a model is asked.
        told: What the policies "replay" and "typed" are told.

    Raises:
        NotFoundError: No model or episode of that name.
        ConfigError: What was told is not what the policy needs.
    """
    told = told or ToldConfig()
    told.check(config.policy)
    words = Told(config.policy, told, workspace) if config.policy in (REPLAY, TYPED) else None
    if words is None and config.policy not in EXPERTS:
        ModelRegistry(workspace).get(config.policy)
    work = _Work(config, policy or PolicyConfig(), workspace.root, words)
    workers = min(config.workers or os.cpu_count() or 1, len(seeds))
    trials = _in_parallel(work, seeds, workers) if workers > 1 else work.drive(seeds)
    for done, trial in enumerate(trials, 1):
        if progress:
            progress(done, len(seeds))
        yield trial


def _in_parallel(work: "_Work", seeds: Sequence[int], workers: int) -> Iterator[Trial]:
    """The same in processes, each of which drives a few seeds in a row in one world.

    Few enough that every process gets its share, progress is seen, and no process waits long for another at the end.
    """
    each = max(1, min(_PIECE, len(seeds) // (2 * workers)))
    pieces = [tuple(seeds[at : at + each]) for at in range(0, len(seeds), each)]
    for trials in in_processes(partial(_drive_piece, work), pieces, workers):
        yield from trials


def _drive_piece(work: "_Work", seeds: tuple[int, ...]) -> list[Trial]:
    return list(work.drive(seeds))


@dataclass(frozen=True)
class _Work:
    """What a worker process needs to know."""

    config: TrialsConfig
    policy: PolicyConfig
    root: Path
    told: Told | None = None

    def drive(self, seeds: Sequence[int]) -> Iterator[Trial]:
        """One trial per seed, in one world; one that breaks is an error of its own, and the next has a new world.

        Raises:
            NotFoundError: As in `drive_seeds`: no seed could be driven.
            ConfigError: Likewise.
        """
        from vlm2vla.simulation import World
        from vlm2vla.simulation.tasks import make_task

        world = None
        try:
            for seed in seeds:
                scene, task = make_task(self.config.task, seed, held_out=self.config.held_out)
                world = world or World(scene, robot=self.config.robot, cameras=self._cameras)
                try:
                    world.reset(scene)
                    trial = self._trial(world, scene, task, seed)
                except (NotFoundError, ConfigError):
                    raise
                except Exception as error:
                    log.exception("the trial of seed %d broke", seed)
                    world.close()
                    world, trial = None, _broken(seed, task.instruction, error)
                yield trial
        finally:
            if world is not None:
                world.close()

    @property
    def _cameras(self) -> tuple[str, ...]:
        """Policies look through the first one; the others cost as much time each, and only recordings want them."""
        from vlm2vla.simulation.recorder import CAMERAS

        return CAMERAS if self.config.keep else CAMERAS[:1]

    def _trial(self, world: "World", scene: "Scene", task: "Task", seed: int) -> Trial:
        from vlm2vla.simulation.success import Progress

        began, state = time.perf_counter(), world.state()
        progress = Progress(task, state)
        policy, verifier, cycles = self._driver(world, scene, task, seed)
        # What is kept is an episode of a fixed rate, like recorded ones.
        rate_hz = 1 / LOOK_S if self.config.keep else 0.0
        trace = Trace(task.instruction, world.robot.embodiment, policy.name, rate_hz)

        def look() -> None:
            progress.update(world.state())
            if rate_hz and trace.observations:
                trace.sample(world.glimpse())

        unsubscribe = world.subscribe(LOOK_S, look)
        tally = _Tally()
        judge = Judge(task, scene, world.state, lambda: progress.update(world.state()).success)
        try:
            events = drive(world.robot, policy, verifier, task.instruction, config=RolloutConfig(cycles))
            for event in record(events, trace):
                tally.see(event)
                judge.see(event)
        finally:
            unsubscribe()
        ended = trace.ended
        progress.update(world.state())
        verdict = progress.verdict(ended.reason if ended.end == "error" else "")
        folder = Workspace.open(self.root).rollouts if self.config.keep and trace.moved else None
        first_tries = policy.written if isinstance(policy, VLMPolicy) else {}
        return Trial(
            seed=seed,
            instruction=task.instruction,
            result=verdict.result,
            partial=verdict.score.partial,
            end=f"{ended.end}: {ended.reason}",
            actions=tally.actions,
            simulated_s=round(world.state().time_s - state.time_s, 2),
            wall_s=round(time.perf_counter() - began, 3),
            kept=str(write_trace(folder, trace, TURNING_FORM if trace.rotates else ACTION_FORM)) if folder else "",
            words=tally.words | {f"first_tries_{name}": count for name, count in first_tries.items()},
            cycle_s=tuple(tally.cycle_s) if isinstance(policy, VLMPolicy) else (),
            verdicts={} if isinstance(verifier, ExpertDriver) else judge.counts,
        )

    def _driver(self, world: "World", scene: "Scene", task: "Task", seed: int) -> tuple[Policy, Verifier, int]:
        """Who drives, who judges, and for how many cycles at most."""
        if self.config.policy in EXPERTS:
            from vlm2vla.simulation.expert import Expert

            wrist = EXPERTS[self.config.policy]
            driver = ExpertDriver(Expert(task, scene, seed, wrist=wrist), world.state)
            return driver, driver, MAX_CYCLES if wrist else self.config.max_cycles
        robot = world.robot.embodiment
        if self.told is not None:
            return *self.told.driver(robot), self.told.cycles
        drivers = _drivers(self.root)
        policy = drivers.policy(self.config.policy, robot, replace(self.policy, seed=self.policy.seed + seed))
        return policy, drivers.verifier(self.config.verifier, self.config.policy, robot), self.config.max_cycles


def _broken(seed: int, instruction: str, error: Exception) -> Trial:
    """A trial that came to no end: the machinery broke around it."""
    return Trial(seed, instruction, "error", 0.0, f"error: {type(error).__name__}: {error}", 0, 0.0, 0.0)


@cache
def _drivers(root: Path) -> Drivers:
    """The models of this process: loaded once, however many trials there are."""
    return Drivers(Workspace.open(root))


class _Tally:
    """Counts of one rollout."""

    def __init__(self):
        self.actions = 0
        self.words = {"subtasks": 0, "plans": 0, "chunks": 0, "failed_parses": 0}
        self.cycle_s: list[float] = []
        self._plan_s = 0.0

    def see(self, event: Event) -> None:
        """Count one event."""
        if isinstance(event, ActionDone):
            self.actions += 1
        said = event.event if isinstance(event, PolicySaid) else None
        if isinstance(said, SubtasksReady):
            self.words["subtasks"] += len(said.texts)
        elif isinstance(said, PlanReady):
            self.words["plans"] += 1
            self._plan_s = said.seconds
        elif isinstance(said, ParseFailed):
            self.words["failed_parses"] += 1
        elif isinstance(said, ChunkReady):
            self.words["chunks"] += 1
            self.cycle_s.append(round(self._plan_s + said.seconds, 3))

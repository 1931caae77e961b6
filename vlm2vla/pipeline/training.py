"""Training samples of the workspace's labels become weights."""

import threading
from collections.abc import Callable
from dataclasses import replace

from vlm2vla.errors import NotFoundError
from vlm2vla.language import form
from vlm2vla.pipeline.store import Progress
from vlm2vla.pipeline.training_set import TrainingSet, prepare
from vlm2vla.training.config import Recipe, TrainConfig, TuneConfig, recipe_of
from vlm2vla.training.finetune import TrainReport
from vlm2vla.training.finetune import train as run_training
from vlm2vla.training.job import Job, job_of
from vlm2vla.training.run import Progress as RunProgress
from vlm2vla.training.run import RunFolder
from vlm2vla.training.runs import find_run, new_run, newest_run
from vlm2vla.vlm.registry import ModelRegistry
from vlm2vla.workspace import Workspace


def train(
    config: TrainConfig,
    tune: TuneConfig,
    workspace: Workspace,
    *,
    progress: Progress = None,
    told: Callable[[RunProgress], None] | None = None,
    stopped: threading.Event | None = None,
) -> TrainReport:
    """Make training samples of the workspace's labels and fine-tune on them.

    A workspace without any episode trains on the sample episodes that ship.

    Raises:
        ConfigError: A setting that cannot be right.
        NotFoundError: No such base, run or data set.
        ExportError: There are no labels to train on.
        TrainingError: The run is running or complete; otherwise, like ModelError, see `training.finetune.train`.
    """
    if config.resume:
        run = find_run(workspace, config.run) if config.run else newest_run(workspace, config.preset, config.variant)
        with run.hold():
            job = _same_job(config, tune, workspace, run)
            return run_training(job, run, resume=True, stopped=stopped, told=told)
    recipe = recipe_of(config, tune)
    base = find_base(recipe.base, workspace)
    run = new_run(workspace, config.run, f"{config.preset}-{config.variant}")
    with run.hold():
        samples = _samples(config, recipe, workspace, run, progress, stopped)
        if samples is None:
            return TrainReport(run.name, str(run.path), "stopped", 0, 0, None, None, None, "")
        job = Job(recipe, config.variant, base, samples.folders, made_by=samples.made_by)
        return run_training(_asked(job, config, tune), run, stopped=stopped, told=told)


def find_base(name: str, workspace: Workspace) -> str:
    """Folder or hub id of a base by its name in the registry, its folder or hub id.

    Raises:
        NotFoundError: It is not there.
    """
    try:
        return ModelRegistry(workspace).get(name).path
    except NotFoundError as error:
        hint = "; `vlm2vla pretrain` makes it, or name another with --base-model" if name == "base" else ""
        raise NotFoundError(f"{error}{hint}") from error


def action_tokens(name: str, workspace: Workspace) -> tuple[tuple[str, float], ...]:
    """Ten tokens of a base for discrete actions, see `training.action_tokens.least_likely`.

    Raises:
        NotFoundError: No such base.
        ModelLoadError: Weights that cannot be read.
        TrainingError: It has no ten that would do.
    """
    from vlm2vla.training.action_tokens import least_likely
    from vlm2vla.training.weights import load_base

    return least_likely(*load_base(find_base(name, workspace), "auto"), form(Recipe.form))


def _same_job(config: TrainConfig, tune: TuneConfig, workspace: Workspace, run: RunFolder) -> Job:
    """The job of a run as it was started. Flags that say it again must say the same, which training makes sure of."""
    job = job_of(run)
    unsaid = TrainConfig(), TrainConfig(preset=job.recipe.name, variant=job.variant)
    if tune == TuneConfig() and replace(config, run="", resume=False, max_steps=0, threads=0) in unsaid:
        return replace(job, stop_at=config.max_steps, threads=config.threads)
    recipe = recipe_of(config, tune)
    again = replace(job, recipe=recipe, variant=config.variant, base=find_base(recipe.base, workspace))
    return _asked(again, config, tune)


def _asked(job: Job, config: TrainConfig, tune: TuneConfig) -> Job:
    start_from = tune.start_from.expanduser().resolve() if tune.start_from else None
    return replace(job, seed=config.seed, stop_at=config.max_steps, threads=config.threads, start_from=start_from)


def _samples(
    config: TrainConfig,
    recipe: Recipe,
    workspace: Workspace,
    run: RunFolder,
    progress: Progress,
    stopped: threading.Event | None,
) -> TrainingSet | None:
    """`prepare`, seen by whoever watches the run; None when it was asked to stop meanwhile."""

    def watched(done: int, total: int | None) -> None:
        if run.stop_file.exists() or (stopped and stopped.is_set()):
            raise _Stopped
        what = f"making samples: episode {done} of {total}" if total else "waiting: another run makes samples"
        run.tell(RunProgress("preparing", message=what))
        if progress:
            progress(done, total)

    run.tell(RunProgress("preparing", message="making samples"))
    try:
        return prepare(config, recipe, workspace, watched)
    except (_Stopped, KeyboardInterrupt) as asked:
        run.end("stopped", "stopped while its samples were made")
        run.stop_file.unlink(missing_ok=True)
        if isinstance(asked, KeyboardInterrupt):
            raise
        return None
    except Exception as error:
        run.end("failed", f"{type(error).__name__}: {error}")
        raise


class _Stopped(Exception):
    """Somebody asked the run to stop."""

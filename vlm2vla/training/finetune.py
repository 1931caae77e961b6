"""One fine-tuning run from samples on disk to weights on disk: start, go on, stop, finish.

`train` is all of it. Knows no episodes and no workspace beyond the run's own folder; who calls it brings the samples.
"""

import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlm2vla.errors import TrainingError
from vlm2vla.training.card import model_card
from vlm2vla.training.config import Recipe, is_lora
from vlm2vla.training.data import Group, Order, TrainingData, read_data
from vlm2vla.training.job import Job, check_same, check_same_samples, remember
from vlm2vla.training.run import Progress, RunFolder

if TYPE_CHECKING:
    from vlm2vla.training.collate import Scheduled
    from vlm2vla.training.rendering import Renderer
    from vlm2vla.training.watching import Told
    from vlm2vla.training.weights import Trainable

_LOOK_GROUPS = 48
# Held-out groups beyond this tell nothing more about the loss.


@dataclass(frozen=True)
class TrainReport:
    """How a run ended.

    Attributes:
        run: Its name, `folder` its place.
        state: "done", or "stopped" before the end.
        steps: Steps that are done, of `planned`.
        loss: Mean over the last steps.
        held_out_loss: The last one that was measured.
        samples_per_s: Answers per second.
        result: Folder of the weights.
        resumed_from: Step at which this process went on, 0 for a new run.
    """

    run: str
    folder: str
    state: str
    steps: int
    planned: int
    loss: float | None
    held_out_loss: float | None
    samples_per_s: float | None
    result: str
    resumed_from: int = 0


def train(
    job: Job, run: RunFolder, *, resume: bool = False, stopped: threading.Event | None = None, told: "Told" = None
) -> TrainReport:
    """Train, or go on with a run. Whoever calls it holds the run (`RunFolder.hold`), so that nobody else writes it.

    Args:
        job: What; for a resumed run it must say the same as when it was started.
        run: Folder to write.
        resume: Go on from the last complete checkpoint (from the beginning where there is none).
        stopped: Set it to end the run after the current step; so does a file "stop" in the run's folder.
        told: Told of every step.

    Raises:
        ConfigError: A base that cannot be trained like this.
        ModelLoadError: Weights that cannot be read.
        ModelFaultError: NaN, or memory that ran out.
        TrainingError: Samples that cannot be used, another base than before, an early check that fails.
    """
    from vlm2vla.training.weights import speak

    stopped = stopped or threading.Event()
    run.path.mkdir(parents=True, exist_ok=True)
    try:
        return _train(job, run, resume, stopped, told)
    except KeyboardInterrupt:
        goes_on = "--resume goes on from the last checkpoint" if run.begun else "it had not begun, start it again"
        run.end("stopped", f"interrupted; {goes_on}")
        raise
    except Exception as error:
        spoken = speak(error, "training")
        run.end("failed", f"{type(spoken).__name__}: {spoken}")
        if spoken is error:
            raise
        raise spoken from error
    finally:
        run.stop_file.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Ready:
    """A run before its first step.

    Attributes:
        trainable: Checked model.
        renderer: Of its processor.
        data: Without samples that are too long.
        scheduled: Groups in order.
        steps: Of the whole run.
        found: By the checks so far.
        look: Gives the held-out loss, None where nothing is held out.
    """

    trainable: "Trainable"
    renderer: "Renderer"
    data: TrainingData
    scheduled: "Scheduled"
    steps: int
    found: dict[str, Any]
    look: Callable[[], float] | None


def _train(job: Job, run: RunFolder, resume: bool, stopped: threading.Event, told: "Told") -> TrainReport:
    checkpoint = run.last_checkpoint() if resume else None
    resumed_from = int(checkpoint.name.split("-")[1]) if checkpoint else 0
    planned = run.read("config.json").get("steps", 0) if resume else 0
    _tell(run, told, Progress("preparing", resumed_from, planned, message="loading torch"))

    from vlm2vla.training import checks
    from vlm2vla.training.trainers import make_trainer
    from vlm2vla.training.watching import Watch, stop_on_signals

    ready = _prepare(job, run, resume, resumed_from, told)
    steps, scheduled, found, batch = ready.steps, ready.scheduled, ready.found, job.recipe.batch
    watch = Watch(
        run,
        steps,
        stop_at=job.stop_at,
        rows=lambda first, last: scheduled.rows(first * batch, last * batch),
        look=ready.look,
        look_every=job.recipe.eval_every,
        stopped=stopped,
        told=told,
    )
    run.forget_after(resumed_from)
    if checkpoint:
        _load(ready.trainable, checkpoint)
    asked = stopped.is_set() or run.stop_file.exists()
    if not asked and resumed_from < min(job.stop_at or steps, steps):
        places = (scheduled, ready.renderer, run.checkpoints)
        trainer = make_trainer(ready.trainable, job.recipe, *places, steps=steps, seed=job.seed, callbacks=[watch])
        with stop_on_signals(stopped):
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    done, loss = resumed_from + watch.steps_done, run.recent_loss()
    _tell(run, told, Progress("saving", done, steps, loss, watch.samples_per_s))
    if done:
        learned = any(row.get("learning_rate") for row in run.metrics())  # warm-up begins at 0
        found |= checks.after(ready.trainable, ready.renderer, ready.data.train, found, learned)
    held_out = ready.look() if ready.look and done else None
    if held_out is not None:
        run.add_metrics({"step": done, "held_out_loss": held_out})
    result = _save(job, run, ready.trainable)
    if is_lora(job.variant) and done:
        found["reloaded_differs_by"] = checks.reloads(result, ready.trainable, ready.renderer, ready.data.train)
    run.write("checks.json", found)
    state, rate = "done" if done >= steps else "stopped", watch.samples_per_s
    report = TrainReport(run.name, str(run.path), state, done, steps, loss, held_out, rate, str(result), resumed_from)
    card = model_card(run, job.recipe, job.variant, asdict(report))
    for place in (run.path, result):
        (place / "README.md").write_text(card, encoding="utf-8")
    message = "" if state == "done" else f"stopped after step {done}; --resume goes on"
    _tell(run, told, Progress(state, done, steps, loss, rate, 0.0, message))
    if state == "done":
        shutil.rmtree(run.checkpoints, ignore_errors=True)
    return report


def _prepare(job: Job, run: RunFolder, resume: bool, done: int, told: "Told") -> _Ready:
    """Samples and model, made to fit each other and checked; writes what the run is."""
    import torch

    from vlm2vla.training import checks
    from vlm2vla.training.collate import Scheduled
    from vlm2vla.training.rendering import Renderer
    from vlm2vla.training.trainers import held_out_loss, plain_or_shared
    from vlm2vla.training.weights import load_base, make_trainable, start_from

    if job.threads:
        torch.set_num_threads(job.threads)
    recipe, before = job.recipe, run.read("config.json") if resume else {}

    def tell(message: str) -> None:
        _tell(run, told, Progress("preparing", done, before.get("steps", 0), message=message))

    tell("reading samples")
    data = read_data(job.data, recipe.mixture, grouped=recipe.packing == "shared", seed=job.seed)
    if before:
        check_same(job, run)
    tell(f"loading {job.base}")
    torch.manual_seed(job.seed)
    trainable = make_trainable(*load_base(job.base, recipe.weights_dtype), recipe, job.variant)
    if job.start_from is not None and (not done or job.start_from.is_dir()):
        start_from(trainable, job.start_from)
    renderer = Renderer(trainable.processor, _bound(recipe, trainable))
    _can_share(recipe, renderer)
    tell("checking model and samples")
    data, longest = checks.fitting(renderer, data)
    if before:
        check_same_samples(run, data)
    order = Order(data.train, recipe.mixture, job.seed)
    steps = recipe.steps or max(1, round(recipe.epochs * order.per_pass / recipe.batch))
    if not before:
        remember(job, run, data, steps)
    found = checks.before(trainable, recipe, renderer, data.train) | {"longest_sample_tokens": longest}
    run.write("checks.json", found)
    look = None
    if data.held_out:
        collate, some = plain_or_shared(renderer, trainable.model, recipe), _spread(data.held_out, _LOOK_GROUPS)
        look = lambda: held_out_loss(trainable.model, collate, some)  # noqa: E731
    return _Ready(trainable, renderer, data, Scheduled(data.train, order, steps * recipe.batch), steps, found, look)


def _spread(groups: list[Group], count: int) -> list[Group]:
    """At most so many, evenly from all of them: neighbours are of one episode."""
    count = min(count, len(groups))
    return [groups[number * len(groups) // count] for number in range(count)]


def _bound(recipe: Recipe, trainable: "Trainable") -> int:
    """Tokens of the longest sample: the recipe's, or what the model can take."""
    text = trainable.model.config.get_text_config()
    return min(recipe.max_tokens, int(getattr(text, "max_position_embeddings", 0) or recipe.max_tokens))


def _can_share(recipe: Recipe, renderer: "Renderer") -> None:
    if recipe.packing == "shared" and not renderer.can_share:
        raise TrainingError(
            "samples of this model cannot share their beginning (only Gemma 3 can); use --packing plain"
        )


def _load(trainable: "Trainable", checkpoint: Path) -> None:
    """Weights of a checkpoint.

    `Trainer` reads the rest of it (optimizer, schedule, order), but not whole models: they are saved under other names
    than their weights have in memory, and it passes over names that it does not know.
    """
    from vlm2vla.training.weights import start_from

    if trainable.targets:
        start_from(trainable, checkpoint)
        return
    model = trainable.model
    saved = type(model).from_pretrained(checkpoint, dtype=model.dtype, local_files_only=True)
    model.load_state_dict(saved.state_dict())


def _save(job: Job, run: RunFolder, trainable: "Trainable") -> Path:
    """The adapter, or the whole model, with its origin beside it; written aside and moved in one go."""
    from vlm2vla.vlm.origin import Origin, write_origin

    lora = is_lora(job.variant)
    target = run.path / ("adapter" if lora else "model")
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    if lora:
        trainable.model.peft_config["default"].base_model_name_or_path = job.base
    else:
        trainable.processor.save_pretrained(part)
    trainable.model.save_pretrained(part)
    config = run.read("config.json")
    actions = "tokens" if job.variant.endswith("tokens") else "language"
    recipe = job.recipe
    write_origin(part, Origin(job.base, config["base_fingerprint"], actions, recipe.form, recipe.temperature_plan))
    shutil.rmtree(target, ignore_errors=True)
    os.replace(part, target)
    return target


def _tell(run: RunFolder, told: "Told", progress: Progress) -> None:
    run.tell(progress)
    if told:
        told(progress)

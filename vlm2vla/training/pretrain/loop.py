"""The loop that every stage shares: schedule, metrics, checkpoints, exact resume.

A stage folder holds checkpoint.pt (weights, optimizers, step) and metrics.jsonl (one line each so many steps). What a
step sees depends on the seed and its number only, so a run that was stopped goes on as if it never had been.
"""

import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vlm2vla.errors import ConfigError, WorkspaceError
from vlm2vla.training.pretrain.config import Stage

_LOG = logging.getLogger(__name__)
_WARM_UP = 20
_LEAST = 0.02
_CLIP = 1.0


@dataclass(frozen=True)
class Looked:
    """The end of a stage.

    Attributes:
        steps: Steps that were done in all.
        loss: Smoothed loss at the end.
        seconds: Time spent on steps, over all starts.
    """

    steps: int
    loss: float
    seconds: float


def schedule(step: int, stage: Stage) -> float:
    """Factor on the learning rate: warm up, hold, then down in a line."""
    left = (stage.steps - step) / max(1.0, stage.decay * stage.steps)
    return min(1.0, (step + 1) / _WARM_UP) * max(_LEAST, min(1.0, left))


def run_stage(
    folder: Path,
    stage: Stage,
    model: torch.nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    step_loss: Callable[[int], torch.Tensor],
    *,
    resume: bool,
    max_steps: int = 0,
    look: Callable[[], Mapping[str, Any]] | None = None,
    say: Callable[[str], None] = _LOG.info,
) -> Looked:
    """Train to the end of a stage.

    Args:
        folder: Of the stage.
        stage: Steps and schedule.
        model: What is stored; every optimizer's parameters belong to it.
        optimizers: Their peak learning rate is the one they come with.
        step_loss: Loss of step n, which must depend on the model and on n only.
        resume: Go on from the checkpoint where there is one.
        max_steps: Stop early; the schedule stays that of the whole stage.
        look: Measured at every checkpoint, written to the metrics.
        say: Gets a line for people now and then.

    Raises:
        ConfigError: There is a checkpoint already, and `resume` is not set.
        WorkspaceError: The checkpoint cannot be read, or the loss is not finite.
    """
    folder.mkdir(parents=True, exist_ok=True)
    peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    state = _start(folder, model, optimizers, resume)
    end = min(stage.steps, max_steps) if max_steps else stage.steps
    done, seconds, smooth = state["step"], state["seconds"], state["loss"]
    saved = time.monotonic()
    parameters = [p for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]]
    while done < end:
        began = time.monotonic()
        factor = schedule(done, stage)
        for optimizer, lrs in zip(optimizers, peaks, strict=True):
            for group, lr in zip(optimizer.param_groups, lrs, strict=True):
                group["lr"] = lr * factor
        loss = step_loss(done)
        if not torch.isfinite(loss):
            raise WorkspaceError(
                f"the loss of step {done} in {folder} is {loss.item()}; the checkpoint before it is kept"
            )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, _CLIP)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        done += 1
        seconds += time.monotonic() - began
        smooth = loss.item() if smooth is None else 0.97 * smooth + 0.03 * loss.item()
        if done % 20 == 0 or done == end or done <= 3:
            _log(folder, {"step": done, "loss": round(loss.item(), 6), "smooth": round(smooth, 4), "s": round(seconds)})
        if time.monotonic() - saved > stage.every_s or done == end:
            _save(folder, model, optimizers, {"step": done, "seconds": seconds, "loss": smooth})
            seen = dict(look()) if look else {}
            _log(folder, {"step": done, "smooth": round(smooth, 4), "s": round(seconds), "held_out": seen})
            say(f"{folder.name} {done}/{stage.steps} {seconds:.0f} s loss {smooth:.3f} {json.dumps(seen)}")
            saved = time.monotonic()
    return Looked(done, float(smooth if smooth is not None else float("nan")), seconds)


def load_weights(folder: Path, model: torch.nn.Module) -> int:
    """Put the weights of a stage's checkpoint into `model`; returns the step they are from.

    Raises:
        ConfigError: The stage has not begun.
    """
    state = _read(folder)
    if state is None:
        raise ConfigError(f"no checkpoint in {folder}; run the stage {folder.name} first")
    model.load_state_dict(state["model"])
    return state["step"]


def steps_of(folder: Path) -> int:
    """Steps in the checkpoint of a stage; 0 where there is none."""
    state = _read(folder)
    return int(state["step"]) if state is not None else 0


def _start(
    folder: Path, model: torch.nn.Module, optimizers: Sequence[torch.optim.Optimizer], resume: bool
) -> dict[str, Any]:
    state = _read(folder)
    if state is None:
        (folder / "metrics.jsonl").unlink(missing_ok=True)
        return {"step": 0, "seconds": 0.0, "loss": None}
    if not resume:
        raise ConfigError(f"{folder} holds a run already; pass --resume to go on with it, or another --run name")
    model.load_state_dict(state["model"])
    for optimizer, kept in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(kept)
    _forget_after(folder, state["step"])
    return state


def _read(folder: Path) -> dict[str, Any] | None:
    path = folder / "checkpoint.pt"
    if not path.is_file():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WorkspaceError(f"{path} cannot be read ({error}); delete it to begin the stage again") from error


def _save(
    folder: Path, model: torch.nn.Module, optimizers: Sequence[torch.optim.Optimizer], state: Mapping[str, Any]
) -> None:
    part = folder / "checkpoint.pt.part"
    kept = [optimizer.state_dict() for optimizer in optimizers]
    torch.save({"model": model.state_dict(), "optimizers": kept, **state}, part)
    os.replace(part, folder / "checkpoint.pt")


def _log(folder: Path, line: Mapping[str, Any]) -> None:
    with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _step_of(line: str) -> float:
    """Step of a line of metrics; infinite for what a kill tore."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return float("inf")


def _forget_after(folder: Path, step: int) -> None:
    """Drop metrics of steps that will be done again."""
    path = folder / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    kept = [line for line in lines if _step_of(line) <= step]
    part = folder / "metrics.jsonl.part"
    part.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
    os.replace(part, path)

"""Answers learned per second: samples that share their beginning, beside trl's SFTTrainer with one sample per level.

Usage: `python -m bench training`. The same episodes, the same answers, the same model (the shipped base, or random
weights of about its size), LoRA of the same rank, in turn in one process; medians over steps, and their ratio counts.
"""

import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from vlm2vla.pipeline.training_set import prepare
from vlm2vla.training.config import PRESETS, Recipe, TrainConfig
from vlm2vla.training.data import Order, read_data
from vlm2vla.vlm.registry import SHIPPED_FOLDER
from vlm2vla.workspace import Workspace

GROUPS, STEPS, ROUNDS = 8, 4, 3


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as scratch:
        base, name = _base(Path(scratch))
        print(f"model: {name}")
        usual = PRESETS["embedded"]
        # Both in the same arithmetic: what is compared is the sharing.
        actions_only = replace(usual.mixture, completed=0.0, direction=0.0)
        recipe = replace(usual, precision="float32", mixture=actions_only)
        samples = prepare(TrainConfig(), recipe, Workspace.open(Path(scratch) / "workspace"))
        rates: dict[str, list[float]] = {"shared": [], "plain": []}
        losses: dict[str, float] = {}
        for _ in range(ROUNDS):
            for packing, found in rates.items():
                rate, losses[packing] = _rate(base, samples.folders, recipe, packing, Path(scratch))
                found.append(rate)
        shared, plain = (statistics.median(rates[packing]) for packing in ("shared", "plain"))
        print(
            f"answers per second: shared beginnings {shared:.1f}, SFTTrainer with one sample per level {plain:.1f}: "
            f"{shared / plain:.2f} times as many; loss of the same answers {losses['shared']:.4f} and "
            f"{losses['plain']:.4f}"
        )


def _base(scratch: Path) -> tuple[str, str]:
    if (SHIPPED_FOLDER / "base").is_dir():
        return str(SHIPPED_FOLDER / "base"), "the shipped base"
    from tests.vlm.tiny_model import make_base

    return str(make_base(scratch / "base", hidden=192, layers=5, heads=6)), "random weights, width 192, 5 layers"


def _rate(base: str, folders: tuple[Path, ...], recipe: Recipe, packing: str, scratch: Path) -> tuple[float, float]:
    """(answers per second, mean loss) over the same answers, whichever way they are packed."""
    from transformers import TrainerCallback

    from vlm2vla.training.collate import Scheduled
    from vlm2vla.training.data import Group
    from vlm2vla.training.rendering import Renderer
    from vlm2vla.training.trainers import make_trainer
    from vlm2vla.training.weights import load_base, make_trainable

    data = read_data(folders, recipe.mixture, grouped=True)
    order = Order(data.train, recipe.mixture, seed=0)
    chosen = [data.train[order[index]] for index in range(GROUPS * STEPS)]
    if packing == "plain":
        chosen = [Group(group.kind, group.source, group.images, (row,)) for group in chosen for row in group.rows]
    batch = len(chosen) // STEPS
    recipe = replace(recipe, packing=packing, batch=batch, per_device=batch, save_every=10**6)
    trainable = make_trainable(*load_base(base, recipe.weights_dtype), recipe, "lora")
    scheduled = Scheduled(chosen, _InOrder(), batch * STEPS)
    clock = _Clock(TrainerCallback)
    renderer = Renderer(trainable.processor, recipe.max_tokens)
    trainer = make_trainer(
        trainable, recipe, scheduled, renderer, scratch / "out", steps=STEPS, seed=0, callbacks=[clock.callback]
    )
    trainer.train()
    rows = scheduled.rows(batch, batch * STEPS)  # the first step warms up
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return rows / (clock.times[-1] - clock.times[0]), sum(losses) / len(losses)


class _InOrder:
    def __getitem__(self, index: int) -> int:
        return index


class _Clock:
    """Ends of steps, in seconds."""

    def __init__(self, callback: type):
        self.times: list[float] = []
        times = self.times

        class Callback(callback):
            def on_step_end(self, *_: Any, **__: Any) -> None:
                times.append(time.perf_counter())

        self.callback = Callback()


if __name__ == "__main__":
    main()

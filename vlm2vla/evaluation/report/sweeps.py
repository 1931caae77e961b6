"""Training runs side by side: sweeps of rate, rank and form of actions, and where each model comes from. Pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vlm2vla.evaluation.report.cells import NOTHING, To, links, number, share
from vlm2vla.evaluation.report.document import Block, Section, Table, Text
from vlm2vla.evaluation.report.measured import Measured
from vlm2vla.evaluation.report.trained import Trained

_ALPHA = "lora_alpha"  # twice the rank, wherever the rank is swept
SETTINGS = ("learning rate", "rank", "steps", "seed", "replay", "loss", "held-out loss")
SWEPT: Mapping[str, tuple[str, ...]] = {
    "learning rate": ("learning_rate",),
    "LoRA rank": ("lora_rank", _ALPHA),
    "form of actions": ("form",),
}


def swept(runs: Iterable[Trained], what: str) -> tuple[Trained, ...]:
    """Runs that differ from another one in `what` (and the seed) and in nothing else, group by group."""
    keys = SWEPT[what]
    groups: dict[str, list[Trained]] = {}
    for run in runs:
        if run.ended and all(key in run.recipe for key in keys):
            rest = {key: value for key, value in run.recipe.items() if key not in keys}
            groups.setdefault(json.dumps(rest, sort_keys=True, default=str), []).append(run)

    def value(run: Trained) -> Any:
        return run.recipe[keys[0]]

    several = [runs for runs in groups.values() if len(set(map(value, runs))) > 1]
    ordered = sorted(several, key=lambda runs: (runs[0].variant, runs[0].steps or 0))
    return tuple(run for runs in ordered for run in sorted(runs, key=lambda run: (value(run), run.seed or 0)))


def sweeps_section(runs: Sequence[Trained], models: Mapping[str, Measured], to: To) -> Section | None:
    """One table per sweep, from stored runs; None without any."""
    by_weights = {model.weights: model for model in models.values()}
    blocks: list[Block] = []
    for what in SWEPT:
        found = [run for run in swept(runs, what) if what != "LoRA rank" or run.rank]
        if found:
            rows = tuple(_row(run, by_weights.get(run.weights), to) for run in found)
            head = ("run", "variant", "actions", *SETTINGS)
            more = ("kept", "above grey pictures", "success", "open loop, cm", "files")
            caption = f"Sweep of the {what}: runs that differ in nothing else but the seed."
            blocks.append(Table((*head, *more), rows, caption))
    if not blocks:
        return None
    text = (
        "What was kept, success in closed loop (all families) and the open loop stand where the weights of a run were "
        "measured. A low held-out loss is no success; a high retention without success is no merit."
    )
    return Section("Sweeps", (Text(text), *blocks))


def _row(run: Trained, model: Measured | None, to: To) -> tuple[Any, ...]:
    name = run.name if model is None or model.name == run.name else f"{run.name} ({model.name})"
    driven = model.driven if model else None
    return (
        name,
        run.variant,
        _known(run.recipe.get("form")),
        *_settings(run),
        share(model.kept if model else None),
        share(model.above_floor if model else None),
        share(driven.success if driven else None),
        number(model.off_cm if model else None, 1),
        links(*_files(run, model, to)),
    )


def _settings(run: Trained) -> tuple[Any, ...]:
    rate = NOTHING if run.learning_rate is None else f"{run.learning_rate:g}"
    losses = (NOTHING if loss is None else f"{loss:.4f}" for loss in (run.loss, run.held_out))
    known = (_known(value) for value in (run.rank or None, run.steps, run.seed, run.replay))
    return (rate, *known, *losses)


def _known(value: Any) -> Any:
    return NOTHING if value is None else value


def _files(run: Trained | None, model: Measured | None, to: To) -> list[tuple[str, str]]:
    found = [(what, to(place)) for what, place in (run.files if run else ())]
    if model:
        actions = model.actions.place if model.actions else ""
        results = (("answers", model.answers), ("trials", model.rollouts), ("open loop", actions))
        found += [(what, to(place)) for what, place in results if place]
    return found


def models_section(models: Mapping[str, Measured], training: Mapping[str, Trained], to: To) -> Section:
    """Every model that was measured, and what made it."""
    rows = []
    for model in sorted(models.values(), key=lambda each: each.name):
        run = training.get(model.weights)
        settings = _settings(run) if run else (NOTHING,) * len(SETTINGS)
        about = (run.variant or NOTHING, run.base or NOTHING) if run else (NOTHING, NOTHING)
        files = links(*((what, to(place)) for what, place in (run.files if run else ())))
        rows.append((model.name, model.weights, *about, *settings, files))
    head = ("model", "weights", "variant", "base", *SETTINGS, "training")
    text = "The weights behind each name, told apart by their fingerprint, and what is stored of their training."
    return Section("Models", (Text(text), Table(head, tuple(rows))))

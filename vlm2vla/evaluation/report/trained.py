"""What made the weights that were measured: written beside the results, so that they explain themselves anywhere.

EVALUATIONS/runs/<name>/
  config.json    as training wrote it: recipe, variant, seed, base; of weights without a run, what their folder says
  summary.json   fingerprint of the weights, losses, a thinned curve
  README.md      the model card

A run and the results of its weights find each other by the fingerprint, whatever name the model has. Knows no training
code: reads what a run wrote (`vlm2vla.training.run`).
"""

import contextlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlm2vla.errors import NotFoundError
from vlm2vla.evaluation.report.evidence import Stored
from vlm2vla.vlm.identity import identity
from vlm2vla.vlm.origin import read_origin
from vlm2vla.vlm.registry import ModelEntry, ModelRegistry
from vlm2vla.workspace import Workspace, write_atomic

_CURVE = 100
# A place on this computer, in the text of a card; addresses and fractions are none.
_PATH = re.compile(r"(?<![\w:/.])/(?:[^\s/`'\"|]+/)+")
# What a recipe says that changes nothing of what comes out; action tokens, in some stored runs, stand in the form too.
_NO_MATTER = (
    "name",
    "base",
    "action_tokens",
    "full_learning_rate",
    "save_every",
    "eval_every",
    "per_device",
    "checkpointing",
)


@dataclass(frozen=True)
class Trained:
    """What made some weights, as far as it is known.

    Attributes:
        stored: Its config.json.
        weights: Fingerprint of the model (`vlm2vla.vlm.identity`), "" where the weights were gone.
        variant: lora, full, lora-tokens, full-tokens; "" for others.
        loss, held_out: Mean of the last steps, and on held-out episodes.
        steps: Optimizer steps that were done.
        seed, learning_rate, rank, replay: Of the recipe; rank 0 without an adapter; None where nothing says.
        recipe: All settings that decide what comes out, flat; "" is None.
        ended: It came to its end.
    """

    stored: Stored
    weights: str
    variant: str
    loss: float | None
    held_out: float | None
    steps: int | None
    seed: int | None
    learning_rate: float | None
    rank: int | None
    replay: float | None
    base: str
    recipe: Mapping[str, Any]
    ended: bool

    @property
    def name(self) -> str:
        """Of the run."""
        return self.stored.path.parent.name

    @property
    def length(self) -> str:
        """How long it was trained, in words."""
        if self.steps is None:
            return ""
        return f"{self.steps} steps" + (", after others" if self.recipe.get("started from") else "")

    @property
    def files(self) -> tuple[tuple[str, str], ...]:
        """(what, place) of what is kept of it."""
        names = (("config", "config.json"), ("losses", "summary.json"), ("card", "README.md"))
        place = Path(self.stored.place).parent
        return tuple((what, f"{place}/{name}") for what, name in names if self.stored.path.with_name(name).is_file())


def trained(runs: Iterable[Stored]) -> tuple[Trained, ...]:
    """The runs that are told of beside the results."""
    return tuple(map(_trained, runs))


def by_weights(runs: Iterable[Trained]) -> dict[str, Trained]:
    """Fingerprint of weights -> what made them; of weights that a folder and a run tell of, the run knows more."""
    return {run.weights: run for run in sorted(runs, key=lambda run: bool(run.variant)) if run.weights}


def _trained(stored: Stored) -> Trained:
    config, summary = stored.value, _read(stored.path.with_name("summary.json"))
    recipe = config.get("recipe", {})
    variant = config.get("variant", "")
    rank = recipe.get("lora_rank") if variant.startswith("lora") else (0 if variant else None)
    settings = {key: value for key, value in _flat(recipe).items() if key not in _NO_MATTER} | {
        "variant": variant,
        "steps": config.get("steps"),
        "base": config.get("base_fingerprint", ""),
        "started from": config.get("start_from_fingerprint", ""),
        "labels": summary.get("labels", ""),
    }
    return Trained(
        stored=stored,
        weights=summary.get("fingerprint", ""),
        variant=variant,
        loss=summary.get("loss"),
        held_out=summary.get("held_out_loss"),
        steps=summary.get("step") or config.get("steps"),
        seed=config.get("seed"),
        learning_rate=recipe.get("learning_rate"),
        rank=rank,
        replay=recipe.get("mixture", {}).get("replay"),
        base=config.get("base_fingerprint", ""),
        recipe=settings,
        ended=summary.get("state") == "done",
    )


def note_runs(workspace: Workspace) -> None:
    """Write down beside the results what made the weights: all training runs, and the models that are no run's."""
    registry, place = ModelRegistry(workspace), workspace.evaluations / "runs"
    known = set()
    for config in sorted(workspace.runs.glob("*/config.json")):
        run = config.parent
        if _read(config).get("variant") and _is_over(run):
            known.add(_note(place / run.name, run, _read(config), _summary(run, registry, place / run.name)))
    for entry in registry.list():
        weights = identity(entry) if entry.local else ""
        if weights and weights not in known and Path(entry.path).is_dir():
            taken = (workspace.runs / entry.name / "config.json").is_file()
            folder = place / (f"{entry.name}-as-it-is" if taken else entry.name)
            _note(folder, Path(entry.path), _told_by_folder(entry), {"fingerprint": weights})


def _is_over(run: Path) -> bool:
    """It has left weights, or had them once; not so a run that goes on, or that was killed."""
    progress = _read(run / "progress.json")
    left = any((run / name).is_dir() for name in ("adapter", "model"))
    return bool(progress.get("step")) and (left or progress.get("state") == "done")


def _note(to: Path, source: Path, config: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    to.mkdir(parents=True, exist_ok=True)
    for name, values in (("config.json", config), ("summary.json", summary)):
        write_atomic(to / name, json.dumps(values, indent=1, ensure_ascii=False) + "\n")
    card = source / "README.md"
    if card.is_file():
        write_atomic(to / "README.md", _PATH.sub("", card.read_text(encoding="utf-8")))
    return str(summary["fingerprint"])


def _summary(run: Path, registry: ModelRegistry, before: Path) -> dict[str, Any]:
    """Losses of a run and the fingerprint of its weights; the one that was noted before where they are gone."""
    progress, data, checks = (_read(run / f"{name}.json") for name in ("progress", "data", "checks"))
    rows = list(_rows(run / "metrics.jsonl"))
    curve = [(row["step"], round(row["loss"], 4)) for row in rows if "loss" in row]
    held_out = [(row["step"], round(row["held_out_loss"], 4)) for row in rows if "held_out_loss" in row]
    return {
        "fingerprint": _weights(run, registry) or _read(before / "summary.json").get("fingerprint", ""),
        "state": progress.get("state", ""),
        "step": progress["step"],
        "loss": progress.get("loss"),
        "held_out_loss": held_out[-1][1] if held_out else None,
        "labels": data.get("made_by", {}).get("labels", ""),
        "samples": data.get("train", {}),
        "trainable_parameters": checks.get("trainable_parameters"),
        "curve": curve[:: max(1, len(curve) // _CURVE)],
        "held_out_curve": held_out,
    }


def _weights(run: Path, registry: ModelRegistry) -> str:
    """Fingerprint of what came out of a run; "" where it is gone, or its base is."""
    for folder in (run / "adapter", run / "model"):
        with contextlib.suppress(NotFoundError):
            if folder.is_dir():
                return identity(registry.get(str(folder)))
    return ""


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of metrics; what a kill tore is left out."""
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        with contextlib.suppress(ValueError):
            yield json.loads(line)


def _told_by_folder(entry: ModelEntry) -> dict[str, Any]:
    """What the folder of some weights tells of them; their card may say more."""
    origin, folder = read_origin(Path(entry.path)), Path(entry.path)
    told = {"model": entry.name, "kind": entry.kind, "shipped": entry.shipped}
    if origin:
        told |= {"base_fingerprint": origin.base_fingerprint, "actions": origin.actions, "form": origin.form}
    adapter = _read(folder / "adapter_config.json")
    return told | ({"rank": adapter["r"], "alpha": adapter.get("lora_alpha")} if "r" in adapter else {})


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return found

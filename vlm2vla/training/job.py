"""What a run is to train, written to the run's folder and read back from it, so that it can go on as what it was."""

import json
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vlm2vla.errors import NotFoundError, TrainingError
from vlm2vla.training.config import Mixture, Recipe
from vlm2vla.training.data import TrainingData
from vlm2vla.training.run import RunFolder, now


@dataclass(frozen=True)
class Job:
    """What is to be trained.

    Attributes:
        recipe: Settings.
        variant: lora, full, lora-tokens, full-tokens.
        base: Folder or hub id of the base.
        data: Folders of training rows.
        seed: Of everything random.
        stop_at: Stop after this step; 0 goes to the end.
        threads: Of the computation; 0 leaves it to torch.
        made_by: Settings of the samples, for data.json.
        start_from: Adapter whose weights a new run begins with.
    """

    recipe: Recipe
    variant: str
    base: str
    data: tuple[Path, ...]
    seed: int = 0
    stop_at: int = 0
    threads: int = 0
    made_by: dict[str, Any] | None = None
    start_from: Path | None = None


def remember(job: Job, run: RunFolder, data: TrainingData, steps: int) -> None:
    """Write what the run is: see `job_of`. config.json is last, since with it the run has begun."""
    run.write("data.json", data.manifest | {"made_by": job.made_by or {}})
    run.write("environment.json", _environment())
    run.write("config.json", _settings(job) | {"steps": steps, "created_at": now()})


def job_of(run: RunFolder) -> Job:
    """The job of a run as it was started, read from its folder.

    Raises:
        TrainingError: It never began, or another version of this program wrote it.
        NotFoundError: Its samples were deleted.
    """
    config, data = run.read("config.json"), run.read("data.json")
    if not config:
        raise TrainingError(f"run {run.name} never began; start it again, without --resume")
    try:
        folders = tuple(Path(entry["folder"]) for entry in data["sets"])
        start_from = Path(config["start_from_folder"]) if config.get("start_from_folder") else None
        recipe, variant, seed = _recipe(config["recipe"]), config["variant"], config["seed"]
        job = Job(recipe, variant, config["base"], folders, seed, start_from=start_from)
    except (KeyError, TypeError) as error:
        raise TrainingError(f"run {run.name} was started by another version of this program: {error}") from error
    for folder in folders:
        if not folder.is_dir():
            raise NotFoundError(f"the samples of run {run.name} are gone ({folder})")
    return job


def check_same(job: Job, run: RunFolder) -> None:
    """A run goes on as what it was started as; see also `check_same_samples`.

    Raises:
        TrainingError: Another base or other settings than the run was started with.
    """
    before, settings = run.read("config.json"), _settings(job)
    before["recipe"] = asdict(job_of(run).recipe)  # with what has been added to recipes since
    moved = bool(settings["base_fingerprint"])  # the same weights may lie in another folder now
    same = {"base_fingerprint": "base", "recipe": "recipe", "variant": "variant", "seed": "seed"}
    if run.last_checkpoint() is None:  # else its weights are in there
        same["start_from_fingerprint"] = "adapter to start from"
    for name, what in same.items():
        if _plain(before.get(name), moved) != _plain(settings[name], moved):
            raise TrainingError(
                f"run {run.name} was started with another {what} ({_short(before.get(name))}, now "
                f"{_short(settings[name])}); resume it with the same, or start a new run"
            )


def check_same_samples(run: RunFolder, data: TrainingData) -> None:
    """A run goes on with the samples that it was started with: their order follows from how many there are.

    Args:
        run: With its data.json.
        data: Without samples that are too long, as `remember` wrote it.

    Raises:
        TrainingError: Other rows, or other ones of them that can be used.
    """
    before, again = run.read("data.json"), data.manifest
    hashes, hashes_again = ([entry.get("rows_sha256") for entry in of.get("sets", [])] for of in (before, again))
    if hashes != hashes_again:
        raise TrainingError(f"run {run.name} was started on other samples; start a new run")
    told, told_again = _usable(before), _usable(again)
    differ = [
        f"{name}: {_short(value)}, now {_short(told_again[name])}"
        for name, value in told.items()
        if value is not None and value != told_again[name]
    ]
    if differ:
        raise TrainingError(
            f"run {run.name} could use other samples when it was started ({'; '.join(differ)}); see to it that the "
            "same pictures can be read, or start a new run"
        )


def _usable(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What data.json says of the samples that are learned from, and of the others."""
    told = {"left out": manifest.get("left_out")}
    for part in ("train", "held_out"):
        counts = manifest.get(part, {})
        told |= {f"{what} of {part.replace('_', ' ')}": counts.get(what) for what in ("rows", "groups")}
    return told


def _recipe(saved: Mapping[str, Any]) -> Recipe:
    return Recipe(**saved | {"mixture": Mixture(**saved["mixture"]), "betas": tuple(saved["betas"])})


def _settings(job: Job) -> dict[str, Any]:
    return {
        "recipe": asdict(job.recipe),
        "variant": job.variant,
        "seed": job.seed,
        "base": job.base,
        "base_fingerprint": _fingerprint(Path(job.base)),
        "start_from": job.start_from.name if job.start_from else "",
        "start_from_folder": str(job.start_from or ""),
        "start_from_fingerprint": _fingerprint(job.start_from),
    }


def _fingerprint(weights: Path | None) -> str:
    """Of weights on disk; "" for those of a hub."""
    from vlm2vla.vlm.origin import fingerprint

    return fingerprint(weights) if weights and weights.is_dir() else ""


def _environment() -> dict[str, Any]:
    from importlib.metadata import version

    import torch

    packages = ("torch", "transformers", "peft", "trl", "accelerate", "datasets", "numpy")
    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": gpus,
        "command": " ".join(sys.argv[1:]),
    }


def _plain(value: Any, any_place: bool) -> Any:
    """As it comes back from JSON; without the place of the base where that does not matter."""
    read = json.loads(json.dumps(value))
    if any_place and isinstance(read, dict):
        read.pop("base", None)
    return read


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) < 60 else f"{text[:57]}..."

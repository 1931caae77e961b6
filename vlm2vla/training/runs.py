"""The runs of a workspace: all of them, one by its name, a new one, several side by side."""

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import count
from typing import Any

from vlm2vla.config import did_you_mean
from vlm2vla.errors import ConfigError, NotFoundError, TrainingError
from vlm2vla.training.run import RunFolder
from vlm2vla.workspace import Workspace

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,80}")


def runs(workspace: Workspace) -> list[RunFolder]:
    """All runs, the newest last; damaged ones too, of which `RunFolder.summary` says so."""
    found = [run for path in workspace.runs.glob("*/") if _is_run(run := RunFolder(path))]
    return sorted(found, key=_age)


def find_run(workspace: Workspace, name: str) -> RunFolder:
    """The run called `name`.

    Raises:
        NotFoundError: There is none.
    """
    run = RunFolder(workspace.runs / name)
    if not _NAME.fullmatch(name) or not _is_run(run):
        known = [run.name for run in runs(workspace)]
        raise NotFoundError(f"no run {name!r}; {did_you_mean(name, known)}" if known else "there are no runs yet")
    return run


def new_run(workspace: Workspace, name: str, stem: str) -> RunFolder:
    """A folder for a new run: `name`, or the next free number behind `stem`. A run that never began leaves its name.

    Raises:
        ConfigError: The name is taken or cannot be one.
    """
    if not name:
        for number in count(1):
            path = workspace.runs / f"{stem}-{number:03d}"
            with suppress(FileExistsError):
                path.mkdir()
                return RunFolder(path)
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} cannot be the name of a run; use letters, digits, dots and dashes")
    run = RunFolder(workspace.runs / name)
    if run.begun:
        raise ConfigError(f"there is a run {name!r} already; add --resume, or choose another name")
    run.path.mkdir(exist_ok=True)
    return run


def newest_run(workspace: Workspace, preset: str, variant: str) -> RunFolder:
    """The newest run of this preset and variant that is not complete.

    Raises:
        NotFoundError: There is none.
    """
    for run in reversed(runs(workspace)):
        config = _settings(run)
        same = config.get("recipe", {}).get("name") == preset and config.get("variant") == variant
        if same and run.progress().state != "done":
            return run
    raise NotFoundError(f"no unfinished run of {preset} {variant} to resume; start one without --resume")


def compare(found: Iterable[RunFolder]) -> dict[str, Any]:
    """Runs side by side: what differs in their settings, and their losses at common steps."""
    folders = list(found)
    settings = {run.name: _flat(_settings(run)) for run in folders}
    names = sorted({key for values in settings.values() for key in values})
    differ = {
        name: {run: values.get(name) for run, values in settings.items()}
        for name in names
        if name not in ("created_at",) and len({json.dumps(values.get(name)) for values in settings.values()}) > 1
    }
    curves = {
        run.name: [[row["step"], row["loss"]] for row in run.metrics() if "loss" in row and "step" in row]
        for run in folders
    }
    return {"runs": [run.summary() for run in folders], "differ": differ, "curves": curves}


def _is_run(run: RunFolder) -> bool:
    """Whether it has said its first word."""
    return run.begun or (run.path / "progress.json").is_file()


def _settings(run: RunFolder) -> dict[str, Any]:
    """config.json; {} where it is not there, or damaged."""
    with suppress(TrainingError):
        return run.read("config.json")
    return {}


def _age(run: RunFolder) -> tuple[str, str]:
    return _settings(run).get("created_at") or run.progress().updated_at, run.name


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found

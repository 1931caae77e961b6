"""Training in a process of its own, by the same command that a person would type: it outlives whoever started it."""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace

from vlm2vla.errors import ConfigError, TrainingError
from vlm2vla.training.config import PRESETS, VARIANTS
from vlm2vla.training.run import Progress, RunFolder
from vlm2vla.training.runs import find_run, new_run
from vlm2vla.workspace import Workspace

LAUNCHED = "launched.json"  # the flags of a run that has not begun, to start it once more


def launch(
    workspace: Workspace,
    preset: str,
    variant: str,
    *,
    base_model: str = "",
    dataset: str = "",
    include_unreviewed: bool = False,
    steps: int = 0,
    learning_rate: float = 0.0,
) -> str:
    """Start a run; returns its name at once.

    Args:
        workspace: Whose labels.
        preset: Base model and schedule.
        variant: lora or full, in words or in action tokens.
        base_model: Another base than the preset's.
        dataset: Only episodes of this data set.
        include_unreviewed: Also labels that nobody accepted.
        steps: Optimizer steps; 0 takes the preset's.
        learning_rate: 0 takes the preset's.

    Raises:
        ConfigError: A preset or variant that is not there, or numbers that cannot be.
    """
    if preset not in PRESETS or variant not in VARIANTS:
        raise ConfigError(f"no run of preset {preset!r} and variant {variant!r}; choose from the lists")
    if steps < 0 or learning_rate < 0:
        raise ConfigError("steps and learning rate cannot be negative")
    arguments = ["--preset", preset, "--variant", variant]
    for flag, value in (("--base-model", base_model.strip()), ("--dataset", dataset.strip())):
        arguments += [flag, value] if value else []
    arguments += ["--steps", str(steps)] if steps else []
    arguments += ["--learning-rate", repr(learning_rate)] if learning_rate else []
    arguments += ["--include-unreviewed"] if include_unreviewed else []
    run = new_run(workspace, "", f"{preset}-{variant}")
    run.write(LAUNCHED, {"arguments": arguments})
    _spawn(workspace, run, arguments)
    return run.name


def resume(workspace: Workspace, name: str) -> None:
    """Go on with a run that was stopped or killed, with the settings that it was started with, wherever that was.

    Raises:
        NotFoundError: No such run.
        TrainingError: It is running, complete or damaged, or it never began and was not started here.
    """
    run = find_run(workspace, name)
    run.check_idle()
    arguments = ["--resume"] if run.read("config.json") else run.read(LAUNCHED).get("arguments")
    if not arguments:
        raise TrainingError(f"run {name} never began; start it again where it was started, with train --run {name}")
    _spawn(workspace, run, arguments)


def stop(workspace: Workspace, name: str) -> None:
    """Ask a run to end after its current step, with a checkpoint; while it makes its samples, before the next one.

    Raises:
        NotFoundError: No such run.
        TrainingError: It is not running.
    """
    find_run(workspace, name).ask_to_stop()


def log_tail(workspace: Workspace, name: str, lines: int = 12) -> str:
    """The end of what the process said; "" where there is nothing."""
    try:
        with (workspace.logs / f"{name}.log").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 8000))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(line.rsplit("\r", 1)[-1] for line in text.splitlines()[-lines:])


def curve(run: RunFolder) -> list[tuple[int, str, float]]:
    """(step, "training" or "held out", loss) rows of a run."""
    rows = []
    for row in run.metrics():
        for key, kind in (("loss", "training"), ("held_out_loss", "held out")):
            if key in row and "step" in row:
                rows.append((row["step"], kind, row[key]))
    return rows


def _spawn(workspace: Workspace, run: RunFolder, arguments: Sequence[str]) -> None:
    run.stop_file.unlink(missing_ok=True)
    with (workspace.logs / f"{run.name}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "vlm2vla", "train", *arguments]
            + ["--run", run.name, "--workspace", str(workspace.root), "--json"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in the studio's terminal does not reach it
        )
    before = run.progress() if run.begun else Progress()
    run.tell(replace(before, state="starting", seconds_left=None, message="", pid=process.pid))
    # Without somebody waiting for it, a process that ended would go on looking alive.
    threading.Thread(target=process.wait, name=f"wait-{run.name}", daemon=True).start()

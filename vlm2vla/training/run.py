"""A run is a folder: what was asked, what happened, what came out. Reading and writing it needs no torch.

RUNS/<name>/
  config.json       recipe, variant, seed, base and its fingerprint
  environment.json  versions, computer, command
  data.json         which samples, from where, how many, what was left out and why
  checks.json       what was made sure of before and after
  metrics.jsonl     one row per step (loss, learning_rate, ...); held-out loss in between
  progress.json     where it stands, for whoever watches; rewritten every step
  checkpoints/      to go on from; removed when the run is complete
  adapter/ | model/ the result
  README.md         the model card
  stop              a file of this name ends the run after the current step
  lock              held by the process that is at it

A folder without config.json is a run that has not begun: its samples are being made, or could not be.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal

from vlm2vla.errors import TrainingError
from vlm2vla.workspace import write_atomic

State = Literal["starting", "preparing", "training", "saving", "done", "stopped", "failed", "killed", "damaged"]
ALIVE: tuple[State, ...] = ("starting", "preparing", "training", "saving")
COMPLETE = "complete"
_RECENT = 20  # steps whose mean loss is told
# Who only looks whether a lock is held takes it for an instant; who wants it tries for so long.
_LOCK_S, _LOCK_TRIES = 0.05, 20


@dataclass(frozen=True)
class Progress:
    """Where a run stands.

    Attributes:
        state: "starting" until the process that was launched takes hold of the run; "killed" is said by readers: the
            process is gone without a word; "damaged" too: what it was started as cannot be read.
        step, steps: Done, and in all.
        loss: Mean over the last steps; None before the first.
        samples_per_s: Answers learned from per second.
        seconds_left: At this pace; None before the first step.
        message: For people: what is being done, or what went wrong.
        pid: The process.
        updated_at: ISO 8601, UTC.
    """

    state: State = "preparing"
    step: int = 0
    steps: int = 0
    loss: float | None = None
    samples_per_s: float | None = None
    seconds_left: float | None = None
    message: str = ""
    pid: int = 0
    updated_at: str = ""


class RunFolder:
    """One run on disk; safe to read while it is written.

    Attributes:
        path: The folder.
    """

    def __init__(self, path: Path):
        self.path = path

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.path.name

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints are."""
        return self.path / "checkpoints"

    @property
    def stop_file(self) -> Path:
        """Its being there ends the run."""
        return self.path / "stop"

    @property
    def begun(self) -> bool:
        """Whether it has settings and samples to go on with."""
        return (self.path / "config.json").is_file()

    @property
    def result(self) -> Path | None:
        """Folder of the weights that came out, None before."""
        for name in ("adapter", "model"):
            if (self.path / name).is_dir():
                return self.path / name
        return None

    def read(self, name: str) -> dict[str, Any]:
        """A JSON file of the run, {} where it is not there.

        Raises:
            TrainingError: It is damaged.
        """
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise TrainingError(f"{self.path / name} cannot be read: {error}") from error

    def write(self, name: str, values: Mapping[str, Any], *, durable: bool = True) -> None:
        """Write a JSON file of the run at once; see `write_atomic` for what a power cut leaves of it."""
        write_atomic(self.path / name, json.dumps(values, indent=1, ensure_ascii=False) + "\n", durable=durable)

    def progress(self) -> Progress:
        """Where it stands."""
        row = self._told()
        known = {field.name for field in fields(Progress)}
        progress = Progress(**{key: value for key, value in row.items() if key in known})
        if progress.state in ALIVE and not self._has_a_process(progress):
            return replace(progress, state="killed", message="the process ended without a word")
        return progress

    def tell(self, progress: Progress) -> None:
        """Write where it stands; the process is this one, unless another is named."""
        row = asdict(progress) | {"pid": progress.pid or os.getpid(), "updated_at": now()}
        self.write("progress.json", row, durable=progress.state not in ALIVE)  # no step waits for the disk

    def end(self, state: State, message: str) -> None:
        """Write how it ended; how far it was stays."""
        self.tell(replace(self.progress(), state=state, seconds_left=None, message=message, pid=os.getpid()))

    def ask_to_stop(self) -> None:
        """Ask its process to end after the current step.

        Raises:
            TrainingError: There is none.
        """
        if self.progress().state not in ALIVE:
            raise TrainingError(f"run {self.name} is not running")
        self.stop_file.touch()

    def check_idle(self) -> None:
        """Make sure that somebody may work on it.

        Raises:
            TrainingError: Another process does, or it is complete.
        """
        progress = self.progress()
        if progress.state in ALIVE and progress.pid != os.getpid():
            raise TrainingError(f"run {self.name} is running")
        self._check_incomplete()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Within the block nobody else works on it, on this computer.

        Raises:
            TrainingError: Another process does, or it is complete.
        """
        self.check_idle()
        with (self.path / "lock").open("a") as file:
            if not _locked(file):
                raise TrainingError(f"run {self.name} is running")
            self._check_incomplete()  # in between
            if self._told().get("pid") != os.getpid():  # a process that was launched is named there
                self.stop_file.unlink(missing_ok=True)  # it was meant for another one
            yield

    def _told(self) -> dict[str, Any]:
        """progress.json; {} where a power cut has left it damaged: what was done, its checkpoints tell."""
        with suppress(TrainingError):
            return self.read("progress.json")
        return {}

    def _check_incomplete(self) -> None:
        if self._told().get("state") == "done":
            raise TrainingError(f"run {self.name} is complete; a new run can go on from it with --start-from")

    def _has_a_process(self, progress: Progress) -> bool:
        """Whether a process holds it; before it does (and where an older version trains) whether there is one."""
        try:
            file = (self.path / "lock").open()
        except FileNotFoundError:
            return is_alive(progress.pid)
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return progress.state == "starting" and is_alive(progress.pid)

    def metrics(self) -> list[dict[str, Any]]:
        """All rows; a torn last line is left out."""
        rows = []
        try:
            lines = (self.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        for line in lines:
            try:
                rows.append(json.loads(line))
            except ValueError:
                continue
        return rows

    def add_metrics(self, row: Mapping[str, Any]) -> None:
        """One more row."""
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def forget_after(self, step: int) -> None:
        """Drop the rows of later steps: they will be done again."""
        rows = [row for row in self.metrics() if row.get("step", 0) <= step]
        write_atomic(self.path / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))

    def recent_loss(self) -> float | None:
        """Mean loss of the last steps, None before the first."""
        losses = [row["loss"] for row in self.metrics() if "loss" in row][-_RECENT:]
        return sum(losses) / len(losses) if losses else None

    def last_checkpoint(self) -> Path | None:
        """The newest checkpoint that was written to its end."""
        found = [path for path in self.checkpoints.glob("checkpoint-*") if (path / COMPLETE).is_file()]
        return max(found, key=lambda path: int(path.name.split("-")[1]), default=None)

    def summary(self) -> dict[str, Any]:
        """One row about the run: name, what it is, where it stands, its losses. Of a damaged one, what is left."""
        progress, rows = self.progress(), self.metrics()
        try:
            config = self.read("config.json")
        except TrainingError as error:
            config, progress = {}, replace(progress, state="damaged", message=f"{error}; start a new run")
        held_out = [row["held_out_loss"] for row in rows if "held_out_loss" in row]
        recipe = config.get("recipe", {})
        return {
            "run": self.name,
            "preset": recipe.get("name", ""),
            "variant": config.get("variant", ""),
            "base": config.get("base", ""),
            "state": progress.state,
            "step": progress.step,
            "steps": progress.steps,
            "loss": progress.loss,
            "held_out_loss": held_out[-1] if held_out else None,
            "learning_rate": recipe.get("learning_rate"),
            "samples_per_s": progress.samples_per_s,
            "seconds_left": progress.seconds_left,
            "message": progress.message,
            "result": str(self.result) if self.result else "",
            "created_at": config.get("created_at", ""),
        }


def now() -> str:
    """ISO 8601, UTC, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def is_alive(pid: int) -> bool:
    """Whether there is a process of that number."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return False
    except PermissionError:
        return True
    return pid > 0


def _locked(file: IO[str]) -> bool:
    """Take the lock of a run for as long as the file is open; False where another process has it."""
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOCK_S)
        else:
            return True
    return False

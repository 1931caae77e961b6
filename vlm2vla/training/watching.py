"""Tells the run folder about every step, looks at the held-out loss, and ends a run that is asked to stop."""

import math
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from vlm2vla.errors import ModelFaultError
from vlm2vla.training.run import COMPLETE, Progress, RunFolder

_RECENT = 20

Told = Callable[[Progress], None] | None


class Watch(TrainerCallback):
    """Writes metrics.jsonl and progress.json, marks complete checkpoints, stops when asked.

    Args:
        run: The run.
        steps: Of the whole run.
        stop_at: Stop after this step; 0 goes to the end.
        rows: Answers between two steps (first, last], for samples per second.
        look: Gives the held-out loss, or None where nothing is held out.
        look_every: Steps between looks.
        stopped: Set from outside to end the run.
        told: Told of every progress.
    """

    def __init__(
        self,
        run: RunFolder,
        steps: int,
        *,
        stop_at: int,
        rows: Callable[[int, int], int],
        look: Callable[[], float] | None,
        look_every: int,
        stopped: threading.Event,
        told: Told = None,
    ):
        self._run, self._steps, self._stop_at, self._rows = run, steps, stop_at, rows
        self._look, self._look_every, self._stopped, self._told = look, look_every, stopped, told
        self._seconds: deque[tuple[float, int]] = deque(maxlen=_RECENT)
        self._losses: deque[float] = deque(maxlen=_RECENT)
        self._began = 0.0
        self.steps_done, self.samples, self.seconds = 0, 0, 0.0

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Clock on. Reading samples counts as training; saving and looking at the held-out loss do not."""
        self._began = time.perf_counter()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Clock off; is it time to stop?"""
        taken = time.perf_counter() - self._began
        rows = self._rows(state.global_step - 1, state.global_step)
        self._seconds.append((taken, rows))
        self.steps_done += 1
        self.samples, self.seconds = self.samples + rows, self.seconds + taken
        asked = self._stopped.is_set() or self._run.stop_file.exists()
        if asked or (self._stop_at and state.global_step >= self._stop_at):
            control.should_training_stop = True
            control.should_save = True
        self._began = time.perf_counter()

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict | None = None, **_: Any
    ) -> None:
        """One row of metrics; ends a run whose loss is no number."""
        logs = logs or {}
        if "loss" not in logs:
            return
        loss = float(logs["loss"])
        row = {"step": state.global_step, "loss": loss, "learning_rate": logs.get("learning_rate")}
        if "grad_norm" in logs:
            row["grad_norm"] = float(logs["grad_norm"])
        if self._seconds:
            row |= {"samples": self._seconds[-1][1], "seconds": round(self._seconds[-1][0], 4)}
        self._run.add_metrics(row)
        if not math.isfinite(loss):
            raise ModelFaultError(
                f"the loss of step {state.global_step} is {loss}; start a new run with a smaller --learning-rate"
            )
        self._losses.append(loss)
        self._tell(Progress("training", state.global_step, self._steps, **self._pace(state.global_step)))
        if self._look and state.global_step % self._look_every == 0:
            self._run.add_metrics({"step": state.global_step, "held_out_loss": self._look()})
        self._began = time.perf_counter()

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """A checkpoint without this mark was not written to its end."""
        folder = self._run.checkpoints / f"checkpoint-{state.global_step}"
        if folder.is_dir():
            (folder / COMPLETE).touch()
        self._began = time.perf_counter()

    @property
    def loss(self) -> float | None:
        """Mean loss of the last steps."""
        return sum(self._losses) / len(self._losses) if self._losses else None

    @property
    def samples_per_s(self) -> float | None:
        """Answers per second over all steps of this process."""
        return self.samples / self.seconds if self.seconds else None

    def _pace(self, step: int) -> dict[str, float | None]:
        taken = sum(seconds for seconds, _ in self._seconds)
        rows = sum(count for _, count in self._seconds)
        per_step = taken / max(len(self._seconds), 1)
        return {
            "loss": self.loss,
            "samples_per_s": rows / taken if taken else None,
            "seconds_left": per_step * (self._steps - step),
        }

    def _tell(self, progress: Progress) -> None:
        self._run.tell(progress)
        if self._told:
            self._told(progress)


@contextmanager
def stop_on_signals(stopped: threading.Event) -> Iterator[None]:
    """SIGTERM and the first Ctrl-C end the run after the current step; the second Ctrl-C at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _frame: object) -> None:
        if number == signal.SIGINT and stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

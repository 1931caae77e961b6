"""Long work that a page starts and then watches: one job at a time, in a thread of its own."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from vlm2vla.errors import AnnotationError, VLM2VLAError

log = logging.getLogger(__name__)

Work = Callable[[Callable[[int, int | None], None]], dict[str, Any]]


@dataclass(frozen=True)
class Job:
    """How far a job is.

    Attributes:
        name: What it does, in words.
        state: What became of it; "stopped" keeps what was done until then.
        done, total: Episodes; total is None while it is not known.
        report: The result, when done.
        error: Why it failed, in words.
    """

    name: str
    state: Literal["running", "done", "failed", "stopped"] = "running"
    done: int = 0
    total: int | None = None
    report: dict[str, Any] | None = None
    error: str = ""


class Jobs:
    """Runs one job after the other; the newest one can be looked at until the next one starts."""

    def __init__(self):
        self._lock = threading.Lock()
        self._job: Job | None = None
        self._stop = threading.Event()

    def start(self, name: str, work: Work) -> Job:
        """Begin `work` in the background.

        Raises:
            AnnotationError: Another job is running.
        """
        with self._lock:
            if self._job and self._job.state == "running":
                raise AnnotationError(f"{self._job.name} is still running; wait for it or stop it")
            self._stop.clear()
            self._job = Job(name)
        threading.Thread(target=self._run, args=(work,), name=name, daemon=True).start()
        return self._job

    def current(self) -> Job | None:
        """The running job, or the last one."""
        return self._job

    def stop(self) -> None:
        """Ask the running job to end as Ctrl-C would: what is done is kept."""
        self._stop.set()

    def _run(self, work: Work) -> None:
        try:
            report = work(self._progress)
            # Some work ends early by itself when it is stopped, and still has a report.
            self._set(state="stopped" if self._stop.is_set() else "done", report=report)
        except KeyboardInterrupt:
            self._set(state="stopped")
        except VLM2VLAError as error:
            self._set(state="failed", error=str(error))
        except Exception:
            log.exception("%s failed", self._job and self._job.name)
            self._set(state="failed", error="Something went wrong; logs/studio.log in the workspace says what.")

    def _progress(self, done: int, total: int | None) -> None:
        self._set(done=done, total=total)
        if self._stop.is_set():
            raise KeyboardInterrupt

    def _set(self, **changes: Any) -> None:
        with self._lock:
            self._job = replace(self._job, **changes)

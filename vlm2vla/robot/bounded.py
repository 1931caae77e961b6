"""Calls that may never return, with a limit on the wait.

A driver that waits for a mute board can hang for ever, and some drivers end the process (`SystemExit`) instead of
raising an error. `bounded` runs such a call on a thread of its own: whatever happens in there, the caller goes on.
"""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from vlm2vla.errors import RobotError

T = TypeVar("T")


def bounded(what: str, seconds: float, call: Callable[[], T]) -> T:
    """`call()`, given up after `seconds`; the thread of a call that hangs is left behind (it dies with the process).

    Args:
        what: For the error: "the push to the motors".
        seconds: Longest wait.
        call: What to run.

    Raises:
        RobotError: It did not return in time, or raised anything at all, `SystemExit` included.
    """
    outcome: dict[str, Any] = {}
    done = threading.Event()

    def run() -> None:
        try:
            outcome["value"] = call()
        except BaseException as error:  # SystemExit from a driver must not end anything here
            outcome["error"] = error
        finally:
            done.set()

    threading.Thread(target=run, name=f"bounded: {what}", daemon=True).start()
    if not done.wait(seconds):
        raise RobotError(f"{what} did not return within {seconds:g} s")
    if "error" in outcome:
        error = outcome["error"]
        detail = f": {error}" if str(error) else ""
        raise RobotError(f"{what} failed with {type(error).__name__}{detail}") from error
    return outcome["value"]

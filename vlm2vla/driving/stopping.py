"""STOP: sent at once, told once more when the robot confirmed it or failed to. Needs no lease and waits for nobody."""

import itertools
import logging
import threading
from collections.abc import Callable
from typing import Any

from vlm2vla.driving.event_log import EventLog
from vlm2vla.driving.robots import Connected
from vlm2vla.driving.run import Run

log = logging.getLogger(__name__)
JSON = dict[str, Any]
Tell = Callable[[JSON], None]


class Stops:
    """Every STOP of a studio, numbered.

    Args:
        events: Where it is told.

    Attributes:
        pressed: Number of the newest one; what begins meanwhile compares it.
    """

    def __init__(self, events: EventLog):
        self._events = events
        self._numbers = itertools.count(1)
        self.pressed = 0

    def press(self, by: str, now: Callable[[], tuple[Run | None, Connected | None]], tell: Tell | None = None) -> JSON:
        """Stop what is under way; returns the record "sent" at once.

        Args:
            by: Who pressed it.
            now: The newest run and the open robot. Asked after `pressed` has changed: a run that begins at this
                moment is either seen here, or sees that.
            tell: Called once more, from another thread, when the robot confirmed or failed to.
        """
        began, number = self._events.now(), next(self._numbers)
        self.pressed = number
        run, connected = now()
        if run is not None and not run.over:
            run.reins.stopped.set()

        def told(state: str, message: str = "") -> JSON:
            took = round((self._events.now() - began) * 1000, 1)
            under_way = run.plan.id if run is not None and not run.over else ""
            return self._events.add("stop", run=under_way, stop=number, state=state, ms=took, by=by, message=message)

        def stop() -> None:
            record = told(*_stop(by, run, connected))
            if tell is not None:
                tell(record)

        sent = told("sent")
        threading.Thread(target=stop, name="STOP", daemon=True).start()
        return sent


def _stop(by: str, run: Run | None, connected: Connected | None) -> tuple[str, str]:
    """Stop it, and say how that went: "confirmed", "nothing" or "failed", and why."""
    try:
        if run is not None and not run.over:
            still = run.stop(f"stopped by {by}")
        elif connected is not None:
            still = connected.robot.stop()
        else:
            return "nothing", "no robot is connected"
    except Exception as error:
        log.exception("STOP")
        return "failed", f"the stop failed ({error}): press the run-stop at the robot"
    return ("confirmed", "") if still else ("failed", "the robot did not confirm: press the run-stop at the robot")

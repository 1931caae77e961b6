"""The robot that is open, or being opened: that takes long, goes on in a thread of its own and is told by records."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vlm2vla.driving import robots
from vlm2vla.driving.event_log import EventLog
from vlm2vla.driving.robots import Connected
from vlm2vla.errors import ConfigError, RobotError, VLM2VLAError

log = logging.getLogger(__name__)
JSON = dict[str, Any]


class RobotInHand:
    """One robot at a time, or none. Who may open it, and when, is the service's business.

    Args:
        keys: Folder with the keys of links.
        events: Where it is told that something did not work.
        open_robot: Opens a robot.
        came: Called when another one is open.
        changed: Called with the parts of the state that are different now.

    Attributes:
        connected: The robot that is open.
        opening: What is being opened, for a page.
        confirmed: Checks that a person said are so.
    """

    def __init__(
        self,
        keys: Path,
        events: EventLog,
        open_robot: Callable[..., Connected],
        came: Callable[[], None],
        changed: Callable[..., None],
    ):
        self._keys, self._events, self._open_robot = keys, events, open_robot
        self._came, self._changed = came, changed
        self.connected: Connected | None = None
        self.opening: JSON | None = None
        self.confirmed: frozenset[str] = frozenset()

    def need(self) -> Connected:
        """The robot that is open.

        Raises:
            RobotError: None is.
        """
        if self.connected is None:
            raise RobotError("no robot is open; choose one first")
        return self.connected

    def simulated(self, what: str) -> Any:
        """The open robot, whose run-stop may be pressed and released from here; `what` is the verb's stem.

        Raises:
            RobotError: None is open, or a real one.
        """
        connected = self.need()
        if connected.stage is None:
            raise RobotError(f"a real run-stop is only ever {what}d at the robot, with the button on it")
        return connected.robot

    def announce(self, robot: str, message: str) -> None:
        """From here on, `robot` is being opened; `open` or `change_scene` must follow."""
        self.opening = {"id": robot, "message": message}

    def open(self, wish: JSON, name: str) -> None:
        """Open a robot in the background; what was open is closed first."""

        def work() -> None:
            if (before := self.let_go()) is not None:
                before.close()
            self._put(self._open_robot(wish, self._keys, name))

        self._in_background(work)

    def change_scene(self, connected: Connected, task: str, seed: int) -> None:
        """Another scene, in the background."""
        self._in_background(lambda: self._put(robots.change_scene(connected, task, seed)))

    def let_go(self) -> Connected | None:
        """None is open any more; the one that was, for the caller to close."""
        before, self.connected = self.connected, None
        self.doubt()
        return before

    def confirm(self, check: str) -> None:
        """A person says that a check is so.

        Raises:
            ConfigError: Nothing that a person can say.
        """
        if check != "space":
            raise ConfigError(f"{check[:40]!r} is nothing that a person confirms")
        self.confirmed |= {check}
        self._changed("checks")

    def doubt(self) -> None:
        """What a person said may not be so any more: somebody has to look and say it again."""
        if self.confirmed:
            self.confirmed = frozenset()
            self._changed("checks")

    def _put(self, connected: Connected) -> None:
        self.connected = connected
        self.doubt()
        self._came()

    def _in_background(self, work: Callable[[], None]) -> None:
        self._changed("opening")

        def run() -> None:
            try:
                work()
            except VLM2VLAError as error:
                self._events.add("note", level="warning", text=str(error))
            except Exception as error:
                log.exception("opening a robot")
                self._events.add("note", level="warning", text=f"this did not work: {type(error).__name__}: {error}")
            finally:
                self.opening = None
                self._changed("robot", "opening", "checks", "run")

        threading.Thread(target=run, name="open a robot", daemon=True).start()

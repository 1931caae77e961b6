"""A robot that can be stopped for good: after `halt`, no action begins any more. One per run.

A stop that comes between the check of a flag and the action that follows it must not be lost, so what is confirmed is
that the robot stands still *and* that no action is under way or will begin.
"""

import threading
import time

import numpy as np

from vlm2vla.robot import ActionResult, Observation, Robot, RobotStatus

CONFIRM_S = 5.0


class Reins:
    """The `Robot` protocol in front of a robot.

    Attributes:
        stopped: Set by `halt`; the loop looks at it too.
    """

    def __init__(self, robot: Robot):
        self.robot = robot
        self.name, self.embodiment, self.simulated = robot.name, robot.embodiment, robot.simulated
        self.stopped = threading.Event()
        self._acting = False
        self._state = threading.Condition()

    def observe(self) -> Observation:
        """See `Robot.observe`."""
        return self.robot.observe()

    def status(self) -> RobotStatus:
        """See `Robot.status`."""
        return self.robot.status()

    def act(self, action: np.ndarray, *, timeout_s: float = 10.0) -> ActionResult:
        """See `Robot.act`; "stopped" once it was halted."""
        with self._state:
            if self.stopped.is_set():
                return ActionResult("stopped", message="stopped by the operator")
            self._acting = True
        try:
            return self.robot.act(action, timeout_s=timeout_s)
        finally:
            with self._state:
                self._acting = False
                self._state.notify_all()

    def stop(self) -> bool:
        """See `Robot.stop`."""
        return self.robot.stop()

    def halt(self) -> bool:
        """Stop, and let nothing begin any more; True once the robot has confirmed both."""
        self.stopped.set()
        until = time.monotonic() + CONFIRM_S
        while time.monotonic() < until:
            if not self.robot.stop():
                return False
            with self._state:
                if self._state.wait_for(lambda: not self._acting, 0.02):
                    return True
        return False

    def close(self) -> None:
        """The robot belongs to the session, not to the run."""

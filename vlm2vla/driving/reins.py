"""A robot that can be stopped for good: after `halt`, no action begins any more. One per run.

A stop that comes between the check of a flag and the action that follows it must not be lost, so what is confirmed is
that the robot stands still *and* that no action is under way or will begin.
"""

import contextlib
import threading
import time
from collections.abc import Callable

import numpy as np

from vlm2vla.errors import RobotError
from vlm2vla.robot import ActionResult, Observation, Robot, RobotStatus

CONFIRM_S = 5.0


class Reins:
    """The `Robot` protocol in front of a robot.

    Attributes:
        stopped: Set by `halt`; the loop looks at it too.
    """

    def __init__(self, robot: Robot, sampled: Callable[[Observation], None] | None = None, every_s: float = 0.2):
        """Nothing moves yet.

        Args:
            robot: What moves.
            sampled: Shown the robot in mid-motion, on the thread that acts; None when nobody wants that, or looking
                would disturb.
            every_s: How often, in seconds of motion: what is left of a span goes on with the next action.
        """
        self.robot = robot
        self._sampled, self._every_s, self._left_s = sampled, every_s, every_s
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
            if self._sampled is None:
                return self.robot.act(action, timeout_s=timeout_s)
            return self._act_watched(action, timeout_s, self._sampled)
        finally:
            with self._state:
                self._acting = False
                self._state.notify_all()

    def _act_watched(
        self, action: np.ndarray, timeout_s: float, sampled: Callable[[Observation], None]
    ) -> ActionResult:
        """The motion in a thread of its own, and meanwhile a look every now and then in this one."""
        results: list[ActionResult] = []
        motion = threading.Thread(
            target=lambda: results.append(self.robot.act(action, timeout_s=timeout_s)), name="motion", daemon=True
        )
        motion.start()
        due = time.monotonic() + self._left_s
        try:
            while motion.is_alive():
                motion.join(max(0.0, due - time.monotonic()))
                if motion.is_alive():
                    with contextlib.suppress(RobotError):  # what cannot be seen is missing from the recording, no more
                        sampled(self.robot.observe())
                    due = max(due + self._every_s, time.monotonic())
        except BaseException:
            self.robot.stop()
            motion.join()
            raise
        self._left_s = min(max(0.0, due - time.monotonic()), self._every_s)
        return results[0] if results else ActionResult("fault", message="the motion broke off; see the log")

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

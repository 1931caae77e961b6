"""A robot behind the safety rules. Knows the `Robot` protocol and `Rules`; no policy, no driver."""

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from vlm2vla.errors import RobotError
from vlm2vla.robot.protocol import ActionResult, Observation, Robot, RobotStatus
from vlm2vla.robot.safety import Decision, Rules, Situation

# A status may lag behind a view by this much; a clock that lags more went back.
_STATUS_AGE_S = 1.0


def clock_now(robot: Robot, seen_s: float) -> float:
    """Seconds on the robot's own clock. A status may be a little older than the newest view, taken at `seen_s`."""
    now = robot.status().time_s
    return max(now, seen_s) if now > seen_s - _STATUS_AGE_S else now


class SafeRobot:
    """A robot behind the rules; itself a `Robot`.

    Time is the robot's own (`RobotStatus.time_s`), so that a simulation that runs ahead of the wall clock is judged
    like a real robot. Rows decided on the same observation are one chunk.

    Args:
        robot: Who moves.
        rules: The rules; those of the robot's embodiment with default limits when not given.
        on_decision: Called with every decision, before anything moves.
    """

    def __init__(
        self, robot: Robot, rules: Rules | None = None, *, on_decision: Callable[[Decision], None] | None = None
    ):
        self.robot = robot
        self.rules = rules or Rules(robot.embodiment)
        self.name, self.embodiment, self.simulated = robot.name, robot.embodiment, robot.simulated
        self.last_decision: Decision | None = None
        self._tell = on_decision or (lambda decision: None)
        self._seen: Observation | None = None
        self._where: np.ndarray | None = None
        self._decided_on: Observation | None = None
        self._previous: np.ndarray | None = None
        self._acted: deque[float] = deque(maxlen=1000)

    def observe(self) -> Observation:
        """Look, now; see `Robot.observe`."""
        self._seen = self.robot.observe()
        self._where = self._seen.ee
        return self._seen

    def act(
        self, action: np.ndarray, *, timeout_s: float = 10.0, decided_on: Observation | None = None
    ) -> ActionResult:
        """Judge one row, and carry out what the rules let through; "refused" with the rule in words otherwise.

        Args:
            action: [7] or [4] one row of an action chunk.
            timeout_s: As for `Robot.act`.
            decided_on: The observation that the policy saw; the last one that was taken here when not given.
        """
        try:
            decision = self._judge(action, decided_on)
        except RobotError as error:
            decision = Decision("refused", None, "stale", f"where the robot is cannot be seen: {error}")
        self.last_decision = decision
        self._tell(decision)
        if decision.action is None:
            return ActionResult("refused", message=f"rule {decision.rule}: {decision.message}")
        self._acted.append(self._now())
        self._previous, self._where = decision.action, None
        return self.robot.act(decision.action, timeout_s=timeout_s)

    def _judge(self, action: Any, decided_on: Observation | None) -> Decision:
        if self._where is None:
            latest = self.robot.observe()
            self._seen, self._where = self._seen or latest, latest.ee
        basis = decided_on or self._seen
        if basis is not self._decided_on:
            self._decided_on, self._previous = basis, None
        now = self._now()
        recent = tuple(now - at for at in self._acted if not now - at >= 1.0)
        return self.rules.judge(action, Situation(self._where, now - basis.time_s, recent, self._previous))

    def _now(self) -> float:
        return clock_now(self.robot, max(seen.time_s for seen in (self._seen, self._decided_on) if seen is not None))

    def stop(self) -> bool:
        """Stop all motion; see `Robot.stop`."""
        return self.robot.stop()

    def status(self) -> RobotStatus:
        """Whether it can move; see `Robot.status`."""
        return self.robot.status()

    def close(self) -> None:
        """Stop and let go; see `Robot.close`."""
        self.robot.close()

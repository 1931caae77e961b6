"""A simulated Stretch RE1 that is driven like the real one.

Deltas of the end-effector become joint goals (x is the arm, y the base, z the lift, yaw the wrist) that are followed
within speed limits; contact forces, joint limits, the run-stop and `stop` end a motion as they do on the robot. Faults
can be injected. Knows nothing of tasks and nothing of what stands on the table.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

import numpy as np

from vlm2vla.errors import RobotError
from vlm2vla.robot.protocol import ActionResult, Observation, Outcome, RobotStatus
from vlm2vla.simulation.builds import RE1
from vlm2vla.simulation.engine import JOINTS, Engine, finger_of
from vlm2vla.simulation.frames import Pose
from vlm2vla.simulation.profile import SpeedLimit, blend, together

Fault = Literal["camera lost", "stale status"]
_CAMERA_LOST = "the camera is lost: no picture since the last observation; check its cable"

# Joint limits: the base has a lane beside the table, arm and lift their travel, the wrist what clears the arm.
LIMITS = {"base": (-0.50, 0.50), "lift": (0.0, 1.10), "arm": (0.0, RE1.arm_m), "wrist_yaw": (-1.38, 1.57)}

# Default speeds of the RE1; accelerations a little brisker than its defaults.
SPEEDS = {
    "base": SpeedLimit(0.15, 0.4),
    "lift": SpeedLimit(0.095, 0.4),
    "arm": SpeedLimit(0.14, 0.5),
    "wrist_yaw": SpeedLimit(1.0, 3.0),
    "gripper": SpeedLimit(0.9, 8.0),
}

# Force of the world on base, lift, arm (N) and wrist (N m) that stops a motion.
GUARDS = np.array([35.0, 25.0, 20.0, 6.0])
_GUARDED = ("base", "lift", "arm", "wrist_yaw")

# One action never asks for more: a slip of units must not become a long drive.
MOST_M, MOST_RAD = 0.30, 1.6

_REACHED_M, _REACHED_RAD = 0.004, 0.02
_STILL_BATCHES = 2
_SETTLE_BATCHES = 50
# Closed fingers are told to go a little further: that is what squeezes.
_SQUEEZE_RAD = 0.06


class SimulatedStretch:
    """Implements `vlm2vla.robot.Robot` on an `Engine`.

    Attributes:
        name, embodiment, simulated: See the protocol.
        faults: Injected faults that are on.
    """

    simulated = True
    observes_while_moving = True

    def __init__(self, engine: Engine, render: Callable[[str, int | None], bytes], cameras: tuple[str, ...]):
        self._engine, self._render, self._cameras = engine, render, cameras
        self.name, self.embodiment = engine.build.title, engine.build.embodiment
        self._limits = LIMITS | {"arm": (0.0, engine.build.arm_m)}
        self._driving = threading.Lock()
        self._state = threading.Condition()
        self._stopping = False
        self._moving = False
        self._driver = 0
        self._runstop = False
        self._closed = False
        self._command = 1.0
        self._cruise = np.zeros(len(JOINTS))  # speed at which the last servo row ended
        self.faults: set[Fault] = set()

    @contextmanager
    def idle(self) -> Iterator[None]:
        """Stop, and let nobody drive while the scene changes; afterwards the gripper is open.

        Raises:
            RobotError: The motion under way does not end.
        """
        self.stop()
        if not self._driving.acquire(timeout=5.0):
            raise RobotError("the simulated robot did not stop; close this world and make a new one")
        try:
            yield
            self._command = 1.0
            self._cruise = np.zeros(len(JOINTS))
        finally:
            self._driving.release()

    def view(self, camera: str, px: int | None = None) -> bytes:
        """JPEG of one camera for people who watch; from any thread, also while the robot moves.

        Raises:
            NotFoundError: No such camera.
            RobotError: Closed, or the camera is lost.
        """
        if "camera lost" in self.faults:
            raise RobotError(_CAMERA_LOST)
        return self._render(camera, px)

    def observe(self) -> Observation:
        """Look, now; from any thread.

        Raises:
            RobotError: Closed, or a fault is injected.
        """
        if "camera lost" in self.faults:
            raise RobotError(_CAMERA_LOST)
        where = self.glance()
        return replace(where, images={camera: self._render(camera, None) for camera in self._cameras})

    def glance(self) -> Observation:
        """Where it is, without pictures; from any thread.

        Raises:
            RobotError: Closed, or a fault is injected.
        """
        status = self.status()
        if self._closed or "stale status" in self.faults:
            raise RobotError(status.problems[0])
        engine = self._engine
        ee, values = engine.ee(), engine.joints()
        pan, tilt = engine.head()
        joints = {name: float(value) for name, value in zip(JOINTS, values, strict=True)}
        return Observation(status.time_s, {}, ee, joints | {"head_pan": pan, "head_tilt": tilt}, status)

    def act(self, action: np.ndarray, *, timeout_s: float = 10.0) -> ActionResult:
        """Carry out one row; see the protocol. `timeout_s` and `seconds` are simulated time."""
        return self._exclusively(action, lambda row: self._carry_out(row, timeout_s))

    def servo(self, action: np.ndarray, seconds: float = 0.2) -> ActionResult:
        """Follow one row for exactly `seconds` of simulated time, and do not come to rest between rows.

        For recordings and step-wise environments of a fixed rate; no part of the protocol. Deltas count from where the
        last row wanted to be. What is too far for the time is cut to the joint's speed.
        """
        return self._exclusively(action, lambda row: self._follow_for(row, seconds))

    def stop(self) -> bool:
        """Stop all motion; True once still. From within a motion (a subscriber) it only asks, and answers False."""
        with self._state:
            if not self._moving:
                return True
            self._stopping = True
            self._engine.hurry.set()
            if self._driver == threading.get_ident():
                return False
            return self._state.wait_for(lambda: not self._moving, timeout=5.0)

    def status(self) -> RobotStatus:
        """Whether it can move, cheaply."""
        problems = []
        if self._closed:
            problems.append("The simulator is closed; start a new one.")
        if self._runstop:
            problems.append("The run-stop is pressed; release it at the robot.")
        if "stale status" in self.faults:
            problems.append("The last status is older than 200 ms; the robot cannot be trusted. Restart it.")
        return RobotStatus(
            ready=not problems,
            moving=self._moving,
            homed=True,
            runstop=self._runstop,
            problems=tuple(problems),
            time_s=self._engine.snapshot.clock_s,
        )

    def press_runstop(self) -> None:
        """Press the red button: what moves stops, and nothing moves until `release_runstop`."""
        self._runstop = True
        self._engine.hurry.set()

    def release_runstop(self) -> None:
        """Release it, as a person at the robot would; no part of the protocol."""
        self._runstop = False

    def close(self) -> None:
        """Stop; nothing moves afterwards."""
        self.stop()
        self._closed = True

    def _exclusively(self, action: np.ndarray, motion: Callable[[np.ndarray], ActionResult]) -> ActionResult:
        """Run `motion` when the action makes sense, the robot is able to and nobody else drives."""
        reason = _refusal(action)
        if reason:
            return self._nothing("refused", reason)
        if not self._driving.acquire(blocking=False):
            return self._nothing("refused", "another action is under way; one caller drives at a time")
        try:
            with self._state:
                unable = self._unable()
                if unable:
                    return self._nothing(*unable)
                self._stopping, self._moving, self._driver = False, True, threading.get_ident()
                self._engine.hurry.clear()
            return motion(np.asarray(action, dtype=np.float64))
        finally:
            with self._state:
                self._moving = False
                self._state.notify_all()
            self._driving.release()

    def _unable(self) -> tuple[Outcome, str] | None:
        if self._closed or "stale status" in self.faults:
            return "fault", self.status().problems[0]
        if self._runstop:
            return "runstop", "the run-stop is pressed; release it at the robot"
        return None

    def _nothing(self, outcome: Outcome, message: str) -> ActionResult:
        measured = np.zeros(7)
        measured[6] = self._engine.ee()[6]
        return ActionResult(outcome, measured, message)

    def _carry_out(self, action: np.ndarray, timeout_s: float) -> ActionResult:
        engine = self._engine
        before, began = engine.ee(), engine.clock_s
        goals, clipped = self._goals(action)
        self._command = float(action[6])
        self._cruise = np.zeros(len(JOINTS))
        limits = tuple(SPEEDS[name] for name in JOINTS)
        rows, speeds = together(engine.reference, goals, limits, engine.period_s)
        ended = self._follow(rows, speeds, began + timeout_s)
        if ended is None:
            ended = self._settle(began + timeout_s)
        outcome, message = ended or self._judge(goals, clipped)
        if ended is not None:
            self._brake()
        after = engine.ee()
        measured = after - before
        measured[6] = after[6]
        return ActionResult(outcome, measured, message, engine.clock_s - began)

    def _follow_for(self, action: np.ndarray, seconds: float) -> ActionResult:
        engine = self._engine
        before, began = engine.ee(), engine.clock_s
        self._command = np.nan  # fingers on their way go on, also when told the same again
        goals, clipped = self._goals(action)
        self._command = float(action[6])
        limits = np.array([SPEEDS[name].speed for name in JOINTS])
        rows, speeds = blend(engine.reference, goals, self._cruise, limits, seconds, engine.period_s)
        self._cruise = speeds[-1]
        ended, done = None, 0
        while done < len(rows) and ended is None:
            window = slice(done, done + engine.batch)
            engine.follow(rows[window], speeds[window])
            done = min(done + engine.batch, len(rows))
            ended = self._interrupted(np.inf) or self._touched(speeds[window][-1])
        if ended is not None:
            self._cruise = np.zeros(len(JOINTS))
            engine.reference = np.array([*engine.joints()[:4], engine.reference[4]])
            engine.hold((len(rows) - done) // engine.batch)
        after = engine.ee()
        measured = after - before
        measured[6] = after[6]
        outcome, message = ended or (("clipped", clipped) if clipped else ("reached", ""))
        return ActionResult(outcome, measured, message, engine.clock_s - began)

    def _goals(self, action: np.ndarray) -> tuple[np.ndarray, str]:
        base, lift, arm, yaw, finger = self._engine.reference
        pose = self._engine.build.moved(Pose(base, arm, lift, yaw), action[[0, 1, 2, 5]])
        wanted = {"base": pose.base, "lift": pose.lift, "arm": pose.arm, "wrist_yaw": pose.yaw}
        cut = []
        for name, (low, high) in self._limits.items():
            if not low - 1e-9 <= wanted[name] <= high + 1e-9:
                limit = low if wanted[name] < low else high
                cut.append(f"{name.replace('_', ' ')} stops at {limit:.2f} (asked for {wanted[name]:.2f})")
                wanted[name] = limit
        if action[6] != self._command:
            finger = finger_of(float(action[6])) - (_SQUEEZE_RAD if action[6] < 0.05 else 0.0)
        return np.array([*(wanted[name] for name in LIMITS), finger]), "; ".join(cut)

    def _follow(self, rows: np.ndarray, speeds: np.ndarray, deadline: float) -> tuple[Outcome, str] | None:
        engine = self._engine
        for start in range(0, len(rows), engine.batch):
            window = slice(start, start + engine.batch)
            engine.follow(rows[window], speeds[window])
            ended = self._interrupted(deadline) or self._touched(speeds[window][-1])
            if ended:
                return ended
        return None

    def _settle(self, deadline: float) -> tuple[Outcome, str] | None:
        quiet = 0
        for _ in range(_SETTLE_BATCHES):
            self._engine.hold()
            ended = self._interrupted(deadline) or self._touched(np.zeros(len(JOINTS)))
            if ended:
                return ended
            quiet = quiet + 1 if self._engine.still() else 0
            if quiet >= _STILL_BATCHES:
                break
        return None

    def _interrupted(self, deadline: float) -> tuple[Outcome, str] | None:
        if self._runstop:
            return "runstop", "the run-stop was pressed"
        if self._stopping:
            return "stopped", "stopped on request"
        if "stale status" in self.faults:
            return "fault", "the status went stale in mid-motion"
        if self._engine.clock_s > deadline:
            return "timeout", "not done in time; the robot was stopped"
        return None

    def _touched(self, speed: np.ndarray) -> tuple[Outcome, str] | None:
        """A guarded contact: the world pushes back harder than the guard allows."""
        forces = self._engine.forces
        for joint, name in enumerate(_GUARDED):
            force, limit = forces[joint], GUARDS[joint]
            moving_away = speed[joint] * force > 0
            if abs(force) > limit and not moving_away:
                unit = "N m" if name == "wrist_yaw" else "N"
                return "contact", f"{name.replace('_', ' ')} met something: {abs(force):.0f} {unit}"
        return None

    def _brake(self) -> None:
        """Hold where the joints are; the gripper keeps its grip."""
        engine = self._engine
        engine.reference = np.array([*engine.joints()[:4], engine.reference[4]])
        for _ in range(_SETTLE_BATCHES):
            engine.hold()
            if engine.still():
                break

    def _judge(self, goals: np.ndarray, clipped: str) -> tuple[Outcome, str]:
        error = np.abs(self._engine.joints() - goals)[:4]
        if np.any(error > (_REACHED_M, _REACHED_M, _REACHED_M, _REACHED_RAD)):
            worst = _GUARDED[int(np.argmax(error))].replace("_", " ")
            return "contact", f"{worst} was held back before its goal"
        return ("clipped", clipped) if clipped else ("reached", "")


def _refusal(action: np.ndarray) -> str:
    """Why an action cannot be carried out at all, or ""."""
    try:
        row = np.asarray(action, dtype=np.float64)
    except (TypeError, ValueError):
        return "an action is seven numbers"
    if row.shape != (7,):
        return f"an action is seven numbers, not an array of shape {row.shape}"
    if not np.all(np.isfinite(row)):
        return "an action with NaN or infinity moves nothing"
    if np.any(row[3:5] != 0):
        return "a Stretch RE1 has no roll and no pitch; they must be 0"
    if np.abs(row[:3]).max() > MOST_M or abs(row[5]) > MOST_RAD:
        return f"more than {MOST_M * 100:.0f} cm or {MOST_RAD} rad in one action"
    if not 0.0 <= row[6] <= 1.0:
        return f"the gripper command is 0 (closed) to 1 (open), not {row[6]:g}"
    return ""

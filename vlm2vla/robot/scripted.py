"""A robot that only calculates: for tests, for demonstrations of the link, and for trying the studio without physics.

It moves its hand in straight lines, at once or at a speed, on a clock that tests may turn by hand, and can be given
faults (`ScriptedFaults`). It is honest: its name and `simulated` say that nothing real moves. It knows no physics, no
objects and no safety rules.
"""

import io
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from vlm2vla.embodiment import STRETCH_RE1, Embodiment
from vlm2vla.errors import RobotError
from vlm2vla.robot.protocol import ActionResult, Observation, Outcome, RobotStatus

# One look at the stop flag per slice of motion.
_SLICE_S = 0.01
# A gripper needs this long from open to closed, when motion takes time at all.
_GRIPPER_S = 0.5


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> float:
        """Seconds, never going back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        ...


class WallClock:
    """Real time."""

    def now(self) -> float:
        """Seconds of the computer's steady clock."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


class HandClock:
    """Time that passes only when somebody sleeps: motion takes no real time, and the robot still knows how long."""

    def __init__(self, start: float = 0.0):
        self._now = start

    def now(self) -> float:
        """Seconds slept so far."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Let time pass at once."""
        self._now += seconds


@dataclass(frozen=True)
class ScriptedFaults:
    """What is wrong with the robot; set `ScriptedRobot.faults` to a new value at any time.

    Attributes:
        camera_lost: `observe` raises.
        stale: The status is not to be trusted; nothing moves, outcome "fault".
        unhomed: Nothing moves, outcome "fault".
        deaf: `stop` does not work: motion goes on, and `stop` answers False.
        hang_s: `act` sleeps this long before it does anything, and no stop reaches it.
        contact_m: Every motion ends in a contact after this many metres.
        error: `act` raises this, against the protocol.
    """

    camera_lost: bool = False
    stale: bool = False
    unhomed: bool = False
    deaf: bool = False
    hang_s: float = 0.0
    contact_m: float | None = None
    error: BaseException | None = None


class ScriptedRobot:
    """A kinematic robot with one hand. See the module.

    Args:
        embodiment: Axes and reach.
        start: [7] first end-effector pose and gripper opening.
        speed_m_s: Speed of the hand (and rad/s of the wrist); 0 moves at once.
        clock: Where time comes from.
        images: JPEG bytes by camera name to show; a drawing of the hand from above and from the side when not given.
        on_stop: Called when a stop or a run-stop takes effect (tests measure with it).
    """

    # Looking is safe from any thread, also during a motion.
    observes_while_moving = True

    def __init__(
        self,
        embodiment: Embodiment = STRETCH_RE1,
        *,
        start: tuple[float, ...] = (0.5, 0.0, 0.7, 0.0, 0.0, 0.0, 1.0),
        speed_m_s: float = 0.0,
        clock: Clock | None = None,
        images: Mapping[str, bytes] | None = None,
        on_stop: Callable[[str], None] | None = None,
    ):
        self.name = f"scripted {embodiment.title} (nothing real moves)"
        self.embodiment = embodiment
        self.simulated = True
        self.faults = ScriptedFaults()
        self.acts: list[np.ndarray] = []
        self._ee = np.array(start, dtype=np.float64)
        self._speed = speed_m_s
        self._clock = clock or WallClock()
        self._images = images
        self._on_stop = on_stop or (lambda kind: None)
        self._lock = threading.Lock()
        self._moving = False
        self._stop = threading.Event()
        self._runstop = threading.Event()
        self._closed = False

    def observe(self) -> Observation:
        """See `Robot.observe`."""
        where = self.glance()
        if self.faults.camera_lost:
            raise RobotError(f"{self.name}: the camera gives no frames; check its cable")
        return replace(where, images=self._images if self._images is not None else _drawn(where.ee, self.embodiment))

    def glance(self) -> Observation:
        """Where it is, without pictures."""
        if self._closed:
            raise RobotError(f"{self.name} is closed")
        with self._lock:
            ee = self._ee.copy()
        joints = dict(zip(("arm", "base", "lift", "roll", "pitch", "wrist_yaw", "gripper"), ee.tolist(), strict=True))
        return Observation(self._clock.now(), {}, ee, joints, self.status())

    def begin_episode(self) -> None:
        """Count y from where it is now, like a robot that drives about."""
        with self._lock:
            self._ee[1] = 0.0

    def act(self, action: np.ndarray, *, timeout_s: float = 10.0) -> ActionResult:
        """See `Robot.act`."""
        started = self._clock.now()
        faults = self.faults
        if faults.error is not None:
            raise faults.error
        if faults.hang_s:
            time.sleep(faults.hang_s)
        status = self.status()
        if not status.ready:
            outcome: Outcome = "runstop" if status.runstop else "fault"
            return ActionResult(outcome, self._measured(self._ee.copy()), " ".join(status.problems))
        self._stop.clear()
        self.acts.append(np.array(action, dtype=np.float64))
        before = self._ee.copy()
        self._moving = True
        try:
            outcome, message = self._move(np.array(action, dtype=np.float64), started + timeout_s)
        finally:
            self._moving = False
        return ActionResult(outcome, self._measured(before), message, self._clock.now() - started)

    def stop(self) -> bool:
        """See `Robot.stop`."""
        if self.faults.deaf:
            return False
        self._stop.set()
        if self._moving:
            self._on_stop("stop")
        until = time.monotonic() + 0.5
        while self._moving and time.monotonic() < until:
            time.sleep(0.001)
        return not self._moving

    def status(self) -> RobotStatus:
        """See `Robot.status`."""
        problems = []
        if self._runstop.is_set():
            problems.append("The run-stop is pressed: release it at the robot.")
        if self.faults.stale:
            problems.append("The status is stale: check the robot's cables and power.")
        if self.faults.unhomed:
            problems.append("The robot is not homed: home it first.")
        if self._closed:
            problems.append("The robot is closed.")
        ready = not problems
        return RobotStatus(
            ready,
            self._moving,
            not self.faults.unhomed,
            self._runstop.is_set(),
            tuple(problems),
            None,
            self._clock.now(),
        )

    def close(self) -> None:
        """See `Robot.close`."""
        self._stop.set()
        self._closed = True

    def press_runstop(self) -> None:
        """What the run-stop button does: everything stops, and nothing moves until it is released."""
        self._runstop.set()
        self._on_stop("runstop")

    def release_runstop(self) -> None:
        """What a person at the robot does."""
        self._runstop.clear()

    def fail(self, **faults) -> None:
        """Change some of the faults (fields of `ScriptedFaults`)."""
        self.faults = replace(self.faults, **faults)

    def _move(self, action: np.ndarray, until: float) -> tuple[Outcome, str]:
        goal = self._ee.copy()
        goal[:6] += action[:6]
        limits = np.array(self.embodiment.ee_limits)
        clipped = np.clip(goal[:3], limits[:, 0], limits[:, 1])
        is_clipped = bool((clipped != goal[:3]).any())
        goal[:3], goal[6] = clipped, action[6]
        contact = self.faults.contact_m
        travel = float(np.linalg.norm(goal[:3] - self._ee[:3]))
        share = 1.0 if contact is None or travel <= contact else contact / travel
        ended = self._glide(goal, share, until)
        if ended is not None:
            return ended
        if share < 1.0:
            return "contact", f"a contact stopped the motion after {contact * 100:.1f} cm"
        return ("clipped", "a limit of the robot cut the motion short") if is_clipped else ("reached", "")

    def _glide(self, goal: np.ndarray, share: float, until: float) -> tuple[Outcome, str] | None:
        """Move along the straight line to `share` of the way to `goal`; None when that was reached."""
        start = self._ee.copy()
        longest = max(float(np.linalg.norm(goal[:3] - start[:3])), float(np.abs(goal[3:6] - start[3:6]).max()))
        seconds = longest / self._speed if self._speed else 0.0
        if self._speed:
            seconds = max(seconds, _GRIPPER_S * abs(goal[6] - start[6]))
        seconds *= share
        begun = self._clock.now()
        while True:
            if self._runstop.is_set():
                return "runstop", "the run-stop was pressed"
            if self._stop.is_set() and not self.faults.deaf:
                return "stopped", "stopped before the goal"
            done = 1.0 if seconds <= 0 else min(1.0, (self._clock.now() - begun) / seconds)
            with self._lock:
                self._ee = start + (goal - start) * (done * share)
            if done >= 1.0:
                return None
            if self._clock.now() >= until:
                return "timeout", "not done in time; stopped"
            self._clock.sleep(_SLICE_S)

    def _measured(self, before: np.ndarray) -> np.ndarray:
        change = self._ee - before
        change[6] = self._ee[6]
        return change


def _drawn(ee: np.ndarray, embodiment: Embodiment, size: int = 96) -> dict[str, bytes]:
    """Two small drawings of where the hand is: from above (x up, y left) and from the side (z up, x right)."""
    from PIL import Image, ImageDraw

    shares = [(value - low) / (high - low) for value, (low, high) in zip(ee[:3], embodiment.ee_limits, strict=True)]
    colour = (40, 150, 90) if ee[6] > 0.5 else (190, 70, 40)
    images = {}
    for name, across, up in (("above", 1 - shares[1], shares[0]), ("side", shares[0], shares[2])):
        picture = Image.new("RGB", (size, size), (236, 236, 230))
        x, y = across * size, (1 - up) * size
        ImageDraw.Draw(picture).ellipse((x - 5, y - 5, x + 5, y + 5), fill=colour)
        data = io.BytesIO()
        picture.save(data, "JPEG", quality=85)
        images[name] = data.getvalue()
    return images

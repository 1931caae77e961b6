"""A real Stretch RE1 through stretch_body: the only file that imports it, and only when a robot is connected.

**Threads.** `connect_stretch` must run on the main thread, because stretch_body takes over signals while it starts.
After that, `act` may come from any one thread, and `stop`, `status` and `press_runstop` from any. The process belongs
to the caller again: signal handlers, logging and the hook for errors in threads are put back as they were.

**Trust.** What stretch_body says about itself is not believed: whether a motion arrived is measured, whether a board
lives is read off the board's own clock, and no call is waited for without a limit. After a fault that hangs, only a new
process helps: `close`, then `os._exit`.

**Not here.** Homing and stowing: a person does that at the robot (`stretch_robot_home.py`), and unhomed joints are
refused. Releasing the run-stop: likewise. Nothing here has moved a real robot yet; the tests drive emulated boards.
"""

import contextlib
import functools
import inspect
import logging
import math
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from vlm2vla.embodiment import STRETCH_RE1
from vlm2vla.errors import ActionRefusedError, RobotError
from vlm2vla.robot.bounded import bounded
from vlm2vla.robot.cameras import Camera
from vlm2vla.robot.protocol import ActionResult, Observation, Outcome, RobotStatus
from vlm2vla.robot.stretch_driver import MOTOR_JOINTS, SERVO_JOINTS, SERVOS, StretchDriver
from vlm2vla.robot.stretch_motion import Joints, MotionPlan, StretchConfig, check_action, judge, measured, plan_motion

log = logging.getLogger(__name__)

POLL_S = 0.02
STILL_S = 0.2  # a joint that turns back, or creeps to its goal, looks still for less than that
GRIPPED_S = 0.3  # fingers that stand still for so long hold something, or are at their end
FIRST_STATUS_S = 5.0

Verdict = tuple[Outcome, str] | None


def connect_stretch(config: StretchConfig | None = None, cameras: Sequence[Camera] = ()) -> "StretchRobot":
    """The Stretch that this computer is part of.

    Args:
        config: How it is driven.
        cameras: Its eyes, the policy's default view first; see `open_cameras`. They are closed with the robot.

    Raises:
        RobotError: Not on the main thread, no stretch_body, no fleet folder, another process drives, a board is silent.
    """
    config = config or StretchConfig()
    if threading.current_thread() is not threading.main_thread():
        raise RobotError("a Stretch can only be connected on the main thread; start the robot server by itself")
    with _process_kept_as_it_is():
        body = _start_body()
    try:
        driver = StretchDriver(body, config)
        _wait_for_status(driver)
        if config.guard_base:
            driver.guard_wheels()
        return StretchRobot(driver, cameras)
    except BaseException:
        bounded("the driver's own stop", 8.0, body.stop)
        raise


class StretchRobot:
    """The `Robot` protocol over a real Stretch; made by `connect_stretch`."""

    name = "Stretch RE1"
    embodiment = STRETCH_RE1
    simulated = False
    observes_while_moving = True

    def __init__(self, driver: StretchDriver, cameras: Sequence[Camera] = ()):
        self._driver = driver
        self._config = driver.config
        self._cameras = tuple(cameras)
        self._acting = threading.Lock()
        self._stops = 0  # how often `stop` was called
        self._moved_s = -math.inf  # when the last motion ended, `time.monotonic`
        self._gripped: float | None = None  # opening that the gripper was last told
        self._closed = False

    def begin_episode(self) -> None:
        """Fix the frame: y is 0 where the base is now, and counts along where it points now."""
        self._driver.fix_frame()

    def observe(self) -> Observation:
        """Look, now: no picture is from before the end of the last motion, and the time is that of the oldest one.

        Raises:
            RobotError: A camera is lost, or the status is stale.
        """
        where = self.glance()
        if not self._cameras:
            raise RobotError("this robot was connected without a camera; start it with one, such as head=d435i")
        frames = {camera.name: camera.read(self._moved_s) for camera in self._cameras}
        images = {name: frame.jpeg for name, frame in frames.items()}
        return replace(where, time_s=min(frame.time_s for frame in frames.values()), images=images)

    def glance(self) -> Observation:
        """Where it is, without pictures; raises `RobotError` when the status is stale."""
        if problem := self._fault():
            raise RobotError(problem)
        joints = self._driver.joints()
        return Observation(time.monotonic(), {}, joints.ee(), joints.as_dict(), self.status())

    def status(self) -> RobotStatus:
        """Whether it can move, from numbers that are already here."""
        driver = self._driver
        problems = [problem for problem in (self._fault(),) if problem]
        runstop, homed = driver.runstop(), driver.homed()
        if runstop:
            problems.append("the run-stop is pressed: hold the button on the robot for two seconds to release it")
        if not homed:
            problems.append("the robot is not homed: clear the space around it and run stretch_robot_home.py on it")
        problems += driver.alerts()
        moving = driver.still_s() < STILL_S
        return RobotStatus(not problems, moving, homed, runstop, tuple(problems), driver.volts(), time.monotonic())

    def act(self, action: np.ndarray, *, timeout_s: float = 10.0) -> ActionResult:
        """One action: first the gripper where it changes, then all joints together; waits until it is still again."""
        begin = time.monotonic()
        if not self._acting.acquire(blocking=False):
            return self._result("refused", "another action is under way", begin)
        try:
            row = check_action(action)
            if refusal := self._refusal():
                return self._result(*refusal, begin)
            joints = self._driver.joints()
            plan = plan_motion(row, joints, self._driver.limits(), self._config)
            outcome, message = self._carry_out(plan, begin + timeout_s)
            return ActionResult(outcome, measured(plan, self._driver.joints()), message, time.monotonic() - begin)
        except ActionRefusedError as error:
            return self._result("refused", str(error), begin)
        except RobotError as error:
            return self._result("fault", self._after_fault(str(error)), begin)
        finally:
            self._moved_s = time.monotonic()
            self._acting.release()

    def turn_base(self, angle_rad: float, *, timeout_s: float = 10.0) -> ActionResult:
        """Turn on the spot, counter-clockwise positive, and fix the frame anew. Not part of a policy's actions."""
        begin = time.monotonic()
        if not self._acting.acquire(blocking=False):
            return self._result("refused", "another action is under way", begin)
        try:
            if refusal := self._refusal():
                return self._result(*refusal, begin)
            start, stops, events = self._driver.heading(), self._stops, self._driver.guarded_events()
            self._driver.turn(angle_rad, unless=lambda: self._stops != stops)

            def verdict(_joints: Joints) -> Verdict:
                turned = float(np.remainder(self._driver.heading() - start + np.pi, 2 * np.pi) - np.pi)
                if abs(turned - angle_rad) <= self._config.tolerance_rad and self._driver.still_s() >= STILL_S:
                    return "reached", ""
                stalled = self._driver.still_s() >= self._config.stalled_s
                return ("timeout", f"stands still after {turned:.2f} rad") if stalled else None

            outcome, message = self._watch_until(verdict, begin + timeout_s, stops, events)
            self._driver.fix_frame()
            return self._result(outcome, message, begin)
        except RobotError as error:
            return self._result("fault", self._after_fault(str(error)), begin)
        finally:
            self._moved_s = time.monotonic()
            self._acting.release()

    def point_head(self, pan_rad: float, tilt_rad: float) -> None:
        """Turn the head camera to absolute angles; raises `RobotError` when the boards do not take the command."""
        self._driver.point_head(pan_rad, tilt_rad)

    def stop(self) -> bool:
        """Soft stop; the run-stop where that cannot be sent or confirmed.

        Returns:
            True once the robot is known to stand still, False when a person must press the button.
        """
        self._stops += 1
        return self._halt()

    def press_runstop(self) -> bool:
        """Press the run-stop by software; True when the power board confirmed it. A person releases it at the robot."""
        self._stops += 1
        return self._driver.press_runstop()

    def close(self) -> None:
        """Stop, then give motors, servos, ports and cameras back."""
        if self._closed:
            return
        self._closed = True
        self.stop()
        for camera in self._cameras:
            camera.close()
        self._driver.close()

    # Inside ------------------------------------------------------------------------------------------------------

    def _carry_out(self, plan: MotionPlan, deadline: float) -> tuple[Outcome, str]:
        driver, stops, events = self._driver, self._stops, self._driver.guarded_events()
        stopped = lambda: self._stops != stops  # noqa: E731
        if plan.opening != self._gripped:
            self._gripped = None
            driver.grip(plan.opening, unless=stopped)
            verdict = self._watch_until(lambda _: self._gripper_rests(), deadline, stops, events)
            if verdict[0] != "reached":
                return verdict
            self._gripped = plan.opening
        if plan.goals:
            driver.move(plan.goals, unless=stopped)

        def arrived(joints: Joints) -> Verdict:
            still = driver.still_s()
            return judge(plan, joints, still, self._config) if still >= STILL_S or not plan.goals else None

        return self._watch_until(arrived, deadline, stops, events)

    def _gripper_rests(self) -> Verdict:
        # An object between the fingers ends the motion early, as it should.
        return ("reached", "") if self._driver.still_s("stretch_gripper") >= GRIPPED_S else None

    def _watch_until(
        self, verdict: Callable[[Joints], Verdict], deadline: float, stops: int, events: dict[str, int]
    ) -> tuple[Outcome, str]:
        """Wait for the verdict, or for whatever ends the motion before."""
        driver = self._driver
        while True:
            if self._stops != stops:
                self._wait_still()
                return "stopped", "stopped on request"
            if driver.runstop():
                # A goal that is still set could be resumed when the button is released: replace it.
                with contextlib.suppress(RobotError):
                    driver.hold()
                return "runstop", "the run-stop was pressed"
            if problem := self._fault():
                return "fault", self._after_fault(problem)
            touched = [name for name, count in driver.guarded_events().items() if count != events[name]]
            if touched:
                self._halt()
                return "contact", f"contact: the {' and the '.join(touched)} touched something"
            if alerts := driver.alerts():
                self._halt()
                return "fault", "; ".join(alerts)
            if done := verdict(driver.joints()):
                return done
            if time.monotonic() > deadline:
                self._halt()
                return "timeout", "not done in time; stopped"
            time.sleep(POLL_S)

    def _refusal(self) -> tuple[Outcome, str] | None:
        status = self.status()
        if status.ready:
            return None
        outcome: Outcome = "refused"
        if self._fault():
            outcome = "fault"
        elif status.runstop:
            outcome = "runstop"
        return outcome, "; ".join(status.problems)

    def _fault(self) -> str:
        """Why the robot cannot be trusted, in words; empty while it can."""
        if self._closed:
            return "the robot is closed"
        if self._driver.broken:
            return self._driver.broken
        stale = self._driver.stale()
        if not stale:
            return ""
        ages = ", ".join(f"{name} for {age * 1000:.0f} ms" if np.isfinite(age) else name for name, age in stale.items())
        return f"no answer from: {ages}; if this stays, check its cable and start the robot server again"

    def _after_fault(self, problem: str) -> str:
        """Make a robot safe that cannot be trusted, and say how."""
        if self._halt():
            return f"{problem}; it was brought to a stop"
        return f"{problem}; it may still move: press the run-stop on the robot"

    def _halt(self) -> bool:
        """Soft stop, run-stop when that fails; True when it is known to be still."""
        try:
            self._gripped = None if self._driver.still_s("stretch_gripper") < GRIPPED_S else self._gripped
            turning = [name for name in SERVO_JOINTS if self._driver.still_s(name) < STILL_S]
            self._driver.hold()
            if self._wait_still(turning):
                return True
            log.error("the robot does not stand still after a soft stop: pressing the run-stop")
        except RobotError as error:
            log.error("soft stop failed (%s): pressing the run-stop", error)
        return self._driver.press_runstop()

    def _wait_still(self, servos: Sequence[str] = ()) -> bool:
        """Whether motors and `servos` are known to stand still; a board that does not answer proves nothing."""
        end = time.monotonic() + self._config.still_s
        while time.monotonic() < end:
            if any(servos or board != SERVOS for board in self._driver.stale()):
                return False
            if self._driver.still_s(*MOTOR_JOINTS, *servos) >= STILL_S:
                return True
            time.sleep(POLL_S)
        return False

    def _result(self, outcome: Outcome, message: str, begin: float) -> ActionResult:
        gripper = np.zeros(7)
        gripper[6] = self._driver.joints().gripper
        return ActionResult(outcome, gripper, message, time.monotonic() - begin)


def _start_body() -> Any:
    """Import stretch_body and start its robot."""
    try:
        from stretch_body.robot import Robot
    except ModuleNotFoundError as error:
        raise RobotError(
            f"stretch_body cannot be loaded ({error}): make test-robot shows how to install requirements-robot.txt"
        ) from error
    except BaseException as error:  # KeyError and SystemExit without a fleet folder, ImportError without libusb
        raise RobotError(
            f"stretch_body cannot be loaded ({type(error).__name__}: {error}); "
            "is this the robot's computer, with HELLO_FLEET_PATH and HELLO_FLEET_ID set?"
        ) from error
    try:
        _let_any_thread_free_the_lock()
        body = Robot()
        # With asyncio, one mute board blocks the loop of all, and whoever holds a port's lock then (even the power
        # board's) never gives it back: no command and no run-stop would get through. It also cuts long commands.
        body.params["use_asyncio"] = 0
        started = body.startup()
    except BaseException as error:
        who = _port_in(error)
        cause = f"no answer from {who}; check power and cables" if who else f"{type(error).__name__}: {error}"
        raise RobotError(f"the Stretch does not start: {cause}") from error
    if started:
        if not body.params["use_collision_manager"]:
            # Its child process holds the ports and the lock of this one: if this one is killed, no other can start.
            body.collision.stop()
        return body
    if not body._file_lock.is_locked:
        raise RobotError("another process drives this Stretch: end it (stretch_free_robot_process.py), then try again")
    silent = [name for name, device in body.devices.items() if not _answers(device)]
    with contextlib.suppress(RobotError):
        bounded("the driver's own stop", 8.0, body.stop)
    raise RobotError(
        f"the Stretch does not start; no answer from: {', '.join(silent) or 'a board'}. Check power and cables"
    )


def _let_any_thread_free_the_lock() -> None:
    """Newer filelock releases only on the thread that acquired; `close` may come from another one."""
    from stretch_body import hello_utils

    if "thread_local" in inspect.signature(hello_utils.FileLock.__init__).parameters:
        hello_utils.FileLock = functools.partial(hello_utils.FileLock, thread_local=False)


def _port_in(error: BaseException) -> str:
    """Device file that stretch_body was talking to when it raised; its errors do not name it."""
    ports = [
        getattr(frame.f_locals.get("self"), "port_name", "") for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    return next((port for port in reversed(ports) if port), "")


def _answers(device: Any) -> bool:
    parts = [getattr(device, name, None) for name in ("motor", "left_wheel", "right_wheel")]
    return all(part.hw_valid for part in parts if part is not None) and getattr(device, "hw_valid", True)


def _wait_for_status(driver: StretchDriver) -> None:
    end = time.monotonic() + FIRST_STATUS_S
    while driver.stale():
        if time.monotonic() > end:
            raise RobotError(f"no status from: {', '.join(driver.stale())}; check power and cables")
        time.sleep(POLL_S)


@contextlib.contextmanager
def _process_kept_as_it_is() -> Iterator[None]:
    """Importing and starting stretch_body replaces logging, signal handlers and the thread hook; put them back."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    hook = threading.excepthook
    loggers = {logger: logger.disabled for logger in map(logging.getLogger, list(logging.root.manager.loggerDict))}
    try:
        yield
    finally:
        for handler in list(root.handlers):
            if handler not in handlers:
                root.removeHandler(handler)
                handler.close()
        for handler in handlers:
            if handler not in root.handlers:
                root.addHandler(handler)
        root.setLevel(level)
        for logger, disabled in loggers.items():
            logger.disabled = disabled
        for number, handler in signals.items():
            signal.signal(number, handler)
        threading.excepthook = hook

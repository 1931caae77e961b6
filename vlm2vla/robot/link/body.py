"""The robot's side of the server: one thread moves, another stops, a third asks how the robot is. No sockets.

A driver may hang, raise, or lie; nothing here waits for it but the thread that called it. A stop that is not confirmed
in time becomes a run-stop, and a run-stop is tried again until the robot reports it. Runs on Python 3.10.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from vlm2vla.errors import ActionRefusedError, RobotError
from vlm2vla.robot.link.config import RobotServerConfig
from vlm2vla.robot.protocol import ActionResult, Observation, Robot, RobotStatus
from vlm2vla.robot.safety import Rules, SafetyConfig, tables

logger = logging.getLogger(__name__)

_STATUS_EVERY_S = 0.05
# A status older than this says nothing about now.
_STATUS_OLD_S = 0.5
# How long after its own timeout an action may take to end.
_ACT_GRACE_S = 1.0
_RUNSTOP_TRIES = 10
_MOST_LOOKS = 64


@dataclass(frozen=True)
class RobotSetup:
    """What a factory gives the server.

    Attributes:
        robot: The robot.
        emergency: Presses the run-stop. Called from a thread of its own, possibly several times, while everything
            else may hang; it must not share a lock with the robot's motion.
    """

    robot: Robot
    emergency: Callable[[], object]


@dataclass(frozen=True)
class Job:
    """One action to carry out.

    Attributes:
        action: [7] as in `Robot.act`.
        timeout_s: As in `Robot.act`.
        begins: Raises ActionRefusedError when it may not begin any more.
        answer: Called once, from any thread, with what became of it.
    """

    action: np.ndarray
    timeout_s: float
    begins: Callable[[], None]
    answer: Callable[[ActionResult], None]


LookAnswer = Callable[[Observation | RobotError], None]
StopAnswer = Callable[[bool, str], None]


class Body:
    """Moves, stops and watches one robot. `run` belongs to the thread that owns the robot; the rest to any thread."""

    def __init__(self, setup: RobotSetup, config: RobotServerConfig):
        self.robot = setup.robot
        # The studio has its own rules; these are the last ones before the motors, and they never bend.
        self.rules = Rules(setup.robot.embodiment, SafetyConfig(clamp=()), tables(config.table_height_m))
        self._emergency, self._config = setup.emergency, config
        self._ready = threading.Condition()
        self._closing = self._over = False
        self._job: Job | None = None
        self._acting_until: float | None = None
        self._looks: list[LookAnswer] = []
        self._latest: Observation | None = None
        self._stop_since: float | None = None
        self._stop_answers: list[StopAnswer] = []
        self._stop_reason = ""
        self._status: tuple[RobotStatus | None, float] = (None, time.monotonic())
        # Why the run-stop was pressed from here, and whether the robot has confirmed it.
        self._runstop = ""
        self._runstop_seen = False
        self._looks_apart = bool(getattr(setup.robot, "observes_while_moving", False))

    @property
    def acting(self) -> bool:
        """Whether an action is under way."""
        return self._acting_until is not None

    def run(self) -> None:
        """Carry out actions (and look, for robots that cannot do both at once) until `close`; then close the robot."""
        threads = [self._stop_loop, self._status_loop] + ([self._look_loop] if self._looks_apart else [])
        for loop in threads:
            threading.Thread(target=loop, name=f"robot {loop.__name__.strip('_')}", daemon=True).start()
        try:
            while True:
                with self._ready:
                    self._ready.wait_for(lambda: self._closing or self._job or (self._looks and not self._looks_apart))
                    if self._closing:
                        break
                    job, self._job = self._job, None
                if job is not None:
                    self._act(job)
                else:
                    self._look()
        finally:
            self.close()
            self._over = True
            self.robot.close()

    def close(self) -> None:
        """Stop, and let `run` come to its end."""
        with self._ready:
            self._closing = True
            job, self._job = self._job, None
            self._ready.notify_all()
        if job is not None:
            job.answer(ActionResult("stopped", message="the robot server is closing"))

    def offer(self, job: Job) -> bool:
        """Hand over an action; False when one is under way or waiting (there is no queue)."""
        with self._ready:
            if self._closing or self._job is not None or self.acting:
                return False
            self._job = job
            self._ready.notify_all()
        return True

    def begin_episode(self) -> str:
        """Let the robot fix its frame here, where it has one to fix; why that failed, or nothing."""
        begin = getattr(self.robot, "begin_episode", None)
        try:
            if begin is not None:
                begin()
        except BaseException as error:
            logger.exception("the robot's begin_episode raised")
            return f"the frame could not be fixed: {type(error).__name__}: {error}"[:1900]
        return ""

    def look(self, answer: LookAnswer) -> None:
        """Answer with an observation taken from now on; during a motion that blocks the view, with the latest one."""
        with self._ready:
            blocked = self.acting and not self._looks_apart
            latest = self._latest
            if not blocked and len(self._looks) < _MOST_LOOKS:
                self._looks.append(answer)
                self._ready.notify_all()
                return
        if latest is None:
            answer(RobotError("the robot cannot look while it moves, and nobody looked before"))
        else:
            answer(latest)

    def stop(self, reason: str, answer: StopAnswer | None = None) -> None:
        """Stop all motion; `answer` hears whether the robot confirmed. Returns at once."""
        with self._ready:
            job, self._job = self._job, None
            if self._stop_since is None:
                self._stop_since, self._stop_reason = time.monotonic(), reason
            if answer is not None:
                self._stop_answers.append(answer)
            self._ready.notify_all()
        if job is not None:
            job.answer(ActionResult("stopped", message=reason))

    def press_runstop(self, reason: str) -> None:
        """Press the run-stop. It stays pressed until somebody releases it at the robot. Returns at once."""
        with self._ready:
            if self._runstop:
                return
            self._runstop, self._runstop_seen = reason, False
            job, self._job = self._job, None
        logger.critical("run-stop: %s", reason)
        if job is not None:
            job.answer(ActionResult("runstop", message=reason))
        threading.Thread(target=self._press, name="robot run-stop", daemon=True).start()

    def supervise(self) -> None:
        """Called often by the heartbeat's thread: notices a stop or an action that does not come to its end."""
        now = time.monotonic()
        failed: list[StopAnswer] = []
        with self._ready:
            since, until = self._stop_since, self._acting_until
            if since is not None and now - since > self._config.stop_limit_s:
                failed, self._stop_answers = self._stop_answers, []
        if since is not None and now - since > self._config.stop_limit_s:
            self.press_runstop(f"the robot did not confirm a stop in {self._config.stop_limit_s:g} s")
            for answer in failed:
                answer(False, "the robot did not confirm the stop; the run-stop was pressed")
        if since is None and until is not None and now > until:
            self.stop("an action did not end in time")

    def status(self) -> RobotStatus:
        """The latest status, with what this side knows of problems. Never waits."""
        status, at = self._status
        problems = []
        age = time.monotonic() - at
        if status is None or age > _STATUS_OLD_S:
            problems.append(f"The robot has not said how it is for {age:.1f} s: check it before anything moves.")
        if self._runstop:
            seen = "" if self._runstop_seen else " The robot has not confirmed it: press the button."
            problems.append(f"Run-stop: {self._runstop}.{seen} It is released only at the robot.")
        if status is None:
            return RobotStatus(False, self.acting, False, bool(self._runstop), tuple(problems))
        return replace(
            status,
            ready=status.ready and not problems,
            moving=status.moving or self.acting,
            runstop=status.runstop or bool(self._runstop),
            problems=(*problems, *status.problems),
        )

    def _act(self, job: Job) -> None:
        with self._ready:
            refusal = None
            if self._runstop:
                refusal = ActionResult("runstop", message=f"run-stop: {self._runstop}")
            elif self._stop_since is not None:
                refusal = ActionResult("stopped", message=self._stop_reason)
            else:
                try:
                    job.begins()
                    self._acting_until = time.monotonic() + job.timeout_s + _ACT_GRACE_S
                except ActionRefusedError as error:
                    refusal = ActionResult("refused", message=str(error))
        if refusal is not None:
            job.answer(refusal)
            return
        try:
            result = self._refused(job.action) or self.robot.act(job.action, timeout_s=job.timeout_s)
        except BaseException as error:  # a driver may even raise SystemExit; the server lives on to stop the robot
            logger.exception("the robot's act raised")
            result = ActionResult("fault", message=f"the driver failed: {type(error).__name__}: {error}")
            self.stop("the driver failed")
        finally:
            with self._ready:
                self._acting_until = None
                self._ready.notify_all()
        if self._runstop and result.outcome not in ("runstop", "fault"):
            result = replace(result, outcome="runstop", message=f"run-stop: {self._runstop}")
        elif result.outcome == "stopped" and self._stop_reason:
            result = replace(result, message=f"{self._stop_reason} ({result.message})")
        job.answer(result)

    def _refused(self, action: np.ndarray) -> ActionResult | None:
        """Why an action leads into the table, where one is known; judged from where the hand is now."""
        if self._config.table_height_m is None:
            return None
        try:
            ee = getattr(self.robot, "glance", self.robot.observe)().ee
        except RobotError as error:
            return ActionResult("refused", message=f"where the hand is cannot be seen: {error}")
        decision = self.rules.judge_alone(action, ee)
        if decision.action is not None:
            return None
        return ActionResult("refused", message=f"rule {decision.rule}: {decision.message}")

    def _look(self) -> None:
        with self._ready:
            waiting, self._looks = self._looks, []
        if not waiting:
            return
        try:
            seen: Observation | RobotError = self.robot.observe()
        except RobotError as error:
            seen = error
        except BaseException as error:
            logger.exception("the robot's observe raised")
            seen = RobotError(f"the driver failed to look: {type(error).__name__}: {error}")
        if isinstance(seen, Observation):
            self._latest = seen
        for answer in waiting:
            answer(seen)

    def _look_loop(self) -> None:
        while not self._closing:
            with self._ready:
                self._ready.wait_for(lambda: self._closing or self._looks)
            self._look()

    def _status_loop(self) -> None:
        while not self._over:
            try:
                status = self.robot.status()
            except BaseException as error:
                logger.warning("the robot's status raised: %r", error)
            else:
                self._status = (status, time.monotonic())
                self._note_runstop(status.runstop)
            time.sleep(_STATUS_EVERY_S)

    def _note_runstop(self, pressed: bool) -> None:
        with self._ready:
            if not self._runstop:
                return
            if pressed:
                self._runstop_seen = True
            elif self._runstop_seen:
                logger.warning("the run-stop was released at the robot")
                self._runstop, self._runstop_seen = "", False

    def _stop_loop(self) -> None:
        while not self._closing:
            with self._ready:
                self._ready.wait_for(lambda: self._closing or self._stop_since is not None)
                reason = self._stop_reason
            if self._stop_since is None:
                continue
            logger.info("stop: %s", reason)
            confirmed = self._stop_now()
            if not confirmed:
                self.press_runstop("a stop failed")
            with self._ready:
                answers, self._stop_answers = self._stop_answers, []
                self._stop_since = None
            words = "the robot is still" if confirmed else "the robot did not confirm the stop; run-stop pressed"
            for answer in answers:
                answer(confirmed, words)

    def _stop_now(self) -> bool:
        """Stop until the robot says it is still *and* no action is under way: one may have begun a moment ago."""
        until = time.monotonic() + self._config.stop_limit_s
        while time.monotonic() < until:
            try:
                if not self.robot.stop():
                    return False
            except BaseException:
                logger.exception("the robot's stop raised")
                return False
            with self._ready:
                if self._ready.wait_for(lambda: not self.acting, 0.02):
                    return True
        return False

    def _press(self) -> None:
        for _ in range(_RUNSTOP_TRIES):
            threading.Thread(target=self._press_once, name="robot emergency", daemon=True).start()
            for _ in range(10):
                time.sleep(0.05)
                if self._runstop_seen or not self._runstop or self._over:
                    return
        logger.critical("the robot never confirmed the run-stop: press the button at the robot")

    def _press_once(self) -> None:
        try:
            self._emergency()
        except BaseException:
            logger.exception("the emergency call raised")

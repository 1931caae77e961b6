"""Reading and commanding a started `stretch_body.robot.Robot`, each call with a limit on the wait.

Knows the joints, parameters and quirks of stretch_body 0.7.31, and imports nothing of it: the object is given. Knows no
action, no outcome and no safety rule. Commands run on threads of their own (`bounded`), because a push waits for ever
for a board that went mute, and holds the robot's lock meanwhile.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from vlm2vla.errors import RobotError
from vlm2vla.robot.bounded import bounded
from vlm2vla.robot.stretch_motion import BaseFrame, Joints, StretchConfig, opening_of
from vlm2vla.robot.stretch_watch import StatusWatch

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.02
SERVO_ERROR_S = 0.09  # a servo answer this soon after a communication error is the old one again, stamped anew
MOTORS = ("lift", "arm", "left wheel", "right wheel")
POWER_BOARD, SERVOS = "power board", "wrist and gripper"
MOTOR_JOINTS, SERVO_JOINTS = ("lift", "arm", "base", "heading"), ("wrist_yaw", "stretch_gripper")


class StretchDriver:
    """One robot that `startup()` succeeded for."""

    def __init__(self, robot: Any, config: StretchConfig):
        self.robot = robot
        self.config = config
        limits = dict.fromkeys((*MOTORS, POWER_BOARD), config.stale_s)
        self._watch = StatusWatch({**limits, SERVOS: config.servo_stale_s})
        self._watch_lock = threading.Lock()
        self._push_lock = threading.Lock()
        self._next_push_s = 0.0
        self._pushing_since_s: float | None = None
        self._servo_errors = 0
        self._servo_error_s = -math.inf
        self._servo_ignored = self._servo_mark = 0.0
        self._frame = BaseFrame(0.0, 0.0, 0.0)
        self._closing = threading.Event()
        self._motors = {
            "lift": robot.lift.motor,
            "arm": robot.arm.motor,
            "left wheel": robot.base.left_wheel,
            "right wheel": robot.base.right_wheel,
        }
        self._look()
        self.fix_frame()
        threading.Thread(target=self._keep_looking, name="stretch watch", daemon=True).start()

    # What the status threads of stretch_body last wrote ---------------------------------------------------------

    def joints(self) -> Joints:
        """Newest measured positions."""
        base = self.robot.base.status
        gripper = self._servo("stretch_gripper")
        return Joints(
            lift=float(self.robot.lift.status["pos"]),
            arm=float(self.robot.arm.status["pos"]),
            base=self._frame.driven(base["x"], base["y"]),
            wrist_yaw=float(self._servo("wrist_yaw").status["pos"]),
            gripper=opening_of(gripper.status["pos_pct"], gripper.pct_max_open),
        )

    def heading(self) -> float:
        """Where the base points, radians by odometry, -pi to pi."""
        return math.remainder(self.robot.base.status["theta"], math.tau)

    def fix_frame(self) -> None:
        """From here on, y counts from where the base is now, along where it points now."""
        base = self.robot.base.status
        self._frame = BaseFrame(base["x"], base["y"], base["theta"])

    def limits(self) -> dict[str, tuple[float, float]]:
        """(low, high) by joint, as the robot has them now: homing, collision avoidance and users change them."""
        joints = {"lift": self.robot.lift, "arm": self.robot.arm, "wrist_yaw": self._servo("wrist_yaw")}
        return {name: tuple(float(x) for x in joint.get_soft_motion_limits()) for name, joint in joints.items()}

    def guarded_events(self) -> dict[str, int]:
        """Guarded contacts so far, by motor."""
        return {name: int(motor.status["guarded_event"]) for name, motor in self._motors.items()}

    def runstop(self) -> bool:
        """Whether the run-stop is pressed."""
        return bool(self.robot.pimu.status["runstop_event"])

    def homed(self) -> bool:
        """Whether every joint that needs it knows where it is."""
        return bool(self.robot.is_homed())

    def volts(self) -> float:
        """Battery voltage."""
        return float(self.robot.pimu.status["voltage"])

    def alerts(self) -> tuple[str, ...]:
        """What the power board complains about, for people."""
        status = self.robot.pimu.status
        words = {
            "over_tilt_alert": "the robot is tilted: put it on level ground",
            "low_voltage_alert": "the battery is low: plug in the charger",
            "cliff_event": "a cliff was seen under the base: move the robot by hand to safe ground",
        }
        return tuple(text for key, text in words.items() if status[key])

    def stale(self) -> dict[str, float]:
        """Ages in seconds of what does not answer any more, by board."""
        with self._watch_lock:
            return self._watch.stale(time.monotonic())

    @property
    def broken(self) -> str:
        """Why nothing can be sent or trusted any more, in words. Empty while all is well."""
        robot = self.robot
        for thread in (robot.non_dxl_thread, robot.dxl_end_of_arm_thread, robot.sys_thread):
            if not thread.is_alive() and not self._closing.is_set():
                # The last one also lets the servos go at a run-stop, and keeps them from overheating.
                return f"{thread.name} of stretch_body died: start the robot server again"
        since = self._pushing_since_s
        if since is None or time.monotonic() - since < self.config.push_s:
            return ""
        return "a command to the motors hangs, so a board went mute: start the robot server again"

    def still_s(self, *names: str) -> float:
        """For how long nothing (or none of the joints `names`) is known to have moved, seconds."""
        with self._watch_lock:
            return self._watch.still_s(*names)

    # Commands ----------------------------------------------------------------------------------------------------

    def move(self, goals: Mapping[str, float], *, unless: Callable[[], bool] = lambda: False) -> None:
        """Start moving joints to absolute goals, slowly and with guarded contact.

        Args:
            goals: Metres (lift, arm, base in the frame) and radians (wrist_yaw) by joint.
            unless: Asked once it is this command's turn; True sends nothing.

        Raises:
            RobotError: The boards did not take the command; `broken` says so from then on when they hang.
        """
        start = self.joints()

        def queue() -> None:
            for name, thresholds in (("lift", self.config.lift_contact_pct), ("arm", self.config.arm_contact_pct)):
                if name in goals:
                    low, high = thresholds or (None, None)
                    speed = self._speed(getattr(self.robot, name), "vel_m", "accel_m")
                    # Never the thresholds that end in _N: they end the process.
                    joint = getattr(self.robot, name)
                    joint.move_to(goals[name], *speed, contact_thresh_pos=high, contact_thresh_neg=low)
            if "base" in goals:
                speed = self._speed(self.robot.base, "vel_m", "accel_m")
                contact = self.config.base_contact_pct
                self.robot.base.translate_by(goals["base"] - start.base, *speed, contact_thresh=contact)
            if "wrist_yaw" in goals:  # servos act at once
                speed = self._speed(self._servo("wrist_yaw"), "vel", "accel")
                self.robot.end_of_arm.move_to("wrist_yaw", goals["wrist_yaw"], *speed)

        self._push("a move", queue, unless, moves=tuple(goals))

    def turn(self, angle_rad: float, *, unless: Callable[[], bool] = lambda: False) -> None:
        """Start turning the base on the spot; raises as `move` does."""
        slow, gentle = self._speed(self.robot.base, "vel_m", "accel_m")
        radius = self.robot.base.params["wheel_separation_m"] / 2
        contact = self.config.base_contact_pct

        def queue() -> None:
            self.robot.base.rotate_by(angle_rad, slow / radius, gentle / radius, contact_thresh=contact)

        self._push("a turn", queue, unless, moves=("heading",))

    def grip(self, opening: float, *, unless: Callable[[], bool] = lambda: False) -> None:
        """Start opening (1) or closing (0) the gripper; raises as `move` does."""
        gripper = self._servo("stretch_gripper")
        goal = gripper.pct_max_open if opening >= 0.5 else self.config.gripper_closed_pct
        speed = self._speed(gripper, "vel", "accel")

        def queue() -> None:
            self.robot.end_of_arm.move_to("stretch_gripper", goal, *speed)

        self._push("a grip", queue, unless, moves=("stretch_gripper",))

    def point_head(self, pan: float, tilt: float) -> None:
        """Turn the head camera to absolute angles, radians; raises as `move` does."""

        def queue() -> None:
            for name, angle in (("head_pan", pan), ("head_tilt", tilt)):
                self.robot.head.move_to(name, angle, *self._speed(self.robot.head.get_joint(name), "vel", "accel"))

        self._push("a turn of the head", queue)

    def guard_wheels(self) -> None:
        """Let the wheels stop at contact; an RE1 comes with that switched off.

        Wheel by wheel: where `Robot.push_command` uses asyncio, it cuts what is longer than one frame, as gains are.

        Raises:
            RobotError: A wheel did not take it.
        """

        def push() -> None:
            for wheel in (self.robot.base.left_wheel, self.robot.base.right_wheel):
                wheel.enable_guarded_mode()
                wheel.push_command()

        bounded("the wheels' settings", 2 * self.config.push_s, push)

    def hold(self) -> None:
        """Soft stop, braked as hard as the robot allows; raises as `move` does.

        The goals are where a joint comes to rest: one where it is now would be passed and driven back to.
        """
        dead = self.stale()
        base = self.robot.base
        wheels = {"left wheel": base.left_wheel, "right wheel": base.right_wheel}
        hardest = base.translate_to_motor_rad(base.params["motion"]["max"]["accel_m"])

        def to_rest(name: str, motor: Any, distance: float) -> float:
            return 0.0 if name in dead or motor.status["in_guarded_event"] else distance

        def queue() -> None:
            for name, joint in (("lift", self.robot.lift), ("arm", self.robot.arm)):
                distance = to_rest(name, joint.motor, joint.get_braking_distance())
                joint.move_by(distance, a_m=joint.params["motion"]["max"]["accel_m"])
            for name, wheel in wheels.items():  # each by itself, so that a turn stops as well
                speed = wheel.status["vel"]
                distance = to_rest(name, wheel, speed * abs(speed) / 2 / hardest)
                wheel.set_command(mode=wheel.MODE_POS_TRAJ_INCR, x_des=distance, v_des=base.vel_mr, a_des=hardest)

        servos = threading.Thread(target=self._hold_servos, name="hold servos", daemon=True)
        servos.start()
        self._push("a stop", queue, limit_s=self.config.stop_push_s)
        servos.join(self.config.stop_push_s)

    def press_runstop(self) -> bool:
        """The way that works when nothing else does: through the power board alone, past the robot's lock.

        Returns:
            True when the power board confirmed it. Only a person at the robot releases it again.
        """
        pimu = self.robot.pimu

        def press() -> bool:
            pimu.runstop_event_trigger()
            pimu.push_command()
            pimu.pull_status()  # its status thread may be dead, and the servos wait for this number too
            return bool(pimu.status["runstop_event"])

        try:
            return bounded("the run-stop", self.config.push_s, press)
        except RobotError as error:
            log.error("%s; press the button on the robot", error)
        # Without the power board no soft stop begins either: motors wait for its signal. Safety mode needs none.
        for name, motor in self._motors.items():
            threading.Thread(target=self._safety, args=(name, motor), name=f"safety {name}", daemon=True).start()
        return False

    def _safety(self, name: str, motor: Any) -> None:
        try:
            motor.enable_safety()
            motor.push_command()
        except BaseException as error:
            log.error("the %s motor could not be put into safety mode: %s", name, error)

    def close(self) -> None:
        """Put motors and servos at rest and free the ports; gives up after a while when a board hangs."""
        self._closing.set()
        try:
            bounded("the driver's own stop", 8.0, self.robot.stop)
        except RobotError as error:
            log.error("%s; end the process with SIGKILL", error)

    # Inside ------------------------------------------------------------------------------------------------------

    def _push(
        self,
        what: str,
        queue: Callable[[], None],
        unless: Callable[[], bool] = lambda: False,
        *,
        moves: tuple[str, ...] = (),
        limit_s: float = 0.0,
    ) -> None:
        """One set of commands at a time: `queue` them, send them, and note what should begin to move."""
        limit_s = limit_s or self.config.push_s
        if self.broken:
            raise RobotError(self.broken)
        if not self._push_lock.acquire(timeout=limit_s):
            raise RobotError(f"{what} could not be sent: the command before it hangs")

        def send() -> None:
            try:
                self._pushing_since_s = time.monotonic()
                wait = self._next_push_s - time.monotonic()
                if wait > 0:  # faster, and the power board of an RE1 drops the commands
                    time.sleep(wait)
                if unless():
                    return
                queue()
                self._push_queued(what)
                with self._watch_lock:
                    self._watch.touch(time.monotonic(), *moves)
            finally:
                self._next_push_s = time.monotonic() + self.config.push_every_s
                self._pushing_since_s = None
                self._push_lock.release()

        bounded(what, limit_s, send)

    def _push_queued(self, what: str) -> None:
        pimu = self.robot.pimu
        dropped = pimu.status["motor_sync_drop"]
        self.robot.push_command()
        if pimu.status["motor_sync_drop"] != dropped:
            log.warning("the power board dropped the start of %s; sent once more", what)
            time.sleep(self.config.push_every_s)
            pimu.trigger_motor_sync()

    def _hold_servos(self) -> None:
        """Stop a wrist or gripper that moves. `move_by(0)` does nothing on a servo; one at rest keeps its grip."""
        for name in SERVO_JOINTS:
            try:
                if self.still_s(name) < 0.2:
                    servo = self._servo(name)
                    servo.pull_status()
                    self.robot.end_of_arm.move_to(name, servo.status["pos_pct" if "pos_pct" in servo.status else "pos"])
            except BaseException as error:  # a servo that cannot be stopped shows in `still_s`
                log.error("%s could not be stopped: %s", name, error)

    def _speed(self, joint: Any, *keys: str) -> tuple[float, ...]:
        return tuple(joint.params["motion"][self.config.speed][key] for key in keys)

    def _servo(self, name: str) -> Any:
        return self.robot.end_of_arm.motors[name]

    def _keep_looking(self) -> None:
        while not self._closing.wait(LOOK_EVERY_S):
            self._look()

    def _look(self) -> None:
        now = time.monotonic()
        robot = self.robot
        marks = {name: motor.status["timestamp"] for name, motor in self._motors.items()}
        marks[POWER_BOARD] = robot.pimu.status["timestamp"]
        marks[SERVOS] = self._servo_alive(now)
        positions = {
            "lift": ("lift", robot.lift.status["pos"]),
            "arm": ("arm", robot.arm.status["pos"]),
            "base": ("left wheel", self._frame.driven(robot.base.status["x"], robot.base.status["y"])),
            "heading": ("right wheel", robot.base.status["theta"]),
            "wrist_yaw": (SERVOS, self._servo("wrist_yaw").status["pos"]),
            "stretch_gripper": (SERVOS, self._servo("stretch_gripper").status["pos"]),
        }
        with self._watch_lock:
            self._watch.look(now, marks, positions)

    def _servo_alive(self, now: float) -> float:
        """A number that changes with every true answer: after an error, stretch_body stamps old positions anew."""
        stamp = self._servo("wrist_yaw").status["timestamp_pc"]
        errors = self.robot.end_of_arm.comm_errors.status["n_rx"]
        if errors != self._servo_errors:
            self._servo_errors, self._servo_error_s = errors, now
        if now - self._servo_error_s < SERVO_ERROR_S:
            self._servo_ignored = stamp
        elif stamp != self._servo_ignored:
            self._servo_mark = stamp
        return self._servo_mark

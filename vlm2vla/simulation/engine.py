"""The physics: one model, its data, the clock, and the joint references that are followed step by step.

Knows joints and forces, no tasks and no actions. One thread steps; snapshots and the clock may be read from any.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import mujoco
import numpy as np

from vlm2vla.errors import RobotError
from vlm2vla.simulation.builds import RE1, Build
from vlm2vla.simulation.frames import Pose, to_world, yaw_to_world
from vlm2vla.simulation.model import Handles
from vlm2vla.simulation.robot_body import ACTUATORS, ARM_JOINTS, FINGER_CLOSED, FINGER_OPEN, FINGERS
from vlm2vla.simulation.scenes import Scene
from vlm2vla.simulation.staging import Staged, rest_height

log = logging.getLogger(__name__)

JOINTS = ("base", "lift", "arm", "wrist_yaw", "gripper")
"""Joints that an action moves, in the order of every reference row."""

_ACTUATOR_OF = {"base": "base_x", "lift": "lift", "arm": "arm", "wrist_yaw": "wrist_yaw", "gripper": "gripper"}

# A stop takes effect, snapshots are taken and subscribers are served this often.
BATCH_S = 0.02

# Contact forces are smoothed over about 15 ms, so that one hard knock of a light thing is not a contact.
_SMOOTHING = 0.25

_SETTLE_S = 0.4
# A robot whose joints are all slower than this, m/s and rad/s, stands still.
_STILL = 0.006
_HEAD_PAN, _HEAD_TILT = -1.57, -0.78
_APART = (mujoco.mjtWarning.mjWARN_BADQPOS, mujoco.mjtWarning.mjWARN_BADQVEL, mujoco.mjtWarning.mjWARN_BADQACC)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One moment, safe to read from any thread.

    Attributes:
        clock_s: `Engine.clock_s` then.
        time_s: Simulated seconds since the scene began.
        qpos: All positions.
        contacts: [N, 2] ids of geoms that touch each other.
    """

    clock_s: float
    time_s: float
    qpos: np.ndarray
    contacts: np.ndarray


class Engine:
    """Steps the simulation. Whatever it says about the robot is of the newest snapshot, for every thread the same.

    Attributes:
        speed: Simulated seconds per second of the wall clock; 0 runs as fast as it can.
        build: Geometry of the robot.
        hurry: While it is set, nothing waits for the wall clock: a stop is carried out as fast as can be computed.
    """

    def __init__(self, model: mujoco.MjModel, places: Handles, build: Build = RE1):
        # Left to itself MuJoCo writes warnings into the current folder, and begins anew where numbers leave all bounds.
        mujoco.set_mju_user_warning(log.warning)
        model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET
        self.model, self.places, self.build = model, places, build
        self.data = mujoco.MjData(model)
        self.period_s = float(model.opt.timestep)
        self.speed = 0.0
        self.hurry = threading.Event()
        self._columns = np.array([places.actuators[_ACTUATOR_OF[name]] for name in JOINTS])
        # The reference is shifted by velocity x kv / kp, so that the servo follows without lag.
        self._lead = np.array([ACTUATORS[_ACTUATOR_OF[name]][2] / ACTUATORS[_ACTUATOR_OF[name]][1] for name in JOINTS])
        self._dofs = np.array([places.joint_dof[name] for name in ("base_x", "joint_lift", "joint_wrist_yaw")])
        self._still_dofs = np.array([dof for name, dof in places.joint_dof.items() if "head" not in name])
        self.forces = np.zeros(4)
        self.reference = np.zeros(len(JOINTS))
        self._clock_start = 0.0
        self._subscribers: list[tuple[float, Callable[[], None], list[float]]] = []
        self._lock = threading.Lock()
        self._publish()
        self._batch = max(1, round(BATCH_S / self.period_s))

    @property
    def time_s(self) -> float:
        """Simulated seconds since the scene began."""
        return float(self.data.time)

    @property
    def clock_s(self) -> float:
        """Simulated seconds since the engine was made: never goes back."""
        return self._clock_start + float(self.data.time)

    def begin(self, scene: Scene, slots: Staged) -> None:
        """Everything in its place, at rest; time 0."""
        self._clock_start = self.clock_s
        data = self.data
        mujoco.mj_resetData(self.model, data)
        for thing in scene.objects:
            slot = slots[thing.name]
            if slot.qpos < 0:
                continue
            height = scene.table_height_m + rest_height(thing) + 0.0005
            turn = yaw_to_world(thing.yaw)
            data.qpos[slot.qpos : slot.qpos + 3] = to_world(np.array([*thing.position, height]))
            data.qpos[slot.qpos + 3 : slot.qpos + 7] = (np.cos(turn / 2), 0, 0, np.sin(turn / 2))
        self._begin_robot(scene)
        self.forces[:] = 0
        for _ in range(round(_SETTLE_S / self.period_s)):
            mujoco.mj_step(self.model, data)
        data.time = 0.0
        self._publish()

    def _begin_robot(self, scene: Scene) -> None:
        x, y, height = scene.ee_start
        rest = self.build.ee_of(Pose(0.0, 0.0, 0.0, 0.0))
        arm = float(np.clip(x - rest[0], 0.0, self.build.arm_m))
        base, lift = y - rest[1], scene.table_height_m + height - rest[2]
        positions = {"base_x": base, "joint_lift": lift, "joint_head_pan": _HEAD_PAN, "joint_head_tilt": _HEAD_TILT}
        positions |= dict.fromkeys(ARM_JOINTS, arm / len(ARM_JOINTS))
        positions |= {f"joint_gripper_finger_{side}": FINGER_OPEN for side in FINGERS}
        for name, value in positions.items():
            self.data.qpos[self.places.joint_qpos[name]] = value
        self.reference = np.array([base, lift, arm, 0.0, FINGER_OPEN])
        self.data.ctrl[:] = 0.0
        self.data.ctrl[self._columns] = self.reference
        self.data.ctrl[self.places.actuators["head_pan"]] = _HEAD_PAN
        self.data.ctrl[self.places.actuators["head_tilt"]] = _HEAD_TILT

    def follow(self, positions: np.ndarray, velocities: np.ndarray) -> None:
        """Step once per row of joint references [N, 5] (see `JOINTS`), N at most one batch.

        Raises:
            RobotError: The physics came apart; nothing more moves before the scene is begun again.
        """
        began = time.perf_counter()
        data, forces = self.data, self.forces
        rows = positions + velocities * self._lead
        for row in rows:
            data.ctrl[self._columns] = row
            mujoco.mj_step(self.model, data)
            push = data.qfrc_constraint
            base, lift, yaw = push[self._dofs]
            # Internal forces of the coupled segments cancel in their mean.
            now = np.array([base, lift, push[self.places.arm_dofs].mean(), yaw])
            forces += _SMOOTHING * (now - forces)
        if any(data.warning[kind].number for kind in _APART):
            raise RobotError("the simulated physics came apart (its numbers left all bounds); begin the scene again")
        self.reference = positions[-1].copy()
        self._publish()
        self._serve()
        if self.speed > 0:
            ahead = len(rows) * self.period_s / self.speed - (time.perf_counter() - began)
            if ahead > 0:
                self.hurry.wait(ahead)

    def hold(self, batches: int = 1) -> None:
        """Stay at the reference."""
        for _ in range(batches):
            self.follow(np.tile(self.reference, (self._batch, 1)), np.zeros((self._batch, len(JOINTS))))

    @property
    def batch(self) -> int:
        """Steps between two looks at the stop button."""
        return self._batch

    def joints(self) -> np.ndarray:
        """[5] measured positions of `JOINTS`, metres and radians."""
        qpos, at = self.snapshot.qpos, self.places.joint_qpos
        arm = sum(qpos[at[name]] for name in ARM_JOINTS)
        gripper = (qpos[at["joint_gripper_finger_left"]] + qpos[at["joint_gripper_finger_right"]]) / 2
        return np.array([qpos[at["base_x"]], qpos[at["joint_lift"]], arm, qpos[at["joint_wrist_yaw"]], gripper])

    def head(self) -> tuple[float, float]:
        """Pan and tilt, radians."""
        qpos, at = self.snapshot.qpos, self.places.joint_qpos
        return float(qpos[at["joint_head_pan"]]), float(qpos[at["joint_head_tilt"]])

    def ee(self) -> np.ndarray:
        """[7] end-effector in the manipulation frame, opening of the gripper last."""
        base, lift, arm, yaw, finger = self.joints()
        x, y, z, yaw = self.build.ee_of(Pose(base, arm, lift, yaw))
        return np.array([x, y, z, 0.0, 0.0, yaw, opening_of(finger)])

    def still(self) -> bool:
        """No joint of the robot moves worth mentioning."""
        return bool(np.abs(self.data.qvel[self._still_dofs]).max() < _STILL)

    def subscribe(self, period_s: float, call: Callable[[], None]) -> Callable[[], None]:
        """Run `call` in the stepping thread every `period_s` of simulated time; returns how to end that."""
        entry = (period_s, call, [self.clock_s + period_s])
        with self._lock:
            self._subscribers.append(entry)

        def end() -> None:
            with self._lock:
                if entry in self._subscribers:
                    self._subscribers.remove(entry)

        return end

    def _serve(self) -> None:
        if not self._subscribers:
            return
        with self._lock:
            entries = list(self._subscribers)
        now = self.clock_s + 1e-9
        for period, call, due in entries:
            while due[0] <= now:
                due[0] += period
                call()

    def _publish(self) -> None:
        data = self.data
        touching = np.array(data.contact.geom, dtype=np.int32).reshape(-1, 2)
        self.snapshot = Snapshot(self.clock_s, self.time_s, data.qpos.copy(), touching)


def opening_of(finger: float) -> float:
    """Opening 0..1 of the gripper for an angle of its fingers."""
    return float(np.clip((finger - FINGER_CLOSED) / (FINGER_OPEN - FINGER_CLOSED), 0.0, 1.0))


def finger_of(opening: float) -> float:
    """Inverse of `opening_of`."""
    return FINGER_CLOSED + opening * (FINGER_OPEN - FINGER_CLOSED)

"""Takes labelled pictures: a scene at a moment, the pixels that a policy would see, and what covers each patch."""

from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import mujoco
import numpy as np

from vlm2vla.simulation.cameras import Darkroom, encode_jpeg
from vlm2vla.simulation.frames import EE_HEIGHT_M, HAND_M, WRIST, to_world
from vlm2vla.simulation.model import build_model, handles
from vlm2vla.simulation.pictures.layouts import spot_of
from vlm2vla.simulation.pictures.moments import Moment
from vlm2vla.simulation.robot_body import ARM_JOINTS, FINGER_CLOSED, FINGER_OPEN, FINGERS, ROBOT_BIT
from vlm2vla.simulation.scenes import TABLE_TEXTURES, Scene
from vlm2vla.simulation.staging import Staged, rest_height, stage, texture_names
from vlm2vla.simulation.stretch import LIMITS
from vlm2vla.simulation.textures import table_texture

VIEW = "external"
LIVE_PX = 224
"""Size of the camera's pictures in a rollout; they are sent as JPEG, and made smaller by the model's processor."""
PX, GRID = 220, 10
GRIPPER, NOTHING = 100, -1

# A patch belongs to what covers more than this share of it; a thing that nowhere does gets its best patch all the same.
_COVER, _LEAST_COVER = 0.12, 0.04
# Bodies may seem to overlap by so much, metres: what the physics lets them do as well.
_TOUCH_M, _LYING_M = 0.003, 0.008
_HAND = ("link_gripper", "link_puller")
# Behind or below the camera, wherever the robot is: half of all the triangles. See the tests.
_UNSEEN = ("base_link", "link_head", "link_right_wheel", "link_left_wheel", "caster_link", "respeaker_base")
_OFF = 5
# The grain of table tops is drawn anew for so many variants of each; drawing takes longer than the picture.
_GRAINS = 12
_HEAD = {"joint_head_pan": -1.57, "joint_head_tilt": -0.78}


@dataclass(frozen=True, eq=False)
class Shot:
    """One picture.

    Attributes:
        jpeg: As the robot's camera sends it, `LIVE_PX` large.
        pixels: [PX, PX, 3] uint8, as a vision tower of that size is shown it.
        patches: [GRID * GRID] int8: index of the thing in `Scene.objects` that is seen there, GRIPPER or NOTHING.
        visible_px: Pixels (of PX x PX) of each thing.
    """

    jpeg: bytes
    pixels: np.ndarray
    patches: np.ndarray
    visible_px: tuple[int, ...]


class PictureCamera:
    """One model and one graphics context for many pictures."""

    def __init__(self, cache: Path | None = None):
        self._model, self._blank = build_model(cache)
        # Nothing moves here, and what sleeps is not checked for collisions.
        self._model.opt.enableflags &= ~int(mujoco.mjtEnableBit.mjENBL_SLEEP)
        self._places = handles(self._model)
        self._darkroom = Darkroom(self._model)
        self._data = mujoco.MjData(self._model)
        self._hand = self._bodies(_HAND)
        self._unseen = np.flatnonzero(np.isin(self._model.geom_bodyid, self._bodies(_UNSEEN)))
        self._angles = np.linspace(FINGER_CLOSED, FINGER_OPEN, 12)
        self._gaps = np.array([self._gap(angle) for angle in self._angles])
        self._scene: Scene | None = None

    def finger_around(self, width_m: float) -> float:
        """Angle of the fingers, radians, at which the fingertips touch a thing of that width from both sides."""
        return float(np.interp(width_m, self._gaps, self._angles))

    def stage(self, scene: Scene) -> None:
        """Lay out another scene."""
        self._slots = self._darkroom.change(lambda: self._write(scene), texture_names(scene))
        self._data = mujoco.MjData(self._model)
        self._parked = self._data.qpos.copy()
        self._scene = scene
        spots = [(self._slots[thing.name], rest_height(thing), 0.55 * thing.size_m[0]) for thing in scene.graspable]
        self._darkroom.shade(tuple(spots), scene.table_height_m)

    def possible(self, moment: Moment) -> bool:
        """The robot can be like that, and nothing is inside anything else."""
        if any(not low <= value <= high for value, (low, high) in zip(_joints(moment), LIMITS.values(), strict=True)):
            return False
        self._data.qpos[:] = self.positions(moment)
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)
        mujoco.mj_collision(self._model, self._data)
        held = self._slots[moment.holding].body if moment.holding else -1
        contact = self._data.contact
        bodies = self._model.geom_bodyid
        for pair, depth in zip(contact.geom, contact.dist, strict=True):
            robot = [bool(self._model.geom_contype[geom] & ROBOT_BIT) for geom in pair]
            if any(robot) and held in bodies[pair]:
                continue
            if depth < -(_TOUCH_M if any(robot) else _LYING_M):
                return False
        return True

    def take(self, moment: Moment) -> Shot:
        """The picture of that moment.

        Raises:
            RobotError: No graphics on this computer.
        """
        qpos = self.positions(moment)
        jpeg = encode_jpeg(self._darkroom.render(qpos, VIEW, LIVE_PX))
        labels = self._things(self._darkroom.labels(qpos, VIEW, PX))
        count = len(self._scene.objects)
        visible = tuple(int(value) for value in np.bincount(labels[(labels >= 0) & (labels < count)], minlength=count))
        return Shot(jpeg, shrink(jpeg), patches_of(labels), visible)

    def project(self, points: np.ndarray) -> np.ndarray:
        """[..., 2] where points [..., 3] of the manipulation frame appear: right and down, in pixels of PX."""
        camera = self._model.camera(VIEW).id
        turn = np.zeros(9)
        mujoco.mju_quat2Mat(turn, self._model.cam_quat[camera])
        seen = (to_world(points) - self._model.cam_pos[camera]) @ turn.reshape(3, 3)
        focal = 0.5 / np.tan(np.radians(self._model.cam_fovy[camera]) / 2)
        right, down = focal * seen[..., 0] / -seen[..., 2], -focal * seen[..., 1] / -seen[..., 2]
        return PX * (0.5 + np.stack([right, down], axis=-1))

    def positions(self, moment: Moment) -> np.ndarray:
        """All positions of the physics at that moment."""
        qpos = self._parked.copy()
        base, lift, arm, yaw = _joints(moment)
        joints = {"base_x": base, "joint_lift": lift, "joint_wrist_yaw": yaw, **_HEAD}
        joints |= dict.fromkeys(ARM_JOINTS, arm / len(ARM_JOINTS))
        joints |= {f"joint_gripper_finger_{side}": moment.finger for side in FINGERS}
        for name, value in joints.items():
            qpos[self._places.joint_qpos[name]] = value
        for thing in self._scene.objects:
            at = self._slots[thing.name].qpos
            if at >= 0:
                qpos[at : at + 7] = (moment.moved.get(thing.name) or spot_of(self._scene, thing)).world()
        return qpos

    def close(self) -> None:
        """Let go of the graphics; safe to call twice."""
        self._darkroom.close()

    def __enter__(self) -> "PictureCamera":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, scene: Scene) -> Staged:
        slots = stage(self._model, self._blank, self._places, scene, _table_texture)
        self._model.geom_group[self._unseen] = _OFF
        return slots

    def _bodies(self, prefixes: tuple[str, ...]) -> np.ndarray:
        names = [self._model.body(body).name for body in range(self._model.nbody)]
        return np.array([body for body, name in enumerate(names) if name.startswith(prefixes)])

    def _things(self, geoms: np.ndarray) -> np.ndarray:
        """Labels of geoms -> index of the thing, GRIPPER or NOTHING."""
        table = np.full(self._model.ngeom + 1, NOTHING, dtype=np.int32)
        table[:-1][np.isin(self._model.geom_bodyid, self._hand)] = GRIPPER
        for index, thing in enumerate(self._scene.objects):
            table[:-1][self._model.geom_bodyid == self._slots[thing.name].body] = index
        return table[geoms]

    def _gap(self, angle: float) -> float:
        """Metres between the inner faces of the fingertips."""
        for side in FINGERS:
            self._data.qpos[self._places.joint_qpos[f"joint_gripper_finger_{side}"]] = angle
        mujoco.mj_kinematics(self._model, self._data)
        left, right = (self._data.geom_xpos[pad] for pad in self._places.pads)
        thickness = [self._model.geom_size[pad][2] for pad in self._places.pads]
        return float(np.linalg.norm(left - right) - sum(thickness))


def _table_texture(name: str, seed: int) -> np.ndarray:
    return _grain(name, seed % _GRAINS)


@lru_cache(maxsize=len(TABLE_TEXTURES) * _GRAINS)
def _grain(name: str, number: int) -> np.ndarray:
    return table_texture(name, number)


def shrink(jpeg: bytes) -> np.ndarray:
    """[PX, PX, 3] uint8 of a camera's JPEG, as a model's image processor makes it smaller."""
    from PIL import Image

    with Image.open(BytesIO(jpeg)) as image:
        return np.asarray(image.convert("RGB").resize((PX, PX), Image.Resampling.BILINEAR))


def patches_of(labels: np.ndarray) -> np.ndarray:
    """[GRID * GRID] int8: what covers most of each patch of [PX, PX] labels."""
    side = len(labels) // GRID
    cells = labels.reshape(GRID, side, GRID, side).transpose(0, 2, 1, 3).reshape(GRID * GRID, side * side)
    shift = -NOTHING
    counts = np.stack([np.bincount(cell + shift, minlength=GRIPPER + shift + 1) for cell in cells])[:, shift:]
    best = counts.argmax(axis=1)
    patches = np.where(counts.max(axis=1) > _COVER * side * side, best, NOTHING)
    for thing in np.flatnonzero(counts[:, :GRIPPER].sum(axis=0)):
        own = counts[:, thing]
        if thing not in patches and own.max() > _LEAST_COVER * side * side:
            patches[own.argmax()] = thing
    return patches.astype(np.int8)


def _joints(moment: Moment) -> tuple[float, float, float, float]:
    """base, lift, arm, wrist yaw that bring the end-effector there, in the order of `stretch.LIMITS`."""
    x, y, z, yaw = moment.ee
    base = y - WRIST[1] - HAND_M * np.sin(yaw)
    arm = x - WRIST[0] - HAND_M * np.cos(yaw)
    return float(base), float(z - EE_HEIGHT_M), float(arm), yaw

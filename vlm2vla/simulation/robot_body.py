"""The robot as MuJoCo sees it: links drawn and collided with, joints driven, the gripper.

World axes here are those of the robot's base (X ahead, Y left, Z up); the arm points to the robot's right, -Y.
Knows nothing of tables, objects and pictures.
"""

from pathlib import Path

import mujoco
import numpy as np

from vlm2vla.simulation.builds import RE1, Build
from vlm2vla.simulation.meshes import light_mesh
from vlm2vla.simulation.urdf import Description

ARM_JOINTS = tuple(f"joint_arm_l{segment}" for segment in range(4))
FINGERS = ("left", "right")

# Which things touch which: every robot part meets table, floor and objects, but no other robot part.
TABLE_BIT, OBJECT_BIT, ROBOT_BIT = 1, 2, 4

# Geom groups: drawn, and only collided with.
DRAWN, COLLIDED = 2, 3

# Finger angles, radians: fingertip pads touch, and the widest opening that the studio's gripper command 1 stands for.
FINGER_CLOSED, FINGER_OPEN = -0.070, 0.245
# Here the pads face each other squarely. The real cups hang on bow springs that keep them so over a range of openings;
# the URDF's fingers are stiff, so the cups are turned to be square where objects are usually held.
_FINGER_SQUARE = 0.04

_COLOURS = {
    "base_link": (0.23, 0.24, 0.27),
    "link_right_wheel": (0.12, 0.12, 0.13),
    "link_left_wheel": (0.12, 0.12, 0.13),
    "caster_link": (0.12, 0.12, 0.13),
    "link_mast": (0.16, 0.17, 0.19),
    "link_lift": (0.86, 0.86, 0.84),
    "link_arm_l4": (0.20, 0.21, 0.23),
    "link_arm_l3": (0.30, 0.31, 0.34),
    "link_arm_l2": (0.24, 0.25, 0.28),
    "link_arm_l1": (0.30, 0.31, 0.34),
    "link_arm_l0": (0.24, 0.25, 0.28),
    "link_wrist_yaw": (0.55, 0.56, 0.58),
    "link_gripper": (0.34, 0.35, 0.38),
    "link_puller": (0.55, 0.56, 0.58),
    "link_gripper_finger_left": (0.72, 0.73, 0.75),
    "link_gripper_finger_right": (0.72, 0.73, 0.75),
    "link_gripper_fingertip_left": (0.10, 0.10, 0.11),
    "link_gripper_fingertip_right": (0.10, 0.10, 0.11),
}
_OTHER_COLOUR = (0.20, 0.20, 0.22)

# Sizes of the grid cells that vertices are merged in; coarse where nobody looks closely.
_FINE_CELL, _COARSE_CELL = 0.004, 0.010
_FINE = ("link_gripper", "link_wrist_yaw", "link_arm_l0")

# damping, armature
_JOINTS = {
    "base_x": (20, 1.0),
    "base_y": (50, 1.0),
    "base_yaw": (20, 1.0),
    "joint_lift": (20, 0.5),
    "joint_head_pan": (1, 0.05),
    "joint_head_tilt": (1, 0.05),
    "joint_wrist_yaw": (0.5, 0.05),
    "joint_gripper_finger_left": (0.2, 0.01),
    "joint_gripper_finger_right": (0.2, 0.01),
    **dict.fromkeys(ARM_JOINTS, (5, 0.3)),
}

# name: target, kp, kv, force limit. Newton, Newton metres; forces far above what a guarded contact lets happen.
ACTUATORS = {
    "base_x": ("base_x", 60000, 2600, 300),
    "base_y": ("base_y", 60000, 2600, 600),
    "base_yaw": ("base_yaw", 12000, 700, 300),
    "lift": ("joint_lift", 8000, 400, 150),
    "arm": ("arm_extend", 8000, 260, 100),
    "wrist_yaw": ("joint_wrist_yaw", 40, 3.0, 10),
    "gripper": ("joint_gripper_finger_left", 30, 1.2, 4),
    "head_pan": ("joint_head_pan", 20, 1.5, 5),
    "head_tilt": ("joint_head_tilt", 20, 1.5, 5),
}


def robot_spec(description: Description, cache: Path, build: Build = RE1) -> mujoco.MjSpec:
    """The robot alone on its planar base, ready for a room to be added.

    Raises:
        NotFoundError: A mesh of the package is missing.
    """
    spec = mujoco.MjSpec.from_string(description.text)
    for body in spec.bodies:
        body.gravcomp = 1.0  # the real lift carries itself; position errors would come from gravity alone
    _square_fingertips(spec)
    for visual in description.visuals:
        _draw(spec, visual.link, visual.mesh, cache)
    _set_joints(spec)
    _add_couplings(spec)
    _add_actuators(spec)
    _add_collision(spec)
    _add_head_camera(spec)
    _rebuild(spec, build)
    return spec


def _draw(spec: mujoco.MjSpec, link: str, path: Path, cache: Path) -> None:
    cell = _FINE_CELL if link.startswith(_FINE) else _COARSE_CELL
    vertices, faces = light_mesh(path, cache, cell)
    mesh = spec.add_mesh(name=f"mesh_{link}")
    mesh.uservert = vertices.ravel().tolist()
    mesh.userface = faces.ravel().tolist()
    # Thin plates have no volume to compute an inertia from; the URDF's inertias are used anyway.
    mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL
    mesh.maxhullvert = 16
    spec.body(link).add_geom(
        type=mujoco.mjtGeom.mjGEOM_MESH,
        meshname=mesh.name,
        mass=0,
        rgba=[*_COLOURS.get(link, _OTHER_COLOUR), 1],
        group=DRAWN,
        contype=0,
        conaffinity=0,
    )


def _square_fingertips(spec: mujoco.MjSpec) -> None:
    """Turn the fingertips so that their pads face each other at `_FINGER_SQUARE`."""
    model = spec.compile()
    data = mujoco.MjData(model)
    for side in FINGERS:
        data.joint(f"joint_gripper_finger_{side}").qpos[0] = _FINGER_SQUARE
    mujoco.mj_kinematics(model, data)
    tips = [data.body(f"link_gripper_fingertip_{side}").xpos for side in FINGERS]
    for side, own, other in zip(FINGERS, tips, reversed(tips), strict=True):
        inward = (other - own) / np.linalg.norm(other - own)
        finger = data.body(f"link_gripper_finger_{side}")
        along = own - finger.xpos
        along -= along @ inward * inward
        along /= np.linalg.norm(along)
        wanted = np.stack([along, np.cross(inward, along), inward], axis=1)
        local = finger.xmat.reshape(3, 3).T @ wanted
        quat = np.zeros(4)
        mujoco.mju_mat2Quat(quat, local.ravel())
        spec.body(f"link_gripper_fingertip_{side}").quat = quat


def _set_joints(spec: mujoco.MjSpec) -> None:
    for name, (damping, armature) in _JOINTS.items():
        joint = spec.joint(name)
        joint.damping[0] = damping
        joint.armature = armature
        joint.actfrclimited = 0
    for side in FINGERS:
        spec.joint(f"joint_gripper_finger_{side}").range = [FINGER_CLOSED, FINGER_OPEN + 0.1]


def _add_couplings(spec: mujoco.MjSpec) -> None:
    """The four arm segments move together, and so do the two fingers."""
    pairs = [(name, "joint_arm_l3") for name in ("joint_arm_l2", "joint_arm_l1", "joint_arm_l0")]
    pairs.append(("joint_gripper_finger_right", "joint_gripper_finger_left"))
    for name, leader in pairs:
        equality = spec.add_equality(
            type=mujoco.mjtEq.mjEQ_JOINT, name1=name, name2=leader, objtype=mujoco.mjtObj.mjOBJ_JOINT
        )
        equality.data[:5] = [0, 1, 0, 0, 0]
        equality.solref[:] = [0.008, 1]
    tendon = spec.add_tendon(name="arm_extend")
    for name in ARM_JOINTS:
        tendon.wrap_joint(name, 1.0)


def _add_actuators(spec: mujoco.MjSpec) -> None:
    for name, (target, kp, kv, force) in ACTUATORS.items():
        kind = mujoco.mjtTrn.mjTRN_TENDON if name == "arm" else mujoco.mjtTrn.mjTRN_JOINT
        actuator = spec.add_actuator(name=name, target=target, trntype=kind)
        actuator.set_to_position(kp=kp, kv=kv)
        actuator.forcerange[:] = [-force, force]
        actuator.forcelimited = 1


def _add_collision(spec: mujoco.MjSpec) -> None:
    """Boxes and capsules in each link's own frame, a little inside what is drawn."""
    box, capsule = mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_CAPSULE
    _collide(spec, "base_link", box, [0.162, 0.17, 0.072], pos=[-0.117, 0, 0.09])
    _collide(spec, "link_mast", box, [0.02, 0.645, 0.02], pos=[0, 0.705, 0])
    _collide(spec, "link_lift", box, [0.085, 0.075, 0.045], pos=[-0.05, 0.0, 0.026])
    for segment, half in zip(range(4, -1, -1), (0.030, 0.028, 0.026, 0.024, 0.023), strict=True):
        _collide(spec, f"link_arm_l{segment}", box, [half, half, 0.105], pos=[0, 0, -0.113])
    _collide(spec, "link_arm_l0", box, [0.05, 0.028, 0.025], pos=[0.05, 0, 0])
    _collide(spec, "link_gripper", box, [0.06, 0.03, 0.03], pos=[-0.045, 0.01, -0.045])
    for side, sign in zip(FINGERS, (1, -1), strict=True):
        ends = [0, 0, 0, sign * 0.165, sign * 0.014, 0]
        _collide(spec, f"link_gripper_finger_{side}", capsule, [0.007, 0, 0], fromto=ends)
        spec.body(f"link_gripper_fingertip_{side}").add_geom(
            name=f"pad_{side}",
            type=box,
            size=[0.0115, 0.0115, 0.006],
            pos=[0, 0, 0.006],
            friction=[1.3, 0.05, 0.005],
            condim=4,
            priority=1,
            solref=[0.01, 1],
            mass=0,
            group=COLLIDED,
            contype=ROBOT_BIT,
            conaffinity=TABLE_BIT | OBJECT_BIT,
        )


def _collide(spec: mujoco.MjSpec, link: str, kind: mujoco.mjtGeom, size: list[float], **where: list[float]) -> None:
    spec.body(link).add_geom(
        type=kind,
        size=size,
        mass=0,
        group=COLLIDED,
        contype=ROBOT_BIT,
        conaffinity=TABLE_BIT | OBJECT_BIT,
        rgba=[1, 0, 0, 0.4],
        **where,
    )


def _add_head_camera(spec: mujoco.MjSpec) -> None:
    """The D435i: its body as a box (the package has only a heavy COLLADA file) and its colour camera."""
    spec.body("camera_link").add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=[0.0125, 0.045, 0.0125],
        pos=[-0.012, -0.002, 0],
        rgba=[0.75, 0.76, 0.78, 1],
        mass=0,
        group=DRAWN,
        contype=0,
        conaffinity=0,
    )
    # Optical frame (z ahead, x right, y down) to MuJoCo camera (-z ahead, y up): half a turn about x. This is the raw
    # landscape picture of the sideways mounted camera; `cameras` turns it upright.
    spec.body("camera_color_optical_frame").add_camera(name="head", quat=[0, 1, 0, 0], fovy=42.5)


def _rebuild(spec: mujoco.MjSpec, build: Build) -> None:
    """Move the hand away from the wrist and the arm along the mast, and bridge the gaps with struts."""
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    # World: the arm points to -Y, the base drives along X.
    for link, shift, radius in (
        ("link_gripper", np.array([0.0, -build.hand_longer_m, 0.0]), 0.013),
        ("link_arm_l4", np.array([build.arm_ahead_m, 0.0, 0.0]), 0.035),
    ):
        if not shift.any():
            continue
        body = spec.body(link)
        before = np.array(body.pos)
        body.pos = before + data.body(body.parent.name).xmat.reshape(3, 3).T @ shift
        body.parent.add_geom(
            type=mujoco.mjtGeom.mjGEOM_CYLINDER,
            size=[radius, 0, 0],
            fromto=[*before, *body.pos],
            mass=0,
            rgba=[*_COLOURS[body.parent.name], 1],
            group=DRAWN,
            contype=ROBOT_BIT,
            conaffinity=TABLE_BIT | OBJECT_BIT,
        )

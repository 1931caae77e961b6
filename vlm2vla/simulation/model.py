"""The one model of robot and room: composed from the published robot description at run time, never shipped.

Knows where things are in the model (`Handles`); knows nothing of scenes in particular and of motion.
"""

import copy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import mujoco
import numpy as np

from vlm2vla.simulation.builds import RE1, Build
from vlm2vla.simulation.robot_body import ACTUATORS, ARM_JOINTS, FINGERS, robot_spec
from vlm2vla.simulation.room import WALLS, add_room
from vlm2vla.simulation.scenes import MAX_CARDS, MAX_CONTAINERS, MAX_GRASPABLE
from vlm2vla.simulation.urdf import describe
from vlm2vla.workspace import Workspace


@dataclass(frozen=True, eq=False)
class Slot:
    """One body of the pool: ids of the body, its geoms in the order of `room`, and of its free joint (-1 without)."""

    body: int
    geoms: tuple[int, ...]
    qpos: int = -1
    dof: int = -1


@dataclass(frozen=True, eq=False)
class Handles:
    """Where things are in the model's arrays."""

    actuators: dict[str, int]
    joint_qpos: dict[str, int]
    joint_dof: dict[str, int]
    arm_dofs: np.ndarray
    robot_dofs: np.ndarray
    pads: tuple[int, int]
    objects: tuple[Slot, ...]
    containers: tuple[Slot, ...]
    cards: tuple[Slot, ...]


def mesh_cache(cache: Path | None = None) -> Path:
    """Folder of the decimated meshes: `cache`, or one in the workspace."""
    folder = cache or Workspace.open().root / "cache" / "stretch_re1"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def build_model(cache: Path | None = None, build: Build = RE1) -> tuple[mujoco.MjModel, mujoco.MjModel]:
    """A model of one's own, and the blank one that it is a copy of (shared, never written).

    About a second the first time in a process, then milliseconds.

    Raises:
        NotFoundError: The robot description is not installed.
        WorkspaceError: No folder for the decimated meshes.
    """
    blank = _compiled(mesh_cache(cache), build)
    return copy.copy(blank), blank


@lru_cache(maxsize=2)
def _compiled(cache: Path, build: Build) -> mujoco.MjModel:
    spec = robot_spec(describe(), cache, build)
    add_room(spec)
    return spec.compile()


def handles(model: mujoco.MjModel) -> Handles:
    """Look everything up once."""
    joints = ("base_x", "base_y", "base_yaw", "joint_lift", *ARM_JOINTS, "joint_wrist_yaw")
    joints += tuple(f"joint_gripper_finger_{side}" for side in FINGERS) + ("joint_head_pan", "joint_head_tilt")
    dof = {name: int(model.joint(name).dofadr[0]) for name in joints}
    return Handles(
        actuators={name: model.actuator(name).id for name in ACTUATORS},
        joint_qpos={name: int(model.joint(name).qposadr[0]) for name in joints},
        joint_dof=dof,
        arm_dofs=np.array([dof[name] for name in ARM_JOINTS]),
        robot_dofs=np.array(list(dof.values())),
        pads=tuple(model.geom(f"pad_{side}").id for side in FINGERS),
        objects=tuple(_slot(model, f"object_{i}", ("", "_lid", "_foot", "_band")) for i in range(MAX_GRASPABLE)),
        containers=tuple(
            _slot(model, f"container_{i}", ("_shape", "_base", *(f"_wall_{wall}" for wall in range(WALLS))))
            for i in range(MAX_CONTAINERS)
        ),
        cards=tuple(_slot(model, f"card_{i}", ("",), free=False) for i in range(MAX_CARDS)),
    )


def _slot(model: mujoco.MjModel, name: str, parts: tuple[str, ...], *, free: bool = True) -> Slot:
    geoms = tuple(model.geom(name + part).id for part in parts)
    if not free:
        return Slot(model.body(name).id, geoms)
    joint = model.joint(name)
    return Slot(model.body(name).id, geoms, int(joint.qposadr[0]), int(joint.dofadr[0]))

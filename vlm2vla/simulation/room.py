"""Everything around the robot: floor, table, lamp, external camera, and a pool of things that a scene switches on.

One model serves every scene. Bodies are generic: `staging` gives them type, size, colour and place at run time, so
that nothing is compiled again. Positions here are MuJoCo's world unless they say otherwise.
"""

import mujoco
import numpy as np

from vlm2vla.simulation.frames import to_world
from vlm2vla.simulation.meshes import turned
from vlm2vla.simulation.robot_body import COLLIDED, DRAWN, OBJECT_BIT, ROBOT_BIT, TABLE_BIT
from vlm2vla.simulation.scenes import BOWL_SIZE, MAX_CARDS, MAX_CONTAINERS, MAX_GRASPABLE, PLATE_SIZE
from vlm2vla.simulation.textures import CARD_PX, TABLE_PX

# Manipulation frame: middle of the table top, and half its size along x and y.
TABLE_MIDDLE = (0.72, 0.0)
TABLE_HALF = (0.315, 0.52)
TABLE_THICKNESS = 0.03
LEG_HALF = 0.025

WALLS = 12
PARKED_Z = -5.0

# Pictures can be this large.
LARGEST_PX = 1280

# Where the external camera stands and what it looks at, manipulation frame: high over the robot's left shoulder.
EXTERNAL_EYE = (0.18, 0.27, 1.66)
EXTERNAL_TARGET = (0.61, 0.01, 0.76)
EXTERNAL_FOVY_DEG = 39.0

OBJECT_FRICTION = (0.8, 0.02, 0.001)


def add_room(spec: mujoco.MjSpec) -> None:
    """Add floor, table, light, cameras and the pool to the robot's spec."""
    _options(spec)
    _textures(spec)
    world = spec.worldbody
    world.add_light(name="lamp", pos=[0, 0, 2.4], dir=[0, 0, -1], castshadow=False, cutoff=80)
    world.add_light(
        name="fill",
        pos=[1.5, 1.0, 2.0],
        dir=[-0.6, -0.6, -0.6],
        castshadow=False,
        diffuse=[0.22, 0.22, 0.24],
        specular=[0, 0, 0],
    )
    world.add_geom(
        name="floor",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        size=[4, 4, 0.1],
        rgba=[0.6, 0.6, 0.6, 1],
        contype=TABLE_BIT,
        conaffinity=OBJECT_BIT | ROBOT_BIT,
        group=DRAWN,
    )
    _table(spec)
    for index in range(MAX_CARDS):
        _card(spec, index)
    for index in range(MAX_GRASPABLE):
        _graspable(spec, index)
    for index in range(MAX_CONTAINERS):
        _container(spec, index)
    eye, target = to_world(np.array(EXTERNAL_EYE)), to_world(np.array(EXTERNAL_TARGET))
    world.add_camera(name="external", pos=eye, quat=looking(eye, target), fovy=EXTERNAL_FOVY_DEG)


def looking(eye: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Quaternion of a MuJoCo camera at `eye` that looks at `target`, world frame.

    It looks down steeply, and is turned so that the robot's forward (-Y) is up in the picture and its left is left:
    what words call left and forward is where a person looks for it.
    """
    back = (eye - target) / np.linalg.norm(eye - target)
    right = np.cross([0.0, -1.0, 0.0], back)
    right /= np.linalg.norm(right)
    quat = np.zeros(4)
    mujoco.mju_mat2Quat(quat, np.stack([right, np.cross(back, right), back], axis=1).ravel())
    return quat


def _options(spec: mujoco.MjSpec) -> None:
    option = spec.option
    option.timestep = 0.004
    option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    option.impratio = 20
    # What lies still costs nothing until something touches it.
    option.enableflags |= mujoco.mjtEnableBit.mjENBL_SLEEP
    # Bounding volumes of bodies are made at compile time, sizes change later: collide geom by geom.
    option.disableflags |= mujoco.mjtDisableBit.mjDSBL_MIDPHASE
    visual = spec.visual
    visual.global_.offwidth = visual.global_.offheight = LARGEST_PX
    visual.quality.offsamples = 0
    visual.quality.numslices = 24
    visual.quality.numstacks = 12
    visual.headlight.ambient = [0.42] * 3
    visual.headlight.diffuse = [0.22] * 3
    visual.headlight.specular = [0.0] * 3
    visual.map.znear = 0.01
    visual.map.zfar = 20


def _textures(spec: mujoco.MjSpec) -> None:
    _blank_texture(spec, "table", TABLE_PX, specular=0.1)
    for index in range(MAX_CARDS):
        _blank_texture(spec, f"card_{index}", CARD_PX, specular=0.0)
    spec.add_texture(
        name="sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=[0.80, 0.84, 0.88],
        rgb2=[0.58, 0.60, 0.63],
        width=64,
        height=384,
    )


def _blank_texture(spec: mujoco.MjSpec, name: str, size: int, *, specular: float) -> None:
    texture = spec.add_texture(name=name, type=mujoco.mjtTexture.mjTEXTURE_2D, width=size, height=size, nchannel=3)
    texture.data = bytes(size * size * 3)
    material = spec.add_material(name=name, specular=specular, shininess=0.3)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name


def _table(spec: mujoco.MjSpec) -> None:
    x, y, _ = to_world(np.array([*TABLE_MIDDLE, 0.0]))
    table = spec.worldbody.add_body(name="table", pos=[x, y, 0.72])
    table.add_geom(
        name="table_top",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=[TABLE_HALF[1], TABLE_HALF[0], TABLE_THICKNESS / 2],
        pos=[0, 0, -TABLE_THICKNESS / 2],
        material="table",
        friction=OBJECT_FRICTION,
        contype=TABLE_BIT,
        conaffinity=OBJECT_BIT | ROBOT_BIT,
        group=DRAWN,
    )
    for side in (-1, 1):
        for end in (-1, 1):
            table.add_geom(
                type=mujoco.mjtGeom.mjGEOM_BOX,
                size=[LEG_HALF, LEG_HALF, 0.35],
                pos=[side * (TABLE_HALF[1] - 0.04), end * (TABLE_HALF[0] - 0.04), -TABLE_THICKNESS - 0.35],
                rgba=[0.42, 0.40, 0.38, 1],
                contype=TABLE_BIT,
                conaffinity=OBJECT_BIT | ROBOT_BIT,
                group=DRAWN,
            )


def _card(spec: mujoco.MjSpec, index: int) -> None:
    body = spec.worldbody.add_body(name=f"card_{index}", pos=[0, 0, PARKED_Z])
    body.add_geom(
        name=f"card_{index}",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=[0.035, 0.035, 0.0008],
        material=f"card_{index}",
        group=DRAWN,
        contype=0,
        conaffinity=0,
    )


def _graspable(spec: mujoco.MjSpec, index: int) -> None:
    body = spec.worldbody.add_body(name=f"object_{index}", pos=[0.3 * index, 2, PARKED_Z])
    body.add_freejoint(name=f"object_{index}")
    body.add_geom(
        name=f"object_{index}",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=[0.02, 0.02, 0.02],
        mass=0.05,
        friction=OBJECT_FRICTION,
        condim=4,
        contype=OBJECT_BIT,
        conaffinity=TABLE_BIT | OBJECT_BIT | ROBOT_BIT,
        group=DRAWN,
    )
    for part in ("lid", "foot", "band"):
        body.add_geom(
            name=f"object_{index}_{part}",
            type=mujoco.mjtGeom.mjGEOM_CYLINDER,
            size=[0.01, 0.001, 0],
            mass=0,
            contype=0,
            conaffinity=0,
            group=DRAWN,
        )


def _container(spec: mujoco.MjSpec, index: int) -> None:
    if index == 0:
        for name, profile in (("bowl", bowl_profile()), ("plate", plate_profile())):
            vertices, faces = turned(profile, crisp=name == "plate")
            mesh = spec.add_mesh(name=name)
            mesh.uservert = vertices.ravel().tolist()
            mesh.userface = faces.ravel().tolist()
            mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL
    body = spec.worldbody.add_body(name=f"container_{index}", pos=[0.3 * index, 3, PARKED_Z])
    body.add_freejoint(name=f"container_{index}")
    body.simple = 0  # its centre of mass moves with the scene
    body.add_geom(
        name=f"container_{index}_shape",
        type=mujoco.mjtGeom.mjGEOM_MESH,
        meshname="bowl",
        mass=0,
        contype=0,
        conaffinity=0,
        group=DRAWN,
    )
    solid = {
        "friction": OBJECT_FRICTION,
        "condim": 4,
        "contype": OBJECT_BIT,
        "conaffinity": TABLE_BIT | OBJECT_BIT | ROBOT_BIT,
        "group": COLLIDED,
    }
    body.add_geom(
        name=f"container_{index}_base", type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=[0.05, 0.003, 0], mass=0.2, **solid
    )
    for wall in range(WALLS):
        body.add_geom(
            name=f"container_{index}_wall_{wall}",
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=[0.01, 0.01, 0.002],
            mass=0,
            **solid,
        )


def bowl_profile() -> np.ndarray:
    """[N, 2] closed outline (radius, height) of the bowl, its foot at height 0."""
    radius, height, wall = BOWL_SIZE[0] / 2, BOWL_SIZE[2], 0.004
    bend = np.linspace(-np.pi / 2, 0, 9)[1:]
    foot = 0.034
    outer = np.column_stack([foot + (radius - foot) * np.cos(bend), height + height * np.sin(bend)])
    inner = np.column_stack([outer[:, 0] - wall, np.maximum(outer[:, 1], wall)])[::-1]
    return np.concatenate([[(0.0005, 0.0), (foot, 0.0)], outer, inner, [(foot - wall, wall), (0.0005, wall)]])


def plate_profile() -> np.ndarray:
    """[N, 2] closed outline (radius, height) of the plate, its foot at height 0."""
    radius, height, wall = PLATE_SIZE[0] / 2, PLATE_SIZE[2], 0.004
    well = radius * 0.66
    outer = [(0.0005, 0.0), (well, 0.0), (radius, height - wall), (radius, height)]
    inner = [(radius - 0.005, height), (well + 0.004, 0.009), (well, wall), (0.0005, wall)]
    return np.array(outer + inner)

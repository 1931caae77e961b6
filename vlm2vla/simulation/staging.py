"""Put a scene into the model: types, sizes, colours, masses, textures, light and the camera's jitter, at run time.

Everything is first set back, so that a model that had other scenes before equals a fresh one, bit for bit.
Knows the pool of `room`; moves no robot and draws nothing.
"""

from collections.abc import Callable

import mujoco
import numpy as np

from vlm2vla.simulation.builds import RE1, Build
from vlm2vla.simulation.frames import to_world
from vlm2vla.simulation.model import Handles, Slot
from vlm2vla.simulation.robot_body import COLLIDED, DRAWN, OBJECT_BIT, ROBOT_BIT, TABLE_BIT
from vlm2vla.simulation.room import (
    EXTERNAL_EYE,
    EXTERNAL_FOVY_DEG,
    EXTERNAL_TARGET,
    LEG_HALF,
    PARKED_Z,
    TABLE_MIDDLE,
    TABLE_THICKNESS,
    WALLS,
    looking,
)
from vlm2vla.simulation.scenes import BOWL_SIZE, COLOURS, PLATE_SIZE, Look, Scene, SceneObject
from vlm2vla.simulation.textures import card_texture, table_texture

# Switched off geoms go to a group that is neither drawn nor collided with.
_OFF = 5

_DENSITY = 450.0  # kg/m3, about that of wood or a can that is half full
_CONTAINER_KG = 0.25
_METAL = (0.78, 0.79, 0.80)

Staged = dict[str, Slot]
"""Slot of every object by its name."""

# Whatever `stage` changes, directly or through bounds that MuJoCo derives.
_WRITTEN = (
    *("geom_type", "geom_size", "geom_pos", "geom_quat", "geom_dataid", "geom_rbound", "geom_aabb", "geom_group"),
    *("geom_contype", "geom_conaffinity", "geom_condim", "geom_rgba", "geom_sameframe", "bvh_aabb"),
    *("body_mass", "body_inertia", "body_ipos", "body_iquat", "body_gravcomp", "body_pos", "body_quat"),
    *("body_sameframe", "light_pos", "light_dir", "light_diffuse", "light_specular", "cam_pos", "cam_quat", "cam_fovy"),
    "tex_data",
)


def stage(
    model: mujoco.MjModel,
    blank: mujoco.MjModel,
    places: Handles,
    scene: Scene,
    draw_table: Callable[[str, int], np.ndarray] = table_texture,
    build: Build = RE1,
) -> Staged:
    """Write `scene` into `model`, a copy of `blank`; the caller resets the data and uploads the textures."""
    for name in _WRITTEN:
        getattr(model, name)[:] = getattr(blank, name)
    slots: Staged = {}
    for group, pool, write in (
        (scene.graspable, places.objects, _graspable),
        (scene.containers, places.containers, _container),
        (scene.cards, places.cards, _card),
    ):
        for index, slot in enumerate(pool):
            _switch_off(model, slot)
            if index < len(group):
                write(model, slot, group[index])
                slots[group[index].name] = slot
    _table(model, scene)
    for thing in scene.cards:
        _lay_card(model, slots[thing.name], thing, scene.table_height_m)
    _light(model, scene.look)
    _camera(model, scene.look, build)
    _textures(model, scene, draw_table)
    # Inverse inertias and the like follow from what was written.
    mujoco.mj_setConst(model, mujoco.MjData(model))
    return slots


def rest_height(thing: SceneObject) -> float:
    """How high the body's origin is over what it stands on."""
    return thing.size_m[2] / 2 if thing.graspable else 0.0


def _switch_off(model: mujoco.MjModel, slot: Slot) -> None:
    for geom in slot.geoms:
        model.geom_sameframe[geom] = 0  # a shortcut of the compiler that holds no longer once geoms move
        model.geom_group[geom] = _OFF
        model.geom_contype[geom] = model.geom_conaffinity[geom] = 0
    if slot.dof >= 0:
        model.body_gravcomp[slot.body] = 1.0  # parked in the air, asleep
        _set_mass(model, slot, 0.1, np.full(3, 1e-4))
    else:
        model.body_pos[slot.body] = (0, 0, PARKED_Z)


def _set_mass(model: mujoco.MjModel, slot: Slot, mass: float, inertia: np.ndarray, height: float = 0.0) -> None:
    model.body_mass[slot.body] = mass
    model.body_inertia[slot.body] = inertia
    model.body_ipos[slot.body] = (0, 0, height)
    model.body_iquat[slot.body] = (1, 0, 0, 0)


def _shape(
    model: mujoco.MjModel,
    geom: int,
    kind: mujoco.mjtGeom,
    size: tuple[float, float, float],
    *,
    pos: tuple[float, float, float] = (0.0, 0.0, 0.0),
    quat: tuple[float, ...] | np.ndarray = (1.0, 0.0, 0.0, 0.0),
    rgba: tuple[float, ...] = (),
    solid: bool = True,
    drawn: bool = True,
) -> None:
    """Type, size and place of one geom, and the bounds that collision detection derives from them."""
    model.geom_type[geom] = kind
    model.geom_size[geom] = size
    model.geom_pos[geom] = pos
    model.geom_quat[geom] = quat
    model.geom_dataid[geom] = -1
    if kind == mujoco.mjtGeom.mjGEOM_BOX:
        bounds, radius = size, float(np.linalg.norm(size))
    elif kind == mujoco.mjtGeom.mjGEOM_SPHERE:
        bounds, radius = (size[0],) * 3, size[0]
    else:
        bounds, radius = (size[0], size[0], size[1]), float(np.hypot(size[0], size[1]))
    model.geom_rbound[geom] = radius
    model.geom_aabb[geom] = (0, 0, 0, *bounds)
    model.geom_group[geom] = DRAWN if drawn else COLLIDED
    model.geom_contype[geom] = OBJECT_BIT if solid else 0
    model.geom_conaffinity[geom] = TABLE_BIT | OBJECT_BIT | ROBOT_BIT if solid else 0
    if rgba:
        model.geom_rgba[geom] = (*rgba, 1)


def _graspable(model: mujoco.MjModel, slot: Slot, thing: SceneObject) -> None:
    x, y, z = (value / 2 for value in thing.size_m)
    colour = COLOURS[thing.colour]
    body, lid, foot, band = slot.geoms
    if thing.kind in ("cube", "box"):
        kind, size, volume = mujoco.mjtGeom.mjGEOM_BOX, (x, y, z), 8 * x * y * z
        inertia = np.array([y * y + z * z, x * x + z * z, x * x + y * y]) / 3
    elif thing.kind == "ball":
        kind, size, volume = mujoco.mjtGeom.mjGEOM_SPHERE, (x, 0, 0), 4 / 3 * np.pi * x**3
        inertia = np.full(3, 0.4 * x * x)
    else:
        kind, size, volume = mujoco.mjtGeom.mjGEOM_CYLINDER, (x, z, 0), 2 * np.pi * x * x * z
        side = (3 * x * x + 4 * z * z) / 12
        inertia = np.array([side, side, x * x / 2])
    mass = max(0.02, _DENSITY * volume)
    _shape(model, body, kind, size, rgba=colour)
    # A ball stops rolling after a hand's breadth, as a soft one does.
    model.geom_condim[body] = 6 if thing.kind == "ball" else 4
    if thing.kind == "can":
        cylinder = mujoco.mjtGeom.mjGEOM_CYLINDER
        for geom, end in ((lid, 1), (foot, -1)):
            _shape(model, geom, cylinder, (x * 0.90, 0.002, 0), pos=(0, 0, end * (z - 0.001)), rgba=_METAL, solid=False)
        _shape(model, band, cylinder, (x * 1.012, z * 0.28, 0), rgba=_pale(colour), solid=False)
    model.body_gravcomp[slot.body] = 0.0
    _set_mass(model, slot, mass, mass * inertia)


def _pale(colour: tuple[float, float, float]) -> tuple[float, ...]:
    """Paper band of a can: white, or dark on a white can."""
    return (0.93, 0.93, 0.90) if min(colour) < 0.8 else (0.35, 0.37, 0.40)


def _container(model: mujoco.MjModel, slot: Slot, thing: SceneObject) -> None:
    shape, base, *walls = slot.geoms
    colour = COLOURS[thing.colour]
    if thing.kind == "tray":
        _tray(model, thing, base, walls, colour)
    else:
        _dish(model, thing, shape, base, walls, colour)
    model.body_gravcomp[slot.body] = 0.0
    x, y, z = thing.size_m
    inertia = _CONTAINER_KG / 12 * np.array([y * y + z * z, x * x + z * z, x * x + y * y])
    _set_mass(model, slot, _CONTAINER_KG, inertia, height=z / 4)


def _dish(
    model: mujoco.MjModel,
    thing: SceneObject,
    shape: int,
    base: int,
    walls: list[int],
    colour: tuple[float, float, float],
) -> None:
    """A turned mesh to look at; a disc and a ring of slanted boxes to touch."""
    mesh = model.mesh(thing.kind).id
    model.geom_type[shape] = mujoco.mjtGeom.mjGEOM_MESH
    model.geom_dataid[shape] = mesh
    model.geom_pos[shape] = model.mesh_pos[mesh]
    model.geom_quat[shape] = model.mesh_quat[mesh]
    model.geom_rgba[shape] = (*colour, 1)
    model.geom_group[shape] = DRAWN
    if thing.kind == "bowl":
        foot, rim, height, thick = 0.046, BOWL_SIZE[0] / 2 - 0.003, BOWL_SIZE[2], 0.003
    else:
        foot, rim, height, thick = PLATE_SIZE[0] * 0.33, PLATE_SIZE[0] / 2, PLATE_SIZE[2], 0.0025
    _shape(model, base, mujoco.mjtGeom.mjGEOM_CYLINDER, (foot, 0.0025, 0), pos=(0, 0, 0.0025), drawn=False)
    slope = np.arctan2(height - 0.004, rim - foot)
    length = np.hypot(height - 0.004, rim - foot)
    middle = (foot + rim) / 2
    for index, geom in enumerate(walls):
        angle = 2 * np.pi * index / WALLS
        half_width = rim * np.tan(np.pi / WALLS)
        _shape(
            model,
            geom,
            mujoco.mjtGeom.mjGEOM_BOX,
            (length / 2, half_width, thick),
            pos=(middle * np.cos(angle), middle * np.sin(angle), 0.002 + height / 2),
            quat=_turned(angle, -slope),
            drawn=False,
        )


def _tray(
    model: mujoco.MjModel, thing: SceneObject, base: int, walls: list[int], colour: tuple[float, float, float]
) -> None:
    x, y, z = thing.size_m[0] / 2, thing.size_m[1] / 2, thing.size_m[2] / 2
    thick, box = 0.004, mujoco.mjtGeom.mjGEOM_BOX
    _shape(model, base, box, (x, y, 0.003), pos=(0, 0, 0.003), rgba=tuple(0.85 * value for value in colour))
    sides = (
        ((thick, y, z), (x - thick, 0.0, z)),
        ((thick, y, z), (-x + thick, 0.0, z)),
        ((x, thick, z), (0.0, y - thick, z)),
        ((x, thick, z), (0.0, -y + thick, z)),
    )
    for geom, (size, pos) in zip(walls[:4], sides, strict=True):
        _shape(model, geom, box, size, pos=pos, rgba=colour)


def _turned(about_z: float, about_y: float) -> np.ndarray:
    turn_z, turn_y, both = np.zeros(4), np.zeros(4), np.zeros(4)
    mujoco.mju_axisAngle2Quat(turn_z, np.array([0.0, 0.0, 1.0]), about_z)
    mujoco.mju_axisAngle2Quat(turn_y, np.array([0.0, 1.0, 0.0]), about_y)
    mujoco.mju_mulQuat(both, turn_z, turn_y)
    return both


def _card(model: mujoco.MjModel, slot: Slot, thing: SceneObject) -> None:
    geom = slot.geoms[0]
    model.geom_size[geom] = (thing.size_m[0] / 2, thing.size_m[1] / 2, thing.size_m[2] / 2)
    model.geom_group[geom] = DRAWN


def _lay_card(model: mujoco.MjModel, slot: Slot, thing: SceneObject, table_height: float) -> None:
    model.body_pos[slot.body] = to_world(np.array([*thing.position, table_height + thing.size_m[2] / 2]))
    # The picture's upper edge points away from the robot, as for somebody who stands behind it.
    model.body_quat[slot.body] = _turned(thing.yaw + np.pi, 0.0)


def _table(model: mujoco.MjModel, scene: Scene) -> None:
    body = model.body("table").id
    model.body_pos[body, 2] = scene.table_height_m
    half = (scene.table_height_m - TABLE_THICKNESS) / 2
    start = model.body_geomadr[body]
    for geom in range(start + 1, start + model.body_geomnum[body]):
        model.geom_size[geom, 2] = half
        model.geom_pos[geom, 2] = -TABLE_THICKNESS - half
        model.geom_rbound[geom] = float(np.linalg.norm((LEG_HALF, LEG_HALF, half)))
        model.geom_aabb[geom] = (0, 0, 0, LEG_HALF, LEG_HALF, half)


def _light(model: mujoco.MjModel, look: Look) -> None:
    lamp = model.light("lamp").id
    middle = np.array([*TABLE_MIDDLE, 0.72])
    position = to_world(middle + np.array(look.light_position))
    towards = to_world(middle) - position
    model.light_pos[lamp] = position
    model.light_dir[lamp] = towards / np.linalg.norm(towards)
    model.light_diffuse[lamp] = (look.light_strength,) * 3
    model.light_specular[lamp] = (0.25,) * 3
    model.vis.headlight.ambient[:] = look.ambient
    model.geom_rgba[model.geom("floor").id] = (*look.floor_colour, 1)


def _camera(model: mujoco.MjModel, look: Look, build: Build) -> None:
    camera = model.camera("external").id
    eye = to_world(np.array(EXTERNAL_EYE) + np.array(build.eye_shift_m) + np.array(look.camera_shift_m))
    upright = looking(eye, to_world(np.array(EXTERNAL_TARGET) + np.array(build.target_shift_m)))
    turn = np.zeros(4)
    mujoco.mju_euler2Quat(turn, np.array(look.camera_turn_rad), "xyz")
    quat = np.zeros(4)
    mujoco.mju_mulQuat(quat, upright, turn)
    model.cam_pos[camera] = eye
    model.cam_quat[camera] = quat
    model.cam_fovy[camera] = EXTERNAL_FOVY_DEG * look.camera_zoom


def _textures(model: mujoco.MjModel, scene: Scene, draw_table: Callable[[str, int], np.ndarray]) -> None:
    write_texture(model, "table", draw_table(scene.look.table_texture, scene.look.texture_seed))
    for index, thing in enumerate(scene.cards):
        write_texture(model, f"card_{index}", card_texture(thing.symbol, COLOURS[thing.colour]))


def write_texture(model: mujoco.MjModel, name: str, picture: np.ndarray) -> None:
    """Replace the pixels of one texture."""
    texture = model.texture(name).id
    start = int(model.tex_adr[texture])
    pixels = picture.ravel()
    model.tex_data[start : start + pixels.size] = pixels


def texture_names(scene: Scene) -> tuple[str, ...]:
    """Textures that `stage` wrote."""
    return ("table", *(f"card_{index}" for index in range(len(scene.cards))))

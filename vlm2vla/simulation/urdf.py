"""The published description of the robot (URDF in hello-robot-stretch-urdf), reduced to what the simulator needs.

Links that only carry sensors the simulator does not have are left out; meshes are handed on beside the text, because
they are decimated first. Knows no MuJoCo beyond the one compiler element that its importer reads.
"""

import importlib.util
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

from vlm2vla.errors import NotFoundError

_MODEL = "RE1V0"
_URDF = f"stretch_description_{_MODEL}_tool_stretch_gripper.urdf"

# Sensors and markers that neither move anything nor are seen at 224 pixels.
_LEFT_OUT = ("camera_depth", "camera_infra", "camera_accel", "camera_gyro", "laser", "base_imu", "link_aruco_inner")

# The wheels do not turn here: the base slides over the floor as a whole.
_FIXED = ("joint_right_wheel", "joint_left_wheel")

PLANAR_BASE = (("base_x", "prismatic", "1 0 0"), ("base_y", "prismatic", "0 1 0"), ("base_yaw", "continuous", "0 0 1"))


@dataclass(frozen=True)
class Visual:
    """One mesh to draw: the link that carries it and the STL file. It sits at the link's own origin."""

    link: str
    mesh: Path


@dataclass(frozen=True)
class Description:
    """URDF text without meshes, and the meshes."""

    text: str
    visuals: tuple[Visual, ...]


def package_folder() -> Path:
    """Folder of the RE1 in the installed package.

    Raises:
        NotFoundError: The package is not installed.
    """
    found = importlib.util.find_spec("stretch_urdf")
    if found is None or found.origin is None:
        raise NotFoundError("the simulator needs the robot's description: pip install hello-robot-stretch-urdf")
    return Path(found.origin).parent / _MODEL


def describe() -> Description:
    """The RE1 with its gripper, on a base that slides in x, y and turns.

    Raises:
        NotFoundError: The package is not installed or has another layout than expected.
    """
    folder = package_folder()
    try:
        robot = ET.parse(folder / _URDF).getroot()
    except (OSError, ET.ParseError) as error:
        raise NotFoundError(f"hello-robot-stretch-urdf has no readable {_URDF}: {error}") from error
    _leave_out(robot)
    visuals = _take_meshes(robot, folder / "meshes")
    _fix_wheels(robot)
    _add_planar_base(robot)
    options = ET.SubElement(robot, "mujoco")
    # Unless told not to, the URDF importer welds links of fixed joints together (frames of cameras would be lost) and
    # throws away what is only drawn.
    settings = {"fusestatic": "false", "discardvisual": "false", "balanceinertia": "true"}
    ET.SubElement(options, "compiler", settings, boundmass="0.0005", boundinertia="1e-6")
    return Description(ET.tostring(robot, encoding="unicode"), visuals)


def _leave_out(robot: ET.Element) -> None:
    for joint in robot.findall("joint"):
        child = joint.find("child")
        if child is not None and child.get("link", "").startswith(_LEFT_OUT):
            robot.remove(joint)
    for link in robot.findall("link"):
        if link.get("name", "").startswith(_LEFT_OUT):
            robot.remove(link)


def _take_meshes(robot: ET.Element, folder: Path) -> tuple[Visual, ...]:
    visuals = []
    for link in robot.findall("link"):
        for shape in link.findall("visual"):
            mesh = shape.find("geometry/mesh")
            name = Path(mesh.get("filename", "")).name if mesh is not None else ""
            if name.upper().endswith(".STL"):
                visuals.append(Visual(link.get("name", ""), folder / name))
        for tag in ("visual", "collision"):
            for shape in link.findall(tag):
                link.remove(shape)
    return tuple(visuals)


def _fix_wheels(robot: ET.Element) -> None:
    for joint in robot.findall("joint"):
        if joint.get("name") in _FIXED:
            joint.set("type", "fixed")


def _add_planar_base(robot: ET.Element) -> None:
    chain = ["world_root", "base_dx", "base_dy", "base_link"]
    for name in chain[:-1]:
        link = ET.SubElement(robot, "link", name=name)
        if name != "world_root":
            inertial = ET.SubElement(link, "inertial")
            ET.SubElement(inertial, "mass", value="0.1")
            moments = {"ixx": ".001", "iyy": ".001", "izz": ".001", "ixy": "0", "ixz": "0", "iyz": "0"}
            ET.SubElement(inertial, "inertia", moments)
    for (name, kind, axis), parent, child in zip(PLANAR_BASE, chain, chain[1:], strict=False):
        joint = ET.SubElement(robot, "joint", name=name, type=kind)
        ET.SubElement(joint, "parent", link=parent)
        ET.SubElement(joint, "child", link=child)
        ET.SubElement(joint, "axis", xyz=axis)
        if kind == "prismatic":
            ET.SubElement(joint, "limit", lower="-5", upper="5", effort="1000", velocity="1")

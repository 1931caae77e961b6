"""The robots that can be driven, opened by name: simulated in this process, or served by `robot-server` elsewhere.

A real Stretch is always reached over the link, also on its own computer: what dies with the studio must not be the
watchdog. Knows nothing of policies and of who drives.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlm2vla.driving.eyes import Eyes
from vlm2vla.errors import ConfigError, RobotError
from vlm2vla.robot import Observation, Robot, Rules, table_box, tables
from vlm2vla.robot.link.config import PORT, RobotLinkConfig

if TYPE_CHECKING:
    from vlm2vla.simulation import Scene, World
    from vlm2vla.simulation.tasks import Task

JSON = dict[str, Any]
SAMPLE_S = 0.2
# Joints that a page draws gauges of: name, title, unit, lowest, highest.
GAUGES = (
    ("lift", "lift", "m", 0.0, 1.1),
    ("arm", "arm", "m", 0.0, 0.52),
    ("base", "base", "m", -0.5, 0.5),
    ("wrist_yaw", "wrist", "rad", -1.38, 1.57),
)
MAX_SEED = 1_000_000
SAME_LOOK_S = 0.2  # pictures of several cameras that are asked for within this time may be of one look


@dataclass(frozen=True)
class Stage:
    """What stands in front of a simulated robot.

    Attributes:
        world: The simulator.
        scene: What lies on the table.
        task: What could be done with it.
        seed: Of both.
    """

    world: "World"
    scene: "Scene"
    task: "Task"
    seed: int


@dataclass(frozen=True)
class Connected:
    """A robot that is open.

    Attributes:
        id: "simulated" or "link".
        robot: It.
        eyes: Its live pictures.
        rules: The safety rules in front of it.
        glance: Where it is, without pictures and without asking another computer; None when nobody has looked yet.
        stage: What is in the simulator; None for any other robot.
        titles: Titles of cameras by name.
        watchable: It can be looked at while it moves, which disturbs nobody: `Reins` does that. (A simulated one says
            itself when it has moved so far, see `sample`.)
    """

    id: str
    robot: Robot
    eyes: Eyes
    rules: Rules
    glance: Callable[[], Observation | None]
    stage: Stage | None = None
    titles: Mapping[str, str] = field(default_factory=dict)
    watchable: bool = False

    def sample(self, call: Callable[[Observation], None]) -> Callable[[], None]:
        """Have `call` look at the simulated robot while it moves, at 5 Hz of its time; returns how to end that.

        For any other robot nothing happens.
        """
        if self.stage is None:
            return lambda: None
        world = self.stage.world
        return world.subscribe(SAMPLE_S, lambda: call(world.glimpse()))

    @property
    def rate_hz(self) -> float:
        """Rate of samples in mid-motion; 0 where there are none."""
        return 1 / SAMPLE_S if self.stage or self.watchable else 0.0

    def close(self) -> None:
        """Stop and let go."""
        self.eyes.close()
        if self.stage is not None:
            self.stage.world.close()
        else:
            self.robot.close()

    def view(self) -> JSON:
        """For a page; status and pose are added by who knows them."""
        return {
            "id": self.id,
            "name": self.robot.name,
            "simulated": self.robot.simulated,
            "embodiment": self.robot.embodiment.name,
            "cameras": [{"name": name, "title": self.titles.get(name, name)} for name in self.eyes.cameras],
            "joints": gauges(),
            "scene": _scene_view(self.stage) if self.stage else None,
        }


def gauges() -> list[JSON]:
    """The joints that a page draws gauges of."""
    return [
        {"name": name, "title": title, "unit": unit, "low": low, "high": high}
        for name, title, unit, low, high in GAUGES
    ]


def catalogue() -> list[JSON]:
    """What `open_robot` can open, for a page."""
    return [
        {
            "id": "simulated",
            "title": "Simulated Stretch RE1",
            "simulated": True,
            "available": True,
            "note": "A Stretch at a table in the MuJoCo simulator of this computer. Nothing real moves.",
            "needs": ["task", "seed"],
        },
        {
            "id": "link",
            "title": "A robot on another computer",
            "simulated": None,
            "available": True,
            "note": "Served by `vlm2vla robot-server` there, which also knows how high the table is. Keys are files in "
            "the workspace's keys folder: your secret key, and the robot's public key.",
            "needs": ["host", "port", "heartbeat_port", "key", "server_key"],
        },
        {
            "id": "stretch",
            "title": "Stretch RE1 of this computer",
            "simulated": False,
            "available": False,
            "note": "Start `vlm2vla robot-server` on the robot's computer, which guards it also when the studio dies, "
            "and open it here as a robot on another computer (127.0.0.1 when it is the same one).",
            "needs": [],
        },
    ]


def open_robot(wish: JSON, keys: Path, operator: str = "") -> Connected:
    """Open a robot.

    Args:
        wish: "robot" and what `catalogue` says that it needs.
        keys: Folder with key files.
        operator: Name shown to others at the robot.

    Raises:
        ConfigError: No such robot, task or key.
        RobotError: It cannot be reached.
    """
    robot = wish.get("robot", "")
    if robot == "simulated":
        return open_simulated(str(wish.get("task") or "pick-up"), int(wish.get("seed") or 0))
    if robot == "link":
        return open_link(wish, keys, operator)
    note = next((entry["note"] for entry in catalogue() if entry["id"] == robot), "")
    raise ConfigError(note or f"no robot {robot!r}; there is {', '.join(entry['id'] for entry in catalogue())}")


def open_simulated(task: str, seed: int, image_px: int = 224) -> Connected:
    """A simulated Stretch in front of a scene, in real time.

    Args:
        task: One of `vlm2vla.simulation.tasks.FAMILIES`.
        seed: Of scene and task.
        image_px: Longer side of the pictures that a policy sees.

    Raises:
        ConfigError: No such task, or a seed that is none.
    """
    from vlm2vla.simulation import World
    from vlm2vla.simulation.cameras import CAMERAS
    from vlm2vla.simulation.tasks import make_task

    if not 0 <= seed <= MAX_SEED:
        raise ConfigError(f"a seed is 0 to {MAX_SEED}, not {seed}")
    scene, made = make_task(task, seed)
    world = World(scene, image_px=image_px, speed=1.0)
    robot = world.robot
    eyes = Eyes(robot.view, lambda: robot.status().time_s, tuple(CAMERAS))
    titles = {name: camera.title for name, camera in CAMERAS.items()}
    stage = Stage(world, scene, made, seed)
    return Connected("simulated", robot, eyes, _rules(robot, scene), robot.glance, stage, titles)


def change_scene(connected: Connected, task: str, seed: int) -> Connected:
    """Another scene in front of the same simulated robot; nothing may drive it meanwhile.

    Raises:
        ConfigError: Not simulated, or no such task.
    """
    from vlm2vla.simulation.tasks import make_task

    if connected.stage is None:
        raise ConfigError("only the scene of a simulated robot can be changed from here")
    if not 0 <= seed <= MAX_SEED:
        raise ConfigError(f"a seed is 0 to {MAX_SEED}, not {seed}")
    scene, made = make_task(task, seed)
    connected.stage.world.reset(scene)
    connected.eyes.refresh()
    stage = replace(connected.stage, scene=scene, task=made, seed=seed)
    return replace(connected, stage=stage, rules=_rules(connected.robot, scene))


def open_link(wish: JSON, keys: Path, operator: str) -> Connected:
    """A robot that `robot-server` serves."""
    from vlm2vla.robot.link import LinkRobot

    config = RobotLinkConfig(
        key=_key(keys, wish.get("key"), ".key_secret"),
        server_key=_key(keys, wish.get("server_key"), ".key"),
        host=str(wish.get("host") or "127.0.0.1"),
        port=int(wish.get("port") or PORT),
        heartbeat_port=int(wish.get("heartbeat_port") or PORT + 1),
        operator=operator,
    )
    robot = LinkRobot(config)
    try:
        seen = robot.observe()
    except RobotError:
        robot.close()
        raise
    return connect(robot, tuple(seen.images), watchable=True)


def connect(robot: Robot, cameras: tuple[str, ...], robot_id: str = "link", *, watchable: bool = False) -> Connected:
    """Any other robot: its live pictures are its observations."""
    lock, unseen, seen = threading.Lock(), {}, deque[tuple[Observation, float]](maxlen=1)

    def look(camera: str, _px: int) -> bytes:
        with lock:  # one look gives the pictures of all cameras
            if camera not in unseen or time.monotonic() - seen[0][1] > SAME_LOOK_S:
                seen.append((robot.observe(), time.monotonic()))
                unseen.update(seen[0][0].images)
            return unseen.pop(camera)

    eyes = Eyes(look, None, cameras)
    rules = Rules(robot.embodiment, keep_out=tables(getattr(robot, "table_height_m", None)))
    return Connected(robot_id, robot, eyes, rules, lambda: seen[0][0] if seen else None, watchable=watchable)


def _rules(robot: Robot, scene: "Scene") -> Rules:
    """The rules of the embodiment, and the table of this scene."""
    return Rules(robot.embodiment, keep_out=(table_box(scene.table_height_m, x=(0.30, 2.0)),))


def _key(folder: Path, name: Any, suffix: str) -> Path:
    """A key file by name, from one folder only: a page cannot make the studio read other files."""
    name = str(name or "").removesuffix(suffix)
    found = {path.name.removesuffix(suffix): path for path in sorted(folder.glob(f"*{suffix}"))}
    if name not in found:
        have = ", ".join(found) or "none"
        raise ConfigError(f"no key {name!r} in {folder} (there: {have}); vlm2vla robot-keys makes one")
    return found[name]


def _scene_view(stage: Stage) -> JSON:
    from vlm2vla.simulation import instructions

    task = stage.task
    roles = instructions.Roles(
        stage.scene.find(task.target),
        stage.scene.find(task.destination) if task.destination else None,
        stage.scene.find(task.second) if task.second else None,
    )
    family = task.family if task.family in ("pick-and-place", "pick-place-lift") else "pick-up"
    examples = [
        {
            "language": language,
            "name": instructions.language_name(language),
            "text": instructions.say(instructions.templates(family, language)[0], roles, language),
        }
        for language in instructions.LANGUAGES
    ]
    return {
        "task": task.family,
        "seed": stage.seed,
        "instruction": task.instruction,
        "examples": examples,
        "objects": [thing.name for thing in stage.scene.objects],
    }

"""Records the scripted expert as episodes: 5 Hz steps, frames of both cameras, the true subtasks.

Equal seeds give equal states and actions. Where episodes go is the caller's business: this module hands them to a
writer and knows no data format.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vlm2vla.errors import ConfigError, RobotError
from vlm2vla.simulation.expert import Expert
from vlm2vla.simulation.style import RECOVERY_SHARE
from vlm2vla.simulation.success import Progress, Verdict
from vlm2vla.simulation.tasks import RECORDED, TURNED, Task, make_task
from vlm2vla.types import Episode, Source, Subtask

if TYPE_CHECKING:
    from vlm2vla.simulation.scenes import Scene
    from vlm2vla.simulation.world import World

logger = logging.getLogger(__name__)

RATE_HZ = 5.0
CAMERAS = ("external", "head")
# The longest row of a recorded step: what arm, base and lift do in 0.2 s at their usual speeds.
STEP_M = 0.028
# The robot is still moving when it is looked at, so a row takes only a share of what is left.
GAIN = 0.55
# The fingers come to rest within this many steps.
GRIP_CYCLES = 4
_MAX_STEPS = 400
# Steps that are recorded after the expert is done, so that the end is seen at rest.
_REST_STEPS = 3
# Scattered starts: the larger part near the target (bound of the lateral distance on each axis), half of those low
# and with closed fingers, as after a grasp that missed; the rest anywhere over the table. Heights over the table of
# the fingertips.
_NEAR_SHARE, _NEAR_M, _MISSED_SHARE, _MISSED_M = 0.6, 0.09, 0.5, (0.02, 0.08)
_TABLE_X, _TABLE_Y = (0.50, 0.78), (-0.26, 0.26)
_LOW_M, _HIGH_M, _CROSSING_M = 0.05, 0.24, 0.20

Writer = Callable[[Iterator[Episode]], object]


@dataclass(frozen=True)
class MemoryFrames:
    """Frames held in memory, one per step.

    Attributes:
        frames: JPEG bytes.
    """

    frames: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.frames)

    def read(self, step: int) -> bytes:
        """JPEG bytes of `step`."""
        return self.frames[step]


@dataclass(frozen=True, eq=False)
class Recording:
    """One rollout of the expert.

    Attributes:
        episode: What was recorded; complete up to where it ended, whatever the verdict.
        task: What should have been done.
        verdict: How it ended.
        seed: The seed of task and expert.
        misses: Grasps that held nothing.
    """

    episode: Episode
    task: Task
    verdict: Verdict
    seed: int
    misses: int


@dataclass(frozen=True)
class RecordReport:
    """What was recorded.

    Attributes:
        episodes: Episodes that were handed to the writer.
        steps: Their steps, all together.
        recovered: How many of them hold a miss and its recovery.
        failed: Seeds at which the expert did not succeed; their episodes are left out.
        errors: Seeds at which the simulator broke, with its message.
        written: What the writer returned.
    """

    episodes: int
    steps: int
    recovered: int
    failed: tuple[int, ...]
    errors: tuple[tuple[int, str], ...]
    written: object = None


def record_episode(
    world: "World",
    scene: "Scene",
    task: Task,
    seed: int,
    *,
    cameras: Sequence[str] = CAMERAS,
    mistakes: bool | None = None,
    scatter: bool = False,
    dataset: str = "stretch-simulated",
) -> Recording:
    """Let the expert do one task and record it.

    Args:
        world: The simulator; it is reset to `scene`.
        scene: Where.
        task: What.
        seed: Of the expert's style.
        cameras: Cameras to record; none is fastest.
        mistakes: See `Expert`.
        scatter: Begin from a pose drawn from the seed (`scatter_robot`) instead of the start pose.
        dataset: Name that the episode carries.
    """
    world.reset(scene)
    if scatter:
        scatter_robot(world, scene, task, seed)
    state = world.state()
    expert = Expert(task, scene, seed, step_m=STEP_M, gain=GAIN, grip_cycles=GRIP_CYCLES, mistakes=mistakes)
    progress = Progress(task, state)
    states, rows, labels, misses, error = [], [], [], 0, ""
    frames: dict[str, list[bytes]] = {camera: [] for camera in cameras}
    resting, phase = 0, None
    try:
        while len(rows) < _MAX_STEPS and resting < _REST_STEPS:
            step = expert.next(state)
            if step is None:
                resting += 1
            row = step.row if step is not None else _rest(rows)
            misses += step is not None and step.phase == "back off" and phase != "back off"
            phase = step.phase if step is not None else None
            for camera in cameras:
                frames[camera].append(world.render(camera))
            states.append(np.array(state.ee))
            rows.append(row)
            labels.append(step.subtask if step is not None else (labels[-1] if labels else expert.subtasks[-1]))
            follow(world, row)
            state = world.state()
            progress.update(state)
    except RobotError as broken:
        error = str(broken)
        logger.warning("%s, seed %d: %s", task.family, seed, broken)
    if not states:
        raise RobotError(f"the simulator broke before the first step: {error}")
    episode = Episode(
        id=f"{dataset}-{task.family}-{seed:06d}",
        dataset=dataset,
        source=Source("simulated", "", ids={"family": task.family, "seed": str(seed)}),
        instruction=task.instruction,
        embodiment=world.robot.embodiment,
        rate_hz=RATE_HZ,
        states=np.array(states),
        commands=_padded(rows),
        cameras={camera: MemoryFrames(tuple(frames[camera][: len(states)])) for camera in cameras},
        paraphrases=task.paraphrases,
        subtasks=_spans(labels),
    )
    return Recording(episode, task, progress.verdict(error), seed, misses)


def record(
    family: str,
    count: int,
    seed: int,
    *,
    open_world: "Callable[[Scene], World]",
    write: Writer,
    cameras: Sequence[str] = CAMERAS,
    mistakes: float = RECOVERY_SHARE,
    scatter: float = 0.0,
    progress: Callable[[int, int], None] | None = None,
) -> RecordReport:
    """Record successful episodes until there are `count`, and hand them to a writer one at a time.

    Args:
        family: One of `tasks.RECORDED`, or `tasks.TURNED`.
        count: How many.
        seed: The first seed; the following ones are taken in turn. Seeds at which the expert fails are left out.
        open_world: Makes the simulator for the first scene; it is closed here.
        write: Takes the episodes as they come.
        cameras: Cameras to record.
        mistakes: Share of the episodes in which the expert misses once on purpose.
        scatter: Share of the episodes that begin from a scattered pose: near the target, or anywhere over the table.
        progress: Called with episodes recorded and `count`.

    Raises:
        ConfigError: A family that the expert does not solve, or a count below 1.
        RobotError: Hardly any seed succeeds: something is broken.
    """
    solved = (*RECORDED, TURNED)
    if family not in solved or count < 1:
        raise ConfigError(f"the expert records {', '.join(solved)}, at least one episode; not {family!r} x {count}")
    tally = _Tally()

    def make(world: "World", scene: "Scene", task: Task, at: int) -> Recording:
        scattered = bool(np.random.default_rng([at, 17]).random() < scatter)
        wrong = bool(np.random.default_rng([at, 19]).random() < mistakes)
        return record_episode(world, scene, task, at, cameras=cameras, mistakes=wrong, scatter=scattered)

    written = write(_successes(family, count, seed, open_world, make, tally, progress))
    return RecordReport(tally.episodes, tally.steps, tally.recovered, tuple(tally.failed), tuple(tally.errors), written)


def scatter_robot(world: "World", scene: "Scene", task: Task, seed: int) -> None:
    """Bring the gripper to a pose drawn from `seed`, high over the table first, then down.

    A policy that looks again in mid-motion stands where the expert never starts; recordings from there show how to go
    on. What is in the way stops the robot: then that is the pose.

    Raises:
        RobotError: The robot cannot go on.
    """
    rng = np.random.default_rng([seed, 13])
    target = world.state().objects[task.target].position
    near, missed = rng.random() < _NEAR_SHARE, rng.random() < _MISSED_SHARE
    if near:
        place = target[:2] + rng.uniform(-_NEAR_M, _NEAR_M, 2)
    else:
        place = np.array([rng.uniform(*_TABLE_X), rng.uniform(*_TABLE_Y)])
    table = scene.table_height_m
    height = table + rng.uniform(*(_MISSED_M if near and missed else (_LOW_M, _HIGH_M)))
    for goal in (np.array([*place, max(height, table + _CROSSING_M)]), np.array([*place, height])):
        for _ in range(40):
            way = goal - world.state().ee[:3]
            if np.abs(way).max() < 0.01:
                break
            row = np.zeros(7)
            row[:3], row[6] = np.clip(0.8 * way, -0.045, 0.045), 1.0
            follow(world, row)
    for _ in range(GRIP_CYCLES if near and missed else 1):
        follow(world, np.array([0.0, 0, 0, 0, 0, 0, 0.0 if near and missed else 1.0]))


def follow(world: "World", row: np.ndarray) -> None:
    """Carry out one row for the time of one step.

    Raises:
        RobotError: The robot cannot go on. A contact or a joint limit is no error: the state shows what came of it.
    """
    result = world.robot.servo(row, 1 / RATE_HZ)
    if result.outcome not in ("reached", "contact", "clipped"):
        raise RobotError(f"the simulated robot answered {result.outcome}: {result.message}")


class _Tally:
    """Counts while episodes stream to the writer."""

    def __init__(self):
        self.episodes = self.steps = self.recovered = 0
        self.failed: list[int] = []
        self.errors: list[tuple[int, str]] = []


def _successes(
    family: str,
    count: int,
    seed: int,
    open_world: "Callable[[Scene], World]",
    make: "Callable[[World, Scene, Task, int], Recording]",
    tally: _Tally,
    progress: Callable[[int, int], None] | None,
) -> Iterator[Episode]:
    world = None
    try:
        while tally.episodes < count:
            scene, task = make_task(family, seed)
            world = world or open_world(scene)
            recording = make(world, scene, task, seed)
            seed += 1
            if recording.verdict.result == "error":
                tally.errors.append((recording.seed, recording.verdict.message))
            elif recording.verdict.result == "failure":
                tally.failed.append(recording.seed)
            else:
                tally.episodes += 1
                tally.steps += len(recording.episode)
                tally.recovered += recording.misses > 0
                yield recording.episode
                if progress is not None:
                    progress(tally.episodes, count)
            if len(tally.failed) + len(tally.errors) > 10 + count:
                raise RobotError(f"{family}: the expert fails at most seeds ({tally.failed}, {tally.errors})")
    finally:
        if world is not None:
            world.close()


def _rest(rows: list[np.ndarray]) -> np.ndarray:
    """[7] no motion, the gripper as it is told."""
    row = np.zeros(7)
    row[6] = rows[-1][6] if rows else 1.0
    return row


def _padded(rows: list[np.ndarray]) -> np.ndarray:
    """[T, 7] commands; nothing is told at the last step."""
    return np.array([*rows[:-1], _rest(rows)])


def _spans(labels: list[str]) -> tuple[Subtask, ...]:
    """Runs of equal labels."""
    starts = [step for step, label in enumerate(labels) if step == 0 or label != labels[step - 1]]
    return tuple(
        Subtask(labels[start], start, end) for start, end in zip(starts, [*starts[1:], len(labels)], strict=True)
    )

"""Robots and the simulator: record, rollout, and the link to a robot's own computer."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import tyro

from vlm2vla.cli.console import Common, Done, Flat, bar, say
from vlm2vla.config import PicturesConfig, PolicyConfig, RecordConfig, ToldConfig, TrialsConfig
from vlm2vla.robot.link.config import RobotServerConfig
from vlm2vla.workspace import Workspace


def record(config: Flat[RecordConfig], common: Flat[Common] = Common()) -> Done:
    """Record the scripted expert in the simulator as a LeRobot v3.0 data set."""
    from vlm2vla import pipeline

    with bar("record", common) as progress:
        report = pipeline.record(config, Workspace.open(common.workspace), progress)
    say(
        f"{report.episodes} episodes, {report.steps} steps in {config.out}; {report.recovered} with a recovered miss, "
        f"{len(report.failed)} failed seeds left out"
    )
    return Done({"out": str(config.out)} | asdict(replace(report, written=None)))


def pictures(config: Flat[PicturesConfig], common: Flat[Common] = Common()) -> Done:
    """Render labelled pictures of the simulated table with questions about them, or a held-out VQA set."""
    from vlm2vla import pipeline

    with bar("pictures", common, "picture") as progress:
        manifest = pipeline.make_pictures(config, progress)
    say(f"{config.count} pictures in {config.out}")
    return Done({"out": str(config.out), **manifest})


@dataclass(frozen=True)
class PolicyArguments(PolicyConfig):
    """How a vision-language model is asked for subtasks, plans and chunks. Temperatures are the paper's."""

    seed: tyro.conf.Suppress[int] = 0


def rollout(
    config: Flat[TrialsConfig] = TrialsConfig(),
    policy: Flat[PolicyArguments] = PolicyArguments(),
    told: Flat[ToldConfig] = ToldConfig(),
    common: Flat[Common] = Common(),
) -> Done:
    """Drive tasks in closed loop, headless, and judge them by the simulator's truth.

    Besides the expert and models, --policy can be replay (of an episode, --episode ID) or typed (action
    language, --say "move forward 4 cm; close the gripper" or --say-file FILE); these do not look.
    """
    from vlm2vla.rollout.trial_report import BY_HAND
    from vlm2vla.rollout.trials import run_trials

    with bar("rollout", common, "trial") as progress:
        report = run_trials(config, Workspace.open(common.workspace), progress, policy=policy, told=told)
    for error in report.errors:
        say(f"seed {error['seed']}: {error['message']}")
    if report.stopped:
        say(f"{report.stopped}: {len(report.rows)} of {config.trials} trials are done; only this report holds them")
    status = {"": 0, BY_HAND: 130}.get(report.stopped, 1)
    if report.interval is None:
        return Done(report.to_json(), status or 1)
    low, high = report.interval
    say(
        f"{report.success_rate:.0%} of {report.trials} succeeded (95 % interval {low:.0%} to {high:.0%}), "
        f"partial credit {report.partial_credit:.2f}; {len(report.errors)} errors; {report.real_time_factor}x real time"
    )
    if report.cycle_s is not None:
        say(f"a cycle is written in {report.cycle_s} s (median); {report.parse_rate:.0%} of first tries parse")
    return Done(report.to_json(), status)


@dataclass(frozen=True)
class RobotKeys:
    """A pair of keys for one end of the link."""

    name: str
    """Who it is for, such as anna or stretch-1034."""
    folder: Path = Path("~/.vlm2vla/keys")
    """Where it is written; only the .key file may leave this computer."""


@dataclass(frozen=True)
class ServedRobot:
    """Which robot is served."""

    robot: Literal["stretch", "simulated"] = "stretch"
    """stretch: the Stretch that this computer is part of; simulated: a simulated one, to try the link."""
    cameras: tuple[str, ...] = ()
    """name=device each, such as external=/dev/video4 head=d435i; what is found when empty."""
    seed: int = 0
    """simulated: seed of the scene."""


def robot_keys(config: Flat[RobotKeys], common: Flat[Common] = Common()) -> Done:
    """Make a pair of keys for the link between studio and robot."""
    from vlm2vla.robot.link import make_keys

    files = make_keys(config.folder, config.name)
    say(f"secret, stays here: {files.secret}\npublic, goes to the other computer: {files.public}")
    return Done({"secret": str(files.secret), "public": str(files.public)})


def robot_server(
    config: Flat[RobotServerConfig], robot: Flat[ServedRobot] = ServedRobot(), common: Flat[Common] = Common()
) -> Done:
    """Serve the robot of this computer to studios that hold an allowed key, until Ctrl-C."""
    from vlm2vla.robot.link import RobotSetup, serve

    def make_robot() -> RobotSetup:
        if robot.robot == "simulated":
            from vlm2vla.simulation import World, make_scene

            body = World(make_scene(robot.seed), speed=1.0).robot
        else:
            from vlm2vla.robot.cameras import open_cameras
            from vlm2vla.robot.stretch import connect_stretch

            body = connect_stretch(cameras=open_cameras(robot.cameras))
        return RobotSetup(body, body.press_runstop)

    serve(config, make_robot, on_ready=lambda server: say(f"serving on {config.host}:{server.port}; Ctrl-C ends it"))
    return Done({"served": robot.robot})


COMMANDS = {
    "record": record,
    "pictures": pictures,
    "rollout": rollout,
    "robot-keys": robot_keys,
    "robot-server": robot_server,
}

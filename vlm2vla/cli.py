"""One sub-command per stage, made from the configs. The only module that prints.

Progress and reports for people go to standard error; with --json the last line on standard output is one JSON object.
Exit status: 0 done; 1 an error that is said in one line, or
work that stopped early or failed as a whole; 2 wrong arguments; 130 interrupted.
"""

import json
import logging
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import tyro
from tqdm import tqdm

from vlm2vla.config import (
    AnnotateConfig,
    CheckConfig,
    ExportConfig,
    GeminiConfig,
    ImportConfig,
    LanguageConfig,
    RecordConfig,
    TrialsConfig,
)
from vlm2vla.errors import VLM2VLAError
from vlm2vla.robot.link.config import RobotServerConfig
from vlm2vla.workspace import Workspace

# Flags of several configs stand side by side: --max-cost, not --gemini.max-cost.
Flat = tyro.conf.OmitArgPrefixes


@dataclass(frozen=True)
class Common:
    """What every command takes."""

    workspace: Path | None = None
    """Artefact folder; VLM2VLA_HOME, else ~/.vlm2vla, when not given."""
    json: bool = False
    """End with one JSON object on standard output."""


@dataclass(frozen=True)
class ImportArguments(ImportConfig):
    """Index recorded episodes in the workspace (frames stay where they are)."""

    path: tyro.conf.Positional[Path]
    """File or folder of a data set: Bridge RLDS or raw, LeRobot v2.1 or v3.0."""


@dataclass(frozen=True)
class Done:
    """How a command ended: what --json prints, and the exit status."""

    report: Mapping[str, Any]
    status: int = 0


def import_(config: Flat[ImportArguments], common: Flat[Common] = Common()) -> Done:
    """Index recorded episodes in the workspace; frames stay where they are."""
    from vlm2vla import pipeline

    with _bar("import", common) as progress:
        report = pipeline.import_data(config, Workspace.open(common.workspace), progress)
    for (kind, message), rows in _grouped(report.errors, "kind", "message").items():
        place = f"{rows[0]['path']}, record {rows[0]['record']}" + (f", and {len(rows) - 1} more" if rows[1:] else "")
        _say(f"{kind}: {message} ({place})")
    _say(f"{report.episodes} episodes, {report.steps} steps ({report.added} new); {len(report.errors)} problems")
    return Done(report.to_json(), 0 if report.episodes or not report.errors else 1)


def annotate(
    config: Flat[AnnotateConfig] = AnnotateConfig(),
    language: Flat[LanguageConfig] = LanguageConfig(),
    gemini: Flat[GeminiConfig] = GeminiConfig(),
    common: Flat[Common] = Common(),
) -> Done:
    """Relabel imported episodes as subtask, motion plan and action chunk."""
    from vlm2vla import pipeline

    if config.annotator == "gemini" and gemini.dry_run:
        return _estimate(config, language, gemini, common)
    with _bar("annotate", common) as progress:
        report = pipeline.annotate(config, language, gemini, Workspace.open(common.workspace), progress)
    for error in report.errors:
        _say(f"{error['kind']}: {error['episode']}: {error['message']}")
    for line in (*report.warnings, *(row["message"] for row in report.possibly_billed), report.stopped):
        if line:
            _say(line)
    _say(
        f"{report.annotated} annotated, {report.skipped} were annotated before, {report.failed} failed"
        f" ({report.waiting} from before wait for --retry-failed); cost ${report.cost:.4f}"
        + (f", and at most ${report.uncertain_cost:.4f} for requests without a reply" if report.uncertain_cost else "")
        + (f"; ${report.total_cost:.4f} in all runs together" if report.total_cost else "")
    )
    interrupted = 130 if "Ctrl-C" in report.stopped else 1
    nothing = report.failed and not (report.annotated or report.skipped)
    return Done(report.to_json(), interrupted if report.stopped else int(bool(nothing)))


def _estimate(config: AnnotateConfig, language: LanguageConfig, gemini: GeminiConfig, common: Common) -> Done:
    from vlm2vla import pipeline

    with _bar("estimate", common) as progress:
        cost = pipeline.estimate(config, language, gemini, Workspace.open(common.workspace), progress)
    counted = "counted by the provider" if cost.counted else "estimated from their size"
    _say(
        f"{cost.episodes} episodes, of them {cost.skipped} annotated before and {cost.waiting} waiting for "
        f"--retry-failed; {cost.requests} requests, {cost.input_tokens} tokens in ({counted}), "
        f"{cost.output_tokens} out: ${cost.cost_usd:.2f}, at worst ${cost.worst_usd:.2f}; nothing was billed"
    )
    counts = {"annotated": 0, "skipped": cost.skipped, "waiting": cost.waiting, "failed": len(cost.errors)}
    return Done({**counts, "cost": 0.0, "estimate": cost.to_json()})


def check(config: Flat[CheckConfig] = CheckConfig(), common: Flat[Common] = Common()) -> Done:
    """Check whether annotations are well formed and true to the numbers."""
    from vlm2vla import pipeline

    with _bar("check", common) as progress:
        report = pipeline.check_annotations(config, Workspace.open(common.workspace), progress)
    for episode_id, finding in report.worst:
        _say(f"{finding.severity:8}{episode_id}  steps {finding.start_step} to {finding.end_step}: {finding.message}")
    error = report.displacement_error_cm
    _say(
        f"{report.annotated} annotated; "
        + ", ".join(f"{count} {severity}" for severity, count in report.findings.items())
        + f"; displacement error median {error['median']} cm, 95th percentile {error['p95']} cm"
    )
    return Done(report.to_json())


def export(config: Flat[ExportConfig], common: Flat[Common] = Common()) -> Done:
    """Write reviewed annotations as a data set."""
    from vlm2vla import pipeline

    with _bar("export", common) as progress:
        manifest = pipeline.export(config, Workspace.open(common.workspace), progress)
    for reason, number in manifest.left_out.items():
        _say(f"left out: {number} ({reason})")
    _say(", ".join(f"{number} {name}" for name, number in manifest.counts.items()) + f" written to {config.out}")
    report = {"out": str(config.out), "format": config.format, "left_out": manifest.left_out}
    return Done(report | manifest.counts)


def survival(common: Flat[Common] = Common()) -> Done:
    """How much of each prompt's (or annotator's) text was accepted as written: is it the prompt that needs work?"""
    from vlm2vla import pipeline

    rows = pipeline.open_store(Workspace.open(common.workspace)).survival()
    for row in rows:
        _say(
            f"{row.share:4.0%} of the {row.level} text survived  {row.model} {row.prompt_hash}: "
            f"{row.kept} kept, {row.changed} changed, {row.dropped} dropped"
        )
    if not rows:
        _say("nothing was reviewed yet: accept or reject labels in the studio first")
    return Done({"prompts": [asdict(row) | {"share": row.share} for row in rows]})


def record(config: Flat[RecordConfig], common: Flat[Common] = Common()) -> Done:
    """Record the scripted expert in the simulator as a LeRobot v3.0 data set."""
    from vlm2vla import pipeline

    with _bar("record", common) as progress:
        report = pipeline.record(config, Workspace.open(common.workspace), progress)
    _say(
        f"{report.episodes} episodes, {report.steps} steps in {config.out}; {report.recovered} with a recovered miss, "
        f"{len(report.failed)} failed seeds left out"
    )
    return Done({"out": str(config.out)} | asdict(replace(report, written=None)))


def rollout(config: Flat[TrialsConfig] = TrialsConfig(), common: Flat[Common] = Common()) -> Done:
    """Drive tasks in closed loop, headless, and judge them by the simulator's truth."""
    from vlm2vla.rollout.trials import run_trials

    with _bar("rollout", common) as progress:
        report = run_trials(config, Workspace.open(common.workspace), progress)
    for error in report.errors:
        _say(f"seed {error['seed']}: {error['message']}")
    if report.interval is None:
        return Done(report.to_json(), 1)
    low, high = report.interval
    _say(
        f"{report.success_rate:.0%} of {report.trials} succeeded (95 % interval {low:.0%} to {high:.0%}), "
        f"partial credit {report.partial_credit:.2f}; {len(report.errors)} errors; {report.real_time_factor}x real time"
    )
    return Done(report.to_json())


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
    _say(f"secret, stays here: {files.secret}\npublic, goes to the other computer: {files.public}")
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

    serve(config, make_robot, on_ready=lambda server: _say(f"serving on {config.host}:{server.port}; Ctrl-C ends it"))
    return Done({"served": robot.robot})


COMMANDS: dict[str, Callable[..., Done]] = {
    "import": import_,
    "annotate": annotate,
    "check": check,
    "export": export,
    "survival": survival,
    "record": record,
    "rollout": rollout,
    "robot-keys": robot_keys,
    "robot-server": robot_server,
}


def main(argv: list[str] | None = None) -> None:
    """Run one command; ends the process with its exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    as_json = "--json" in arguments
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        done = tyro.extras.subcommand_cli_from_dict(
            COMMANDS, prog="vlm2vla", description="Actions as language, from episodes to a policy.", args=arguments
        )
    except VLM2VLAError as error:
        _say(f"{type(error).__name__}: {error}")
        done = _failed(type(error).__name__, str(error), 1)
    except KeyboardInterrupt:
        _say("Interrupted; nothing that was finished is lost.")
        done = _failed("Interrupted", "nothing that was finished is lost; run the same command again", 130)
    except SystemExit as error:  # --help, or arguments that tyro has explained already
        done = _failed("UsageError", "wrong arguments; standard error says which", 2)
        as_json, done = as_json and error.code == 2, replace(done, status=int(error.code or 0))
    if as_json:
        print(json.dumps(done.report, ensure_ascii=False), flush=True)
    sys.exit(done.status)


def _failed(kind: str, message: str, status: int) -> Done:
    return Done({"error": {"kind": kind, "message": message}}, status)


def _grouped(rows: Iterable[Mapping[str, Any]], *keys: str) -> dict[tuple, list[Mapping[str, Any]]]:
    groups: dict[tuple, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return groups


def _say(line: str) -> None:
    print(line, file=sys.stderr)


class _bar:
    """A progress bar on standard error, as a context that gives the callback."""

    def __init__(self, name: str, common: Common):
        self._bar = tqdm(desc=name, unit="episode", file=sys.stderr, disable=None if common.json else False)

    def __enter__(self) -> Callable[[int, int | None], None]:
        return self._update

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def _update(self, done: int, total: int | None) -> None:
        if total is not None and self._bar.total != total:
            self._bar.total = total
        self._bar.update(done - self._bar.n)

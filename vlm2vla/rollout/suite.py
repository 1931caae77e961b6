"""Runs a suite of trials: every model, every task family, the same seeds, in parallel processes; resumable.

A trial is stored when it is done. The next start drives what is missing; one process at a time may write.
"""

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from vlm2vla.config import PolicyConfig, TrialsConfig
from vlm2vla.errors import NotFoundError
from vlm2vla.evaluation.config import SuiteConfig, names_of
from vlm2vla.evaluation.lines import Lines
from vlm2vla.evaluation.progress import Progress
from vlm2vla.evaluation.suite import EXPERT, Job, SuiteReport, jobs_of, report_of, waiting
from vlm2vla.rollout.drivers import EXPERTS
from vlm2vla.rollout.trials import drive_seeds
from vlm2vla.rollout.workers import in_processes
from vlm2vla.vlm.identity import identity
from vlm2vla.vlm.registry import ModelRegistry
from vlm2vla.workspace import Workspace

ROWS = "rows.jsonl"
_LATER = ("temperature_subtasks",)
# Trials that a worker does in a row: few, so that little is lost when it is killed.
_PIECE = 2


def run_suite(
    config: SuiteConfig,
    workspace: Workspace,
    progress: Progress = None,
    *,
    stopped: threading.Event | None = None,
) -> SuiteReport:
    """Drive what is missing of a suite, and sum up everything that is there.

    Raises:
        NotFoundError: Models, or a verifier, that are not here; the message says what to do.
        ConfigError: No such suite.
        EvaluationError: Another process drives the same suite.
    """
    models = ({EXPERT: ""} if config.expert else {}) | _who_drives(config, ModelRegistry(workspace))
    jobs = jobs_of(config.suite, models, range(config.seed, config.seed + config.trials))
    file = open_suite(config, workspace)
    with file.writing() as write:
        left = waiting(jobs, file.read(), retry_errors=config.retry_errors)
        done = len(jobs) - len(left)
        if progress:
            progress(done, len(jobs))
        for row in _drive(config, left, workspace.root, stopped or threading.Event()):
            write(row)
            done += 1
            if progress:
                progress(done, len(jobs))
    rows, wanted = file.read(), {(job.model, job.fingerprint) for job in jobs}
    mine = [row for row in rows if (row["model"], row["fingerprint"]) in wanted]
    return report_of(config.suite, str(file.folder), mine, list(models), len(waiting(jobs, mine)))


def _who_drives(config: SuiteConfig, registry: ModelRegistry) -> dict[str, str]:
    """Names with the fingerprints of their weights; what is missing is said before anything is driven.

    Raises:
        NotFoundError: Models, or a verifier, that are not here.
    """
    models, missing = {}, []
    for name in names_of(config.models):
        try:
            models[name] = "" if name in EXPERTS else identity(registry.get(name))
        except NotFoundError as error:
            missing.append((name, error))
    if missing:
        what = str(missing[0][1]) if len(missing) == 1 else f"not here: {', '.join(name for name, _ in missing)}"
        others = f"; --models {','.join(models)} drives the others" if models else ""
        raise NotFoundError(
            f"{what}{others}; `vlm2vla train`, then `vlm2vla models add NAME RUN/adapter` (or RUN/model) make what is "
            "missing"
        )
    if config.verifier not in ("kinematic", "self"):
        try:
            registry.get(config.verifier)
        except NotFoundError as error:
            raise NotFoundError(f"--verifier is kinematic, self or the name of a model: {error}") from error
    return models


def open_suite(config: SuiteConfig, workspace: Workspace) -> Lines:
    """The stored rows of a suite under the settings that shape its results; other settings have a folder of their own.

    Raises:
        EvaluationError: The folder is damaged.
    """
    shaping = ("suite", "verifier", "robot", "max_cycles", "max_rows", "back_after", "parse", "subtasks", "plans")
    about = {name: getattr(config, name) for name in shaping}
    # Came later: suites that were driven before hold what is usual, without saying so.
    about |= {name: getattr(config, name) for name in _LATER if getattr(config, name) != getattr(SuiteConfig, name)}
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:8]
    return Lines(workspace.evaluations / "rollouts" / f"{config.suite}-{digest}", ROWS, about)


def _drive(
    config: SuiteConfig, jobs: Sequence[Job], root: Path, stopped: threading.Event
) -> Iterator[Mapping[str, Any]]:
    """Rows in the order in which they are done."""
    pieces = list(_pieces(jobs))
    workers = min(config.workers or os.cpu_count() or 1, len(pieces))
    if workers <= 1:
        for piece in pieces:
            if stopped.is_set():
                return
            yield from _drive_piece(config, piece, root)
        return
    for rows in in_processes(partial(_drive_piece, config, root=root), pieces, workers, stopped.is_set):
        yield from rows


def _pieces(jobs: Sequence[Job]) -> Iterator[tuple[Job, ...]]:
    """Neighbours of one model and family, a few at a time."""
    for _, together in groupby(jobs, key=lambda job: (job.model, job.fingerprint, job.family)):
        block = list(together)
        for start in range(0, len(block), _PIECE):
            yield tuple(block[start : start + _PIECE])


def _drive_piece(config: SuiteConfig, jobs: Sequence[Job], root: Path) -> list[dict[str, Any]]:
    """Runs in a worker; models stay loaded from piece to piece."""
    first = jobs[0]
    trials = TrialsConfig(
        robot=config.robot,
        policy=first.model,
        task=first.family,
        verifier=config.verifier,
        max_cycles=config.max_cycles,
        workers=1,
    )
    policy = PolicyConfig(
        parse=config.parse,
        subtasks=config.subtasks,
        plans=config.plans,
        max_rows=config.max_rows,
        back_after=config.back_after,
        temperature_subtasks=config.temperature_subtasks,
    )
    rows = drive_seeds(trials, [job.seed for job in jobs], Workspace(root), policy=policy)
    return [
        {"model": first.model, "fingerprint": first.fingerprint, "family": first.family}
        | {key: value for key, value in asdict(trial).items() if key != "kept"}
        for trial in rows
    ]

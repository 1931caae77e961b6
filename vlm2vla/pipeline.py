"""Composes the stages: import, annotate, check, export. What the CLI and the studio call."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from vlm2vla.annotation.annotator import Annotator
from vlm2vla.annotation.checks import Finding, check, displacement_error
from vlm2vla.annotation.dry_run import CostEstimate, estimate_cost
from vlm2vla.annotation.pairs import completed_pairs, movement_pairs
from vlm2vla.annotation.run import AnnotateReport, EpisodeRef, annotate_episodes
from vlm2vla.annotation.shelf import Chosen, Shelf, choose
from vlm2vla.annotation.store import AnnotationStore, ItemRow
from vlm2vla.config import (
    AnnotateConfig,
    CheckConfig,
    ExportConfig,
    GeminiConfig,
    ImportConfig,
    LanguageConfig,
    RecordConfig,
    did_you_mean,
)
from vlm2vla.dataset import (
    LabelledEpisode,
    Manifest,
    Sample,
    completed_sample,
    direction_sample,
    export_lerobot,
    recorded_rows,
    write_ecot,
    write_parquet,
    write_sharegpt,
    write_trl,
)
from vlm2vla.errors import NotFoundError
from vlm2vla.language import make_form
from vlm2vla.simulation.recorder import RecordReport
from vlm2vla.trajectories import EpisodeIndex, ImportReport, import_episodes, write_lerobot
from vlm2vla.types import AnnotatedEpisode, Episode
from vlm2vla.workspace import Workspace

Progress = Callable[[int, int | None], None] | None


@dataclass(frozen=True)
class CheckReport:
    """The outcome of checking every annotation.

    Attributes:
        annotated: Episodes that have an annotation.
        findings: Number by severity.
        displacement_error_cm: Median and 95th percentile over subtasks, between the sum of the chunk and the recording.
        worst: The first findings by severity, each with its episode.
    """

    annotated: int
    findings: dict[str, int]
    displacement_error_cm: dict[str, float | None]
    worst: tuple[tuple[str, Finding], ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        rows = [{"episode": episode_id} | asdict(finding) for episode_id, finding in self.worst]
        return asdict(self) | {"worst": rows}


def open_store(workspace: Workspace) -> AnnotationStore:
    """The annotation store of a workspace."""
    return AnnotationStore.open(workspace.database_url)


def import_data(config: ImportConfig, workspace: Workspace, progress: Progress = None) -> ImportReport:
    """Index the episodes of a data set and put them in the review queue; returns the ImportReport."""
    store = open_store(workspace)  # a database that cannot be reached is noticed before the long work
    report = import_episodes(config, workspace, progress)
    register(EpisodeIndex(workspace), store)
    return report


def register(index: EpisodeIndex, store: AnnotationStore) -> int:
    """Put every indexed episode in the review queue; returns how many were new."""
    return store.register(ItemRow(row.id, row.dataset, row.instruction, row.steps) for row in index.summaries())


def make_annotator(name: str, language: LanguageConfig, gemini: GeminiConfig) -> Annotator:
    """The annotator called "kinematic" or "gemini"."""
    if name == "gemini":
        from vlm2vla.annotation.gemini import make_gemini_annotator

        return make_gemini_annotator(language, gemini)
    from vlm2vla.annotation.kinematic import KinematicAnnotator

    return KinematicAnnotator(language)


def annotate(
    config: AnnotateConfig,
    language: LanguageConfig,
    gemini: GeminiConfig,
    workspace: Workspace,
    progress: Progress = None,
) -> AnnotateReport:
    """Annotate imported episodes and put the labels in the store; what a person edited is left alone.

    Raises:
        NotFoundError: No such data set or episode.
        ConfigError: The annotator cannot work (no key, unknown model).
    """
    index, store = EpisodeIndex(workspace), open_store(workspace)
    register(index, store)
    chosen = _choose(config, index, store, workspace)
    paid = config.annotator == "gemini"
    shelf = Shelf(store, index.get, config.annotator, make_form(language).name, at_once=paid)
    try:
        report = annotate_episodes(
            _Refs(chosen.ids, index),
            make_annotator(config.annotator, language, gemini),
            workspace.staged(config.annotator),
            concurrency=gemini.concurrency if paid else 1,
            retry_failed=config.retry_failed,
            redo=config.redo,
            mix_versions=config.mix_versions,
            progress=progress,
            on_done=shelf.put,
            on_skipped=shelf.catch_up,
        )
    finally:
        shelf.flush()
    return replace(report, warnings=(*report.warnings, *chosen.left_out, *shelf.warnings()))


def estimate(
    config: AnnotateConfig,
    language: LanguageConfig,
    gemini: GeminiConfig,
    workspace: Workspace,
    progress: Progress = None,
) -> CostEstimate:
    """What `annotate` with Gemini would take; nothing that is billed is asked."""
    index, store = EpisodeIndex(workspace), open_store(workspace)
    register(index, store)
    episodes = _Refs(_choose(config, index, store, workspace).ids, index)
    return estimate_cost(
        episodes,
        make_annotator("gemini", language, gemini),
        progress=progress,
        staged=workspace.staged("gemini"),
        redo=config.redo,
        retry_failed=config.retry_failed,
    )


class _Refs(Sequence[EpisodeRef]):
    """Episodes by id, read when their turn comes."""

    def __init__(self, ids: Sequence[str], index: EpisodeIndex):
        self._ids, self._index = ids, index

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, position: int) -> EpisodeRef:
        episode_id = self._ids[position]
        return EpisodeRef(episode_id, lambda: self._index.get(episode_id))


def _choose(config: AnnotateConfig, index: EpisodeIndex, store: AnnotationStore, workspace: Workspace) -> Chosen:
    """The episodes that a config asks for, without those that must not be touched."""
    _known_dataset(config.dataset, index)
    for episode_id in config.episodes:
        if episode_id not in index:
            raise NotFoundError(f"no episode {episode_id!r} in {workspace.root}; vlm2vla import brings some in")
    chosen = choose(config.episodes or index.ids(config.dataset), store.newest(), config.annotator, redo=config.redo)
    if not config.limit:
        return chosen
    # A limit takes the next ones: what was tried before does not use it up.
    tried = {path.stem for path in workspace.staged(config.annotator).glob("*.json")}
    again = config.redo or config.retry_failed
    fresh = [episode_id for episode_id in chosen.ids if again or episode_id not in tried]
    return replace(chosen, ids=tuple(fresh[: config.limit]))


def _known_dataset(name: str, index: EpisodeIndex) -> None:
    known = index.datasets()
    if name and name not in known:
        raise NotFoundError(f"no data set {name!r} in this workspace; {did_you_mean(name, known)}")


def check_annotations(config: CheckConfig, workspace: Workspace, progress: Progress = None) -> CheckReport:
    """Check the newest annotation of every episode.

    Raises:
        NotFoundError: No such data set.
    """
    index, store = EpisodeIndex(workspace), open_store(workspace)
    _known_dataset(config.dataset, index)
    severities: Counter[str] = Counter(error=0, warning=0, info=0)
    errors_cm: list[float] = []
    worst: list[tuple[str, Finding]] = []
    annotated, total = 0, len(index.ids(config.dataset))
    for head in store.heads(config.dataset):
        annotated += 1
        episode = index.get(head.episode_id)
        findings = check(head.annotated, episode)
        severities.update(finding.severity for finding in findings)
        worst += [(episode.id, finding) for finding in findings]
        errors_cm += [span.cm for span in displacement_error(head.annotated, episode)]
        if progress:
            progress(annotated, total)
    order = {"error": 0, "warning": 1, "info": 2}
    worst.sort(key=lambda row: order[row[1].severity])
    return CheckReport(annotated, dict(severities), _spread(errors_cm), tuple(worst[: config.show]))


def export(config: ExportConfig, workspace: Workspace, progress: Progress = None) -> Manifest:
    """Write reviewed labels as a data set; returns its manifest.

    Raises:
        ExportError: The folder is not empty, or nothing can be exported.
    """
    index, store = EpisodeIndex(workspace), open_store(workspace)
    _known_dataset(config.dataset, index)

    def items() -> Iterator[LabelledEpisode]:
        total = store.counts(config.dataset).total
        for done, head in enumerate(store.heads(config.dataset), 1):
            yield LabelledEpisode(head.annotated, index.get(head.episode_id), head.number)
            if progress:
                progress(done, total)

    def extra(annotated: AnnotatedEpisode, episode: Episode) -> Iterator[Sample]:
        for pair in completed_pairs(annotated, episode, seed=config.seed):
            yield completed_sample(episode, pair.text, pair.before_step, pair.after_step, pair.completed, uid=pair.uid)
        for pair in movement_pairs(annotated, episode, seed=config.seed):
            yield direction_sample(episode, pair.before_step, pair.after_step, pair.direction, uid=pair.uid)

    if config.format == "lerobot":
        return export_lerobot(config, items(), partial(write_lerobot, subtask_columns=config.subtask_columns))
    if config.format in ("trl", "sharegpt"):
        write = write_trl if config.format == "trl" else write_sharegpt
        return write(config, items(), extra if config.extra_samples else None)
    return (write_ecot if config.format == "ecot" else write_parquet)(config, items())


def record(config: RecordConfig, workspace: Workspace, progress: Progress = None) -> RecordReport:
    """Record the scripted expert in the simulator.

    Raises:
        ExportError: The folder is not empty.
        RobotError: The simulator does not run here.
    """
    from vlm2vla.simulation import World, recorder

    return recorder.record(
        config.task,
        config.count,
        config.seed,
        open_world=World,
        write=lambda episodes: write_lerobot(
            config.out, ((each, recorded_rows(each)) for each in episodes), compact=config.compact
        ),
        progress=progress,
    )


def _spread(values: list[float]) -> dict[str, float | None]:
    if not values:
        return {"median": None, "p95": None}
    return {"median": round(float(np.median(values)), 3), "p95": round(float(np.percentile(values, 95)), 3)}

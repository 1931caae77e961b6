"""Composes the stages: import, annotate, check, export. What the CLI and the studio call."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from vlm2vla.annotation.annotator import Annotator
from vlm2vla.annotation.checks import Finding, check, displacement_error, risk
from vlm2vla.annotation.dry_run import CostEstimate, estimate_cost
from vlm2vla.annotation.pairs import completed_pairs, movement_pairs
from vlm2vla.annotation.run import AnnotateReport, EpisodeRef, annotate_episodes
from vlm2vla.annotation.store import AnnotationStore, ItemRow, NewRevision
from vlm2vla.config import AnnotateConfig, CheckConfig, ExportConfig, GeminiConfig, ImportConfig, LanguageConfig
from vlm2vla.dataset import (
    LabelledEpisode,
    Manifest,
    Sample,
    completed_sample,
    direction_sample,
    export_lerobot,
    write_ecot,
    write_parquet,
    write_sharegpt,
    write_trl,
)
from vlm2vla.trajectories import EpisodeIndex, ImportReport, import_episodes, write_lerobot
from vlm2vla.types import AnnotatedEpisode, Episode, LabelSource
from vlm2vla.workspace import Workspace

Progress = Callable[[int, int | None], None] | None


@dataclass(frozen=True)
class Judgement:
    """What the queue must know of the checks: how risky, how many findings."""

    risk: float
    errors: int
    warnings: int


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
    """The annotation store of a workspace, with every imported episode registered."""
    return AnnotationStore.open(workspace.database_url)


def import_data(config: ImportConfig, workspace: Workspace, progress: Progress = None) -> ImportReport:
    """Index the episodes of a data set and put them in the review queue; returns the ImportReport."""
    report = import_episodes(config, workspace, progress)
    register(EpisodeIndex(workspace), open_store(workspace))
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


def judge(annotated: AnnotatedEpisode, episode: Episode) -> Judgement:
    """Run the checks and sum them up for the queue."""
    findings = check(annotated, episode)
    severities = Counter(finding.severity for finding in findings)
    return Judgement(risk(findings, annotated, episode), severities["error"], severities["warning"])


def annotate(
    config: AnnotateConfig,
    language: LanguageConfig,
    gemini: GeminiConfig,
    workspace: Workspace,
    progress: Progress = None,
) -> AnnotateReport:
    """Annotate imported episodes and put the labels in the store; what a person edited stays the newest revision."""
    index, store = EpisodeIndex(workspace), open_store(workspace)
    register(index, store)
    shelf = _Shelf(store, index, config.annotator)
    try:
        return annotate_episodes(
            _Refs.of(config, index),
            make_annotator(config.annotator, language, gemini),
            workspace.staged(config.annotator),
            concurrency=gemini.concurrency if config.annotator == "gemini" else 1,
            retry_failed=config.retry_failed,
            redo=config.redo,
            mix_versions=config.mix_versions,
            progress=progress,
            on_done=shelf.put,
            on_skipped=shelf.catch_up,
        )
    finally:
        shelf.flush()


def estimate(
    config: AnnotateConfig,
    language: LanguageConfig,
    gemini: GeminiConfig,
    workspace: Workspace,
    progress: Progress = None,
) -> CostEstimate:
    """What `annotate` with Gemini would take; nothing that is billed is asked."""
    episodes = _Refs.of(config, EpisodeIndex(workspace))
    return estimate_cost(episodes, make_annotator("gemini", language, gemini), progress=progress)


class _Refs(Sequence[EpisodeRef]):
    """Episodes by id, read when their turn comes."""

    def __init__(self, ids: Sequence[str], index: EpisodeIndex):
        self._ids, self._index = ids, index

    @classmethod
    def of(cls, config: AnnotateConfig, index: EpisodeIndex) -> "_Refs":
        """The episodes that a config asks for."""
        ids = config.episodes or index.ids(config.dataset)
        return cls(ids[: config.limit or None], index)

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, position: int) -> EpisodeRef:
        episode_id = self._ids[position]
        return EpisodeRef(episode_id, lambda: self._index.get(episode_id))


class _Shelf:
    """Brings machine labels into the store, some hundred per transaction, and never over a person's work."""

    BATCH = 200

    def __init__(self, store: AnnotationStore, index: EpisodeIndex, source: LabelSource):
        self._store, self._index, self._source = store, index, source
        self._waiting: list[NewRevision] = []

    def put(self, annotated: AnnotatedEpisode) -> None:
        newest = self._store.history(annotated.episode_id, limit=1)
        if newest and newest[0].source == "person":
            return
        judged = judge(annotated, self._index.get(annotated.episode_id))
        author = annotated.provenance[-1].author if annotated.provenance else self._source
        base = newest[0].number if newest else 0
        self._waiting.append(NewRevision(annotated, author, self._source, base, **asdict(judged)))
        if len(self._waiting) >= self.BATCH:
            self.flush()

    def catch_up(self, episode_id: str, load: Callable[[], AnnotatedEpisode]) -> None:
        """An earlier run staged it; it may have been killed before it was stored."""
        if all(revision.source != self._source for revision in self._store.history(episode_id)):
            self.put(load())

    def flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._store.save_all(waiting)


def check_annotations(config: CheckConfig, workspace: Workspace, progress: Progress = None) -> CheckReport:
    """Check the newest annotation of every episode."""
    index, store = EpisodeIndex(workspace), open_store(workspace)
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


def _spread(values: list[float]) -> dict[str, float | None]:
    if not values:
        return {"median": None, "p95": None}
    return {"median": round(float(np.median(values)), 3), "p95": round(float(np.percentile(values, 95)), 3)}

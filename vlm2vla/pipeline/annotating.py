"""Imported episodes get subtasks, motion plans and action chunks."""

from collections.abc import Sequence
from dataclasses import replace

from vlm2vla.annotation.annotator import Annotator
from vlm2vla.annotation.dry_run import CostEstimate, estimate_cost
from vlm2vla.annotation.run import AnnotateReport, EpisodeRef, annotate_episodes
from vlm2vla.annotation.shelf import Chosen, Shelf, choose
from vlm2vla.annotation.store import AnnotationStore
from vlm2vla.config import AnnotateConfig, GeminiConfig, LanguageConfig
from vlm2vla.errors import NotFoundError
from vlm2vla.language import make_form
from vlm2vla.pipeline.store import Progress, known_dataset, open_store, register
from vlm2vla.trajectories import EpisodeIndex
from vlm2vla.workspace import Workspace


def make_annotator(name: str, language: LanguageConfig, gemini: GeminiConfig, *, recorded: bool = False) -> Annotator:
    """The annotator called "kinematic" or "gemini"; `recorded` as in AnnotateConfig."""
    if name == "gemini":
        from vlm2vla.annotation.gemini import make_gemini_annotator

        return make_gemini_annotator(language, gemini)
    from vlm2vla.annotation.kinematic import KinematicAnnotator

    return KinematicAnnotator(language, recorded=recorded)


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
            make_annotator(config.annotator, language, gemini, recorded=config.recorded),
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
    known_dataset(config.dataset, index)
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

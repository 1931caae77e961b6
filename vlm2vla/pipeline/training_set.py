"""Reviewed labels become training samples on disk; equal labels and settings make them only once."""

import fcntl
import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from vlm2vla.annotation.derive import chunk_of, derive_plan, span_actions
from vlm2vla.annotation.kinematic import KinematicAnnotator
from vlm2vla.config import ExportConfig, ImportConfig, LanguageConfig
from vlm2vla.dataset import (
    UNREADABLE,
    LabelledEpisode,
    Sample,
    early_starts,
    in_form,
    last_attempts,
    later_starts,
    write_replay,
    write_trl,
)
from vlm2vla.errors import AnnotationError, ExportError, NotFoundError
from vlm2vla.language import even_rows, form, measured_plan, prompt_hash
from vlm2vla.pipeline.exporting import extra_samples
from vlm2vla.pipeline.store import Progress, known_dataset, open_store
from vlm2vla.training.config import Recipe, TrainConfig
from vlm2vla.trajectories import EpisodeIndex, import_episodes
from vlm2vla.types import AnnotatedEpisode, Episode
from vlm2vla.workspace import Workspace

log = logging.getLogger(__name__)

SAMPLE = Path(__file__).resolve().parents[2] / "assets" / "sample"
TEST_SET = SAMPLE.parent / "vqa" / "tabletop" / "items.jsonl"
_MANIFEST = "manifest.json"
_WAIT_S = 0.5
# At most so many pictures are written for replay; else as many as one pass shows groups of them.
_MOST_PICTURES = 2000


@dataclass(frozen=True)
class TrainingSet:
    """Samples on disk.

    Attributes:
        folders: In the format that `vlm2vla.training` reads.
        made_by: The settings that made them.
    """

    folders: tuple[Path, ...]
    made_by: dict[str, Any]


def prepare(config: TrainConfig, recipe: Recipe, workspace: Workspace, progress: Progress = None) -> TrainingSet:
    """The samples of a recipe on disk; made only once for equal labels and settings, unless frames could not be read.

    Raises:
        NotFoundError: No such data set.
        ExportError: Nothing to train on.
    """
    with _one_at_a_time(workspace, progress):
        source = _Source.of(config, workspace, recipe.form)
        made_by = {
            "form": recipe.form,
            "row_cm": recipe.row_cm,
            "plans": recipe.plans,
            "starts": recipe.mixture.starts,
            "early": recipe.mixture.early,
            "failed_attempts": recipe.mixture.failed_attempts,
            "seed": config.seed,
            "dataset": config.dataset,
            "include_unreviewed": source.include_unreviewed,
            "labels": source.labels,
            "prompts": prompt_hash(),
        }

        def write(folder: Path) -> None:
            export = ExportConfig(folder, "trl", include_unreviewed=source.include_unreviewed, seed=config.seed)
            write_trl(export, source.items(recipe, progress), _extra(recipe, config.seed))

        folders = [_actions(workspace.training_sets / f"actions-{_key(made_by)}", write)]
        if config.replay is not None:
            folders.append(_replay(config, recipe, workspace, folders[0]))
    return TrainingSet(tuple(folders), made_by)


def _actions(first: Path, write: Callable[[Path], None]) -> Path:
    """Folder of the action samples: `first`, made only once; while it lacks frames they are tried again, beside it.

    The older one stays, since there may be runs on it, and is used until another lacks fewer.
    """
    folder, before = first, None
    for number in count(2):
        if not (folder / _MANIFEST).is_file():
            break
        if not _unread_frames(folder):
            return folder
        folder, before = first.with_name(f"{first.name}-{number}"), folder
    try:
        write(folder)
    except ExportError as error:
        if before is None:
            raise
        log.warning("%s is used as it is, although it lacks frames: %s", before, error)
        return before
    if before is not None and _unread_frames(folder) >= _unread_frames(before):
        shutil.rmtree(folder)
        return before
    return folder


def _unread_frames(folder: Path) -> int:
    """How many samples it lacks for a reason that may have passed."""
    return json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))["left_out"].get(UNREADABLE, 0)


@contextmanager
def _one_at_a_time(workspace: Workspace, progress: Progress) -> Iterator[None]:
    """Runs that are started together on the same labels: the first one writes the samples, the others wait for it."""
    with (workspace.training_sets / ".lock").open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if progress:
                    progress(0, None)
                time.sleep(_WAIT_S)
        yield


@dataclass(frozen=True)
class _Source:
    """Where labels come from: the store, or the sample episodes of a fresh workspace.

    Attributes:
        index: Of the episodes.
        heads: Labels, with the number of their revision.
        include_unreviewed: Whether nobody needs to have accepted them.
    """

    index: EpisodeIndex
    heads: Sequence[tuple[AnnotatedEpisode, int]]
    include_unreviewed: bool

    @classmethod
    def of(cls, config: TrainConfig, workspace: Workspace, form_name: str) -> "_Source":
        index = EpisodeIndex(workspace)
        if not len(index):
            if config.dataset:
                raise NotFoundError(
                    f"no data set {config.dataset!r}: this workspace has no episodes yet; import it first, or leave "
                    "--dataset out to train on the sample episodes"
                )
            return cls._sample(workspace, form_name)
        known_dataset(config.dataset, index)
        store = open_store(workspace)
        heads = [(head.annotated, head.number) for head in store.heads(config.dataset, on_error=_damaged)]
        return cls(index, heads, config.include_unreviewed)

    @classmethod
    def _sample(cls, workspace: Workspace, form_name: str) -> "_Source":
        """Sample episodes with the simulator's own subtasks; the workspace itself stays empty.

        They are imported every time: an earlier import may have been cut short, or this program have been moved.
        """
        inner = Workspace.open(workspace.training_sets / "sample-episodes")
        import_episodes(ImportConfig(SAMPLE, dataset="sample"), inner, None)
        index = EpisodeIndex(inner)
        language = LanguageConfig(form="rows7") if form(form_name).rotation else LanguageConfig()
        annotator = KinematicAnnotator(language, recorded=True)
        return cls(index, [(annotator.annotate(index.get(episode_id)), 0) for episode_id in index.ids("")], True)

    @property
    def labels(self) -> str:
        """Digest of what they say."""
        said = "".join(_without_times(annotated).dumps() for annotated, _ in self.heads)
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    def items(self, recipe: Recipe, progress: Progress) -> Iterator[LabelledEpisode]:
        for done, (annotated, number) in enumerate(self.heads, 1):
            if not recipe.mixture.failed_attempts:
                annotated = last_attempts(annotated)
            said = in_form(annotated, recipe.form, row_cm=recipe.row_cm, measured=recipe.plans == "measured")
            yield LabelledEpisode(said, self.index.get(annotated.episode_id), number)
            if progress:
                progress(done, len(self.heads))


def _without_times(annotated: AnnotatedEpisode) -> AnnotatedEpisode:
    """The same labels made tomorrow are the same labels."""
    made = (replace(entry, created_at="", seconds=0.0) for entry in annotated.provenance)
    return replace(annotated, provenance=tuple(made))


def _damaged(error: AnnotationError) -> None:
    log.warning("a label is left out: %s", error)


def _extra(recipe: Recipe, seed: int) -> Callable[[AnnotatedEpisode, Episode], Iterator[Sample]]:
    questions = extra_samples(seed)

    def rest(episode: Episode, start: int, end: int, form_name: str) -> tuple[str, str]:
        return _rest(episode, start, end, form_name, recipe)

    def extra(annotated: AnnotatedEpisode, episode: Episode) -> Iterator[Sample]:
        yield from questions(annotated, episode)
        if recipe.mixture.starts:
            yield from later_starts(annotated, episode, rest, per_subtask=recipe.mixture.starts, seed=seed)
        if recipe.mixture.early:
            yield from early_starts(annotated, episode, rest, per_subtask=recipe.mixture.early, seed=seed)

    return extra


def _rest(episode: Episode, start: int, end: int, form_name: str, recipe: Recipe) -> tuple[str, str]:
    """Plan and action text of what is left, from the numbers."""
    words = form(form_name)
    language = replace(LanguageConfig(), form=form_name.split(":")[0])
    rows, before = span_actions(episode, start, end, language)
    chunk = chunk_of(rows, before, language, rotation=words.rotation)
    if recipe.row_cm and len(chunk):
        chunk = even_rows(chunk, row_cm=recipe.row_cm)
    measured = recipe.plans == "measured"
    return measured_plan(chunk) if measured else derive_plan(episode, start, end, language), words.verbalize(chunk)


def _replay(config: TrainConfig, recipe: Recipe, workspace: Workspace, actions: Path) -> Path:
    groups = sum(1 for line in (actions / "metadata.jsonl").open(encoding="utf-8") if '"level": "chunk"' in line)
    number = min(max(64, round(recipe.mixture.replay * groups)), _MOST_PICTURES)
    tested = _asked_without_picture()
    settings = {"pictures": str(config.replay.expanduser().resolve()), "count": number, "seed": config.seed}
    folder = workspace.training_sets / f"replay-{_key(settings | {'held_out': sorted(tested)})}"
    if not folder.is_dir():
        write_replay(config.replay.expanduser(), folder, number, seed=config.seed, held_out=tested)
    return folder


def _asked_without_picture() -> frozenset[str]:
    """Questions of the shipped test set that need no picture: replaying one would teach the test."""
    if not TEST_SET.is_file():
        return frozenset()
    items = map(json.loads, TEST_SET.read_text(encoding="utf-8").splitlines())
    return frozenset(item["question"] for item in items if not item["image"] and not item.get("images"))


def _key(settings: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]

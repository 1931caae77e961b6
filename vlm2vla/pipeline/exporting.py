"""Reviewed labels become a data set."""

from collections.abc import Iterator
from functools import partial

from vlm2vla.annotation.pairs import completed_pairs, movement_pairs
from vlm2vla.config import ExportConfig
from vlm2vla.dataset import (
    ExtraSamples,
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
from vlm2vla.pipeline.store import Progress, known_dataset, open_store
from vlm2vla.trajectories import EpisodeIndex, write_lerobot
from vlm2vla.types import AnnotatedEpisode, Episode
from vlm2vla.workspace import Workspace


def export(config: ExportConfig, workspace: Workspace, progress: Progress = None) -> Manifest:
    """Write reviewed labels as a data set; returns its manifest.

    Raises:
        ExportError: The folder is not empty, or nothing can be exported.
    """
    index, store = EpisodeIndex(workspace), open_store(workspace)
    known_dataset(config.dataset, index)

    def items() -> Iterator[LabelledEpisode]:
        total = store.counts(config.dataset).total
        for done, head in enumerate(store.heads(config.dataset), 1):
            yield LabelledEpisode(head.annotated, index.get(head.episode_id), head.number)
            if progress:
                progress(done, total)

    if config.format == "lerobot":
        return export_lerobot(config, items(), partial(write_lerobot, subtask_columns=config.subtask_columns))
    if config.format in ("trl", "sharegpt"):
        write = write_trl if config.format == "trl" else write_sharegpt
        return write(config, items(), extra_samples(config.seed) if config.extra_samples else None)
    return (write_ecot if config.format == "ecot" else write_parquet)(config, items())


def extra_samples(seed: int) -> ExtraSamples:
    """The paper's extra questions on selected labels: is the subtask completed, and which way did the gripper move?"""

    def extra(annotated: AnnotatedEpisode, episode: Episode) -> Iterator[Sample]:
        for pair in completed_pairs(annotated, episode, seed=seed):
            yield completed_sample(episode, pair.text, pair.before_step, pair.after_step, pair.completed, uid=pair.uid)
        for pair in movement_pairs(annotated, episode, seed=seed):
            yield direction_sample(episode, pair.before_step, pair.after_step, pair.direction, uid=pair.uid)

    return extra

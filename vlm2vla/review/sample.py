"""The episodes that a fresh studio opens on: recorded in the simulator, labelled from the numbers, some labels spoilt.

The spoilt ones are there so that the checks have something to show; their history says so.
"""

import re
from dataclasses import asdict
from pathlib import Path

from vlm2vla import pipeline
from vlm2vla.annotation import edit as edits
from vlm2vla.annotation.shelf import judge
from vlm2vla.annotation.store import AnnotationStore, Revision
from vlm2vla.config import AnnotateConfig, GeminiConfig, ImportConfig, LanguageConfig
from vlm2vla.errors import EditError
from vlm2vla.trajectories import EpisodeIndex
from vlm2vla.types import AnnotatedEpisode, Episode
from vlm2vla.workspace import Workspace

DATASET = "sample-stretch-simulated"
AUTHOR = "sample"
SPOILT_EVERY = 6
_OPPOSITE = {"left": "right", "right": "left", "up": "down", "down": "up", "forward": "back", "back": "forward"}


def open_sample(folder: Path, workspace: Workspace) -> int:
    """Import and label the sample if the workspace is empty; returns how many episodes came in."""
    if len(EpisodeIndex(workspace)) or not folder.is_dir():
        return 0
    report = pipeline.import_data(ImportConfig(folder, dataset=DATASET), workspace)
    pipeline.annotate(AnnotateConfig(), LanguageConfig(), GeminiConfig(), workspace)
    store, index = pipeline.open_store(workspace), EpisodeIndex(workspace)
    for number, head in enumerate(list(store.heads(DATASET))):
        if number % SPOILT_EVERY == 1:
            _spoil(number // SPOILT_EVERY, head, index.get(head.episode_id), store)
    return report.added


def _spoil(kind: int, head: Revision, episode: Episode, store: AnnotationStore) -> None:
    spoilers = (_turned_plan, _extra_row, _late_boundary, _copied_text)
    try:
        spoilt, what = spoilers[kind % len(spoilers)](head.annotated, episode)
    except EditError:  # too few subtasks for this mistake
        return
    judged = asdict(judge(spoilt, episode))
    note = f"deliberately wrong, for practice: {what}"
    store.save(spoilt, author=AUTHOR, source="person", base=head.number, note=note, **judged)


def _turned_plan(annotated: AnnotatedEpisode, episode: Episode) -> tuple[AnnotatedEpisode, str]:
    first = annotated.subtasks[0]
    turned = re.sub(r"\w+", lambda word: _OPPOSITE.get(word[0], word[0]), first.plan)
    return edits.set_text(annotated, first.uid, "plan", turned), "the plan goes the other way"


def _extra_row(annotated: AnnotatedEpisode, episode: Episode) -> tuple[AnnotatedEpisode, str]:
    last = annotated.subtasks[-1]
    chunk = last.chunk.replace("[[", "[[4.0, 0.0, 0.0, 1], [", 1)
    return edits.set_text(annotated, last.uid, "chunk", chunk), "the chunk has a row too many"


def _late_boundary(annotated: AnnotatedEpisode, episode: Episode) -> tuple[AnnotatedEpisode, str]:
    first = annotated.subtasks[0]
    return edits.move_boundary(
        annotated, first.uid, first.end_step + 3, steps=len(episode)
    ), "a boundary comes too late"


def _copied_text(annotated: AnnotatedEpisode, episode: Episode) -> tuple[AnnotatedEpisode, str]:
    if len(annotated.subtasks) < 2:
        raise EditError("a copy needs two subtasks")
    first, second = annotated.subtasks[:2]
    return edits.set_text(annotated, second.uid, "subtask", first.text), "two subtasks have the same text"

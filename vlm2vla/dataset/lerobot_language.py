"""Annotations as the language columns of LeRobot v3.0 (lerobot 0.6).

Knows rows of words; knows no parquet and no video: `vlm2vla.trajectories.write_lerobot` writes those and is handed in.

A persistent row is in force from its timestamp until the next one of its style, so every frame of such an episode has
exactly one subtask. Where labels have gaps (a rejected subtask in the middle), the episode is cut into the runs of
steps that are labelled, rather than letting one subtask's words stand on frames of another.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vlm2vla.config import ExportConfig
from vlm2vla.dataset.conversations import refuse_nothing
from vlm2vla.dataset.folder import export_folder, hashes, write_manifest
from vlm2vla.dataset.manifest import Manifest, manifest_of
from vlm2vla.dataset.select import LabelledEpisode, Selection
from vlm2vla.types import AnnotatedEpisode, Episode, FrameSource

LanguageRow = dict[str, Any]
WriteLeRobot = Callable[[Path, Iterable[tuple[Episode, list[LanguageRow]]]], object]


@dataclass(frozen=True)
class LabelledRun:
    """Steps without a gap in their labels, as an episode of their own.

    Attributes:
        annotated: Labels with steps counted from the run's first one.
        episode: The run; the recording itself when all of it is labelled.
        reaches_end: Whether the run goes on to the recording's last step.
    """

    annotated: AnnotatedEpisode
    episode: Episode
    reaches_end: bool


def labelled_runs(annotated: AnnotatedEpisode, episode: Episode) -> Iterator[LabelledRun]:
    """The runs of labelled steps, in order of time; the whole episode when there are no gaps.

    Args:
        annotated: Selected labels, in order of time.
        episode: Their recording.
    """
    groups: list[list] = []
    for subtask in annotated.subtasks:
        if groups and groups[-1][-1].end_step == subtask.start_step:
            groups[-1].append(subtask)
        else:
            groups.append([subtask])
    for group in groups:
        start, end = group[0].start_step, group[-1].end_step
        if (start, end) == (0, len(episode)):
            yield LabelledRun(annotated, episode, True)
            continue
        run = _cut(episode, start, end)
        subtasks = tuple(
            replace(subtask, start_step=subtask.start_step - start, end_step=subtask.end_step - start)
            for subtask in group
        )
        yield LabelledRun(replace(annotated, episode_id=run.id, subtasks=subtasks), run, end == len(episode))


def language_rows(annotated: AnnotatedEpisode, episode: Episode, *, whole: bool = True) -> list[LanguageRow]:
    """Rows of `language_persistent`, sorted by timestamp, style and role.

    Styles:
        subtask: the subtask's text, from its first step on.
        plan: the numbered subtasks of the episode, from its start on.
        motion: the motion plan on one line, then the action text; from the subtask's first step on. Robot frame.
        task_aug: every other wording of the instruction (role user), from the start on.

    Args:
        annotated: Labels that cover `episode` without a gap.
        episode: The recording.
        whole: False when the recording went on after these steps: no plan is written then, for it would be cut short.

    Returns:
        Dicts with role, content, style, timestamp (seconds; exactly the float32 of the frame's timestamp), camera and
        tool_calls (both None: these styles belong to no view).
    """
    rows = [_row("user", "task_aug", text, 0.0) for text in episode.paraphrases]
    if whole and annotated.subtasks:
        rows.append(_row("assistant", "plan", numbered(annotated, "\n"), 0.0))
    for subtask in annotated.subtasks:
        seconds = float(np.float32(subtask.start_step / episode.rate_hz))
        rows.append(_row("assistant", "subtask", subtask.text, seconds))
        rows.append(_row("assistant", "motion", f"{_line(subtask.plan)}\n{subtask.chunk}", seconds))
    return sorted(rows, key=lambda row: (row["timestamp"], row["style"], row["role"]))


def recorded_rows(episode: Episode) -> list[LanguageRow]:
    """Rows of `language_persistent` of a recording that knows its subtasks and has no annotation."""
    rows = [_row("user", "task_aug", text, 0.0) for text in episode.paraphrases]
    for subtask in episode.subtasks:
        seconds = float(np.float32(subtask.start_step / episode.rate_hz))
        rows.append(_row("assistant", "subtask", subtask.text, seconds))
    return sorted(rows, key=lambda row: (row["timestamp"], row["style"], row["role"]))


def numbered(annotated: AnnotatedEpisode, separator: str) -> str:
    """All subtasks as a numbered list."""
    return separator.join(
        f"{number}. {_line(subtask.text)}" for number, subtask in enumerate(annotated.subtasks, start=1)
    )


def export_lerobot(config: ExportConfig, items: Iterable[LabelledEpisode], write: WriteLeRobot) -> Manifest:
    """Write a LeRobot v3.0 data set with language columns to `config.out`.

    Args:
        config: Where to, and which labels.
        items: Labels and recordings; read once, one at a time.
        write: Writes episodes with their language rows to an empty folder (`trajectories.write_lerobot`).

    Raises:
        ExportError: `config.out` is not empty or cannot be written, or nothing can be exported.
    """
    selection = Selection(config.include_unreviewed)
    counts = {"runs": 0, "frames": 0, "rows": 0}

    def runs() -> Iterator[tuple[Episode, list[LanguageRow]]]:
        for item in selection.of(items):
            for run in labelled_runs(item.annotated, item.episode):
                rows = language_rows(run.annotated, run.episode, whole=run.reaches_end)
                counts["runs"] += 1
                counts["frames"] += len(run.episode)
                counts["rows"] += len(rows)
                yield run.episode, rows

    with export_folder(config.out) as folder:
        # The writer sees the first run only when there is one: an empty data set is refused before it starts.
        stream = runs()
        first = next(stream, None)
        refuse_nothing(int(first is not None), selection)
        write(folder, _chain(first, stream))
        manifest = manifest_of(
            "lerobot",
            selection,
            config=config,
            counts=counts,
            read_with="LeRobot v3.0 (lerobot 0.6); its parquet files with pyarrow or datasets",
            units={
                "timestamp": "seconds",
                "motion": "motion plan on the first line, action text in the form of the labels below it",
            },
            files=hashes(folder),
        )
        write_manifest(folder, manifest)
    return manifest


def _chain(first: tuple[Episode, list[LanguageRow]], rest: Iterator) -> Iterator[tuple[Episode, list[LanguageRow]]]:
    yield first
    yield from rest


def _line(text: str) -> str:
    return " ".join(text.split())


def _row(role: str, style: str, content: str, seconds: float) -> LanguageRow:
    return {
        "role": role,
        "content": content,
        "style": style,
        "timestamp": seconds,
        "camera": None,
        "tool_calls": None,
    }


@dataclass(frozen=True)
class _Frames:
    """Frames [start, end) of another source."""

    source: FrameSource
    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start

    def read(self, step: int) -> bytes:
        return self.source.read(self.start + step)


def _cut(episode: Episode, start: int, end: int) -> Episode:
    return replace(
        episode,
        id=f"{episode.id}-{start}-{end}",
        states=episode.states[start:end],
        commands=None if episode.commands is None else episode.commands[start:end],
        cameras={name: _Frames(frames, start, end) for name, frames in episode.cameras.items()},
        subtasks=(),
        notes=(*episode.notes, f"steps {start} to {end - 1} of {episode.id}: the others have no exported label"),
    )

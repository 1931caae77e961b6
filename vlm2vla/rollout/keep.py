"""Rollouts become episodes: written as LeRobot v3.0, indexed, and put in the review queue with what the policy said."""

import json
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from vlm2vla.annotation.shelf import judge
from vlm2vla.annotation.store import AnnotationStore, ItemRow
from vlm2vla.errors import AnnotationError, ExportError
from vlm2vla.rollout.trace import Trace
from vlm2vla.trajectories import EpisodeIndex, read, write_lerobot
from vlm2vla.types import AnnotatedEpisode
from vlm2vla.workspace import Workspace, write_atomic

_TRACE, _SAID = "trace.jsonl", "said.json"


def write_trace(folder: Path, trace: Trace, action_form: str) -> Path:
    """Write one rollout to a folder of its own: the episode, what was said, and every event; returns the folder.

    The same rollout once more (equal seeds give equal motions) is there already, and stays as it is. The folder appears
    under its name only when it is complete; what was left there half written is replaced.

    Raises:
        InvalidEpisodeError: Nothing moved.
        ExportError: The disk does not take it.
    """
    episode, annotated = trace.episode(), trace.annotated(action_form)
    path = folder / episode.id
    if _written(path):
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=f".{episode.id}.", suffix=".part") as part:
            whole = Path(part) / episode.id
            write_lerobot(whole, [(episode, [])])
            lines = (json.dumps(row, ensure_ascii=False) for row in trace.log)
            write_atomic(whole / _TRACE, "\n".join(lines) + "\n")
            write_atomic(whole / _SAID, json.dumps(annotated.to_json(), ensure_ascii=False, indent=1))
            _put(whole, path)
    except OSError as error:
        raise ExportError(f"cannot write {path}: {error}") from error
    return path


def _written(path: Path) -> bool:
    """Whether a rollout is there with all that belongs to it."""
    return (path / _SAID).exists()


def _put(whole: Path, path: Path) -> None:
    """Give a folder its name, unless another process was quicker with the same rollout.

    Raises:
        OSError: Something else is there.
    """
    if path.exists() and not _written(path):
        shutil.rmtree(path)
    try:
        whole.replace(path)
    except OSError:
        if not _written(path):
            raise


def keep(workspace: Workspace, folders: Iterable[Path]) -> tuple[str, ...]:
    """Index written rollouts and put their traces in the store, to be reviewed like any annotation.

    Returns:
        Ids of the episodes in the workspace.

    Raises:
        AnnotationError: A folder is not a written rollout.
    """
    index, ids = EpisodeIndex(workspace), []
    with AnnotationStore.open(workspace.database_url) as store:
        for folder in folders:
            (episode,) = read(folder, dataset="rollouts")
            try:
                said = AnnotatedEpisode.from_json(json.loads((folder / _SAID).read_text()))
            except (OSError, ValueError) as error:
                raise AnnotationError(f"{folder} is not a rollout that was written: {error}") from error
            index.add([episode])
            store.register([ItemRow(episode.id, episode.dataset, episode.instruction, len(episode))])
            annotated = replace(said, episode_id=episode.id)
            if store.head(episode.id) is None and annotated.subtasks:
                judged = judge(annotated, episode)
                store.save(
                    annotated,
                    author=said.provenance[-1].author,
                    source="policy",
                    base=0,
                    risk=judged.risk,
                    errors=judged.errors,
                    warnings=judged.warnings,
                )
            ids.append(episode.id)
    return tuple(ids)

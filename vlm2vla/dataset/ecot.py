"""ECoT export: one JSON of reasonings per step, as embodied chain-of-thought trainers read it.

    {file_path: {episode_id: {"metadata": ..., "features": ..., "reasoning": {"0": {...}, ...}}}}

Only what is known is written. Nobody has told this library where the gripper or an object is in the image, so
`gripper_position` (the trainer's spelling), `gripper_positions` (the generator's) and `bboxes` are null, which the
trainer takes as "none"; `subtask_reason` is empty for the same reason. Steps without an exported label have no entry.
"""

import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from vlm2vla.config import ExportConfig
from vlm2vla.dataset.conversations import refuse_nothing
from vlm2vla.dataset.folder import export_folder, hashes, write_manifest
from vlm2vla.dataset.lerobot_language import numbered
from vlm2vla.dataset.manifest import Manifest, manifest_of
from vlm2vla.dataset.select import LabelledEpisode, Selection, known_to_the_end
from vlm2vla.motion import gripper_bits, unwrap_angles
from vlm2vla.types import AnnotatedEpisode, Episode

REASONINGS = "reasonings.json"
PIXEL_SPACE = "none: gripper_position and bboxes are not known, so they are null"

# The primitives of the ECoT data: what happens from a step to three steps later at 5 Hz.
WINDOW_S = 0.6
# A direction is named from here on; rotations count a tenth, so 0.03 is 0.3 rad.
THRESHOLD = 0.03
# Longer translations are scaled to this sum over axes: an axis is named only if it holds a third of the motion.
CAP_M = 0.09

_TRANSLATIONS = (("forward", "backward"), ("left", "right"), ("up", "down"))


def move_primitives(episode: Episode) -> list[str]:
    """[T] movement names in the words of the ECoT data ("move forward left, close gripper", "stop").

    Computed from reached states with unwrapped angles; gripper words come from the command.
    """
    last = len(episode) - 1
    window = max(1, round(WINDOW_S * episode.rate_hz))
    states = unwrap_angles(episode.states)[:, :6]
    bits = gripper_bits(episode)
    ends = np.minimum(np.arange(len(episode)) + window, last)
    names = [
        _primitive(states[end] - states[step], float(bits[end] - bits[step])) for step, end in enumerate(ends[:-1])
    ]
    return [*names, names[-1] if names else "stop"]


def episode_entry(annotated: AnnotatedEpisode, episode: Episode) -> dict[str, Any]:
    """Metadata, features and reasoning of one episode.

    Args:
        annotated: Selected labels.
        episode: Their recording.
    """
    file_path, episode_id = episode_key(episode)
    primitives = move_primitives(episode)
    complete = annotated.subtasks[0].start_step == 0 and known_to_the_end(annotated, 0, len(episode))
    plan = numbered(annotated, " ") if complete else ""
    reasoning = {
        str(step): {
            "task": episode.instruction,
            "plan": plan,
            "subtask": subtask.text,
            "subtask_reason": "",
            "move": primitives[step],
            "move_reason": subtask.plan,
            "action_text": subtask.chunk,
        }
        for subtask in annotated.subtasks
        for step in range(subtask.start_step, subtask.end_step)
    }
    return {
        "metadata": {
            "episode_id": episode_id,
            "file_path": file_path,
            "n_steps": len(episode),
            "language_instruction": episode.instruction,
            "caption": "",
            "pixel_space": PIXEL_SPACE,
            "embodiment": episode.embodiment.name,
            "rate_hz": episode.rate_hz,
            "action_form": annotated.action_form,
        },
        "features": {
            "state_3d": np.round(episode.states[:, :3], 5).tolist(),
            "move_primitive": primitives,
            "gripper_position": None,
            "gripper_positions": None,
            "bboxes": None,
        },
        "reasoning": reasoning,
    }


def episode_key(episode: Episode) -> tuple[str, str]:
    """(file_path, episode_id) under which trainers look an episode up; our own names where the source has none."""
    ids = episode.source.ids
    return str(ids.get("file_path") or episode.dataset), str(ids.get("episode_id") or episode.id)


def write_ecot(config: ExportConfig, items: Iterable[LabelledEpisode]) -> Manifest:
    """Write `reasonings.json` to `config.out`.

    Args:
        config: Where to, and which labels.
        items: Labels and recordings; read once, one at a time.

    Raises:
        ExportError: `config.out` is not empty or cannot be written, or nothing can be exported.
    """
    selection = Selection(config.include_unreviewed)
    with export_folder(config.out) as folder, tempfile.TemporaryFile() as scratch:
        entries = _Fragments(scratch)
        steps = 0
        for item in selection.of(items):
            key = episode_key(item.episode)
            if entries.has(key):
                selection.leave_out("file_path and episode_id used twice", f"{item.episode.id}: {key}")
                continue
            entry = episode_entry(item.annotated, item.episode)
            entries.add(key, entry)
            steps += len(entry["reasoning"])
        refuse_nothing(steps, selection)
        entries.assemble(folder / REASONINGS)
        manifest = manifest_of(
            "ecot",
            selection,
            config=config,
            counts={"reasonings": steps},
            read_with=f'json.load(open("OUT/{REASONINGS}"))',
            units={"state_3d": "metres, manipulation frame", "pixels": PIXEL_SPACE},
            files=hashes(folder),
        )
        write_manifest(folder, manifest)
    return manifest


class _Fragments:
    """Entries on disk until all are known: episodes of one file need not come one after the other."""

    def __init__(self, scratch: IO[bytes]):
        self._scratch = scratch
        self._places: dict[str, dict[str, _Place]] = {}

    def has(self, key: tuple[str, str]) -> bool:
        return key[1] in self._places.get(key[0], {})

    def add(self, key: tuple[str, str], entry: dict[str, Any]) -> None:
        raw = json.dumps(entry, ensure_ascii=False).encode()
        self._places.setdefault(key[0], {})[key[1]] = _Place(self._scratch.tell(), len(raw))
        self._scratch.write(raw)

    def assemble(self, path: Path) -> None:
        with path.open("wb") as file:
            file.write(b"{")
            for number, (file_path, places) in enumerate(self._places.items()):
                file.write((",\n" if number else "\n").encode() + json.dumps(file_path).encode() + b": {")
                for index, (episode_id, place) in enumerate(places.items()):
                    self._scratch.seek(place.offset)
                    file.write((",\n" if index else "\n").encode() + json.dumps(episode_id).encode() + b": ")
                    file.write(self._scratch.read(place.size))
                file.write(b"}")
            file.write(b"\n}\n")


@dataclass(frozen=True)
class _Place:
    offset: int
    size: int


def _primitive(motion: np.ndarray, gripper: float) -> str:
    translation, (roll, pitch, yaw) = np.array(motion[:3]), motion[3:6] / 10
    length = np.abs(translation).sum()
    if length > CAP_M:
        translation *= CAP_M / length
    words = [
        pair[0] if value > 0 else pair[1]
        for pair, value in zip(_TRANSLATIONS, translation, strict=True)
        if abs(value) > THRESHOLD
    ]
    parts = ["move " + " ".join(words)] if words else []
    tilt = roll if abs(roll) > THRESHOLD else pitch
    if abs(tilt) > THRESHOLD:
        parts.append("tilt up" if tilt > 0 else "tilt down")
    if abs(yaw) > THRESHOLD:
        parts.append("rotate counterclockwise" if yaw > 0 else "rotate clockwise")
    if gripper:
        parts.append("open gripper" if gripper > 0 else "close gripper")
    return ", ".join(parts) or "stop"

"""Checks of the action text: it parses, adds up to the recorded motion on the recorded way, and works the gripper.

Tolerances leave room for rounding (half a resolution per axis) and for idle motion that the merging rule drops.
"""

from collections.abc import Iterator
from itertools import groupby

import numpy as np

from vlm2vla.annotation.checks.findings import Finding, SpanError
from vlm2vla.annotation.checks.recording import Recording, resolution_cm
from vlm2vla.errors import ActionParseError
from vlm2vla.language import ActionForm, measure
from vlm2vla.types import ActionChunk, AnnotatedSubtask

WARN_CM, ERROR_CM = 1.0, 1.5
WARN_DEG, ERROR_DEG = 6.0, 10.0
WAY_WARN_CM, WAY_ERROR_CM = 3.0, 5.0
UNSAID_DEG = 20.0
PLACE_WARN_CM, PLACE_ERROR_CM = 1.5, 3.0
_STATES = {1.0: "open", 0.0: "closed"}


def span_error(chunk: ActionChunk, subtask: AnnotatedSubtask, recording: Recording) -> SpanError:
    """How far the total of `chunk` is off the recorded displacement of the span."""
    net = recording.net(subtask.start_step, subtask.end_step)
    cm = 100.0 * float(np.linalg.norm(chunk.translation - net[:3]))
    deg = 0.0 if chunk.rotation is None else float(np.degrees(np.linalg.norm(chunk.rotation - net[3:])))
    return SpanError(subtask.uid, cm, deg)


def check_chunk(subtask: AnnotatedSubtask, recording: Recording, action_form: ActionForm) -> Iterator[Finding]:
    """All findings about the action text of one subtask."""
    where = (subtask.uid, subtask.start_step, subtask.end_step)
    if not subtask.chunk.strip():
        return  # said by check_levels
    try:
        chunk = action_form.parse(subtask.chunk)
    except ActionParseError as error:
        yield Finding("error", "chunk-unreadable", f"The action text cannot be read: {error}.", *where)
        return
    off = span_error(chunk, subtask, recording)
    if not action_form.rotation:
        yield from _check_rotation_unsaid(subtask, recording)
    # Coarse resolutions round more.
    slack = max(1.0, resolution_cm(action_form.name) / 0.5)
    recorded = recording.net(subtask.start_step, subtask.end_step)
    if off.cm > WARN_CM * slack:
        message = (
            f"The action text adds up to {measure(chunk.translation)}, the recording moved {measure(recorded[:3])}: "
            f"{off.cm:.1f} cm apart."
        )
        yield Finding("error" if off.cm > ERROR_CM * slack else "warning", "chunk-total", message, *where)
    elif (away := _way_error_cm(chunk, subtask, recording)) > WAY_WARN_CM * slack:
        message = f"The action text ends where the recording does, but is up to {away:.1f} cm off the recorded way."
        yield Finding("error" if away > WAY_ERROR_CM * slack else "warning", "chunk-way", message, *where)
    if off.deg > WARN_DEG:
        message = f"The rotations of the action text are {off.deg:.0f} degrees off the recorded ones."
        yield Finding("error" if off.deg > ERROR_DEG else "warning", "chunk-rotation", message, *where)
    yield from _check_gripper(chunk, subtask, recording, place=off.cm <= WARN_CM * slack)


def _check_rotation_unsaid(subtask: AnnotatedSubtask, recording: Recording) -> Iterator[Finding]:
    """What the gripper turns is lost in a form without rotation; there and back again too."""
    start, end = subtask.start_step, subtask.end_step
    turned = float(np.degrees(np.ptp(recording.path[start : end + 1, 3:], axis=0).max()))
    if turned > UNSAID_DEG:
        message = f"The gripper turns {turned:.0f} degrees, which this action form cannot say."
        yield Finding("warning", "rotation-unsaid", message, subtask.uid, start, end)


def _check_gripper(
    chunk: ActionChunk, subtask: AnnotatedSubtask, recording: Recording, *, place: bool
) -> Iterator[Finding]:
    """The same gripper changes; with `place` (when the motion is right) also where they happen."""
    start, end = subtask.start_step, subtask.end_step
    before = recording.before(start)
    recorded = _changes([before, *recording.bits[start:end].tolist()])
    said = _changes([before, *chunk.gripper.tolist()])
    if said == recorded:
        if place and len(said) > 1:
            yield from _check_gripper_place(chunk, subtask, recording)
        return
    message = f"In the action text the gripper is {_told(said)}; in the recording it is {_told(recorded)}."
    yield Finding("error", "chunk-gripper", message, subtask.uid, start, end)


def _check_gripper_place(chunk: ActionChunk, subtask: AnnotatedSubtask, recording: Recording) -> Iterator[Finding]:
    """The gripper acts where it did on the way, not rows earlier or later."""
    start, end = subtask.start_step, subtask.end_step
    bits = np.array([recording.before(start), *chunk.gripper])
    corners = np.vstack([np.zeros(3), np.cumsum(chunk.rows[:, :3], axis=0)])
    said = corners[np.flatnonzero(np.diff(bits))]
    done = [recording.path[step, :3] - recording.path[start, :3] for step, _ in recording.events(start, end)]
    off = 100.0 * float(np.linalg.norm(said - np.array(done), axis=1).max())
    if off > PLACE_WARN_CM:
        message = f"In the action text the gripper acts {off:.1f} cm away from where it did."
        severity = "error" if off > PLACE_ERROR_CM else "warning"
        yield Finding(severity, "chunk-gripper-place", message, subtask.uid, start, end)


def _changes(bits: list[float]) -> list[float]:
    return [bit for bit, _ in groupby(bits)]


def _told(states: list[float]) -> str:
    if len(states) > 4:
        return f"{_STATES.get(states[0], '?')} and changes {len(states) - 1} times"
    return ", then ".join(_STATES.get(state, "?") for state in states)


def _way_error_cm(chunk: ActionChunk, subtask: AnnotatedSubtask, recording: Recording) -> float:
    """Largest distance between the recorded way and the polyline of the chunk's rows, centimetres."""
    way = recording.path[subtask.start_step : subtask.end_step + 1, :3]
    way = way - way[0]
    corners = np.vstack([np.zeros(3), np.cumsum(chunk.rows[:, :3], axis=0)])
    if len(corners) == 1:
        return 100.0 * float(np.sqrt((way**2).sum(axis=1).max()))
    starts, legs = corners[:-1], np.diff(corners, axis=0)
    lengths = np.maximum((legs**2).sum(axis=1), 1e-12)
    rel = way[:, None, :] - starts[None, :, :]
    along = np.clip((rel * legs[None]).sum(axis=2) / lengths[None], 0.0, 1.0)
    apart = ((rel - along[..., None] * legs[None]) ** 2).sum(axis=2)
    to_way = ((corners[:, None, :] - way[None, :, :]) ** 2).sum(axis=2).min(axis=1).max()
    return 100.0 * float(np.sqrt(max(apart.min(axis=1).max(), to_way)))

"""One annotated episode as plain JSON values for a page: the words, and beside each what the numbers say. Pure."""

from dataclasses import asdict
from typing import Any

import numpy as np

from vlm2vla.annotation.checks import Finding
from vlm2vla.annotation.derive import derive_chunk, derive_plan
from vlm2vla.config import LanguageConfig
from vlm2vla.errors import ActionParseError, AnnotationError
from vlm2vla.language import ActionForm, directions_of, form, measure
from vlm2vla.motion import actions, displacement, gripper_bits
from vlm2vla.types import ActionChunk, AnnotatedEpisode, AnnotatedSubtask, Episode

_LETTERS = {("x", 1): "f", ("x", -1): "b", ("y", 1): "l", ("y", -1): "r", ("z", 1): "u", ("z", -1): "d"}
# Dominant motion is looked up over this long, so that slow motion is not lost in single steps.
MOTION_WINDOW_S = 0.6


def episode_view(episode: Episode) -> dict[str, Any]:
    """What is known of an episode before anybody annotated it."""
    origin = " · ".join(f"{key} {value}" for key, value in episode.source.ids.items())
    return {
        "id": episode.id,
        "dataset": episode.dataset,
        "instruction": episode.instruction,
        "embodiment": episode.embodiment.title,
        "source_text": f"{episode.dataset} · {origin}" if origin else episode.dataset,
        "steps": len(episode),
        "rate_hz": episode.rate_hz,
        "cameras": list(episode.cameras),
        "notes": list(episode.notes),
        "motion": motion_letters(episode),
        "gripper": [int(bit) for bit in gripper_bits(episode)],
    }


def spans_view(
    annotated: AnnotatedEpisode,
    machine: AnnotatedEpisode | None,
    episode: Episode,
    findings: tuple[Finding, ...],
    config: LanguageConfig,
) -> list[dict[str, Any]]:
    """One entry per subtask: the three levels, the machine's value, and what the numbers say."""
    action_form = form(annotated.action_form)
    machine_by_uid = {subtask.uid: subtask for subtask in machine.subtasks} if machine else {}
    return [
        _span(subtask, machine_by_uid.get(subtask.uid), episode, action_form, config)
        | {"findings": [_finding(finding) for finding in findings if finding.uid == subtask.uid]}
        for subtask in annotated.subtasks
    ]


def findings_view(findings: tuple[Finding, ...]) -> list[dict[str, Any]]:
    """All findings of the episode."""
    return [asdict(finding) for finding in findings]


def path_view(annotated: AnnotatedEpisode | None, episode: Episode) -> dict[str, Any]:
    """Recorded end-effector path and, per subtask, the path its chunk describes; centimetres."""
    recorded = np.round(episode.states[:, :3] * 100, 2)
    said = []
    for subtask in annotated.subtasks if annotated else ():
        try:
            rows = form(annotated.action_form).parse(subtask.chunk).rows[:, :3] * 100
        except ActionParseError:
            continue
        start = recorded[min(subtask.start_step, len(recorded) - 1)]
        points = np.vstack([start, start + np.cumsum(rows, axis=0)])
        said.append({"uid": subtask.uid, "label": subtask.text, "points": np.round(points, 2).tolist()})
    return {"recorded": recorded.tolist(), "said": said}


def motion_letters(episode: Episode) -> list[str]:
    """Per step the letters of the dominant directions (f b l r u d), "" where the robot is still."""
    window = max(1, round(MOTION_WINDOW_S * episode.rate_hz))
    last = len(episode) - 1
    letters = []
    for step in range(len(episode)):
        start = max(0, min(step - window // 2, last - window))
        delta = episode.states[min(start + window, last), :3] - episode.states[start, :3]
        found = [_LETTERS[way.axis, way.sign] for way in directions_of(delta) if way.size != "slightly"]
        letters.append("".join(found[:2]))
    return letters


def _span(
    subtask: AnnotatedSubtask,
    machine: AnnotatedSubtask | None,
    episode: Episode,
    action_form: ActionForm,
    config: LanguageConfig,
) -> dict[str, Any]:
    start, end = subtask.start_step, subtask.end_step
    moved = displacement(episode, start, end)
    axes = 6 if action_form.rotation else 3
    return {
        "uid": subtask.uid,
        "text": subtask.text,
        "start": start,
        "end": end,
        "plan": subtask.plan,
        "chunk": subtask.chunk,
        "sources": dict(subtask.sources),
        "machine": _machine(machine),
        "edits": sum(source == "person" for source in subtask.sources.values()),
        "stale": list(subtask.stale),
        "status": subtask.status,
        "reason": subtask.reason,
        "numbers": measure(moved[:axes]),
        "gripper_numbers": _gripper_words(episode, start, end),
        "derived": _derived(episode, start, end, config, action_form),
    } | _chunk(subtask, moved, action_form)


def _derived(episode: Episode, start: int, end: int, config: LanguageConfig, action_form: ActionForm) -> dict[str, str]:
    """What Enter would take; empty where the span is too long, or outside the episode, to be said in one chunk."""
    try:
        return {
            "plan": derive_plan(episode, start, end, config),
            "chunk": derive_chunk(episode, start, end, config, action_form),
        }
    except AnnotationError:
        return {"plan": "", "chunk": ""}


def _machine(machine: AnnotatedSubtask | None) -> dict[str, str] | None:
    if machine is None:
        return None
    source = machine.sources.get("subtask", "")
    return {"text": machine.text, "plan": machine.plan, "chunk": machine.chunk, "source": source}


def _chunk(subtask: AnnotatedSubtask, moved: np.ndarray, action_form: ActionForm) -> dict[str, Any]:
    try:
        chunk = action_form.parse(subtask.chunk)
    except ActionParseError as error:
        return {"rows": [], "chunk_problem": str(error), "chunk_error_cm": None, "chunk_error_deg": None}
    error_deg = None
    if chunk.rotation is not None:
        error_deg = round(float(np.degrees(np.linalg.norm(chunk.rotation - moved[3:]))), 1)
    return {
        "rows": [_row(row, action_form) for row in chunk.rows],
        "chunk_problem": None,
        "chunk_error_cm": round(float(np.linalg.norm(chunk.translation - moved[:3]) * 100), 2),
        "chunk_error_deg": error_deg,
    }


def _row(row: np.ndarray, action_form: ActionForm) -> dict[str, str]:
    text = action_form.verbalize(ActionChunk(row[None]))
    gripper = "gripper open" if row[-1] >= 0.5 else "gripper closed"
    return {
        # The paper's form is a list of rows: without the outer brackets each row can be edited by itself.
        "text": text[1:-1] if action_form.name.startswith("rows") else text,
        "says": f"{measure(row[:-1])}, {gripper}",
    }


def _gripper_words(episode: Episode, start: int, end: int) -> str:
    bits = actions(episode)[max(0, start - 1) : end, 6]
    events = [
        "closes" if after < before else "opens"
        for before, after in zip(bits, bits[1:], strict=False)
        if before != after
    ]
    state = "open" if bits[-1] >= 0.5 else "closed"
    return f"gripper {' and '.join(events)}" if events else f"gripper stays {state}"


def _finding(finding: Finding) -> dict[str, str]:
    return {"severity": finding.severity, "code": finding.code, "message": finding.message}

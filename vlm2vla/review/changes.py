"""What differs between two annotations of one episode, in rows that a person can read. Pure."""

from typing import Any

from vlm2vla.types import AnnotatedEpisode, AnnotatedSubtask

_FIELDS = ("text", "plan", "chunk", "start_step", "end_step", "status", "reason")
_NAMES = {"text": "subtask", "start_step": "start", "end_step": "end"}


def changes(before: AnnotatedEpisode | None, after: AnnotatedEpisode) -> list[dict[str, Any]]:
    """One row per changed field: {"uid", "label", "field", "was", "now"}.

    Subtasks are matched by uid. A new one is a row with field "added", a lost one with field "removed".
    """
    old = {subtask.uid: subtask for subtask in before.subtasks} if before else {}
    new = {subtask.uid: subtask for subtask in after.subtasks}
    rows = [_row(subtask, "removed", _span(subtask), "") for uid, subtask in old.items() if uid not in new]
    for uid, subtask in new.items():
        if uid not in old:
            rows.append(_row(subtask, "added", "", _span(subtask)))
            continue
        for name in _FIELDS:
            was, now = getattr(old[uid], name), getattr(subtask, name)
            if was != now:
                rows.append(_row(subtask, _NAMES.get(name, name), was, now))
    return rows


def _row(subtask: AnnotatedSubtask, field: str, was: Any, now: Any) -> dict[str, Any]:
    return {"uid": subtask.uid, "label": subtask.text, "field": field, "was": was, "now": now}


def _span(subtask: AnnotatedSubtask) -> str:
    return f"{subtask.text} (steps {subtask.start_step} to {subtask.end_step - 1})"

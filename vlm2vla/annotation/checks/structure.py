"""Checks of spans and of the words as such: coverage, empty or idle subtasks, stale or missing levels, neighbours."""

import re
from collections.abc import Iterator
from difflib import SequenceMatcher

from vlm2vla.annotation.checks.findings import Finding
from vlm2vla.annotation.checks.recording import Recording
from vlm2vla.types import AnnotatedSubtask

_SAME_RATIO = 0.92
_ARTICLE = re.compile(r"\b(?:the|a|an)\b|[^\w\s]")


def check_spans(subtasks: tuple[AnnotatedSubtask, ...], steps: int) -> Iterator[Finding]:
    """Spans cover [0, steps) in order, without gap or overlap."""
    if not subtasks:
        yield Finding("error", "no-subtasks", "The episode has no subtasks.", "", 0, steps)
        return
    seen: set[str] = set()
    at = 0
    for subtask in subtasks:
        start, end, uid = subtask.start_step, subtask.end_step, subtask.uid
        if uid in seen:
            yield Finding("error", "uid-twice", f"Two subtasks share the key {uid}.", uid, start, end)
        seen.add(uid)
        if end <= start:
            yield Finding("error", "span-empty", f'"{subtask.text}" covers no step.', uid, start, end)
        elif start < 0 or end > steps:
            message = f'"{subtask.text}" is steps {start} to {end - 1}, but the episode has {_steps(0, steps)}.'
            yield Finding("error", "span-outside", message, uid, start, end)
        if start > at:
            yield Finding("error", "span-gap", f"No subtask covers {_steps(at, start)}.", uid, at, start)
        elif start < at:
            message = f'"{subtask.text}" overlaps the subtask before it on {_steps(start, min(at, end))}.'
            yield Finding("error", "span-overlap", message, uid, start, min(at, end))
        at = max(at, end)
    if at < steps:
        yield Finding("error", "span-gap", f"No subtask covers {_steps(at, steps)}.", subtasks[-1].uid, at, steps)


def check_levels(subtask: AnnotatedSubtask, recording: Recording) -> Iterator[Finding]:
    """Every level has words that belong to the span, and something happens in it."""
    where = (subtask.uid, subtask.start_step, subtask.end_step)
    if not subtask.text.strip():
        yield Finding("error", "subtask-missing", "The subtask has no text.", *where)
    if not subtask.plan.strip():
        yield Finding("error", "plan-missing", "There is no motion plan.", *where)
    if not subtask.chunk.strip():
        yield Finding("error", "chunk-missing", "There is no action text.", *where)
    if subtask.stale:
        names = " and ".join("action text" if level == "chunk" else level for level in subtask.stale)
        verb = "were" if len(subtask.stale) > 1 else "was"
        yield Finding(
            "warning", "stale", f"The {names} {verb} written for other boundaries; take the derived text.", *where
        )
    if recording.is_idle(subtask.start_step, subtask.end_step):
        message = f"Nothing happens in {_steps(subtask.start_step, subtask.end_step)}: the arm and the gripper rest."
        yield Finding("warning", "idle", message, *where)


def check_neighbours(subtasks: tuple[AnnotatedSubtask, ...]) -> Iterator[Finding]:
    """Subtasks in a row say different things."""
    plain = [_plain(subtask.text) for subtask in subtasks]
    for index in range(1, len(subtasks)):
        first, second = plain[index - 1], plain[index]
        if first and second and _same(first, second):
            subtask = subtasks[index]
            message = f'"{subtask.text}" says the same as the subtask before it; merge them or tell them apart.'
            yield Finding("warning", "duplicate", message, subtask.uid, subtask.start_step, subtask.end_step)


def _plain(text: str) -> str:
    return " ".join(_ARTICLE.sub(" ", text.casefold()).split())


def _same(first: str, second: str) -> bool:
    if first == second:
        return True
    matcher = SequenceMatcher(None, first, second, autojunk=False)
    if min(matcher.real_quick_ratio(), matcher.quick_ratio()) < _SAME_RATIO or matcher.ratio() < _SAME_RATIO:
        return False
    # Alike to the eye but with another short word ("burner 1", "burner 2") is not the same.
    ours, theirs = set(first.split()), set(second.split())
    return all(len(word) > 3 for word in ours ^ theirs)


def _steps(start: int, end: int) -> str:
    return f"step {start}" if end == start + 1 else f"steps {start} to {end - 1}"

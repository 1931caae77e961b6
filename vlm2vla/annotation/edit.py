"""Edits of an annotation by a person: pure functions, each gives a new `AnnotatedEpisode`.

A change of boundaries leaves the words of a span behind its numbers: plan and chunk of that span are marked stale, and
if it was accepted it is pending again. Text is kept as typed, also action text that does not parse: the check says so,
nothing is lost. This module knows no store and no revision.
"""

import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from vlm2vla.annotation import derive
from vlm2vla.config import LanguageConfig
from vlm2vla.errors import ActionParseError, AnnotationError, ConfigError, EditError, NotFoundError
from vlm2vla.language import ActionForm, form, parse_plan, verbalize_plan
from vlm2vla.types import (
    LEVELS,
    STATUSES,
    ActionChunk,
    AnnotatedEpisode,
    AnnotatedSubtask,
    Episode,
    Level,
    Status,
)

Edge = Literal["start", "end"]
MAX_TEXT = 4000
_WORDS: tuple[Level, ...] = ("plan", "chunk")


def new_uid() -> str:
    """Key of a subtask that an edit makes."""
    return f"s{uuid.uuid4().hex[:8]}"


def set_text(annotated: AnnotatedEpisode, uid: str, level: Level, text: str) -> AnnotatedEpisode:
    """Rewrite one level of one subtask; it is a person's text then, and no longer stale.

    Action text that parses is written the way its form writes it, so that training sees one spelling; action text that
    does not parse is kept as typed. Saving the same text again confirms it: it stays the text of whoever wrote it.

    Raises:
        EditError: No such subtask or level, a subtask without words, or too long a text.
    """
    if level not in LEVELS:
        raise EditError(f"no level {level!r}; the levels are {', '.join(LEVELS)}")
    cleaned = _spelled(text.strip(), annotated.action_form) if level == "chunk" else " ".join(text.split())
    if len(cleaned) > MAX_TEXT:
        raise EditError(f"the {level} has {len(cleaned)} characters; at most {MAX_TEXT} are kept")
    if level == "subtask" and not cleaned:
        raise EditError("a subtask needs a text; merge it with its neighbour to remove it")
    index = _index(annotated, uid)
    subtask = annotated.subtasks[index]
    same = subtask.level(level) == cleaned
    changed = subtask.with_level(level, cleaned, subtask.sources.get(level, "person") if same else "person")
    return _put(annotated, index, index + 1, changed)


def move_boundary(
    annotated: AnnotatedEpisode, uid: str, step: int, *, edge: Edge = "end", steps: int | None = None
) -> AnnotatedEpisode:
    """Move the start or the end of a subtask to `step`; the neighbour there begins or ends with it.

    A gap or an overlap between the two is closed that way.

    Args:
        annotated: The annotation.
        uid: The subtask.
        step: New step of the edge.
        edge: Which edge.
        steps: Length of the episode, the limit of the last edge.

    Raises:
        EditError: No such subtask, or a span would be empty, or cross the next boundary, or leave the episode.
    """
    if edge not in ("start", "end"):
        raise EditError(f"no edge {edge!r}; it is start or end")
    index = _index(annotated, uid)
    if edge == "start":
        return _move_edge(annotated, index - 1, index, step, steps)
    return _move_edge(annotated, index, index + 1, step, steps)


def _move_edge(annotated: AnnotatedEpisode, left: int, right: int, step: int, steps: int | None) -> AnnotatedEpisode:
    """Move the edge between subtasks `left` and `right`, one of which may be outside the list."""
    subtasks = list(annotated.subtasks)
    before = subtasks[left] if left >= 0 else None
    after = subtasks[right] if right < len(subtasks) else None
    low = before.start_step + 1 if before else 0
    high = after.end_step - 1 if after else (steps if steps is not None else before.end_step if before else step)
    if not low <= step <= high:
        raise EditError(f"the boundary can be at steps {low} to {high} here, not at {step}")
    if before and before.end_step != step:
        subtasks[left] = _respan(before, before.start_step, step)
    if after and after.start_step != step:
        subtasks[right] = _respan(after, step, after.end_step)
    return replace(annotated, subtasks=tuple(subtasks))


def split(annotated: AnnotatedEpisode, uid: str, step: int) -> AnnotatedEpisode:
    """Cut a subtask in two at `step`; both halves keep its words, plan and chunk marked stale.

    Raises:
        EditError: No such subtask, or `step` is not inside it.
    """
    index = _index(annotated, uid)
    subtask = annotated.subtasks[index]
    if not subtask.start_step < step < subtask.end_step:
        raise EditError(
            f"{subtask.text!r} is steps {subtask.start_step} to {subtask.end_step - 1}; "
            f"it can be split at {subtask.start_step + 1} to {subtask.end_step - 1}, not at {step}"
        )
    first = _respan(subtask, subtask.start_step, step)
    second = replace(_respan(subtask, step, subtask.end_step), uid=new_uid())
    return _put(annotated, index, index + 1, first, second)


def merge_with_next(annotated: AnnotatedEpisode, uid: str) -> AnnotatedEpisode:
    """Join a subtask with the one after it: texts, plans and chunks one after the other, plan and chunk stale.

    Raises:
        EditError: No such subtask, or it is the last.
    """
    index = _index(annotated, uid)
    if index + 1 == len(annotated.subtasks):
        raise EditError(f"{annotated.subtasks[index].text!r} is the last subtask; there is none to merge it with")
    first, second = annotated.subtasks[index : index + 2]
    merged = replace(
        first,
        text=_then(first.text, second.text),
        end_step=max(first.end_step, second.end_step),
        plan=_merged_plan(first.plan, second.plan),
        chunk=_merged_chunk(first.chunk, second.chunk, annotated.action_form),
        sources={level: _merged_source(first, second, level) for level in LEVELS},
        stale=_WORDS,
        status="pending" if "accepted" in (first.status, second.status) else first.status,
        reason=first.reason or second.reason,
    )
    return _put(annotated, index, index + 2, merged)


def create(
    annotated: AnnotatedEpisode, start: int, end: int, text: str, *, steps: int | None = None
) -> AnnotatedEpisode:
    """Put a new subtask over [start, end); the ones it overlaps give way, one around it is cut in three.

    Its plan and chunk are empty and stale until they are re-derived (`apply` does so at once).

    Raises:
        EditError: Empty or outside span, no text, or it would cover another subtask completely.
    """
    if not text.strip():
        raise EditError("a subtask needs a text")
    if not 0 <= start < end or (steps is not None and end > steps):
        limit = f" of 0 to {steps}" if steps is not None else ""
        raise EditError(f"a subtask needs a span inside the episode{limit}, not {start} to {end}")
    fresh = AnnotatedSubtask(
        new_uid(), " ".join(text.split()), start, end, "", "", {level: "person" for level in LEVELS}, _WORDS
    )
    kept: list[AnnotatedSubtask] = []
    for subtask in annotated.subtasks:
        kept += _give_way(subtask, start, end)
    return replace(annotated, subtasks=tuple(sorted([*kept, fresh], key=lambda subtask: subtask.start_step)))


def _give_way(subtask: AnnotatedSubtask, start: int, end: int) -> list[AnnotatedSubtask]:
    """What is left of a subtask outside [start, end)."""
    if end <= subtask.start_step or subtask.end_step <= start:
        return [subtask]
    if start <= subtask.start_step and subtask.end_step <= end:
        raise EditError(f"steps {start} to {end - 1} would cover {subtask.text!r} completely; change that one instead")
    left = [_respan(subtask, subtask.start_step, start)] if subtask.start_step < start else []
    right = [_respan(subtask, end, subtask.end_step)] if end < subtask.end_step else []
    if left and right:
        right = [replace(right[0], uid=new_uid())]
    return left + right


def set_status(annotated: AnnotatedEpisode, uid: str | None, status: Status, reason: str = "") -> AnnotatedEpisode:
    """Accept, reject, flag or reopen one subtask, or all with `uid` None.

    Accepting all leaves rejected ones rejected: that was a decision of its own.

    Raises:
        EditError: No such subtask or status, or a rejection without reason.
    """
    if status not in STATUSES:
        raise EditError(f"no status {status!r}; the statuses are {', '.join(STATUSES)}")
    said = " ".join(reason.split())
    if status == "rejected" and not said:
        raise EditError("a rejection needs a reason")
    if uid is not None:
        _index(annotated, uid)

    def meant(subtask: AnnotatedSubtask) -> bool:
        if uid is None:
            return not (status == "accepted" and subtask.status == "rejected")
        return uid == subtask.uid

    subtasks = tuple(
        replace(subtask, status=status, reason=said) if meant(subtask) else subtask for subtask in annotated.subtasks
    )
    return replace(annotated, subtasks=subtasks)


def rederive(
    annotated: AnnotatedEpisode, uid: str, episode: Episode, config: LanguageConfig, levels: Sequence[Level] = _WORDS
) -> AnnotatedEpisode:
    """Take plan and chunk of a subtask from the numbers of its span.

    Raises:
        EditError: No such subtask, a level without derived text, or a span outside the episode.
    """
    unknown = [level for level in levels if level not in _WORDS]
    if unknown:
        raise EditError(f"only plan and chunk can be derived from the numbers, not {', '.join(map(str, unknown))}")
    index = _index(annotated, uid)
    subtask = annotated.subtasks[index]
    action_form = _form_of(annotated.action_form)
    span = (subtask.start_step, subtask.end_step)
    try:
        rows, before = derive.span_actions(episode, *span, config)
        if "plan" in levels:
            plan = derive.plan_text(rows, before, episode.rate_hz, rotation=action_form.rotation)
            subtask = subtask.with_level("plan", plan, "kinematic")
        if "chunk" in levels:
            chunk = derive.derive_chunk(episode, *span, config, action_form)
            subtask = subtask.with_level("chunk", chunk, "kinematic")
    except AnnotationError as error:
        raise EditError(str(error)) from error
    return _put(annotated, index, index + 1, subtask)


def replace_span(annotated: AnnotatedEpisode, uid: str, replacement: AnnotatedEpisode) -> AnnotatedEpisode:
    """Put newly made subtasks in the place of one (re-annotation of its span).

    Raises:
        EditError: No such subtask, another episode or action form, or the new ones do not cover exactly its span.
    """
    index = _index(annotated, uid)
    old = annotated.subtasks[index]
    fresh = replacement.subtasks
    if replacement.episode_id != annotated.episode_id:
        raise EditError(f"these labels belong to {replacement.episode_id}, not to {annotated.episode_id}")
    if replacement.action_form != annotated.action_form:
        raise EditError(f"new chunks are in {replacement.action_form}, the others in {annotated.action_form}")
    edges = [old.start_step, *(subtask.end_step for subtask in fresh)]
    starts = [*(subtask.start_step for subtask in fresh), old.end_step]
    if not fresh or edges != starts:
        raise EditError(f"new subtasks must cover exactly steps {old.start_step} to {old.end_step - 1}")
    taken = {subtask.uid for subtask in annotated.subtasks}
    # The first one takes over the key, so that links to the span stay good.
    renamed = [replace(fresh[0], uid=uid)]
    renamed += [replace(subtask, uid=new_uid()) if subtask.uid in taken else subtask for subtask in fresh[1:]]
    placed = _put(annotated, index, index + 1, *renamed)
    return replace(placed, provenance=(*annotated.provenance, *replacement.provenance))


def _index(annotated: AnnotatedEpisode, uid: str) -> int:
    try:
        return annotated.subtasks.index(annotated.find(uid))
    except NotFoundError as error:
        raise EditError(str(error)) from error


def _put(annotated: AnnotatedEpisode, low: int, high: int, *subtasks: AnnotatedSubtask) -> AnnotatedEpisode:
    return replace(annotated, subtasks=(*annotated.subtasks[:low], *subtasks, *annotated.subtasks[high:]))


def _respan(subtask: AnnotatedSubtask, start: int, end: int) -> AnnotatedSubtask:
    """Other boundaries: the words no longer belong to the numbers, and what was accepted is not what is there now."""
    stale = (*(level for level in subtask.stale if level not in _WORDS), *_WORDS)
    status = "pending" if subtask.status == "accepted" else subtask.status
    return replace(subtask, start_step=start, end_step=end, stale=stale, status=status)


def _spelled(text: str, form_name: str) -> str:
    try:
        action_form = form(form_name)
        return action_form.verbalize(action_form.parse(text))
    except (AnnotationError, ActionParseError, ConfigError):
        return text


def _form_of(name: str) -> ActionForm:
    try:
        return form(name)
    except ConfigError as error:
        raise EditError(f"the annotation's action form cannot be used: {error}") from error


def _merged_source(first: AnnotatedSubtask, second: AnnotatedSubtask, level: Level) -> str:
    sources = {first.sources.get(level, "person"), second.sources.get(level, "person")}
    return sources.pop() if len(sources) == 1 else "person"


def _then(first: str, second: str) -> str:
    if first.casefold() == second.casefold() or not second:
        return first
    # Only a capital that begins an ordinary word is lowered: "TV" and "Ash" inside a text stay.
    follow = second[0].lower() + second[1:] if second[1:2].islower() else second
    return f"{first}, then {follow}" if first else second


def _merged_plan(first: str, second: str) -> str:
    try:
        return verbalize_plan((*parse_plan(first), *parse_plan(second)))
    except ActionParseError:
        return _then(first, second)


def _merged_chunk(first: str, second: str, form_name: str) -> str:
    try:
        action_form = form(form_name)
        rows = [action_form.parse(text).rows for text in (first, second) if text]
        return action_form.verbalize(ActionChunk(np.vstack(rows))) if rows else ""
    except (AnnotationError, ActionParseError, ConfigError, ValueError):
        return "\n".join(text for text in (first, second) if text)

"""Edits of an annotation that came as JSON: checked, dispatched to `edit`, and credited to their author."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from vlm2vla.annotation import edit as edits
from vlm2vla.annotation.annotator import now
from vlm2vla.config import LanguageConfig
from vlm2vla.errors import EditError
from vlm2vla.types import AnnotatedEpisode, Episode, Level, Provenance

_WORDS: tuple[Level, ...] = ("plan", "chunk")


def apply(
    annotated: AnnotatedEpisode, episode: Episode, edit: Mapping[str, Any], author: str, config: LanguageConfig
) -> AnnotatedEpisode:
    """Carry out one edit that came as JSON, and credit its author.

    Kinds and their fields:
        set_text uid level text · move_boundary uid step [edge: start|end] · split uid step · merge uid ·
        create start end text · set_status [uid] status [reason] · rederive uid [levels]

    Raises:
        EditError: Unknown kind, missing or wrong field, or an edit that the annotation does not allow.
    """
    kind = edit.get("kind") if isinstance(edit, Mapping) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        raise EditError(f"no edit {kind!r}; known: {', '.join(_KINDS)}")
    if annotated.episode_id != episode.id:
        raise EditError(f"this annotation belongs to {annotated.episode_id}, not to {episode.id}")
    changed = _KINDS[kind](annotated, episode, edit, config)
    if changed == annotated:
        return annotated
    others = tuple(entry for entry in annotated.provenance if (entry.source, entry.author) != ("person", author))
    return replace(changed, provenance=(*others, Provenance("person", author, now())))


def _apply_create(
    annotated: AnnotatedEpisode, episode: Episode, edit: Mapping[str, Any], config: LanguageConfig
) -> AnnotatedEpisode:
    start, end = _field(edit, "start", int), _field(edit, "end", int)
    made = edits.create(annotated, start, end, _field(edit, "text", str), steps=len(episode))
    known = {subtask.uid for subtask in annotated.subtasks}
    uid = next(s.uid for s in made.subtasks if s.uid not in known and (s.start_step, s.end_step) == (start, end))
    return edits.rederive(made, uid, episode, config)


def _levels(edit: Mapping[str, Any]) -> tuple[Level, ...]:
    levels = edit.get("levels", _WORDS)
    if not isinstance(levels, list | tuple) or not levels:
        raise EditError("levels must be a list of plan and chunk")
    return tuple(levels)


_Edit = Callable[[AnnotatedEpisode, Episode, Mapping[str, Any], LanguageConfig], AnnotatedEpisode]
_KINDS: dict[str, _Edit] = {
    "set_text": lambda a, _, e, __: edits.set_text(
        a, _field(e, "uid", str), _field(e, "level", str), _field(e, "text", str)
    ),
    "move_boundary": lambda a, episode, e, _: edits.move_boundary(
        a,
        _field(e, "uid", str),
        _field(e, "step", int),
        edge=_field(e, "edge", str, default="end"),
        steps=len(episode),
    ),
    "split": lambda a, _, e, __: edits.split(a, _field(e, "uid", str), _field(e, "step", int)),
    "merge": lambda a, _, e, __: edits.merge_with_next(a, _field(e, "uid", str)),
    "create": _apply_create,
    "set_status": lambda a, _, e, __: edits.set_status(
        a,
        None if e.get("uid") is None else _field(e, "uid", str),
        _field(e, "status", str),
        _field(e, "reason", str, default=""),
    ),
    "rederive": lambda a, episode, e, config: edits.rederive(a, _field(e, "uid", str), episode, config, _levels(e)),
}


def _field(edit: Mapping[str, Any], name: str, kind: type, default: Any = None) -> Any:
    value = edit.get(name, default)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise EditError(f"the edit {edit.get('kind')!r} needs {name!r} ({kind.__name__}), got {value!r}")
    return value

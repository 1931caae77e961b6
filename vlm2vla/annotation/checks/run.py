"""Runs the checks over an annotated episode, and sums them up."""

from collections.abc import Sequence

from vlm2vla.annotation.checks import chunks, plans, structure, wording
from vlm2vla.annotation.checks.findings import Finding, SpanError
from vlm2vla.annotation.checks.recording import Recording
from vlm2vla.annotation.objects import parse_task
from vlm2vla.errors import ActionParseError, ConfigError
from vlm2vla.language import ActionForm, form
from vlm2vla.types import AnnotatedEpisode, AnnotatedSubtask, Episode

_WEIGHTS = {"error": 0.5, "warning": 0.15, "info": 0.03}
_ORDER = {"error": 0, "warning": 1, "info": 2}
_VAGUE = 0.1
_PER_CM = 0.1


def check(annotated: AnnotatedEpisode, episode: Episode) -> tuple[Finding, ...]:
    """Everything that is wrong or worth a look, in order of time, errors first within a span.

    Rejected subtasks are only checked for coverage: a person has decided about their words.
    """
    recording = Recording.of(episode, annotated)
    found = list(structure.check_spans(annotated.subtasks, recording.steps))
    action_form = _form_or_none(annotated.action_form)
    if action_form is None:
        message = f'The action form "{annotated.action_form}" is not known, so the action text was not checked.'
        found.append(Finding("error", "form-unknown", message, "", 0, recording.steps))
    open_to_checks = [entry for entry in _measurable(annotated, recording) if entry.status != "rejected"]
    for subtask in open_to_checks:
        found += structure.check_levels(subtask, recording)
        found += plans.check_plan(subtask, recording)
        if action_form is not None:
            found += chunks.check_chunk(subtask, recording, action_form)
        found += wording.check_gripper_verb(subtask, recording)
    found += wording.check_objects(open_to_checks, episode)
    found += structure.check_neighbours(annotated.subtasks)
    found += wording.check_language(annotated)
    return tuple(sorted(found, key=lambda finding: (finding.start_step, _ORDER[finding.severity], finding.code)))


def displacement_error(annotated: AnnotatedEpisode, episode: Episode) -> tuple[SpanError, ...]:
    """Error of every subtask whose action text can be read, in order; the others are left out (`check` names them)."""
    recording = Recording.of(episode, annotated)
    action_form = _form_or_none(annotated.action_form)
    errors = []
    for subtask in _measurable(annotated, recording) if action_form is not None else ():
        try:
            chunk = action_form.parse(subtask.chunk)
        except ActionParseError:
            continue
        errors.append(chunks.span_error(chunk, subtask, recording))
    return tuple(errors)


def risk(findings: Sequence[Finding], annotated: AnnotatedEpisode, episode: Episode) -> float:
    """How much a person's look is worth: 0 (nothing to see) to 1.

    Findings count by severity, each further one less. An instruction that was not understood and rounding errors
    add a little, so that episodes without findings have an order too.
    """
    clear = 1.0
    for finding in findings:
        clear *= 1.0 - _WEIGHTS[finding.severity]
    if not parse_task(episode.instruction).understood:
        clear *= 1.0 - _VAGUE
    errors = displacement_error(annotated, episode)
    if errors:
        clear *= 1.0 - min(0.2, _PER_CM * sum(error.cm for error in errors) / len(errors))
    return round(1.0 - clear, 4)


def _measurable(annotated: AnnotatedEpisode, recording: Recording) -> list[AnnotatedSubtask]:
    """Subtasks whose span lies in the recording."""
    return [entry for entry in annotated.subtasks if 0 <= entry.start_step < entry.end_step <= recording.steps]


def _form_or_none(name: str) -> ActionForm | None:
    try:
        return form(name)
    except ConfigError:
        return None

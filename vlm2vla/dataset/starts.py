"""Samples that begin where no subtask begins: what is left to do, seen from there.

A live policy looks again after every chunk, so it asks for plan and chunk in the middle of a subtask; and a verifier
that was content too early asks for the next one while some of the last is left. Labels describe whole subtasks; here
plan and chunk are told anew from the steps that are left. Which words tell motion is the caller's business (`Rest`),
since annotators and data sets do not know each other.
"""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np

from vlm2vla.dataset.samples import Sample, samples_at
from vlm2vla.dataset.select import form_called
from vlm2vla.errors import ActionParseError, AnnotationError, ConfigError
from vlm2vla.language import even_rows, measured_plan
from vlm2vla.types import AnnotatedEpisode, Episode

# A subtask that is asked for too early is asked for no further away than this on any axis, metres.
EARLY_M = 0.09
# A step at which nothing moves counts as much as this way, metres.
_STILL_M = 0.003

Rest = Callable[[Episode, int, int, str], tuple[str, str]]
"""(episode, start, end, name of the action form) -> motion plan and action text of the steps [start, end)."""


def later_starts(
    annotated: AnnotatedEpisode,
    episode: Episode,
    rest: Rest,
    *,
    per_subtask: int = 2,
    seed: int = 0,
) -> Iterator[Sample]:
    """Samples at up to `per_subtask` later steps of every subtask, spread evenly over what happens in it by chance.

    The list of subtasks is asked for as well: from the current one on. Steps from which nothing is left to move
    are passed over. The choice follows from the seed and the episode's id.

    Raises:
        ExportError: The episode has no images.
    """
    rng = np.random.default_rng([seed, zlib.crc32(episode.id.encode())])
    for index, subtask in enumerate(annotated.subtasks):
        for step in _steps(episode, subtask.start_step + 1, subtask.end_step - 1, per_subtask, rng):
            yield from _from(step, index, annotated, episode, rest)


def early_starts(
    annotated: AnnotatedEpisode,
    episode: Episode,
    rest: Rest,
    *,
    per_subtask: int = 1,
    seed: int = 0,
) -> Iterator[Sample]:
    """Samples of a subtask at up to `per_subtask` steps before it begins, while the one before is nearly done.

    What is left of that one is told first: a hand that stands a little aside when it is asked to grasp moves there,
    and fingers that closed on nothing open again. No list of subtasks is asked for: it would leave one out. The
    choice follows from the seed and the episode's id.

    Args:
        annotated: Labels.
        episode: Their recording.
        rest: Tells what is left.
        per_subtask: How many.
        seed: Of the choice.

    Raises:
        ExportError: The episode has no images.
    """
    rng = np.random.default_rng([seed, zlib.crc32(episode.id.encode()), 1])
    for index, (before, subtask) in enumerate(pairwise(annotated.subtasks), start=1):
        if before.end_step != subtask.start_step:
            continue
        way = episode.states[before.start_step : subtask.start_step, :3] - episode.states[subtask.start_step, :3]
        far = np.flatnonzero(np.abs(way).max(axis=1) > EARLY_M)
        first = before.start_step + (int(far[-1]) + 1 if len(far) else 0)
        for step in _steps(episode, first, subtask.start_step - 1, per_subtask, rng):
            made = _from(step, index, annotated, episode, rest)
            yield from (sample for sample in made if sample.levels[-1] == "chunk")


def last_attempts(annotated: AnnotatedEpisode) -> AnnotatedEpisode:
    """The annotation without what had to be done again: of subtasks in the same words only the last one counts.

    Recordings that hold a miss and its recovery teach the recovery so, and not the miss.
    """
    last = {subtask.text: index for index, subtask in enumerate(annotated.subtasks)}
    kept = tuple(subtask for index, subtask in enumerate(annotated.subtasks) if last[subtask.text] == index)
    return replace(annotated, subtasks=kept)


def in_form(annotated: AnnotatedEpisode, name: str, *, row_cm: float = 0.0, measured: bool = False) -> AnnotatedEpisode:
    """The same annotation with its action text in another form.

    Action text that cannot be read stays as it is, and what the form cannot say becomes empty: `Selection` leaves
    out both, and counts them.

    Args:
        annotated: Labels.
        name: Of the form.
        row_cm: Above 0, straight ways are said in rows of equal length, at most this long (`even_rows`).
        measured: Plans say amounts (`measured_plan`) instead of the words of the labels.

    Raises:
        ConfigError: No such form, or one with rotation where the labels have none.
    """
    if name == annotated.action_form and not row_cm and not measured:
        return annotated
    old, new = form_called(annotated.action_form), form_called(name)
    if new.rotation and not old.rotation:
        raise ConfigError(
            f"labels of {annotated.episode_id} are {annotated.action_form}, without rotation; annotate with --form "
            f"{name.split(':')[0]} --redo before training in that form"
        )
    subtasks = []
    for subtask in annotated.subtasks:
        try:
            chunk = old.parse(subtask.chunk)
            chunk = even_rows(chunk, row_cm=row_cm) if row_cm else chunk
            plan = measured_plan(chunk) if measured else subtask.plan
            subtasks.append(replace(subtask, plan=plan, chunk=new.verbalize(chunk)))
        except ActionParseError:
            subtasks.append(subtask)
        except AnnotationError:
            subtasks.append(replace(subtask, chunk=""))
    return replace(annotated, action_form=name, subtasks=tuple(subtasks))


def _from(step: int, index: int, annotated: AnnotatedEpisode, episode: Episode, rest: Rest) -> Iterator[Sample]:
    """Samples of subtask number `index` at `step`; none where nothing is left, or more than one chunk may say."""
    try:
        plan, chunk = rest(episode, step, annotated.subtasks[index].end_step, annotated.action_form)
        nothing = not len(form_called(annotated.action_form).parse(chunk))
    except AnnotationError:
        return
    if not nothing and plan.strip():
        yield from samples_at(annotated, episode, index, step, plan, chunk, joined=False)


def _steps(episode: Episode, first: int, last: int, count: int, rng: np.random.Generator) -> list[int]:
    """Up to `count` distinct steps from `first` to `last`, one from each of as many equal parts of the way.

    Steps at which little moves count less: a robot slows down where it arrives, so of moments chosen by the clock most
    would have next to nothing left, and a model that learned from those would always say so.
    """
    if count <= 0 or last < first:
        return []
    places = np.vstack([episode.states[max(0, first - 1), :3], episode.states[first : last + 1, :3]])
    ends = np.cumsum(_STILL_M + np.linalg.norm(np.diff(places, axis=0), axis=1))
    marks = (np.arange(count) + rng.random(count)) / count * ends[-1]
    chosen = np.searchsorted(ends, marks, side="right")
    return sorted({first + int(min(step, last - first)) for step in chosen})

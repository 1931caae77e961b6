"""Which labels may leave the studio, and how many had to stay.

Knows statuses and spans; knows no file format. A label is left out for a reason that a person can read, and every
reason is counted for the manifest: an export never gets smaller in silence.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache

from vlm2vla.errors import ActionParseError, VLM2VLAError
from vlm2vla.language import ActionForm, form
from vlm2vla.types import AnnotatedEpisode, AnnotatedSubtask, Episode

log = logging.getLogger(__name__)

MAX_PROBLEMS = 100


@dataclass(frozen=True)
class LabelledEpisode:
    """One item of an export.

    Attributes:
        annotated: The labels, as the store has them.
        episode: The recording they describe.
        revision: Number of the revision in the store; 0 when it is not known.
    """

    annotated: AnnotatedEpisode
    episode: Episode
    revision: int = 0


@lru_cache(maxsize=64)
def form_called(name: str) -> ActionForm:
    """The action form called `name`; made once.

    Raises:
        ConfigError: There is none.
    """
    return form(name)


def reason_left_out(subtask: AnnotatedSubtask, form_name: str, include_unreviewed: bool = False) -> str:
    """Why this subtask cannot be exported; empty when it can.

    A rejected label never leaves. A stale one neither, even when it was accepted: its words describe other steps
    than its span has now. The same holds for action text that nobody can turn back into numbers.
    """
    if subtask.status == "rejected":
        return "rejected"
    if subtask.status != "accepted" and not include_unreviewed:
        return "not accepted"
    if subtask.stale:
        return "stale text"
    if not (subtask.text.strip() and subtask.plan.strip()):
        return "empty text"
    if not subtask.chunk.strip():
        return "no action text, or none that the form can say"
    try:
        form_called(form_name).parse(subtask.chunk)
    except ActionParseError:
        return "action text does not parse"
    except VLM2VLAError:
        return "unknown action form"
    return ""


def known_to_the_end(annotated: AnnotatedEpisode, index: int, steps: int) -> bool:
    """Whether subtasks `index` and later follow each other without a gap up to the last of `steps` steps.

    Only then is a list of them a list of all that remains to be done.
    """
    edge = annotated.subtasks[index].start_step
    for subtask in annotated.subtasks[index:]:
        if subtask.start_step != edge:
            return False
        edge = subtask.end_step
    return edge == steps


@dataclass
class Selection:
    """Filters a stream of labelled episodes and keeps the books.

    Attributes:
        include_unreviewed: Also labels that nobody has accepted yet. Rejected ones stay out in any case.
        episodes, subtasks: How many came through.
        steps: How many steps their episodes have.
        left_out: Reason -> how many subtasks, episodes or samples it kept out.
        problems: The first hundred things that went wrong, in words.
        statuses, levels: Status of exported subtasks; "level: source" of their texts.
        sources: Data set -> format, embodiment and number of episodes.
        models: Model (or annotator) -> number of episodes it labelled.
        revisions: Episode id -> exported revision.
    """

    include_unreviewed: bool = False
    episodes: int = 0
    subtasks: int = 0
    steps: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    levels: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    sources: dict[str, dict[str, object]] = field(default_factory=dict)
    revisions: dict[str, int] = field(default_factory=dict)

    def of(self, items: Iterable[LabelledEpisode]) -> Iterator[LabelledEpisode]:
        """The items with exportable labels only, one at a time."""
        for item in items:
            kept = self._keep(item)
            if kept is not None:
                self._count(kept)
                yield kept

    def leave_out(self, reason: str, problem: str = "", number: int = 1) -> None:
        """Write down that something stays out, and why."""
        self.left_out[reason] += number
        if problem:
            log.warning("left out of the export (%s): %s", reason, problem)
            if len(self.problems) < MAX_PROBLEMS:
                self.problems.append(f"{reason}: {problem}")

    def _keep(self, item: LabelledEpisode) -> LabelledEpisode | None:
        annotated, episode = item.annotated, item.episode
        if annotated.episode_id != episode.id:
            self.leave_out("labels of another episode", f"{annotated.episode_id} came with {episode.id}")
            return None
        if episode.id in self.revisions:
            self.leave_out("same episode twice", episode.id)
            return None
        subtasks = []
        for subtask in annotated.subtasks:
            reason = reason_left_out(subtask, annotated.action_form, self.include_unreviewed)
            if not reason and not 0 <= subtask.start_step < subtask.end_step <= len(episode):
                reason = "span outside the episode"
            if reason:
                expected = reason in ("rejected", "not accepted")
                self.leave_out(reason, "" if expected else f"{episode.id} {subtask.uid}")
            else:
                subtasks.append(subtask)
        if not subtasks:
            self.leave_out("episode without exportable labels")
            return None
        return replace(item, annotated=replace(annotated, subtasks=tuple(subtasks)))

    def _count(self, item: LabelledEpisode) -> None:
        episode = item.episode
        self.episodes += 1
        self.steps += len(episode)
        self.subtasks += len(item.annotated.subtasks)
        self.revisions[episode.id] = item.revision
        for subtask in item.annotated.subtasks:
            self.statuses[subtask.status] += 1
            for level, source in subtask.sources.items():
                self.levels[f"{level}: {source}"] += 1
        for name in {entry.model_version or entry.model or entry.author for entry in item.annotated.provenance}:
            self.models[name] += 1
        source = self.sources.setdefault(
            episode.dataset, {"format": episode.source.format, "embodiment": episode.embodiment.name, "episodes": 0}
        )
        source["episodes"] = int(source["episodes"]) + 1

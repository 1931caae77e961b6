"""From an annotation run into the store: which episodes a run may touch, and how its labels get there.

A person's work is never written over, and a free annotator does not bury what was paid for. Knows the store and the
checks; does not know where episodes come from.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass

from vlm2vla.annotation.checks import check, risk
from vlm2vla.annotation.store import AnnotationStore, Newest, NewRevision
from vlm2vla.types import AnnotatedEpisode, Episode, LabelSource

log = logging.getLogger(__name__)

BATCH = 200


@dataclass(frozen=True)
class Judgement:
    """What the queue must know of the checks: how risky, how many findings."""

    risk: float
    errors: int
    warnings: int


def judge(annotated: AnnotatedEpisode, episode: Episode) -> Judgement:
    """Run the checks and sum them up for the queue."""
    findings = check(annotated, episode)
    severities = Counter(finding.severity for finding in findings)
    return Judgement(risk(findings, annotated, episode), severities["error"], severities["warning"])


@dataclass(frozen=True)
class Chosen:
    """What a run works on.

    Attributes:
        ids: Episodes, in the order given.
        left_out: Sentences for people about the others.
    """

    ids: tuple[str, ...]
    left_out: tuple[str, ...]


def choose(ids: Iterable[str], newest: Mapping[str, Newest], annotator: LabelSource, *, redo: bool = False) -> Chosen:
    """Leave out what a run of `annotator` must not touch, before anything is paid for.

    Args:
        ids: Episodes that were asked for.
        newest: Who annotated them last (`AnnotationStore.newest`).
        annotator: Who would annotate them now.
        redo: The user asked to annotate again: the free annotator may then replace Gemini's labels.
    """
    kept, reviewed, paid = [], 0, 0
    for episode_id in ids:
        before = newest.get(episode_id)
        if before and before.source == "person":
            reviewed += 1
        elif before and before.source == "gemini" and annotator != "gemini" and not redo:
            paid += 1
        else:
            kept.append(episode_id)
    left_out = []
    if reviewed:
        left_out.append(f"{reviewed} episodes were edited by a person and stay as they are")
    if paid:
        left_out.append(f"{paid} episodes have Gemini's labels and keep them; --redo replaces them")
    return Chosen(tuple(kept), tuple(left_out))


class Shelf:
    """Brings new labels into the store.

    Args:
        store: The annotation store; the episodes are registered there.
        load: Gives the episode of an id.
        source: Who made the labels.
        action_form: Name of the form in which this run writes.
        at_once: Store each annotation when it comes (it was slow and paid), not some hundred together.
    """

    def __init__(
        self,
        store: AnnotationStore,
        load: Callable[[str], Episode],
        source: LabelSource,
        action_form: str,
        *,
        at_once: bool = False,
    ):
        self._store, self._load, self._source, self._form = store, load, source, action_form
        self._batch = 1 if at_once else BATCH
        self._newest = store.newest()
        self._waiting: list[NewRevision] = []
        self._other_forms: Counter[str] = Counter()

    def put(self, annotated: AnnotatedEpisode) -> None:
        """Store an annotation as the newest revision, unless a person saved meanwhile."""
        newest = self._store.history(annotated.episode_id, limit=1)
        if newest and newest[0].source == "person":
            return
        judged = judge(annotated, self._load(annotated.episode_id))
        author = annotated.provenance[-1].author if annotated.provenance else self._source
        base = newest[0].number if newest else 0
        self._waiting.append(NewRevision(annotated, author, self._source, base, **asdict(judged)))
        if len(self._waiting) >= self._batch:
            self.flush()

    def catch_up(self, episode_id: str, load: Callable[[], AnnotatedEpisode]) -> None:
        """An earlier run staged it: put it in the store if that run was killed before it could."""
        annotated = load()
        if annotated.action_form != self._form:
            self._other_forms[annotated.action_form] += 1
        made = annotated.provenance[-1].created_at if annotated.provenance else ""
        before = self._newest.get(episode_id)
        # Times of both are UTC to the second or finer; equal ones are told apart by the labels.
        if before is None or (made[:19] >= before.machine_at[:19] and self._store.machine(episode_id) != annotated):
            self.put(annotated)

    def flush(self) -> None:
        """Store what waits."""
        waiting, self._waiting = self._waiting, []
        report = self._store.save_all(waiting)
        for episode_id in (*report.stale, *report.unknown):
            log.warning("labels of %s stay staged: somebody else saved, or it is not registered", episode_id)

    def warnings(self) -> tuple[str, ...]:
        """Sentences for people about labels that do not fit this run."""
        return tuple(
            f"{count} episodes were annotated before in the form {name}, not {self._form}; --redo rewrites them"
            for name, count in self._other_forms.items()
        )

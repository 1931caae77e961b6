"""What the annotation store takes and gives: frozen values.

Times are ISO 8601 in UTC with microseconds, so that they sort as text. This module knows no database.
"""

from dataclasses import dataclass, field
from typing import Literal, get_args

from vlm2vla.config import did_you_mean
from vlm2vla.errors import ConfigError
from vlm2vla.types import STATUSES, AnnotatedEpisode, LabelSource, Level, Status

RevisionKind = Literal["edit", "undo", "redo", "revert"]
QueueOrder = Literal["risk", "instruction", "newest", "dataset"]
SOURCES: tuple[LabelSource, ...] = get_args(LabelSource)


@dataclass(frozen=True)
class ItemRow:
    """One episode as the queue knows it."""

    episode_id: str
    dataset: str
    instruction: str
    steps: int


@dataclass(frozen=True)
class RevisionInfo:
    """One revision without its body.

    Attributes:
        episode_id: Whose annotation it is.
        number: 1, 2, 3, ... within the episode.
        parent: The revision that was the head before; 0 for the first.
        author: Who saved it.
        source: Whether a machine or a person did.
        created_at: When.
        note: What the author said about it.
        kind: An edit, or a return to the text of an earlier revision.
        restores: Number of that earlier revision; 0 for edits.
        status: Review status of the episode as of this revision.
        risk: 0..1, how much the revision needs a look.
        errors, warnings: Findings of the checks.
        can_undo, can_redo: What `undo` and `redo` would find if this is the head.
    """

    episode_id: str
    number: int
    parent: int
    author: str
    source: LabelSource
    created_at: str
    note: str
    kind: RevisionKind
    restores: int
    status: Status
    risk: float
    errors: int
    warnings: int
    can_undo: bool
    can_redo: bool


@dataclass(frozen=True)
class Revision(RevisionInfo):
    """One revision with the annotation it holds."""

    annotated: AnnotatedEpisode


@dataclass(frozen=True)
class NewRevision:
    """One entry of `AnnotationStore.save_all`; the fields are the arguments of `AnnotationStore.save`."""

    annotated: AnnotatedEpisode
    author: str
    source: LabelSource
    base: int = 0
    risk: float = 0.0
    errors: int = 0
    warnings: int = 0
    note: str = ""


@dataclass(frozen=True)
class Newest:
    """Who annotated an episode last.

    Attributes:
        head: Number of the newest revision.
        source: Who saved it.
        machine: Which machine made the newest machine labels; "" when there are none.
        machine_at: When those were saved; "" when there are none.
    """

    head: int
    source: LabelSource
    machine: LabelSource | Literal[""]
    machine_at: str


@dataclass(frozen=True)
class SaveReport:
    """What `AnnotationStore.save_all` did.

    Attributes:
        saved: Revisions written.
        stale: Episodes whose head was not the given base; theirs are untouched.
        unknown: Episodes that are not registered.
    """

    saved: int
    stale: tuple[str, ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class QueueQuery:
    """Which items, in which order.

    Attributes:
        search: Words that must all occur in the instruction or the episode id; case does not matter.
        statuses: Any of these; empty for all. `in_review` includes items that somebody holds right now.
        sources: Any of these; a machine matches when it made the newest machine labels, a person when they saved last.
        datasets: Any of these; empty for all.
        reviewer: Only items whose newest human revision is by this person.
        min_risk: Only items at least this risky.
        order: risk (highest first), instruction, newest (last saved first) or dataset.

    Raises:
        ConfigError: A status, source or order that does not exist.
    """

    search: str = ""
    statuses: tuple[Status, ...] = ()
    sources: tuple[LabelSource, ...] = ()
    datasets: tuple[str, ...] = ()
    reviewer: str = ""
    min_risk: float = 0.0
    order: QueueOrder = "risk"

    def __post_init__(self):
        for name, given, known in (
            ("status", self.statuses, STATUSES),
            ("source", self.sources, SOURCES),
            ("order", (self.order,), get_args(QueueOrder)),
        ):
            for value in given:
                if value not in known:
                    raise ConfigError(f"no {name} {value!r}; {did_you_mean(str(value), known)}")


@dataclass(frozen=True)
class QueueRow:
    """One line of the review queue.

    Attributes:
        status: As of now: `in_review` also while somebody holds a pending item.
        source: Who saved the head; "" when nothing is annotated yet.
        machine: Who made the newest machine labels; "" when there are none.
        head: Number of the newest revision; 0 when there is none.
        reviewer: Author of the newest human revision.
        updated_at: Time of the head; "" when there is none.
        holder: Who holds the item right now; "" when nobody does.
    """

    episode_id: str
    dataset: str
    instruction: str
    steps: int
    status: Status
    source: LabelSource | Literal[""]
    machine: LabelSource | Literal[""]
    risk: float
    errors: int
    warnings: int
    head: int
    reviewer: str
    updated_at: str
    holder: str = ""


@dataclass(frozen=True)
class QueuePage:
    """Some rows of the queue.

    Attributes:
        total: How many rows the query has in all.
        next: Cursor of the page after this one; "" at the end.
    """

    rows: tuple[QueueRow, ...]
    total: int
    next: str = ""


@dataclass(frozen=True)
class Counts:
    """How far the review is.

    Attributes:
        by_status: Every status, also those with none.
        total: All items.
    """

    by_status: dict[Status, int] = field(default_factory=lambda: dict.fromkeys(STATUSES, 0))
    total: int = 0


@dataclass(frozen=True)
class Lease:
    """Who works on an item. It tells others to look elsewhere; it does not stop a save."""

    episode_id: str
    holder: str
    acquired_at: str
    expires_at: str


@dataclass(frozen=True)
class Rating:
    """How good one label is: 1 (useless) to 5 (as I would have written it)."""

    episode_id: str
    uid: str
    level: Level
    reviewer: str
    score: int
    rated_at: str


@dataclass(frozen=True)
class PromptSurvival:
    """How much of what one prompt, or one machine, wrote is left after review.

    Only labels that a person has decided on count: a label of an accepted or rejected subtask, or of one that the
    review removed from an episode with accepted subtasks.

    Attributes:
        source: Which kind of machine.
        model: Model id, or the annotator's name and version where no model was asked.
        prompt_hash: Hash of the prompt; "" where there was none.
        level: subtask, plan or chunk.
        labels: kept + changed + dropped.
        kept: Accepted word for word.
        changed: Accepted with other words.
        dropped: Rejected, or removed (merged away).
        characters: Characters the machine wrote, white space not counted.
        characters_kept: Those that are in words that were accepted.
    """

    source: LabelSource
    model: str
    prompt_hash: str
    level: Level
    labels: int
    kept: int
    changed: int
    dropped: int
    characters: int
    characters_kept: int

    @property
    def share(self) -> float:
        """Share of the machine's characters that survived, 0..1."""
        return self.characters_kept / self.characters if self.characters else 1.0

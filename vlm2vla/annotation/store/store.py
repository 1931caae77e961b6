"""The annotation store: revisions, review queue, leases, ratings, survival of prompts.

It knows annotations as values and episodes by id; it knows no frames, no files of episodes and no user interface.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from vlm2vla.annotation.store import leases, queue, revisions
from vlm2vla.annotation.store import survival as prompts
from vlm2vla.annotation.store.bodies import searchable
from vlm2vla.annotation.store.database import Database
from vlm2vla.annotation.store.tables import ITEM
from vlm2vla.annotation.store.values import (
    Counts,
    ItemRow,
    Lease,
    Newest,
    NewRevision,
    PromptSurvival,
    QueuePage,
    QueueQuery,
    Rating,
    Revision,
    RevisionInfo,
    SaveReport,
)
from vlm2vla.errors import AnnotationError, NotFoundError, StaleRevisionError
from vlm2vla.types import AnnotatedEpisode, LabelSource, Level, Status

_BATCH = 200


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _stamp(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="microseconds")


class AnnotationStore:
    """An open store. Safe to use from several threads; several processes may open the same database.

    Every method raises WorkspaceError when the database cannot be used (locked, read-only, disk full, ...), and
    NotFoundError when the episode is not registered.
    """

    def __init__(self, database: Database, *, clock: Callable[[], datetime] = _utc_now):
        self._database = database
        self._clock = clock

    @classmethod
    def open(cls, url: str, *, clock: Callable[[], datetime] = _utc_now, wait_s: float = 15.0) -> "AnnotationStore":
        """Open, or make, the store at `url` and bring its schema up to date.

        Args:
            url: sqlite:///FILE or postgresql://USER@HOST/NAME.
            clock: Tells the time, with a time zone.
            wait_s: How long to wait for another writer.

        Raises:
            ConfigError: Not such a URL.
            WorkspaceError: The database cannot be used, or a newer version wrote it.
        """
        return cls(Database(url, wait_s=wait_s), clock=clock)

    def close(self) -> None:
        """Give the connections back."""
        self._database.close()

    def __enter__(self) -> "AnnotationStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- items ---------------------------------------------------------------------------------------------------

    def register(self, items: Iterable[ItemRow]) -> int:
        """Make episodes known; known ones only get their instruction and data set corrected. Returns how many are new.

        Raises:
            EditError: A text that cannot be stored.
        """
        with self._database.write() as connection:
            return queue.register(connection, items)

    def queue(self, query: QueueQuery | None = None, limit: int = 50, after: str = "") -> QueuePage:
        """One page of the review queue, behind the cursor `after` (`QueuePage.next` of the page before).

        Raises:
            ConfigError: The cursor belongs to another order.
        """
        with self._database.read() as connection:
            return queue.page(connection, query or QueueQuery(), max(1, limit), after, self._now())

    def counts(self, dataset: str = "") -> Counts:
        """How many items have which status."""
        with self._database.read() as connection:
            return queue.counts(connection, dataset, self._now())

    def next_item(self, query: QueueQuery, reviewer: str, *, after: str = "") -> str | None:
        """The next episode that needs this reviewer, in the order of `query`; None when nothing is left.

        Items that others hold are skipped, and so are accepted and rejected ones (flagged ones, too, unless the query
        asks for them). A query for nothing but decided items walks through those.

        Args:
            query: The queue as the reviewer sees it.
            reviewer: Who asks; their own leases do not hide an item.
            after: Episode that they come from; the search goes on behind it and then starts over.
        """
        with self._database.read() as connection:
            return queue.next_item(connection, query, reviewer, after, self._now())

    # -- revisions -----------------------------------------------------------------------------------------------

    def head(self, episode_id: str) -> Revision | None:
        """The newest revision; None when nothing is annotated yet.

        Raises:
            AnnotationError: The stored text is damaged.
        """
        with self._database.read() as connection:
            return revisions.load(connection, episode_id)

    def revision(self, episode_id: str, number: int) -> Revision:
        """Revision `number`.

        Raises:
            NotFoundError: There is none.
            AnnotationError: The stored text is damaged.
        """
        with self._database.read() as connection:
            found = revisions.load(connection, episode_id, number)
        if found is None:
            raise NotFoundError(f"{episode_id} has no revision {number}")
        return found

    def history(self, episode_id: str, limit: int = 100, before: int = 0) -> tuple[RevisionInfo, ...]:
        """Revisions without their texts, the newest first; with `before`, only those of lower numbers."""
        with self._database.read() as connection:
            return revisions.history(connection, episode_id, max(1, limit), before)

    def machine(self, episode_id: str) -> AnnotatedEpisode | None:
        """What a machine said last, to be shown beside what people made of it.

        Raises:
            AnnotationError: The stored text is damaged.
        """
        with self._database.read() as connection:
            item = revisions.find_item(connection, episode_id)
            found = revisions.load(connection, episode_id, item.machine_head) if item.machine_head else None
        return found.annotated if found else None

    def newest(self) -> dict[str, Newest]:
        """Of every annotated episode: who saved last, and when a machine did. No texts: quick also for all of them."""
        with self._database.read() as connection:
            return revisions.newest(connection)

    def heads(
        self,
        dataset: str = "",
        statuses: Sequence[Status] = (),
        *,
        on_error: Callable[[AnnotationError], None] | None = None,
    ) -> Iterator[Revision]:
        """The newest revision of every annotated episode, in the order of registration.

        Args:
            dataset: Only this data set.
            statuses: Only these review statuses (as stored: leases do not count).
            on_error: Told about a damaged revision, which is then left out; without it, the error is raised.

        Raises:
            AnnotationError: A stored text is damaged and there is no `on_error`.
        """
        last = 0
        wanted = [ITEM.c.dataset == searchable(dataset)] if dataset else []
        wanted += [ITEM.c.status.in_(statuses)] if statuses else []
        while True:
            with self._database.read() as connection:
                query = select(ITEM.c.id, ITEM.c.episode_id).where(ITEM.c.head > 0, ITEM.c.id > last, *wanted)
                rows = connection.execute(query.order_by(ITEM.c.id).limit(_BATCH)).all()
                found = []
                for row in rows:
                    try:
                        found.append(revisions.load(connection, row.episode_id))
                    except AnnotationError as error:
                        if on_error is None:
                            raise
                        on_error(error)
            yield from found  # outside of the transaction: the caller may take its time
            if len(rows) < _BATCH:
                return
            last = rows[-1].id

    def save(
        self,
        annotated: AnnotatedEpisode,
        *,
        author: str,
        source: LabelSource,
        base: int,
        risk: float = 0.0,
        errors: int = 0,
        warnings: int = 0,
        note: str = "",
    ) -> Revision:
        """Add a revision on top of `base`.

        Args:
            annotated: The whole annotation of the episode.
            author: Who saves.
            source: A person, or which machine.
            base: Number of the revision that was edited; 0 for the first.
            risk: 0..1, how much it needs a look.
            errors: Number of error-level findings of the checks.
            warnings: Number of warning-level findings.
            note: For people.

        Raises:
            StaleRevisionError: Somebody saved after `base`; nothing was changed.
            EditError: A value that cannot be stored.
        """
        new = NewRevision(annotated, author, source, base, risk, errors, warnings, note)
        with self._database.write() as connection:
            return revisions.append(connection, new, self._now())

    def save_all(self, entries: Iterable[NewRevision]) -> SaveReport:
        """Save many revisions, some hundred per transaction; stale and unknown ones are left out and reported.

        Raises:
            EditError: A value that cannot be stored; the batches before it are kept.
        """
        saved, stale, unknown = 0, [], []
        rest = iter(entries)
        while batch := [entry for _, entry in zip(range(_BATCH), rest, strict=False)]:
            with self._database.write() as connection:
                for entry in batch:
                    try:
                        revisions.append(connection, entry, self._now())
                        saved += 1
                    except StaleRevisionError as error:
                        stale.append(error.episode_id)
                    except NotFoundError:
                        unknown.append(entry.annotated.episode_id)
        return SaveReport(saved, tuple(stale), tuple(unknown))

    def undo(self, episode_id: str, *, author: str, base: int) -> Revision:
        """Take the last edit back, as a new revision. Repeat to go further.

        Raises:
            StaleRevisionError: Somebody saved after `base`; nothing was changed.
            EditError: Nothing to undo.
        """
        with self._database.write() as connection:
            return revisions.step(connection, episode_id, "undo", author, base, self._now())

    def redo(self, episode_id: str, *, author: str, base: int) -> Revision:
        """Bring back what the last undo took, as a new revision; an edit after the undo leaves nothing to redo.

        Raises:
            StaleRevisionError: Somebody saved after `base`; nothing was changed.
            EditError: Nothing to redo.
        """
        with self._database.write() as connection:
            return revisions.step(connection, episode_id, "redo", author, base, self._now())

    def revert(self, episode_id: str, to: int, *, author: str, base: int) -> Revision:
        """Go back to revision `to`, as a new revision that undo takes back.

        Raises:
            StaleRevisionError: Somebody saved after `base`; nothing was changed.
            NotFoundError: No revision `to`.
            AnnotationError: Revision `to` is damaged.
        """
        with self._database.write() as connection:
            return revisions.revert(connection, episode_id, to, author, base, self._now())

    # -- reviewers -----------------------------------------------------------------------------------------------

    def lease(self, episode_id: str, reviewer: str, *, minutes: float = 10, now: datetime | None = None) -> Lease:
        """Hold the episode for a while, or hold it longer.

        Returns:
            The lease that is in force: when its holder is not `reviewer`, somebody else has the episode.

        Raises:
            EditError: No name.
        """
        start = now or self._clock()
        until = start + timedelta(minutes=minutes)
        with self._database.write() as connection:
            return leases.take(connection, episode_id, reviewer, _stamp(start), _stamp(until))

    def release(self, episode_id: str, reviewer: str) -> bool:
        """Let go of the episode; False when the reviewer did not hold it."""
        with self._database.write() as connection:
            return leases.release(connection, episode_id, reviewer)

    def holder(self, episode_id: str) -> Lease | None:
        """Who holds the episode right now; None for nobody."""
        with self._database.read() as connection:
            return leases.lease_of(connection, episode_id, self._now())

    def rate(self, episode_id: str, uid: str, level: Level, reviewer: str, score: int) -> Rating:
        """Rate one level of one subtask from 1 to 5; a newer score of the same reviewer replaces the older.

        Raises:
            EditError: The score is not 1 to 5, the level is none, or there is no name.
        """
        with self._database.write() as connection:
            return leases.rate(connection, episode_id, uid, level, reviewer, score, self._now())

    def ratings(self, episode_id: str) -> tuple[Rating, ...]:
        """All ratings of one episode."""
        with self._database.read() as connection:
            return leases.ratings(connection, episode_id)

    def reviewers(self) -> tuple[str, ...]:
        """Everybody who saved a revision that is the newest human one of its episode, in order of the alphabet."""
        with self._database.read() as connection:
            query = select(ITEM.c.reviewer).where(ITEM.c.reviewer != "").distinct().order_by(ITEM.c.reviewer)
            return tuple(connection.execute(query).scalars())

    def survival(self) -> tuple[PromptSurvival, ...]:
        """How much of each prompt's text survived review, per level."""
        with self._database.read() as connection:
            return prompts.survival(connection)

    def _now(self) -> str:
        return _stamp(self._clock())

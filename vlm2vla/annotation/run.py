"""Annotates many episodes with one annotator: concurrent, resumable, one staged file per episode.

The same path serves the free annotator and the paid one. A run may die at any moment: what is on disk then is either
a finished annotation, a recorded failure, or replies from which the next run goes on. Knows no store: `on_done` and
`on_skipped` run in the caller's thread.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from vlm2vla.annotation.model_versions import ModelVersions, OtherVersionError
from vlm2vla.annotation.staging import Checkpoint, Staged, StagingFolder, error_row, turn_of
from vlm2vla.errors import AnnotationError, ConfigError, ModelUnavailableError, SpendingCapError, VLM2VLAError
from vlm2vla.types import AnnotatedEpisode, Episode
from vlm2vla.vlm.protocol import Usage

logger = logging.getLogger(__name__)

Progress = Callable[[int, int | None], None]

# A model that is not there for this many episodes in a row will not be there for the next ones.
GIVE_UP_AFTER = 50


class FreeAnnotator(Protocol):
    """Anything that annotates an episode without cost."""

    def annotate(self, episode: Episode) -> AnnotatedEpisode:
        """Annotate one episode."""
        ...


class PaidAnnotator(Protocol):
    """An annotator whose replies cost money, so each is kept as soon as it arrives."""

    paid: Literal[True]

    def annotate(self, episode: Episode, *, checkpoint: Checkpoint | None = None) -> AnnotatedEpisode:
        """Annotate one episode, going on from the replies that the checkpoint has."""
        ...

    def stop(self) -> None:
        """Send nothing more; requests under way still finish."""
        ...


@dataclass(frozen=True)
class EpisodeRef:
    """An episode that is read only when its turn comes, in a worker thread."""

    id: str
    load: Callable[[], Episode]


@dataclass(frozen=True)
class AnnotateReport:
    """How a run ended. Every episode that was asked for is in exactly one of the five counts.

    Attributes:
        annotated: Annotated by this run.
        skipped: Annotated before (or given twice).
        failed: Tried by this run, ended with a recorded error.
        waiting: Recorded as failed before, and not asked for again (see `retry_failed`).
        left: Not tried, because the run stopped early; None when the number is not known.
        cost: US dollars of all replies that this run received, also of those that could not be used.
        input_tokens, output_tokens: Tokens of these replies.
        uncertain_cost: Worst case of requests that never got a reply and may have been billed: those of this run, and
            those of `possibly_billed`.
        total_cost: US dollars of all replies that the staged folder knows of, over all runs; 0 for a free annotator.
        total_uncertain: The same for requests that never got a reply, worst case.
        errors: One row per failed or waiting episode: episode, kind, message.
        possibly_billed: Rows (episode, message) of requests that were under way when an earlier run was killed.
        model_versions: Episodes by the version that annotated them, in this run and before.
        warnings: Sentences for people.
        stopped: Why the run stopped before the end; "" when it did not.
    """

    annotated: int = 0
    skipped: int = 0
    failed: int = 0
    waiting: int = 0
    left: int | None = 0
    cost: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    uncertain_cost: float = 0.0
    total_cost: float = 0.0
    total_uncertain: float = 0.0
    errors: tuple[dict[str, str], ...] = ()
    possibly_billed: tuple[dict[str, str], ...] = ()
    model_versions: dict[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    stopped: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def annotate_episodes(
    episodes: Iterable[Episode | EpisodeRef],
    annotator: FreeAnnotator | PaidAnnotator,
    staged: Path,
    *,
    concurrency: int = 1,
    retry_failed: bool = False,
    redo: bool = False,
    mix_versions: bool = False,
    progress: Progress | None = None,
    on_done: Callable[[AnnotatedEpisode], None] | None = None,
    on_skipped: Callable[[str, Callable[[], AnnotatedEpisode]], None] | None = None,
) -> AnnotateReport:
    """Annotate what is not annotated yet.

    Args:
        episodes: Drawn one by one as workers become free.
        annotator: With `paid = True` it gets a `checkpoint`, and the run a pool of threads.
        staged: Folder of staged files (`Workspace.staged`).
        concurrency: Episodes under way at the same time.
        retry_failed: Also try episodes whose last attempt failed.
        redo: Also annotate again what is annotated; replies are asked and paid for again.
        mix_versions: Accept that another model version answers than before; otherwise the run stops there.
        progress: Called with (episodes done, episodes in all or None).
        on_done: Called in this thread with each new annotation, after it is staged.
        on_skipped: Called in this thread with the id of an episode that was annotated before, and a function that
            loads that annotation: a caller that was killed between staging and storing catches up here.

    Returns:
        The report. Ctrl-C, the spending cap and a dead service end the run early with `stopped` set; requests under
        way are waited for, because they are paid (a second Ctrl-C does not wait).

    Raises:
        AnnotationError: Another run holds the folder, or a staged file is not readable.
        ConfigError: The annotator cannot work at all (key, model).
        Exception: Whatever `episodes`, `on_done` or `on_skipped` raise; staged files stay.
    """
    folder = StagingFolder(staged)
    with folder.locked():
        run = _Run(folder, annotator, redo=redo, mix_versions=mix_versions, on_done=on_done)
        run.total = len(episodes) if hasattr(episodes, "__len__") else None
        run.progress = progress
        todo = run.unfinished(episodes, retry_failed, on_skipped)
        if run.paid or concurrency > 1:
            run.in_threads(todo, concurrency)
        else:
            run.in_this_thread(todo)
        return run.report()


class _Run:
    """State of one call of `annotate_episodes`. Counters belong to the caller's thread."""

    def __init__(self, folder: StagingFolder, annotator, *, redo: bool, mix_versions: bool, on_done):
        self.folder, self.annotator, self.redo, self.on_done = folder, annotator, redo, on_done
        self.paid: bool = getattr(annotator, "paid", False)
        self.total: int | None = None
        self.progress: Progress | None = None
        self.versions = ModelVersions(folder if self.paid else None, mix_versions)
        self.interrupted = folder.recover()
        self.counts = {"annotated": 0, "skipped": 0, "failed": 0, "waiting": 0}
        # What recovered requests may have cost is in no other run's report: that run was killed.
        recovered = sum(row.error["details"]["possibly_billed_usd"] for row in self.interrupted)
        self.bill = {"cost": 0.0, "input_tokens": 0, "output_tokens": 0, "uncertain_cost": recovered}
        self.paid_by_episode: dict[str, Usage] = {}
        """What each episode that this run came across has taken in all its runs."""
        self.errors: list[dict[str, str]] = []
        self.stopped = ""
        self.fatal: BaseException | None = None
        self.unavailable_in_a_row = 0

    def unfinished(self, episodes, retry_failed: bool, on_skipped) -> Iterator[EpisodeRef]:
        """The episodes to work on; the others are counted on the way."""
        asked_for: set[str] = set()
        for item in episodes:
            if self.stopped:
                return
            ref = item if isinstance(item, EpisodeRef) else EpisodeRef(item.id, lambda episode=item: episode)
            if ref.id in asked_for:  # twice at the same time would be paid twice
                self.step("skipped")
                continue
            asked_for.add(ref.id)
            before = self.folder.load(ref.id)
            if before:
                self.paid_by_episode[ref.id] = before.paid
            turn = turn_of(before, redo=self.redo, retry_failed=retry_failed)
            if turn == "skipped":
                self.versions.count(before.annotated)
                self.step("skipped")
                if on_skipped:
                    on_skipped(ref.id, before.annotation)
            elif turn == "waiting":
                self.step("waiting", before)
            else:
                yield ref

    def in_this_thread(self, todo: Iterator[EpisodeRef]) -> None:
        """For what is quick and free."""
        try:
            for ref in todo:
                self.settle(self.work(ref))
        except KeyboardInterrupt:
            self.stopped = "stopped by Ctrl-C"
        if self.fatal:
            raise self.fatal

    def in_threads(self, todo: Iterator[EpisodeRef], concurrency: int) -> None:
        """A pool of workers; few episodes are drawn ahead of them."""
        pool = ThreadPoolExecutor(concurrency, thread_name_prefix="annotate")
        under_way: set[Future[_Outcome]] = set()
        try:
            for ref in todo:
                under_way.add(pool.submit(self.work, ref))
                if len(under_way) > concurrency:
                    self.collect(under_way)
            while under_way:
                self.collect(under_way)
        except KeyboardInterrupt as error:
            self.stop(error)
            while under_way:
                self.collect(under_way)
        except BaseException as error:
            self.stop(error)
            wait(under_way)  # what is under way is paid: let it be staged
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        if self.fatal:
            raise self.fatal

    def stop(self, why: BaseException | str) -> None:
        """Begin nothing more."""
        interrupted = isinstance(why, KeyboardInterrupt)
        self.stopped = self.stopped or ("stopped by Ctrl-C" if interrupted else str(why) or type(why).__name__)
        if self.paid:
            self.annotator.stop()

    def collect(self, under_way: "set[Future[_Outcome]]") -> None:
        """Settle what is finished, and take it out of `under_way`."""
        for future in wait(under_way, return_when=FIRST_COMPLETED).done:
            under_way.remove(future)
            self.settle(future.result())

    def work(self, ref: EpisodeRef) -> "_Outcome":
        """Annotate and stage one episode; never raises. Runs in a worker thread."""
        if self.stopped:
            return _Outcome(ref.id)
        before = Staged(ref.id)
        checkpoint = None
        try:
            before = self.folder.load(ref.id) or before
            checkpoint = Checkpoint(self.folder, replace(before, replies={}, refused=()) if self.redo else before)
            episode = ref.load()
            annotated = (
                self.annotator.annotate(episode, checkpoint=checkpoint)
                if self.paid
                else self.annotator.annotate(episode)
            )
            self.versions.admit(annotated)
            after = replace(checkpoint.staged, status="annotated", annotated=annotated.to_json(), error=None)
            self.folder.save(after, durable=self.paid)
            return _Outcome(ref.id, before, after, annotated)
        except (ConfigError, SpendingCapError, OtherVersionError) as error:
            return self.failure(ref, before, checkpoint, error, record=isinstance(error, OtherVersionError))
        except VLM2VLAError as error:
            stopping = bool(self.stopped) and isinstance(error, ModelUnavailableError)
            return self.failure(ref, before, checkpoint, error, record=not stopping)
        except Exception as error:
            logger.exception("annotating %s failed", ref.id)
            return self.failure(ref, before, checkpoint, error, record=True)

    def failure(self, ref, before: Staged, checkpoint: Checkpoint | None, error: Exception, *, record: bool):
        """The outcome of an episode that was not annotated; staged as failed if `record`."""
        after = checkpoint.staged if checkpoint else before
        if checkpoint and checkpoint.refused:
            record = True
        elif record:
            after = replace(after, status="failed", error=error_row(error))
            try:
                self.folder.save(after)
            except Exception as unwritable:  # the disk is full, the folder gone: nothing can go on
                return _Outcome(ref.id, before, after, error=unwritable, fatal=True)
        return _Outcome(ref.id, before, after if checkpoint or record else None, error=error, recorded=record)

    def settle(self, outcome: "_Outcome") -> None:
        """Count one outcome and hand it on. In the caller's thread."""
        if outcome.after is not None and outcome.before is not None:
            self.pay(outcome.before, outcome.after)
        error = outcome.error
        if outcome.annotated is not None:
            self.unavailable_in_a_row = 0
            self.versions.count(outcome.annotated)
            self.step("annotated")
            if self.on_done:
                self.on_done(outcome.annotated)
        elif outcome.fatal or isinstance(error, ConfigError):
            self.fatal = error
            self.stop(error)
        elif isinstance(error, SpendingCapError):
            self.stop(error)
        elif error is not None and outcome.recorded:
            self.step("failed", outcome.after)
            self.unavailable_in_a_row += isinstance(error, ModelUnavailableError)
            if isinstance(error, OtherVersionError):
                self.stop(error)
            elif self.unavailable_in_a_row >= GIVE_UP_AFTER:
                self.stop(f"the model was not available for {GIVE_UP_AFTER} episodes in a row: {error}")

    def pay(self, before: Staged, after: Staged) -> None:
        """Add what this run was billed for one episode."""
        self.bill["cost"] += after.paid.cost_usd - before.paid.cost_usd
        self.bill["input_tokens"] += after.paid.input_tokens - before.paid.input_tokens
        self.bill["output_tokens"] += after.paid.output_tokens - before.paid.output_tokens
        self.bill["uncertain_cost"] += after.paid.uncertain_usd - before.paid.uncertain_usd
        self.paid_by_episode[after.episode_id] = after.paid

    def step(self, kind: str, failed: Staged | None = None) -> None:
        """One more episode is dealt with."""
        self.counts[kind] += 1
        if failed is not None and failed.error:
            row = {"episode": failed.episode_id, "kind": failed.error["kind"], "message": failed.error["message"]}
            self.errors.append(row)
        if self.progress:
            self.progress(sum(self.counts.values()), self.total)

    def paid_in_all(self) -> tuple[Usage, tuple[str, ...]]:
        """What the whole folder has taken, and warnings; only files that this run did not come across are read."""
        if not self.paid:
            return Usage(), ()
        rows, unread = list(self.paid_by_episode.values()), 0
        for episode_id in self.folder.ids():
            if episode_id not in self.paid_by_episode:
                try:
                    row = self.folder.load(episode_id)
                except AnnotationError:
                    unread += 1
                else:
                    rows += [row.paid] if row else []
        warnings = (f"the total cost leaves out {unread} staged files that are not readable",) if unread else ()
        return sum(rows, Usage()), warnings

    def report(self) -> AnnotateReport:
        """The outcome of the run."""
        paid, unread = self.paid_in_all()
        left = self.total - sum(self.counts.values()) if self.total is not None else (None if self.stopped else 0)
        billed = ({"episode": row.episode_id, "message": row.error["message"]} for row in self.interrupted)
        return AnnotateReport(
            **self.counts,
            **self.bill,
            left=left,
            errors=tuple(self.errors),
            possibly_billed=tuple(billed),
            model_versions=dict(self.versions.counts),
            warnings=(*self.versions.warnings(), *unread),
            total_cost=paid.cost_usd,
            total_uncertain=paid.uncertain_usd,
            stopped=self.stopped,
        )


@dataclass(frozen=True)
class _Outcome:
    """What became of one episode; without error and annotation it was not begun."""

    episode_id: str
    before: Staged | None = None
    after: Staged | None = None
    annotated: AnnotatedEpisode | None = None
    error: Exception | None = None
    recorded: bool = False
    fatal: bool = False

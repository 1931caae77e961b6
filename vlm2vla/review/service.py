"""The review service: open, edit, undo, accept, compare, annotate again.

Composes index, store, checks and annotators.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from vlm2vla import pipeline
from vlm2vla.annotation import edit as edits
from vlm2vla.annotation.annotator import Annotator
from vlm2vla.annotation.checks import check
from vlm2vla.annotation.edit_json import apply
from vlm2vla.annotation.shelf import judge
from vlm2vla.annotation.store import AnnotationStore, QueueQuery, Revision
from vlm2vla.config import AnnotateConfig, GeminiConfig, ImportConfig, LanguageConfig
from vlm2vla.errors import AnnotationError, NotFoundError, StaleRevisionError
from vlm2vla.review.changes import changes
from vlm2vla.review.jobs import Jobs
from vlm2vla.review.media import FrameCache
from vlm2vla.review.view import episode_view, findings_view, path_view, spans_view
from vlm2vla.trajectories import EpisodeIndex
from vlm2vla.types import AnnotatedEpisode, Episode
from vlm2vla.workspace import Workspace

JSON = dict[str, Any]
OPEN_EPISODES = 8
HISTORY_LENGTH = 12


class Review:
    """One per studio; safe to call from several threads.

    Every method that changes something takes the revision the change was made on (`base`) and raises
    StaleRevisionError when a newer one is in the store: two people never overwrite each other.
    """

    def __init__(
        self,
        workspace: Workspace,
        language: LanguageConfig | None = None,
        gemini: GeminiConfig | None = None,
    ):
        self.workspace = workspace
        self.language = language or LanguageConfig()
        self.gemini = gemini or GeminiConfig()
        self.index = EpisodeIndex(workspace)
        self.store = AnnotationStore.open(workspace.database_url)
        self._frames = FrameCache(workspace)
        self._jobs = Jobs()
        # Looked up once: at 60,000 episodes the store needs 20 ms for it. Whoever saves here is added.
        self._reviewers = set(self.store.reviewers())
        self._counted: tuple[int, dict[str, int]] = (0, {})
        self._opened: OrderedDict[str, Episode] = OrderedDict()
        self._lock = threading.Lock()

    # Looking

    def queue(self, query: Mapping[str, Any] | None = None, after: str = "", limit: int = 60) -> JSON:
        """A page of the review queue, with counts for the whole of it."""
        page = self.store.queue(_query(query), limit=limit, after=after or "")
        counts = self.store.counts()
        return {
            "rows": [asdict(row) | {"id": row.episode_id} for row in page.rows],
            "total": page.total,
            "next": page.next,
            "counts": counts.by_status | {"total": counts.total},
            "datasets": self._datasets(),
            "reviewers": sorted(self._reviewers),
        }

    def open(self, episode_id: str, reviewer: str) -> JSON:
        """Everything the page shows of one episode; takes or renews the reviewer's lease.

        Raises:
            NotFoundError: The episode was never imported.
        """
        self.store.lease(episode_id, reviewer)
        episode = self._episode(episode_id)
        if episode.cameras:
            self._frames.prefetch(episode, next(iter(episode.cameras)))
        return self._view(episode, self.store.head(episode_id), reviewer)

    def history(self, episode_id: str) -> list[JSON]:
        """The newest revisions first, each with what it changed."""
        infos = self.store.history(episode_id, limit=HISTORY_LENGTH)
        bodies: dict[int, AnnotatedEpisode] = {}

        def body(number: int) -> AnnotatedEpisode:
            if number not in bodies:
                bodies[number] = self.store.revision(episode_id, number).annotated
            return bodies[number]

        return [
            {
                "number": info.number,
                "parent": info.parent,
                "author": info.author,
                "source": info.source,
                "at": info.created_at,
                "kind": info.kind,
                "note": info.note,
                "changes": changes(body(info.parent), body(info.number)) if info.parent else [],
            }
            for info in infos
        ]

    def conflict(self, episode_id: str, base: int, edit: Mapping[str, Any]) -> JSON:
        """What others changed since `base`, beside the refused edit: nothing of either is lost."""
        head = self._head(episode_id)
        before = self.store.revision(episode_id, base).annotated if base else None
        return {
            "head": head.number,
            "author": head.author,
            "at": head.created_at,
            "changes": changes(before, head.annotated),
            "yours": dict(edit),
        }

    def next(self, query: Mapping[str, Any] | None, reviewer: str, after: str = "") -> str | None:
        """The next episode to review that nobody else holds."""
        return self.store.next_item(_query(query), reviewer, after=after)

    def release(self, episode_id: str, reviewer: str) -> None:
        """Give the lease back, so that others see the episode as free."""
        self.store.release(episode_id, reviewer)

    # Changing

    def edit(self, episode_id: str, base: int, edit: Mapping[str, Any], reviewer: str) -> JSON:
        """Apply one edit (see `vlm2vla.annotation.edit_json.apply`) on top of revision `base` and save it.

        Raises:
            EditError: The annotation does not allow it.
            StaleRevisionError: Somebody saved in between; ask `conflict`.
        """
        episode, head = self._episode(episode_id), self._head(episode_id)
        if head.number != base:
            raise StaleRevisionError(episode_id, base, head.number, head.author)
        annotated = apply(head.annotated, episode, edit, reviewer, self.language)
        if annotated == head.annotated:
            return self._view(episode, head, reviewer)
        saved = self._save(annotated, episode, base, reviewer, note=str(edit.get("kind", "edit")))
        return self._view(episode, saved, reviewer)

    def undo(self, episode_id: str, base: int, reviewer: str) -> JSON:
        """Take back the last change, as a new revision."""
        saved = self.store.undo(episode_id, author=reviewer, base=base)
        return self._view(self._episode(episode_id), saved, reviewer)

    def redo(self, episode_id: str, base: int, reviewer: str) -> JSON:
        """Do again what was undone, as a new revision."""
        saved = self.store.redo(episode_id, author=reviewer, base=base)
        return self._view(self._episode(episode_id), saved, reviewer)

    def revert(self, episode_id: str, base: int, to: int, reviewer: str) -> JSON:
        """Go back to revision `to`, as a new revision."""
        saved = self.store.revert(episode_id, to, author=reviewer, base=base)
        return self._view(self._episode(episode_id), saved, reviewer)

    def rate(self, episode_id: str, uid: str, level: str, reviewer: str, score: int) -> JSON:
        """Rate one level of one subtask from 1 to 5."""
        self.store.rate(episode_id, uid, level, reviewer, score)
        return self._view(self._episode(episode_id), self._head(episode_id), reviewer)

    def annotate(self, episode_id: str, annotator: str, reviewer: str) -> JSON:
        """Annotate a whole episode, on top of what is there.

        Raises:
            ModelError: Gemini did not answer as asked; nothing was changed.
        """
        episode, head = self._episode(episode_id), self.store.head(episode_id)
        annotated = self._annotator(annotator).annotate(episode)
        base = head.number if head else 0
        saved = self._save(annotated, episode, base, annotator, source=annotator, note=f"asked for by {reviewer}")
        return self._view(episode, saved, reviewer)

    def reannotate(self, episode_id: str, base: int, uid: str, annotator: str, hint: str, reviewer: str) -> JSON:
        """Annotate the span of one subtask again, by either annotator, with a hint in words."""
        episode, head = self._episode(episode_id), self._head(episode_id)
        if head.number != base:
            raise StaleRevisionError(episode_id, base, head.number, head.author)
        span = head.annotated.find(uid)
        part = self._annotator(annotator).annotate(episode, span=(span.start_step, span.end_step), hint=hint)
        annotated = edits.replace_span(head.annotated, uid, part)
        note = f"asked {annotator} again" + (f" with the hint {hint!r}" if hint else "")
        saved = self._save(annotated, episode, base, reviewer, note=note)
        return self._view(episode, saved, reviewer)

    # Frames and data

    def frame(self, episode_id: str, camera: str, step: int) -> Path:
        """A JPEG file in the media folder."""
        return self._frames.path(self._episode(episode_id), camera, step)

    def prefetch(self, episode_id: str, camera: str) -> None:
        """Extract all frames of one camera in the background."""
        self._frames.prefetch(self._episode(episode_id), camera)

    def start_import(self, path: str, format: str = "auto") -> JSON:
        """Import a data set in the background; `job` says how far it is and ends with the import report.

        Raises:
            AnnotationError: Another job is running.
        """
        config = ImportConfig(Path(path.strip()).expanduser(), format=format)

        def work(progress: pipeline.Progress) -> JSON:
            return pipeline.import_data(config, self.workspace, progress).to_json()

        return asdict(self._jobs.start(f"Importing {config.path.name}", work))

    def start_annotating(self, annotator: str = "kinematic") -> JSON:
        """Annotate, in the background, every episode that has no annotation of this annotator yet.

        Raises:
            AnnotationError: Another job is running.
        """
        config = AnnotateConfig(annotator=annotator)

        def work(progress: pipeline.Progress) -> JSON:
            return pipeline.annotate(config, self.language, self.gemini, self.workspace, progress).to_json()

        names = {"kinematic": "Annotating from the numbers", "gemini": "Annotating with Gemini"}
        return asdict(self._jobs.start(names.get(annotator, annotator), work))

    def job(self) -> JSON | None:
        """The running or the last job: {"name", "state", "done", "total", "report", "error"}."""
        job = self._jobs.current()
        return asdict(job) if job else None

    def stop_job(self) -> None:
        """End the running job early; what is done is kept."""
        self._jobs.stop()

    def _datasets(self) -> dict[str, int]:
        """Number of episodes by data set; counted again only when the index grew."""
        size = len(self.index)
        if self._counted[0] != size:
            self._counted = (size, self.index.datasets())
        return self._counted[1]

    def _annotator(self, name: str) -> Annotator:
        return pipeline.make_annotator(name, self.language, self.gemini)

    def _episode(self, episode_id: str) -> Episode:
        with self._lock:
            if episode_id in self._opened:
                self._opened.move_to_end(episode_id)
                return self._opened[episode_id]
        episode = self.index.get(episode_id)
        with self._lock:
            self._opened[episode_id] = episode
            while len(self._opened) > OPEN_EPISODES:
                self._opened.popitem(last=False)
        return episode

    def _head(self, episode_id: str) -> Revision:
        head = self.store.head(episode_id)
        if head is None:
            raise NotFoundError(f"{episode_id} has no annotation yet; annotate it first")
        return head

    def _save(
        self,
        annotated: AnnotatedEpisode,
        episode: Episode,
        base: int,
        author: str,
        source: str = "person",
        note: str = "",
    ) -> Revision:
        judged = judge(annotated, episode)
        if source == "person":
            self._reviewers.add(author)
        return self.store.save(annotated, author=author, source=source, base=base, note=note, **asdict(judged))

    def _view(self, episode: Episode, head: Revision | None, reviewer: str) -> JSON:
        annotated = head.annotated if head else None
        findings = check(annotated, episode) if annotated else ()
        machine = self.store.machine(episode.id) if head else None
        ratings = self.store.ratings(episode.id)
        spans = spans_view(annotated, machine, episode, findings, self.language) if annotated else []
        lease = self.store.lease(episode.id, reviewer)
        for span in spans:
            span["ratings"] = {
                level: next(
                    (r.score for r in ratings if (r.uid, r.level, r.reviewer) == (span["uid"], level, reviewer)), None
                )
                for level in ("subtask", "plan", "chunk")
            }
        return episode_view(episode) | {
            "revision": head.number if head else 0,
            "author": head.author if head else "",
            "saved_at": head.created_at if head else "",
            "status": head.status if head else "unannotated",
            "risk": head.risk if head else 0.0,
            "can_undo": bool(head and head.can_undo),
            "can_redo": bool(head and head.can_redo),
            "lease": {"holder": lease.holder, "until": lease.expires_at, "mine": lease.holder == reviewer},
            "action_form": annotated.action_form if annotated else "",
            "spans": spans,
            "findings": findings_view(findings),
            "path": path_view(annotated, episode),
            "history": self.history(episode.id) if head else [],
        }


def _query(values: Mapping[str, Any] | None) -> QueueQuery:
    """A query from a page: unknown keys are refused, empty ones mean no filter."""
    plural = {"status": "statuses", "source": "sources", "dataset": "datasets"}
    fields: JSON = {}
    for key, value in (values or {}).items():
        if value not in (None, "", []):
            several = tuple(value) if isinstance(value, list | tuple) else (value,)
            fields[plural.get(key, key)] = several if key in plural else value
    try:
        return replace(QueueQuery(), **fields)
    except TypeError as error:
        raise AnnotationError(f"the queue cannot be filtered like this: {error}") from error

"""What an annotation run leaves on disk: one JSON file per episode, a journal of requests, a lock.

  <episode id>.json   status, annotation or error, the model's replies as they came, what was paid
  requests.jsonl      one line when a request leaves and one when its end is known; only paid annotators write it
  .lock               held while a run is at work, so that two runs never pay for the same episode

Files are replaced atomically. Knows no prompt and no store.
"""

import contextlib
import json
import os
import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from vlm2vla.errors import AnnotationError, NotFoundError, VLM2VLAError
from vlm2vla.types import AnnotatedEpisode
from vlm2vla.vlm.protocol import Usage
from vlm2vla.workspace import write_atomic

StagedStatus = Literal["started", "annotated", "failed"]
_JOURNAL = "requests.jsonl"


@dataclass(frozen=True)
class Staged:
    """The staged state of one episode.

    Attributes:
        episode_id: Whose it is.
        status: "started" has replies but no annotation yet.
        annotated: The newest annotation as plain JSON values; a failed redo keeps the one before.
        error: {"kind", "message", "details"} of the last attempt, None unless status is "failed".
        paid: Sum over every reply there ever was, of failed and repeated attempts too.
        replies: Usable replies by the name of their request: {"key", "text", "model_version", "usage", ...}.
        refused: Replies that were paid for and could not be used, the newest last.
        requests: Ids of journalled requests whose end is written here.
        updated_at: ISO 8601 time, UTC.
    """

    episode_id: str
    status: StagedStatus = "started"
    annotated: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    paid: Usage = Usage()
    replies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    refused: tuple[Mapping[str, Any], ...] = ()
    requests: tuple[str, ...] = ()
    updated_at: str = ""

    def annotation(self) -> AnnotatedEpisode:
        """The staged annotation.

        Raises:
            NotFoundError: There is none.
        """
        if self.annotated is None:
            raise NotFoundError(f"{self.episode_id} has no staged annotation; its last attempt is {self.status}")
        return AnnotatedEpisode.from_json(self.annotated)


Turn = Literal["todo", "skipped", "waiting"]


_NOTHING = Staged("")


def turn_of(before: Staged | None, *, redo: bool, retry_failed: bool) -> Turn:
    """What a run does with an episode: annotate it, skip it because it is annotated, or leave its failure waiting."""
    if before is None or redo or before.status == "started":
        return "todo"
    if before.status == "annotated":
        return "skipped"
    return "todo" if retry_failed else "waiting"


def error_row(error: BaseException) -> dict[str, Any]:
    """{"kind", "message", "details"} of an error, JSON values."""
    return {"kind": type(error).__name__, "message": str(error), "details": getattr(error, "details", {})}


class StagingFolder:
    """Staged files of one annotator; safe to use from several threads of one process."""

    def __init__(self, folder: Path):
        """Use `folder`, which is made when missing."""
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._present = {entry.name for entry in os.scandir(self.folder)}
        self._write = threading.Lock()

    def path(self, episode_id: str) -> Path:
        """File of one episode."""
        return self.folder / f"{episode_id}.json"

    def load(self, episode_id: str) -> Staged | None:
        """What is staged for an episode; None when nothing is.

        Raises:
            AnnotationError: The file is not a staged annotation.
        """
        path = self.path(episode_id)
        if path.name not in self._present:
            return None
        try:
            data = json.loads(path.read_bytes())
            lists = {"refused": tuple(data["refused"]), "requests": tuple(data["requests"])}
            return Staged(**{**data, **lists, "paid": Usage(**data["paid"])})
        except (ValueError, TypeError, KeyError) as error:
            raise AnnotationError(
                f"{path} is not a staged annotation ({error}); remove it to annotate again"
            ) from error

    def save(self, staged: Staged, *, durable: bool = True) -> None:
        """Write the state of one episode; `durable` also survives a power cut (slower, and laid out for reading)."""
        path = self.path(staged.episode_id)
        row = {name: getattr(staged, name) for name in staged.__dataclass_fields__}
        row |= {"paid": vars(staged.paid), "updated_at": _now()}
        text = json.dumps(row, ensure_ascii=False, indent=1 if durable else None, default=str)
        write_atomic(path, text, durable=durable)
        self._present.add(path.name)

    def ids(self) -> list[str]:
        """Episodes with a staged file."""
        return sorted(path.stem for path in self.folder.glob("*.json"))

    def __iter__(self) -> Iterator[Staged]:
        for episode_id in self.ids():
            if staged := self.load(episode_id):
                yield staged

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for one run; the system releases it when the process dies.

        Raises:
            AnnotationError: Another run holds it.
        """
        import fcntl

        with open(self.folder / ".lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise AnnotationError(
                    f"another run is annotating into {self.folder}; wait for it or stop it"
                ) from error
            yield

    def journal(self, event: str, request_id: str, **values: Any) -> None:
        """Append one line about a request; it is with the system before this returns."""
        line = json.dumps({"event": event, "request": request_id, "at": _now()} | values) + "\n"
        with self._write, open(self.folder / _JOURNAL, "a") as file:
            file.write(line)

    def open_requests(self) -> dict[str, dict[str, Any]]:
        """Requests that left and whose end is nowhere: request id -> its "sent" line."""
        sent: dict[str, dict[str, Any]] = {}
        path = self.folder / _JOURNAL
        if not path.exists():
            return {}
        for line in path.read_text().splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue  # the line that a crash cut off: its request had not left yet
            if row["event"] == "sent":
                sent[row["request"]] = row
            else:
                sent.pop(row["request"], None)
        return sent

    def interrupted(self) -> dict[str, dict[str, Any]]:
        """The open requests whose episode does not know their end: an earlier run was killed while they were out."""
        rows = self.open_requests()
        return {key: row for key, row in rows.items() if key not in (self.load(row["episode"]) or _NOTHING).requests}

    def _end_last_line(self) -> None:
        """A kill may have cut the journal's last line off; what is appended must not become part of it."""
        path = self.folder / _JOURNAL
        if path.exists() and not path.read_bytes().endswith(b"\n"):
            with open(path, "a") as file:
                file.write("\n")

    def recover(self) -> tuple[Staged, ...]:
        """Find requests that were under way when an earlier run was killed, and record their episodes as failed.

        They may have been billed, so they are asked again only when the user says so (retry_failed).
        Call it with the folder locked.
        """
        interrupted: list[Staged] = []
        self._end_last_line()
        for request_id, row in self.open_requests().items():
            staged = self.load(row["episode"]) or Staged(row["episode"])
            if request_id not in staged.requests:
                error = VLM2VLAError(
                    f"the run was killed while request {row['name']!r} was under way; it may have been billed "
                    f"(at most ${row['worst_usd']:.4f}); it is asked again only with --retry-failed"
                )
                paid = staged.paid + Usage(uncertain_usd=row["worst_usd"])
                details = {"request": row["name"], "sent_at": row["at"], "possibly_billed_usd": row["worst_usd"]}
                failure = {"kind": "ModelUnavailableError", "message": str(error), "details": details}
                requests = (*staged.requests, request_id)
                staged = replace(staged, status="failed", error=failure, paid=paid, requests=requests)
                self.save(staged)
                interrupted.append(staged)
            self.journal("recovered", request_id)
        return tuple(interrupted)


class Checkpoint:
    """Keeps the replies of one episode as they come, so that none is paid for twice.

    One worker thread at a time uses it.
    """

    def __init__(self, folder: StagingFolder, staged: Staged):
        """Continue from `staged`."""
        self._folder = folder
        self.staged = staged
        self._open: tuple[str, ...] = ()
        self.refused = False
        """Whether `refuse` has recorded the failure of this attempt."""

    @property
    def paid(self) -> Usage:
        """What the replies of this annotation took, usable or not (after a redo: since then)."""
        rows = [row["usage"] for row in (*self.staged.replies.values(), *self.staged.refused)]
        return sum((Usage(**row) for row in rows), Usage())

    def load(self, name: str, key: str) -> Mapping[str, Any] | None:
        """The stored reply to request `name`, if it was made for the same `key` (prompt, model, settings)."""
        reply = self.staged.replies.get(name)
        return reply if reply is not None and reply["key"] == key else None

    def sent(self, name: str, worst_usd: float) -> None:
        """A request is about to leave."""
        request_id = uuid.uuid4().hex[:12]
        self._open = (*self._open, request_id)
        self._folder.journal("sent", request_id, episode=self.staged.episode_id, name=name, worst_usd=worst_usd)

    def unbilled(self) -> None:
        """The request that left last was refused without any work."""
        self._folder.journal("unbilled", self._open[-1])
        self._open = self._open[:-1]

    def reply(self, name: str, key: str, usage: Usage, values: Mapping[str, Any]) -> None:
        """A usable reply arrived: it is on disk when this returns."""
        row = {"key": key, "usage": asdict(usage), **values}
        self._update(usage, "started", None, replies={**self.staged.replies, name: row})

    def refuse(self, name: str, error: Exception, usage: Usage) -> None:
        """The annotation fails on a reply: one that just came and took `usage`, or a stored one. It is kept aside.

        The failure is recorded in the same write: a kill in between must not lead to asking, and paying, again.
        """
        replies = dict(self.staged.replies)
        stored = replies.pop(name, None)
        if stored is None and usage == Usage() and not self._open:
            return  # nothing came, nothing was paid
        taken = usage + (Usage(**stored["usage"]) if stored else Usage())
        row = {"name": name, "error": error_row(error), "reply": stored, "usage": asdict(taken)}
        self.refused = True
        self._update(usage, "failed", row["error"], replies=replies, refused=(*self.staged.refused, row))

    def _update(self, usage: Usage, status: StagedStatus, error: Mapping[str, Any] | None, **changes: Any) -> None:
        requests, paid = (*self.staged.requests, *self._open), self.staged.paid + usage
        self.staged = replace(self.staged, status=status, error=error, paid=paid, requests=requests, **changes)
        self._folder.save(self.staged)
        for request_id in self._open:
            self._folder.journal("ended", request_id)
        self._open = ()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

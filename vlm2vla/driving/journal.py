"""One run on disk while it happens: whatever ends the run, or the studio, what happened until then is there.

ROLLOUTS/<run id>/
  run.json                   what, who, how it ended; without "end" while it runs (or when the studio died)
  records.jsonl              every record of the run, a line each
  frames/<step>-<camera>.jpg
  rollouts-<digest>/         the same as a LeRobot episode, made when it is opened in the review

The episode is always made from these files, so that a run that was cut short is kept in the same way as any other.
"""

import json
import logging
import re
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TextIO

from vlm2vla.errors import NotFoundError, WorkspaceError
from vlm2vla.robot import Observation
from vlm2vla.workspace import write_atomic

log = logging.getLogger(__name__)
JSON = dict[str, Any]
RUN, RECORDS, FRAMES = "run.json", "records.jsonl", "frames"
_ID = re.compile(r"r-\d{8}-\d{6}-[0-9a-f]{4}")
_CAMERA = re.compile(r"[\w-]{1,64}")
PICTURES_S = 20.0  # the last pictures of a run are waited for this long
CUT_OFF = "the studio ended in the middle of this run"


def new_id() -> str:
    """An id for a run that begins now."""
    return time.strftime("r-%Y%m%d-%H%M%S-", time.gmtime()) + secrets.token_hex(2)


class Journal:
    """Writes one run. Records by one thread at a time; pictures by a thread of its own, so that nothing waits for them.

    Args:
        folder: ROLLOUTS.
        info: What is known when the run begins; needs "id".
    """

    def __init__(self, folder: Path, info: JSON):
        self.info = dict(info)
        self._folder = folder / info["id"]
        (self._folder / FRAMES).mkdir(parents=True)
        self._save()
        self._records: TextIO | None = (self._folder / RECORDS).open("a", encoding="utf-8")
        self._broken = ""
        self._pictures: SimpleQueue[tuple[int, Observation] | None] = SimpleQueue()
        self._drawing = threading.Thread(target=self._keep_pictures, name="pictures of a run", daemon=True)
        self._drawing.start()

    @property
    def broken(self) -> str:
        """Why nothing is written any more, in words."""
        return self._broken

    def write(self, record: JSON) -> None:
        """Append one record. A full disk is said once and ends the writing, not the run."""
        if self._records is None or self._broken:
            return
        try:
            self._records.write(json.dumps(record, ensure_ascii=False) + "\n")
            self._records.flush()
        except OSError as error:
            self._break(error)

    def frames(self, step: int, observation: Observation) -> None:
        """Keep the pictures of one step, soon."""
        self._pictures.put((step, observation))

    def finish(self, **fields: Any) -> None:
        """How it ended; waits for the pictures."""
        self._pictures.put(None)
        self._drawing.join(PICTURES_S)
        self.info |= fields
        if self._records is not None:
            self._records.close()
            self._records = None
        try:
            self._save()
        except OSError as error:
            self._break(error)

    def _keep_pictures(self) -> None:
        while (waiting := self._pictures.get()) is not None:
            step, observation = waiting
            try:
                for camera, data in observation.images.items():
                    if _CAMERA.fullmatch(camera) and not self._broken:
                        path = self._folder / FRAMES / f"{step:05d}-{camera}.jpg"
                        path.with_suffix(".part").write_bytes(data)
                        path.with_suffix(".part").replace(path)  # whole or not there
            except OSError as error:
                self._break(error)
            except Exception as error:  # a simulator that was closed before its last pictures were drawn
                log.warning("pictures of step %d: %s", step, error)

    def _save(self) -> None:
        write_atomic(self._folder / RUN, json.dumps(self.info, ensure_ascii=False, indent=1))

    def _break(self, error: OSError) -> None:
        self._broken = f"this run is not recorded any more: {error}"
        log.error("%s: %s", self._folder, self._broken)


class KeptRun:
    """One run that is on disk.

    Raises:
        NotFoundError: There is no such run.
    """

    def __init__(self, folder: Path, run_id: str):
        if not _ID.fullmatch(run_id):
            raise NotFoundError(f"no run {run_id[:40]!r}")
        self.folder, self.id = folder / run_id, run_id
        if not (self.folder / RUN).is_file():
            raise NotFoundError(f"no run {run_id}; it may have been deleted")

    def info(self) -> JSON:
        """What, who, how it ended.

        Raises:
            WorkspaceError: The file is damaged.
        """
        try:
            return json.loads((self.folder / RUN).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise WorkspaceError(f"{self.folder / RUN} cannot be read: {error}") from error

    def change(self, **fields: Any) -> JSON:
        """Write fields of `info`."""
        info = self.info() | fields
        write_atomic(self.folder / RUN, json.dumps(info, ensure_ascii=False, indent=1))
        return info

    def records(self) -> list[JSON]:
        """Everything that happened. A last line that was cut in the middle is left out."""
        rows = []
        path = self.folder / RECORDS
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
            try:
                rows.append(json.loads(line))
            except ValueError:
                log.warning("%s: a damaged line was left out", path)
        return rows

    def frame(self, step: int, camera: str) -> Path:
        """File of one picture.

        Raises:
            NotFoundError: No such picture.
        """
        path = self.folder / FRAMES / f"{step:05d}-{camera}.jpg"
        if not _CAMERA.fullmatch(camera) or not 0 <= step < 100_000 or not path.is_file():
            raise NotFoundError(f"{self.id} has no picture of step {step} from that camera")
        return path

    def images(self, step: int) -> Mapping[str, bytes]:
        """The pictures of one step, read when they are asked for."""
        found = sorted((self.folder / FRAMES).glob(f"{step:05d}-*.jpg"))
        return Pictures({path.stem.partition("-")[2]: path for path in found})


class Pictures(Mapping[str, bytes]):
    """JPEG files by camera name; the external view, where there is one, is the first."""

    def __init__(self, files: dict[str, Path]):
        first = ["external"] if "external" in files else []
        self._files = {name: files[name] for name in [*first, *(name for name in files if name not in first)]}

    def __getitem__(self, camera: str) -> bytes:
        return self._files[camera].read_bytes()

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def kept_runs(folder: Path, most: int = 200) -> list[KeptRun]:
    """Runs on disk, the newest first."""
    names = sorted((path.name for path in folder.glob("r-*") if _ID.fullmatch(path.name)), reverse=True)
    return [KeptRun(folder, name) for name in names[:most] if (folder / name / RUN).is_file()]


def end_orphans(folder: Path) -> list[str]:
    """Runs of a studio that died get an end; their ids."""
    ended = []
    for run in kept_runs(folder, most=10_000):
        try:
            info = run.info()
        except WorkspaceError as error:
            log.warning("%s", error)
            continue
        if not info.get("end"):
            records = run.records()
            steps = sum(record["kind"] == "observed" for record in records)
            seconds = round(records[-1]["at"] - records[0]["at"], 2) if records else 0.0
            run.change(end="error", reason=CUT_OFF, steps=steps, seconds=seconds)
            ended.append(run.id)
    return ended


def now_iso() -> str:
    """The time, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")

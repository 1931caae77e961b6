"""Where artefacts live on disk. The only reader of VLM2VLA_HOME.

WORKSPACE/
  studio.db                    annotation store (SQLite, unless VLM2VLA_DATABASE_URL names another)
  episodes/*.parquet           the index of imported episodes: numbers and where the frames are, no frames
  reports/*.json               one report per import
  annotations/<annotator>/     staged annotations, one JSON file per episode
  media/<episode>/<camera>/    frames shown in the studio, a cache that may be deleted
  chats/                       conversations of the Chat tab, their images and votes
  training-sets/               samples as they were trained on; made again when missing
  runs/  models/  logs/
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from vlm2vla.errors import WorkspaceError

HOME_VARIABLE = "VLM2VLA_HOME"
DATABASE_VARIABLE = "VLM2VLA_DATABASE_URL"


@dataclass(frozen=True)
class Workspace:
    """One artefact folder."""

    root: Path

    @classmethod
    def open(cls, root: Path | str | None = None) -> "Workspace":
        """Use `root`, else VLM2VLA_HOME, else ~/.vlm2vla; made when missing.

        Raises:
            WorkspaceError: The folder cannot be made or written.
        """
        path = Path(root or os.environ.get(HOME_VARIABLE) or "~/.vlm2vla").expanduser().resolve()
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WorkspaceError(f"cannot use {path} as workspace: {error}; choose another with --workspace") from error
        if not os.access(path, os.W_OK):
            raise WorkspaceError(f"cannot write to workspace {path}; choose another with --workspace")
        return cls(path)

    @property
    def episodes(self) -> Path:
        """Index of imported episodes."""
        return self._folder("episodes")

    @property
    def reports(self) -> Path:
        """Import reports."""
        return self._folder("reports")

    @property
    def media(self) -> Path:
        """Cached frames; the only folder whose files the studio serves."""
        return self._folder("media")

    @property
    def logs(self) -> Path:
        """Log files."""
        return self._folder("logs")

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the annotation store."""
        return os.environ.get(DATABASE_VARIABLE) or f"sqlite:///{self.root / 'studio.db'}"

    @property
    def rollouts(self) -> Path:
        """Recorded rollouts, a folder each."""
        return self._folder("rollouts")

    @property
    def models(self) -> Path:
        """The list of added models."""
        return self._folder("models")

    @property
    def chats(self) -> Path:
        """Conversations of the Chat tab."""
        return self._folder("chats")

    @property
    def runs(self) -> Path:
        """Training runs, a folder each."""
        return self._folder("runs")

    @property
    def training_sets(self) -> Path:
        """Samples as they were trained on, a folder per set."""
        return self._folder("training-sets")

    @property
    def evaluations(self) -> Path:
        """Stored answers, rollouts of suites and other results, and the report about them."""
        return self._folder("evaluations")

    @property
    def vqa_sets(self) -> Path:
        """VQA sets that can be named without their path."""
        return self._folder("vqa")

    def staged(self, annotator: str) -> Path:
        """Staged annotations of one annotator."""
        return self._folder("annotations", annotator)

    def _folder(self, *names: str) -> Path:
        path = self.root.joinpath(*names)
        path.mkdir(parents=True, exist_ok=True)
        return path


def write_atomic(path: Path, data: bytes | str, *, durable: bool = True) -> None:
    """Write so that a reader, or a crash at any moment, sees the old file or the whole new one.

    Without `durable` the disk is not waited for: after a power cut the file may be missing or empty.
    """
    raw = data.encode() if isinstance(data, str) else data
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise

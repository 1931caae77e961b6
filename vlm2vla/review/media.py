"""Frames as JPEG files in the workspace's media folder: the only files that the studio serves.

It is a cache: it may be deleted at any time.
"""

import io
import logging
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from vlm2vla.errors import NotFoundError, VLM2VLAError
from vlm2vla.types import Episode
from vlm2vla.workspace import Workspace, write_atomic

log = logging.getLogger(__name__)

KEEP_EPISODES = 300
JPEG_START = b"\xff\xd8"


class FrameCache:
    """Extracts frames on first use, all of an opened episode in the background."""

    def __init__(self, workspace: Workspace):
        self._root = workspace.media
        self._decoding = threading.Lock()  # video decoders are not safe to share between threads
        self._background = ThreadPoolExecutor(max_workers=1, thread_name_prefix="frames")
        self._wanted: tuple[str, str] | None = None

    def path(self, episode: Episode, camera: str, step: int) -> Path:
        """The file of one frame, extracted when it is not there yet.

        Raises:
            NotFoundError: No such camera or step.
            CorruptRecordError: The source does not decode.
        """
        if camera not in episode.cameras or not 0 <= step < len(episode):
            raise NotFoundError(f"{episode.id} has no frame {step} of camera {camera!r}")
        path = self._root / episode.id / camera / f"{step}.jpg"
        if not path.exists():
            with self._decoding:
                data = episode.frame(step, camera)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, data if data.startswith(JPEG_START) else _as_jpeg(data))
        return path

    def prefetch(self, episode: Episode, camera: str) -> None:
        """Extract every frame of one camera in the background; a newer wish replaces an older one."""
        self._wanted = (episode.id, camera)
        self._background.submit(self._extract, episode, camera)

    def _extract(self, episode: Episode, camera: str) -> None:
        for step in range(len(episode)):
            if self._wanted != (episode.id, camera):
                return
            try:
                self.path(episode, camera, step)
            except VLM2VLAError as error:
                log.warning("frames of %s: %s", episode.id, error)
                return
        self._evict()

    def _evict(self) -> None:
        folders = sorted(self._root.iterdir(), key=lambda folder: folder.stat().st_mtime, reverse=True)
        for folder in folders[KEEP_EPISODES:]:
            shutil.rmtree(folder, ignore_errors=True)


def _as_jpeg(data: bytes) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.open(io.BytesIO(data)).convert("RGB").save(buffer, "JPEG", quality=92)
    return buffer.getvalue()

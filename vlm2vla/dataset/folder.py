"""The folder of an export: written beside its place, moved there when it is complete.

Knows files, hashes and images; knows no labels. A crash or a full disk never leaves a folder that looks like an
export, and an existing one is never overwritten.
"""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vlm2vla.dataset.manifest import MANIFEST, Manifest, digest
from vlm2vla.dataset.samples import ImageRef
from vlm2vla.errors import ExportError
from vlm2vla.types import Episode
from vlm2vla.workspace import write_atomic

IMAGES = "images"
CHECKSUMS = "images.sha256"
_MAGIC = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png"}


@contextmanager
def export_folder(out: Path) -> Iterator[Path]:
    """A new folder beside `out` to write to; it becomes `out` when the block ends without an error.

    Raises:
        ExportError: `out` is not empty, or cannot be written.
    """
    out = Path(out).absolute()
    _refuse(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
    except OSError as error:
        raise ExportError(f"cannot write to {out.parent}: {error.strerror or error}; choose another --out") from error
    try:
        folder.chmod(0o755)  # mkdtemp makes folders that nobody else may read
        yield folder
        _refuse(out)  # somebody else may have been quicker
        if out.exists():
            out.rmdir()
        os.replace(folder, out)
    except OSError as error:
        raise ExportError(f"the export to {out} was given up: {error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json, the last file of an export."""
    write_atomic(folder / MANIFEST, manifest.dumps())


def hashes(folder: Path) -> dict[str, dict[str, Any]]:
    """Path -> sha256 and bytes of every file but the images, which stand in `images.sha256`."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        name: {"sha256": digest(path), "bytes": path.stat().st_size}
        for path in paths
        if not (name := path.relative_to(folder).as_posix()).startswith(f"{IMAGES}/")
    }


class ImageFiles:
    """Writes each distinct frame once, as the bytes the recording holds: no second compression.

    Frames are asked for one episode after the other, so only the current episode's are remembered.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._episode = ""
        self._paths: dict[ImageRef, str] = {}
        self._checksums = (folder / CHECKSUMS).open("w", encoding="utf-8", newline="\n")
        self.count = 0

    def __enter__(self) -> "ImageFiles":
        return self

    def __exit__(self, *_exception: object) -> None:
        self._checksums.close()

    def path(self, ref: ImageRef, episode: Episode) -> str:
        """Path of the frame relative to the export folder; it is written on the first call.

        Raises:
            ExportError: The frame is neither JPEG nor PNG.
            CorruptRecordError, NotFoundError: It cannot be read (see `Episode.frame`).
        """
        if ref.episode_id != self._episode:
            self._episode, self._paths = ref.episode_id, {}
        if ref not in self._paths:
            self._paths[ref] = self._write(ref, episode.frame(ref.step, ref.camera))
        return self._paths[ref]

    def _write(self, ref: ImageRef, data: bytes) -> str:
        ending = next((ending for magic, ending in _MAGIC.items() if data.startswith(magic)), "")
        if not ending:
            raise ExportError(f"{ref.episode_id} {ref.camera} step {ref.step}: the frame is neither JPEG nor PNG")
        camera = re.sub(r"[^\w.-]+", "_", ref.camera)
        name = f"{IMAGES}/{ref.episode_id}/{camera}-{ref.step:05d}{ending}"
        if name in self._paths.values():  # two camera names that look alike as file names
            name = f"{IMAGES}/{ref.episode_id}/{camera}-{ref.step:05d}-{len(self._paths)}{ending}"
        target = self._folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        self._checksums.write(f"{hashlib.sha256(data).hexdigest()}  {name}\n")
        self.count += 1
        return name


def _refuse(out: Path) -> None:
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise ExportError(f"{out} is not a folder; choose another --out")
    if out.is_dir() and any(out.iterdir()):
        raise ExportError(f"{out} is not empty; exports never overwrite: choose another --out or empty it first")

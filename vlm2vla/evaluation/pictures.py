"""Images of VQA sets: a file, or bytes out of a table. Read late, checked before they are decoded."""

import hashlib
import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from vlm2vla.errors import EvaluationError
from vlm2vla.vlm.protocol import ImagePart

MAX_BYTES = 64 * 2**20
MAX_PIXELS = 50_000_000
"""Larger pictures are refused before they are decoded: they may be bombs."""
_BLANK_PX = 320


@dataclass(frozen=True, eq=False)
class Picture:
    """One image of a question.

    Attributes:
        path: Its file; None when `data` holds it.
        data: Encoded bytes, in any format that Pillow reads.
        name: For messages.
    """

    path: Path | None = None
    data: bytes = b""
    name: str = ""

    @cached_property
    def digest(self) -> str:
        """Tells apart what is shown: the bytes, or size and name of a file (which is not read for this)."""
        if self.path is None:
            return hashlib.sha256(self.data).hexdigest()[:16]
        size = self.path.stat().st_size if self.path.is_file() else 0
        return f"{self.path.name}:{size}"

    def read(self) -> ImagePart:
        """The image as a model takes it: JPEG and PNG as they are, everything else as PNG.

        Raises:
            EvaluationError: Not there, not an image, or too large.
        """
        where = self.name or str(self.path or "image")
        try:
            data = self.data if self.path is None else _bounded(self.path)
        except OSError as error:
            raise EvaluationError(f"{where}: cannot be read: {error}") from error
        return encoded(data, where)


def encoded(data: bytes, where: str) -> ImagePart:
    """Check an image by its header and give it as JPEG or PNG.

    Raises:
        EvaluationError: Not an image, or too large.
    """
    from PIL import Image, UnidentifiedImageError

    if len(data) > MAX_BYTES:
        raise EvaluationError(f"{where}: {len(data) / 2**20:.0f} MB; images may have {MAX_BYTES / 2**20:.0f} MB")
    try:
        # Opening reads the header only.
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise EvaluationError(f"{where}: {width} x {height} pixels; at most {MAX_PIXELS / 1e6:.0f} million")
            if image.format in ("JPEG", "PNG"):
                return ImagePart(data, f"image/{image.format.lower()}")
            out = io.BytesIO()
            image.convert("RGB").save(out, "PNG")
            return ImagePart(out.getvalue(), "image/png")
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise EvaluationError(f"{where}: not an image that can be shown ({error})") from error


def blank_like(part: ImagePart) -> ImagePart:
    """A grey picture in place of a real one: what is answered right with it was not seen."""
    from PIL import Image

    width, height = part.size_px
    size = (width, height) if width and height else (_BLANK_PX, _BLANK_PX)
    out = io.BytesIO()
    Image.new("RGB", size, (128, 128, 128)).save(out, "PNG")
    return ImagePart(out.getvalue(), "image/png")


def _bounded(path: Path) -> bytes:
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise OSError(f"{size / 2**20:.0f} MB; images may have {MAX_BYTES / 2**20:.0f} MB")
    return path.read_bytes()

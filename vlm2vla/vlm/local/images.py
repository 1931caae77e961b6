"""Encoded images of a prompt as pictures, with nothing believed about bytes that came from outside."""

import hashlib
import io
import warnings

from PIL import Image, ImageOps, UnidentifiedImageError

from vlm2vla.errors import ModelInputError
from vlm2vla.vlm.protocol import ImagePart

MAX_BYTES = 32_000_000
MAX_PIXELS = 50_000_000
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")


def digest(part: ImagePart) -> int:
    """A number that stands for the bytes of an image, above every token id and below 2^63."""
    return int.from_bytes(hashlib.sha256(part.data).digest()[:7], "big") + (1 << 56)


def open_image(part: ImagePart) -> Image.Image:
    """The image as RGB, upright (of an animation its first frame).

    Raises:
        ModelInputError: No image, a broken one, or one that would take too much memory.
    """
    if len(part.data) > MAX_BYTES:
        megabytes = len(part.data) / 1e6
        raise ModelInputError(f"an image file of {megabytes:.0f} MB is too large; at most {MAX_BYTES / 1e6:.0f} MB")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # judged below, more strictly
            image = Image.open(io.BytesIO(part.data), formats=_FORMATS)
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise ModelInputError(
                    f"an image of {width} x {height} pixels is too large; at most {MAX_PIXELS / 1e6:.0f} million pixels"
                )
            return ImageOps.exif_transpose(image).convert("RGB")
    except UnidentifiedImageError as error:
        kinds = ", ".join(_FORMATS)
        raise ModelInputError(f"an attached file of {len(part.data)} bytes is no image ({kinds})") from error
    except Image.DecompressionBombError as error:
        raise ModelInputError(f"an image is too large: {error}") from error
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise ModelInputError(f"an image is broken: {error}") from error

"""Images that people bring: checked before anything else touches them, and kept as what they show, nothing more."""

import hashlib
import io
import warnings

from vlm2vla.errors import ConfigError

MAX_BYTES = 20_000_000
MAX_PIXELS = 40_000_000
KEPT_PX = 1536
"""Longest side of a kept image; models look at far fewer pixels."""
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")


def checked_image(data: bytes) -> bytes:
    """JPEG bytes of an image that somebody gave: upright, RGB, at most KEPT_PX on its longer side, no metadata.

    Raises:
        ConfigError: Not an image, or one that is too large to be meant (decompression bombs included).
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    if not data:
        raise ConfigError("the file is empty; choose an image (JPEG, PNG, WebP)")
    if len(data) > MAX_BYTES:
        raise ConfigError(f"the file has {len(data) / 1e6:.0f} MB; an image may have {MAX_BYTES / 1e6:.0f} MB")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=_FORMATS)
        if image.width * image.height > MAX_PIXELS:
            raise ConfigError(f"the image has {image.width} x {image.height} pixels; make it smaller than 40 million")
        image.draft("RGB", (KEPT_PX, KEPT_PX))
        image = ImageOps.exif_transpose(image).convert("RGB")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ConfigError("the image unpacks to far more pixels than it could show; it was not opened") from error
    except UnidentifiedImageError as error:
        raise ConfigError("this file is no image that can be read; choose a JPEG, PNG or WebP") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ConfigError(f"the image is damaged: {error}; choose another one") from error
    image.thumbnail((KEPT_PX, KEPT_PX), Image.Resampling.LANCZOS)
    kept = io.BytesIO()
    image.save(kept, "JPEG", quality=92)
    return kept.getvalue()


def image_id(data: bytes) -> str:
    """Name of a kept image: the same picture, the same name."""
    return hashlib.sha256(data).hexdigest()[:20]

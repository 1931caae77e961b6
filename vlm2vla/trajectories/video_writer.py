"""H.264 in MP4, several episodes after each other in one file until it is full. Knows no data set layout."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vlm2vla.errors import ExportError

if TYPE_CHECKING:
    from PIL import Image

# A key frame every second frame keeps random reads cheap, which training does all the time.
_OPTIONS = {"g": "2", "bf": "0", "crf": "20", "preset": "veryfast"}
# For data sets that travel: a fifth of the size, and slower to read out of order.
_COMPACT = {"g": "15", "bf": "0", "crf": "29", "preset": "slow"}
_STATS_FRAMES = 8


@dataclass(frozen=True)
class Clip:
    """Where an episode's frames were written, and some of them for statistics.

    Attributes:
        file: Number of the file, from 0.
        start_s: Time of the first frame in it.
        end_s: Time after the last one.
        samples: A few frames, [h, w, 3] uint8.
        resized: Whether frames had another size than the camera's first one.
    """

    file: int
    start_s: float
    end_s: float
    samples: list[np.ndarray]
    resized: bool


class CameraWriter:
    """Writes the frames of one camera."""

    def __init__(
        self,
        place: Callable[[int], Path],
        size: tuple[int, int],
        rate_hz: float,
        max_bytes: int,
        *,
        compact: bool = False,
    ):
        """Prepare; the first file is opened with the first episode.

        Args:
            place: Number of the file -> its path.
            size: (width, height) of the frames; odd sizes lose a row or column, for H.264 needs even ones.
            rate_hz: Frames per second.
            max_bytes: A file that is larger is full, and the next episode starts another.
            compact: Small files rather than quick random reads.
        """
        self._options = _COMPACT if compact else _OPTIONS
        self.size = size[0] - size[0] % 2, size[1] - size[1] % 2
        self._place, self._rate, self._max_bytes = place, Fraction(rate_hz).limit_denominator(1001), max_bytes
        self._file, self._frames = -1, 0
        self._container = None

    def add(self, read: Callable[[int], bytes] | None, steps: int) -> Clip:
        """Encode one episode; without `read` the frames are black.

        Raises:
            ExportError: A frame is no picture, or the file cannot be written.
            CorruptRecordError: A frame cannot be read.
        """
        from PIL import Image, UnidentifiedImageError

        if self._container is None or self._place(self._file).stat().st_size > self._max_bytes:
            self._next_file()
        start, resized = self._frames, False
        wanted = set(np.linspace(0, steps - 1, min(_STATS_FRAMES, steps)).astype(int).tolist())
        samples = []
        black = Image.new("RGB", self.size)
        for step in range(steps):
            try:
                image = Image.open(io.BytesIO(read(step))).convert("RGB") if read else black
            except (UnidentifiedImageError, OSError) as error:
                raise ExportError(f"frame {step} is not a picture: {error}") from error
            image, changed = self._fit(image)
            resized = resized or changed
            self._encode(image)
            if step in wanted:
                samples.append(np.asarray(image))
        rate = float(self._rate)
        return Clip(self._file, start / rate, self._frames / rate, samples, resized)

    def close(self) -> None:
        """Finish the last file."""
        if self._container is not None:
            for packet in self._stream.encode():
                self._container.mux(packet)
            self._container.close()
            self._container = None

    def _next_file(self) -> None:
        import av

        self.close()
        self._file, self._frames = self._file + 1, 0
        path = self._place(self._file)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._container = av.open(str(path), "w")
            self._stream = self._container.add_stream("libx264", rate=self._rate, options=dict(self._options))
        except (OSError, ValueError) as error:
            raise ExportError(f"cannot write video {path}: {error}") from error
        self._stream.width, self._stream.height = self.size
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = 1 / self._rate

    def _fit(self, image: "Image.Image") -> tuple["Image.Image", bool]:
        """The image in the camera's size; cutting an odd edge is not called resizing."""
        if image.size == self.size:
            return image, False
        if (image.width - image.width % 2, image.height - image.height % 2) == self.size:
            return image.crop((0, 0, *self.size)), False
        return image.resize(self.size), True

    def _encode(self, image: "Image.Image") -> None:
        import av

        frame = av.VideoFrame.from_image(image)
        frame.pts, frame.time_base = self._frames, 1 / self._rate
        self._frames += 1
        try:
            for packet in self._stream.encode(frame):
                self._container.mux(packet)
        except (OSError, ValueError) as error:
            raise ExportError(f"cannot write video {self._place(self._file)}: {error}") from error

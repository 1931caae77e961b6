"""Frames of a video file as JPEG, by step, decoded forward where possible.

A few open decoders are shared by the process: playing an episode decodes each frame once, jumping seeks to the key
frame before. Knows containers and codecs (anything PyAV decodes, AV1 included); knows no data set layout.
"""

import io
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vlm2vla.errors import CorruptRecordError

if TYPE_CHECKING:
    from av import VideoFrame

_OPEN_PLAYERS = 4
_CACHED_FRAMES = 96
_JPEG_QUALITY = 92
# Ahead by no more than this, decoding on is cheaper than seeking.
_FORWARD_S = 2.0
# A picture of one colour: placeholders of missing cameras are black.
_UNIFORM_STD = 2.0


@dataclass(frozen=True)
class VideoFrames:
    """Frames of one episode inside a video file.

    Attributes:
        path: The file.
        start_s: Time of step 0 in the file, at the data set's rate.
        fps: The data set's frames per second; the container's own may be wrong and is then not believed.
        steps: Number of steps.
        times: Time of each step after `start_s` where they are not regular, else empty.
    """

    path: str
    start_s: float
    fps: float
    steps: int
    times: tuple[float, ...] = ()

    def __len__(self) -> int:
        return self.steps

    def read(self, step: int) -> bytes:
        """JPEG of `step`; see `vlm2vla.types.FrameSource`."""
        return _player(self.path, self.fps, self.start_s).jpeg(self._time(step))

    def pixels(self, step: int) -> np.ndarray:
        """[h, w, 3] uint8 of `step`, RGB.

        Raises:
            CorruptRecordError: The file is missing or does not decode.
        """
        return _player(self.path, self.fps, self.start_s).pixels(self._time(step))

    def is_placeholder(self) -> bool:
        """Whether first and last frame are of one colour.

        Raises:
            CorruptRecordError: The first frame does not decode.
        """
        return all(float(self.pixels(step).std()) < _UNIFORM_STD for step in (0, self.steps - 1))

    def check_length(self) -> None:
        """Compare the number of frames in the container with what the episode needs.

        Raises:
            CorruptRecordError: The file is missing, not a video, or too short.
        """
        player = _player(self.path, self.fps, self.start_s)
        needed = round((self.start_s + self._time_offset(self.steps - 1)) * self.fps) + 1
        if 0 < player.frames < needed:
            raise CorruptRecordError(
                f"the video has {player.frames} frames where at least {needed} are needed", path=self.path
            )

    def _time(self, step: int) -> float:
        return self.start_s + self._time_offset(step)

    def _time_offset(self, step: int) -> float:
        return self.times[step] if self.times else step / self.fps


class _Player:
    """One open file with the position of its decoder and the last frames as JPEG."""

    def __init__(self, path: str, fps: float):
        import av

        self._path, self._lock = path, threading.Lock()
        try:
            self._container = av.open(path)
            self._stream = self._container.streams.video[0]
        except (av.FFmpegError, OSError, ValueError, IndexError) as error:
            raise CorruptRecordError(f"not a readable video: {error}", path=path) from error
        self._stream.thread_type = "AUTO"
        self.frames = self._stream.frames
        rate = float(self._stream.average_rate or fps)
        # Containers written at another rate than the data were recorded at: count frames instead of seconds.
        self._scale = fps / rate if abs(rate / fps - 1) > 0.01 else 1.0
        self._half_frame = 0.5 / rate
        self._first = float((self._stream.start_time or 0) * self._stream.time_base)
        self._decoded: Iterator[Any] | None = None
        self._shown: tuple[float, VideoFrame] | None = None
        self._jpegs: OrderedDict[float, bytes] = OrderedDict()

    def jpeg(self, time_s: float) -> bytes:
        with self._lock:
            if time_s in self._jpegs:
                self._jpegs.move_to_end(time_s)
                return self._jpegs[time_s]
            out = io.BytesIO()
            self._frame(time_s).to_image().save(out, "JPEG", quality=_JPEG_QUALITY)
            self._jpegs[time_s] = out.getvalue()
            if len(self._jpegs) > _CACHED_FRAMES:
                self._jpegs.popitem(last=False)
            return self._jpegs[time_s]

    def pixels(self, time_s: float) -> np.ndarray:
        with self._lock:
            return self._frame(time_s).to_ndarray(format="rgb24")

    def _frame(self, time_s: float) -> "VideoFrame":
        """The frame shown at `time_s` of the data set's clock."""
        import av

        target = time_s * self._scale
        try:
            shown = self._shown
            if shown is None or not shown[0] - self._half_frame <= target <= shown[0] + _FORWARD_S:
                self._seek(target)
            elif target <= shown[0] + self._half_frame:
                return shown[1]
            for frame in self._decoded:
                at = float(frame.pts * self._stream.time_base) - self._first if frame.pts is not None else 0.0
                self._shown = (at, frame)
                if at >= target - self._half_frame:
                    break
            else:
                self._decoded = self._shown = None
                raise CorruptRecordError(f"the video ends before {time_s:.3f} s", path=self._path)
        except (av.FFmpegError, OSError, ValueError) as error:
            self._decoded = self._shown = None
            raise CorruptRecordError(f"no frame decodes at {time_s:.3f} s: {error}", path=self._path) from error
        if self._shown[0] > target + 3 * self._half_frame:
            self._decoded = self._shown = None
            raise CorruptRecordError(f"the video has no frame at {time_s:.3f} s", path=self._path)
        return self._shown[1]

    def _seek(self, target: float) -> None:
        offset = int((max(target, 0.0) + self._first) / self._stream.time_base)
        self._container.seek(offset, stream=self._stream, backward=True)
        self._decoded = self._container.decode(self._stream)


_players: OrderedDict[tuple[Any, ...], _Player] = OrderedDict()
_players_lock = threading.Lock()


def _player(path: str, fps: float, start_s: float) -> _Player:
    """The open decoder of a file for one episode; opened again when the file has changed."""
    try:
        status = Path(path).stat()
    except OSError as error:
        raise CorruptRecordError(
            "the video is gone since it was imported; put it back, or import the data set from its new place", path=path
        ) from error
    key = (path, status.st_mtime_ns, status.st_size, fps, start_s)
    with _players_lock:
        if key in _players:
            _players.move_to_end(key)
            return _players[key]
    player = _Player(path, fps)
    with _players_lock:
        _players[key] = player
        while len(_players) > _OPEN_PLAYERS:
            _players.popitem(last=False)
    return player

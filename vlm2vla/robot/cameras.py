"""Cameras of a real robot: newest JPEG on demand, or a clear error. RealSense D435i and any UVC camera.

pyrealsense2 and cv2 are loaded when a camera is opened. Each camera is read by a thread of its own, so that looking
never waits for a driver; a picture older than `STALE_S` counts as lost. A picture counts as taken when the wait for it
began: it shows nothing from before that, where the device hands out frames as they come.
"""

import logging
import math
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from vlm2vla.errors import RobotError

log = logging.getLogger(__name__)

STALE_S = 1.0
FIRST_FRAME_S = 5.0
JPEG_QUALITY = 85


@dataclass(frozen=True)
class Frame:
    """One picture and when it was taken, on `time.monotonic`."""

    jpeg: bytes
    time_s: float


class Camera(Protocol):
    """Something that shows pictures; `name` is the key in an observation ("external", "head")."""

    name: str

    def read(self, since_s: float = -math.inf) -> Frame:
        """The newest picture; waits a little for one that was taken after `since_s`.

        Raises:
            RobotError: There is none, or it is too old.
        """
        ...

    def close(self) -> None:
        """Let go of the device; safe to call twice."""
        ...


class PictureCamera:
    """A camera whose pictures come from a function: for tests, and for frames that arrive some other way."""

    def __init__(self, name: str, take: Callable[[], bytes]):
        self.name = name
        self._take = take

    def read(self, since_s: float = -math.inf) -> Frame:
        """What the function returns now."""
        began = time.monotonic()
        return Frame(self._take(), began)

    def close(self) -> None:
        """Nothing to let go of."""


class ThreadedCamera(ABC):
    """Reads frames on a thread; a subclass opens, grabs and releases the device."""

    def __init__(self, name: str):
        self.name = name
        self._frame: Frame | None = None
        self._error = ""
        self._news = threading.Condition()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"camera {name}", daemon=True)
        self._thread.start()

    @abstractmethod
    def grab(self) -> bytes:
        """Wait for the next frame and return it as JPEG; raise when the device is gone."""

    @abstractmethod
    def release(self) -> None:
        """Give the device back."""

    def _run(self) -> None:
        while not self._closing.is_set():
            began = time.monotonic()
            try:
                self._tell(Frame(self.grab(), began), "")
            except Exception as error:  # drivers raise anything; the camera is lost until a frame comes again
                self._tell(self._frame, str(error) or type(error).__name__)
                self._closing.wait(0.5)
        self.release()

    def _tell(self, frame: Frame | None, error: str) -> None:
        with self._news:
            self._frame, self._error = frame, error
            self._news.notify_all()

    def read(self, since_s: float = -math.inf) -> Frame:
        """The newest picture, not older than `STALE_S`; waits as long for one that was taken after `since_s`."""

        def come() -> bool:
            return bool(self._error) if self._frame is None else self._frame.time_s > since_s

        with self._news:
            in_time = self._news.wait_for(come, FIRST_FRAME_S if self._frame is None else STALE_S)
            frame = self._frame
        if not in_time or frame is None or time.monotonic() - frame.time_s > STALE_S:
            why = self._error or "no picture comes"
            raise RobotError(f"camera {self.name} is lost ({why}); check its cable, then start the robot server again")
        return frame

    def close(self) -> None:
        """Stop the thread and release the device."""
        self._closing.set()
        self._thread.join(2.0)


class RealSenseCamera(ThreadedCamera):
    """Colour stream of a D435i; on a Stretch's head it is mounted sideways, so the picture is turned upright."""

    def __init__(self, name: str = "head", *, sideways: bool = True, width: int = 640, height: int = 480):
        self._cv2, self._rs = _opencv(), _realsense()
        self._sideways = sideways
        self._pipeline = self._rs.pipeline()
        settings = self._rs.config()
        settings.enable_stream(self._rs.stream.color, width, height, self._rs.format.bgr8, 15)
        try:
            self._pipeline.start(settings)
        except RuntimeError as error:
            raise RobotError(f"the RealSense camera does not start: {error}") from error
        super().__init__(name)

    @staticmethod
    def present() -> bool:
        """Whether a RealSense camera is plugged in (and its package installed)."""
        try:
            return len(_realsense().context().query_devices()) > 0
        except RobotError:
            return False

    def grab(self) -> bytes:
        """Next colour frame."""
        import numpy as np

        image = np.asanyarray(self._pipeline.wait_for_frames(1000).get_color_frame().get_data())
        if self._sideways:
            image = self._cv2.rotate(image, self._cv2.ROTATE_90_CLOCKWISE)
        return _jpeg(self._cv2, image)

    def release(self) -> None:
        """Stop the stream."""
        self._pipeline.stop()


class UvcCamera(ThreadedCamera):
    """Any camera that the system shows as a video device."""

    def __init__(self, name: str, device: str | int):
        self._cv2 = _opencv()
        self._capture = self._cv2.VideoCapture(device)
        if not self._capture.isOpened() or not self._capture.read()[0]:
            self._capture.release()
            raise RobotError(f"no picture from video device {device}; try another one (v4l2-ctl --list-devices)")
        super().__init__(name)

    def grab(self) -> bytes:
        """Next frame."""
        ok, image = self._capture.read()
        if not ok:
            raise RobotError("the device gives no frame")
        return _jpeg(self._cv2, image)

    def release(self) -> None:
        """Close the device."""
        self._capture.release()


def open_cameras(wanted: Sequence[str] = ()) -> tuple[Camera, ...]:
    """The cameras of a robot, the policy's default view first.

    Args:
        wanted: `name=device` each, device "d435i" or a video device (`/dev/video4`, `4`); for example
            `external=/dev/video4 head=d435i`. Empty: a D435i as "head" where one is plugged in, else the first video
            device that gives a picture as "external".

    Raises:
        RobotError: A camera that was asked for, or any at all, cannot be opened; cameras opened so far are closed.
    """
    if not wanted:
        return (_any_camera(),)
    opened: list[Camera] = []
    try:
        for entry in wanted:
            name, _, device = entry.partition("=")
            if not name or not device:
                raise RobotError(f"camera {entry!r} is not name=device, such as external=/dev/video4 or head=d435i")
            if device == "d435i":
                opened.append(RealSenseCamera(name, sideways=name == "head"))
            else:
                opened.append(UvcCamera(name, int(device) if device.isdigit() else device))
    except RobotError:
        for camera in opened:
            camera.close()
        raise
    return tuple(opened)


def _any_camera() -> Camera:
    if RealSenseCamera.present():
        return RealSenseCamera()
    for device in sorted(Path("/dev").glob("video*")):
        try:
            return UvcCamera("external", str(device))
        except RobotError as error:
            log.info("%s", error)
    raise RobotError(
        "no camera found: plug in a RealSense D435i or a USB camera, or name one, such as external=/dev/video4"
    )


def _jpeg(cv2: Any, image: Any) -> bytes:
    ok, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not ok:
        raise RobotError("a frame cannot be encoded as JPEG")
    return data.tobytes()


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise RobotError("cameras need OpenCV: pip install -r requirements-robot.txt") from error
    return cv2


def _realsense() -> Any:
    try:
        import pyrealsense2
    except ImportError as error:
        raise RobotError("a RealSense camera needs pyrealsense2: pip install -r requirements-robot.txt") from error
    return pyrealsense2

"""Live pictures for people: drawn only while somebody looks. When a camera is lost the last one stays, with its age.

One thread makes pictures for all who look. Knows how to get a picture, not who drives; a policy's own observations do
not pass here.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from vlm2vla.errors import RobotError, VLM2VLAError

log = logging.getLogger(__name__)

RATE_HZ = 15.0
# A picture that nobody asked for in this long is not made any more.
LOOKING_S = 2.0
SMALLEST_PX, LARGEST_PX = 64, 960


@dataclass(frozen=True)
class Frame:
    """One picture.

    Attributes:
        jpeg: Its bytes.
        number: Counts up with every new picture of this view.
        at: When the robot was last seen to look like this, `time.monotonic`.
        lost: Why there is nothing newer, in words; "" while there is.
    """

    jpeg: bytes
    number: int
    at: float
    lost: str = ""

    @property
    def age_s(self) -> float:
        """Seconds since the robot was seen to look like this."""
        return time.monotonic() - self.at


View = tuple[str, int]


class Eyes:
    """Live pictures of one robot.

    Args:
        look: (camera, longer side in pixels) -> JPEG; raises RobotError when the camera is lost.
        moment: Changes whenever a picture could look different; None when that is not known. Saves drawing the same
            picture again.
        cameras: Names.
    """

    def __init__(
        self, look: Callable[[str, int], bytes], moment: Callable[[], object] | None, cameras: tuple[str, ...]
    ):
        self._look, self._moment, self.cameras = look, moment, cameras
        self._frames: dict[View, Frame] = {}
        self._shown: dict[View, object] = {}
        self._wanted: dict[View, float] = {}
        self._lost: dict[str, str] = dict.fromkeys(cameras, "")
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def latest(self, camera: str, px: int) -> Frame | None:
        """The newest picture, at once; None before there is one. Asking keeps the view alive.

        Raises:
            RobotError: No such camera.
        """
        view = self._checked(camera, px)
        self._want(view)
        frame = self._frames.get(view)
        return frame or self._other(camera)

    def wait(self, camera: str, px: int, timeout_s: float = 3.0) -> Frame:
        """The newest picture; waits for the first one.

        Raises:
            RobotError: No such camera, or no picture in time.
        """
        view = self._checked(camera, px)
        self._want(view)
        with self._changed:
            self._changed.wait_for(lambda: view in self._frames or self._lost[camera] or self._closed, timeout_s)
            frame = self._frames.get(view) or self._other(camera)
        if frame is None:
            raise RobotError(self._lost[camera] or f"no picture from {camera} in {timeout_s:g} s")
        return frame

    def state(self) -> dict[str, dict[str, object]]:
        """Per camera the age of what is shown and why there is nothing newer."""
        ages = {}
        for name in self.cameras:
            frame = self._other(name)
            ages[name] = {"age_s": round(frame.age_s, 2) if frame else None, "lost": self._lost[name]}
        return ages

    def refresh(self) -> None:
        """What is seen has changed without the moment telling: draw anew."""
        self._shown.clear()

    def close(self) -> None:
        """Make no more pictures; the last ones stay."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _other(self, camera: str) -> Frame | None:
        """The newest picture of that camera in any size."""
        frames = [frame for (name, _), frame in list(self._frames.items()) if name == camera]
        return max(frames, key=lambda frame: frame.at, default=None)

    def _checked(self, camera: str, px: int) -> View:
        if camera not in self.cameras:
            raise RobotError(f"no camera {camera!r}; there is {', '.join(self.cameras) or 'none'}")
        return camera, int(min(max(px, SMALLEST_PX), LARGEST_PX))

    def _want(self, view: View) -> None:
        fresh = view not in self._wanted
        self._wanted[view] = time.monotonic()
        if fresh or self._thread is None:
            with self._changed:
                if self._thread is None and not self._closed:
                    self._thread = threading.Thread(target=self._run, name="live pictures", daemon=True)
                    self._thread.start()
                self._changed.notify_all()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._closed:
            now = time.monotonic()
            views = [view for view, at in list(self._wanted.items()) if now - at < LOOKING_S]
            for view in [view for view in list(self._wanted) if view not in views]:
                self._wanted.pop(view, None)
            if not views:
                with self._changed:
                    self._changed.wait_for(lambda: self._wanted or self._closed, 1.0)
                due = time.monotonic()
                continue
            for view in views:
                self._draw(view)
            due = max(due + 1 / RATE_HZ, time.monotonic())
            with self._changed:
                self._changed.wait_for(lambda: self._closed, max(0.0, due - time.monotonic()))

    def _draw(self, view: View) -> None:
        camera, px = view
        moment = self._moment() if self._moment else None
        before = self._frames.get(view)
        if before and moment is not None and self._shown.get(view) == moment and not self._lost[camera]:
            self._frames[view] = Frame(before.jpeg, before.number, time.monotonic())
            return
        try:
            jpeg, lost = self._look(camera, px), ""
        except VLM2VLAError as error:
            jpeg, lost = b"", str(error)
        except Exception as error:
            log.exception("picture of %s", camera)
            jpeg, lost = b"", f"the camera {camera} broke: {type(error).__name__}"
        with self._changed:
            self._lost[camera] = lost
            if jpeg:
                self._shown[view] = moment
                self._frames[view] = Frame(jpeg, before.number + 1 if before else 1, time.monotonic())
            elif before:
                self._frames[view] = Frame(before.jpeg, before.number, before.at, lost)
            self._changed.notify_all()

import threading
import time

import pytest

from vlm2vla.errors import RobotError
from vlm2vla.robot import cameras
from vlm2vla.robot.cameras import PictureCamera, ThreadedCamera, open_cameras


class ScriptedCamera(ThreadedCamera):
    """Gives pictures until it is unplugged."""

    def __init__(self):
        self.unplugged = threading.Event()
        self.released = threading.Event()
        super().__init__("external")

    def grab(self):
        self._closing.wait(0.01)
        if self.unplugged.is_set():
            raise OSError("no such device")
        return b"jpeg"

    def release(self):
        self.released.set()


def error_of(camera, *since):
    try:
        camera.read(*since)
    except RobotError as error:
        return str(error)
    return ""


def wait_until(check, tries=200):
    for _ in range(tries):
        if found := check():
            return found
        threading.Event().wait(0.02)
    return check()


def test_a_camera_gives_its_newest_picture_with_the_time_it_was_taken():
    camera = ScriptedCamera()
    first = camera.read()
    assert first.jpeg == b"jpeg"
    assert wait_until(lambda: camera.read().time_s > first.time_s)
    camera.close()
    assert camera.released.is_set()


def test_a_lost_camera_says_so_instead_of_showing_an_old_picture(monkeypatch):
    monkeypatch.setattr(cameras, "STALE_S", 1.0)
    camera = ScriptedCamera()
    camera.read()
    camera.unplugged.set()
    assert wait_until(lambda: error_of(camera)) == (
        "camera external is lost (no such device); check its cable, then start the robot server again"
    )
    camera.unplugged.clear()  # plugged in again
    assert wait_until(lambda: not error_of(camera))
    assert camera.read().jpeg == b"jpeg"
    camera.close()


def test_a_picture_from_before_a_moment_is_not_taken_for_one_after_it(monkeypatch):
    monkeypatch.setattr(cameras, "STALE_S", 1.0)
    camera = ScriptedCamera()
    for _ in range(5):
        now = time.monotonic()
        assert camera.read(now).time_s > now
    camera.unplugged.set()
    assert wait_until(lambda: camera._error)
    assert "is lost (no such device)" in error_of(camera, time.monotonic())
    camera.close()


def test_a_picture_is_as_old_as_the_wait_for_it():
    def slowly():
        time.sleep(0.05)
        return b"now"

    frame = PictureCamera("head", slowly).read()
    assert (frame.jpeg, time.monotonic() - frame.time_s >= 0.05) == (b"now", True)


@pytest.mark.parametrize("wanted", ["external", "=d435i", "head="])
def test_a_camera_is_named_with_its_device(wanted):
    with pytest.raises(RobotError, match="is not name=device"):
        open_cameras([wanted])


def test_no_camera_at_all_is_an_error_that_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(cameras.RealSenseCamera, "present", staticmethod(lambda: False))
    monkeypatch.setattr(cameras, "Path", lambda _: tmp_path)
    with pytest.raises(RobotError, match="no camera found"):
        open_cameras()


def test_cameras_opened_before_one_that_fails_are_closed(monkeypatch):
    opened = ScriptedCamera()
    monkeypatch.setattr(cameras, "UvcCamera", lambda name, device: opened)
    with pytest.raises(RobotError):
        open_cameras(["external=/dev/video4", "nonsense"])
    assert opened.released.is_set()

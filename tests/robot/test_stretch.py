import importlib.util
import logging
import signal
import threading
import time

import numpy as np
import pytest

from vlm2vla.errors import RobotError
from vlm2vla.robot.cameras import Frame
from vlm2vla.robot.stretch import StretchRobot, connect_stretch
from vlm2vla.robot.stretch_motion import Joints, StretchConfig


def test_connecting_off_the_main_thread_is_refused_before_anything_is_touched():
    errors = []

    def connect():
        try:
            connect_stretch()
        except RobotError as error:
            errors.append(str(error))

    thread = threading.Thread(target=connect)
    thread.start()
    thread.join()
    assert "main thread" in errors[0]


@pytest.mark.skipif(importlib.util.find_spec("stretch_body") is not None, reason="stretch_body is installed here")
def test_without_stretch_body_the_error_says_what_to_install_and_the_process_is_as_before():
    before = signal.getsignal(signal.SIGTERM), threading.excepthook, list(logging.getLogger().handlers)
    with pytest.raises(RobotError, match=r"requirements-robot\.txt"):
        connect_stretch()
    assert before == (signal.getsignal(signal.SIGTERM), threading.excepthook, list(logging.getLogger().handlers))


class Still:
    """What `StretchRobot` needs of a driver whose robot stands still, with the run-stop pressed."""

    config, broken = StretchConfig(), ""

    def __getattr__(self, name):
        said = {"stale": {}, "runstop": True, "homed": True, "alerts": [], "still_s": 1.0, "volts": 12.0}
        return lambda *_: said[name]

    def joints(self):
        return Joints(lift=0.6, arm=0.2, base=0.0, wrist_yaw=0.0, gripper=1.0)


class Behind:
    """A camera whose newest picture is some time old, unless a later one is waited for."""

    def __init__(self, name, age_s):
        self.name, self.age_s, self.asked = name, age_s, []

    def read(self, since_s):
        self.asked.append(since_s)
        return Frame(b"a picture", max(time.monotonic() - self.age_s, since_s))


def test_a_look_is_as_old_as_its_oldest_picture_and_none_is_from_before_the_end_of_a_motion():
    head, external = Behind("head", 0.4), Behind("external", 0.1)
    robot = StretchRobot(Still(), [head, external])
    seen = robot.observe()
    assert list(seen.images) == ["head", "external"]
    assert robot.status().time_s - seen.time_s == pytest.approx(0.4, abs=0.1)
    before = time.monotonic()
    assert robot.act(np.zeros(7)).outcome == "runstop"
    after = robot.observe()
    assert head.asked[-1] == external.asked[-1] >= before
    assert after.time_s >= before

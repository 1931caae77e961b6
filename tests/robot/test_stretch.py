import importlib.util
import logging
import signal
import threading

import pytest

from vlm2vla.errors import RobotError
from vlm2vla.robot.stretch import connect_stretch


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

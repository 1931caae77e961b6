import sys
import threading
import time

import pytest

from vlm2vla.errors import RobotError
from vlm2vla.robot.bounded import bounded


def test_a_call_that_returns_gives_its_value():
    assert bounded("a sum", 1.0, lambda: 2 + 2) == 4


def test_a_call_that_hangs_is_given_up_in_time():
    begin = time.monotonic()
    with pytest.raises(RobotError, match="the push did not return within 0.1 s"):
        bounded("the push", 0.1, threading.Event().wait)
    assert time.monotonic() - begin < 1.0


def test_a_call_that_would_end_the_process_does_not():
    with pytest.raises(RobotError, match="the push failed with SystemExit: 1"):
        bounded("the push", 1.0, lambda: sys.exit(1))


def test_the_cause_of_an_error_is_kept():
    with pytest.raises(RobotError, match="IndexError: array index out of range") as error:
        bounded("the push", 1.0, lambda: (_ for _ in ()).throw(IndexError("array index out of range")))
    assert isinstance(error.value.__cause__, IndexError)

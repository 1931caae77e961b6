"""The process that drives in these tests: a `StretchRobot` on its main thread, told what to do by lines of JSON.

usage: python -m tests.robot_hardware.drive FOLDER [settings of StretchConfig as JSON]

The boards live in the process of the tests, so this one can be killed like any other.
"""

import contextlib
import json
import logging
import os
import signal
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from vlm2vla.errors import RobotError
from vlm2vla.robot.cameras import PictureCamera
from vlm2vla.robot.stretch import StretchRobot, connect_stretch
from vlm2vla.robot.stretch_motion import StretchConfig


def act(robot: StretchRobot, row: list[float], timeout_s: float = 10.0) -> dict:
    result = robot.act(np.array(row, dtype=float), timeout_s=timeout_s)
    return {**asdict(result), "measured": result.measured.tolist()}


def turn(robot: StretchRobot, angle: float) -> dict:
    result = robot.turn_base(angle)
    return {"outcome": result.outcome, "message": result.message}


def observe(robot: StretchRobot) -> dict:
    seen = robot.observe()
    images = {name: jpeg.decode() for name, jpeg in seen.images.items()}
    return {"ee": seen.ee.tolist(), "joints": dict(seen.joints), "images": images, "status": asdict(seen.status)}


def stop(robot: StretchRobot) -> dict:
    begin = time.monotonic()
    return {"still": robot.stop(), "seconds": time.monotonic() - begin}


def press_runstop(robot: StretchRobot) -> dict:
    begin = time.monotonic()
    return {"confirmed": robot.press_runstop(), "seconds": time.monotonic() - begin}


def body(robot: StretchRobot, path: str) -> object:
    """A value inside stretch_body, such as "lift.motor.gains.enable_guarded_mode"."""
    value = robot._driver.robot
    for name in path.split("."):
        value = value[name] if isinstance(value, dict) else getattr(value, name)
    return value() if callable(value) else value


def set_body(robot: StretchRobot, path: str, value: object) -> None:
    owner, _, name = path.rpartition(".")
    setattr(body(robot, owner), name, value)


def limit(robot: StretchRobot, joint: str, low: float | None, high: float | None) -> None:
    owner = getattr(robot._driver.robot, joint)
    owner.set_soft_motion_limit_min(low)
    owner.set_soft_motion_limit_max(high)


def process(robot: StretchRobot) -> dict:
    """What belongs to the process and not to stretch_body."""
    return {
        "signals": [signal.getsignal(number) is before for number, before in SIGNALS.items()],
        "hook": threading.excepthook is threading.__excepthook__,
        "handlers": [type(handler).__name__ for handler in logging.getLogger().handlers],
        "level": logging.getLogger().level,
        "own_logger_disabled": logging.getLogger("vlm2vla.robot.stretch").disabled,
    }


def end_the_process(robot: StretchRobot, joint: str) -> None:
    """Make the next move of a joint do what stretch_body does with a threshold in Newton."""
    owner, own = getattr(robot._driver.robot, joint), getattr(robot._driver.robot, joint).move_to

    def once(*arguments: object, **options: object) -> None:
        owner.move_to = own
        own(0.1, contact_thresh_pos_N=30.0)

    owner.move_to = once


def shift_clock(robot: StretchRobot, seconds: float) -> None:
    """Set the computer's clock, as far as this process is concerned."""
    true = time.time
    time.time = lambda: true() + seconds


SIGNALS = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
CALLS = {
    "process": process,
    "end_the_process": end_the_process,
    "shift_clock": shift_clock,
    "act": act,
    "turn": turn,
    "observe": observe,
    "stop": stop,
    "press_runstop": press_runstop,
    "body": body,
    "set_body": set_body,
    "limit": limit,
    "broken": lambda robot: robot._driver.broken,
    "status": lambda robot: asdict(robot.status()),
    "point_head": lambda robot, pan, tilt: robot.point_head(pan, tilt),
    "begin_episode": lambda robot: robot.begin_episode(),
    "close": lambda robot: robot.close(),
}


def main() -> None:
    rank_below_boards()
    folder = Path(sys.argv[1])
    settings = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    # stretch_body prints; only answers may go where the tests read.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    lock = threading.Lock()

    def answer(**values: object) -> None:
        with lock:
            answers.write(json.dumps(values, default=str) + "\n")

    use_own_lock(folder)
    camera = PictureCamera("external", lambda: b"a picture")
    try:
        robot = connect_stretch(StretchConfig(**settings), [camera])
    except RobotError as error:
        answer(error=str(error))
        os._exit(1)
    answer(ready=True)

    def run(number: int, call: str, arguments: list) -> None:
        try:
            answer(id=number, value=CALLS[call](robot, *arguments))
        except Exception as error:
            answer(id=number, error=f"{type(error).__name__}: {error}")

    for line in sys.stdin:
        request = json.loads(line)
        threading.Thread(target=run, args=(request["id"], request["call"], request["arguments"]), daemon=True).start()
    os._exit(0)


def rank_below_boards() -> None:
    """A driver that computes (it does while it starts) must not keep the boards of the tests waiting."""
    with contextlib.suppress(OSError, AttributeError):
        if os.sched_getscheduler(0) == os.SCHED_RR:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


def use_own_lock(folder: Path) -> None:
    """stretch_body lets one process on a computer drive; an emulated robot has a lock of its own."""
    import stretch_body.hello_utils

    stretch_body.hello_utils.BODY_FILE = str(folder / "lock" / "pid.txt")
    stretch_body.hello_utils.BODY_FILELOCK = str(folder / "lock" / "pid.txt.lock")


if __name__ == "__main__":
    main()

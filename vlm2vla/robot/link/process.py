"""The process beside the robot: starts the driver, serves it, and leaves in order. Runs on Python 3.10."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable

from vlm2vla.robot.link.body import RobotSetup
from vlm2vla.robot.link.config import RobotServerConfig
from vlm2vla.robot.link.keys import read_allowed, read_pair
from vlm2vla.robot.link.server import RobotServer

logger = logging.getLogger(__name__)

_EXIT_S = 3.0


def serve(
    config: RobotServerConfig,
    make_robot: Callable[[], RobotSetup],
    *,
    on_ready: Callable[[RobotServer], None] | None = None,
) -> None:
    """Make the robot on this thread (the main one) and serve it until SIGTERM or SIGINT.

    A driver that does not let go within three seconds of the signal is run-stopped and the process ended.

    Args:
        config: Where to listen, and for whom.
        make_robot: Starts the driver; called once, after keys and allow-list were found to be in order.
        on_ready: Called when it listens.

    Raises:
        ConfigError: Keys or allow-list are missing or wrong.
        RobotError: The robot does not start, or the address is taken.
    """
    read_pair(config.key)
    read_allowed(config.allow)
    setup = make_robot()
    try:
        server = RobotServer(config, setup)
    except Exception:
        setup.robot.close()
        raise

    finished = threading.Event()

    def leave() -> None:
        server.close()
        if finished.wait(_EXIT_S):
            return
        logger.critical("the driver does not let go; pressing the run-stop and leaving")
        server.body.press_runstop("the robot server had to leave")
        time.sleep(0.3)
        os._exit(1)

    def on_signal(number: int, frame: object) -> None:
        threading.Thread(target=leave, daemon=True).start()

    # Drivers install handlers of their own when they start; these come after and win.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_signal)
        signal.signal(signal.SIGINT, on_signal)
    if on_ready is not None:
        on_ready(server)
    try:
        server.run()
    finally:
        finished.set()

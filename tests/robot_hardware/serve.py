"""The robot server of these tests: the real stretch_body on emulated boards, served over the link.

usage: python -m tests.robot_hardware.serve FOLDER SECRET_KEY ALLOWED [settings of StretchConfig as JSON]

Writes its two ports as one line of JSON. The boards live in the process of the tests.
"""

import json
import os
import sys
from pathlib import Path

from tests.robot_hardware.drive import rank_below_boards, use_own_lock
from vlm2vla.robot.cameras import PictureCamera
from vlm2vla.robot.link import RobotServer, RobotServerConfig, RobotSetup, serve
from vlm2vla.robot.stretch import connect_stretch
from vlm2vla.robot.stretch_motion import StretchConfig


def main() -> None:
    rank_below_boards()
    folder, key, allow = (Path(argument) for argument in sys.argv[1:4])
    settings = json.loads(sys.argv[4]) if len(sys.argv) > 4 else {}
    # stretch_body prints; only the ports may go where the tests read.
    ports = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    use_own_lock(folder)

    def make_robot() -> RobotSetup:
        robot = connect_stretch(StretchConfig(**settings), [PictureCamera("external", lambda: b"\xff\xd8 a picture")])
        return RobotSetup(robot, robot.press_runstop)

    def on_ready(server: RobotServer) -> None:
        ports.write(json.dumps([server.port, server.heartbeat_port]) + "\n")

    serve(RobotServerConfig(key, allow, port=0, heartbeat_port=0), make_robot, on_ready=on_ready)
    os._exit(0)


if __name__ == "__main__":
    main()

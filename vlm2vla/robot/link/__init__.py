"""A robot on another computer: the server beside it, and the client that is a `Robot` here.

    make_keys(folder, name)          once on each computer; the public halves change sides
    serve(config, make_robot)        beside the robot
    LinkRobot(config)                in the studio

CURVE keys and an allow-list, msgpack with bounds, one controller lease, and a heartbeat whose silence stops the robot.
Nothing here trusts a clock of the other side. All of it runs on Python 3.10: computers in robots are older.
"""

from vlm2vla.robot.link.body import RobotSetup
from vlm2vla.robot.link.client import LinkRobot
from vlm2vla.robot.link.config import RobotLinkConfig, RobotServerConfig
from vlm2vla.robot.link.keys import KeyFiles, make_keys
from vlm2vla.robot.link.process import serve
from vlm2vla.robot.link.server import RobotServer

__all__ = [
    "KeyFiles",
    "LinkRobot",
    "RobotLinkConfig",
    "RobotServer",
    "RobotServerConfig",
    "RobotSetup",
    "make_keys",
    "serve",
]

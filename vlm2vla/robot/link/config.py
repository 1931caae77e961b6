"""Settings of the two ends of a link. Runs on Python 3.10: robot computers are older."""

import math
from dataclasses import dataclass
from pathlib import Path

from vlm2vla.errors import ConfigError

PORT = 5757
_EVERYWHERE = ("", "*", "0.0.0.0", "::")


@dataclass(frozen=True)
class RobotServerConfig:
    """Serve the robot of this computer to studios that hold an allowed key."""

    key: Path
    """Secret key file of this robot (robot-keys makes it)."""
    allow: Path
    """Folder with the public key files of those who may connect."""
    host: str = "127.0.0.1"
    """Address of the network interface to listen on; one interface, never all of them."""
    port: int = PORT
    """Port of actions and views; 0 takes a free one."""
    heartbeat_port: int = PORT + 1
    """Port of the heartbeat; 0 takes a free one."""
    stop_after_s: float = 0.35
    """The driver's heartbeat is lost this long: soft stop. Stopping takes time too; half a second is all there is."""
    runstop_after_s: float = 1.8
    """The driver's heartbeat is lost this long: run-stop (pressed within two seconds)."""
    stop_limit_s: float = 1.0
    """A stop that the robot has not confirmed after this long has failed: run-stop."""
    max_act_s: float = 20.0
    """Longest time that one action may take."""
    max_age_s: float = 0.5
    """An action that does not begin this long after its driver last heard the robot is stale."""
    max_view_bytes: int = 4_000_000
    """Most bytes of the images of one view."""
    table_height_m: float | None = None
    """How high the table in front of the robot is above the floor, metres: the hand does not go below that."""

    def __post_init__(self):
        if self.host in _EVERYWHERE:
            raise ConfigError("host must be the address of one network interface of this computer, not all of them")
        _check_ports(self.port, self.heartbeat_port)
        for name in ("stop_after_s", "runstop_after_s", "stop_limit_s", "max_act_s", "max_age_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and 0 < value <= 120):
                raise ConfigError(f"{name} must be above 0 and at most 120 seconds, not {value}")
        if self.stop_after_s >= self.runstop_after_s:
            raise ConfigError("stop_after_s must be below runstop_after_s: first the soft stop, then the run-stop")
        if not 10_000 <= self.max_view_bytes <= 64_000_000:
            raise ConfigError(f"max_view_bytes must be 10,000 to 64,000,000, not {self.max_view_bytes}")
        if self.table_height_m is not None and not 0 < self.table_height_m <= 2:
            raise ConfigError(f"table_height_m must be above 0 and at most 2 metres, not {self.table_height_m}")


@dataclass(frozen=True)
class RobotLinkConfig:
    """Reach a robot that another computer serves."""

    key: Path
    """Your own secret key file (robot-keys makes it)."""
    server_key: Path
    """Public key file of the robot."""
    host: str = "127.0.0.1"
    """Address of the robot's computer."""
    port: int = PORT
    """Port of actions and views."""
    heartbeat_port: int = PORT + 1
    """Port of the heartbeat."""
    operator: str = ""
    """Your name, shown to others who want to drive; the name of your key file when empty."""
    control: bool = True
    """Ask for control at once; otherwise only watch (anybody may stop)."""
    timeout_s: float = 3.0
    """Give up on an answer after this long."""
    lost_after_s: float = 0.4
    """Without a heartbeat from the robot for this long the link counts as lost."""
    max_view_bytes: int = 4_000_000
    """Most bytes of the images of one view."""

    def __post_init__(self):
        _check_ports(self.port, self.heartbeat_port, free=False)
        for name in ("timeout_s", "lost_after_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and 0 < value <= 120):
                raise ConfigError(f"{name} must be above 0 and at most 120 seconds, not {value}")


def _check_ports(port: int, heartbeat_port: int, *, free: bool = True) -> None:
    for value in (port, heartbeat_port):
        if not (0 if free else 1) <= value <= 65535:
            raise ConfigError(f"no port {value}; ports are {0 if free else 1} to 65535")
    if port == heartbeat_port != 0:
        raise ConfigError(f"the heartbeat needs a port of its own, not {port} as well")

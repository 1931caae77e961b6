"""A studio that dies while it drives a Stretch: real stretch_body, real sockets, processes that are really killed."""

import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from tests.robot_hardware.conftest import CALM, ROOT
from vlm2vla.robot.link import LinkRobot, RobotLinkConfig, make_keys

STUDIO = """
    import sys
    from pathlib import Path
    import numpy as np
    from vlm2vla.robot.link import LinkRobot, RobotLinkConfig
    key, server_key, port, heartbeat_port = sys.argv[1:]
    robot = LinkRobot(RobotLinkConfig(Path(key), Path(server_key), port=int(port), heartbeat_port=int(heartbeat_port)))
    for number in range(100):
        print(robot.act(np.array([0, 0, (-1) ** number * 0.05, 0, 0, 0, 1.0])), flush=True)
"""


class Served:
    """A robot server in a process of its own, on the boards of a bench."""

    def __init__(self, bench, folder: Path):
        self.re1, self.folder = bench.re1, folder
        self.keys = make_keys(folder, "robot"), make_keys(folder, "studio")
        allow = folder / "allowed"
        allow.mkdir()
        (allow / "studio.key").write_bytes(self.keys[1].public.read_bytes())
        command = ["-m", "tests.robot_hardware.serve", bench.folder, self.keys[0].secret, allow, json.dumps(CALM)]
        self.log = (folder / "server.log").open("w")
        self.server = self.start(command, bench.re1.environment, stderr=self.log)
        self.ports = json.loads(self.server.stdout.readline())

    def start(self, command, environment=None, **options) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, *map(str, command)],
            cwd=ROOT,
            env={**os.environ, **(environment or {}), "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
            **options,
        )

    def studio(self) -> subprocess.Popen:
        return self.start(["-c", textwrap.dedent(STUDIO), self.keys[1].secret, self.keys[0].public, *self.ports])

    def link(self) -> LinkRobot:
        port, heartbeat_port = self.ports
        config = RobotLinkConfig(self.keys[1].secret, self.keys[0].public, port=port, heartbeat_port=heartbeat_port)
        return LinkRobot(config)

    def close(self) -> None:
        self.server.kill()
        self.server.wait()
        self.server.stdout.close()
        self.log.close()


@pytest.fixture
def served(make_bench, tmp_path):
    served = Served(make_bench(), tmp_path)
    yield served
    served.close()


def until(check, timeout_s=5.0):
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if check():
            return True
        time.sleep(0.002)
    return False


def test_a_stretch_is_driven_and_watched_over_the_link(served):
    robot = served.link()
    assert robot.name.startswith("Stretch RE1 at ")
    assert not robot.simulated
    before = robot.observe()
    result = robot.act(np.array([0.02, 0, 0.03, 0, 0, 0, 1.0]))
    assert result.outcome == "reached", result.message
    assert (robot.observe().ee - before.ee)[:3] == pytest.approx([0.02, 0, 0.03], abs=0.005)
    assert robot.stop()
    robot.close()


def test_a_studio_that_is_killed_in_mid_motion_stops_and_run_stops_a_stretch(served, report):
    studio = served.studio()
    assert until(lambda: served.re1.moving, 20)
    assert until(lambda: studio.stdout.readline().startswith("ActionResult"), 20)
    assert until(lambda: served.re1.moving)
    time.sleep(0.15)
    assert served.re1.moving
    cut, at = time.monotonic(), served.re1.lift_m
    studio.kill()
    assert until(lambda: not served.re1.moving)
    stopped = time.monotonic() - cut
    travel = abs(served.re1.lift_m - at)
    assert until(lambda: served.re1.pimu.runstop)
    runstopped = time.monotonic() - cut
    report(
        f"studio killed in mid-motion over the link: still after {stopped * 1000:.0f} ms and {travel * 1000:.0f} mm, "
        f"run-stop after {runstopped * 1000:.0f} ms"
    )
    assert stopped <= 0.5
    assert runstopped <= 2.0
    studio.wait()
    studio.stdout.close()
    robot = served.link()
    assert not robot.in_control
    assert robot.act(np.array([0, 0, 0.01, 0, 0, 0, 1.0])).outcome == "refused"
    robot.close()

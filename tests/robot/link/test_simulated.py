"""The simulated Stretch behind the link: what the studio drives here, it drives there."""

import threading

import numpy as np
import pytest

from tests.robot.link.conftest import PATIENCE
from vlm2vla.embodiment import STRETCH_RE1
from vlm2vla.robot import Rules, SafeRobot, table_box
from vlm2vla.robot.link import RobotServerConfig, RobotSetup, serve

pytestmark = pytest.mark.slow


def test_a_simulated_stretch_is_driven_watched_and_stopped_over_the_link(keys, link):
    from vlm2vla.simulation.scenes import make_scene
    from vlm2vla.simulation.world import World

    listening, servers, worlds = threading.Event(), [], []

    def make_robot():
        worlds.append(World(make_scene(3)))
        return RobotSetup(worlds[0].robot, worlds[0].robot.press_runstop)

    def on_ready(server):
        servers.append(server)
        listening.set()

    # Both ends and the physics share this process, so a heartbeat may be late without anything being wrong.
    config = RobotServerConfig(keys.robot.secret, keys.allow, port=0, heartbeat_port=0, **PATIENCE)
    serving = threading.Thread(target=serve, args=(config, make_robot), kwargs={"on_ready": on_ready})
    serving.start()
    assert listening.wait(120)
    try:
        served = type("Served", (), {"server": servers[0]})
        distant = link(served, timeout_s=60)  # the first picture takes its time
        robot = SafeRobot(distant, Rules(STRETCH_RE1, keep_out=(table_box(0.72, x=(0.4, 3.0)),)))
        before = robot.observe()
        assert distant.simulated
        assert list(before.images)[0] == "external"
        result = robot.act(np.array([0.03, 0.02, -0.02, 1]))
        assert result.outcome == "reached"
        after = robot.observe()
        assert (after.ee - before.ee)[:3] == pytest.approx([0.03, 0.02, -0.02], abs=0.003)
        assert after.time_s - before.time_s == pytest.approx(result.seconds, abs=0.5)
        worlds[0].speed = 0.1
        moving = threading.Thread(target=robot.act, args=(np.array([0, 0, 0.05, 1]),))
        moving.start()
        heights, pictures = set(), set()
        while moving.is_alive() and min(len(heights), len(pictures)) <= 2:
            view = distant.observe()
            heights.add(round(float(view.ee[2]), 4))
            pictures.add(view.images["external"])
        assert min(len(heights), len(pictures)) > 2  # before, after, and in between
        worlds[0].speed = 0.0
        moving.join()
        assert robot.stop()
        worlds[0].robot.press_runstop()
        assert robot.act(np.array([0.03, 0, 0, 1])).outcome in ("runstop", "refused")
    finally:
        servers[0].close()
        serving.join(10)
    assert not serving.is_alive()

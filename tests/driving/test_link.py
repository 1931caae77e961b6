"""A robot on another computer: opened by names of keys, stopped by anybody, still when its server is gone."""

import threading
from functools import partial

import numpy as np
import pytest

from tests.driving.conftest import ANNA, POLICIES, Desk, until
from tests.robot.link.conftest import PATIENCE
from vlm2vla.driving import DriveService
from vlm2vla.driving.history import rebuild
from vlm2vla.errors import ConfigError, RobotError
from vlm2vla.robot.link import RobotLinkConfig, RobotServer, RobotServerConfig, RobotSetup, make_keys
from vlm2vla.robot.scripted import ScriptedRobot


@pytest.fixture
def served(workspace, tmp_path, monkeypatch):
    """A served robot whose keys the workspace has; its service. Both ends are patient: they share one process."""
    monkeypatch.setattr("vlm2vla.robot.link.client._VALID_MS", 10_000)
    monkeypatch.setattr("vlm2vla.driving.robots.RobotLinkConfig", partial(RobotLinkConfig, lost_after_s=10.0))
    server_keys = make_keys(tmp_path / "robot", "stretch")
    studio = make_keys(workspace.root / "keys", "anna")
    (workspace.root / "keys" / "stretch.key").write_text(server_keys.public.read_text())
    allow = tmp_path / "allowed"
    allow.mkdir()
    (allow / "anna.key").write_text(studio.public.read_text())
    robot = ScriptedRobot(speed_m_s=0.05)
    robot.simulated = False  # treated like a real one
    config = RobotServerConfig(server_keys.secret, allow, port=0, heartbeat_port=0, table_height_m=0.65, **PATIENCE)
    server = RobotServer(config, RobotSetup(robot, robot.press_runstop))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    service = DriveService(workspace, policies=POLICIES)
    desk = Desk(service, robot)
    desk.server = server
    yield desk
    desk.silence()
    service.close()
    server.close()
    thread.join(10)


def opened(desk) -> None:
    ports = {"port": desk.server.port, "heartbeat_port": desk.server.heartbeat_port}
    desk.service.open(ANNA, "anna", {"robot": "link", "key": "anna", "server_key": "stretch"} | ports)
    until(lambda: desk.service.parts("opening")["opening"] is None)
    assert desk.service.connected is not None, desk.records("note")
    desk.service.confirm(ANNA, "space")


def test_a_run_over_the_link_is_stopped_and_another_one_begins(served):
    opened(served)
    run = served.start("long")
    until(lambda: served.records("action_done"))
    told = []
    served.service.stop("anna", told.append)
    until(lambda: told)
    assert (told[0]["state"], served.robot.status().moving) == ("confirmed", False)
    assert served.ended().end == "stopped"
    served.robot._ee[1] = 0.2
    served.start("up")
    assert served.ended().end == "finished"
    assert served.robot.observe().ee[1] == 0.0  # y counts from where the run began
    assert served.service.history.run(run.plan.id).info()["steps"] > 1


def test_a_run_over_the_link_is_recorded_while_the_robot_moves(served):
    opened(served)
    run = served.start("far")  # 12 cm at 5 cm/s: 2.4 s of motion in three actions
    assert served.ended().end == "finished"
    episode = rebuild(served.service.history.run(run.plan.id)).episode()
    assert episode.rate_hz == 5.0
    assert len(episode) > 5  # 12 on a computer that has time; one per action would be 4
    heights = episode.states[:, 2]
    assert (np.diff(heights) >= -1e-6).all()
    assert heights[-1] - heights[0] == pytest.approx(0.12, abs=0.005)


def test_the_hand_stays_above_the_table_that_the_robots_side_knows(served):
    opened(served)
    assert {"name": "table", "title": "Table", "state": "ok", "text": "The hand stays above it (65 cm)."} in (
        served.service.checks()
    )
    served.start("typed")
    for text in ("move down 4 cm", "move down 3 cm"):
        served.service.steering.type(ANNA, text, "anna")
    until(lambda: len(served.records("action_asked")) == 2)
    verdicts = [record["judged"] for record in served.records("action_asked")]
    assert [judged["verdict"] for judged in verdicts] == ["pass", "refused"]
    assert "the table" in verdicts[1]["message"]
    served.service.stop("anna")


def test_a_robot_server_that_dies_ends_the_run_as_an_error(served):
    opened(served)
    run = served.start("long")
    until(lambda: served.records("action_done"))
    served.server.close()
    ended = served.ended()
    assert ended.end in ("error", "stopped")
    assert not served.robot.status().moving
    assert served.service.history.run(run.plan.id).info()["end"] == ended.end


def test_keys_are_names_in_one_folder_and_space_must_be_clear(served):
    for key in ("../anna", "/etc/passwd", "nobody", ""):
        served.service.open(ANNA, "anna", {"robot": "link", "key": key, "server_key": "stretch"})
        until(lambda: served.service.parts("opening")["opening"] is None)
        assert served.service.connected is None
    assert "no key" in served.records("note")[-1]["text"]
    opened(served)
    served.service.close_robot(ANNA)
    ports = {"port": served.server.port, "heartbeat_port": served.server.heartbeat_port}
    served.service.open(ANNA, "anna", {"robot": "link", "key": "anna", "server_key": "stretch"} | ports)
    until(lambda: served.service.connected is not None and served.service.parts("opening")["opening"] is None)
    with pytest.raises(RobotError, match="is the space around it clear"):
        served.service.start(ANNA, "anna", "up", "lift", "auto")
    with pytest.raises(ConfigError):
        served.service.confirm(ANNA, "everything")

"""Camera lost, studio killed, disk full, a policy that breaks: the robot ends still, and what was recorded is kept."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from tests.driving.conftest import ANNA, until
from vlm2vla.driving import DriveService
from vlm2vla.driving.journal import CUT_OFF, Journal
from vlm2vla.driving.reins import Reins
from vlm2vla.errors import NotFoundError
from vlm2vla.robot.scripted import ScriptedRobot


def test_a_lost_camera_ends_the_run_and_keeps_what_was_seen(desk_for):
    desk = desk_for(speed_m_s=0.1)
    run = desk.start("long")
    until(lambda: len(desk.records("action_done")) >= 2)
    desk.robot.fail(camera_lost=True)
    ended = desk.ended()
    assert (ended.end, "camera" in ended.reason) == ("error", True)
    assert not desk.robot.status().moving
    kept = desk.service.history.replay(run.plan.id)
    assert len(kept["steps"]) >= 3
    assert kept["run"]["end"] == "error"
    assert desk.service.history.annotate(run.plan.id).startswith("rollouts-")


def test_the_last_picture_of_a_lost_camera_stays_with_its_age(desk):
    desk.open()
    eyes = desk.service.connected.eyes
    first = eyes.wait("above", 200)
    desk.robot.fail(camera_lost=True)
    until(lambda: eyes.latest("above", 200).lost)
    frozen = eyes.latest("above", 200)
    assert (frozen.jpeg, "check its cable" in frozen.lost) == (first.jpeg, True)
    age = frozen.age_s
    time.sleep(0.05)
    assert eyes.latest("above", 200).age_s > age
    until(lambda: any(row["name"] == "cameras" and row["state"] == "bad" for row in desk.service.checks()))
    desk.robot.fail(camera_lost=False)
    until(lambda: not eyes.latest("above", 200).lost)


@pytest.mark.parametrize("faults", [{"stale": True}, {"error": SystemExit("the driver gave up")}])
def test_a_robot_that_breaks_is_an_error(desk_for, faults):
    desk = desk_for(speed_m_s=0.1)
    run = desk.start("long")
    until(lambda: desk.records("action_done"))
    desk.robot.fail(**faults)
    assert desk.ended().end == "error"
    assert desk.service.history.run(run.plan.id).info()["end"] == "error"
    desk.robot.fail(stale=False, error=None)


def test_a_full_disk_is_said_once_and_does_not_end_the_run(desk, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Journal, "_save", lambda self: None)
    monkeypatch.setattr(Path, "write_bytes", full)
    desk.start("up")
    assert desk.ended().end == "finished"
    notes = [record["text"] for record in desk.records("note")]
    assert len(notes) == 1
    assert "No space left" in notes[0]


class Slow(ScriptedRobot):
    """The thread that drives is held up just before its action begins."""

    def act(self, action, **settings):
        time.sleep(0.05)
        return super().act(action, **settings)


def test_an_action_that_was_about_to_begin_is_not_confirmed_away():
    robot = Slow(speed_m_s=0.05)
    reins = Reins(robot)
    import threading

    thread = threading.Thread(target=lambda: reins.act(np.array([0, 0, 0.05, 0, 0, 0, 1.0])))
    thread.start()
    until(lambda: reins._acting)
    assert reins.halt()
    assert not robot.status().moving
    still = robot.observe().ee.copy()
    thread.join()
    assert np.array_equal(robot.observe().ee, still)
    assert reins.act(np.array([0, 0, 0.05, 0, 0, 0, 1.0])).outcome == "stopped"


KILLED = textwrap.dedent(
    """
    import sys, time
    from tests.driving.conftest import ANNA, POLICIES
    from vlm2vla.driving import DriveService
    from vlm2vla.driving.robots import connect
    from vlm2vla.robot.scripted import ScriptedRobot
    from vlm2vla.workspace import Workspace

    robot = ScriptedRobot(speed_m_s=0.1)
    service = DriveService(
        Workspace.open(sys.argv[1]), policies=POLICIES, open_robot=lambda *_: connect(robot, ("above", "side"))
    )
    service.open(ANNA, "anna", {"robot": "scripted"})
    while service.connected is None or service.parts("opening")["opening"]:
        time.sleep(0.01)
    service.confirm(ANNA, "space")
    print(service.start(ANNA, "anna", "long", "lift the cube", "auto"), flush=True)
    while True:
        service.beat(ANNA)
        time.sleep(0.1)
    """
)


def test_a_studio_that_is_killed_leaves_a_run_that_opens_in_the_review(workspace):
    script = [sys.executable, "-c", KILLED, str(workspace.root)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(script, stdout=subprocess.PIPE, text=True, cwd=root) as studio:
        run_id = studio.stdout.readline().strip()
        records = workspace.rollouts / run_id / "records.jsonl"
        until(lambda: records.is_file() and records.read_text().count("action_done") >= 4)
        os.kill(studio.pid, signal.SIGKILL)
    with records.open("a") as file:
        file.write('{"kind": "observed", "step')  # the line that was being written
    service = DriveService(workspace)
    kept = service.history.run(run_id)
    info = kept.info()
    assert (info["end"], info["reason"], info["steps"] >= 3) == ("error", CUT_OFF, True)
    for path in kept.folder.glob("frames/00003-*"):  # as if the last pictures had not been on disk yet
        path.unlink()
    episode_id = service.history.annotate(run_id)
    from vlm2vla.trajectories import EpisodeIndex

    episode = EpisodeIndex(workspace).get(episode_id)
    assert len(episode) == 3
    assert episode.frame(0).startswith(b"\xff\xd8")
    assert service.history.annotate(run_id) == episode_id
    service.close()


def test_runs_are_compared_judged_and_found(desk):
    one = desk.start("up").plan.id
    desk.ended()
    other = desk.start("far").plan.id
    desk.ended()
    history = desk.service.history
    assert [row["id"] for row in history.runs()] == sorted((one, other), reverse=True)
    compared = history.compare(one, other)
    assert {row["name"]: row["same"] for row in compared["rows"]}["instruction"]
    assert compared["cycles"][0]["a"]["plan"] == "move up"
    assert compared["paths"]["b"][-1][2] > compared["paths"]["a"][-1][2]
    history.judge(one, "success", "clean")
    assert history.run(one).info()["notes"] == "clean"
    for missing in ("r-20000101-000000-dead", "../../etc", "r-x"):
        with pytest.raises(NotFoundError):
            history.run(missing)
    with pytest.raises(NotFoundError):
        history.run(one).frame(0, "../above")
    assert json.dumps(history.replay(one))


def test_closing_the_studio_ends_the_run_and_lets_go_of_the_robot(desk_for):
    desk = desk_for(speed_m_s=0.02)
    desk.start("long")
    until(lambda: desk.robot.status().moving)
    desk.service.close()
    assert desk.service.run.ended.reason == "the studio was closed"
    assert not desk.robot.status().ready
    desk.service.beat(ANNA)


def test_a_recording_that_fails_in_mid_motion_leaves_a_still_robot():
    robot = ScriptedRobot(speed_m_s=0.01)

    def full_disk(observation):
        raise OSError("no space left")

    reins = Reins(robot, full_disk, 0.05)
    with pytest.raises(OSError, match="no space"):
        reins.act(np.array([0, 0, 0.04, 0, 0, 0, 1.0]))
    assert not robot.status().moving
    assert reins.halt()

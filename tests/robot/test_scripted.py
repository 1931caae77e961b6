import threading
import time

import numpy as np
import pytest

from vlm2vla.errors import RobotError
from vlm2vla.robot.scripted import HandClock, ScriptedRobot

FORWARD = np.array([0.05, 0, 0, 0, 0, 0, 1.0])


def test_it_reaches_and_measures_what_it_was_told():
    robot = ScriptedRobot()
    result = robot.act(np.array([0.02, -0.01, 0.03, 0, 0, 0.1, 0.0]))
    assert result.outcome == "reached"
    assert result.measured == pytest.approx([0.02, -0.01, 0.03, 0, 0, 0.1, 0.0])
    assert robot.observe().ee == pytest.approx([0.52, -0.01, 0.73, 0, 0, 0.1, 0.0])


def test_it_is_honest_about_itself():
    robot = ScriptedRobot()
    assert robot.simulated
    assert "nothing real" in robot.name


def test_motion_takes_the_time_of_its_clock():
    robot = ScriptedRobot(speed_m_s=0.05, clock=HandClock())
    start = time.perf_counter()
    assert robot.act(FORWARD).seconds == pytest.approx(1.0, abs=0.02)
    assert time.perf_counter() - start < 0.5


def test_limits_contacts_and_timeouts_end_a_motion():
    robot = ScriptedRobot(start=(1.18, 0, 0.7, 0, 0, 0, 1), clock=HandClock(), speed_m_s=0.1)
    clipped = robot.act(FORWARD)
    assert (clipped.outcome, clipped.measured[0]) == ("clipped", pytest.approx(0.02))
    robot.fail(contact_m=0.01)
    contact = robot.act(-FORWARD * [1, 0, 0, 0, 0, 0, -1])
    assert (contact.outcome, contact.measured[0]) == ("contact", pytest.approx(-0.01))
    robot.fail(contact_m=None)
    assert robot.act(-FORWARD * [1, 0, 0, 0, 0, 0, -1], timeout_s=0.1).outcome == "timeout"


def test_a_stop_from_another_thread_ends_the_motion():
    robot = ScriptedRobot(speed_m_s=0.02)
    results = []
    thread = threading.Thread(target=lambda: results.append(robot.act(FORWARD)))
    thread.start()
    while not robot.status().moving:
        time.sleep(0.001)
    assert robot.stop()
    thread.join()
    assert results[0].outcome == "stopped"
    assert results[0].measured[0] < 0.02


def test_a_run_stop_holds_until_it_is_released_at_the_robot():
    robot = ScriptedRobot()
    robot.press_runstop()
    assert not robot.status().ready
    assert robot.act(FORWARD).outcome == "runstop"
    assert robot.stop()
    assert robot.act(FORWARD).outcome == "runstop"
    robot.release_runstop()
    assert robot.act(FORWARD).outcome == "reached"


def test_faults_move_nothing_and_say_why():
    robot = ScriptedRobot()
    robot.fail(unhomed=True)
    assert robot.act(FORWARD).outcome == "fault"
    assert "homed" in robot.act(FORWARD).message
    robot.fail(unhomed=False, camera_lost=True)
    with pytest.raises(RobotError, match="camera"):
        robot.observe()
    assert robot.acts == []


def test_the_drawings_show_where_the_hand_is():
    robot = ScriptedRobot()
    before = robot.observe()
    robot.act(FORWARD)
    after = robot.observe()
    assert before.images["above"].startswith(b"\xff\xd8")
    assert before.images["above"] != after.images["above"]

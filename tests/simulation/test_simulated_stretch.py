import threading
import time

import numpy as np
import pytest

from vlm2vla.errors import RobotError


def act(world, dx=0.0, dy=0.0, dz=0.0, *, yaw=0.0, gripper=1.0, **options):
    return world.robot.act(np.array([dx, dy, dz, 0, 0, yaw, gripper]), **options)


@pytest.mark.parametrize(
    "delta",
    [(0.04, 0, 0, 0), (0, 0.05, 0, 0), (0, 0, -0.03, 0), (0, 0, 0, 0.2), (0.02, -0.03, 0.01, -0.1)],
)
def test_small_motions_are_reached_and_measured(world, delta):
    before = world.robot.observe().ee
    result = act(world, *delta[:3], yaw=delta[3])
    after = world.robot.observe().ee
    assert result.outcome == "reached"
    assert result.measured[[0, 1, 2, 5]] == pytest.approx(delta, abs=0.0015)
    assert after[:6] - before[:6] == pytest.approx(result.measured[:6])


def test_pushing_into_the_table_is_a_contact_and_goes_no_further(world):
    result = act(world, dz=-0.28)
    assert result.outcome == "contact"
    assert "lift" in result.message
    height = world.state().ee[2] - world.scene.table_height_m
    assert -0.01 < height < 0.03
    assert act(world, dz=0.05).outcome == "reached"  # away from it again


def test_goals_beyond_a_joint_limit_are_clipped_and_say_which(world):
    for _ in range(3):
        result = act(world, dx=0.25)
    assert result.outcome == "clipped"
    assert "arm stops at 0.52" in result.message
    assert result.measured[0] < 0.2


@pytest.mark.parametrize(
    "action",
    [
        [np.nan, 0, 0, 0, 0, 0, 1],
        [np.inf, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0.1, 0, 0, 1],
        [5.0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 1.5],
        [0, 0, 0, 1],
        ["a", 0, 0, 0, 0, 0, 1],
        None,
    ],
)
def test_impossible_actions_are_refused_and_move_nothing(world, action):
    before = world.qpos
    result = world.robot.act(action)
    assert result.outcome == "refused"
    assert result.message
    assert np.array_equal(before, world.qpos)


def moving_left(world, outcomes: list) -> threading.Thread:
    """A thread in which the robot moves left by 28 cm, once it has begun; `outcomes` gets the result."""
    began = world.state().ee[1]
    driver = threading.Thread(target=lambda: outcomes.append(act(world, dy=0.28)))
    driver.start()
    while world.state().ee[1] < began + 0.02:
        assert driver.is_alive(), outcomes
        time.sleep(0.005)
    return driver


def test_stop_from_another_thread_ends_the_motion_at_once(world):
    world.speed = 1.0
    outcomes = []
    began = world.robot.observe().time_s
    driver = moving_left(world, outcomes)
    pressed = world.robot.status().time_s
    assert world.robot.status().moving
    assert world.robot.stop()
    driver.join(timeout=5)
    assert outcomes[0].outcome == "stopped"
    assert 0.005 < outcomes[0].measured[1] < 0.2
    assert world.robot.status().time_s - pressed < 0.5
    assert pressed > began
    still = world.qpos
    world.wait(0.2)
    assert np.abs(world.qpos - still).max() < 0.002


def test_a_stop_with_nothing_to_stop_is_confirmed_and_does_not_block_the_next_action(world):
    assert world.robot.stop()
    assert act(world, 0.02).outcome == "reached"


def test_run_stop_halts_and_only_its_release_lets_go(world):
    calls = []

    def press():
        calls.append(1)
        world.robot.press_runstop()

    end = world.subscribe(0.3, press)
    result = act(world, dy=0.25)
    end()
    assert calls
    assert result.outcome == "runstop"
    assert result.measured[1] < 0.2
    status = world.robot.status()
    assert status.runstop
    assert not status.ready
    assert "release" in status.problems[0]
    before = world.qpos
    assert act(world, 0.02).outcome == "runstop"
    assert np.array_equal(before, world.qpos)
    world.robot.release_runstop()
    assert act(world, 0.02).outcome == "reached"


def test_timeout_stops_the_robot(world):
    result = act(world, dy=0.25, timeout_s=0.5)
    assert result.outcome == "timeout"
    assert result.seconds < 1.0
    assert 0 < result.measured[1] < 0.15


def test_lost_camera_and_stale_status_are_errors(world):
    world.robot.faults.add("camera lost")
    with pytest.raises(RobotError, match="camera"):
        world.robot.observe()
    world.robot.faults.clear()
    world.robot.faults.add("stale status")
    with pytest.raises(RobotError, match="status"):
        world.robot.observe()
    assert act(world, 0.02).outcome == "fault"
    assert not world.robot.status().ready


def test_live_view_goes_on_while_the_robot_acts(world):
    world.speed = 1.0
    world.render("external")
    done = threading.Event()
    frames = set()  # drawn while it moved

    def watch():
        while not done.is_set():
            before = world.robot.status().moving
            picture = world.render("external")
            if before and world.robot.status().moving:
                frames.add(picture)
            time.sleep(0.02)

    viewer = threading.Thread(target=watch)
    viewer.start()
    end = time.monotonic() + 120
    while len(frames) < 4 and time.monotonic() < end:
        act(world, 0.05)
        act(world, -0.05)
    done.set()
    viewer.join(timeout=60)
    assert len(frames) >= 4


def test_stop_from_within_the_motion_asks_and_does_not_wait(world):
    answers = []
    end = world.subscribe(0.2, lambda: answers.append(world.robot.stop()))
    result = act(world, dy=0.25)
    end()
    assert result.outcome == "stopped"
    assert answers[0] is False
    assert world.robot.stop()


def test_a_reset_under_way_of_a_motion_stops_it_first(world):
    from vlm2vla.simulation import make_scene

    world.speed = 1.0
    outcomes = []
    driver = moving_left(world, outcomes)
    world.reset(make_scene(1))
    driver.join(timeout=5)
    assert outcomes[0].outcome == "stopped"
    assert world.state().time_s == 0


def test_the_arm_does_not_go_through_the_edge_of_the_table(world):
    for _ in range(3):
        act(world, dx=-0.06)  # back, in front of the table
    height = world.state().ee[2] - world.scene.table_height_m
    act(world, dz=-0.08 - height)  # palm as high as the table top
    result = act(world, dx=0.2)
    assert result.outcome == "contact"
    assert "arm" in result.message
    assert result.measured[0] < 0.17
    assert act(world, dx=-0.03).outcome == "reached"


def test_gripper_opening_is_measured_and_closing_on_nothing_is_reached(world):
    for command in (0.0, 1.0, 0.4):
        result = act(world, gripper=command)
        assert result.outcome == "reached"
        assert result.measured[6] == pytest.approx(command, abs=0.02)
    assert world.state().gripper_open == pytest.approx(0.4, abs=0.02)

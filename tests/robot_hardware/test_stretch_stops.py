"""Soft stop and run-stop of a moving robot, with what they cost in time and in way."""

import statistics
import time

import pytest

from tests.robot_hardware.fleet import RAD_PER_M


@pytest.fixture
def driver(shared_bench):
    re1 = shared_bench.re1
    driver = shared_bench.healthy()
    result = driver.call("act", row(dx=0.2 - re1.arm_m, dz=0.6 - re1.lift_m), 20.0)
    assert result["outcome"] == "reached", result
    yield driver
    for stepper in re1.steppers:
        stepper.resumes_after_runstop = False
    re1.gripper.block = None
    re1.pimu.press_runstop(False)
    assert not driver.works() or until(lambda: not driver.call("status")["runstop"])


@pytest.fixture
def re1(shared_bench):
    return shared_bench.re1


def row(dx=0.0, dy=0.0, dz=0.0, yaw=0.0, gripper=1.0):
    return [dx, dy, dz, 0.0, 0.0, yaw, gripper]


def until(check, timeout_s=5.0):
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if check():
            return True
        time.sleep(0.005)
    return False


def test_stop_ends_a_motion_of_all_joints_within_half_a_second(driver, re1, report):
    seconds, travels = [], []
    for tries in range(4):
        action = row(dx=0.15, dy=0.15, dz=-0.15) if tries % 2 else row(dx=-0.15, dy=-0.15, dz=0.15)
        moving = driver.begin("act", action)
        assert until(lambda: all(board.moving for board in re1.steppers))
        time.sleep(0.7)
        before = re1.arm_m, re1.base_m, re1.lift_m
        begin = time.monotonic()
        stopping = driver.begin("stop")
        assert until(lambda: not re1.moving)
        seconds.append(time.monotonic() - begin)
        assert stopping()["still"] is True
        result = moving()
        assert result["outcome"] == "stopped"
        assert result["measured"][2] * action[2] > 0
        travels.append(max(abs(a - b) for a, b in zip(before, (re1.arm_m, re1.base_m, re1.lift_m), strict=True)))
    report(
        f"soft stop on emulated boards: still after {statistics.median(seconds) * 1000:.0f} ms "
        f"(worst {max(seconds) * 1000:.0f}), way {statistics.median(travels) * 1000:.1f} mm "
        f"(worst {max(travels) * 1000:.1f})"
    )
    assert max(seconds) < 0.5
    assert max(travels) < 0.05


def test_stop_ends_a_turn_of_the_wrist(driver, re1):
    turning = driver.begin("act", row(yaw=1.0))
    start = re1.yaw.position
    assert until(lambda: abs(re1.yaw.position - start) > 100)
    assert driver.call("stop")["still"] is True
    assert turning()["outcome"] == "stopped"
    where = re1.yaw.position
    time.sleep(0.3)
    assert re1.yaw.position == pytest.approx(where, abs=3)
    assert abs(where - start) < 0.5 * 2.4 / 6.283 * 4096
    assert driver.call("act", row(yaw=0.1))["outcome"] == "reached"


def test_stop_keeps_hold_of_what_the_gripper_holds(driver, re1):
    re1.gripper.block = 6000.0
    assert driver.call("act", row(gripper=0.0))["outcome"] == "reached"
    goals = len(re1.gripper.goals)
    lifting = driver.begin("act", row(dz=0.1, gripper=0.0))
    assert until(lambda: re1.lift.moving)
    assert driver.call("stop")["still"] is True
    assert lifting()["outcome"] == "stopped"
    assert len(re1.gripper.goals) == goals
    assert driver.call("act", row(dz=-0.02, gripper=0.0))["outcome"] == "reached"
    assert len(re1.gripper.goals) == goals


def test_stop_of_a_robot_at_rest_is_confirmed_and_does_not_spoil_the_next_action(driver):
    assert driver.call("stop")["still"] is True
    assert driver.call("act", row(dx=0.02))["outcome"] == "reached"


def test_the_button_ends_a_motion_and_nothing_moves_until_a_person_releases_it(driver, re1):
    moving = driver.begin("act", row(dz=-0.15))
    assert until(lambda: re1.lift.moving)
    re1.pimu.press_runstop()
    assert moving()["outcome"] == "runstop"
    where = re1.lift_m
    status = driver.call("status")
    assert (status["ready"], status["runstop"]) == (False, True)
    assert "hold the button" in status["problems"][0]
    refused = driver.call("act", row(dz=0.05))
    assert refused["outcome"] == "runstop"
    assert refused["measured"][2] == 0
    assert re1.lift_m == pytest.approx(where, abs=1e-4)
    re1.pimu.press_runstop(False)
    assert until(lambda: driver.call("status")["ready"])
    assert driver.call("act", row(dz=0.02))["outcome"] == "reached"


def test_no_motion_resumes_when_the_button_is_released(driver, re1):
    for stepper in re1.steppers:
        stepper.resumes_after_runstop = True
    moving = driver.begin("act", row(dx=0.1, dz=-0.15))
    assert until(lambda: re1.lift.moving and re1.arm.moving)
    re1.pimu.press_runstop()
    assert moving()["outcome"] == "runstop"
    where = re1.lift_m, re1.arm_m
    re1.pimu.press_runstop(False)
    time.sleep(0.5)
    assert (re1.lift_m, re1.arm_m) == pytest.approx(where, abs=0.002)


def test_the_run_stop_can_be_pressed_by_software(driver, re1, report):
    moving = driver.begin("act", row(dz=-0.15))
    assert until(lambda: re1.lift.moving)
    before, begin = re1.lift_m, time.monotonic()
    pressing = driver.begin("press_runstop")
    assert until(lambda: re1.pimu.runstop)
    seconds = time.monotonic() - begin
    assert pressing()["confirmed"] is True
    assert moving()["outcome"] in ("stopped", "runstop")
    report(f"run-stop by software: {seconds * 1000:.0f} ms, way {abs(re1.lift_m - before) * 1000:.1f} mm")
    assert seconds < 0.5
    assert re1.pimu.runstop


def test_a_soft_stop_that_does_not_stop_becomes_a_run_stop(driver, re1):
    moving = driver.begin("act", row(dz=-0.15))
    assert until(lambda: re1.lift.moving)
    # The board takes the stop and ignores it.
    apply, re1.lift._apply = re1.lift._apply, lambda command: None
    try:
        stopped = driver.call("stop")
        assert stopped["still"] is True
        assert re1.pimu.runstop
        assert not re1.lift.moving
        assert moving()["outcome"] in ("stopped", "runstop")
    finally:
        re1.lift._apply = apply


def test_rates_of_travel_units_are_those_of_the_robot(driver, re1):
    for joint in ("lift", "arm"):
        board = getattr(re1, joint)
        assert driver.call("body", f"{joint}.status.pos") == pytest.approx(board.position / RAD_PER_M[joint], abs=1e-3)

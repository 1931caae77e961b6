"""Boards that go mute, cables that come loose, processes that die."""

import signal
import time

import pytest

LIMITS = {"stale_s": 0.8, "servo_stale_s": 2.0}
"""Wider than the real 0.2 and 0.4 s, because a busy computer answers late for the boards."""


def row(dx=0.0, dy=0.0, dz=0.0, yaw=0.0, gripper=1.0):
    return [dx, dy, dz, 0.0, 0.0, yaw, gripper]


def until(check, timeout_s=20.0):
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if check():
            return True
        time.sleep(0.005)
    return False


def begin_lowering(bench, driver, metres=0.3):
    moving = driver.begin("act", row(dz=-metres), 60.0)
    assert until(lambda: bench.re1.lift.moving, 15.0)
    time.sleep(0.3)
    return moving


@pytest.fixture
def bench(make_bench):
    for _ in range(3):  # on an overloaded computer, boards may answer too late even for these limits
        bench = make_bench()
        bench.driver = bench.attempt(**LIMITS)
        result = bench.driver.greeting
        if "error" not in result:
            result = bench.driver.call("act", row())  # the gripper is open from here on
            if result["outcome"] == "reached":
                return bench
    pytest.fail(f"a healthy robot does not move: {result}")


@pytest.mark.parametrize("board", ["lift", "arm", "left"])
@pytest.mark.parametrize("how", ["mute", "unplugged"])
def test_a_motor_board_that_falls_silent_is_a_fault_and_the_run_stop_is_pressed(bench, board, how, report):
    silent = getattr(bench.re1, board)
    moving = begin_lowering(bench, bench.driver)
    begin, before = time.monotonic(), bench.re1.lift_m
    if how == "mute":
        silent.mute = True
    else:
        silent.unplug()
    assert until(lambda: bench.re1.pimu.runstop)
    seconds = time.monotonic() - begin
    report(f"{board} {how}: run-stop after {seconds * 1000:.0f} ms, lift went {before - bench.re1.lift_m:.3f} m on")
    assert seconds < LIMITS["stale_s"] + 1.5
    result = moving()
    assert result["outcome"] == "fault"
    assert "no answer from" in result["message"]
    where = bench.re1.lift_m
    time.sleep(0.3)
    assert bench.re1.lift_m == pytest.approx(where, abs=1e-3)
    # The process is not stuck with the board: it still says how it is, and takes no action.
    status = bench.driver.call("status", timeout_s=10.0)
    assert status["ready"] is False
    assert bench.driver.call("act", row(dx=0.02))["outcome"] == "fault"


def test_a_cable_that_comes_loose_is_seen_although_stretch_body_stamps_its_numbers_as_new(bench):
    bench.re1.arm.unplug()
    assert until(lambda: not bench.driver.call("status")["ready"])
    assert any("arm" in problem for problem in bench.driver.call("status")["problems"])
    with pytest.raises(AssertionError, match="RobotError: no answer from"):
        bench.driver.call("observe")


def test_a_silent_wrist_is_a_fault_and_the_motion_is_brought_to_a_stop(bench):
    moving = begin_lowering(bench, bench.driver)
    bench.re1.wrist.mute = True
    result = moving()
    assert result["outcome"] == "fault"
    assert "wrist and gripper" in result["message"]
    assert until(lambda: not bench.re1.moving)


def test_without_the_power_board_motors_go_to_safety_and_a_person_is_asked_for(bench):
    moving = begin_lowering(bench, bench.driver)
    bench.re1.pimu.mute = True
    result = moving()
    assert result["outcome"] == "fault"
    assert "press the run-stop on the robot" in result["message"]
    assert until(lambda: not bench.re1.moving)
    assert bench.driver.call("press_runstop")["confirmed"] is False


@pytest.mark.parametrize("seconds", [-3600.0, 3600.0])
def test_a_clock_that_is_set_silences_stretch_body_and_that_is_a_fault(bench, seconds):
    # Set back, its status threads wait until the clock has caught up; set forward, a call under way is given up.
    moving = begin_lowering(bench, bench.driver)
    bench.driver.call("shift_clock", seconds)
    outcome = moving()["outcome"]
    assert outcome == "fault" or (seconds > 0 and outcome == "reached")
    assert not bench.re1.moving


def test_a_late_answer_is_no_fault(bench):
    bench.re1.arm.delay_s = 0.05
    time.sleep(0.5)
    assert bench.driver.call("status")["ready"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_when_the_process_ends_the_next_one_can_take_over_at_once(bench, number):
    begin_lowering(bench, bench.driver, metres=0.55)
    bench.driver.process.send_signal(number)
    assert bench.driver.process.wait(30.0) == -number
    # What robots do then is not known; these boards go on to their goal, so somebody must be able to stop them.
    assert bench.re1.lift.moving
    before = bench.re1.lift_m
    successor = bench.drive(**LIMITS)
    assert successor.call("stop")["still"] is True
    assert not bench.re1.lift.moving
    assert before - bench.re1.lift_m < 0.5
    result = successor.call("act", row(dz=0.02))
    assert result["outcome"] == "reached", result


def test_after_a_silent_board_the_process_still_ends_when_asked(bench):
    moving = begin_lowering(bench, bench.driver)
    bench.re1.lift.mute = True
    moving()
    bench.driver.process.terminate()
    assert bench.driver.process.wait(5.0) == -signal.SIGTERM


def test_closing_puts_the_motors_at_rest_and_frees_the_robot(bench):
    begin_lowering(bench, bench.driver)
    bench.driver.call("close")
    assert [stepper.mode for stepper in bench.re1.steppers] == [0] * 4
    assert bench.driver.call("act", row(dx=0.02))["outcome"] == "fault"
    assert bench.drive(**LIMITS).call("status")["ready"]


def test_an_unhomed_robot_moves_nothing_not_even_the_base(make_bench):
    bench = make_bench(homed=False)
    driver = bench.drive()
    status = driver.call("status")
    assert (status["ready"], status["homed"]) == (False, False)
    assert "stretch_robot_home.py" in status["problems"][0]
    before = [len(board.commands) for board in bench.re1.steppers]
    for action in (row(dz=0.05), row(dy=0.05)):
        assert driver.call("act", action)["outcome"] == "refused"
    assert [len(board.commands) for board in bench.re1.steppers] == before


def test_an_unhomed_wrist_is_not_driven_either(make_bench):
    bench = make_bench()
    bench.re1.yaw.homed = False
    assert bench.drive().call("act", row(yaw=0.1))["outcome"] == "refused"


@pytest.mark.parametrize("board", ["lift", "pimu", "wrist"])
def test_a_robot_with_a_silent_board_does_not_start_and_the_board_is_named(make_bench, board):
    bench = make_bench()
    getattr(bench.re1, board).mute = True
    begin = time.monotonic()
    error = bench.attempt().greeting["error"]
    assert time.monotonic() - begin < 30
    assert {"lift": "lift", "pimu": "pimu", "wrist": "end_of_arm"}[board] in error


def test_a_status_thread_of_stretch_body_that_died_is_a_fault(bench):
    bench.driver.call("set_body", "head.step_sentry", None)
    assert until(lambda: not bench.driver.call("status")["ready"])
    assert "SystemMonitorThread" in bench.driver.call("status")["problems"][0]
    assert bench.driver.call("act", row(dx=0.02))["outcome"] == "fault"


def test_a_second_driver_is_told_that_there_is_a_first(bench):
    assert "another process drives this Stretch" in bench.attempt().greeting["error"]
    assert bench.driver.call("act", row(dx=0.02))["outcome"] == "reached"


def test_alerts_of_the_power_board_stop_and_refuse(bench):
    moving = begin_lowering(bench, bench.driver)
    bench.re1.pimu.state |= 512
    result = moving()
    assert result["outcome"] == "fault"
    assert "tilted" in result["message"]
    assert not bench.re1.moving
    assert bench.driver.call("act", row(dx=0.02))["outcome"] == "refused"
    bench.re1.pimu.state &= ~512
    assert until(lambda: bench.driver.call("status")["ready"])
    assert bench.driver.call("act", row(dx=0.02))["outcome"] == "reached"

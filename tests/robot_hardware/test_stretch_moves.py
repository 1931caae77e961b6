import time

import pytest

from tests.robot_hardware.fleet import RAD_PER_M

OPEN, CLOSED = 1.0, 0.0


@pytest.fixture
def driver(shared_bench):
    """The shared robot, with nothing in its way; whatever a test did, its calls must have been well formed."""
    re1 = shared_bench.re1
    driver = shared_bench.healthy()
    driver.call("act", row(dx=0.2 - re1.arm_m, dz=0.5 - re1.lift_m))
    driver.call("begin_episode")
    yield driver
    for stepper in re1.steppers:
        stepper.block, stepper.slack = None, 0.0
    re1.gripper.block = None
    re1.pimu.press_runstop(False)
    assert [board.malformed for board in [*re1.steppers, re1.pimu, re1.wacc]] == [[]] * 6


@pytest.fixture
def re1(shared_bench):
    return shared_bench.re1


def row(dx=0.0, dy=0.0, dz=0.0, yaw=0.0, gripper=OPEN):
    return [dx, dy, dz, 0.0, 0.0, yaw, gripper]


def until(check, timeout_s=5.0):
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if check():
            return True
        time.sleep(0.01)
    return False


def test_a_healthy_robot_is_ready_and_shows_itself(driver):
    status = driver.call("status")
    assert (status["ready"], status["homed"], status["runstop"], status["problems"]) == (True, True, False, [])
    assert status["battery_v"] == pytest.approx(12.6, abs=0.05)
    seen = driver.call("observe")
    assert seen["images"] == {"external": "a picture"}
    assert seen["joints"]["lift"] == pytest.approx(0.5, abs=0.002)
    assert seen["ee"] == pytest.approx([0.540, -0.021, 0.532, 0, 0, seen["joints"]["wrist_yaw"], 1], abs=0.006)


def test_the_process_still_belongs_to_its_owner(driver):
    process = driver.call("process")
    assert process == {
        "signals": [True, True],
        "hook": True,
        "handlers": [],
        "level": 30,
        "own_logger_disabled": False,
    }
    # The child would keep ports and lock when this process is killed.
    assert driver.call("body", "collision.collision_compute_proccess.is_alive") is False


@pytest.mark.parametrize(
    ("action", "moved"),
    [
        (row(dx=0.04), {"arm": 0.04}),
        (row(dx=-0.03), {"arm": -0.03}),
        (row(dy=0.05), {"base": 0.05}),
        (row(dy=-0.02), {"base": -0.02}),
        (row(dz=0.03), {"lift": 0.03}),
        (row(dz=-0.05), {"lift": -0.05}),
        (row(dx=0.02, dy=0.02, dz=0.02), {"arm": 0.02, "base": 0.02, "lift": 0.02}),
    ],
)
def test_motions_reach_their_goal_on_the_boards(driver, re1, action, moved):
    before = {"arm": re1.arm_m, "base": re1.base_m, "lift": re1.lift_m}
    result = driver.call("act", action)
    assert result["outcome"] == "reached", result
    after = {"arm": re1.arm_m, "base": re1.base_m, "lift": re1.lift_m}
    assert {name: after[name] - before[name] for name in after} == {
        name: pytest.approx(moved.get(name, 0.0), abs=0.004) for name in after
    }
    assert result["measured"][:3] == pytest.approx(action[:3], abs=0.004)
    assert not re1.moving


def test_the_wrist_turns_counter_clockwise_for_positive_yaw(driver, re1):
    for yaw in (0.2, -0.2):
        result = driver.call("act", row(yaw=yaw))
        assert result["outcome"] == "reached"
        assert result["measured"][5] == pytest.approx(yaw, abs=0.05)
        # Arm and base make up for the swing of the hand: the fingertips stay where they were.
        assert result["measured"][:3] == pytest.approx([0, 0, 0], abs=0.015)
    assert driver.call("body", "end_of_arm.motors.wrist_yaw.status.pos") == pytest.approx(0.0, abs=0.05)


def test_joints_move_slowly(driver, re1):
    driver.call("act", row(dx=0.02, dy=0.02, dz=0.02))
    speeds = {"lift": (re1.lift, 0.05), "arm": (re1.arm, 0.06)}
    for name, (board, metres_per_second) in speeds.items():
        assert board.commands[-1][2] / RAD_PER_M[name] == pytest.approx(metres_per_second, rel=0.01)
    assert re1.left.commands[-1][2] / RAD_PER_M["wheel"] == pytest.approx(0.1, rel=0.01)


def test_the_gripper_closes_on_an_object_and_opens_before_the_arm_goes_on(driver, re1):
    re1.gripper.block = 6000.0
    closed = driver.call("act", row(gripper=CLOSED))
    assert closed["outcome"] == "reached"
    assert 0.1 < closed["measured"][6] < 0.6
    re1.gripper.block = None
    opened = driver.call("act", row(dx=0.02, gripper=OPEN))
    assert opened["outcome"] == "reached"
    assert opened["measured"][6] == pytest.approx(1.0, abs=0.05)
    assert opened["measured"][0] == pytest.approx(0.02, abs=0.004)


def test_a_goal_beyond_the_reach_ends_at_the_limit_and_says_so(driver, re1):
    result = driver.call("act", row(dx=1.0), 15.0)
    assert result["outcome"] == "clipped"
    assert "arm 1.2" in result["message"]
    assert re1.arm_m == pytest.approx(0.52, abs=0.002)
    assert result["measured"][0] == pytest.approx(0.32, abs=0.005)
    again = driver.call("act", row(dx=0.05))
    assert again["outcome"] == "clipped"
    assert again["measured"][0] == pytest.approx(0.0, abs=0.004)


def test_limits_that_change_at_run_time_are_kept(driver, re1):
    driver.call("limit", "lift", 0.49, None)
    try:
        result = driver.call("act", row(dz=-0.05))
    finally:
        driver.call("limit", "lift", None, None)
    assert result["outcome"] == "clipped"
    assert "beyond its limits 0.490 to 1.100" in result["message"]
    assert re1.lift_m == pytest.approx(0.49, abs=0.002)


@pytest.mark.parametrize(
    "action", [[0.0] * 6, [0, 0, 0, 0.1, 0, 0, 1], [float("nan"), 0, 0, 0, 0, 0, 1], row(gripper=2)]
)
def test_an_action_that_a_stretch_cannot_do_moves_nothing(driver, re1, action):
    before = [len(board.commands) for board in re1.steppers]
    result = driver.call("act", action)
    assert result["outcome"] == "refused"
    assert result["message"]
    assert [len(board.commands) for board in re1.steppers] == before


def test_a_guarded_contact_ends_the_motion_and_stops_the_other_joints(driver, re1):
    re1.lift.block = re1.lift.position - 0.01 * RAD_PER_M["lift"]
    result = driver.call("act", row(dx=0.2, dz=-0.05))
    assert result["outcome"] == "contact"
    assert "the lift touched something" in result["message"]
    assert -0.011 < result["measured"][2] < -0.004
    assert result["measured"][0] < 0.1
    assert not re1.moving
    re1.lift.block = None
    assert driver.call("act", row(dz=0.02))["outcome"] == "reached"


def test_the_wheels_stop_at_contact_too(driver, re1):
    re1.left.block = re1.left.position + 0.02 * RAD_PER_M["wheel"]
    result = driver.call("act", row(dy=0.05))
    assert result["outcome"] == "contact"
    assert "left wheel" in result["message"]


def test_standing_still_short_of_the_goal_is_not_called_reached(driver, re1):
    re1.lift.slack = 0.011 * RAD_PER_M["lift"]
    result = driver.call("act", row(dz=0.03))
    assert result["outcome"] == "timeout"
    assert "lift 11 mm short of its goal" in result["message"]
    assert result["measured"][2] == pytest.approx(0.019, abs=0.002)


def test_a_motion_that_takes_too_long_is_stopped(driver, re1):
    result = driver.call("act", row(dz=0.3), 0.5)
    assert result["outcome"] == "timeout"
    where = re1.lift_m
    time.sleep(0.3)
    assert re1.lift_m == pytest.approx(where, abs=0.001)


def test_only_one_action_at_a_time(driver, re1):
    first = driver.begin("act", row(dz=0.05))
    assert until(lambda: re1.lift.moving)
    assert driver.call("act", row(dx=0.05))["outcome"] == "refused"
    assert first()["outcome"] == "reached"


def test_commands_stay_far_below_the_rate_at_which_the_boards_drop_them(driver, re1):
    before = len(re1.pimu.syncs)
    for step in range(12):
        driver.begin("act", row(dx=0.001 * (-1) ** step))()
        driver.call("stop")
    times = re1.pimu.syncs[before:]
    assert len(times) >= 12
    assert min(b - a for a, b in zip(times, times[1:], strict=False)) > 0.05
    assert driver.call("body", "pimu.status.motor_sync_drop") == 0


def test_a_driver_that_wants_to_end_the_process_is_a_fault_and_no_more(driver, re1):
    driver.call("end_the_process", "arm")
    result = driver.call("act", row(dx=0.02))
    assert result["outcome"] == "fault"
    assert "SystemExit" in result["message"]
    assert driver.call("act", row(dx=0.02))["outcome"] == "reached"


def test_the_base_turns_and_the_frame_turns_with_it(driver, re1):
    before = re1.heading
    assert driver.call("turn", 0.3)["outcome"] == "reached"
    assert re1.heading - before == pytest.approx(0.3, abs=0.02)
    result = driver.call("act", row(dy=0.04))
    assert result["outcome"] == "reached"
    assert result["measured"][1] == pytest.approx(0.04, abs=0.004)
    assert driver.call("turn", -0.3)["outcome"] == "reached"


def test_the_head_points(driver, re1):
    driver.call("point_head", -0.5, -0.3)
    assert until(lambda: abs(driver.call("body", "head.motors.head_pan.status.pos") + 0.5) < 0.02)
    assert until(lambda: abs(driver.call("body", "head.motors.head_tilt.status.pos") + 0.3) < 0.02)

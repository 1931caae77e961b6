import numpy as np
import pytest

from vlm2vla.simulation.profile import blend

PERIOD = 0.004


def row(*delta, gripper=1.0):
    return np.array([*delta, 0, 0, 0, gripper], dtype=float)


def test_a_blend_takes_the_time_it_is_given_and_ends_at_its_goal():
    starts, goals = np.array([0.1, 0.0]), np.array([0.12, -0.01])
    positions, speeds = blend(starts, goals, np.zeros(2), np.array([0.2, 0.2]), 0.2, PERIOD)
    assert positions.shape == speeds.shape == (50, 2)
    assert np.allclose(positions[-1], goals)
    numeric = np.diff(positions, axis=0) / PERIOD
    assert np.allclose(numeric, (speeds[1:] + speeds[:-1]) / 2, atol=1e-3)


def test_blends_join_without_a_jump_of_speed():
    rng = np.random.default_rng(0)
    at, speed = np.zeros(1), np.zeros(1)
    for _ in range(20):
        positions, speeds = blend(at, at + rng.uniform(-0.02, 0.02, 1), speed, np.ones(1), 0.2, PERIOD)
        assert abs(speeds[0] - speed) < 0.03
        at, speed = positions[-1], speeds[-1]


def test_too_far_is_cut_to_the_speed_of_the_joint():
    positions, _ = blend(np.zeros(1), np.ones(1), np.zeros(1), np.array([0.1]), 0.2, PERIOD)
    assert positions[-1] == pytest.approx(0.02)


def test_each_row_takes_exactly_its_time_and_rows_make_an_even_motion(world):
    ways, before = [], world.state()
    for _ in range(6):
        assert world.robot.servo(row(0.01, 0.015, -0.01)).outcome == "reached"
        state = world.state()
        assert state.time_s - before.time_s == pytest.approx(0.2)
        ways.append(state.ee[:3] - before.ee[:3])
        before = state
    assert np.allclose(ways[2:], [0.01, 0.015, -0.01], atol=0.002)


def test_the_gripper_closes_over_several_rows(world):
    openings = [world.state().gripper_open]
    for _ in range(5):
        world.robot.servo(row(0, 0, 0, gripper=0.0))
        openings.append(world.state().gripper_open)
    assert openings[0] > 0.9
    assert 0.1 < openings[1] < 0.9
    assert openings[-1] < 0.05


def test_a_contact_ends_the_row_but_not_its_time(world):
    outcomes = []
    for _ in range(20):
        before = world.state().time_s
        outcomes.append(world.robot.servo(row(0, 0, -0.019)).outcome)
        assert world.state().time_s - before == pytest.approx(0.2)
    assert "contact" in outcomes
    assert world.state().ee[2] > world.scene.table_height_m


def test_nonsense_and_the_run_stop_move_nothing(world):
    before = world.qpos
    assert world.robot.servo(row(np.nan, 0, 0)).outcome == "refused"
    assert world.robot.servo(np.zeros(6)).outcome == "refused"
    world.robot.press_runstop()
    assert world.robot.servo(row(0.02, 0, 0)).outcome == "runstop"
    assert np.array_equal(world.qpos, before)

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm2vla.simulation.frames import Pose, ee_of, from_world, moved, to_world
from vlm2vla.simulation.profile import SpeedLimit, together, trapezoid

small = st.floats(-0.1, 0.1)
angle = st.floats(-1.2, 1.2)


@given(small, small, small, small, angle)
def test_moved_joints_place_the_end_effector_where_the_delta_says(dx, dy, dz, dyaw, yaw):
    pose = Pose(0.1, 0.2, 0.8, yaw)
    reached = ee_of(moved(pose, np.array([dx, dy, dz, dyaw]))) - ee_of(pose)
    assert reached == pytest.approx([dx, dy, dz, dyaw], abs=1e-9)


@given(st.lists(st.floats(-3, 3), min_size=3, max_size=3))
def test_frames_are_inverse_to_each_other(point):
    assert from_world(to_world(np.array(point))) == pytest.approx(point)


def test_the_frame_of_the_simulator_is_the_one_of_the_joints(world):
    """Numbers of `frames` against the fingertips of the model."""
    world.robot.act(np.array([0.05, -0.04, 0.02, 0, 0, 0.4, 0.35]))
    data = world._engine.data
    tips = [data.geom(f"pad_{side}").xpos for side in ("left", "right")]
    assert from_world(np.mean(tips, axis=0)) == pytest.approx(world.state().ee[:3], abs=0.003)


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(0.02, 1), st.floats(0.1, 5))
def test_profiles_end_at_the_goal_at_rest_within_their_limits(start, goal, speed, acceleration):
    positions, velocities = trapezoid(start, goal, SpeedLimit(speed, acceleration), 0.004)
    if abs(goal - start) < 1e-9:
        assert len(positions) == 0
        return
    assert positions[-1] == goal
    assert velocities[-1] == 0
    steps = np.diff(np.concatenate([[start], positions]))
    assert np.abs(steps).max() <= speed * 0.004 + 1e-9
    assert np.abs(velocities).max() <= speed + 1e-9
    assert np.all(steps * np.sign(goal - start) >= -1e-9)


def test_joints_start_together_and_wait_for_the_slowest():
    limits = (SpeedLimit(0.1, 1.0), SpeedLimit(0.5, 2.0))
    positions, velocities = together(np.zeros(2), np.array([0.1, 0.1]), limits, 0.004)
    quick = np.argmax(positions[:, 1] == 0.1)
    assert quick < len(positions) - 50
    assert np.all(positions[quick:, 1] == 0.1)
    assert np.all(velocities[-1] == 0)

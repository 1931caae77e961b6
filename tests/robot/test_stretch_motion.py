import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm2vla.errors import ActionRefusedError
from vlm2vla.robot.stretch_motion import (
    BaseFrame,
    Joints,
    StretchConfig,
    check_action,
    judge,
    measured,
    opening_of,
    plan_motion,
)
from vlm2vla.simulation.frames import Pose, moved

CONFIG = StretchConfig()
HOME = Joints(lift=0.6, arm=0.1, base=0.0, wrist_yaw=0.0, gripper=1.0)
LIMITS = {"lift": (0.0, 1.1), "arm": (0.0, 0.52), "wrist_yaw": (-1.38, 4.59)}


def row(dx=0.0, dy=0.0, dz=0.0, yaw=0.0, gripper=1.0):
    return np.array([dx, dy, dz, 0.0, 0.0, yaw, gripper])


@pytest.mark.parametrize(
    ("action", "joint", "goal"),
    [
        (row(dx=0.04), "arm", 0.14),
        (row(dy=0.05), "base", 0.05),
        (row(dz=-0.03), "lift", 0.57),
    ],
)
def test_every_axis_moves_its_joint_and_no_other(action, joint, goal):
    plan = plan_motion(action, HOME, LIMITS, CONFIG)
    assert dict(plan.goals) == {joint: pytest.approx(goal)}
    assert not plan.clipped


@given(st.floats(-0.1, 0.1), st.floats(-0.1, 0.1), st.floats(-0.2, 0.2), st.floats(-1.0, 1.0))
def test_an_action_means_the_same_on_the_real_robot_and_on_the_simulated_one(dx, dy, yaw, before):
    joints = Joints(lift=0.6, arm=0.2, base=0.1, wrist_yaw=before, gripper=1.0)
    goals = dict(plan_motion(row(dx, dy, 0.02, yaw), joints, LIMITS, CONFIG).goals)
    reached = Joints(**(joints.as_dict() | goals))
    assert (reached.ee() - joints.ee())[:6] == pytest.approx([dx, dy, 0.02, 0, 0, yaw], abs=1e-6)
    simulated = moved(Pose(base=0.1, arm=0.2, lift=0.6, yaw=before), np.array([dx, dy, 0.02, yaw]))
    assert [reached.base, reached.arm, reached.lift, reached.wrist_yaw] == pytest.approx(
        [simulated.base, simulated.arm, simulated.lift, simulated.yaw], abs=1e-6
    )


def test_a_turn_of_the_wrist_leaves_the_fingertips_where_they_are():
    plan = plan_motion(row(yaw=0.2), HOME, LIMITS, CONFIG)
    assert plan.goals["wrist_yaw"] == pytest.approx(0.2)
    assert plan.goals["arm"] == pytest.approx(0.1 + 0.195 * (1 - math.cos(0.2)))
    assert plan.goals["base"] == pytest.approx(-0.195 * math.sin(0.2))


@given(st.lists(st.floats(-2, 2), min_size=4, max_size=4))
def test_goals_stay_within_the_limits_and_say_when_they_were_cut(deltas):
    dx, dy, dz, yaw = deltas
    plan = plan_motion(row(dx, dy, dz, yaw), HOME, LIMITS, CONFIG)
    for joint, (low, high) in LIMITS.items():
        assert low <= plan.goals.get(joint, low) <= high
    cut = {text.split()[0] for text in plan.clipped}
    pose = moved(HOME.pose, np.array([dx, dy, dz, yaw]))
    asked = {"arm": pose.arm, "lift": pose.lift, "wrist_yaw": yaw}
    assert cut == {name for name, goal in asked.items() if not LIMITS[name][0] - 1e-6 <= goal <= LIMITS[name][1] + 1e-6}


def test_a_joint_beyond_its_limit_may_come_back_but_not_go_further():
    outside = Joints(lift=0.6, arm=0.525, base=0.0, wrist_yaw=0.0, gripper=1.0)
    assert plan_motion(row(dx=0.01), outside, LIMITS, CONFIG).goals["arm"] == pytest.approx(0.525)
    assert plan_motion(row(dx=-0.02), outside, LIMITS, CONFIG).goals["arm"] == pytest.approx(0.505)


@pytest.mark.parametrize(
    ("action", "rule"),
    [
        (np.zeros(6), "shape"),
        (np.zeros((1, 7)), "shape"),
        ("forward", "shape"),
        (row(dx=math.nan), "finite"),
        (row(dz=math.inf), "finite"),
        (np.array([0, 0, 0, 0.1, 0, 0, 1.0]), "axes"),
        (np.array([0, 0, 0, 0, 0.1, 0, 1.0]), "axes"),
        (row(gripper=1.5), "gripper"),
        (row(gripper=-0.1), "gripper"),
    ],
)
def test_actions_a_stretch_cannot_do_are_refused_with_the_rule(action, rule):
    with pytest.raises(ActionRefusedError) as error:
        check_action(action)
    assert error.value.rule == rule


def test_a_motion_is_reached_only_at_its_goal_and_stalled_only_when_it_stands_still():
    plan = plan_motion(row(dz=0.03), HOME, LIMITS, CONFIG)
    short = Joints(lift=0.619, arm=0.1, base=0.0, wrist_yaw=0.0, gripper=1.0)
    assert judge(plan, short, 0.1, CONFIG) is None
    outcome, message = judge(plan, short, CONFIG.stalled_s, CONFIG)
    assert outcome == "timeout"
    assert "lift 11 mm short" in message
    arrived = Joints(lift=0.63, arm=0.1, base=0.0, wrist_yaw=0.0, gripper=1.0)
    assert judge(plan, arrived, 0.1, CONFIG) == ("reached", "")


def test_a_cut_motion_ends_as_clipped_with_what_was_really_done():
    plan = plan_motion(row(dx=0.6), HOME, LIMITS, CONFIG)
    end = Joints(lift=0.6, arm=0.52, base=0.0, wrist_yaw=0.0, gripper=0.5)
    outcome, message = judge(plan, end, 0.1, CONFIG)
    assert outcome == "clipped"
    assert "arm 0.700 is beyond its limits 0.000 to 0.520" in message
    assert measured(plan, end) == pytest.approx([0.42, 0, 0, 0, 0, 0, 0.5])


def test_the_driven_way_counts_along_the_heading_of_the_frame():
    frame = BaseFrame(1.0, 2.0, math.pi / 2)
    assert frame.driven(1.0, 2.3) == pytest.approx(0.3)
    assert frame.driven(1.4, 2.0) == pytest.approx(0.0)


def test_the_gripper_opens_from_touching_fingertips_to_its_own_widest():
    assert [opening_of(pct, 54.0) for pct in (-100, 0, 27, 54, 60)] == [0, 0, 0.5, 1, 1]

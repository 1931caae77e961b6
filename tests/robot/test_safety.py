import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bench.fuzz import run
from vlm2vla.embodiment import STRETCH_RE1, WIDOWX
from vlm2vla.errors import ConfigError
from vlm2vla.robot import Box, Rules, SafeRobot, SafetyConfig, Situation, table_box, tables
from vlm2vla.robot.safety import CLAMPABLE
from vlm2vla.robot.scripted import HandClock, ScriptedRobot

TABLE = table_box(0.62, x=(0.4, 1.0))
VASE = Box("the vase", (0.6, -0.1, 0.6), (0.7, 0.1, 0.9))
RULES = {
    clamp: Rules(STRETCH_RE1, SafetyConfig(clamp=clamp, margin_m=0.01), (TABLE, VASE)) for clamp in ((), CLAMPABLE)
}
HERE = np.array([0.5, 0.0, 0.8, 0.0, 0.0, 0.0, 1.0])

wild = st.floats(allow_nan=True, allow_infinity=True, width=64)
tame = st.one_of(st.floats(-0.06, 0.06), st.sampled_from([0.0, 0.05, -0.05, 0.2, -0.2, 1.0, -0.0, 5e-324, 0.15]))
places = st.tuples(st.floats(-0.3, 1.4), st.floats(-0.3, 0.3), st.floats(-0.3, 1.5)).map(
    lambda xyz: np.array([*xyz, 0.0, 0.0, 0.0, 1.0])
)
anything = st.one_of(
    st.lists(st.one_of(wild, tame), min_size=7, max_size=7),
    st.lists(tame, min_size=4, max_size=7),
    st.lists(st.one_of(wild, st.integers(), st.text(max_size=3), st.none(), st.booleans()), max_size=9),
    arrays.arrays(
        st.sampled_from(
            [np.float64, np.float32, np.int8, np.uint64, np.complex128, np.bool_, "U3", "S2", "M8[s]", object]
        ),
        arrays.array_shapes(min_dims=0, max_dims=3, max_side=8),
    ),
    st.text(max_size=8),
    st.binary(max_size=8),
    st.none(),
    st.dictionaries(st.text(max_size=2), wild, max_size=7),
    st.just([[0.0] * 7] * 7),
    st.just([10**400] * 7),
    st.sampled_from([object(), ..., float, [0.0, [0.0]], {1.0, 2.0, 3.0, 4.0}, iter([0.0] * 7), range(7)]),
)


@pytest.mark.parametrize("ee", [None, HERE, [0.5, 0.0, 0.62]])
def test_alone_a_rule_knows_no_room_until_it_knows_the_hand(ee):
    verdict = RULES[()].judge_alone([0, 0, -0.05, 1], ee).verdict
    assert verdict == ("refused" if ee is not None and ee[2] < 0.68 else "pass")
    assert RULES[()].judge_alone([0, 0, -0.05, 1], [np.nan] * 7).rule == "stale"


def test_where_a_real_table_ends_is_not_known():
    assert tables(None) == ()
    rules = Rules(STRETCH_RE1, keep_out=tables(0.62))
    assert (rules.table_m, Rules(STRETCH_RE1).table_m) == (0.62, None)
    below = np.array([0.3, 0.0, 0.5, 0.0, 0.0, 0.0, 1.0])  # stowed: it may only come up
    assert rules.judge([0, 0, 0.04, 1], Situation(below)).verdict == "pass"
    assert rules.judge([0.04, 0, 0, 1], Situation(below)).rule == "keep-out"


def outside_reach(point):
    return sum(
        max(0.0, low - value, value - high) for value, (low, high) in zip(point, STRETCH_RE1.ee_limits, strict=True)
    )


def depth(point, box, margin=0.01):
    return min(
        min(value - low + margin, high + margin - value)
        for value, low, high in zip(point, box.lower, box.upper, strict=True)
    )


@pytest.mark.parametrize("clamp", RULES)
@settings(max_examples=600, deadline=None)
@given(action=anything, place=places, previous=st.none() | st.lists(tame, min_size=7, max_size=7).map(np.array))
def test_nothing_outside_the_bounds_ever_passes(clamp, action, place, previous):
    rules = RULES[clamp]
    decision = rules.judge(action, Situation(place, 1.0, (), previous))
    if decision.verdict == "refused":
        assert decision.action is None
        assert decision.rule
        assert decision.message
        return
    row = decision.action
    assert row.shape == (7,)
    assert row.dtype == np.float64
    assert np.isfinite(row).all()
    assert np.abs(row[:3]).max() <= 0.05
    assert np.abs(row[3:6]).max() <= 0.2
    assert row[3] == row[4] == 0
    assert row[6] in (0.0, 1.0)
    if previous is not None:
        assert np.abs(row - previous)[:3].max() <= 0.08 + 0.05
    goal = place[:3] + row[:3]
    assert outside_reach(goal) <= outside_reach(place[:3]) + 1e-9
    for box in rules.keep_out:
        if row[:3].any():
            assert depth(goal, box) <= max(1e-8, depth(place[:3], box))
    if decision.verdict == "pass":
        given_row = np.asarray(action, dtype=np.float64)
        assert np.allclose(row[:3], given_row[:3], atol=1e-8)
        assert row[6] == given_row[-1]
    else:
        assert clamp == CLAMPABLE
        assert decision.rule in CLAMPABLE


@settings(max_examples=300, deadline=None)
@given(
    place=places,
    row=st.lists(st.floats(-0.05, 0.05), min_size=3, max_size=3),
    share=st.lists(st.floats(0, 1), min_size=3, max_size=3),
)
def test_no_order_of_the_joints_touches_a_box_on_the_way(place, row, share):
    rules = RULES[CLAMPABLE]
    decision = rules.judge([*row, 1.0], Situation(place))
    if decision.action is None or any(depth(place[:3], box) > 0 for box in rules.keep_out):
        return
    on_the_way = place[:3] + decision.action[:3] * np.array(share)
    assert all(depth(on_the_way, box) <= 1e-8 for box in rules.keep_out)


@settings(max_examples=300, deadline=None)
@given(age=st.one_of(wild, st.just(30.0)), recent=st.lists(st.floats(0, 3), max_size=30))
def test_old_observations_and_too_many_actions_never_pass(age, recent):
    decision = Rules(STRETCH_RE1).judge([0.01, 0, 0, 1], Situation(HERE, age, tuple(recent)))
    too_many = sum(ago < 1.0 for ago in recent) >= 10
    fresh = -1e-9 <= age <= 30.0
    assert (decision.verdict == "pass") == (fresh and not too_many)


def test_the_four_number_row_of_the_paper_becomes_seven():
    decision = Rules(STRETCH_RE1).judge([0.02, 0.0, -0.03, 0], Situation(HERE))
    assert decision.verdict == "pass"
    assert decision.action.tolist() == [0.02, 0, -0.03, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("action", "rule", "words"),
    [
        ([0.01, 0, 0, 0.1, 0, 0, 1], "axes", "Hello Robot Stretch RE1 cannot move along roll"),
        ([0.01, 0, 0, 0.4], "gripper", "not 0.4"),
        ([0, 0, -0.12, 1], "step", "down 12.0 cm in one step is more than 5 cm; say it in shorter steps"),
        ([12.0, 0, 0, 1], "step", "a wrong unit?"),
        ([0, 0, 0, 0, 0, 0.3, 1], "step", "yaw +17.2 degrees"),
        ([math.nan, 0, 0, 1], "numbers", "finite"),
        (["0.01", 0, 0, 1], "numbers", "7 numbers"),
        ([0.01, 0, 0], "numbers", "not 3"),
        ([0, 0, -0.04, 1], "keep-out", "the way leads into the table"),
    ],
)
def test_each_rule_says_what_is_wrong(action, rule, words):
    here = HERE.copy()
    here[2] = 0.65
    decision = RULES[()].judge(action, Situation(here))
    assert (decision.verdict, decision.rule) == ("refused", rule)
    assert words in decision.message


def test_a_step_is_shortened_in_its_own_direction():
    decision = Rules(STRETCH_RE1).judge([0.1, 0.05, 0, 1], Situation(HERE))
    assert (decision.verdict, decision.rule) == ("clamped", "step")
    assert decision.action[:3] == pytest.approx([0.05, 0.025, 0])
    assert "forward 10.0 cm" in decision.message
    assert "50 %" in decision.message


def test_a_motion_ends_at_the_edge_of_reach_and_only_comes_back_from_beyond():
    here = HERE.copy()
    here[2] = 1.38
    decision = Rules(STRETCH_RE1).judge([0, 0, 0.04, 1], Situation(here))
    assert decision.rule == "reach"
    assert decision.action[2] == pytest.approx(0.02)
    here[2] = 1.5
    assert Rules(STRETCH_RE1).judge([0, 0, 0.04, 1], Situation(here)).verdict == "refused"
    assert Rules(STRETCH_RE1).judge([0, 0, -0.04, 1], Situation(here)).verdict == "pass"


def test_the_gripper_closes_where_the_hand_may_not_move():
    here = HERE.copy()
    here[2] = 0.5
    assert RULES[()].judge([0, 0, 0, 0], Situation(here)).verdict == "pass"
    assert RULES[()].judge([0.01, 0, 0, 0], Situation(here)).verdict == "refused"
    assert RULES[()].judge([0, 0, 0.04, 0], Situation(here)).verdict == "pass"


def test_without_a_position_only_the_gripper_moves():
    for unknown in (None, np.full(7, np.nan)):
        assert Rules(STRETCH_RE1).judge([0.01, 0, 0, 1], Situation(unknown)).rule == "stale"
        assert Rules(STRETCH_RE1).judge([0, 0, 0, 0], Situation(unknown)).verdict == "pass"


def test_a_chunk_is_judged_from_where_its_rows_lead_and_ends_at_the_first_refusal():
    rules = RULES[()]
    down = [[0, 0, -0.05, 1]] * 5
    verdicts = [decision.verdict for decision in rules.judge_chunk(down, Situation(HERE))]
    assert verdicts == ["pass", "pass", "pass", "refused"]
    bounce = [[0, 0, 0.05, 1], [0, 0, -0.05, 1]]
    assert [decision.rule for decision in rules.judge_chunk(bounce, Situation(HERE))] == ["", "jump"]


def test_limits_that_make_no_sense_are_refused():
    with pytest.raises(ConfigError, match="can only refuse"):
        SafetyConfig(clamp=("jump",))
    with pytest.raises(ConfigError, match="step_m"):
        SafetyConfig(step_m=math.nan)
    with pytest.raises(ConfigError, match="at most"):
        Rules(WIDOWX, SafetyConfig(step_m=0.5))
    with pytest.raises(ConfigError, match="the shelf"):
        Box("the shelf", (0, 0, 1), (1, 1, 1))


@pytest.fixture
def body():
    return ScriptedRobot(clock=HandClock(10.0), images={})


def test_a_safe_robot_moves_what_may_move_and_says_what_it_decided(body):
    decisions = []
    robot = SafeRobot(body, on_decision=decisions.append)
    assert robot.act(np.array([0.02, 0, 0, 1])).outcome == "reached"
    refused = robot.act(np.array([9.0, 0, 0, 1]))
    assert refused.outcome == "refused"
    assert refused.message.startswith("rule step: forward 900.0 cm")
    assert [decision.verdict for decision in decisions] == ["pass", "refused"]
    assert len(body.acts) == 1


def test_a_safe_robot_knows_where_the_last_motion_ended(body):
    robot = SafeRobot(body, Rules(STRETCH_RE1, keep_out=(table_box(0.6),)))
    observation = robot.observe()
    outcomes = [robot.act([0, 0, -0.04, 1], decided_on=observation).outcome for _ in range(4)]
    assert outcomes == ["reached", "reached", "refused", "refused"]
    assert body.observe().ee[2] == pytest.approx(0.62)


def test_a_jump_within_a_chunk_is_refused_and_a_new_look_begins_a_new_chunk(body):
    robot = SafeRobot(body)
    observation = robot.observe()
    assert robot.act([0, 0, 0.05, 1], decided_on=observation).outcome == "reached"
    assert robot.act([0, 0, -0.05, 1], decided_on=observation).outcome == "refused"
    assert robot.act([0, 0, -0.05, 1], decided_on=robot.observe()).outcome == "reached"


def test_what_was_decided_too_long_ago_does_not_move(body):
    robot = SafeRobot(body)
    observation = robot.observe()
    body._clock.sleep(31)
    result = robot.act([0.01, 0, 0, 1], decided_on=observation)
    assert (result.outcome, robot.last_decision.rule) == ("refused", "stale")
    assert robot.act([0.01, 0, 0, 1], decided_on=robot.observe()).outcome == "reached"


def test_an_eleventh_action_in_one_second_waits(body):
    robot = SafeRobot(body)
    observation = robot.observe()
    outcomes = [robot.act([0.001, 0, 0, 1], decided_on=observation).outcome for _ in range(11)]
    assert outcomes == ["reached"] * 10 + ["refused"]
    assert robot.last_decision.rule == "rate"
    body._clock.sleep(1)
    assert robot.act([0.001, 0, 0, 1], decided_on=observation).outcome == "reached"


def test_a_robot_that_cannot_be_seen_does_not_move(body):
    robot = SafeRobot(body)
    body.fail(camera_lost=True)
    result = robot.act([0.01, 0, 0, 1])
    assert result.outcome == "refused"
    assert "camera" in result.message
    assert not body.acts


def test_malformed_action_text_neither_crashes_nor_moves():
    ends, moved = run(4000, seed=1)
    assert moved == []
    assert ends["unreadable"] > 0
    assert ends["refused"] > 0


@pytest.mark.slow
def test_a_hundred_thousand_malformed_action_strings_neither_crash_nor_move():
    assert run(100_000, seed=2)[1] == []


def test_a_clock_that_went_back_moves_nothing(body):
    robot = SafeRobot(body)
    observation = robot.observe()
    body._clock.sleep(-5)
    assert robot.act([0.01, 0, 0, 1], decided_on=observation).outcome == "refused"
    assert "clock went back" in robot.last_decision.message

"""The driving loop on a robot that only calculates, with policies that say what the test wants."""

import threading

import numpy as np
import pytest

from vlm2vla.annotation.checks import check
from vlm2vla.policy import ParseFailed, Script, ScriptedPolicy, ScriptedVerifier, TypedPolicy
from vlm2vla.robot.scripted import HandClock, ScriptedFaults, ScriptedRobot
from vlm2vla.rollout import (
    ActionAsked,
    ActionDone,
    ChunkDecided,
    Decision,
    Ended,
    PolicySaid,
    RolloutConfig,
    SubtaskJudged,
    Trace,
    drive,
    record,
)

GRASP = Script("move forward, then close the gripper", ("[[4.0, 0.0, 0.0, 1], [0.0, 0.0, 0.0, 0]]",))
LIFT = Script("move up", ("[[0.0, 0.0, 3.0, 0]]",))


@pytest.fixture
def robot() -> ScriptedRobot:
    return ScriptedRobot(clock=HandClock(), speed_m_s=0.1)


def run(robot, cycles=(GRASP, LIFT), subtasks=("Grasp the cube", "Lift the cube"), verdicts=(True,), **settings):
    policy = settings.pop("policy", None) or ScriptedPolicy(subtasks, cycles)
    trace = Trace("pick up the cube", robot.embodiment, policy.name)
    events = drive(robot, policy, ScriptedVerifier(verdicts), trace.instruction, **settings)
    return list(record(events, trace)), trace


def of(events, kind):
    return [event for event in events if isinstance(event, kind)]


def test_what_is_said_is_done_and_recorded(robot):
    start = robot.observe().ee
    events, trace = run(robot)
    assert events[-1].end == "finished"
    moved = robot.observe().ee - start
    assert moved[:3] == pytest.approx([0.04, 0, 0.03], abs=1e-6)
    episode, annotated = trace.episode(), trace.annotated("rows:0.5cm")
    assert len(episode) == 4
    assert [(s.text, s.start_step, s.end_step) for s in annotated.subtasks] == [
        ("Grasp the cube", 0, 2),
        ("Lift the cube", 2, 4),
    ]
    assert [finding for finding in check(annotated, episode) if finding.severity == "error"] == []
    assert episode.frame(0).startswith(b"\xff\xd8")


def test_text_that_does_not_parse_is_written_again_and_shown(robot):
    stubborn = Script("move up", ("up 3 cm please", "[[0, 0, 3.0", "[[0.0, 0.0, 3.0, 1]]"))
    events, _ = run(robot, cycles=(stubborn,), subtasks=("Lift",))
    failed = [event.event for event in of(events, PolicySaid) if isinstance(event.event, ParseFailed)]
    assert [failure.attempt for failure in failed] == [1, 2]
    assert len(of(events, ActionDone)) == 1


def test_after_the_last_try_the_robot_holds_still(robot):
    start = robot.observe().ee
    events, _ = run(robot, cycles=(Script("move up", ("nonsense",) * 9),), subtasks=("Lift",))
    assert (events[-1].end, "no chunk parsed in 4 tries") == ("gave up", events[-1].reason)
    assert np.array_equal(robot.observe().ee, start)


def test_a_wrong_verdict_repeats_the_subtask(robot):
    events, _ = run(robot, cycles=(GRASP, GRASP, LIFT), verdicts=(False, True))
    assert [event.verdict.done for event in of(events, SubtaskJudged)] == [False, True, True]
    assert [event.driving.subtask for event in of(events, SubtaskJudged)][:2] == ["Grasp the cube"] * 2


def test_a_refused_row_moves_nothing_and_says_which_rule(robot):
    start = robot.observe().ee
    far = Script("move far forward", ("[[90.0, 0.0, 0.0, 1], [1.0, 0.0, 0.0, 1]]",))
    events, _ = run(robot, cycles=(far,), subtasks=("Reach",))
    (asked,) = of(events, ActionAsked)
    assert (asked.decision.verdict, asked.decision.rule) == ("refused", "step")
    assert np.array_equal(robot.observe().ee, start)


class Veto:
    """Says no to everything."""

    def decide(self, question):
        return Decision(False, question.key, "not like this")


class MovesMeanwhile:
    """Somebody pushes the robot between the question and the yes."""

    def __init__(self, robot):
        self.robot = robot

    def decide(self, question):
        self.robot.act(np.array([0, 0, 0.03, 0, 0, 0, 1.0]))
        return Decision(True, question.key)


def test_nothing_moves_without_a_yes(robot):
    start = robot.observe().ee
    events, _ = run(robot, gate=Veto(), config=RolloutConfig(max_cycles=1))
    assert of(events, ChunkDecided)[0].reason == "not like this"
    assert (events[-1].end, of(events, ActionAsked)) == ("out of cycles", [])
    assert np.array_equal(robot.observe().ee, start)


def test_a_yes_is_void_when_the_robot_moved_or_time_ran_out(robot):
    events, _ = run(robot, gate=MovesMeanwhile(robot), config=RolloutConfig(max_cycles=1))
    assert "moved between" in of(events, ChunkDecided)[0].reason
    ticks = iter(range(0, 10_000, 100))
    events, _ = run(robot, clock=lambda: next(ticks), config=RolloutConfig(max_cycles=1))
    assert "too late" in of(events, ChunkDecided)[0].reason


def test_stop_ends_it_before_the_next_row(robot):
    stopped = threading.Event()
    events = drive(robot, ScriptedPolicy(("Lift",), (LIFT,)), ScriptedVerifier(), "lift", stopped=stopped)
    seen = []
    for event in events:
        seen.append(event)
        if isinstance(event, PolicySaid):
            stopped.set()
    assert (seen[-1].end, of(seen, ActionAsked)) == ("stopped", [])


@pytest.mark.parametrize("faults", [ScriptedFaults(camera_lost=True), ScriptedFaults(stale=True)])
def test_a_robot_that_cannot_be_trusted_is_an_error_not_a_failure(robot, faults):
    robot.faults = faults
    events, _ = run(robot)
    assert events[-1].end == "error"


class Broken(ScriptedPolicy):
    def plan(self, driving, observation):
        raise ZeroDivisionError("a bug")
        yield


def test_a_policy_that_breaks_leaves_the_robot_still(robot):
    events, trace = run(robot, policy=Broken(("Lift",), (LIFT,)))
    assert (events[-1].end, events[-1].reason) == ("error", "ZeroDivisionError: a bug")
    assert trace.ended is events[-1]
    assert not robot.status().moving


class Counted(ScriptedRobot):
    stops = 0

    def stop(self) -> bool:
        self.stops += 1
        return super().stop()


def test_a_consumer_that_goes_away_stops_the_robot():
    robot = Counted(clock=HandClock())
    events = drive(robot, ScriptedPolicy(("Lift",), (LIFT,)), ScriptedVerifier(), "lift")
    next(events)
    events.close()
    assert robot.stops == 1


def test_a_person_types_and_the_gripper_stays_as_it_is(robot):
    typed = iter(["fly to the moon", "move forward 4 cm and lower 3 cm", "[[0, 0, 2, 0]]", None])
    start = robot.observe().ee
    events, trace = run(robot, policy=TypedPolicy(lambda: next(typed)), verdicts=(False,))
    assert (events[-1].end, events[-1].reason) == ("gave up", "nothing more was typed")
    failed = [event.event for event in of(events, PolicySaid) if isinstance(event.event, ParseFailed)]
    assert [failure.raw for failure in failed] == ["fly to the moon"]
    first, second = of(events, ActionAsked)
    assert first.asked == pytest.approx([0.04, 0, -0.03, 0, 0, 0, 1])
    assert second.asked == pytest.approx([0, 0, 0.02, 0, 0, 0, 0])
    assert (robot.observe().ee - start)[:3] == pytest.approx([0.04, 0, -0.01], abs=1e-6)
    assert trace.spans[0][2].plan


def test_ended_is_always_last_and_only_once(robot):
    for cycles in ((GRASP, LIFT), (), (Script("x", ("bad",)),)):
        events, _ = run(robot, cycles=cycles)
        assert [type(event) for event in events].count(Ended) == 1
        assert isinstance(events[-1], Ended)

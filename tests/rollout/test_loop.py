"""The driving loop on a robot that only calculates, with policies that say what the test wants."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from tests.rollout.conftest import GRASP, LIFT, run
from vlm2vla.annotation.checks import check
from vlm2vla.policy import ChunkReady, ParseFailed, Script, ScriptedPolicy, ScriptedVerifier, TypedPolicy
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
    drive,
)


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


class GoesBack(ScriptedPolicy):
    """Is taken back after two cycles in vain, and knows how often it was asked for subtasks."""

    back_after, decomposed = 2, 0

    def subtasks(self, driving, observation):
        self.decomposed += 1
        yield from super().subtasks(driving, observation)


def test_what_cannot_be_finished_is_not_tried_for_ever_the_subtask_before_is_taken_up_again(robot):
    policy = GoesBack(("Grasp the cube", "Lift the cube"), [GRASP] * 9)
    verdicts = (True, False, False, True, False, True, True)
    events, _ = run(robot, policy=policy, verdicts=verdicts)
    assert [event.driving.index for event in of(events, SubtaskJudged)] == [0, 1, 1, 0, 1, 1]
    assert (events[-1].end, policy.decomposed) == ("finished", 1)


def test_at_the_first_subtask_all_of_them_are_written_anew(robot):
    policy = GoesBack(("Grasp the cube", "Lift the cube"), [LIFT] * 9)
    events, _ = run(robot, policy=policy, verdicts=(False, False, False, True, True))
    assert policy.decomposed == 2
    assert [event.driving.cycle for event in of(events, SubtaskJudged)] == [0, 1, 2, 3, 4]
    assert events[-1].end == "finished"


def test_a_chunk_that_goes_on_is_not_in_vain(robot):
    one = Script("move forward", ("[[0.5, 0.0, 0.0, 1]]",))
    policy = LooksAgain(("Reach", "Lift"), [one] * 9)
    policy.back_after = 1
    events, _ = run(robot, policy=policy)
    assert [event.driving.index for event in of(events, SubtaskJudged)] == [0, 0, 1]


class LooksAgain(ScriptedPolicy):
    """Carries out one row of two, then looks again."""

    def chunk(self, driving, observation):
        for event in super().chunk(driving, observation):
            yield replace(event, later=1 if driving.cycle == 0 else 0) if isinstance(event, ChunkReady) else event


def test_a_subtask_is_not_done_before_the_rest_of_its_chunk(robot):
    one = Script("move forward", ("[[4.0, 0.0, 0.0, 1]]",))
    policy = LooksAgain(("Reach",), (one, one))
    events, _ = run(robot, policy=policy)  # the verifier says yes whenever it is asked
    assert [event.verdict.done for event in of(events, SubtaskJudged)] == [False, True]


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


def test_what_is_stopped_before_it_begins_asks_nobody(robot):
    stopped = threading.Event()
    stopped.set()
    events, _ = run(robot, stopped=stopped)
    assert [type(event) for event in events] == [Ended]
    assert events[0].end == "stopped"


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


class Thinks(ScriptedPolicy):
    """Takes its time at one level of the first cycle; the robot's clock goes on meanwhile."""

    def __init__(self, robot, level, seconds):
        super().__init__(("Lift",), (LIFT, LIFT))
        self.robot, self.level, self.seconds, self.ages = robot, level, seconds, []

    def think(self, level, driving, observation):
        self.ages.append((level, self.robot.status().time_s - observation.time_s))
        if level == self.level and driving.cycle == 0:
            self.robot._clock.sleep(self.seconds)
        return getattr(super(), level)(driving, observation)

    def subtasks(self, driving, observation):
        yield from self.think("subtasks", driving, observation)

    def plan(self, driving, observation):
        yield from self.think("plan", driving, observation)

    def chunk(self, driving, observation):
        yield from self.think("chunk", driving, observation)


def test_a_chunk_that_took_minutes_is_stale_and_the_next_one_is_written_on_a_new_look(robot):
    policy = Thinks(robot, "chunk", 300)
    events, _ = run(robot, policy=policy, verdicts=(False, True))
    first, second = of(events, ActionAsked)
    assert (first.decision.verdict, first.decision.rule) == ("refused", "stale")
    assert (second.decision.verdict, events[-1].end) == ("pass", "finished")
    assert policy.ages[-1] == ("chunk", 0)


@pytest.mark.parametrize("level", ["subtasks", "plan"])
def test_what_took_minutes_before_the_chunk_is_followed_by_a_new_look(robot, level):
    policy = Thinks(robot, level, 300)
    events, _ = run(robot, policy=policy)
    assert [event.decision.verdict for event in of(events, ActionAsked)] == ["pass"]
    assert policy.ages[1:] == [("plan", 0), ("chunk", 0)]


def test_thinking_for_some_seconds_is_not_stale_and_needs_no_other_look(robot):
    policy = Thinks(robot, "chunk", 12)
    events, _ = run(robot, policy=policy)
    assert [event.decision.verdict for event in of(events, ActionAsked)] == ["pass"]
    policy = Thinks(robot, "plan", 5)
    run(robot, policy=policy)
    assert policy.ages[-1] == ("chunk", pytest.approx(5))


def test_a_person_may_take_minutes_to_type(robot):
    texts = iter(["move up 2 cm"])

    def read():
        robot._clock.sleep(300)
        return next(texts, None)

    events, _ = run(robot, policy=TypedPolicy(read))
    assert [event.decision.verdict for event in of(events, ActionAsked)] == ["pass"]


class Jitters(ScriptedRobot):
    """Its sensors do not say twice the same of a hand that stands still."""

    sign = 1

    def observe(self):
        self.sign = -self.sign
        seen = super().observe()
        return replace(seen, ee=seen.ee + self.sign * np.array([0.0004] * 3 + [0.002] * 3 + [0.01]))


@pytest.mark.parametrize("x", [0.5, 0.501])
def test_the_noise_of_sensors_makes_no_yes_void(x):
    robot = Jitters(clock=HandClock(), start=(x, 0.0, 0.701, 0.0, 0.0, 0.0, 0.9))
    events, _ = run(robot)
    assert [decided.reason for decided in of(events, ChunkDecided)] == ["auto", "auto"]
    assert events[-1].end == "finished"


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

"""One operator at a time; whoever is gone leaves a robot that stands still; everybody may stop."""

import threading

import pytest

from tests.driving.conftest import ANNA, BEN, until
from vlm2vla.driving.lease import NotOperatorError
from vlm2vla.errors import RobotError
from vlm2vla.robot.scripted import ScriptedRobot


def test_the_second_operator_watches_until_taking_over(desk_for):
    desk = desk_for(speed_m_s=0.02)
    desk.start("long")
    until(lambda: desk.robot.status().moving, "motion")
    with pytest.raises(NotOperatorError, match="anna drives"):
        desk.service.take(BEN, "ben")
    for refused in (
        lambda: desk.service.set_mode(BEN, "step"),
        lambda: desk.service.steering.answer(BEN, "x", True, "ben"),
        lambda: desk.service.steering.edit(BEN, "plan", "move down", "ben"),
        lambda: desk.service.start(BEN, "ben", "up", "lift", "auto"),
        lambda: desk.service.close_robot(BEN),
    ):
        with pytest.raises(NotOperatorError):
            refused()
    assert not desk.service.run.over
    desk.service.take(BEN, "ben", over=True)
    assert desk.service.run.ended.end == "stopped"
    assert "ben took over from anna" in desk.service.run.ended.reason
    assert not desk.robot.status().moving
    with pytest.raises(NotOperatorError, match="ben drives"):
        desk.service.set_mode(ANNA, "step")


def test_an_operator_who_is_not_heard_of_any_more_leaves_a_still_robot(desk_for):
    desk = desk_for(speed_m_s=0.02, lease_s=0.6)
    run = desk.start("long")
    desk.silence()
    ended = desk.ended()
    assert (ended.end, "nothing was heard of anna's page" in ended.reason) == ("stopped", True)
    assert not desk.robot.status().moving
    assert desk.service.lease.operator is None
    info = desk.service.history.run(run.plan.id).info()
    assert (info["end"], info["steps"] >= 1) == ("stopped", True)


def test_a_page_that_is_closed_stops_at_once_and_another_one_does_not_matter(desk_for):
    desk = desk_for(speed_m_s=0.02)
    desk.start("long")
    desk.service.leave(BEN)
    assert not desk.service.run.over
    desk.service.leave(ANNA)
    assert desk.service.run.ended.reason == "anna's page was closed"
    assert not desk.robot.status().moving


class SlowToBegin(ScriptedRobot):
    """An episode begins when the test says so."""

    def __init__(self):
        super().__init__(speed_m_s=0.02)
        self.beginning, self.go_on = threading.Event(), threading.Event()

    def begin_episode(self):
        self.beginning.set()
        assert self.go_on.wait(60)
        super().begin_episode()


@pytest.mark.parametrize("way", ["closed", "silent", "taken over", "closed and back", "stopped"])
def test_a_run_that_was_asked_for_does_not_begin_without_its_operator(desk_for, way):
    robot, answers = SlowToBegin(), []
    desk = desk_for(robot, lease_s=0.6)
    desk.open()

    def start():
        try:
            answers.append(desk.service.start(ANNA, "anna", "long", "lift the cube", "auto"))
        except RobotError as error:
            answers.append(error)

    starting = threading.Thread(target=start)
    starting.start()
    assert robot.beginning.wait(60)
    if way == "stopped":
        desk.service.stop("ben")
    elif way == "silent":
        desk.silence()
        until(lambda: desk.service.lease.operator is None)
    elif way == "taken over":
        desk.service.take(BEN, "ben", over=True)
    else:
        desk.service.leave(ANNA)
    if way == "closed and back":
        desk.service.take(ANNA, "anna")
    robot.go_on.set()
    starting.join(60)
    assert desk.ended().end == "stopped"
    assert ("nothing moved" in str(answers[0])) == (way != "stopped")
    assert robot.acts == []
    info = desk.service.history.runs()[0]
    assert ("STOP was pressed" if way == "stopped" else "anna did not drive any more") in info["reason"]


def test_that_the_space_is_clear_is_said_by_whoever_drives_and_anew_after_a_run_stop(desk_for):
    robot = ScriptedRobot()
    robot.simulated = False  # treated like a real one
    desk = desk_for(robot, lease_s=3600)
    desk.open()

    def space() -> str:
        return next(row["state"] for row in desk.service.checks() if row["name"] == "space")

    assert space() == "ask"
    desk.service.confirm(ANNA, "space")
    assert space() == "ok"
    desk.service.take(BEN, "ben", over=True)
    assert space() == "ask"
    desk.service.confirm(BEN, "space")
    robot.press_runstop()
    until(lambda: space() == "ask")
    robot.release_runstop()
    assert space() == "ask"
    desk.service.confirm(BEN, "space")
    desk.service.leave(BEN)
    assert space() == "ask"


def test_watchers_are_counted_without_the_operator(desk):
    desk.open()
    desk.service.lease.watch(ANNA)
    desk.service.lease.watch(BEN)
    assert desk.service.state(BEN)["lease"] == {
        "operator": {"name": "anna", "client": ANNA, "since": desk.service.lease.operator.since},
        "watchers": 1,
        "mine": False,
    }


def test_anybody_may_stop_and_nothing_begins_afterwards(desk_for):
    desk = desk_for(speed_m_s=0.02)
    desk.start("long")
    until(lambda: desk.robot.status().moving, "motion")
    told = []
    assert desk.service.stop("a visitor", told.append)["state"] == "sent"
    until(lambda: told)
    done = len(desk.robot.acts)
    assert told[0]["state"] == "confirmed"
    assert desk.ended().reason == "stopped by a visitor"
    assert len(desk.robot.acts) == done
    assert [record["state"] for record in desk.records("stop")] == ["sent", "confirmed"]


def test_a_robot_that_does_not_stop_is_said_not_to(desk_for):
    desk = desk_for(speed_m_s=0.02)
    desk.start("long")
    until(lambda: desk.robot.status().moving, "motion")
    desk.robot.fail(deaf=True)
    told = []
    desk.service.stop("anna", told.append)
    until(lambda: told)
    assert (told[0]["state"], "press the run-stop at the robot" in told[0]["message"]) == ("failed", True)
    desk.robot.fail(deaf=False)


def test_stop_without_a_robot_says_so(desk):
    told = []
    desk.service.stop("anna", told.append)
    until(lambda: told)
    assert told[0]["state"] == "nothing"


def test_no_run_without_robot_and_no_second_run(desk_for):
    desk = desk_for(speed_m_s=0.02)
    with pytest.raises(RobotError, match="no robot is open"):
        desk.service.start(ANNA, "anna", "up", "lift", "auto")
    desk.start("long")
    with pytest.raises(RobotError, match="a run is under way"):
        desk.service.start(ANNA, "anna", "up", "lift", "auto")
    with pytest.raises(RobotError, match="a run is under way"):
        desk.service.open(ANNA, "anna", {"robot": "scripted"})


def test_a_robot_that_is_not_ready_is_not_driven(desk):
    desk.open()
    desk.robot.press_runstop()
    with pytest.raises(RobotError, match="run-stop is pressed; release it at the robot"):
        desk.service.start(ANNA, "anna", "up", "lift", "auto")
    with pytest.raises(RobotError, match="released at the robot"):
        desk.service.release_runstop(ANNA)
    desk.robot.release_runstop()
    desk.robot.fail(unhomed=True)
    with pytest.raises(RobotError, match="stretch_robot_home"):
        desk.service.start(ANNA, "anna", "up", "lift", "auto")
    assert desk.robot.acts == []

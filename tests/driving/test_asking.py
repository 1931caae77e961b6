"""Approvals: bound to what is shown, void when late, one question at a time; edits on the way; typed actions."""

import time

import pytest

from tests.driving.conftest import ANNA, BEN, until
from vlm2vla.driving.gate import StaleAnswerError
from vlm2vla.driving.lease import NotOperatorError
from vlm2vla.errors import ActionParseError, ConfigError


def test_step_mode_moves_only_after_a_yes(desk):
    run = desk.start("up", "step")
    question = desk.asked()
    assert (run.state, question.view["says"], question.veto) == ("asking", ["up 3.0 cm, gripper open"], None)
    assert desk.robot.acts == []
    desk.service.steering.answer(ANNA, question.key, True, "anna")
    assert desk.ended().end == "finished"
    assert desk.height == pytest.approx(0.73)
    assert [(r["go"], r["by"]) for r in desk.records("answered")] == [(True, "anna")]


def test_a_yes_to_another_question_or_a_second_yes_is_stale(desk):
    desk.start("up", "step")
    question = desk.asked()
    with pytest.raises(StaleAnswerError):
        desk.service.steering.answer(ANNA, "0" * 16, True, "anna")
    desk.service.steering.answer(ANNA, question.key, False, "anna", "not now")
    until(lambda: desk.records("decided"))
    assert desk.records("decided")[0]["reason"] == "not now"
    again = desk.asked()
    assert again.key != question.key  # the same motion from the same place, and still another question
    with pytest.raises(StaleAnswerError):
        desk.service.steering.answer(ANNA, question.key, True, "anna")
    desk.service.steering.answer(ANNA, again.key, True, "anna")
    desk.ended()
    with pytest.raises(Exception, match="nothing runs"):
        desk.service.steering.answer(ANNA, again.key, True, "anna")
    assert len(desk.robot.acts) == 1


def test_a_question_that_nobody_answers_holds_still_until_it_is_asked_again(desk_for):
    desk = desk_for(approval_s=3.0)
    run = desk.start("up", "step")
    question = desk.asked()
    until(lambda: run.state == "held")
    with pytest.raises(StaleAnswerError, match="too late"):
        desk.service.steering.answer(ANNA, question.key, True, "anna")
    assert desk.robot.acts == []
    desk.service.steering.ask_again(ANNA)
    until(lambda: run.state == "asking")
    desk.service.steering.answer(ANNA, desk.asked().key, True, "anna")
    assert desk.ended().end == "finished"


def test_a_robot_that_was_moved_meanwhile_makes_a_yes_void(desk):
    desk.start("up", "step")
    question = desk.asked()
    desk.robot._ee[1] += 0.05  # somebody pushes it
    desk.service.steering.answer(ANNA, question.key, True, "anna")
    until(lambda: desk.records("decided"))
    assert (desk.records("decided")[0]["approved"], desk.robot.acts) == (False, [])
    assert "moved between" in desk.records("decided")[0]["reason"]
    desk.service.stop("anna")


def test_supervised_goes_on_by_itself_and_a_veto_makes_it_careful(desk_for):
    desk = desk_for(veto_s=0.15)
    run = desk.start("twice", "supervised")
    question = desk.asked()
    before = desk.service.events.now()
    desk.service.steering.seen(ANNA, question.key)
    after = desk.service.events.now()
    veto = next(record["question"]["veto"] for record in desk.records("question") if record["question"]["veto"])
    assert before + 0.149 <= veto <= after + 0.151
    until(lambda: desk.records("action_done"))
    assert desk.records("answered")[0]["reason"] == "nobody said no"
    until(lambda: run.driving.index == 1 and run.gate.question)
    desk.service.steering.seen(ANNA, desk.asked().key)
    desk.ended()
    desk.start("up", "supervised")
    vetoed = desk.asked()
    assert vetoed.view["counts"]
    desk.service.steering.answer(ANNA, vetoed.key, False, "anna")
    until(lambda: desk.asked().key != vetoed.key)
    assert not desk.asked().view["counts"]  # the next one waits for a yes
    desk.service.stop("anna")


def test_nothing_is_carried_out_by_itself_before_the_operator_sees_it(desk_for):
    desk = desk_for(veto_s=0.05)
    desk.start("up", "supervised")
    question = desk.asked()
    assert (question.view["counts"], question.view["veto"]) == (True, None)
    desk.service.steering.seen(ANNA, "0" * 16)
    with pytest.raises(NotOperatorError):  # who only watches could not say no
        desk.service.steering.seen(BEN, question.key)
    time.sleep(0.2)
    assert desk.robot.acts == []
    desk.service.steering.seen(ANNA, question.key)
    assert desk.ended().end == "finished"


def test_what_the_rules_would_change_waits_for_a_yes_also_when_supervised(desk_for):
    desk = desk_for(veto_s=0.05)
    desk.start("absurd", "supervised")
    question = desk.asked()
    assert question.veto is None
    assert "no motion of this robot" in question.flags[0]
    time.sleep(0.15)
    assert desk.robot.acts == []
    desk.service.steering.answer(ANNA, question.key, True, "anna")  # a yes does not overrule the rules
    until(lambda: desk.records("action_asked"))
    assert desk.records("action_asked")[0]["judged"]["verdict"] == "refused"
    assert desk.robot.acts == []
    desk.service.stop("anna")


def test_auto_can_be_made_careful_while_it_runs(desk_for):
    desk = desk_for(speed_m_s=0.2)
    desk.start("long")
    until(lambda: desk.records("action_done"))
    desk.service.set_mode(ANNA, "step")
    desk.asked()
    done = len(desk.robot.acts)
    time.sleep(0.1)
    assert len(desk.robot.acts) == done
    desk.service.set_mode(ANNA, "auto")
    until(lambda: len(desk.robot.acts) > done)
    desk.service.stop("anna")


def test_an_edited_chunk_is_judged_again_and_needs_its_own_yes(desk):
    run = desk.start("up", "step")
    first = desk.asked()
    with pytest.raises(ActionParseError):
        desk.service.steering.edit(ANNA, "chunk", "fly to the moon", "anna")
    desk.service.steering.edit(ANNA, "chunk", "move down 2 cm", "anna")
    second = desk.asked()
    assert second.key != first.key
    with pytest.raises(StaleAnswerError):
        desk.service.steering.answer(ANNA, first.key, True, "anna")
    assert desk.robot.acts == []
    desk.service.steering.answer(ANNA, second.key, True, "anna")
    assert desk.ended().end == "finished"
    assert desk.height == pytest.approx(0.68)
    (decided,) = desk.records("decided")
    assert decided["chunk"]["says"] == ["down 2.0 cm, gripper open"]
    from vlm2vla.driving.history import rebuild

    annotated = rebuild(desk.service.history.run(run.plan.id)).annotated("rows:0.5cm")
    assert annotated.subtasks[0].sources["chunk"] == "person"
    assert annotated.subtasks[0].chunk == "[[0.0, 0.0, -2.0, 1]]"


def test_a_plan_is_taken_as_it_is_and_a_subtask_is_planned_anew(desk):
    desk.start("up", "step")
    desk.asked()
    desk.service.steering.edit(ANNA, "plan", "lift it a little", "anna")
    until(lambda: desk.service.run.driving.cycle == 1 and desk.service.run.gate.question)
    assert desk.asked().view["driving"]["plan"] == "lift it a little"
    assert len(desk.records("plan")) == 1  # the policy was not asked for another one
    desk.service.steering.edit(ANNA, "subtask", "Lift the red cube", "anna")
    until(lambda: desk.service.run.driving.cycle == 2 and desk.service.run.gate.question)
    view = desk.asked().view["driving"]
    assert (view["subtask"], view["plan"], len(desk.records("plan"))) == ("Lift the red cube", "move up", 2)
    desk.service.stop("anna")


def test_words_for_a_subtask_that_is_done_meanwhile_change_nothing(desk_for):
    desk = desk_for(speed_m_s=0.05)
    desk.start("twice")
    until(lambda: desk.robot.status().moving)
    desk.service.steering.edit(ANNA, "subtask", "Lift the red cube", "anna")
    assert desk.ended().end == "finished"
    assert desk.service.run.driving.subtasks == ("Lift the cube", "Lift it again")
    (refused,) = desk.records("edit_refused")
    assert "anna changed the subtask of subtask 1, cycle 1; by now the robot is at subtask 2" in refused["reason"]
    assert desk.records("edited") == []


def test_a_plan_said_in_mid_motion_is_that_of_the_next_cycle_and_of_no_later_one(desk_for):
    desk = desk_for(speed_m_s=0.05)
    run = desk.start("long")
    until(lambda: desk.robot.status().moving)
    desk.service.steering.edit(ANNA, "plan", "move up a little", "anna")
    until(lambda: desk.records("edited"))
    until(lambda: run.driving.plan == "move up a little")
    assert run.driving.cycle == 2  # the chunk that was being written for cycle 1 is dropped
    desk.service.steering.edit(ANNA, "plan", "move down", "anna", at=(0, 0))
    until(lambda: desk.records("edit_refused"))
    assert "by now the robot is at subtask 1, cycle" in desk.records("edit_refused")[0]["reason"]
    assert run.driving.plan != "move down"
    desk.service.stop("anna")


def test_an_edit_that_is_late_leaves_the_open_question_open(desk):
    desk.start("up", "step")
    question = desk.asked()
    desk.service.steering.edit(ANNA, "subtask", "Lift the red cube", "anna", at=(3, 0))
    until(lambda: desk.records("edit_refused"))
    with pytest.raises(StaleAnswerError):
        desk.service.steering.edit(ANNA, "chunk", "move down 2 cm", "anna", at=(0, 7))
    assert desk.asked() is question
    desk.service.steering.answer(ANNA, question.key, True, "anna")
    assert desk.ended().end == "finished"


def test_a_correction_in_words_comes_before_the_subtask_and_in_action_language_it_is_the_chunk(desk):
    desk.start("up", "step")
    desk.asked()
    desk.service.steering.edit(ANNA, "correction", "turn the cup the right way round", "anna")
    until(lambda: desk.service.run.driving.cycle == 1 and desk.service.run.gate.question)
    assert desk.asked().view["driving"]["subtasks"] == ["turn the cup the right way round", "Lift the cube"]
    desk.service.steering.edit(ANNA, "correction", "move left 2 cm", "anna")
    assert desk.asked().view["says"] == ["left 2.0 cm, gripper open"]
    desk.service.stop("anna")


def test_parse_retries_and_refusals_are_told(desk):
    desk.start("stubborn")
    assert desk.ended().end == "finished"
    assert [r["attempt"] for r in desk.records("parse_failed")] == [1, 2]
    assert desk.service.history.runs()[0]["parse_failures"] == 2


BAD = [
    "please",
    "[[1, 2, 3",
    "[[nan, 0, 0, 1]]",
    "[[inf, 0, 0, 1]]",
    "[[1e308, 0, 0, 1]]",
    "[[0, 0, 0, 0.5]]",
    "[[0,0,0,1]]" * 50,
    "[[" + "0,0,0,1],[" * 190 + "0,0,0,1]]",
    "move forward 4 cm and back 4 cm and open the gripper and close the gripper forever",
    "move forward ∞ cm",
    "\x00\x01\x02",
]


def test_what_cannot_be_read_moves_nothing_and_the_line_stays_open(desk):
    run = desk.start("typed", "auto")
    for text in BAD:
        until(lambda: run.line.waiting and not run.line._texts)
        failed = len(desk.records("parse_failed"))
        desk.service.steering.type(ANNA, text, "anna")
        until(lambda failed=failed: len(desk.records("parse_failed")) > failed or desk.records("action_asked"))
    assert desk.robot.acts == []
    assert len(desk.records("parse_failed")) == len(BAD)
    for refused in ("", "   ", "x" * 3000):
        with pytest.raises(ConfigError):
            desk.service.steering.type(ANNA, refused, "anna")
    desk.service.steering.type(ANNA, "move forward 4 cm, then close the gripper", "anna")
    until(lambda: len(desk.robot.acts) == 2)
    desk.service.steering.type(ANNA, "", "anna", done=True)
    assert desk.ended().reason == "nothing more was typed"
    assert desk.robot.observe().ee[[0, 6]] == pytest.approx([0.54, 0.0])


@pytest.mark.parametrize("text", ["move forward 90 cm", "[[0, 0, -70, 1]]", "[[40, 0, 0, 1]]"])
def test_what_is_absurd_is_refused_by_a_rule_in_words(desk, text):
    desk.start("typed", "auto")
    desk.service.steering.type(ANNA, text, "anna")
    until(lambda: desk.records("action_asked") or desk.records("parse_failed"))
    desk.service.stop("anna")
    desk.ended()
    refused = [r["judged"]["message"] for r in desk.records("action_asked")] + [
        r["problem"] for r in desk.records("parse_failed")
    ]
    assert desk.robot.acts == []
    assert refused[0]


def test_reading_a_text_moves_nothing_and_needs_nobody(desk):
    desk.open()
    view = desk.service.steering.read("move up 3 cm, then close the gripper")
    assert view["says"] == ["up 3.0 cm, gripper open", "no motion, gripper closed"]
    with pytest.raises(ActionParseError):
        desk.service.steering.read("hello")
    assert desk.robot.acts == []


def test_words_do_not_steer_who_does_not_listen(desk):
    desk.start("typed", "step")
    with pytest.raises(ConfigError, match="not steered by words"):
        desk.service.steering.edit(ANNA, "plan", "move down", "anna")
    desk.service.stop("anna")

"""Answers read as the robot would read them: plans, and chunks in the form of the model that wrote them."""

import pytest

from vlm2vla.chat.actions import TOKENS, WORDS, chunk_question, next_question, plan_question, said_in_actions
from vlm2vla.language import form


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        ("move forward and right, then close the gripper", "a motion plan of 2 phrases"),
        (
            "forward 28 cm, right 30 cm, then down 5 cm, then close the gripper",
            "a motion plan of 3 phrases: right 30.0 cm, forward 28.0 cm, down 5.0 cm in all",
        ),
    ],
)
def test_a_plan_is_read_in_directions_and_with_centimetres(plan, says):
    question = plan_question("pick up the cube", "Grasp the cube")
    assert said_in_actions(question, plan) == {"level": "plan", "ok": True, "text": says}
    assert "motion plan" in said_in_actions(question, "a red cube")["text"]
    assert not said_in_actions(question, "a red cube")["ok"]


def test_a_chunk_is_read_in_the_digits_of_the_model_that_wrote_it():
    own, question = "tokens:0.5cm:a,b,c,d,e,f,g,h,i,j", chunk_question(TOKENS)
    chunk = form(own).verbalize(form(WORDS).parse("[[2.5, 0.0, -1.0, 1]]"))
    said = said_in_actions(question, chunk, own)
    assert said == {"level": "chunk", "ok": True, "text": said_in_actions(question, "[[2.5, 0.0, -1.0, 1]]")["text"]}
    assert not said_in_actions(question, chunk)["ok"]
    assert next_question(plan_question("x", "y"), ["up 3 cm"], [own, own]) == question
    assert next_question(plan_question("x", "y"), ["up 3 cm"], [own, ""]) == chunk_question(WORDS)

"""Open loop: written chunks against recorded ones, verifiers and lists of subtasks against the truth."""

from dataclasses import replace

import numpy as np
import pytest

from vlm2vla.embodiment import STRETCH_RE1
from vlm2vla.errors import ModelUnavailableError
from vlm2vla.evaluation.actions import Moment, grade, grade_one, planned, run_folder, summed, write_all
from vlm2vla.evaluation.config import ActionsConfig
from vlm2vla.evaluation.levels import (
    Completion,
    Task,
    ask_completions,
    ask_subtasks,
    grade_completions,
    grade_subtasks,
    matched,
)
from vlm2vla.language import form
from vlm2vla.pipeline.open_loop import questions_of
from vlm2vla.types import ActionChunk
from vlm2vla.vlm.protocol import ImagePart

WORDS = form("rows:0.5cm")


def moment(jpeg, number=0, rows=((0.03, 0, -0.05, 1), (0, 0, -0.03, 0))):
    chunk = ActionChunk(np.array(rows, dtype=float))
    return Moment(
        f"episode{number // 2}/{number}",
        f"episode{number // 2}",
        ImagePart(jpeg((number, 0, 0))),
        f"pick up cube {number}",
        "Grasp the cube",
        "move forward and down, then close the gripper",
        chunk,
        STRETCH_RE1,
    )


def test_the_numbers_of_one_chunk(jpeg):
    same = grade_one(moment(jpeg), "[[3.0, 0.0, -5.0, 1], [0.0, 0.0, -3.0, 0]]", WORDS)
    assert (same.parsed, same.row_cm, same.total_cm, same.direction, same.gripper) == (True, 0, 0, 1, True)
    assert same.still_cm == pytest.approx(np.hypot(3, 8))
    off = grade_one(moment(jpeg), "[[3.0, 4.0, -5.0, 1]]", WORDS)
    assert off.row_cm == pytest.approx(4)
    assert off.total_cm == pytest.approx(5)  # 4 to the side, and the last 3 down are missing
    assert (off.direction, off.gripper, off.rows, off.recorded_rows) == (1, False, 1, 2)
    wrong = grade_one(moment(jpeg), "[[-3.0, 0.0, -5.0, 0]]", WORDS)
    assert wrong.direction == 0.5
    still = grade_one(moment(jpeg), "[[0.0, 0.0, 0.0, 0]]", WORDS)
    assert still.total_cm == pytest.approx(still.still_cm)
    assert still.direction == 0
    assert not grade_one(moment(jpeg), "I would move down", WORDS).parsed


def test_an_axis_that_did_not_move_has_no_direction(jpeg):
    sideways = moment(jpeg, rows=((0.002, 0, 0, 0),))
    assert grade_one(sideways, "[[-5.0, 0.0, 0.0, 0]]", WORDS).direction is None


def test_what_is_written_is_stored_and_goes_on(jpeg, answering, tmp_path):
    moments = [moment(jpeg, number) for number in range(6)]

    def answer(messages, sampling):
        if messages[-1].text.startswith("Write") or len(messages) > 2:
            assert messages[-2].text == "move down"  # its own plan
            return "[[3.0, 0.0, -8.0, 0]]" if "cube 5" not in messages[1].text else "[[3.0, 0.0"
        return "move down"

    model = answering("lora", answer)
    file = run_folder(tmp_path, "held-out", "lora", "f", WORDS.name, "own")
    assert write_all(model, moments[:4], WORDS, file, batch=3) == 4
    assert write_all(model, moments, WORDS, file) == 2
    assert write_all(model, moments, WORDS, file) == 0
    assert len(model.asked) == 12
    scores = summed(grade(moments, file.read(), WORDS))
    assert scores.moments == 6
    assert scores.parse_rate.value == pytest.approx(5 / 6)
    assert scores.total_cm.value == 0
    assert scores.median_total_cm == 0
    assert scores.to_json()["direction"]["value"] == 1


def test_the_recorded_plan_may_be_given(jpeg, answering, tmp_path):
    one = moment(jpeg)

    def answer(messages, sampling):
        assert messages[-2].text == one.plan
        return "[[3.0, 0.0, -8.0, 0]]"

    file = run_folder(tmp_path, "held-out", "lora", "f", WORDS.name, "given")
    assert write_all(answering("lora", answer), [one], WORDS, file, plan="given") == 1


def test_what_failed_is_asked_again_when_that_is_wanted(jpeg, answering, tmp_path):
    moments, broken = [moment(jpeg, number) for number in range(3)], {1}

    def answer(messages, sampling):
        if any(f"cube {number}" in messages[1].text for number in broken):
            raise ModelUnavailableError("gone")
        return "[[3.0, 0.0, -8.0, 0]]"

    file = run_folder(tmp_path, "held-out", "lora", "f", WORDS.name, "given-words")
    write_all(answering("lora", answer), moments, WORDS, file, plan="given")
    broken.clear()
    assert write_all(answering("lora", answer), moments, WORDS, file, plan="given") == 0
    assert summed(grade(moments, file.read(), WORDS)).moments == 2
    assert write_all(answering("lora", answer), moments, WORDS, file, plan="given", retry_failed=True) == 1
    assert summed(grade(moments, file.read(), WORDS)).moments == 3


def test_recorded_plans_are_given_in_the_words_of_training(jpeg):
    plain, told = moment(jpeg, 0), replace(moment(jpeg, 1), measured="forward 3 cm, down 5 cm")
    assert planned([plain, told], "words") == (plain, told)
    (measured,) = planned([plain, told], "measured")
    assert (measured.id, measured.plan) == (told.id, "forward 3 cm, down 5 cm")


def test_without_a_plan_there_is_no_chunk(jpeg, answering, tmp_path):
    file = run_folder(tmp_path, "held-out", "lora", "f", WORDS.name, "own")
    write_all(answering("lora", lambda messages, sampling: ""), [moment(jpeg)], WORDS, file)
    assert summed(grade([moment(jpeg)], file.read(), WORDS)).parse_rate.value == 0


def test_a_verifier_that_always_says_yes_is_found_out(jpeg, answering):
    image = ImagePart(jpeg())
    questions = [Completion(str(n), str(n), image, image, "task", "Grasp", n % 4 == 0, STRETCH_RE1) for n in range(12)]
    always = answering("lora", lambda messages, sampling: "yes")
    scores = grade_completions(questions, ask_completions(always, questions))
    assert (scores.questions, scores.unclear, scores.balanced) == (12, 0, 0.5)
    assert (scores.done.value, scores.not_done.value) == (1, 0)
    assert scores.accuracy.value == pytest.approx(0.25)
    assert len(always.asked[0][-1].images) == 2
    unclear = answering("lora", lambda messages, sampling: "hm")
    assert grade_completions(questions, ask_completions(unclear, questions)).unclear == 12


def test_lists_of_subtasks(jpeg, answering):
    true = ("Grasp the red cube", "Move to the blue bowl", "Release the red cube")
    tasks = [
        Task(str(n), str(n), "pick-and-place", ImagePart(jpeg()), f"task {n}", true, STRETCH_RE1) for n in range(3)
    ]

    def answer(messages, sampling):
        if "task 0" in messages[-1].text:
            return "\n".join(f"{number}. {text}" for number, text in enumerate(true, 1))
        return "1. Grasp the red cube\n2. Release the red cube" if "task 1" in messages[-1].text else "No idea."

    scores = grade_subtasks(tasks, ask_subtasks(answering("lora", answer), tasks, WORDS))
    assert (scores.tasks, scores.unreadable) == (3, 1)
    assert scores.exact.value == pytest.approx(1 / 3)
    assert scores.keywords.value == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_subtasks_match_by_their_words_in_order():
    true = ("Grasp the cup", "Move to the plate")
    assert matched(("grasp a small cup", "then move the cup to the plate"), true) == 1
    assert matched(("Move to the plate", "Grasp the cup"), true) == 0.5
    assert matched((), true) == 0


def test_real_bridge_episodes_become_questions(shared_data, workspace):
    config = ActionsConfig(data=str(shared_data / "octo-bridge-rlds"), episodes=25, row_cm=0)
    asked = questions_of(config, workspace)
    assert len({moment.group for moment in asked.moments}) == 25
    assert len(asked.moments) > 40
    assert asked.tasks == ()
    for each in asked.moments:
        assert each.embodiment.name == "widowx"
        text = WORDS.verbalize(each.chunk)
        graded = grade_one(each, text, WORDS)  # what was recorded agrees with itself
        assert graded.parsed
        assert graded.total_cm == pytest.approx(0, abs=1e-9)
        assert graded.direction in (1, None)
    limited = ActionsConfig(data=config.data, episodes=25, row_cm=0, limit=10)
    assert len(questions_of(limited, workspace).moments) == 10

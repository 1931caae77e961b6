"""The hierarchical policy on a model that says what the test wants: prompts, retries, ablations, giving up."""

import numpy as np
import pytest

from vlm2vla.config import PolicyConfig
from vlm2vla.embodiment import STRETCH_RE1
from vlm2vla.errors import ConfigError, ModelError
from vlm2vla.language import completed_dialogue, dialogue, form
from vlm2vla.policy import (
    ChunkReady,
    Driving,
    GaveUp,
    KinematicVerifier,
    ParseFailed,
    PlanReady,
    Streaming,
    SubtasksReady,
    VLMPolicy,
    VLMVerifier,
    messages_of,
    turned_round,
)
from vlm2vla.robot.scripted import HandClock, ScriptedRobot
from vlm2vla.rollout import ActionDone, drive
from vlm2vla.vlm.chat import Token

TASK = "pick up the red cube"
DRIVING = Driving(TASK, ("Grasp the red cube", "Lift the red cube"))


class Parrot:
    """Answers with the given texts in order, a word at a time; keeps what it was asked."""

    name = "parrot"

    def __init__(self, *answers, corrected=False):
        self.answers, self.asked, self.corrected = list(answers), [], corrected

    def stream(self, messages, sampling, *, stopped=None):
        self.asked.append((list(messages), sampling))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        given = messages[-1].text if messages[-1].role == "assistant" else ""
        for word in answer.removeprefix(given).split(" "):
            yield Token(word + " ", -0.1, corrected=self.corrected)

    def score(self, messages, answer):
        raise ModelError("a parrot cannot score")


@pytest.fixture
def seen():
    return ScriptedRobot(clock=HandClock()).observe()


def policy(model, **settings):
    return VLMPolicy(model, STRETCH_RE1, PolicyConfig(**settings))


def last(events):
    return list(events)[-1]


def test_the_three_levels_are_asked_with_the_words_of_training(seen):
    model = Parrot("1. Grasp the red cube\n2. Lift the red cube", "move down", "[[0.0, 0.0, -4.0, 1]]")
    writer = policy(model)
    subtasks = last(writer.subtasks(Driving(TASK), seen))
    assert isinstance(subtasks, SubtasksReady)
    assert subtasks.texts == DRIVING.subtasks
    plan = last(writer.plan(DRIVING, seen))
    assert isinstance(plan, PlanReady)
    assert plan.text == "move down"
    chunk = last(writer.chunk(DRIVING.planned(plan.text), seen))
    assert isinstance(chunk, ChunkReady)
    np.testing.assert_allclose(chunk.chunk.rows, [[0, 0, -0.04, 1]], atol=1e-9)
    rows = form("rows:0.5cm")
    expected = [
        dialogue(TASK, STRETCH_RE1, rows),
        dialogue(TASK, STRETCH_RE1, rows, subtask="Grasp the red cube"),
        dialogue(TASK, STRETCH_RE1, rows, subtask="Grasp the red cube", plan="move down"),
    ]
    for turns, (messages, _) in zip(expected, model.asked, strict=True):
        assert messages[: len(turns)] == messages_of(turns, seen)
    assert [sampling.temperature for _, sampling in model.asked] == [0.5, 0.1, 0.5]


def test_a_model_that_continues_no_answers_writes_the_beginning_itself(seen):
    model = Parrot("1. Grasp the red cube", "[[0.0, 0.0, -4.0, 1]]")
    model.continues = False
    writer = policy(model)
    assert last(writer.subtasks(Driving(TASK), seen)).texts == ("Grasp the red cube",)
    assert len(last(writer.chunk(DRIVING.planned("down 4 cm"), seen)).chunk.rows) == 1
    assert all(messages[-1].role == "user" for messages, _ in model.asked)


def test_text_is_shown_while_it_is_written(seen):
    events = list(policy(Parrot("move down and forward")).plan(DRIVING, seen))
    texts = [event.text for event in events if isinstance(event, Streaming)]
    assert len(texts) == 4
    assert all(later.startswith(earlier) for earlier, later in zip(texts, texts[1:], strict=False))


def test_a_chunk_that_does_not_parse_is_written_again_with_the_error_said_back(seen):
    model = Parrot("[[2.5, 0.0, 1]]", "[[2.5, 0.0, 0.0, 1]]")
    writer = policy(model)
    events = list(writer.chunk(DRIVING.planned("move forward"), seen))
    failed = [event for event in events if isinstance(event, ParseFailed)]
    assert [event.attempt for event in failed] == [1]
    assert "4 values" in failed[0].problem
    assert events[-1].attempts == 2
    again, sampling = model.asked[1]
    assert failed[0].problem in again[-2].text
    assert again[-3].text.strip() == "[[2.5, 0.0, 1]]"
    assert sampling.seed != model.asked[0][1].seed
    assert writer.written == {"chunks": 1, "unparsable": 1}


@pytest.mark.parametrize(("parse", "tries"), [("none", 1), ("retry", 3)])
def test_after_the_last_try_it_gives_up(seen, parse, tries):
    writer = policy(Parrot(*["[[up and away"] * 5), parse=parse, retries=2)
    ended = last(writer.chunk(DRIVING.planned("move up"), seen))
    assert isinstance(ended, GaveUp)
    assert ended.attempts == tries
    assert str(tries) in ended.reason


def test_grammar_constrains_chunks_only_and_still_tells_what_it_corrected(seen):
    model = Parrot("move up", "[[0.0, 0.0, 4.0, 0]]", corrected=True)
    writer = policy(model, parse="grammar")
    list(writer.plan(DRIVING, seen))
    assert isinstance(last(writer.chunk(DRIVING.planned("move up"), seen)), ChunkReady)
    assert [bool(sampling.grammar) for _, sampling in model.asked] == [False, True]
    assert writer.written == {"chunks": 1, "unparsable": 1}


def test_a_model_that_fails_moves_nothing():
    robot = ScriptedRobot(clock=HandClock())
    model = Parrot("1. Lift the red cube", "move up", ModelError("out of memory"))
    before = robot.observe().ee
    events = list(drive(robot, policy(model), KinematicVerifier(), TASK))
    assert events[-1].end == "error"
    assert "out of memory" in events[-1].reason
    np.testing.assert_array_equal(robot.observe().ee, before)


def test_a_whole_task_with_kinematic_verdicts():
    robot = ScriptedRobot(clock=HandClock(), speed_m_s=0.1)
    answers = ["1. Move over\n2. Lift", "move forward", "[[4.0, 0.0, 0.0, 1]]", "move up", "[[0.0, 0.0, 3.0, 1]]"]
    events = list(drive(robot, policy(Parrot(*answers)), KinematicVerifier(), TASK))
    assert events[-1].end == "finished"
    assert sum(isinstance(event, ActionDone) for event in events) == 2


def test_ablations_leave_levels_out_or_turn_plans_round(seen):
    model = Parrot("[[0.0, 0.0, 4.0, 0]]")
    bare = policy(model, subtasks=False, plans="none")
    assert last(bare.subtasks(Driving(TASK), seen)).texts == (TASK,)
    assert last(bare.plan(DRIVING, seen)).text == ""
    assert isinstance(last(bare.chunk(DRIVING.planned(""), seen)), ChunkReady)
    asked = model.asked[0][0]
    assert "list of rows" in asked[1].text
    assert DRIVING.subtask in asked[1].text
    wrong = policy(Parrot("move up and slightly left, then close the gripper"), plans="false")
    assert last(wrong.plan(DRIVING, seen)).text == "move down and slightly right, then open the gripper"
    assert turned_round("left 4 cm, then close the gripper") == "right 4 cm, then open the gripper"
    assert turned_round("do as you like") == "do as you like"


def test_only_the_first_rows_where_it_shall_look_again(seen):
    writer = policy(Parrot("[[2.5, 0.0, 0.0, 1], [2.5, 0.0, 0.0, 1], [0.0, 0.0, 0.0, 0]]"), max_rows=2)
    ready = last(writer.chunk(DRIVING.planned("move forward"), seen))
    assert (len(ready.chunk.rows), ready.later) == (2, 1)
    assert ready.text == "[[2.5, 0.0, 0.0, 1], [2.5, 0.0, 0.0, 1]]"


def test_nobody_waits_for_rows_that_will_not_be_carried_out(seen):
    rows = ", ".join(["[2.5, 0.0, 0.0, 1]"] * 9)
    ready = last(policy(Parrot(f"[[2.5, 0.0, 0.0, 1], {rows}]"), max_rows=2).chunk(DRIVING.planned("forward"), seen))
    assert (len(ready.chunk.rows), ready.later) == (2, 1)
    assert ready.raw.count("[") == 4, "the list, two rows, and the third one as it was begun"
    broken = policy(Parrot("[[2.5, 0.0, 1], [2.5, 0.0, 0.0, 1], [2.5, 0.0, 0.0, 1]]"), max_rows=2, parse="none")
    assert isinstance(last(broken.chunk(DRIVING.planned("forward"), seen)), GaveUp)


@pytest.mark.parametrize("settings", [{"retries": -1}, {"top_p": 0.0}, {"temperature_chunk": -1.0}])
def test_settings_that_cannot_be(settings):
    with pytest.raises(ConfigError):
        PolicyConfig(**settings)


@pytest.mark.parametrize(
    ("answer", "done"), [("yes", True), ("No.", False), ("perhaps", False), (ModelError("x"), False)]
)
def test_a_model_as_verifier_sees_both_images_and_says_yes_or_not_yet(seen, answer, done):
    model = Parrot(answer)
    verdict = VLMVerifier(model, STRETCH_RE1).verify(DRIVING, seen, seen)
    assert verdict.done is done
    assert verdict.reason
    turns = completed_dialogue(TASK, DRIVING.subtask, STRETCH_RE1, None)
    assert model.asked[0][0] == messages_of(turns, seen, seen)


def test_kinematic_verdicts(seen):
    verifier = KinematicVerifier()
    goal = seen.ee.copy()
    assert not verifier.verify(DRIVING, seen, seen).done  # no chunk yet
    goal[6] = 1.0
    assert verifier.verify(DRIVING.heading(goal), seen, seen).done is bool(seen.ee[6] >= 0.5)
    far = goal + [0.05, 0, 0, 0, 0, 0, 0]
    assert "5.0 cm" in verifier.verify(DRIVING.heading(far), seen, seen).reason


@pytest.mark.parametrize(("opening", "done"), [(0.0, False), (0.3, True), (1.0, False)])
def test_fingers_that_closed_on_nothing_or_not_at_all_are_seen(seen, opening, done):
    from dataclasses import replace

    goal = seen.ee.copy()
    goal[6] = 0.0
    after = replace(seen, ee=np.array([*seen.ee[:6], opening]))
    assert KinematicVerifier().verify(DRIVING.heading(goal), seen, after).done is done

"""Conversations over images."""

from dataclasses import replace

import numpy as np
import pytest

from tests.dataset.conftest import exportable
from vlm2vla.dataset import completed_sample, direction_sample, rows_of, samples_of
from vlm2vla.errors import ExportError
from vlm2vla.language import form, parse_subtasks


def answers(sample):
    return {level: answer.text for level, _, answer in rows_of(sample)}


def test_one_conversation_per_subtask_with_three_levels_over_its_first_image(episode, annotated):
    samples = list(samples_of(annotated, episode))
    assert [sample.levels for sample in samples] == [("subtask", "plan", "chunk")] * 3
    assert [(image.camera, image.step) for sample in samples for image in sample.images] == [
        ("image_0", 0),
        ("image_0", 5),
        ("image_0", 8),
    ]
    assert [turn.role for turn in samples[0].turns] == ["system", *["user", "assistant"] * 3]
    assert sum(turn.images for turn in samples[1].turns) == 1
    assert answers(samples[1])["plan"] == annotated.subtasks[1].plan


def test_the_first_level_lists_what_remains_to_be_done(episode, annotated):
    listed = [parse_subtasks(answers(sample)["subtask"]) for sample in samples_of(annotated, episode)]
    texts = tuple(subtask.text for subtask in annotated.subtasks)
    assert listed == [texts, texts[1:], texts[2:]]


def test_a_list_with_holes_is_never_taught(make, episode):
    holed = exportable(make.annotation(episode, ("accepted", "rejected", "accepted")), episode)
    first, last = samples_of(holed, episode)
    assert first.levels == ("plan", "chunk")
    assert last.levels == ("subtask", "plan", "chunk")
    assert sum(turn.images for turn in first.turns) == 1


def test_a_cut_off_end_is_a_hole_too(make, episode):
    holed = exportable(make.annotation(episode, ("accepted", "accepted", "rejected")), episode)
    assert [sample.levels for sample in samples_of(holed, episode)] == [("plan", "chunk")] * 2


def test_a_list_that_is_too_long_is_not_asked_for(make, episode, annotated):
    steps = np.zeros((30, 7))
    long = make.episode(states=steps, commands=steps)
    one = annotated.subtasks[0]
    many = tuple(replace(one, uid=f"s{step}", start_step=step, end_step=step + 1) for step in range(30))
    levels = [sample.levels for sample in samples_of(replace(annotated, subtasks=many), long)]
    assert levels == [("plan", "chunk")] * 10 + [("subtask", "plan", "chunk")] * 20


def test_separate_conversations_start_as_the_live_policy_does(episode, annotated):
    samples = list(samples_of(annotated, episode, joined=False))
    assert [sample.levels for sample in samples] == [("subtask",), ("plan", "chunk")] * 3
    assert all(sample.turns[1].role == "user" and sample.turns[1].images == 1 for sample in samples)
    assert annotated.subtasks[1].text in samples[3].turns[1].text
    assert len({sample.id for sample in samples}) == 6


def test_the_action_answer_turns_back_into_the_numbers(episode, annotated):
    words = form(annotated.action_form)
    for sample, subtask in zip(samples_of(annotated, episode), annotated.subtasks, strict=True):
        assert words.parse(answers(sample)["chunk"]) == words.parse(subtask.chunk)


def test_extra_questions_show_two_images(episode):
    done = completed_sample(episode, "Grasp the carrot", 5, 8, True, uid="s1-abc")
    side = direction_sample(episode, 0, 4, "none")
    for sample in (done, side):
        assert len(sample.images) == 2
        assert next(turn for turn in sample.turns if turn.role == "user").images == 2
        assert sample.turns[-1].role == "assistant"
        assert sample.meta.keys() == next(samples_of_meta(episode)).keys()
    undone = completed_sample(episode, "Grasp the carrot", 5, 6, False)
    assert answers(done)["completed"] != answers(undone)["completed"]
    assert answers(side)["direction"] != answers(direction_sample(episode, 0, 4, "left"))["direction"]


def samples_of_meta(episode):
    yield completed_sample(episode, "x", 0, 1, True).meta


def test_a_recording_without_images_cannot_be_asked_about(make):
    blind = make.episode(cameras={})
    with pytest.raises(ExportError, match="no camera"):
        list(samples_of(make.annotation(blind), blind))

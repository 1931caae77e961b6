"""Later starts: what is left of a subtask, told from its middle; action text in other forms and rows."""

from dataclasses import replace

import numpy as np
import pytest

from tests.dataset.conftest import make_annotation, make_episode
from vlm2vla.dataset import LabelledEpisode, early_starts, in_form, last_attempts, later_starts, rows_of
from vlm2vla.dataset.select import Selection
from vlm2vla.dataset.starts import EARLY_M
from vlm2vla.language import form, parse_measured
from vlm2vla.motion import displacement
from vlm2vla.pipeline.training_set import _rest
from vlm2vla.training.config import Recipe
from vlm2vla.types import ActionChunk

WORDS = form("rows:0.5cm")


def rest(episode, start, end, name):
    return _rest(episode, start, end, name, Recipe("words only", "base"))


@pytest.fixture
def labelled():
    episode = make_episode()
    return make_annotation(episode), episode


def test_plan_and_chunk_tell_what_is_left_from_that_step(labelled):
    annotated, episode = labelled
    found = [sample for sample in later_starts(annotated, episode, rest, per_subtask=3) if sample.levels[-1] == "chunk"]
    assert found
    ends = {subtask.uid: subtask.end_step for subtask in annotated.subtasks}
    for sample in found:
        (image,) = sample.images
        end = ends[sample.meta["uid"]]
        assert image.step == sample.meta["start_step"]
        assert image.step not in [subtask.start_step for subtask in annotated.subtasks]
        told = WORDS.parse(sample.turns[-1].text).translation
        assert np.allclose(told, displacement(episode, image.step, end)[:3], atol=0.0026)


def test_plans_with_amounts_say_what_the_chunk_does(labelled):
    annotated, episode = labelled
    measured = Recipe("measured", "base", plans="measured")
    said = in_form(annotated, annotated.action_form, measured=True)
    pairs = [(subtask.plan, subtask.chunk) for subtask in said.subtasks]
    for sample in later_starts(annotated, episode, lambda *span: _rest(*span, measured), per_subtask=3):
        if sample.levels[-1] == "chunk":
            pairs.append((sample.turns[-3].text, sample.turns[-1].text))
    assert len(pairs) > len(said.subtasks)
    for plan, chunk in pairs:
        assert np.allclose(parse_measured(plan)[:3], WORDS.parse(chunk).translation, atol=0.0076)


def test_subtasks_still_to_be_done_are_listed_from_the_current_one(labelled):
    annotated, episode = labelled
    texts = [subtask.text for subtask in annotated.subtasks]
    for sample in later_starts(annotated, episode, rest, per_subtask=2):
        if sample.levels == ("subtask",):
            index = [subtask.uid for subtask in annotated.subtasks].index(sample.meta["uid"])
            assert sample.turns[-1].text.count("\n") == len(texts) - index - 1
            assert sample.turns[-1].text.startswith(f"1. {texts[index]}")


def test_steps_are_spread_distinct_and_follow_from_the_seed(labelled):
    annotated, episode = labelled

    def steps(seed, count=2):
        return [s.images[0].step for s in later_starts(annotated, episode, rest, per_subtask=count, seed=seed)]

    assert steps(1) == steps(1)
    assert any(steps(seed) != steps(1) for seed in range(2, 6))
    names = [s.id for s in later_starts(annotated, episode, rest, per_subtask=9)]
    assert len(names) == len(set(names))
    assert steps(1, count=0) == []


def test_nothing_is_asked_where_nothing_is_left(labelled):
    annotated, episode = labelled
    for sample in later_starts(annotated, episode, rest, per_subtask=9):
        for level, _, answer in rows_of(sample):
            assert level != "chunk" or answer.text != "[]"


def test_another_form_says_the_same_motion(labelled):
    annotated, _ = labelled
    tokens = in_form(annotated, "tokens:0.5cm")
    assert tokens.action_form == "tokens:0.5cm"
    for old, new in zip(annotated.subtasks, tokens.subtasks, strict=True):
        assert WORDS.parse(old.chunk) == form("tokens:0.5cm").parse(new.chunk)
    assert in_form(annotated, annotated.action_form) is annotated


def test_what_cannot_be_read_is_left_out_for_a_reason_and_the_rest_stays(labelled):
    annotated, episode = labelled
    first, *others = annotated.subtasks
    mixed = replace(annotated, subtasks=(replace(first, chunk="go left a bit"), *others))
    selection = Selection(include_unreviewed=True)
    (kept,) = selection.of([LabelledEpisode(in_form(mixed, "tokens:0.1cm"), episode)])
    assert [each.text for each in kept.annotated.subtasks] == [each.text for each in others]
    assert selection.left_out == {"action text does not parse": 1}


def test_rows_of_equal_length(labelled):
    annotated, _ = labelled
    even = in_form(annotated, annotated.action_form, row_cm=4.5)
    for old, new in zip(annotated.subtasks, even.subtasks, strict=True):
        before, after = WORDS.parse(old.chunk), WORDS.parse(new.chunk)
        assert isinstance(after, ActionChunk)
        assert np.allclose(before.translation, after.translation, atol=0.0026)
        assert not len(after) or np.abs(after.rows[:, :3]).max() <= 0.045 + 1e-9


def test_a_subtask_that_is_asked_for_early_tells_what_is_left_of_the_one_before(labelled):
    annotated, episode = labelled
    found = list(early_starts(annotated, episode, rest, per_subtask=3))
    assert found
    by_uid = {subtask.uid: subtask for subtask in annotated.subtasks}
    for sample in found:
        (image,) = sample.images
        subtask = by_uid[sample.meta["uid"]]
        assert sample.levels == ("plan", "chunk")
        assert subtask.text in sample.turns[1].text + sample.turns[-4].text
        assert image.step < subtask.start_step
        away = np.abs(episode.states[image.step : subtask.start_step, :3] - episode.states[subtask.start_step, :3])
        assert away.max() <= EARLY_M
        told = WORDS.parse(sample.turns[-1].text).translation
        assert np.allclose(told, displacement(episode, image.step, subtask.end_step)[:3], atol=0.0026)


def test_steps_at_which_nothing_moves_are_rarely_chosen_at_the_beginning_as_well():
    episode = make_episode()
    states = episode.states.copy()
    states[:, 0] = 0.25 + np.interp(np.arange(len(states)), (2, 4), (0.0, 0.05))  # nothing moves until step 2
    episode = replace(episode, states=states)
    annotated = make_annotation(episode)
    second = annotated.subtasks[1].uid
    chosen = [
        sample.images[0].step
        for seed in range(200)
        for sample in early_starts(annotated, episode, rest, seed=seed)
        if sample.meta["uid"] == second
    ]
    assert len(chosen) == 200
    assert np.mean(np.array(chosen) > 2) > 0.75  # 40 of 100 where all of them weigh the same


def test_of_attempts_in_the_same_words_only_the_last_is_taught(labelled):
    annotated, _ = labelled
    first, second, *others = annotated.subtasks
    missed = replace(annotated, subtasks=(first, replace(second, text=first.text), *others))
    assert [subtask.uid for subtask in last_attempts(missed).subtasks] == [
        second.uid,
        *(subtask.uid for subtask in others),
    ]
    assert last_attempts(annotated) == annotated

"""The paper's extra samples over two frames."""

from dataclasses import replace

import numpy as np
import pytest

from vlm2vla.annotation.kinematic import KinematicAnnotator
from vlm2vla.annotation.pairs import completed_pairs, movement_pairs
from vlm2vla.types import AnnotatedEpisode, AnnotatedSubtask


@pytest.fixture
def annotated(pick_and_place):
    return KinematicAnnotator().annotate(pick_and_place)


def test_completed_pairs_are_what_the_recording_proves(annotated, pick_and_place):
    pairs = completed_pairs(annotated, pick_and_place, seed=0)
    for pair in pairs:
        subtask = annotated.find(pair.uid)
        assert pair.text == subtask.text
        assert pair.before_step == subtask.start_step
        assert pair.before_step < pair.after_step < len(pick_and_place)
        if pair.completed:
            assert pair.after_step >= subtask.end_step
        else:
            assert pair.after_step < subtask.end_step
    # The fingers come to rest at 0.4 at step 15; two steps later that is certain. Moving needs no such proof.
    ends = {pair.text: pair.after_step for pair in pairs if pair.completed}
    assert ends["Grasp the carrot"] == 17
    assert ends["Move to the carrot"] == annotated.subtasks[0].end_step
    positive = {pair.uid for pair in pairs if pair.completed}
    # Nothing proves that the last one, which only moves away, was completed.
    assert positive == {subtask.uid for subtask in annotated.subtasks[:-1]}
    assert {pair.uid for pair in pairs if not pair.completed} >= {annotated.subtasks[0].uid, annotated.subtasks[2].uid}


def test_a_grasp_is_not_completed_before_the_gripper_closes(annotated, pick_and_place):
    grasp = annotated.subtasks[1]
    for seed in range(20):
        negative = [
            p for p in completed_pairs(annotated, pick_and_place, seed) if p.uid == grasp.uid and not p.completed
        ]
        assert all(pair.after_step < 12 for pair in negative)


def grasped(episode, start, end, *, then=(), seed=0) -> dict[bool, list[int]]:
    """Second frames of the pairs of one subtask, by answer; `then` is the end of the subtask after it."""
    spans = zip([start, end], [end, *then], strict=False)
    subtasks = tuple(AnnotatedSubtask(f"s{a}", "Grasp the carrot", a, b, "", "", {}) for a, b in spans)
    pairs = completed_pairs(AnnotatedEpisode(episode.id, "rows:0.5cm", subtasks), episode, seed)
    own = [pair for pair in pairs if pair.uid == f"s{start}"]
    return {answer: [pair.after_step for pair in own if pair.completed is answer] for answer in (True, False)}


def fingers(episode, *values):
    """The episode with this measured opening from step 12 on, where the command to close falls; the last one holds."""
    states = episode.states.copy()
    states[12:, 6] = values[-1]
    states[12 : 12 + len(values), 6] = values
    return replace(episode, states=states)


def test_a_last_subtask_counts_as_completed_when_the_fingers_are_seen_to_rest(annotated, pick_and_place):
    def completed(steps):
        cut = replace(pick_and_place, states=pick_and_place.states[:steps], commands=pick_and_place.commands[:steps])
        return [pair.text for pair in completed_pairs(KinematicAnnotator().annotate(cut), cut) if pair.completed]

    assert completed(18) == ["Move to the carrot", "Grasp the carrot"]
    assert completed(15) == ["Move to the carrot"]


@pytest.mark.parametrize(
    ("opening", "step"),
    [
        ((1.0, 0.6, 0.4), 16),
        ((1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4), 20),
        ((1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3), None),  # still closing a second after the span
        ((1.0, 0.85), None),  # never closed far enough
        ((1.0,), None),
    ],
)
def test_a_grasp_is_completed_when_the_measured_fingers_are(pick_and_place, opening, step):
    episode = fingers(pick_and_place, *opening)
    assert grasped(episode, 8, 15, then=[28])[True] == ([] if step is None else [step])


def test_fingers_may_rest_in_the_next_subtask_only_while_it_lasts_and_does_not_act(pick_and_place):
    slow = fingers(pick_and_place, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4)
    assert grasped(slow, 8, 15, then=[20])[True] == [20]
    assert grasped(slow, 8, 15, then=[19])[True] == []
    commands = slow.commands.copy()
    commands[18:, 6] = 1
    assert grasped(replace(slow, commands=commands), 8, 15, then=[28])[True] == []


def test_how_fast_fingers_rest_is_a_matter_of_time_not_of_steps(episode_factory):
    episode = episode_factory([(120, (0, 0, -9))], [(30, 0)], rate_hz=30.0)
    states = episode.states.copy()
    states[:, 6] = np.interp(np.arange(121), [30, 60], [1.0, 0.3])
    episode = replace(episode, states=states)
    (step,) = grasped(episode, 20, 45, then=[110])[True]
    assert 60 < step <= 75


def test_a_release_is_proven_by_opening_fingers(annotated, pick_and_place):
    def released(episode):
        return [p for p in completed_pairs(annotated, episode) if p.completed and p.text == "Release the carrot"]

    assert released(pick_and_place)
    states = pick_and_place.states.copy()
    states[30:, 6] = 0.4
    assert not released(replace(pick_and_place, states=states))


def test_the_frame_just_before_the_gripper_acts_is_a_negative(pick_and_place):
    for seed in range(10):
        early = grasped(pick_and_place, 4, 15, then=[28], seed=seed)[False]
        assert early[-1] == 11
        assert len(early) == len(set(early)) <= 2
    # On the last step of the span the event may be the next subtask's.
    assert 11 not in grasped(pick_and_place, 4, 13, then=[28])[False]
    cut = replace(pick_and_place, states=pick_and_place.states[:13], commands=pick_and_place.commands[:13])
    assert 11 in grasped(cut, 4, 13)[False]


def test_only_about_one_recording_in_three_keeps_its_none(annotated, pick_and_place):
    sides = [pair.direction for seed in range(150) for pair in movement_pairs(annotated, pick_and_place, seed)]
    assert sides.count("left") == sides.count("right") == 150
    assert 35 <= sides.count("none") <= 65


def test_movement_pairs(annotated, pick_and_place):
    pairs = next(
        pairs for seed in range(20) if len(pairs := movement_pairs(annotated, pick_and_place, seed, per_side=3)) == 9
    )
    y = pick_and_place.states[:, 1]
    assert {pair.direction for pair in pairs} == {"left", "right", "none"}
    for pair in pairs:
        subtask = annotated.find(pair.uid)
        assert subtask.start_step <= pair.before_step < pair.after_step <= subtask.end_step
        moved = y[pair.after_step] - y[pair.before_step]
        assert {"left": moved >= 0.02, "right": moved <= -0.02, "none": abs(moved) < 0.005}[pair.direction]


def test_only_what_is_left_of_the_annotation_is_sampled(annotated, pick_and_place):
    kept = replace(annotated, subtasks=annotated.subtasks[2:3])
    uid = kept.subtasks[0].uid
    assert {pair.uid for pair in completed_pairs(kept, pick_and_place, 0)} == {uid}
    assert {pair.uid for pair in movement_pairs(kept, pick_and_place, 0)} == {uid}
    nothing = replace(annotated, subtasks=())
    assert completed_pairs(nothing, pick_and_place, 0) == movement_pairs(nothing, pick_and_place, 0) == ()


def test_the_seed_decides(annotated, pick_and_place):
    first = [movement_pairs(annotated, pick_and_place, seed) for seed in range(6)]
    again = [movement_pairs(annotated, pick_and_place, seed) for seed in range(6)]
    assert first == again
    assert len(set(first)) > 1
    assert completed_pairs(annotated, pick_and_place, 3) == completed_pairs(annotated, pick_and_place, 3)

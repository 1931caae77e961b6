"""The paper's extra samples over two frames."""

from dataclasses import replace

import pytest

from vlm2vla.annotation.kinematic import KinematicAnnotator
from vlm2vla.annotation.pairs import completed_pairs, movement_pairs


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
            assert pair.after_step == subtask.end_step
        else:
            assert pair.after_step < subtask.end_step
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


def test_a_last_subtask_counts_as_completed_when_the_gripper_acts(annotated, pick_and_place):
    cut = replace(pick_and_place, states=pick_and_place.states[:15], commands=pick_and_place.commands[:15])
    pairs = completed_pairs(KinematicAnnotator().annotate(cut), cut, seed=0)
    assert [pair.text for pair in pairs if pair.completed] == ["Move to the carrot", "Grasp the carrot"]


def test_movement_pairs(annotated, pick_and_place):
    pairs = movement_pairs(annotated, pick_and_place, seed=0, per_side=3)
    y = pick_and_place.states[:, 1]
    assert {pair.direction for pair in pairs} == {"left", "right", "none"}
    assert len(pairs) == 9
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

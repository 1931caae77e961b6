"""Labels from the numbers alone."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from vlm2vla.annotation.checks import check, displacement_error
from vlm2vla.annotation.kinematic import KinematicAnnotator
from vlm2vla.config import LanguageConfig
from vlm2vla.embodiment import FRANKA
from vlm2vla.errors import AnnotationError
from vlm2vla.language import parse_plan, verbalize_plan


@pytest.fixture
def annotator():
    return KinematicAnnotator()


def texts(annotated):
    return [subtask.text for subtask in annotated.subtasks]


def covers(annotated, start, end):
    edges = [(subtask.start_step, subtask.end_step) for subtask in annotated.subtasks]
    return edges[0][0] == start and edges[-1][1] == end and all(a[1] == b[0] for a, b in pairwise(edges))


def test_pick_and_place(annotator, pick_and_place):
    annotated = annotator.annotate(pick_and_place)
    assert texts(annotated) == [
        "Move to the carrot",
        "Grasp the carrot",
        "Move the carrot to the plate",
        "Release the carrot",
        "Move away from the carrot",
    ]
    assert covers(annotated, 0, 38)
    assert [subtask.plan for subtask in annotated.subtasks[:2]] == [
        "move forward and slightly left",
        "move down, then close the gripper",
    ]
    assert {source for subtask in annotated.subtasks for source in subtask.sources.values()} == {"kinematic"}
    assert annotated.provenance[0].settings["action_form"] == annotated.action_form


@pytest.mark.parametrize(
    ("instruction", "carried"),
    [
        ("turn lever vertical to front", "Turn the lever vertical to front"),
        ("flip pot upright which is in sink", "Flip the pot upright"),
        ("Move the shoe to the top of the cooking pot.", "Move the shoe to the top of the cooking pot"),
        ("open the drawer", "Open the drawer"),
        ("把胡萝卜放在盘子上", "Move the object"),
    ],
)
def test_the_deed_is_said_in_the_words_of_the_instruction(annotator, pick_and_place, instruction, carried):
    assert texts(annotator.annotate(replace(pick_and_place, instruction=instruction)))[2] == carried


def test_a_push_without_gripper_event_is_the_way_and_the_deed(annotator, episode_factory):
    moves = [(8, (10, 0, -3)), (20, (0, -15, 0)), (4, (-5, 0, 5))]
    annotated = annotator.annotate(episode_factory(moves, instruction="close the drawer"))
    assert texts(annotated) == ["Move to the drawer", "Close the drawer"]


def test_a_short_recording_of_a_push_is_only_the_way(annotator, episode_factory):
    episode = episode_factory([(5, (6, 0, -2)), (4, (0, -5, 0))], instruction="close the drawer")
    assert texts(annotator.annotate(episode)) == ["Move to the drawer"]


def test_idle_ends_join_a_neighbour(annotator, episode_factory):
    moves = [(8, (0, 0, 0)), (8, (9, 0, -6)), (4, (0, 0, 0)), (6, (0, -9, 3)), (4, (0, 0, 0)), (8, (0, 0, 0))]
    episode = episode_factory(moves, [(16, 0), (26, 1)], noise_mm=0.2)
    annotated = annotator.annotate(episode)
    assert covers(annotated, 0, len(episode))
    assert texts(annotated) == [
        "Move to the carrot",
        "Grasp the carrot",
        "Move the carrot to the plate",
        "Release the carrot",
    ]
    assert not check(annotated, episode)


def test_an_episode_without_motion_is_one_subtask_and_says_so(annotator, episode_factory):
    episode = episode_factory([(20, (0, 0, 0))])
    annotated = annotator.annotate(episode)
    assert texts(annotated) == ["Hold still"]
    assert [finding.code for finding in check(annotated, episode)] == ["idle"]


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_very_short_episodes(annotator, episode_factory, steps):
    episode = episode_factory([(steps - 1, (2, 0, 0))] if steps > 1 else [], [(1, 0)] if steps > 1 else [])
    assert covers(annotator.annotate(episode), 0, steps)


def test_trigger_chatter_makes_no_subtasks(annotator, pick_and_place, episode_factory):
    moves = [(7, (9, 4, 0)), (5, (0.5, 0, -6)), (4, (0, 0, 0)), (5, (0, 0, 7)), (7, (-2, -12, 0))]
    plain = annotator.annotate(episode_factory(moves, [(12, 0)]))
    chatter = annotator.annotate(episode_factory(moves, [(12, 0), (13, 1), (14, 0)]))
    assert texts(plain) == texts(chatter)


def test_closing_and_opening_in_quick_succession_still_covers(annotator, episode_factory):
    episode = episode_factory([(30, (5, 5, -5))], [(10, 0), (12, 1), (14, 0), (16, 1), (29, 0)])
    annotated = annotator.annotate(episode)
    assert covers(annotated, 0, 31)
    assert not [finding for finding in check(annotated, episode) if finding.severity == "error"]


def test_tremor_does_not_cut(annotator, episode_factory):
    episode = episode_factory([(20, (20, 0, 0))], noise_mm=1.5)
    assert texts(annotator.annotate(episode)) == ["Move to the carrot"]


def test_the_rate_matters_not_the_number_of_steps(annotator, episode_factory):
    moves = [(42, (9, 4, 0)), (30, (0.5, 0, -6)), (24, (0, 0, 0)), (72, (-2, -12, 4)), (18, (0, 0, 0)), (12, (0, 0, 4))]
    episode = episode_factory(moves, [(72, 0), (168, 1)], rate_hz=30.0, robot=FRANKA)
    assert texts(annotator.annotate(episode)) == [
        "Move to the carrot",
        "Grasp the carrot",
        "Move the carrot to the plate",
        "Release the carrot",
        "Move away from the carrot",
    ]


def test_same_episode_same_labels_and_keys(annotator, pick_and_place):
    first, second = annotator.annotate(pick_and_place), annotator.annotate(pick_and_place)
    assert first.subtasks == second.subtasks
    other = annotator.annotate(replace(pick_and_place, id="another"))
    assert {subtask.uid for subtask in first.subtasks}.isdisjoint(subtask.uid for subtask in other.subtasks)


def test_span_is_covered_exactly_and_knows_what_happened_before(annotator, pick_and_place):
    annotated = annotator.annotate(pick_and_place, span=(20, 30))
    assert covers(annotated, 20, 30)
    assert texts(annotated) == ["Move the carrot to the plate"]


def test_a_hint_names_the_object(annotator, pick_and_place):
    annotated = annotator.annotate(pick_and_place, span=(0, 15), hint="the blue cup")
    assert texts(annotated) == ["Move to the blue cup", "Grasp the blue cup"]


def test_a_hint_that_begins_with_a_verb_is_the_text_of_the_span(annotator, pick_and_place):
    annotated = annotator.annotate(pick_and_place, span=(5, 20), hint="Pour the rice")
    assert texts(annotated) == ["Pour the rice"]
    assert texts(annotator.annotate(pick_and_place, hint="put the spoon in the bowl"))[0] == "Move to the spoon"


@pytest.mark.parametrize("span", [(-1, 4), (4, 4), (0, 39)])
def test_spans_outside_are_refused(annotator, pick_and_place, span):
    with pytest.raises(AnnotationError, match="no span"):
        annotator.annotate(pick_and_place, span=span)


@pytest.mark.parametrize("form", ["rows", "rows7", "sentence", "sentence7", "tokens"])
def test_random_episodes_are_covered_and_free_of_errors(episode_factory, form):
    annotator = KinematicAnnotator(LanguageConfig(form=form))
    rng = np.random.default_rng(7)
    for seed in range(25):
        rate = float(rng.choice([5, 10]))
        moves = [(int(rng.uniform(0.4, 2.5) * rate), rng.normal(0, (5, 5, 5, 15, 15, 15))) for _ in range(6)]
        steps = 1 + sum(count for count, _ in moves)
        changes = sorted(set(rng.integers(1, steps, size=4).tolist()))
        gripper = [(step, index % 2) for index, step in enumerate(changes)]
        episode = episode_factory(moves, gripper, noise_mm=float(rng.uniform(0, 1)), rate_hz=rate, seed=seed)
        annotated = annotator.annotate(episode)
        assert covers(annotated, 0, steps)
        assert [finding for finding in check(annotated, episode) if finding.severity == "error"] == []


def test_real_episodes(annotator, bridge_episodes):
    errors_cm = []
    for episode in bridge_episodes:
        annotated = annotator.annotate(episode)
        assert covers(annotated, 0, len(episode))
        assert 1 <= len(annotated.subtasks) <= 3
        assert texts(annotated)[0].startswith("Move to the ")
        assert texts(annotated)[0].split()[-1] in episode.instruction
        assert [finding for finding in check(annotated, episode) if finding.severity == "error"] == []
        assert all(verbalize_plan(parse_plan(entry.plan)) == entry.plan for entry in annotated.subtasks)
        errors_cm += [error.cm for error in displacement_error(annotated, episode)]
    assert len(bridge_episodes) == 25
    assert np.median(errors_cm) <= 0.5


def test_real_grasps_are_where_the_gripper_closes(annotator, bridge_episodes):
    for episode in bridge_episodes:
        bits = episode.commands[:, 6] > 0.5
        closes = [step for step in range(1, len(bits)) if bits[step - 1] and not bits[step]]
        grasps = [entry for entry in annotator.annotate(episode).subtasks if entry.text.startswith("Grasp")]
        assert len(grasps) == len(closes)
        assert all(entry.start_step <= step < entry.end_step for entry, step in zip(grasps, closes, strict=True))


def test_motion_too_long_for_one_chunk_is_cut_into_several(annotator, episode_factory):
    wiping = episode_factory([(40, (0, 20, 0)), (40, (0, -20, 0))] * 10, instruction="wipe the table with the towel")
    annotated = annotator.annotate(wiping)
    assert covers(annotated, 0, len(wiping))
    assert [finding for finding in check(annotated, wiping) if finding.severity == "error"] == []
    assert any(text.endswith(", continued") for text in texts(annotated))

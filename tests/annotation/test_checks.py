"""Checks are silent on labels that are true, and find every label that was made wrong on purpose."""

import time
from dataclasses import replace

import numpy as np
import pytest

from vlm2vla.annotation.checks import check, displacement_error, risk
from vlm2vla.annotation.derive import derive_chunk, derive_plan
from vlm2vla.annotation.kinematic import KinematicAnnotator
from vlm2vla.config import LanguageConfig
from vlm2vla.language import form
from vlm2vla.types import ActionChunk, AnnotatedEpisode, AnnotatedSubtask

APPROACH, GRASP, CARRY, RELEASE, LEAVE = range(5)


@pytest.fixture
def annotated(pick_and_place) -> AnnotatedEpisode:
    return KinematicAnnotator().annotate(pick_and_place)


def changed(annotated, index, **values) -> AnnotatedEpisode:
    subtasks = list(annotated.subtasks)
    subtasks[index] = replace(subtasks[index], **values)
    return replace(annotated, subtasks=tuple(subtasks))


def found(annotated, episode, *severities) -> set[str]:
    return {finding.code for finding in check(annotated, episode) if finding.severity in (severities or ("error",))}


def one_span(episode, plan, text="Wipe the table", chunk=None) -> AnnotatedEpisode:
    """A single subtask with the derived chunk and a plan of our own."""
    config = LanguageConfig()
    action_text = chunk if chunk is not None else derive_chunk(episode, 0, len(episode), config, form("rows:0.5cm"))
    sources = dict.fromkeys(("subtask", "plan", "chunk"), "person")
    return AnnotatedEpisode(
        episode.id, "rows:0.5cm", (AnnotatedSubtask("s1", text, 0, len(episode), plan, action_text, sources),)
    )


def test_true_labels_have_no_findings(annotated, pick_and_place):
    assert check(annotated, pick_and_place) == ()


# Spans


def test_gap(annotated, pick_and_place):
    wrong = changed(annotated, GRASP, start_step=annotated.subtasks[GRASP].start_step + 2)
    findings = [finding for finding in check(wrong, pick_and_place) if finding.code == "span-gap"]
    edge = annotated.subtasks[GRASP].start_step
    assert [(finding.start_step, finding.end_step) for finding in findings] == [(edge, edge + 2)]
    assert f"steps {edge} to {edge + 1}" in findings[0].message


def test_gap_at_either_end(annotated, pick_and_place):
    assert "span-gap" in found(replace(annotated, subtasks=annotated.subtasks[1:]), pick_and_place)
    assert "span-gap" in found(replace(annotated, subtasks=annotated.subtasks[:-1]), pick_and_place)
    assert found(replace(annotated, subtasks=()), pick_and_place) == {"no-subtasks"}


def test_overlap_empty_and_outside(annotated, pick_and_place):
    start = annotated.subtasks[GRASP].start_step
    assert "span-overlap" in found(changed(annotated, GRASP, start_step=start - 2), pick_and_place)
    assert "span-empty" in found(changed(annotated, GRASP, end_step=start), pick_and_place)
    assert "span-outside" in found(changed(annotated, LEAVE, end_step=99), pick_and_place)


def test_two_subtasks_with_one_key(annotated, pick_and_place):
    assert "uid-twice" in found(changed(annotated, GRASP, uid=annotated.subtasks[0].uid), pick_and_place)


# Plans


@pytest.mark.parametrize(
    ("index", "right", "wrong"),
    [
        (APPROACH, "left", "right"),
        (APPROACH, "forward", "back"),
        (GRASP, "down", "up"),
        (CARRY, "right", "left"),
        (CARRY, "up", "down"),
        (LEAVE, "up", "down"),
    ],
)
def test_the_opposite_direction_is_an_error(annotated, pick_and_place, index, right, wrong):
    plan = annotated.subtasks[index].plan
    assert right in plan
    findings = check(changed(annotated, index, plan=plan.replace(right, wrong)), pick_and_place)
    errors = [finding for finding in findings if finding.severity == "error"]
    assert [(finding.code, finding.uid) for finding in errors] == [("plan-direction", annotated.subtasks[index].uid)]
    assert f'"{wrong}"' in errors[0].message
    assert " cm" in errors[0].message


def test_a_little_way_that_was_gone_may_be_said(episode_factory):
    wide_turn = episode_factory([(8, (-5, -15, 6)), (5, (1.2, 4, -3))], instruction="move the carrot")
    labels = KinematicAnnotator().annotate(wide_turn, span=(0, len(wide_turn)), hint="Move the carrot")
    said = replace(labels.subtasks[0], plan="move far right and up, then move left, down and slightly forward")
    codes = found(replace(labels, subtasks=(said,)), wide_turn, "error")
    assert codes == set()
    told_wrong = replace(said, plan="move far right, up and forward, then move left and down")
    assert found(replace(labels, subtasks=(told_wrong,)), wide_turn, "error") == {"plan-direction"}


def test_small_axes_may_be_left_out_but_not_the_leading_one(annotated, pick_and_place):
    assert found(changed(annotated, APPROACH, plan="move forward"), pick_and_place, "error", "warning") == set()
    assert found(changed(annotated, APPROACH, plan="move left"), pick_and_place, "error", "warning") == {"plan-omits"}


def test_an_axis_that_hardly_moved_is_a_warning(annotated, pick_and_place):
    wrong = changed(annotated, LEAVE, plan="move up and slightly left")
    assert found(wrong, pick_and_place) == set()
    assert found(wrong, pick_and_place, "warning") == {"plan-still-axis"}


@pytest.mark.parametrize(
    ("index", "plan", "said"),
    [
        (APPROACH, "move far forward and slightly left", None),  # 9 cm is neither short nor long
        (APPROACH, "move forward and far left", "far left"),
        (CARRY, "move up, then move slightly right", "slightly right"),
        (CARRY, "move up, then move right", None),
        (CARRY, "move slightly up, then move far right", None),
        (CARRY, "move up and slightly right, then move slightly right", None),  # 12 cm in two phrases
    ],
)
def test_size_words_that_do_not_fit_are_warnings(annotated, pick_and_place, index, plan, said):
    findings = check(changed(annotated, index, plan=plan), pick_and_place)
    assert {finding.code for finding in findings} == ({"plan-size"} if said else set())
    assert all(f'"{said}"' in finding.message and " cm" in finding.message for finding in findings)


@pytest.mark.parametrize(
    ("plan", "said"),
    [("move forward 9 cm and left", "9 cm"), ("move 2.5centimeters left and then far forward", "2.5centimeters")],
)
def test_numbers_in_a_plan_are_a_warning(annotated, pick_and_place, plan, said):
    findings = check(changed(annotated, APPROACH, plan=plan), pick_and_place)
    assert [(finding.severity, finding.code) for finding in findings] == [("warning", "plan-number")]
    assert f'"{said}"' in findings[0].message


def test_hold_still_is_wrong_of_a_moving_span(annotated, pick_and_place):
    assert found(changed(annotated, APPROACH, plan="hold still"), pick_and_place) == {"plan-omits"}


def test_free_wording_is_understood(annotated, pick_and_place):
    plan = "Lower the arm carefully towards the carrot, then close the fingers around it"
    assert found(changed(annotated, GRASP, plan=plan), pick_and_place, "error", "warning") == set()
    plan = "Raise the arm, then close the fingers around the carrot"
    assert found(changed(annotated, GRASP, plan=plan), pick_and_place) == {"plan-direction"}


def test_back_and_forth_is_judged_by_swings_not_by_net_motion(episode_factory):
    episode = episode_factory(
        [(5, (0, 8, 0)), (5, (0, -8, 0)), (5, (0, 8, 0)), (5, (0, -8, 0))], instruction="wipe the table"
    )
    true = "move left, then move right, then move left, then move right"
    assert found(one_span(episode, true), episode, "error", "warning") == set()
    assert found(one_span(episode, derive_plan(episode, 0, 21, LanguageConfig())), episode) == set()
    assert found(one_span(episode, "move right"), episode) == set()
    assert found(one_span(episode, "move up, then move down"), episode, "warning") >= {"plan-still-axis"}


def test_one_swing_said_in_the_wrong_order_is_an_error(episode_factory):
    episode = episode_factory([(8, (0, 0, 6)), (8, (0, 0, -6))], instruction="wipe the table")
    assert found(one_span(episode, "move up, then move down"), episode, "error", "warning") == set()
    assert found(one_span(episode, "move down, then move up"), episode) == {"plan-order"}


def test_the_order_of_axes_is_checked_too(episode_factory):
    episode = episode_factory([(8, (9, 0, 0)), (8, (0, 0, -6))], instruction="wipe the table")
    assert found(one_span(episode, "move forward, then move down"), episode, "error", "warning") == set()
    assert found(one_span(episode, "move down, then move forward"), episode, "warning") == {"plan-sequence"}


def test_a_wrong_gripper_word_is_an_error(annotated, pick_and_place):
    plan = annotated.subtasks[GRASP].plan.replace("close", "open")
    wrong = changed(annotated, GRASP, plan=plan)
    assert found(wrong, pick_and_place) == {"plan-gripper"}
    far_away = changed(annotated, LEAVE, plan="move up, then close the gripper")
    assert found(far_away, pick_and_place) == {"plan-gripper"}


def test_a_gripper_word_just_beside_its_event_is_a_warning(annotated, pick_and_place):
    early = changed(annotated, LEAVE, plan="open the gripper, then move up")
    assert found(early, pick_and_place) == set()
    assert found(early, pick_and_place, "warning") == {"plan-gripper"}


def test_a_gripper_event_that_the_plan_leaves_out_is_a_warning(annotated, pick_and_place):
    assert found(changed(annotated, GRASP, plan="move down"), pick_and_place, "warning") == {"plan-gripper-omitted"}


def test_motion_while_the_gripper_closes_may_be_said_as_one_or_as_two_phrases(episode_factory):
    episode = episode_factory([(6, (8, 0, 0)), (3, (0, 0, -3)), (4, (0, 0, 0))], [(6, 0)], instruction="grasp the cup")
    derived = derive_plan(episode, 5, 14, LanguageConfig())
    assert derived == "move slightly forward, then move down while closing the gripper"
    for plan in (
        "move forward, then move down while closing the gripper",
        "move forward, then close the gripper, then move down",
        "move forward, then close the gripper while moving down",
    ):
        assert found(one_span(episode, plan, "Grasp the cup"), episode, "error", "warning") == set()
    wrong = "move forward, then move up while closing the gripper"
    assert found(one_span(episode, wrong, "Grasp the cup"), episode) == {"plan-direction"}


def test_the_way_back_on_a_named_axis_is_named_too(episode_factory):
    episode = episode_factory([(8, (0, 0, 9)), (8, (0, 0, -4)), (8, (12, 0, 0))], instruction="wipe the table")
    assert found(one_span(episode, "move up, then move forward"), episode, "error", "warning") == {"plan-omits"}


def test_trigger_chatter_need_not_be_said(episode_factory):
    moves = [(10, (9, 0, -6)), (8, (0, 0, 0)), (6, (0, 0, 6))]
    episode = episode_factory(moves, [(12, 0), (13, 1), (14, 0)], instruction="grasp the cup")
    plan = "move forward and down, then close the gripper, then move up"
    assert found(one_span(episode, plan, "Grasp the cup"), episode, "error", "warning") == set()
    assert derive_plan(episode, 0, len(episode), LanguageConfig()).count("gripper") == 1


def test_a_glitch_of_the_trigger_is_in_no_level_and_must_not_be_said(episode_factory):
    episode = episode_factory([(10, (9, 0, -6)), (8, (0, 9, 0))], [(9, 0), (10, 1)], instruction="wipe the table")
    annotated = KinematicAnnotator().annotate(episode)
    assert check(annotated, episode) == ()
    assert "gripper" not in " ".join(subtask.plan for subtask in annotated.subtasks)
    assert all(form("rows:0.5cm").parse(subtask.chunk).gripper.all() for subtask in annotated.subtasks)
    said = one_span(episode, "move forward and down, then close the gripper, then open the gripper, then move left")
    assert found(said, episode) == {"plan-gripper"}


# Action text


def with_rows(annotated, index, change) -> AnnotatedEpisode:
    action_form = form(annotated.action_form)
    rows = action_form.parse(annotated.subtasks[index].chunk).rows.copy()
    return changed(annotated, index, chunk=action_form.verbalize(ActionChunk(change(rows))))


@pytest.mark.parametrize("index", [APPROACH, GRASP, CARRY, LEAVE])
def test_a_wrong_sign_is_an_error(annotated, pick_and_place, index):
    def flip(rows):
        row, axis = np.unravel_index(np.abs(rows[:, :3]).argmax(), rows[:, :3].shape)
        rows[row, axis] *= -1
        return rows

    wrong = with_rows(annotated, index, flip)
    assert found(wrong, pick_and_place) == {"chunk-total"}
    message = next(finding.message for finding in check(wrong, pick_and_place))
    assert "cm apart" in message


def test_left_and_right_swapped_is_an_error(annotated, pick_and_place):
    assert found(with_rows(annotated, CARRY, lambda rows: rows * [1, -1, 1, 1]), pick_and_place) == {"chunk-total"}


def test_a_wrong_unit_is_an_error(annotated, pick_and_place):
    assert found(with_rows(annotated, APPROACH, lambda rows: rows * [0.1, 0.1, 0.1, 1]), pick_and_place)


def test_a_wrong_gripper_is_an_error(annotated, pick_and_place):
    for index in (APPROACH, GRASP, CARRY, RELEASE, LEAVE):
        wrong = with_rows(annotated, index, lambda rows: np.column_stack([rows[:, :3], 1 - rows[:, 3]]))
        assert found(wrong, pick_and_place) == {"chunk-gripper"}, index


def test_a_gripper_that_acts_at_another_place_of_the_way_is_an_error(annotated, pick_and_place):
    # The fingers close above the carrot instead of on it: the same changes, the same total.
    wrong = with_rows(annotated, GRASP, lambda rows: np.column_stack([rows[:, :3], np.zeros(len(rows))]))
    assert found(wrong, pick_and_place) == {"chunk-gripper-place"}


def test_unreadable_action_text_is_an_error_that_says_where(annotated, pick_and_place):
    wrong = changed(annotated, CARRY, chunk="[[1.0, 2.0, oops")
    findings = check(wrong, pick_and_place)
    assert [finding.code for finding in findings] == ["chunk-unreadable"]
    assert "at character" in findings[0].message


def test_a_way_that_was_not_taken_is_found_although_it_adds_up(episode_factory):
    episode = episode_factory([(8, (0, 0, 9)), (8, (0, 0, -9))], instruction="wipe the table")
    wrong = one_span(episode, "move up, then move down", chunk="[[0.0, 0.0, 0.0, 1]]")
    assert found(wrong, episode) == {"chunk-way"}
    assert displacement_error(wrong, episode)[0].cm < 0.1


def test_rotations_are_checked_in_degrees(episode_factory):
    episode = episode_factory([(10, (5, 0, 0, 0, 0, 40))], instruction="turn the lever")
    annotator = KinematicAnnotator(LanguageConfig(form="rows7"))
    annotated = annotator.annotate(episode)
    assert found(annotated, episode, "error", "warning") == set()
    assert displacement_error(annotated, episode)[0].deg < 2
    wrong = with_rows(annotated, 0, lambda rows: rows * [1, 1, 1, 1, 1, -1, 1])
    assert found(wrong, episode) == {"chunk-rotation"}
    assert displacement_error(wrong, episode)[0].deg == pytest.approx(80, abs=2)


@pytest.mark.parametrize(
    ("turns", "said"),
    [([86], 86), ([-40], 40), ([30, -30], 30), ([18], None), ([15, -30, 15], 30), ([10, -10, 10, -10], None)],
)
def test_rotation_that_the_action_form_cannot_say_is_a_warning(episode_factory, turns, said):
    moves = [(10, (5, 0, 0, 0, 0, turn)) for turn in turns]
    episode = episode_factory(moves, instruction="wipe the table")
    findings = check(one_span(episode, "move forward"), episode)
    expected = [f"The gripper turns {said} degrees, which this action form cannot say."] if said else []
    assert [finding.message for finding in findings] == expected
    assert {(finding.severity, finding.code) for finding in findings} <= {("warning", "rotation-unsaid")}
    annotated = KinematicAnnotator(LanguageConfig(form="rows7")).annotate(episode)
    assert found(annotated, episode, "error", "warning") == set()


def test_displacement_error_is_the_distance_between_text_and_recording(annotated, pick_and_place):
    errors = displacement_error(annotated, pick_and_place)
    assert [error.uid for error in errors] == [subtask.uid for subtask in annotated.subtasks]
    assert max(error.cm for error in errors) <= 0.25 * np.sqrt(3) + 0.01
    moved = with_rows(annotated, LEAVE, lambda rows: rows + [0.03, 0, 0, 0] * (np.arange(len(rows)) == 0)[:, None])
    assert displacement_error(moved, pick_and_place)[-1].cm == pytest.approx(3.0, abs=0.5)
    assert len(displacement_error(changed(annotated, LEAVE, chunk="?"), pick_and_place)) == 4


def test_commanded_motion_is_checked_against_commands(pick_and_place):
    commands = pick_and_place.commands.copy()
    commands[:, :3] *= 1.3
    episode = replace(pick_and_place, commands=commands)
    annotated = KinematicAnnotator(LanguageConfig(motion="commanded")).annotate(episode)
    assert found(annotated, episode) == set()
    reached = replace(annotated, provenance=())
    assert "chunk-total" in found(reached, episode)


# Words


def test_missing_levels(annotated, pick_and_place):
    assert found(changed(annotated, CARRY, text=" "), pick_and_place) == {"subtask-missing"}
    assert found(changed(annotated, CARRY, plan=""), pick_and_place) == {"plan-missing"}
    assert found(changed(annotated, CARRY, chunk=""), pick_and_place) == {"chunk-missing"}


def test_stale_levels(annotated, pick_and_place):
    assert found(changed(annotated, CARRY, stale=("plan", "chunk")), pick_and_place, "warning") == {"stale"}


def test_idle_subtask(annotated, episode_factory):
    episode = episode_factory([(10, (0, 0, 0)), (10, (8, 0, 0))], instruction="wipe the table")
    sources = dict.fromkeys(("subtask", "plan", "chunk"), "person")
    idle = AnnotatedSubtask("a", "Wait", 0, 10, "hold still", "[[0.0, 0.0, 0.0, 1]]", sources)
    rest = KinematicAnnotator().annotate(episode, span=(10, 21)).subtasks
    wrong = AnnotatedEpisode(episode.id, "rows:0.5cm", (idle, *rest))
    assert found(wrong, episode, "error", "warning") == {"idle"}


@pytest.mark.parametrize("text", ["Grasp the carrot", "grasp carrot.", "Grasp a carrot"])
def test_near_duplicate_neighbours(annotated, pick_and_place, text):
    assert "duplicate" in found(changed(annotated, APPROACH, text=text), pick_and_place, "warning")


def test_neighbours_that_differ_in_a_short_word_are_not_duplicates(annotated, pick_and_place):
    wrong = changed(changed(annotated, APPROACH, text="Move to plate 1"), GRASP, text="Move to plate 2")
    assert "duplicate" not in found(wrong, pick_and_place, "warning")


def test_an_object_that_the_instruction_does_not_know_is_said_once(annotated, pick_and_place):
    wrong = changed(changed(annotated, APPROACH, text="Move to the spoon"), GRASP, text="Grasp the spoon")
    findings = [finding for finding in check(wrong, pick_and_place) if finding.code == "object-unknown"]
    assert len(findings) == 1
    assert '"spoon"' in findings[0].message
    known = replace(pick_and_place, paraphrases=("put the spoon on the plate",))
    assert "object-unknown" not in found(wrong, known, "warning")


def test_typing_errors_of_the_instruction_are_forgiven(annotated, pick_and_place):
    episode = replace(pick_and_place, instruction="put carot on plates")
    assert found(annotated, episode, "error", "warning") == set()


def test_objects_are_not_asked_of_an_instruction_in_another_language(annotated, pick_and_place):
    episode = replace(pick_and_place, instruction="把胡萝卜放在盘子上")
    assert found(annotated, episode, "error", "warning") == set()


@pytest.mark.parametrize(
    ("text", "severity", "code"),
    [
        ("Grasp the \u0441arrot", "error", "mixed-letters"),  # the first letter of the noun is Cyrillic
        ("抓住胡萝卜", "warning", "language"),
        ("Agarra la zanahoria del plato", "warning", "language"),
    ],
)
def test_one_language_and_one_alphabet(annotated, pick_and_place, text, severity, code):
    assert code in found(changed(annotated, GRASP, text=text), pick_and_place, severity)


def test_a_subtask_that_grasps_where_the_gripper_opens_is_an_error(annotated, pick_and_place):
    wrong = changed(annotated, RELEASE, text="Grasp the carrot")
    assert "subtask-gripper" in found(wrong, pick_and_place)
    wrong = changed(annotated, CARRY, text="Release the carrot", end_step=annotated.subtasks[CARRY].end_step - 4)
    assert "subtask-gripper" in found(wrong, pick_and_place, "warning")


def test_rejected_subtasks_are_checked_for_coverage_only(annotated, pick_and_place):
    wrong = changed(annotated, GRASP, chunk="nonsense", status="rejected", reason="wrong object")
    assert found(wrong, pick_and_place, "error", "warning") == set()


def test_an_unknown_action_form_is_said(annotated, pick_and_place):
    assert "form-unknown" in found(replace(annotated, action_form="morse:1cm"), pick_and_place)


# Risk and speed


def test_risk_orders_by_how_wrong_it_is(annotated, pick_and_place):
    def of(version):
        return risk(check(version, pick_and_place), version, pick_and_place)

    warned = changed(annotated, LEAVE, plan="move up and slightly left")
    wrong = changed(annotated, GRASP, plan="move up, then open the gripper")
    assert 0 < of(annotated) < 0.1 < of(warned) < of(wrong) <= 1
    vague = replace(pick_and_place, instruction="把胡萝卜放在盘子上")
    assert risk((), annotated, vague) > of(annotated)


def test_every_wrong_label_of_a_real_episode_is_found(bridge_episodes):
    opposite = {"left": "right", "right": "left", "up": "down", "down": "up", "forward": "back", "back": "forward"}
    annotator = KinematicAnnotator()
    swapped = missed = 0
    for episode in bridge_episodes:
        annotated = annotator.annotate(episode)
        for index, subtask in enumerate(annotated.subtasks):
            word = next((entry for entry in subtask.plan.replace(",", "").split() if entry in opposite), None)
            if word is None or subtask.plan.count(word) > 1 or opposite[word] in subtask.plan:
                continue
            wrong = changed(annotated, index, plan=subtask.plan.replace(word, opposite[word]))
            swapped += 1
            missed += "plan-direction" not in found(wrong, episode)
    assert swapped > 30
    assert missed <= swapped // 10


def test_annotating_and_checking_is_fast(pick_and_place):
    annotator = KinematicAnnotator()
    began = time.process_time()
    for _ in range(20):
        annotated = annotator.annotate(pick_and_place)
        risk(check(annotated, pick_and_place), annotated, pick_and_place)
    # 60,000 episodes in 10 minutes on 2 cores are 20 ms each; it takes about 3.
    assert (time.process_time() - began) / 20 < 0.02

"""Edits by a person."""

from dataclasses import replace

import pytest

from vlm2vla.annotation import edit as edits
from vlm2vla.annotation.checks import check
from vlm2vla.annotation.edit_json import apply
from vlm2vla.annotation.kinematic import KinematicAnnotator
from vlm2vla.config import LanguageConfig
from vlm2vla.errors import EditError
from vlm2vla.language import form
from vlm2vla.types import AnnotatedEpisode

CONFIG = LanguageConfig()
BOTH = ("plan", "chunk")


@pytest.fixture
def annotated(pick_and_place) -> AnnotatedEpisode:
    return edits.set_status(KinematicAnnotator().annotate(pick_and_place), None, "accepted")


@pytest.fixture
def uids(annotated) -> list[str]:
    return [subtask.uid for subtask in annotated.subtasks]


def spans(annotated):
    return [(subtask.start_step, subtask.end_step) for subtask in annotated.subtasks]


def others(annotated, *changed):
    return [subtask for subtask in annotated.subtasks if subtask.uid not in changed]


# Text


def test_text_becomes_a_persons_and_keeps_the_review(annotated, uids):
    after = edits.set_text(annotated, uids[1], "plan", "  move down,  then close the gripper ")
    assert after.find(uids[1]).plan == "move down, then close the gripper"
    assert after.find(uids[1]).sources["plan"] == "kinematic"  # the same words: confirmed, not rewritten
    after = edits.set_text(annotated, uids[1], "subtask", "Take the carrot")
    assert after.find(uids[1]).text == "Take the carrot"
    assert after.find(uids[1]).sources == {"subtask": "person", "plan": "kinematic", "chunk": "kinematic"}
    assert after.find(uids[1]).status == "accepted"
    assert others(after, uids[1]) == others(annotated, uids[1])


def test_accepting_the_episode_keeps_what_was_rejected(annotated):
    uid = annotated.subtasks[1].uid
    rejected = edits.set_status(annotated, uid, "rejected", "wrong object")
    accepted = edits.set_status(rejected, None, "accepted")
    assert {subtask.status for subtask in accepted.subtasks if subtask.uid != uid} == {"accepted"}
    assert (accepted.find(uid).status, accepted.find(uid).reason) == ("rejected", "wrong object")


def test_action_text_is_written_in_one_spelling(annotated):
    uid = annotated.subtasks[0].uid
    after = edits.set_text(annotated, uid, "chunk", "[ [1,0, -2.6 ,1],[0.0,0,-3,0] ]")
    assert after.find(uid).chunk == "[[1.0, 0.0, -2.5, 1], [0.0, 0.0, -3.0, 0]]"


def test_unreadable_action_text_is_kept_and_found_by_the_check(annotated, uids, pick_and_place):
    draft = "[[1.0, 2.0, still thinking"
    after = edits.set_text(annotated, uids[2], "chunk", draft)
    assert after.find(uids[2]).chunk == draft
    assert [finding.code for finding in check(after, pick_and_place)] == ["chunk-unreadable"]


def test_saving_a_stale_text_again_confirms_it(annotated, uids):
    moved = edits.move_boundary(annotated, uids[0], 9)
    plan = moved.find(uids[0]).plan
    after = edits.set_text(moved, uids[0], "plan", plan)
    assert after.find(uids[0]).stale == ("chunk",)


@pytest.mark.parametrize(
    ("level", "text", "says"),
    [("subtask", "  ", "needs a text"), ("story", "x", "no level"), ("plan", "x" * 5000, "at most")],
)
def test_text_that_cannot_be(annotated, uids, level, text, says):
    with pytest.raises(EditError, match=says):
        edits.set_text(annotated, uids[0], level, text)


def test_an_unknown_subtask(annotated):
    with pytest.raises(EditError, match="no subtask 'gone'"):
        edits.set_text(annotated, "gone", "plan", "x")


# Boundaries


def test_a_boundary_moves_for_both_neighbours_and_makes_them_stale(annotated, uids):
    edge = annotated.find(uids[1]).start_step
    by_end = edits.move_boundary(annotated, uids[0], edge + 2)
    by_start = edits.move_boundary(annotated, uids[1], edge + 2, edge="start")
    assert by_end == by_start
    assert by_end.find(uids[0]).end_step == by_end.find(uids[1]).start_step == edge + 2
    for uid in uids[:2]:
        assert by_end.find(uid).stale == BOTH
        assert by_end.find(uid).status == "pending"
    assert others(by_end, *uids[:2]) == others(annotated, *uids[:2])
    assert annotated.find(uids[0]).end_step == edge  # the old one is untouched


def test_a_boundary_that_stays_changes_nothing(annotated, uids):
    assert edits.move_boundary(annotated, uids[0], annotated.find(uids[0]).end_step) == annotated


def test_a_boundary_keeps_rejected_and_flagged(annotated, uids):
    flagged = edits.set_status(annotated, uids[0], "flagged", "look again")
    assert edits.move_boundary(flagged, uids[0], 6).find(uids[0]).status == "flagged"


@pytest.mark.parametrize("step", [-3, 0, 15, 99])
def test_a_boundary_cannot_empty_a_span_or_cross_another(annotated, uids, step):
    with pytest.raises(EditError, match="can be at steps 1 to 14"):
        edits.move_boundary(annotated, uids[0], step)


def test_outer_edges_and_gaps(annotated, uids):
    with pytest.raises(EditError, match="not at 99"):
        edits.move_boundary(annotated, uids[-1], 99, steps=38)
    torn = replace(annotated, subtasks=(annotated.subtasks[0], *annotated.subtasks[2:]))
    closed = edits.move_boundary(torn, uids[0], 14)
    assert spans(closed)[:2] == [(0, 14), (14, annotated.subtasks[2].end_step)]
    shorter = edits.move_boundary(annotated, uids[0], 2, edge="start")
    assert spans(shorter)[0] == (2, annotated.subtasks[0].end_step)
    assert spans(edits.move_boundary(shorter, uids[0], 0, edge="start")) == spans(annotated)


# Split, merge, create


def test_split(annotated, uids):
    after = edits.split(annotated, uids[2], 20)
    start, end = spans(annotated)[2]
    assert spans(after)[2:4] == [(start, 20), (20, end)]
    first, second = after.subtasks[2:4]
    assert first.uid == uids[2]
    assert second.uid not in uids
    assert first.text == second.text
    assert first.stale == second.stale == BOTH
    assert {first.status, second.status} == {"pending"}


def test_split_at_an_edge_is_refused(annotated, uids):
    start, end = spans(annotated)[2]
    for step in (start, end, 0):
        with pytest.raises(EditError, match="can be split at"):
            edits.split(annotated, uids[2], step)


def test_merge_says_both_one_after_the_other(annotated, uids, pick_and_place):
    after = edits.merge_with_next(annotated, uids[0])
    merged = after.subtasks[0]
    assert merged.uid == uids[0]
    assert (merged.start_step, merged.end_step) == (0, spans(annotated)[1][1])
    assert merged.text == "Move to the carrot, then grasp the carrot"
    assert merged.plan == "move forward and slightly left, then move down, then close the gripper"
    parse = form(annotated.action_form).parse
    rows = sum(len(parse(subtask.chunk)) for subtask in annotated.subtasks[:2])
    assert len(parse(merged.chunk)) == rows
    assert merged.stale == BOTH
    assert merged.status == "pending"
    # What was merged is still true to the numbers.
    assert {finding.code for finding in check(after, pick_and_place)} == {"stale"}


def test_merge_keeps_unreadable_texts(annotated, uids):
    draft = edits.set_text(annotated, uids[0], "chunk", "not rows")
    free = edits.set_text(draft, uids[0], "plan", "Go there somehow")
    merged = edits.merge_with_next(free, uids[0]).subtasks[0]
    assert merged.chunk == "not rows\n" + annotated.subtasks[1].chunk
    assert merged.plan == "Go there somehow, then move down, then close the gripper"
    assert merged.sources == {"subtask": "kinematic", "plan": "person", "chunk": "person"}


def test_split_then_merge_gives_the_span_back(annotated, uids):
    after = edits.merge_with_next(edits.split(annotated, uids[2], 20), uids[2])
    assert spans(after) == spans(annotated)
    assert after.find(uids[2]).text == annotated.find(uids[2]).text


def test_the_last_subtask_has_none_to_merge_with(annotated, uids):
    with pytest.raises(EditError, match="last subtask"):
        edits.merge_with_next(annotated, uids[-1])


def test_create_inside_one_cuts_it_in_three(annotated):
    start, end = spans(annotated)[2]
    after = edits.create(annotated, start + 3, start + 6, "Look around")
    assert spans(after)[2:5] == [(start, start + 3), (start + 3, start + 6), (start + 6, end)]
    assert len({subtask.uid for subtask in after.subtasks}) == 7
    assert after.subtasks[3].text == "Look around"
    assert after.subtasks[3].stale == BOTH
    assert [subtask.status for subtask in after.subtasks[2:5]] == ["pending"] * 3


def test_create_over_an_edge_trims_both(annotated):
    edge = spans(annotated)[1][1]
    after = edits.create(annotated, edge - 2, edge + 2, "Squeeze")
    assert [span for span in spans(after) if span[0] in (edge - 2, edge + 2)] == [
        (edge - 2, edge + 2),
        (edge + 2, spans(annotated)[2][1]),
    ]


@pytest.mark.parametrize(
    ("start", "end", "text", "says"),
    [
        (0, 20, "x", "completely"),
        (5, 5, "x", "inside"),
        (30, 50, "x", "inside"),
        (-1, 4, "x", "inside"),
        (3, 5, "", "text"),
    ],
)
def test_create_refuses(annotated, start, end, text, says):
    with pytest.raises(EditError, match=says):
        edits.create(annotated, start, end, text, steps=38)


# Status, derived text, re-annotation


def test_status_of_one_and_of_all(annotated, uids):
    one = edits.set_status(annotated, uids[1], "rejected", " wrong   object ")
    assert one.find(uids[1]).status == "rejected"
    assert one.find(uids[1]).reason == "wrong object"
    assert others(one, uids[1]) == others(annotated, uids[1])
    everything = edits.set_status(one, None, "pending")
    assert {(subtask.status, subtask.reason) for subtask in everything.subtasks} == {("pending", "")}


@pytest.mark.parametrize(("status", "says"), [("rejected", "reason"), ("great", "no status")])
def test_status_refuses(annotated, uids, status, says):
    with pytest.raises(EditError, match=says):
        edits.set_status(annotated, uids[0], status)


def test_rederive_takes_the_text_from_the_numbers(annotated, uids, pick_and_place):
    moved = edits.move_boundary(annotated, uids[0], 10)
    wrong = edits.set_text(moved, uids[0], "plan", "move up")
    after = edits.rederive(wrong, uids[0], pick_and_place, CONFIG)
    after = edits.rederive(after, uids[1], pick_and_place, CONFIG)
    assert all(subtask.stale == () for subtask in after.subtasks)
    assert "down" in after.find(uids[0]).plan
    assert after.find(uids[0]).sources["plan"] == "kinematic"
    assert check(after, pick_and_place) == ()


def test_rederive_one_level_in_the_annotations_own_form(pick_and_place):
    made = KinematicAnnotator(LanguageConfig(form="sentence")).annotate(pick_and_place)
    uid = made.subtasks[0].uid
    moved = edits.move_boundary(made, uid, 10)
    after = edits.rederive(moved, uid, pick_and_place, CONFIG, ("chunk",))
    assert after.find(uid).stale == ("plan",)
    assert form("sentence:0.5cm").parse(after.find(uid).chunk)


def test_rederive_refuses_the_subtask_level(annotated, uids, pick_and_place):
    with pytest.raises(EditError, match="only plan and chunk"):
        edits.rederive(annotated, uids[0], pick_and_place, CONFIG, ("subtask",))


def test_replace_span_with_a_new_annotation(annotated, uids, pick_and_place):
    merged = edits.merge_with_next(annotated, uids[0])
    span = spans(merged)[0]
    fresh = KinematicAnnotator().annotate(pick_and_place, span=span, hint="blue cup")
    after = edits.replace_span(merged, uids[0], fresh)
    assert [subtask.text for subtask in after.subtasks[:2]] == ["Move to the blue cup", "Grasp the blue cup"]
    assert after.subtasks[0].uid == uids[0]
    assert len({subtask.uid for subtask in after.subtasks}) == len(after.subtasks)
    assert after.subtasks[2:] == merged.subtasks[1:]
    assert after.provenance[-1].settings["hint"] == "blue cup"


def test_replace_span_refuses_what_does_not_fit(annotated, uids, pick_and_place):
    annotator = KinematicAnnotator()
    with pytest.raises(EditError, match="exactly steps"):
        edits.replace_span(annotated, uids[0], annotator.annotate(pick_and_place, span=(0, 5)))
    other = replace(annotator.annotate(pick_and_place, span=spans(annotated)[0]), episode_id="other")
    with pytest.raises(EditError, match="belong to other"):
        edits.replace_span(annotated, uids[0], other)
    sentence = KinematicAnnotator(LanguageConfig(form="sentence")).annotate(pick_and_place, span=spans(annotated)[0])
    with pytest.raises(EditError, match="sentence"):
        edits.replace_span(annotated, uids[0], sentence)


# JSON


def test_every_kind_of_edit_as_json(annotated, uids, pick_and_place):
    state = annotated
    for edit in (
        {"kind": "set_text", "uid": uids[0], "level": "subtask", "text": "Go to the carrot"},
        {"kind": "move_boundary", "uid": uids[0], "step": 10},
        {"kind": "move_boundary", "uid": uids[1], "step": 9, "edge": "start"},
        {"kind": "rederive", "uid": uids[0]},
        {"kind": "rederive", "uid": uids[1], "levels": ["plan"]},
        {"kind": "split", "uid": uids[2], "step": 20},
        {"kind": "merge", "uid": uids[2]},
        {"kind": "create", "start": 22, "end": 25, "text": "Move the carrot over the plate"},
        {"kind": "set_status", "uid": uids[0], "status": "accepted"},
        {"kind": "set_status", "status": "flagged", "reason": "two people disagree"},
    ):
        before = state
        state = apply(state, pick_and_place, edit, "ann", CONFIG)
        assert state != before, edit
        assert (state.provenance[-1].source, state.provenance[-1].author) == ("person", "ann")
    assert len(state.provenance) == 2  # the annotator and Ann, once each
    created = next(subtask for subtask in state.subtasks if subtask.start_step == 22)
    assert created.stale == ()
    assert created.plan == "move right"
    assert AnnotatedEpisode.from_json(state.to_json()) == state


def test_an_edit_without_effect_credits_nobody(annotated, uids, pick_and_place):
    edit = {"kind": "set_status", "uid": uids[0], "status": "accepted"}
    assert apply(annotated, pick_and_place, edit, "ann", CONFIG) is annotated


@pytest.mark.parametrize(
    "edit",
    [
        {},
        {"kind": "explode"},
        {"kind": ["split"]},
        {"kind": "split", "uid": "UID"},
        {"kind": "split", "uid": "UID", "step": "20"},
        {"kind": "split", "uid": "UID", "step": True},
        {"kind": "split", "uid": "UID", "step": 20.0},
        {"kind": "split", "uid": 3, "step": 20},
        {"kind": "set_text", "uid": "UID", "level": "plan", "text": None},
        {"kind": "set_text", "uid": "UID", "level": "plan"},
        {"kind": "move_boundary", "uid": "UID", "step": 9, "edge": "middle"},
        {"kind": "rederive", "uid": "UID", "levels": "plan"},
        {"kind": "rederive", "uid": "UID", "levels": []},
        {"kind": "rederive", "uid": "UID", "levels": [["plan"]]},
        {"kind": "create", "start": 1, "end": 3},
        {"kind": "set_status", "uid": "UID", "status": None},
        "split",
        None,
    ],
)
def test_wrong_json_is_an_edit_error(annotated, uids, pick_and_place, edit):
    if isinstance(edit, dict) and edit.get("uid") == "UID":
        edit = {**edit, "uid": uids[2]}
    with pytest.raises(EditError):
        apply(annotated, pick_and_place, edit, "ann", CONFIG)


def test_an_edit_of_another_episode_is_refused(annotated, uids, pick_and_place):
    with pytest.raises(EditError, match="belongs to"):
        apply(annotated, replace(pick_and_place, id="other"), {"kind": "merge", "uid": uids[0]}, "ann", CONFIG)

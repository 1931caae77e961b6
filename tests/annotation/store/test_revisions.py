"""Append-only revisions, optimistic locking, and undo as in an editor."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vlm2vla.annotation.store import AnnotationStore, ItemRow, NewRevision
from vlm2vla.errors import AnnotationError, EditError, NotFoundError, StaleRevisionError


def text_of(revision) -> str:
    return revision.annotated.subtasks[0].text


def test_a_saved_annotation_comes_back_equal_with_who_when_and_why(filled, annotated, clock):
    clock.forward(minutes=5)
    mine = annotated("ep1", 'grüße "the" carrot\n— 胡萝卜 😀')
    saved = filled.save(mine, author="ann", source="person", base=1, note="typo")

    head = filled.head("ep1")
    assert head == saved
    assert head.annotated == mine
    assert (head.number, head.parent, head.author, head.source, head.note) == (2, 1, "ann", "person", "typo")
    assert head.created_at == "2026-05-01T12:05:00.000000+00:00"
    assert filled.revision("ep1", 1).annotated == annotated("ep1")


def test_an_episode_without_annotation_has_no_head(store):
    store.register([ItemRow("ep1", "bridge", "push", 5)])
    assert store.head("ep1") is None
    assert store.machine("ep1") is None
    assert store.history("ep1") == ()


def test_a_stale_save_is_refused_and_changes_nothing(filled, annotated):
    filled.save(annotated("ep1", "by bob"), author="bob", source="person", base=1)
    with pytest.raises(StaleRevisionError, match="revision 2 by bob") as caught:
        filled.save(annotated("ep1", "by ann"), author="ann", source="person", base=1)
    assert (caught.value.base, caught.value.head) == (1, 2)
    assert text_of(filled.head("ep1")) == "by bob"
    assert len(filled.history("ep1")) == 2


def test_history_is_newest_first_and_pages(filled, annotated):
    for base in range(1, 6):
        filled.save(annotated("ep1", f"text {base}"), author="ann", source="person", base=base)
    assert [info.number for info in filled.history("ep1", limit=4)] == [6, 5, 4, 3]
    assert [info.number for info in filled.history("ep1", limit=4, before=3)] == [2, 1]
    assert filled.history("ep1")[-1].source == "kinematic"


def test_the_machines_value_stays_beside_the_persons(filled, annotated):
    filled.save(annotated("ep1", "mine"), author="ann", source="person", base=1)
    assert filled.machine("ep1") == annotated("ep1")
    again = annotated("ep1", "better", source="gemini")
    filled.save(again, author="gemini 3", source="gemini", base=2)
    filled.undo("ep1", author="ann", base=3)
    assert filled.machine("ep1") == again


def test_undo_undo_redo_and_an_edit_after_undo(filled, annotated):
    for base, text in ((1, "A"), (2, "B"), (3, "C")):
        filled.save(annotated("ep1", text), author="ann", source="person", base=base)

    assert text_of(filled.undo("ep1", author="ann", base=4)) == "B"
    back = filled.undo("ep1", author="ann", base=5)
    assert (text_of(back), back.kind, back.restores, back.can_undo, back.can_redo) == ("A", "undo", 2, True, True)
    assert text_of(filled.redo("ep1", author="ann", base=6)) == "B"

    edited = filled.save(annotated("ep1", "D"), author="ann", source="person", base=7)
    assert not edited.can_redo
    with pytest.raises(EditError, match="nothing to redo"):
        filled.redo("ep1", author="ann", base=8)
    assert text_of(filled.undo("ep1", author="ann", base=8)) == "B"
    assert text_of(filled.redo("ep1", author="ann", base=9)) == "D"
    assert filled.head("ep1").number == 10


def test_redo_follows_the_edit_that_was_made_last(filled, annotated):
    """A, B, C; back to B; D; back to A; then forward again ends at D: the new edit cut C off for good."""
    for base, text in ((1, "A"), (2, "B"), (3, "C")):
        filled.save(annotated("ep1", text), author="ann", source="person", base=base)
    filled.undo("ep1", author="ann", base=4)
    filled.save(annotated("ep1", "D"), author="ann", source="person", base=5)
    filled.undo("ep1", author="ann", base=6)
    filled.undo("ep1", author="ann", base=7)
    assert text_of(filled.redo("ep1", author="ann", base=8)) == "B"
    last = filled.redo("ep1", author="ann", base=9)
    assert (text_of(last), last.can_redo) == ("D", False)


def test_undo_brings_back_risk_findings_and_status(filled, annotated):
    done = annotated("ep1", statuses=("accepted", "accepted"))
    filled.save(done, author="ann", source="person", base=1, risk=0.0)
    assert filled.queue().rows[0].status == "accepted"
    filled.undo("ep1", author="ann", base=2)
    row = filled.queue().rows[0]
    assert (row.status, row.risk, row.warnings, row.head) == ("pending", 0.25, 2, 3)


def test_revert_goes_anywhere_and_undo_takes_it_back(filled, annotated):
    for base, text in ((1, "A"), (2, "B")):
        filled.save(annotated("ep1", text), author="ann", source="person", base=base)
    gone_back = filled.revert("ep1", 1, author="ann", base=3)
    assert (gone_back.kind, gone_back.restores) == ("revert", 1)
    assert gone_back.annotated == annotated("ep1")
    assert text_of(filled.undo("ep1", author="ann", base=4)) == "B"
    with pytest.raises(NotFoundError, match="no revision 77"):
        filled.revert("ep1", 77, author="ann", base=5)


def test_the_first_revision_cannot_be_undone(filled):
    with pytest.raises(EditError, match="nothing to undo"):
        filled.undo("ep1", author="ann", base=1)


@pytest.mark.parametrize("change", ["undo", "redo", "revert"])
def test_undo_redo_and_revert_are_refused_on_a_stale_base(filled, annotated, change):
    filled.save(annotated("ep1", "A"), author="ann", source="person", base=1)
    filled.undo("ep1", author="ann", base=2)
    to = {"to": 1} if change == "revert" else {}
    with pytest.raises(StaleRevisionError):
        getattr(filled, change)("ep1", **to, author="bob", base=2)
    assert filled.head("ep1").number == 3


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=st.lists(st.sampled_from(["edit", "edit", "undo", "undo", "redo", "revert"]), max_size=14))
def test_undo_behaves_like_the_two_stacks_of_an_editor(tmp_path_factory, annotated, actions):
    with AnnotationStore.open(f"sqlite:///{tmp_path_factory.mktemp('model') / 'a.db'}") as store:
        store.register([ItemRow("ep1", "bridge", "push", 5)])
        store.save(annotated("ep1", "0"), author="ann", source="kinematic", base=0)
        past, now, future = [], "0", []
        texts = ["0"]
        for number, action in enumerate(actions, start=1):
            if action == "edit":
                past, now, future = [*past, now], str(number), []
                store.save(annotated("ep1", now), author="ann", source="person", base=len(texts))
            elif action == "revert":
                to = 1 + number % len(texts)
                past, now, future = [*past, now], texts[to - 1], []
                store.revert("ep1", to, author="ann", base=len(texts))
            elif not (past if action == "undo" else future):
                with pytest.raises(EditError):
                    getattr(store, action)("ep1", author="ann", base=len(texts))
                continue
            else:
                if action == "undo":
                    past, now, future = past[:-1], past[-1], [now, *future]
                else:
                    past, now, future = [*past, now], future[0], future[1:]
                getattr(store, action)("ep1", author="ann", base=len(texts))
            texts.append(now)
            head = store.head("ep1")
            assert (text_of(head), head.can_undo, head.can_redo) == (now, bool(past), bool(future))
            assert head.number == len(texts)


def test_an_unknown_episode_is_named(store, annotated):
    for ask in (store.head, store.history, store.machine, store.ratings):
        with pytest.raises(NotFoundError, match="'nope'"):
            ask("nope")
    with pytest.raises(NotFoundError, match="'nope'"):
        store.save(annotated("nope"), author="ann", source="person", base=0)


def test_a_missing_revision_is_named(filled):
    with pytest.raises(NotFoundError, match="ep1 has no revision 9"):
        filled.revision("ep1", 9)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"author": " "}, "needs an author"),
        ({"author": "a\x00b"}, "NUL"),
        ({"note": "a\ud800"}, "character that is none"),
        ({"source": "robot"}, "no label source 'robot'"),
    ],
)
def test_what_cannot_be_stored_is_refused(filled, annotated, fields, message):
    good = {"author": "ann", "source": "person", "note": ""}
    with pytest.raises(EditError, match=message):
        filled.save(annotated("ep1", "x"), base=1, **{**good, **fields})
    assert filled.head("ep1").number == 1


@pytest.mark.parametrize(
    ("texts", "statuses"), [(("half \ud83d of a smiley",), ()), ((3,), ()), (("fine",), ("acepted",))]
)
def test_an_annotation_that_could_not_be_read_back_is_refused(filled, annotated, texts, statuses):
    with pytest.raises(EditError, match="ep1"):
        filled.save(annotated("ep1", *texts, statuses=statuses), author="ann", source="person", base=1)
    assert filled.head("ep1").number == 1


def test_control_characters_survive(filled, annotated):
    mine = annotated("ep1", "tab\t nul\x00 bell\x07")
    filled.save(mine, author="ann", source="person", base=1)
    assert filled.head("ep1").annotated == mine


def test_saving_many_reports_what_it_left_out(store, annotated):
    store.register(ItemRow(f"ep{index}", "bridge", "push", 5) for index in range(450))
    store.save(annotated("ep7", "by ann"), author="ann", source="person", base=0)
    wanted = [NewRevision(annotated(f"ep{index}"), "kinematic 1", "kinematic") for index in range(451)]
    report = store.save_all(wanted)
    assert (report.saved, report.stale, report.unknown) == (449, ("ep7",), ("ep450",))
    assert text_of(store.head("ep7")) == "by ann"
    assert [head.episode_id for head in store.heads()] == [f"ep{index}" for index in range(450)]


def test_heads_can_go_on_past_damage(filled, annotated, damage):
    filled.register([ItemRow("ep2", "other", "push", 5)])
    filled.save(annotated("ep2"), author="kinematic 1", source="kinematic", base=0)
    damage("ep1", 1, "{")
    seen = []
    assert [head.episode_id for head in filled.heads(on_error=seen.append)] == ["ep2"]
    assert "ep1: revision 1" in str(seen[0])
    assert [head.episode_id for head in filled.heads("other")] == ["ep2"]
    with pytest.raises(AnnotationError):
        list(filled.heads())


@pytest.mark.parametrize(
    "body", ["", "{", "[]", "null", "7", '{"episode_id": "ep1"}', "[" * 100_000, '{"subtasks": [7]}', "OTHER", "TYPED"]
)
def test_a_damaged_body_names_episode_and_revision_and_can_be_left_behind(filled, annotated, damage, body):
    filled.save(annotated("ep1", "A"), author="ann", source="person", base=1)
    body = {
        "OTHER": annotated("ep2").dumps(),
        "TYPED": annotated("ep1").dumps().replace('"start_step": 0', '"start_step": "0"'),
    }.get(body, body)
    damage("ep1", 2, body)
    with pytest.raises(AnnotationError, match="ep1: revision 2 in the store is damaged"):
        filled.head("ep1")
    assert [info.number for info in filled.history("ep1")] == [2, 1]
    assert filled.queue().total == 1
    with pytest.raises(AnnotationError, match="revision 2"):
        filled.revert("ep1", 2, author="ann", base=2)
    assert filled.revert("ep1", 1, author="ann", base=2).annotated == annotated("ep1")
    assert filled.head("ep1").number == 3

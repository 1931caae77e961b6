"""How much of each prompt's text survived review."""

from dataclasses import replace

import pytest

from vlm2vla.annotation.store import AnnotationStore, ItemRow


@pytest.fixture
def store(store) -> AnnotationStore:
    store.register([ItemRow(name, "bridge", "push", 5) for name in ("ep1", "ep2")])
    return store


@pytest.fixture
def machine(store, annotated):
    """Two subtasks of "ep1" as one prompt of Gemini wrote them."""
    made = annotated("ep1", "reach the red carrot", "grasp it", source="gemini", model="g-3", prompt_hash="p1")
    store.save(made, author="gemini", source="gemini", base=0)
    return made


def reviewed(annotated, *changes):
    """`annotated` after review: per subtask (status, {level: text})."""
    subtasks = []
    for subtask, (status, texts) in zip(annotated.subtasks, changes, strict=True):
        for level, text in texts.items():
            subtask = subtask.with_level(level, text, "person")
        subtasks.append(replace(subtask, status=status))
    return replace(annotated, subtasks=tuple(subtasks))


def account(store, level="subtask", prompt_hash="p1"):
    found = [entry for entry in store.survival() if (entry.level, entry.prompt_hash) == (level, prompt_hash)]
    assert len(found) <= 1
    return found[0] if found else None


def test_nothing_counts_before_somebody_decides(store, machine):
    touched = reviewed(machine, ("pending", {"subtask": "other"}), ("flagged", {}))
    store.save(touched, author="ann", source="person", base=1)
    assert store.survival() == ()


def test_kept_changed_and_dropped_labels_and_the_share_of_words(store, machine):
    done = reviewed(machine, ("accepted", {"subtask": "reach the orange carrot"}), ("rejected", {}))
    store.save(done, author="ann", source="person", base=1)

    entry = account(store)
    assert (entry.source, entry.model, entry.labels) == ("gemini", "g-3", 2)
    assert (entry.kept, entry.changed, entry.dropped) == (0, 1, 1)
    assert (entry.characters, entry.characters_kept) == (len("reachtheredcarrotgraspit"), len("reachthecarrot"))
    assert entry.share == pytest.approx(14 / 24)
    plan = account(store, "plan")
    assert (plan.kept, plan.changed, plan.dropped) == (1, 0, 1)


def test_accepting_untouched_keeps_everything_and_undo_takes_it_back(store, machine):
    done = reviewed(machine, ("accepted", {}), ("accepted", {}))
    store.save(done, author="ann", source="person", base=1)
    assert [(entry.level, entry.kept, entry.share) for entry in store.survival()] == [
        ("chunk", 2, 1.0), ("plan", 2, 1.0), ("subtask", 2, 1.0),
    ]  # fmt: skip
    store.undo("ep1", author="ann", base=2)
    assert store.survival() == ()
    store.redo("ep1", author="ann", base=3)
    assert account(store).kept == 2


def test_a_label_that_the_review_merged_away_is_dropped(store, machine):
    done = reviewed(machine, ("accepted", {}), ("accepted", {}))
    store.save(replace(done, subtasks=done.subtasks[:1]), author="ann", source="person", base=1)
    assert (account(store).kept, account(store).dropped) == (1, 1)


def test_a_subtask_that_a_person_made_is_on_no_prompts_account(store, machine):
    done = reviewed(machine, ("accepted", {}), ("accepted", {}))
    own = replace(done.subtasks[0], uid="own", sources=dict.fromkeys(("subtask", "plan", "chunk"), "person"))
    store.save(replace(done, subtasks=(*done.subtasks, own)), author="ann", source="person", base=1)
    assert account(store).labels == 2


def test_a_span_annotated_again_is_on_the_account_of_the_newer_prompt(store, machine):
    mine = reviewed(machine, ("pending", {"subtask": "reach my carrot"}), ("pending", {}))
    store.save(mine, author="ann", source="person", base=1)
    newer = replace(machine.provenance[0], prompt_hash="p2")
    span = replace(machine.subtasks[1], uid="s9", text="close the gripper")
    again = replace(mine, subtasks=(mine.subtasks[0], span), provenance=(*mine.provenance, newer))
    store.save(again, author="gemini", source="gemini", base=2)
    done = reviewed(again, ("accepted", {}), ("accepted", {}))
    store.save(done, author="ann", source="person", base=3)

    assert (account(store, prompt_hash="p2").kept, account(store, prompt_hash="p2").labels) == (1, 1)
    assert (account(store, prompt_hash="p1").changed, account(store, prompt_hash="p1").labels) == (1, 1)


def test_prompts_are_summed_over_episodes(store, machine, annotated):
    other = annotated("ep2", "push", source="gemini", model="g-3", prompt_hash="p1")
    free = annotated("ep2", "push", statuses=("accepted",))
    store.save(reviewed(machine, ("accepted", {}), ("accepted", {})), author="ann", source="person", base=1)
    store.save(other, author="gemini", source="gemini", base=0)
    store.save(reviewed(other, ("accepted", {"subtask": "shove"})), author="ann", source="person", base=1)
    assert (account(store).kept, account(store).changed) == (2, 1)

    store.save(free, author="kinematic 1", source="kinematic", base=2)
    assert account(store).kept == 2
    kinematic = account(store, prompt_hash="")
    assert (kinematic.source, kinematic.model, kinematic.kept) == ("kinematic", "kinematic 1", 1)


def test_a_damaged_machine_revision_does_not_stop_the_review(store, machine, damage):
    damage("ep1", 1, "{")
    done = reviewed(machine, ("accepted", {}), ("accepted", {}))
    assert store.save(done, author="ann", source="person", base=1).status == "accepted"
    assert store.survival() == ()

"""Which labels may leave."""

from dataclasses import replace

import pytest

from tests.dataset.conftest import exportable
from vlm2vla.dataset import LabelledEpisode, Selection


def uids(annotated):
    return [] if annotated is None else [subtask.uid for subtask in annotated.subtasks]


def test_only_accepted_labels_leave(make, episode):
    annotated = make.annotation(episode, ("accepted", "pending", "rejected"))
    assert uids(exportable(annotated, episode)) == ["s0-abc"]


@pytest.mark.parametrize("status", ["pending", "in_review", "flagged"])
def test_unreviewed_labels_leave_on_request(make, episode, status):
    annotated = make.annotation(episode, ("accepted", status, "rejected"))
    assert uids(exportable(annotated, episode)) == ["s0-abc"]
    assert uids(exportable(annotated, episode, include_unreviewed=True)) == ["s0-abc", "s1-abc"]


def test_rejected_labels_never_leave(make, episode):
    annotated = make.annotation(episode, ("rejected", "rejected", "rejected"))
    assert exportable(annotated, episode) is None
    assert exportable(annotated, episode, include_unreviewed=True) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"stale": ("plan",)}, "stale text"),
        ({"plan": "  "}, "empty text"),
        ({"chunk": ""}, "no action text, or none that the form can say"),
        ({"chunk": "go left a bit"}, "action text does not parse"),
        ({"end_step": 99}, "span outside the episode"),
    ],
)
def test_an_accepted_label_that_is_wrong_stays_and_is_counted(make, episode, annotated, changes, reason):
    wrong = make.with_subtask(annotated, 2, **changes)
    selection = Selection()
    (kept,) = selection.of([LabelledEpisode(wrong, episode)])
    assert uids(kept.annotated) == ["s0-abc", "s1-abc"]
    assert selection.left_out == {reason: 1}
    assert "s2-abc" in selection.problems[0]


def test_an_unknown_action_form_does_not_stop_the_others(make, episode, annotated):
    odd = make.episode(1)
    selection = Selection()
    kept = list(
        selection.of(
            [
                LabelledEpisode(replace(make.annotation(odd), action_form="semaphore:3"), odd),
                LabelledEpisode(annotated, episode),
            ]
        )
    )
    assert [item.episode.id for item in kept] == [episode.id]
    assert selection.left_out["unknown action form"] == 3


def test_an_episode_is_exported_once_and_only_with_its_own_labels(make, episode, annotated):
    other = make.episode(5)
    selection = Selection()
    stream = [
        LabelledEpisode(annotated, episode),
        LabelledEpisode(annotated, episode),
        LabelledEpisode(annotated, other),
    ]
    assert len(list(selection.of(stream))) == 1
    assert selection.left_out == {"same episode twice": 1, "labels of another episode": 1}


def test_the_books_name_sources_and_revisions(items):
    selection = Selection()
    list(selection.of(items))
    assert (selection.episodes, selection.subtasks, selection.steps) == (3, 8, 36)
    assert selection.revisions == {"kitchen-0000": 3, "kitchen-0001": 3, "kitchen-0002": 7}
    assert selection.left_out == {"rejected": 1}
    assert selection.levels["subtask: person"] == 8
    assert selection.sources == {"kitchen": {"format": "bridge-rlds", "embodiment": "widowx", "episodes": 3}}
    assert selection.models["ada"] == 3

"""Leases that expire, the next item, ratings."""

from datetime import timedelta

import pytest

from vlm2vla.annotation.store import AnnotationStore, ItemRow, QueueQuery
from vlm2vla.errors import EditError, NotFoundError


@pytest.fixture
def queue(store: AnnotationStore, annotated) -> AnnotationStore:
    """Four pending items, the riskiest first: a, b, c, d."""
    store.register([ItemRow(name, "bridge", f"push {name}", 5) for name in "abcd"])
    for name, risk in zip("abcd", (0.8, 0.6, 0.4, 0.2), strict=True):
        store.save(annotated(name), author="kinematic 1", source="kinematic", base=0, risk=risk)
    return store


def test_a_lease_keeps_others_away_until_it_expires(queue, clock):
    mine = queue.lease("a", "ann", minutes=10)
    assert (mine.holder, mine.expires_at) == ("ann", "2026-05-01T12:10:00.000000+00:00")
    assert queue.lease("a", "bob").holder == "ann"
    clock.forward(minutes=9)
    assert queue.lease("a", "ann", minutes=10).expires_at == "2026-05-01T12:19:00.000000+00:00"
    clock.forward(minutes=5)
    assert queue.lease("a", "bob").holder == "ann"
    clock.forward(minutes=5)
    assert queue.holder("a") is None
    assert queue.lease("a", "bob").holder == "bob"
    assert queue.lease("a", "ann").holder == "bob"


def test_the_time_of_a_lease_can_be_given(queue, clock):
    taken = queue.lease("a", "ann", minutes=10, now=clock.now + timedelta(hours=1))
    assert (taken.acquired_at[11:16], taken.expires_at[11:16]) == ("13:00", "13:10")
    clock.forward(minutes=71)
    assert queue.holder("a") is None


def test_only_the_holder_releases(queue):
    queue.lease("a", "ann")
    assert not queue.release("a", "bob")
    assert queue.holder("a").holder == "ann"
    assert queue.release("a", "ann")
    assert queue.holder("a") is None


def test_a_held_item_counts_as_in_review_while_the_lease_lives(queue, clock):
    queue.lease("b", "ann", minutes=10)
    assert queue.counts().by_status["in_review"] == 1
    assert queue.counts("bridge").by_status["pending"] == 3
    row = queue.queue(QueueQuery(statuses=("in_review",))).rows[0]
    assert (row.episode_id, row.status, row.holder) == ("b", "in_review", "ann")
    assert [r.episode_id for r in queue.queue(QueueQuery(statuses=("pending",))).rows] == ["a", "c", "d"]
    clock.forward(minutes=10)
    assert queue.counts().by_status["in_review"] == 0
    assert queue.queue(QueueQuery(statuses=("pending",))).total == 4
    assert {r.holder for r in queue.queue().rows} == {""}


def test_a_lease_does_not_hide_that_an_item_is_accepted(queue, annotated):
    queue.save(annotated("a", statuses=("accepted",) * 2), author="ann", source="person", base=1)
    queue.lease("a", "ann")
    assert queue.counts().by_status["accepted"] == 1
    assert queue.counts().by_status["in_review"] == 0


def test_next_goes_down_the_queue_past_held_and_decided_items(queue, annotated):
    everything = QueueQuery()
    assert queue.next_item(everything, "ann") == "a"
    queue.lease("a", "ann")
    assert queue.next_item(everything, "ann") == "a"
    assert queue.next_item(everything, "bob") == "b"
    queue.save(annotated("c", statuses=("rejected",) * 2), author="ann", source="person", base=1)
    assert queue.next_item(everything, "bob", after="b") == "d"


def test_next_starts_over_at_the_end_and_stops_when_all_is_done(queue, annotated):
    assert queue.next_item(QueueQuery(), "ann", after="d") == "a"
    assert queue.next_item(QueueQuery(search="push d"), "ann", after="d") is None
    for name in "abc":
        queue.save(annotated(name, statuses=("accepted",) * 2), author="ann", source="person", base=1)
    assert queue.next_item(QueueQuery(), "ann", after="a") == "d"
    assert queue.next_item(QueueQuery(), "ann", after="d") is None


def test_next_keeps_to_the_filters_and_the_order(queue, annotated):
    assert queue.next_item(QueueQuery(order="instruction"), "ann", after="b") == "c"
    assert queue.next_item(QueueQuery(order="newest"), "ann", after="b") == "a"
    assert queue.next_item(QueueQuery(min_risk=0.5), "ann", after="b") == "a"
    queue.save(annotated("a", statuses=("flagged",)), author="ann", source="person", base=1)
    assert queue.next_item(QueueQuery(order="instruction"), "ann") == "b"
    assert queue.next_item(QueueQuery(statuses=("flagged", "accepted")), "ann") == "a"


def test_next_walks_through_decided_items_when_only_they_are_asked_for(queue, annotated):
    for name in "ab":
        queue.save(annotated(name, statuses=("accepted",) * 2), author="ann", source="person", base=1)
    accepted = QueueQuery(statuses=("accepted",), order="instruction")
    assert queue.next_item(accepted, "ann", after="a") == "b"


def test_my_own_lease_does_not_hide_a_pending_item_from_me(queue):
    pending = QueueQuery(statuses=("pending",))
    queue.lease("a", "ann")
    assert queue.next_item(pending, "ann") == "a"
    assert queue.next_item(pending, "bob") == "b"


def test_ratings_are_kept_per_reviewer_and_level_and_the_newest_counts(queue):
    queue.rate("a", "s0", "plan", "ann", 2)
    queue.rate("a", "s0", "plan", "bob", 5)
    queue.rate("a", "s0", "chunk", "ann", 1)
    queue.rate("a", "s0", "plan", "ann", 4)
    found = [(rating.level, rating.reviewer, rating.score) for rating in queue.ratings("a")]
    assert found == [("chunk", "ann", 1), ("plan", "ann", 4), ("plan", "bob", 5)]
    assert queue.ratings("b") == ()


@pytest.mark.parametrize("score", [0, 6, 2.5, "3", True, None])
def test_a_rating_is_1_to_5(queue, score):
    with pytest.raises(EditError, match="from 1 to 5"):
        queue.rate("a", "s0", "plan", "ann", score)
    assert queue.ratings("a") == ()


def test_wrong_names_are_refused(queue):
    with pytest.raises(EditError, match="needs a name"):
        queue.lease("a", " ")
    with pytest.raises(EditError, match="no level 'word'"):
        queue.rate("a", "s0", "word", "ann", 3)
    for ask in (lambda: queue.lease("z", "ann"), lambda: queue.rate("z", "s0", "plan", "ann", 3)):
        with pytest.raises(NotFoundError, match="'z'"):
            ask()

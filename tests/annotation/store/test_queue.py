"""The review queue: search, filters, order, pages, counts."""

import pytest

from vlm2vla.annotation.store import AnnotationStore, ItemRow, QueueQuery
from vlm2vla.errors import ConfigError, EditError, NotFoundError

ROWS = [
    ItemRow("b-1", "bridge", "Put the CARROT on the plate", 38),
    ItemRow("b-2", "bridge", "fold 50% of the cloth_", 20),
    ItemRow("b-3", "bridge", "fold half of the cloth", 20),
    ItemRow("s-1", "stretch", "schiebe die GRÜNE Tür", 60),
    ItemRow("s-2", "stretch", r"push c:\temp [a-z]* 'x'", 60),
]


@pytest.fixture
def queue(store: AnnotationStore, annotated, clock) -> AnnotationStore:
    store.register(ROWS)
    saves = [
        ("b-1", "kinematic", 0.9, ()),
        ("b-2", "gemini", 0.5, ("accepted", "rejected")),
        ("b-3", "gemini", 0.5, ("flagged", "accepted")),
        ("s-1", "kinematic", 0.1, ("accepted", "pending")),
    ]
    for episode_id, machine, risk, statuses in saves:
        clock.forward(minutes=1)
        store.save(annotated(episode_id, source=machine), author=machine, source=machine, base=0, risk=risk)
        if statuses:
            reviewed = annotated(episode_id, statuses=statuses)
            store.save(reviewed, author=f"ann-{episode_id}", source="person", base=1, risk=risk)
    return store


def ids(store: AnnotationStore, **query) -> list[str]:
    page = store.queue(QueueQuery(**query))
    assert page.total == len(page.rows)
    return [row.episode_id for row in page.rows]


def test_registering_is_idempotent_and_corrects_what_changed(store):
    assert store.register(iter(ROWS)) == 5
    assert store.register([*ROWS, ItemRow("b-4", "bridge", "push", 3), ItemRow("b-4", "bridge", "push", 3)]) == 1
    assert store.register([ItemRow("b-1", "bridge", "put the pea on the plate", 38)]) == 0
    assert ids(store, search="carrot") == []
    assert ids(store, search="PEA") == ["b-1"]
    assert store.counts().total == 6


def test_what_cannot_be_stored_is_not_registered(store):
    with pytest.raises(EditError, match="instruction of b-9"):
        store.register([*ROWS, ItemRow("b-9", "bridge", "push\x00", 3)])
    assert store.counts().total == 0


def test_a_row_shows_what_a_reviewer_needs(queue):
    row = next(row for row in queue.queue().rows if row.episode_id == "b-2")
    assert (row.dataset, row.instruction, row.steps) == ("bridge", "fold 50% of the cloth_", 20)
    assert (row.status, row.source, row.machine, row.head, row.reviewer) == (
        "accepted", "person", "gemini", 2, "ann-b-2",
    )  # fmt: skip
    assert row.updated_at == "2026-05-01T12:02:00.000000+00:00"
    unlabelled = next(row for row in queue.queue().rows if row.episode_id == "s-2")
    assert (unlabelled.status, unlabelled.source, unlabelled.head, unlabelled.updated_at) == ("pending", "", 0, "")


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("risk", ["b-1", "b-2", "b-3", "s-1", "s-2"]),
        ("newest", ["s-1", "b-3", "b-2", "b-1", "s-2"]),
        ("instruction", ["b-2", "b-3", "s-2", "b-1", "s-1"]),
        ("dataset", ["b-1", "b-2", "b-3", "s-1", "s-2"]),
    ],
)
@pytest.mark.parametrize("limit", [1, 2, 3, 5])
def test_every_order_pages_through_all_rows_once(queue, order, expected, limit):
    if order == "instruction":
        expected = ["b-2", "b-3", "s-2", "b-1", "s-1"]
        expected.sort(key=lambda episode_id: next(r.instruction for r in ROWS if r.episode_id == episode_id).casefold())
    seen, after = [], ""
    for _ in range(10):
        page = queue.queue(QueueQuery(order=order), limit, after)
        assert page.total == 5
        seen += [row.episode_id for row in page.rows]
        if not page.next:
            break
        assert len(page.rows) == limit
        after = page.next
    assert seen == expected


@pytest.mark.parametrize("order", ["risk", "instruction", "newest", "dataset"])
@pytest.mark.parametrize(("search", "every"), [("even", 2), ("seldom", 700)])
def test_frequent_and_rare_words_page_alike_in_a_long_queue(store, order, search, every):
    words = {index: "even" * (index % 2 == 0) + " seldom" * (index % 700 == 0) for index in range(2500)}
    texts = {index: f"push {index * 7919 % 2500:04} {word}" for index, word in words.items()}
    store.register(ItemRow(f"e{index}", f"d{index % 3}", text, 5) for index, text in texts.items())
    wanted = [row for row in store.queue(QueueQuery(order=order), 2500).rows if search in row.instruction]
    assert len(wanted) == -(-2500 // every)
    seen, after, limit = [], "", -(-len(wanted) // 3)
    for _ in range(10):
        page = store.queue(QueueQuery(search=search, order=order), limit, after)
        assert page.total == len(wanted)
        seen += page.rows
        after = page.next
        if not after:
            break
    assert seen == wanted


def test_a_page_does_not_shift_when_rows_before_it_change(queue, annotated):
    first = queue.queue(QueueQuery(), 2)
    queue.save(annotated("b-1"), author="ann", source="person", base=1, risk=0.0)
    second = queue.queue(QueueQuery(), 2, first.next)
    assert [row.episode_id for row in second.rows] == ["b-3", "s-1"]


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("carrot", ["b-1"]),
        ("plate put", ["b-1"]),
        ("  ", ["b-1", "b-2", "b-3", "s-1", "s-2"]),
        ("%", ["b-2"]),
        ("_", ["b-2"]),
        ("50%", ["b-2"]),
        ("f%d", []),
        ("grüne TÜR", ["s-1"]),
        ("\\", ["s-2"]),
        ("'x'", ["s-2"]),
        ("[a-z]*", ["s-2"]),
        ("S-1", ["s-1"]),
        ("/", []),
        ("'; DROP TABLE annotation_item; --", []),
        ("a\x00b", []),
    ],
)
def test_search_takes_every_character_literally(queue, search, expected):
    assert ids(queue, search=search) == expected


@pytest.mark.parametrize("text", ["\x00", "b-1\x00", "\ud800"])
def test_text_that_no_database_holds_finds_nothing(queue, text):
    assert ids(queue, search=text) == ids(queue, reviewer=text) == ids(queue, datasets=(text,)) == []
    assert queue.counts(text).total == 0
    assert queue.next_item(QueueQuery(), text, after=text) == "b-1"
    with pytest.raises(NotFoundError):
        queue.head(text)


def test_search_survives_a_very_long_text(queue):
    assert ids(queue, search="fold " * 5000) == ["b-2", "b-3"]
    assert ids(queue, search="x" * 40_000) == []


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"statuses": ("accepted",)}, ["b-2"]),
        ({"statuses": ("flagged", "in_review")}, ["b-3", "s-1"]),
        ({"statuses": ("pending",)}, ["b-1", "s-2"]),
        ({"sources": ("gemini",)}, ["b-2", "b-3"]),
        ({"sources": ("kinematic",)}, ["b-1", "s-1"]),
        ({"sources": ("person",)}, ["b-2", "b-3", "s-1"]),
        ({"sources": ("person", "kinematic")}, ["b-1", "b-2", "b-3", "s-1"]),
        ({"datasets": ("stretch",)}, ["s-1", "s-2"]),
        ({"datasets": ("nope",)}, []),
        ({"reviewer": "ann-b-3"}, ["b-3"]),
        ({"min_risk": 0.5}, ["b-1", "b-2", "b-3"]),
        ({"min_risk": 0.5, "search": "fold", "statuses": ("accepted",), "sources": ("gemini",)}, ["b-2"]),
    ],
)
def test_filters(queue, query, expected):
    assert ids(queue, **query) == expected


def test_counts_by_status_and_data_set(queue):
    counts = queue.counts()
    assert counts.by_status == {"pending": 2, "in_review": 1, "accepted": 1, "rejected": 0, "flagged": 1}
    assert counts.total == 5
    assert queue.counts("stretch").by_status["in_review"] == 1
    assert queue.counts("stretch").total == 2
    assert queue.counts("nope").total == 0


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (("rejected", "rejected"), "rejected"),
        (("flagged", "rejected"), "flagged"),
        (("accepted", "rejected"), "accepted"),
        (("accepted", "accepted"), "accepted"),
        (("rejected", "pending"), "in_review"),
        (("pending", "pending"), "pending"),
    ],
)
def test_the_status_follows_from_the_subtasks(queue, annotated, statuses, expected):
    queue.save(annotated("s-2", statuses=statuses), author="ann", source="person", base=0)
    assert ids(queue, search="s-2", statuses=(expected,)) == ["s-2"]


@pytest.mark.parametrize("query", [{"order": "riks"}, {"statuses": ("acepted",)}, {"sources": ("robot",)}])
def test_a_wrong_query_is_refused(query):
    with pytest.raises(ConfigError, match="did you mean|known"):
        QueueQuery(**query)


@pytest.mark.parametrize("cursor", ["x", "😀", "bnVsbA==", "WyJyaXNrIiwgIngiLCAxXQ==", "NEWEST"])
def test_a_wrong_cursor_is_refused(queue, cursor):
    if cursor == "NEWEST":
        cursor = queue.queue(QueueQuery(order="newest"), 1).next
    with pytest.raises(ConfigError, match="start at the first page"):
        queue.queue(QueueQuery(order="risk"), 1, cursor)

"""Annotation store at full size: 60,000 episodes, 1,000,000 revisions in SQLite. Aim: every look in <= 50 ms (p95).

usage: python -m bench.store [--items N] [--revisions N] [--seed N] [--keep FILE]

The database is written in bulk past the library (saving a million revisions one by one would take an hour) and then
read only through it. `--keep FILE` leaves the database for the next run.
"""

import argparse
import functools
import json
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from vlm2vla.annotation.store import AnnotationStore, QueueQuery
from vlm2vla.types import AnnotatedEpisode, AnnotatedSubtask, Provenance

AIM_MS = 50.0
ITEMS, REVISIONS = 60_000, 1_000_000
_VERBS = ("put", "move", "push", "lift", "place", "slide", "fold", "stack", "turn", "close", "open", "take")
_THINGS = (
    "carrot",
    "pot",
    "towel",
    "spoon",
    "plate",
    "cup",
    "lid",
    "can",
    "block",
    "drawer",
    "sponge",
    "bowl",
    "knife",
)
_PLACES = ("on the plate", "in the sink", "to the left", "next to the pot", "into the drawer", "on the stove")
_COLOURS = ("red", "blue", "green", "yellow", "orange", "purple", "black", "white", "wooden", "silver")
_SETS = ("bridge_train", "bridge_val", "stretch_kitchen", "rollouts")
_ID = "<episode>"
_LONG = 20  # episodes with a very long history
_START = datetime(2026, 1, 1, tzinfo=UTC)


def _instruction(rng: random.Random) -> str:
    return (
        f"{rng.choice(_VERBS)} the {rng.choice(_COLOURS)} {rng.choice(_THINGS)} {rng.choice(_PLACES)}, "
        f"then {rng.choice(_VERBS)} the {rng.choice(_COLOURS)} {rng.choice(_THINGS)}"
    )


@functools.cache
def _body(subtasks: int, status: str, source: str) -> str:
    rows = tuple(
        AnnotatedSubtask(
            f"s{index}",
            "reach the carrot",
            6 * index,
            6 * index + 6,
            "move down and slightly forward, then close the gripper",
            "[[0, 0, -2.5, 1], [1.5, 0, -2.5, 1], [0, 0, 0, 0]]",
            dict.fromkeys(("subtask", "plan", "chunk"), source),
            status=status,
        )
        for index in range(subtasks)
    )
    made = Provenance("kinematic", "kinematic 1", "2026-01-01T00:00:00Z")
    return AnnotatedEpisode(_ID, "rows:0.5cm", rows, (made,)).dumps()


def _history_length(index: int, items: int, revisions: int) -> int:
    long = revisions // 10 // _LONG
    if index < _LONG:
        return long
    rest, others = revisions - long * _LONG, items - _LONG
    return rest // others + (1 if index - _LONG < rest % others else 0)


def _status(rng: random.Random, revisions: int) -> str:
    if revisions < 2:
        return "pending"
    return rng.choices(("pending", "in_review", "accepted", "rejected", "flagged"), (40, 10, 40, 6, 4))[0]


def _stamp(minutes: int) -> str:
    return (_START + timedelta(minutes=minutes)).isoformat(timespec="microseconds")


def _revisions(item_id: int, episode_id: str, length: int, status: str, risk: float) -> Iterator[tuple]:
    for number in range(1, length + 1):
        source = "kinematic" if number == 1 else "person"
        # Only the head is of real size: a million full bodies would measure the disk, not the store.
        body = _body(6, status, source) if number == length else _body(1, "pending", source)
        author = "kinematic 1" if number == 1 else f"reviewer{item_id % 7}"
        stamp = _stamp(item_id % 50_000 + number)
        place = (number, number - 1, "edit", 0, number, number - 1, 0)
        yield (item_id, *place, author, source, stamp, "", status, risk, 0, 1, body.replace(_ID, episode_id))


def generate(path: Path, items: int = ITEMS, revisions: int = REVISIONS, seed: int = 0) -> None:
    """Write a store of that many items and revisions to `path`."""
    AnnotationStore.open(f"sqlite:///{path}").close()
    rng = random.Random(seed)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA synchronous=OFF")
    for index in range(items):
        length = _history_length(index, items, revisions)
        item_id, episode_id = index + 1, f"bridge-{rng.getrandbits(48):012x}"
        status, risk, instruction = _status(rng, length), round(rng.random(), 3), _instruction(rng)
        reviewed = length > 1
        row = {
            "id": item_id,
            "episode_id": episode_id,
            "dataset": rng.choices(_SETS, (70, 10, 15, 5))[0],
            "status": status,
            "source": "person" if reviewed else "kinematic",
            "machine": rng.choice(("kinematic", "gemini")),
            "reviewer": f"reviewer{item_id % 7}" if reviewed else "",
            "risk": risk,
            "warnings": 1,
            "head": length,
            "machine_head": 1,
            "steps": 38,
            "updated_at": _stamp(item_id % 50_000 + length),
            "search_text": f"{instruction} {episode_id}",
            "instruction": instruction,
            "instruction_key": instruction[:100],
        }
        marks = ", ".join("?" * len(row))
        connection.execute(f"INSERT INTO annotation_item ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))
        connection.executemany(
            "INSERT INTO annotation_revision (item_id, number, parent, kind, restores, position, undo_to, redo_to, "
            f"author, source, created_at, note, status, risk, errors, warnings, body) VALUES ({', '.join('?' * 17)})",
            _revisions(item_id, episode_id, length, status, risk),
        )
    connection.execute(
        "INSERT INTO annotation_survival SELECT id, machine, 'model', 'p' || id % 5, level, 5, 1, 0, 100, 90 "
        "FROM annotation_item, (SELECT 'subtask' AS level UNION SELECT 'plan' UNION SELECT 'chunk') "
        "WHERE status = 'accepted'"
    )
    connection.commit()
    connection.close()


def measure(store: AnnotationStore, repeats: int = 200, seed: int = 1) -> dict[str, list[float]]:
    """Milliseconds of every look that the studio takes, `repeats` times each."""
    rng = random.Random(seed)
    ids = [row.episode_id for row in store.queue(QueueQuery(order="dataset"), limit=2000).rows]
    cursors = {order: _cursors(store, order) for order in ("risk", "instruction", "newest", "dataset")}
    words = ("carrot", "stove", "red spoon", "100%", "a1b2", "zzz")

    def page(**filters) -> Callable[[], object]:
        return lambda: store.queue(QueueQuery(**{name: pick(rng) for name, pick in filters.items()}))

    def paged(order: str) -> Callable[[], object]:
        return lambda: store.queue(QueueQuery(order=order), after=rng.choice(cursors[order]))

    looks: dict[str, Callable[[], object]] = {
        "head": lambda: store.head(rng.choice(ids)),
        "history(100)": lambda: store.history(rng.choice(ids), limit=100),
        "counts": store.counts,
        "counts of a data set": lambda: store.counts("bridge_train"),
        **{f"queue by {order}, any page": paged(order) for order in cursors},
        "queue, status": page(statuses=lambda rng: (rng.choice(("pending", "flagged", "in_review")),)),
        "queue, status by newest": page(statuses=lambda _: ("pending", "in_review"), order=lambda _: "newest"),
        "queue, status and data set by instruction": page(
            statuses=lambda _: ("pending", "in_review"), datasets=lambda _: ("rollouts",), order=lambda _: "instruction"
        ),
        "queue, source and reviewer": page(sources=lambda _: ("gemini",), reviewer=lambda _: "reviewer3"),
        "queue, risk by newest": page(min_risk=lambda _: 0.95, order=lambda _: "newest"),
        "queue, search": page(search=lambda rng: rng.choice(words)),
        "queue, search by newest": page(search=lambda rng: rng.choice(words), order=lambda _: "newest"),
        "queue, search and status": page(search=lambda rng: rng.choice(words), statuses=lambda _: ("pending",)),
        "queue, everything at once": page(
            search=lambda rng: rng.choice(words),
            statuses=lambda _: ("in_review",),
            sources=lambda _: ("gemini", "person"),
            datasets=lambda _: ("bridge_train", "bridge_val"),
            min_risk=lambda _: 0.1,
            order=lambda _: "instruction",
        ),
        "save": lambda: _save(store, rng.choice(ids[_LONG:])),
        "undo": lambda: _undo(store, rng.choice(ids[_LONG:])),
        "survival of prompts": store.survival,
        "next item of a search": lambda: store.next_item(QueueQuery(search=rng.choice(words)), "ann"),
        "next item": lambda: store.next_item(QueueQuery(), "ann", after=rng.choice(ids)),
        "lease": lambda: store.lease(rng.choice(ids), "ann"),
    }
    return {name: _times(look, repeats) for name, look in looks.items()}


def _save(store: AnnotationStore, episode_id: str) -> None:
    head = store.head(episode_id)
    store.save(head.annotated, author="ann", source="person", base=head.number)


def _undo(store: AnnotationStore, episode_id: str) -> None:
    store.undo(episode_id, author="ann", base=store.head(episode_id).number)


def _cursors(store: AnnotationStore, order: str) -> list[str]:
    found = [""]
    while len(found) < 60 and (cursor := store.queue(QueueQuery(order=order), limit=1000, after=found[-1]).next):
        found.append(cursor)
    return found


def _times(look: Callable[[], object], repeats: int) -> list[float]:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        look()
        times.append((time.perf_counter() - start) * 1000)
    return times


def figures(times: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Median, p95 and aim / p95 (above 1 is within the aim) per look, milliseconds."""
    found = {}
    for name, values in times.items():
        p95 = statistics.quantiles(values, n=20)[-1]
        found[name] = {"median_ms": statistics.median(values), "p95_ms": p95, "ratio": AIM_MS / p95}
    return found


def main(arguments: list[str] | None = None) -> dict[str, dict[str, float]]:
    """Make the database, measure, write the figures to standard output."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=ITEMS)
    parser.add_argument("--revisions", type=int, default=REVISIONS)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="make the database here, or use the one that is here")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        path = given.keep or Path(folder) / "store.db"
        if not path.exists():
            start = time.perf_counter()
            generate(path, given.items, given.revisions, given.seed)
            spent, size = time.perf_counter() - start, path.stat().st_size / 1e6
            sys.stdout.write(
                f"store: {given.items:,} episodes, {given.revisions:,} revisions, {size:,.0f} MB, {spent:.0f} s\n"
            )
        with AnnotationStore.open(f"sqlite:///{path}") as store:
            found = figures(measure(store, given.repeats))
    for name, row in found.items():
        sys.stdout.write(
            f"store: {name:45} median {row['median_ms']:6.1f} ms   p95 {row['p95_ms']:6.1f} ms   "
            f"aim/p95 {row['ratio']:5.1f}x\n"
        )
    if given.json:
        sys.stdout.write(json.dumps(found) + "\n")
    return found


if __name__ == "__main__":
    main()

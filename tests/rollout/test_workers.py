"""Work in several processes: it ends when it is to end, and says plainly what went wrong."""

import os
import time
from itertools import count
from pathlib import Path

import pytest

from vlm2vla.errors import EvaluationError
from vlm2vla.rollout.workers import in_processes

pytestmark = pytest.mark.slow  # processes that begin from nothing
WORKERS = 2


def mark(path: Path) -> str:
    path.touch()
    return path.name


def die_when_others_are_done(path: Path) -> str:
    """A worker that is killed, or breaks, once the others have done what they had to do."""
    if path.suffix == ".done":
        return mark(path)
    while len(list(path.parent.iterdir())) < 3:  # the third one begins after the result of the second
        time.sleep(0.01)
    if path.suffix == ".killed":
        os._exit(1)
    raise ValueError("broken")


def note(results, seen: list[str]) -> None:
    for name in results:
        seen.append(name)


def test_all_pieces_are_done(tmp_path):
    names = [f"{number}" for number in range(5)]
    assert sorted(in_processes(mark, [tmp_path / name for name in names], WORKERS)) == names
    assert sorted(path.name for path in tmp_path.iterdir()) == names


@pytest.mark.parametrize("reason", [KeyboardInterrupt, ValueError])
def test_an_interruption_ends_it_after_what_is_under_way(tmp_path, reason):
    results = in_processes(mark, (tmp_path / str(number) for number in count()), WORKERS)
    next(results)
    with pytest.raises(reason):
        results.throw(reason())
    assert len(list(tmp_path.iterdir())) <= 2 * WORKERS  # those of the first round, and those that followed them


def test_nothing_begins_after_it_was_stopped(tmp_path):
    seen = []
    pieces = (tmp_path / str(number) for number in count())
    for name in in_processes(mark, pieces, WORKERS, lambda: len(seen) >= 3):
        seen.append(name)
    assert 3 <= len(seen) <= 3 + 2 * WORKERS
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(seen)


@pytest.mark.parametrize(("kind", "error"), [("killed", EvaluationError), ("broken", ValueError)])
def test_what_others_have_done_comes_before_the_error(tmp_path, kind, error):
    seen = []
    pieces = [tmp_path / f"a.{kind}", *(tmp_path / f"{number}.done" for number in range(99))]
    results = in_processes(die_when_others_are_done, pieces, WORKERS)
    with pytest.raises(error, match="fewer --workers" if kind == "killed" else "broken"):
        note(results, seen)
    assert 2 <= len(seen) < 99

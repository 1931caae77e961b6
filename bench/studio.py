"""What a reviewer waits for at full size: a page of the queue and the opening of an episode, through `Review`.

60,000 index rows, 1,000,000 revisions. Aim: p95 <= 50 ms.
"""

import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench.labels import synthetic_episode
from bench.store import AIM_MS, ITEMS, REVISIONS, generate
from vlm2vla.review import Review
from vlm2vla.trajectories import EpisodeIndex
from vlm2vla.workspace import Workspace

REPEATS = 200


def fill(workspace: Workspace, items: int, revisions: int) -> list[str]:
    """A store and an index of the same episodes; returns their ids."""
    path = workspace.root / "studio.db"
    generate(path, items, revisions)
    with sqlite3.connect(path) as connection:
        ids = [row[0] for row in connection.execute("SELECT episode_id FROM annotation_item ORDER BY id")]
    models = [synthetic_episode(number) for number in range(100)]
    EpisodeIndex(workspace).add(
        replace(models[number % len(models)], id=episode_id, dataset="bench") for number, episode_id in enumerate(ids)
    )
    return ids


def main(items: int = ITEMS, revisions: int = REVISIONS) -> None:
    """Print median and p95 of both looks."""
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace.open(Path(folder))
        ids = fill(workspace, items, revisions)
        review = Review(workspace)
        looks: dict[str, Callable[[], object]] = {
            "queue page": lambda: review.queue({"order": "risk"}),
            "queue page, search": lambda: review.queue({"search": rng.choice(("carrot", "stove", "red spoon"))}),
            "open an episode": lambda: review.open(rng.choice(ids), "bench"),
        }
        print(f"{items} episodes, {revisions} revisions")
        for name, look in looks.items():
            look()
            print(f"  {name:24}{_figures(look)}")


def _figures(look: Callable[[], object]) -> str:
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        look()
        times.append((time.perf_counter() - start) * 1000)
    p95 = statistics.quantiles(times, n=20)[-1]
    return f"median {statistics.median(times):6.1f} ms   p95 {p95:6.1f} ms   aim / p95 {AIM_MS / p95:.1f}"


if __name__ == "__main__":
    main()

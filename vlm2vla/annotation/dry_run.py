"""What annotating with a paid model would take, before anything is billed."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vlm2vla.annotation.gemini import GeminiAnnotator
from vlm2vla.annotation.run import EpisodeRef
from vlm2vla.annotation.staging import Staged, StagingFolder, turn_of
from vlm2vla.errors import VLM2VLAError
from vlm2vla.types import Episode


@dataclass(frozen=True)
class CostEstimate:
    """An estimate over many episodes.

    Attributes:
        episodes: In all.
        skipped: Of them, annotated before (or given twice): nothing is asked about them.
        waiting: Of them, failed before: nothing is asked about them without `retry_failed`.
        looked_at: Of the others, how many were looked at; the rest are taken to be like these.
        requests: Requests without repeated ones.
        input_tokens, output_tokens: Expected; output is an assumption.
        cost_usd: Expected bill.
        worst_usd: The bill if every answer used all the tokens that it may.
        counted: The provider counted the prompts' tokens; otherwise they are estimated from their size.
        errors: Episodes that cannot be asked about: {"episode", "kind", "message"}.
    """

    episodes: int
    looked_at: int
    requests: int
    input_tokens: int
    output_tokens: int
    cost_usd: float
    worst_usd: float
    counted: bool
    errors: tuple[dict[str, str], ...] = ()
    skipped: int = 0
    waiting: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def estimate_cost(
    episodes: Iterable[Episode | EpisodeRef],
    annotator: GeminiAnnotator,
    *,
    sample: int = 20,
    seed: int = 0,
    count: bool = True,
    progress: Callable[[int, int | None], None] | None = None,
    staged: Path | None = None,
    redo: bool = False,
    retry_failed: bool = False,
) -> CostEstimate:
    """Estimate tokens and cost of what a run would ask, from a random sample of the episodes that it would ask about.

    Args:
        episodes: All that would be given to the run.
        annotator: With the settings to be used; with a `dry_run` config it needs no key.
        sample: How many episodes to look at.
        seed: Of the choice.
        count: Let the provider count tokens where there is a key (free of charge).
        progress: Called with (episodes looked at, episodes to look at).
        staged: Folder of staged files of the run; what is there is not asked again. Nothing in it is changed.
        redo: As for `annotate_episodes`.
        retry_failed: As for `annotate_episodes`.

    Raises:
        ModelUnavailableError: The provider does not count; try again or with count=False.
        AnnotationError: A staged file is not readable.
    """
    todo, skipped, waiting = _sorted_out(episodes, staged, redo=redo, retry_failed=retry_failed)
    chosen = np.random.default_rng(seed).permutation(len(todo))[:sample]
    rows, errors, requests = [], [], 0
    for number, index in enumerate(sorted(chosen), 1):
        item, before = todo[index]
        replies = {} if redo or before is None else before.replies
        try:
            episode = item.load() if isinstance(item, EpisodeRef) else item
            view = annotator.view(episode)
        except VLM2VLAError as error:
            errors.append({"episode": item.id, "kind": type(error).__name__, "message": str(error)})
        else:
            rows.append(annotator.estimate(view, count=count, replies=replies))
            requests += len(annotator.requests(view, replies))
        if progress:
            progress(number, len(chosen))
    scale = len(todo) / len(chosen) if len(chosen) else 0.0
    return CostEstimate(
        episodes=len(todo) + skipped + waiting,
        looked_at=len(rows),
        requests=round(scale * requests),
        input_tokens=round(scale * sum(row.input_tokens for row in rows)),
        output_tokens=round(scale * sum(row.output_tokens for row in rows)),
        cost_usd=scale * sum(row.cost_usd for row in rows),
        worst_usd=scale * sum(row.worst_usd for row in rows),
        counted=bool(rows) and all(row.counted for row in rows),
        errors=tuple(errors),
        skipped=skipped,
        waiting=waiting,
    )


def _sorted_out(
    episodes: Iterable[Episode | EpisodeRef], staged: Path | None, *, redo: bool, retry_failed: bool
) -> tuple[list[tuple[Episode | EpisodeRef, Staged | None]], int, int]:
    """The episodes that a run would ask about, each with what is staged of it; and how many are skipped and waiting."""
    folder = StagingFolder(staged) if staged and staged.is_dir() else None
    # The run would record them as failed before it begins.
    interrupted = {row["episode"] for row in folder.interrupted().values()} if folder else set()
    todo, turns, seen = [], Counter(), set()
    for item in episodes:
        before = folder.load(item.id) if folder else None
        if item.id in interrupted:
            before = replace(before or Staged(item.id), status="failed")
        turn = "skipped" if item.id in seen else turn_of(before, redo=redo, retry_failed=retry_failed)
        seen.add(item.id)
        if turn == "todo":
            todo.append((item, before))
        turns[turn] += 1
    return todo, turns["skipped"], turns["waiting"]

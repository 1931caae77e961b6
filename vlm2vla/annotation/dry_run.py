"""What annotating with a paid model would take, before anything is billed."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vlm2vla.annotation.gemini import GeminiAnnotator
from vlm2vla.annotation.run import EpisodeRef
from vlm2vla.errors import VLM2VLAError
from vlm2vla.types import Episode


@dataclass(frozen=True)
class CostEstimate:
    """An estimate over many episodes.

    Attributes:
        episodes: In all.
        looked_at: Of them, how many were looked at; the others are taken to be like these.
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
) -> CostEstimate:
    """Estimate tokens and cost from a random sample of episodes.

    Args:
        episodes: All that would be annotated.
        annotator: With the settings to be used; with a `dry_run` config it needs no key.
        sample: How many episodes to look at.
        seed: Of the choice.
        count: Let the provider count tokens where there is a key (free of charge).
        progress: Called with (episodes looked at, episodes to look at).

    Raises:
        ModelUnavailableError: The provider does not count; try again or with count=False.
    """
    every = list(episodes)
    chosen = np.random.default_rng(seed).permutation(len(every))[:sample]
    rows, errors = [], []
    for number, index in enumerate(sorted(chosen), 1):
        item = every[index]
        try:
            episode = item.load() if isinstance(item, EpisodeRef) else item
            view = annotator.view(episode)
        except VLM2VLAError as error:
            errors.append({"episode": item.id, "kind": type(error).__name__, "message": str(error)})
        else:
            rows.append(annotator.estimate(view, count=count))
        if progress:
            progress(number, len(chosen))
    scale = len(every) / len(chosen) if len(chosen) else 0.0
    return CostEstimate(
        episodes=len(every),
        looked_at=len(rows),
        requests=round(scale * len(rows)) * annotator.config.passes,
        input_tokens=round(scale * sum(row.input_tokens for row in rows)),
        output_tokens=round(scale * sum(row.output_tokens for row in rows)),
        cost_usd=scale * sum(row.cost_usd for row in rows),
        worst_usd=scale * sum(row.worst_usd for row in rows),
        counted=bool(rows) and all(row.counted for row in rows),
        errors=tuple(errors),
    )

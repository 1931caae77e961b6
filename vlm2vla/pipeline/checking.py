"""Is every annotation well formed and true to the numbers?"""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vlm2vla.annotation.checks import Finding, check, displacement_error
from vlm2vla.config import CheckConfig
from vlm2vla.pipeline.store import Progress, known_dataset, open_store
from vlm2vla.trajectories import EpisodeIndex
from vlm2vla.workspace import Workspace


@dataclass(frozen=True)
class CheckReport:
    """The outcome of checking every annotation.

    Attributes:
        annotated: Episodes that have an annotation.
        findings: Number by severity.
        displacement_error_cm: Median and 95th percentile over subtasks, between the sum of the chunk and the recording.
        worst: The first findings by severity, each with its episode.
    """

    annotated: int
    findings: dict[str, int]
    displacement_error_cm: dict[str, float | None]
    worst: tuple[tuple[str, Finding], ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        rows = [{"episode": episode_id} | asdict(finding) for episode_id, finding in self.worst]
        return asdict(self) | {"worst": rows}


def check_annotations(config: CheckConfig, workspace: Workspace, progress: Progress = None) -> CheckReport:
    """Check the newest annotation of every episode.

    Raises:
        NotFoundError: No such data set.
    """
    index, store = EpisodeIndex(workspace), open_store(workspace)
    known_dataset(config.dataset, index)
    severities: Counter[str] = Counter(error=0, warning=0, info=0)
    errors_cm: list[float] = []
    worst: list[tuple[str, Finding]] = []
    annotated, total = 0, len(index.ids(config.dataset))
    for head in store.heads(config.dataset):
        annotated += 1
        episode = index.get(head.episode_id)
        findings = check(head.annotated, episode)
        severities.update(finding.severity for finding in findings)
        worst += [(episode.id, finding) for finding in findings]
        errors_cm += [span.cm for span in displacement_error(head.annotated, episode)]
        if progress:
            progress(annotated, total)
    order = {"error": 0, "warning": 1, "info": 2}
    worst.sort(key=lambda row: order[row[1].severity])
    return CheckReport(annotated, dict(severities), _spread(errors_cm), tuple(worst[: config.show]))


def _spread(values: list[float]) -> dict[str, float | None]:
    if not values:
        return {"median": None, "p95": None}
    return {"median": round(float(np.median(values)), 3), "p95": round(float(np.percentile(values, 95)), 3)}

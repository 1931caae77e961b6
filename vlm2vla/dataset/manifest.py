"""manifest.json: what an export holds, what it left out, and where all of it came from.

Written last, so a folder without one is not a complete export.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vlm2vla import __version__
from vlm2vla.config import ExportConfig
from vlm2vla.dataset.select import Selection
from vlm2vla.errors import ExportError

MANIFEST = "manifest.json"
CREDITS = (
    "Frames and numbers belong to the data sets listed under `sources`: their licences and credits hold for this "
    "export too. Labels were made by the models and people listed under `labels`."
)


@dataclass(frozen=True)
class Manifest:
    """What stands in manifest.json.

    Attributes:
        format: Export format.
        created_at: ISO 8601 time, UTC.
        read_with: One line of code or words that opens the export.
        filters: Settings that chose and shaped the content.
        counts: episodes, steps, subtasks, and what the format writes (rows, samples, images, ...).
        left_out: Reason -> number of what stayed out.
        problems: The first hundred of them in words, the expected ones (rejected, not accepted) aside.
        sources: Data set -> format, embodiment, number of episodes.
        labels: statuses, levels (who wrote which level) and models (or annotators, or people) with their counts.
        units: What numbers mean.
        revisions: Episode id -> revision of the annotation store.
        prompts: Hash of the dialogue's prompt texts (`vlm2vla.language.prompt_hash`); empty where none are written.
        files: Path -> sha256 and bytes; images stand in `images.sha256` instead.
        credits: What a user of the export owes to others.
        version: Of the library that wrote it.
    """

    format: str
    created_at: str
    read_with: str
    filters: Mapping[str, Any]
    counts: Mapping[str, int]
    left_out: Mapping[str, int]
    problems: tuple[str, ...]
    sources: Mapping[str, Any]
    labels: Mapping[str, Any]
    units: Mapping[str, str]
    revisions: Mapping[str, int]
    prompts: str = ""
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    credits: str = CREDITS
    version: str = __version__

    def dumps(self) -> str:
        """As JSON text for people."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=2) + "\n"


def manifest_of(
    kind: str,
    selection: Selection,
    *,
    config: ExportConfig,
    counts: Mapping[str, int],
    read_with: str,
    units: Mapping[str, str] | None = None,
    extra: bool | None = None,
    prompts: str = "",
    files: Mapping[str, Mapping[str, Any]] | None = None,
) -> Manifest:
    """The manifest of a finished export; fields as in `Manifest`, `extra` as in `filters_of`."""
    return Manifest(
        format=kind,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        read_with=read_with,
        filters=filters_of(config, extra),
        counts={
            "episodes": selection.episodes,
            "steps": selection.steps,
            "subtasks": selection.subtasks,
            **counts,
        },
        left_out=dict(selection.left_out),
        problems=tuple(selection.problems),
        sources=selection.sources,
        labels={
            "statuses": dict(selection.statuses),
            "levels": dict(selection.levels),
            "models": dict(selection.models),
        },
        units=dict(units or {}),
        revisions=dict(selection.revisions),
        prompts=prompts,
        files=dict(files or {}),
    )


def filters_of(config: ExportConfig, extra: bool | None) -> dict[str, object]:
    """The settings that chose and shaped the content; those of extra samples where the format has such."""
    filters: dict[str, object] = {"include_unreviewed": config.include_unreviewed, "dataset": config.dataset}
    return filters if extra is None else {**filters, "extra_samples": extra, "seed": config.seed}


def read_manifest(out: Path) -> dict[str, Any]:
    """The manifest of an export, with its files checked against their hashes.

    Raises:
        ExportError: There is none (the export is not complete), or a file differs from what was written.
    """
    path = out / MANIFEST
    if not path.is_file():
        raise ExportError(f"{out} has no {MANIFEST}: it is not a complete export")
    data = json.loads(path.read_text())
    for name, entry in data["files"].items():
        if not (out / name).is_file() or digest(out / name) != entry["sha256"]:
            raise ExportError(f"{out / name} is not what was exported: it is missing or was changed")
    return data


def digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

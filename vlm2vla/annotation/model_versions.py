"""One label set is by one model version, unless the user says otherwise: providers route silently."""

import threading
from collections.abc import Mapping
from typing import Any

from vlm2vla.annotation.staging import StagingFolder
from vlm2vla.errors import AnnotationError
from vlm2vla.types import AnnotatedEpisode


class OtherVersionError(AnnotationError):
    """Another model version answered than the one that wrote the label set."""


class ModelVersions:
    """The model versions of one label set."""

    def __init__(self, folder: StagingFolder | None, mix: bool):
        self.mix, self.counts, self._lock = mix, {}, threading.Lock()
        self._known = ""
        if folder is not None and not mix:
            self._known = next((name for row in folder if (name := version_of(row.annotated))), "")

    def admit(self, annotated: AnnotatedEpisode) -> None:
        """Refuse an annotation by another version than the first one.

        Raises:
            OtherVersionError: It is by another one.
        """
        version = version_of(annotated)
        with self._lock:
            self._known = self._known or version
            if version and version != self._known and not self.mix:
                raise OtherVersionError(
                    f"{version} answered, but the labels here are by {self._known}; one label set is by one version: "
                    "annotate into a fresh workspace, or go on with --mix-versions (the reply is kept: no new bill)"
                )

    def count(self, annotated: AnnotatedEpisode | Mapping[str, Any] | None) -> None:
        """Count one annotation of the label set."""
        if version := version_of(annotated):
            self.counts[version] = self.counts.get(version, 0) + 1

    def warnings(self) -> tuple[str, ...]:
        """A sentence when the label set is by several versions."""
        if len(self.counts) < 2:
            return ()
        parts = ", ".join(f"{version}: {number}" for version, number in sorted(self.counts.items()))
        return (f"this label set is by several model versions ({parts}); compare them before training on it",)


def version_of(annotated: AnnotatedEpisode | Mapping[str, Any] | None) -> str:
    """Model version of an annotation, given as value or as JSON; "" when no model made it."""
    if annotated is None:
        return ""
    if isinstance(annotated, AnnotatedEpisode):
        versions = [row.model_version for row in annotated.provenance]
    else:
        versions = [row["model_version"] for row in annotated["provenance"]]
    return next((version for version in reversed(versions) if version), "")

"""Recorded episodes come into the workspace."""

from vlm2vla.config import ImportConfig
from vlm2vla.pipeline.store import Progress, open_store, register
from vlm2vla.trajectories import EpisodeIndex, ImportReport, import_episodes
from vlm2vla.workspace import Workspace


def import_data(config: ImportConfig, workspace: Workspace, progress: Progress = None) -> ImportReport:
    """Index the episodes of a data set and put them in the review queue; returns the ImportReport."""
    store = open_store(workspace)  # a database that cannot be reached is noticed before the long work
    report = import_episodes(config, workspace, progress)
    register(EpisodeIndex(workspace), store)
    return report

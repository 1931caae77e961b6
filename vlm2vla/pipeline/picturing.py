"""Labelled pictures of the simulated table: for pretraining, and as a held-out VQA set."""

from typing import Any

from vlm2vla.config import PicturesConfig
from vlm2vla.pipeline.store import Progress


def make_pictures(config: PicturesConfig, progress: Progress = None) -> dict[str, Any]:
    """Write the pictures; returns the manifest of the set.

    Raises:
        ConfigError: A count below 1, or the folder holds another set.
        WorkspaceError: The folder cannot be written.
        RobotError: No graphics on this computer.
    """
    if config.held_out:
        from vlm2vla.simulation.pictures.held_out import make_held_out

        return make_held_out(config, progress)
    from vlm2vla.simulation.pictures.make import make_pictures as make

    return make(config, progress)

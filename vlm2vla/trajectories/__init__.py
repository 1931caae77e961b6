"""Sources of `Episode`: Bridge RLDS and raw, LeRobot; the workspace's index; import; the LeRobot writer."""

from vlm2vla.trajectories.formats import choose, detect, find, read
from vlm2vla.trajectories.importer import ImportReport, import_episodes
from vlm2vla.trajectories.index import AddResult, EpisodeIndex, EpisodeSummary

__all__ = [
    "AddResult",
    "EpisodeIndex",
    "EpisodeSummary",
    "ImportReport",
    "choose",
    "detect",
    "find",
    "import_episodes",
    "read",
]

"""Sources of `Episode`: Bridge RLDS and raw, LeRobot; the workspace's index; import; the LeRobot writer."""

from vlm2vla.trajectories.formats import choose, detect, find, read
from vlm2vla.trajectories.importer import ImportReport, import_episodes
from vlm2vla.trajectories.index import AddResult, EpisodeIndex, EpisodeSummary
from vlm2vla.trajectories.lerobot_reader import EpisodeLanguage, read_language
from vlm2vla.trajectories.lerobot_writer import LeRobotWriteResult, write_lerobot

__all__ = [
    "AddResult",
    "EpisodeIndex",
    "EpisodeLanguage",
    "EpisodeSummary",
    "ImportReport",
    "LeRobotWriteResult",
    "choose",
    "detect",
    "find",
    "import_episodes",
    "read",
    "read_language",
    "write_lerobot",
]

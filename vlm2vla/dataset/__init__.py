"""AnnotatedEpisode -> training samples and exports.

Knows which labels may be exported, how they become conversations, and the file formats; knows no annotator and no
reader of recordings: the pipeline hands in labelled episodes, extra samples and the LeRobot writer.
"""

from vlm2vla.dataset.conversations import UNREADABLE, ExtraSamples
from vlm2vla.dataset.ecot import write_ecot
from vlm2vla.dataset.lerobot_language import LabelledRun, export_lerobot, labelled_runs, language_rows, recorded_rows
from vlm2vla.dataset.manifest import Manifest, read_manifest
from vlm2vla.dataset.parquet import write_parquet
from vlm2vla.dataset.replay import write_replay
from vlm2vla.dataset.samples import ImageRef, Sample, completed_sample, direction_sample, rows_of, samples_of
from vlm2vla.dataset.select import LabelledEpisode, Selection
from vlm2vla.dataset.sharegpt import write_sharegpt
from vlm2vla.dataset.starts import early_starts, in_form, last_attempts, later_starts
from vlm2vla.dataset.trl import write_trl

__all__ = [
    "UNREADABLE",
    "ExtraSamples",
    "ImageRef",
    "LabelledEpisode",
    "LabelledRun",
    "Manifest",
    "Sample",
    "Selection",
    "completed_sample",
    "direction_sample",
    "early_starts",
    "export_lerobot",
    "in_form",
    "labelled_runs",
    "language_rows",
    "last_attempts",
    "later_starts",
    "read_manifest",
    "recorded_rows",
    "rows_of",
    "samples_of",
    "write_ecot",
    "write_parquet",
    "write_replay",
    "write_sharegpt",
    "write_trl",
]

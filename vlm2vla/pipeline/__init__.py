"""Composes the stages, one file each, from import to evaluation. What the CLI and the studio call."""

from vlm2vla.pipeline.annotating import annotate, estimate, make_annotator
from vlm2vla.pipeline.checking import CheckReport, check_annotations
from vlm2vla.pipeline.evaluating import evaluate_vqa
from vlm2vla.pipeline.exporting import export
from vlm2vla.pipeline.harness import evaluate_with_harness
from vlm2vla.pipeline.importing import import_data
from vlm2vla.pipeline.open_loop import evaluate_actions
from vlm2vla.pipeline.picturing import make_pictures
from vlm2vla.pipeline.recording import record
from vlm2vla.pipeline.store import Progress, open_store, register
from vlm2vla.pipeline.training import train

__all__ = [
    "CheckReport",
    "Progress",
    "annotate",
    "check_annotations",
    "estimate",
    "evaluate_actions",
    "evaluate_vqa",
    "evaluate_with_harness",
    "export",
    "import_data",
    "make_annotator",
    "make_pictures",
    "open_store",
    "record",
    "register",
    "train",
]

"""The evidence as one self-contained HTML page and as Markdown: tables, plots, claims, each number with its run."""

from vlm2vla.evaluation.report.make import ReportFiles, make_report
from vlm2vla.evaluation.report.trained import note_runs

__all__ = ["ReportFiles", "make_report", "note_runs"]

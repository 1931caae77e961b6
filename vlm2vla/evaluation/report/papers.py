"""The paper's own tables, as a value and as a section."""

from importlib import resources
from typing import Any

import yaml

from vlm2vla.evaluation.report.cells import NOTHING
from vlm2vla.evaluation.report.document import Figure, Section, Table, Text
from vlm2vla.evaluation.report.svg import Dot, dots
from vlm2vla.evaluation.retention import LINE


def paper(name: str) -> dict[str, Any]:
    """One of the paper's own tables: "vqa" or "robot"."""
    file = resources.files("vlm2vla.evaluation") / "paper" / f"{name}.yaml"
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def paper_section() -> Section:
    """The paper's own VQA table and its retention."""
    table = paper("vqa")
    base, names = table["models"][table["base"]], table["benchmarks"]
    rows = tuple(
        (model, *(NOTHING if value is None else f"{value:g}" for value in values))
        for model, values in table["models"].items()
    )
    marks = [
        Dot(benchmark, model, values[index] / base[index], None, None)
        for index, benchmark in enumerate(names)
        for model, values in table["models"].items()
        if model.startswith("VLM2VLA") and values[index] is not None
    ]
    plot = dots(marks, title="Retention in the paper", high=1.25, line=LINE)
    return Section(
        "The paper's VQA table",
        (
            Text("Another model, other prompts, another harness: only ratios within a row can be compared with ours."),
            Table(("model", *names), rows, table["source"]),
            Figure("retention-paper", plot, f"Retention against {table['base']}, as the paper's table gives it."),
        ),
    )

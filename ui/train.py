"""The Train page: start, watch, stop and resume runs, and read what came out. Made of Gradio's own parts.

Each run is the command `train` in a process of its own; the page only looks at its folder, so closing it stops nothing.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd
from fastapi import APIRouter, Response
from fastapi.responses import FileResponse, PlainTextResponse

from ui import train_bodies as bodies
from vlm2vla.errors import VLM2VLAError
from vlm2vla.training import launch
from vlm2vla.training.config import PRESETS, VARIANTS
from vlm2vla.training.run import ALIVE
from vlm2vla.training.runs import find_run, runs
from vlm2vla.vlm.registry import ModelRegistry
from vlm2vla.workspace import Workspace

EVIDENCE = Path(__file__).parent.parent / "docs" / "evidence"
STYLE = '<link rel="stylesheet" href="/ui/train.css">'
REFRESH_S = 2.0


def build(workspace: Workspace) -> None:
    """Fill the page."""
    page = _Page(workspace)
    with gr.Column(elem_classes="vs-page"):
        _page(page)


def _page(page: "_Page") -> None:
    gr.HTML(STYLE, elem_id="train-style")
    gr.Markdown("## Fine-tune\nLabels that were accepted become samples; a run goes on when this page is closed.")
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            preset = gr.Dropdown(list(PRESETS), value="embedded", label="Preset", info="Base model and schedule")
            variant = gr.Dropdown(list(VARIANTS), value="lora", label="Variant", info="Words, or action tokens")
            base = gr.Textbox(label="Other base model", placeholder="name, folder or hub id")
            steps = gr.Number(0, label="Steps", info="0 takes the preset's", precision=0, minimum=0)
            rate = gr.Number(0, label="Learning rate", info="0 takes the preset's", minimum=0)
            unreviewed = gr.Checkbox(False, label="Also labels that nobody accepted yet")
            start = gr.Button("Start run", variant="primary", size="md", elem_id="train-start")
        with gr.Column(scale=3, min_width=500):
            headers = list(bodies.COLUMNS)
            table = gr.Dataframe(
                headers=headers, label="Runs", interactive=False, max_height=220, buttons=[], elem_id="train-runs"
            )
            with gr.Row(elem_id="train-choice"):
                # What an open page has chosen must still be a choice when the studio was started again.
                chosen = gr.Dropdown(page.names(), value=None, container=False, scale=4, elem_id="train-run")
                stop = gr.Button("Stop after this step", size="sm", elem_id="train-stop", interactive=False)
                resume = gr.Button("Resume", size="sm", elem_id="train-resume", interactive=False)
            told = gr.HTML(elem_id="train-told", padding=False)
            loss = gr.HTML(elem_id="train-loss", padding=False)
            with gr.Row(elem_id="train-keep"):
                name = gr.Textbox(show_label=False, container=False, placeholder="name in the list of models", scale=4)
                add = gr.Button("Add to models", size="sm", elem_id="train-add", interactive=False)
            with gr.Accordion("What the process says", open=False):
                said = gr.Textbox(show_label=False, lines=8, interactive=False)
            with gr.Accordion("Model card", open=False):
                card = gr.Markdown()
    evidence = gr.Markdown(elem_id="train-evidence")
    known = gr.State([])  # runs that the list offers
    seen = [chosen, known, table, told, loss, stop, resume, add, said, card]
    look = {"fn": page.look, "inputs": [chosen, known], "outputs": seen, "show_progress": "hidden"}
    gr.on(fn=page.open, outputs=[*seen, evidence], show_progress="hidden")
    gr.Timer(REFRESH_S).tick(**look)
    chosen.input(**look)
    start.click(page.start, [preset, variant, base, steps, rate, unreviewed], chosen).then(**look)
    stop.click(page.stop, chosen).then(**look)
    resume.click(page.resume, chosen).then(**look)
    add.click(page.add, [chosen, name])


def evidence_router(workspace: Workspace) -> APIRouter:
    """GET /evidence/<file>: the report of the workspace, else the one that ships, and its raw results."""
    router = APIRouter()

    @router.get("/evidence/{path:path}")
    async def evidence(path: str) -> Response:
        folder = _report(workspace)
        file = (folder / (path or "index.html")).resolve() if folder else None
        if not file or not file.is_relative_to(folder.resolve()) or not file.is_file():
            return PlainTextResponse("There is no report yet: python -m vlm2vla evaluate report", 404)
        return FileResponse(file)

    return router


class _Page:
    """What the page asks for."""

    def __init__(self, workspace: Workspace):
        self.workspace = workspace

    def open(self) -> tuple:
        """What a page that was just opened shows: the newest run, and the evidence."""
        return *self.look(None, []), _evidence(self.workspace)

    def names(self) -> list[str]:
        """Runs, the newest first."""
        return [run.name for run in reversed(runs(self.workspace))]

    def look(self, name: str | None, known: list[str]) -> tuple:
        """List, table, sentence, curve, buttons, log and card of a run; without a name, of the newest."""
        rows = [run.summary() for run in reversed(runs(self.workspace))]
        names = [row["run"] for row in rows]
        row = next((row for row in rows if row["run"] == name), rows[0] if rows else None)
        choice = gr.skip() if names == known else gr.Dropdown(names, value=row and row["run"])
        return choice, names, pd.DataFrame(map(bodies.cells, rows), columns=bodies.COLUMNS), *self._run(row)

    def _run(self, row: dict[str, Any] | None) -> tuple:
        if row is None:
            none = "<p>No run yet: choose a preset and press <b>Start run</b>.</p>"
            return none, bodies.curve([]), *[gr.Button(interactive=False)] * 3, "", ""
        run, said = find_run(self.workspace, row["run"]), launch.log_tail(self.workspace, row["run"])
        alive, card = row["state"] in ALIVE, run.path / "README.md"
        able = (alive, not alive and row["state"] not in ("done", "damaged"), bool(row["result"]))
        buttons = [gr.Button(interactive=yes) for yes in able]
        card_text = card.read_text(encoding="utf-8") if card.is_file() else ""
        return bodies.told(row, said), bodies.curve(launch.curve(run)), *buttons, said, card_text

    def start(self, preset: str, variant: str, base: str, steps: float, rate: float, unreviewed: bool):
        settings = {"base_model": base or "", "include_unreviewed": unreviewed, "steps": int(steps or 0)}
        name = _ask(launch.launch, self.workspace, preset, variant, learning_rate=float(rate or 0), **settings)
        gr.Info(f"{name} has begun")
        return gr.Dropdown(self.names(), value=name)

    def stop(self, name: str | None) -> None:
        _ask(launch.stop, self.workspace, _chosen(name))
        gr.Info(f"{name} will stop after its current step")

    def resume(self, name: str | None) -> None:
        _ask(launch.resume, self.workspace, _chosen(name))
        gr.Info(f"{name} goes on")

    def add(self, name: str | None, called: str) -> None:
        run = _ask(find_run, self.workspace, _chosen(name))
        called = (called or run.name).strip()
        if run.result is None:
            raise gr.Error(f"{name} has no weights yet")
        _ask(ModelRegistry(self.workspace).add, called, str(run.result))
        gr.Info(f"{called} is in the list of models: Chat and Drive offer it")


def _chosen(name: str | None) -> str:
    if not name:
        raise gr.Error("Choose a run first")
    return name


def _ask(what: Callable, *arguments: Any, **settings: Any) -> Any:
    """What the library answers; what it refuses is said on the page."""
    try:
        return what(*arguments, **settings)
    except VLM2VLAError as error:
        raise gr.Error(str(error)) from error


def _report(workspace: Workspace) -> Path | None:
    """Folder of the report: where the workspace's is written, else of the one that ships."""
    places = (workspace.evaluations / "report", EVIDENCE)
    return next((folder for folder in places if (folder / "index.html").is_file()), None)


def _evidence(workspace: Workspace) -> str:
    folder = _report(workspace)
    if folder is None:
        return "## Evidence\nNo report yet. `python -m vlm2vla evaluate report` makes one from what was evaluated."
    told = folder / "README.md"
    made = re.search(r"Made ([-\d]+ [:\d]+ UTC)", told.read_text(encoding="utf-8") if told.is_file() else "")
    link = '<a href="/evidence/index.html" target="_blank">What was kept and what was gained</a>'
    return f"## Evidence\n{link}: the report of {made[1] if made else 'an unknown day'}, in `{folder}`."

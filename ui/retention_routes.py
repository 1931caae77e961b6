"""Retention over HTTP: comparisons, the gallery of changed answers, and two charts that Plotly draws in the browser."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, PlainTextResponse, Response
from starlette.concurrency import run_in_threadpool

from ui.chat_bodies import OpenItem
from ui.chat_routes import FOREVER, answer, call
from vlm2vla.chat.retention import Comparisons
from vlm2vla.errors import NotFoundError, VLM2VLAError

JSON = dict[str, Any]
MEASURES = {"raw": "kept", "centred": "kept above chance", "above_floor": "kept above grey pictures"}
COLOURS = ("#6366f1", "#0d9488", "#ea580c", "#db2777", "#0891b2", "#65a30d")
SYMBOLS = ("circle", "diamond", "square", "triangle-up", "star", "x", "pentagon")
_SCALE = (0.0, 1.5)
_PAPER = ("VLM2VLA 12B", "VLM2VLA-AT 12B")


def retention_router(comparisons: Comparisons) -> APIRouter:
    """Routes under /api/retention of the chat."""
    router = APIRouter(prefix="/api/retention")

    @router.get("")
    async def listed() -> Response:
        return await answer(comparisons.list)

    @router.get("/plotly.js")
    async def library() -> FileResponse:
        return FileResponse(_plotly(), media_type="text/javascript", headers={"cache-control": "max-age=86400"})

    @router.get("/harness")
    async def harness() -> Response:
        return await answer(comparisons.harness)

    @router.get("/{name}")
    async def opened(name: str) -> Response:
        def work() -> JSON:
            found = comparisons.open(name)
            return found | {"charts": {measure: charts(found, measure) for measure in MEASURES}}

        return await answer(work)

    @router.get("/{name}/gallery")
    async def gallery(name: str, model: str) -> Response:
        return await answer(lambda: comparisons.gallery(name, model))

    @router.get("/{name}/picture")
    async def picture(name: str, item: str, number: int = 0) -> Response:
        try:
            data, mime_type = await run_in_threadpool(comparisons.picture, name, item, number)
        except VLM2VLAError as error:
            return PlainTextResponse(str(error), 404 if isinstance(error, NotFoundError) else 422)
        return Response(data, media_type=mime_type, headers=FOREVER)

    @router.post("/{name}/question")
    async def question(name: str, request: Request) -> Response:
        return await call(request, OpenItem, lambda it: comparisons.question(name, it.item))

    return router


def charts(found: Mapping[str, Any], measure: str) -> dict[str, JSON | None]:
    """Two Plotly figures over the same axis: ours by skill, and the paper's by benchmark; None where all is unknown.

    Args:
        found: As `Comparisons.open` gives it.
        measure: One of MEASURES; the paper's table allows only raw ratios.
    """
    return {"ours": _ours(found, measure), "paper": _paper(found) if measure == "raw" else None}


def _ours(found: Mapping[str, Any], measure: str) -> JSON | None:
    import plotly.graph_objects as go

    skills = sorted({skill for rows in found["retention_by_skill"].values() for skill in rows}, reverse=True)
    names = list(found["retention_by_skill"])
    figure = go.Figure()
    for index, name in enumerate(names):
        rows = found["retention_by_skill"][name] | {"all questions": found["retention"].get(name)}
        points = [(skill, _part(rows.get(skill), measure)) for skill in [*skills, "all questions"]]
        points = [(skill, point) for skill, point in points if point]
        figure.add_trace(_dots(go, name, points, index, len(names), [*skills, "all questions"]))
    if not any(trace.x for trace in figure.data):
        return None
    rows = [*skills, "all questions"]
    return _finished(figure, rows, f"{MEASURES[measure]}, of {found['base']}", found["line"])


def _paper(found: Mapping[str, Any]) -> JSON:
    import plotly.graph_objects as go

    table = found["paper"]
    base = table["models"][table["base"]]
    names = list(reversed(table["benchmarks"]))
    figure = go.Figure()
    for index, name in enumerate(_PAPER):
        values = dict(zip(table["benchmarks"], zip(table["models"][name], base, strict=True), strict=True))
        points = [
            (each, {"value": new / old, "low": None, "high": None})
            for each in names
            for new, old in [values[each]]
            if new is not None and old
        ]
        figure.add_trace(_dots(go, name, points, index, len(_PAPER), names))
    return _finished(figure, names, f"kept, of {table['base']}", found["line"])


def _part(row: Mapping[str, Any] | None, measure: str) -> Mapping[str, Any] | None:
    if row is None:
        return None
    part = {"value": row["raw"], "low": row.get("low"), "high": row.get("high")} if measure == "raw" else row[measure]
    return part if part and part["value"] is not None else None


def _dots(go: Any, name: str, points: list[tuple[str, Mapping[str, Any]]], index: int, of: int, rows: list[str]) -> Any:
    """One model: a dot with its interval per row, beside the dots of the others."""
    shift = (index - (of - 1) / 2) * 0.5 / max(1, of)
    # What lies beyond the scale stands at its edge, an arrow: it must not look like something that was not measured.
    x = [min(max(point["value"], _SCALE[0]), _SCALE[1]) for _, point in points]
    beyond = [point["value"] != at for (_, point), at in zip(points, x, strict=True)]
    known = [point.get("low") is not None and point.get("high") is not None for _, point in points]
    above = [max(0, point["high"] - at) if ok else 0 for (_, point), at, ok in zip(points, x, known, strict=True)]
    below = [max(0, at - point["low"]) if ok else 0 for (_, point), at, ok in zip(points, x, known, strict=True)]
    arrows = ["triangle-left" if at == _SCALE[0] else "triangle-right" for at in x]
    usual = SYMBOLS[index % len(SYMBOLS)]
    told = [
        f"{row}: {point['value']:.0%}" + (f" ({point['low']:.0%} to {point['high']:.0%})" if ok else "")
        for (row, point), ok in zip(points, known, strict=True)
    ]
    return go.Scatter(
        x=x,
        y=[rows.index(row) - shift for row, _ in points],
        error_x={"array": above, "arrayminus": below, "thickness": 1.5, "width": 3} if any(known) else None,
        mode="markers",
        marker={
            "color": COLOURS[index % len(COLOURS)],
            "symbol": [arrow if out else usual for arrow, out in zip(arrows, beyond, strict=True)],
            "size": 9,
        },
        name=name,
        text=told,
        hovertemplate="%{text}<extra>" + name + "</extra>",
    )


def _finished(figure: Any, rows: list[str], title: str, line: float) -> JSON:
    red = {"dash": "dash", "color": "#dc2626", "width": 1.5}
    figure.add_vline(x=line, line=red, annotation_text=f"{line:.0%}", annotation_position="top left")
    figure.add_vline(x=1, line={"color": "#8a94a6", "width": 1})
    figure.update_layout(
        template="none",
        height=90 + 26 * len(rows),
        margin={"l": 8, "r": 16, "t": 44, "b": 40},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        xaxis={
            "title": title,
            "tickformat": ".0%",
            "range": [_SCALE[0] - 0.02, _SCALE[1]],
            "gridcolor": "#8a94a633",
            "zeroline": False,
        },
        yaxis={
            "tickvals": list(range(len(rows))),
            "ticktext": rows,
            "range": [-0.7, len(rows) + 0.3],
            "automargin": True,
            "gridcolor": "#8a94a61f",
            "zeroline": False,
        },
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
    )
    return figure.to_plotly_json() | {"config": {"displayModeBar": False, "responsive": True}}


def _plotly() -> Path:
    import plotly

    return Path(plotly.__file__).parent / "package_data" / "plotly.min.js"

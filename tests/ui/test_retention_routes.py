"""The charts of the Retention view, and its routes."""

import json

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from ui.retention_routes import charts, retention_router
from vlm2vla.chat import ChatStore
from vlm2vla.chat.retention import Comparisons
from vlm2vla.evaluation.harness import import_logs
from vlm2vla.evaluation.report.papers import paper

KEPT = {"raw": 0.9, "low": 0.8, "high": 1.0, "centred": {"value": 0.8, "low": 0.6, "high": 1.0}, "above_floor": None}
LOST = {"raw": 0.2, "low": None, "high": None, "centred": None, "above_floor": None}


@pytest.fixture
def found():
    return {
        "base": "base",
        "line": 0.85,
        "paper": paper("vqa"),
        "retention": {"lora": KEPT, "full": LOST},
        "retention_by_skill": {"lora": {"colour": KEPT, "count": KEPT}, "full": {"colour": LOST, "count": KEPT}},
    }


def test_ours_has_a_dot_for_every_model_and_skill_with_its_interval_and_the_line(found):
    ours = charts(found, "raw")["ours"]
    lora, full = ours["data"]
    assert (lora["name"], list(lora["x"])) == ("lora", [0.9, 0.9, 0.9])
    assert list(lora["error_x"]["array"]) == pytest.approx([0.1] * 3)
    assert list(full["x"]) == [0.9, 0.2, 0.2]
    assert list(full["error_x"]["arrayminus"]) == pytest.approx([0.1, 0, 0])
    assert 0.85 in [shape["x0"] for shape in ours["layout"]["shapes"]]
    assert "80% to 100%" in lora["text"][0]
    assert ours["layout"]["yaxis"]["ticktext"] == ["count", "colour", "all questions"]


def test_a_measure_that_nobody_took_has_no_chart_and_the_paper_only_ratios(found):
    assert charts(found, "above_floor") == {"ours": None, "paper": None}
    assert len(charts(found, "centred")["ours"]["data"][1]["x"]) == 1
    assert charts(found, "centred")["paper"] is None


def test_a_model_that_answered_nothing_leaves_the_others_their_chart(found):
    found["retention_by_skill"]["far"] = {}
    assert [trace["name"] for trace in charts(found, "raw")["ours"]["data"]] == ["lora", "full", "far"]


def test_what_is_beyond_the_scale_stands_at_its_edge_and_says_its_value(found):
    below = KEPT | {"centred": {"value": -3.0, "low": -4.0, "high": -0.5}}
    found["retention_by_skill"]["lora"]["count"] = below
    lora = charts(found, "centred")["ours"]["data"][0]
    assert list(lora["x"]) == [0.0, 0.8, 0.8]
    assert list(lora["marker"]["symbol"]) == ["triangle-left", "circle", "circle"]
    assert "-300%" in lora["text"][0]
    assert list(lora["error_x"]["array"])[0] == 0


def test_the_papers_chart_shows_what_its_own_table_says(found):
    figure = charts(found, "raw")["paper"]
    words, tokens = figure["data"]
    rows = figure["layout"]["yaxis"]["ticktext"]
    assert words["x"][rows.index("MMMU")] == pytest.approx(42.7 / 46.0)
    assert len(tokens["x"]) == len(rows) - 2  # two were not found


def test_routes_say_what_is_not_there(workspace):
    app = FastAPI()
    app.include_router(retention_router(Comparisons(workspace, ChatStore(workspace))), prefix="/chat")
    client = TestClient(app)
    assert client.get("/chat/api/retention").json() == {"ok": []}
    assert "no comparison" in client.get("/chat/api/retention/none").json()["error"]
    assert "no comparison" in client.get("/chat/api/retention/none/gallery?model=lora").json()["error"]
    assert client.get("/chat/api/retention/none/picture?item=1").status_code == 404
    assert "no comparison" in client.post("/chat/api/retention/none/question", json={"item": "1"}).json()["error"]
    assert client.post("/chat/api/retention/none/question", json={"what": "1"}).status_code == 422
    assert client.get("/chat/api/retention/plotly.js").headers["content-type"].startswith("text/javascript")


def test_what_another_harness_measured_is_listed_apart_newest_first(workspace, tmp_path):
    for model, right in (("base", 4), ("lora", 3)):
        rows = [{"doc_id": n, "filtered_resps": "x", "exact_match": float(n < right)} for n in range(5)]
        rows.append({"doc_id": 5, "filtered_resps": "[LMMS_EVAL_REQUEST_FAILED: gone]", "exact_match": 0.0})
        (tmp_path / model).mkdir()
        (tmp_path / model / "1_samples_fruit.jsonl").write_text("\n".join(map(json.dumps, rows)))
    scores = import_logs({name: tmp_path / name for name in ("base", "lora")}, "base", "lmms-eval 0")
    for run in ("1", "2"):
        folder = workspace.evaluations / "harness" / run
        folder.mkdir(parents=True)
        (folder / "scores.json").write_text(json.dumps(scores | {"made_at": f"2026-11-0{run}T00:00:00"}))
    app = FastAPI()
    app.include_router(retention_router(Comparisons(workspace, ChatStore(workspace))), prefix="/chat")
    runs = TestClient(app).get("/chat/api/retention/harness").json()["ok"]
    assert [run["id"] for run in runs] == ["2", "1"]
    base, lora = runs[0]["rows"]
    assert (base["model"], base["score"]["value"], base["questions"], base["failed"], base["kept"]) == (
        "base", 0.8, 5, 1, None,
    )  # fmt: skip
    assert (lora["score"]["value"], lora["kept"]["raw"]["value"], lora["kept"]["lost"]) == (0.6, 0.75, 1)

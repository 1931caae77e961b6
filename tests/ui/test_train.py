"""The Train page without a browser: what it shows of runs that come and go, and which report it finds."""

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from ui import train, train_bodies
from vlm2vla.training.run import Progress, RunFolder


@pytest.fixture
def run_of(workspace):
    def make(name, state, **more):
        (workspace.runs / name).mkdir(exist_ok=True)
        run = RunFolder(workspace.runs / name)
        run.tell(Progress(state, **more))
        return run

    return make


def shown(workspace, name=None, known=()):
    names = ("choice", "names", "table", "told", "loss", "stop", "resume", "add", "said", "card")
    return dict(zip(names, train._Page(workspace).look(name, list(known)), strict=True))


def able(page):
    return [page[name].interactive for name in ("stop", "resume", "add")]


def test_runs_that_come_while_the_page_is_open_can_be_chosen(workspace, run_of):
    assert shown(workspace)["names"] == []
    run_of("first", "training", step=3, steps=9)
    page = shown(workspace)
    assert (page["choice"].value, page["names"]) == ("first", ["first"])
    assert not hasattr(shown(workspace, "first", ["first"])["choice"], "choices")  # nothing new, nothing sent
    run_of("second", "preparing", message="making samples: episode 3 of 9")
    page = shown(workspace, "first", ["first"])
    assert page["choice"].value == "first"
    assert set(page["names"]) == {"first", "second"} == set(page["table"]["run"])
    assert "episode 3 of 9" in shown(workspace, "second")["told"]


def test_only_what_can_be_done_is_offered(workspace, run_of):
    run = run_of("mine", "training", step=3, steps=9)
    assert able(shown(workspace)) == [True, False, False]
    run_of("mine", "stopped", step=3, steps=9)
    (run.path / "adapter").mkdir()
    assert able(shown(workspace)) == [False, True, True]
    run_of("mine", "done", step=9, steps=9)
    assert able(shown(workspace)) == [False, False, True]


def test_a_damaged_run_is_shown_beside_the_others_and_cannot_be_resumed(workspace, run_of):
    run_of("whole", "stopped", step=3, steps=9)
    (run_of("torn", "stopped", step=3, steps=9).path / "config.json").write_text("")
    page = shown(workspace, "torn", ["whole", "torn"])
    assert set(page["names"]) == {"whole", "torn"}
    assert "torn/config.json cannot be read" in page["told"]
    assert able(page) == [False, False, False]


def test_a_run_that_ended_before_it_began_says_why(workspace, run_of):
    (workspace.logs / "mine.log").write_text("...\nNotFoundError: no model '<b>x</b>'\n")
    run_of("mine", "starting", pid=2**22 + 1)
    told = shown(workspace)["told"]
    assert "killed" in told
    assert "no model &#x27;&lt;b&gt;x&lt;/b&gt;&#x27;" in told


def test_both_losses_are_drawn_from_the_first_step_on():
    assert "first step" in train_bodies.curve([])
    assert train_bodies.curve([(1, "training", 4.0)]).count("<circle") == 2  # the point, and the key
    rows = [(step, "training", 4 / step) for step in range(1, 2000)] + [(1000, "held out", 2.0)]
    drawn = train_bodies.curve(rows)
    assert drawn.count("<polyline") == 2
    assert "held out 2.0000 at step 1000" in drawn
    assert drawn.split('points="')[1].split('"')[0].count(",") <= 300
    assert "nan" not in train_bodies.curve([(1, "training", float("nan")), (2, "training", 0.0)])


def test_the_report_is_looked_for_in_the_workspace_first_and_every_time(workspace, tmp_path, monkeypatch):
    shipped, own = tmp_path / "shipped", workspace.evaluations / "report"
    monkeypatch.setattr(train, "EVIDENCE", shipped)
    app = FastAPI()
    app.include_router(train.evidence_router(workspace))
    client, page = TestClient(app), train._Page(workspace)
    assert "No report yet" in page.open()[-1]
    assert client.get("/evidence/index.html").status_code == 404
    for folder in (shipped, own):
        folder.mkdir()
        (folder / "index.html").write_text(f"<p>{folder.name}</p>")
        assert str(folder) in page.open()[-1]
        assert client.get("/evidence/").text == f"<p>{folder.name}</p>"
    (workspace.root / "studio.db").write_text("private")
    assert client.get("/evidence/%2e%2e/%2e%2e/studio.db").status_code == 404

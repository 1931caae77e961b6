"""Driving over HTTP: records by three ways, two operators, live pictures, kept runs, and what is refused."""

import json
import time

import httpx
import pytest

from tests.driving.conftest import BEN, until
from tests.running import running
from tests.ui.driven import Page


def test_records_by_polling_and_by_events_are_the_same(url, service):
    page = Page(url)
    page.open()
    page.do("start", policy="up", instruction="lift the cube", mode="auto")
    until(lambda: service.run.over)
    time.sleep(0.1)
    polled = [r for r in page.http.get("/poll", params={"since": 0}).json()["records"] if r["kind"] != "telemetry"]
    seen = []
    with page.http.stream("GET", "/events", params={"since": 0}) as events:
        for line in events.iter_lines():
            if line.startswith("data: "):
                seen.append(json.loads(line[6:]))
            if seen and seen[-1]["kind"] == "run_ended":
                break
    kept = [r["seq"] for r in polled if r["run"]]
    assert [r["seq"] for r in seen if r["run"]] == kept[: len([r for r in seen if r["run"]])]
    assert {"subtasks", "plan", "chunk", "action_done", "verdict"} <= {r["kind"] for r in seen}
    late = page.http.get("/poll", params={"since": 10**9}).json()["records"]
    assert [r["kind"] for r in late] == ["reset"]


def test_two_operators_over_http(url, service):
    anna, ben = Page(url), Page(url, BEN)
    anna.open()
    refused = ben.do("start", policy="up", instruction="lift", mode="auto")
    assert (refused["code"], "anna drives" in refused["error"]) == ("lease", True)
    assert ben.do("lease")["code"] == "lease"
    assert ben.do("lease", take=True) == {"ok": {"mine": True}}
    assert anna.do("beat")["ok"]["mine"] is False
    assert anna.do("mode", mode="auto")["code"] == "lease"
    ben.http.post("/leave", content=json.dumps({"client": BEN}), headers={"content-type": "text/plain"})
    assert ben.state()["lease"]["operator"] is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b'{"client": "short"}',
        b'{"client": "page-of-anna", "policy": 7, "instruction": "x"}',
        b'{"client": "page-of-anna", "policy": "up", "instruction": "x", "rows": [[1]]}',
        b'{"client": "../../../etc", "policy": "up", "instruction": "x"}',
        b'{"client": "page-of-anna", "policy": "up", "instruction": "' + b"x" * 70_000 + b'"}',
    ],
)
def test_a_malformed_command_is_a_short_refusal(url, robot, body):
    answer = httpx.post(f"{url}/drive/start", content=body, headers={"origin": url})
    assert (answer.status_code, len(answer.text) < 600) == (422, True)
    assert robot.acts == []


def test_typed_over_http_and_stale_answers(url, service, robot):
    page = Page(url)
    page.open()
    page.do("start", policy="typed", instruction="try", mode="step")
    assert page.do("type", text="x" * 5000)["error"].startswith("5000 characters")
    page.do("type", text="move up 3 cm")
    question = until(lambda: page.state()["run"]["question"])
    assert question["says"] == ["up 3.0 cm, gripper open"]
    assert page.do("answer", key="0" * 16, go=True)["code"] == "stale"
    assert page.do("edit", what="chunk", text="fly")["code"] == "parse"
    assert page.do("read", text="move up 2 cm")["ok"]["numbers"] == "up 2.0 cm"
    assert page.do("answer", key=question["key"], go=True) == {"ok": None}
    until(lambda: len(robot.acts) == 1)
    page.stop()


def test_a_question_that_was_seen_goes_on_and_an_edit_names_what_it_was_made_for(url, service, robot):
    page = Page(url)
    page.open()
    page.do("start", policy="twice", instruction="try", mode="supervised")
    question = until(lambda: page.state()["run"]["question"])
    assert (question["counts"], question["veto"]) == (True, None)
    assert page.do("edit", what="subtask", text="Lift the red cube", at=[1, 4]) == {"ok": None}
    until(lambda: any(record["kind"] == "edit_refused" for record in service.events.since(0)))
    assert page.do("edit", what="chunk", text="move up 1 cm", at=[0, 4])["code"] == "stale"
    assert page.do("seen", key=question["key"]) == {"ok": None}
    assert until(lambda: page.state()["run"]["question"])["veto"] > question["asked"]
    until(lambda: len(robot.acts) == 1)
    page.stop()


def test_pictures_flow_and_end_with_the_robot(url, service):
    page = Page(url)
    assert page.http.get("/camera/above/still.jpg").status_code == 404
    page.open()
    still = page.http.get("/camera/above/still.jpg", params={"px": 200})
    assert (still.headers["content-type"], still.content[:2]) == ("image/jpeg", b"\xff\xd8")
    assert page.http.get("/camera/nowhere/still.jpg").status_code == 404
    assert page.http.get("/camera/nowhere.mjpg").status_code == 404
    seen = b""
    with page.http.stream("GET", "/camera/side.mjpg", params={"px": 200}) as live:
        assert "multipart/x-mixed-replace" in live.headers["content-type"]
        for piece in live.iter_bytes():
            seen += piece
            if seen.count(b"Content-Type: image/jpeg") == 3:
                page.do("close")
    assert seen.count(b"\xff\xd8\xff") >= 3


def test_a_kept_run_is_shown_compared_and_opened_in_the_review(url, service, workspace):
    page = Page(url)
    page.open()
    run = page.do("start", policy="far", instruction="lift the cube", mode="auto")["ok"]["run"]
    until(lambda: service.run.over)
    assert page.http.get("/runs").json()["runs"][0]["end"] == "finished"
    replay = page.http.get(f"/runs/{run}").json()
    assert len(replay["steps"]) == 4
    assert [camera["name"] for camera in replay["cameras"]] == ["above", "side"]
    picture = page.http.get(f"/runs/{run}/frame/2/above.jpg")
    assert (picture.status_code, picture.content[:2]) == (200, b"\xff\xd8")
    for path in ("/runs/../../x", "/runs/r-20000101-000000-dead", f"/runs/{run}/frame/99/above.jpg"):
        assert page.http.get(path).status_code == 404
    assert page.http.get("/compare", params={"a": run, "b": run}).json()["rows"][0]["same"]
    assert page.do(f"runs/{run}/outcome", outcome="success", notes="good")["ok"]["outcome"] == "success"
    opened = page.do(f"runs/{run}/annotate")["ok"]
    assert opened["url"] == f"/?ep={opened['episode']}"


def test_with_a_password_nothing_of_it_is_open_and_the_login_is_the_name(app_for, service):
    with running(app_for(password="open sesame")) as url:
        stranger = httpx.Client(base_url=f"{url}/drive", headers={"origin": url})
        for path in ("/state", "/events", "/poll", "/camera/above/still.jpg", "/runs"):
            assert stranger.get(path).status_code == 401
        for path in ("/stop", "/start", "/open"):
            assert stranger.post(path, json={}).status_code == 401
        page = Page(url, auth=("clara", "open sesame"))
        page.do("lease")
        assert page.state()["lease"]["operator"]["name"] == "clara"


def test_another_site_cannot_command(url):
    evil = httpx.Client(base_url=f"{url}/drive", headers={"origin": "http://evil.example"})
    assert evil.post("/start", json={}).status_code == 403
    assert evil.post("/stop").status_code == 403

"""Who may talk to the studio: host, origin, password, closed doors of Gradio."""

import time

import pytest

from ui.guard import MAX_FAILURES, check_bind
from vlm2vla.config import StudioConfig
from vlm2vla.errors import ConfigError

ROUTES = [
    ("GET", "/"),
    ("GET", "/config"),
    ("GET", "/theme.css"),
    ("GET", "/ui/style.css"),
    ("GET", "/ui/store.js"),
    ("GET", "/media/e1/cam/0.jpg"),
    ("GET", "/gradio_api/info"),
    ("GET", "/gradio_api/queue/data?session_hash=x"),
    ("GET", "/gradio_api/heartbeat/x"),
    ("POST", "/gradio_api/queue/join"),
    ("POST", "/gradio_api/component_server"),
    ("POST", "/gradio_api/run/predict"),
    ("POST", "/gradio_api/call/predict"),
    ("GET", "/gradio_api/mcp"),
    ("GET", "/gradio_api/%6dcp/"),
]


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "robot.lab"])
def test_an_address_others_can_reach_needs_a_password(host):
    with pytest.raises(ConfigError, match="set a password"):
        check_bind(StudioConfig(host=host))
    check_bind(StudioConfig(host=host, password="long enough"))


def test_the_page_is_served_to_this_computer(client_for):
    answer = client_for().get("/")
    assert answer.status_code == 200
    assert "VLM2VLA Studio" in answer.text
    assert answer.headers["x-frame-options"] == "DENY"
    assert "default-src 'self'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:7860", "", "[::1].evil.example", "10.0.0.9"])
def test_a_host_name_that_is_not_ours_is_refused(client_for, host):
    assert client_for(host=host).get("/").status_code == 421


def test_further_host_names_can_be_allowed(client_for):
    assert client_for(host="robot.lab:7860", allow_hosts=("robot.lab",)).get("/").status_code == 200
    assert client_for(host="localhost:7860").get("/").status_code == 200


def test_beyond_this_computer_addresses_are_known_and_names_must_be_allowed(client_for):
    asks = {"listen": "0.0.0.0", "password": "open sesame"}
    assert client_for(host="192.168.1.4:7860", **asks).get("/").status_code == 401
    assert client_for(host="evil.example", **asks).get("/").status_code == 421


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9999", None])
def test_a_change_from_another_page_is_refused(client_for, origin):
    client = client_for(origin=origin)
    assert client.post("/gradio_api/component_server", json={}).status_code == 403
    assert client.put("/media/e1/cam/0.jpg").status_code == 403
    assert client.get("/").status_code == 200


def test_a_referer_stands_in_for_a_missing_origin(client_for):
    client = client_for(origin=None)
    ours = client.post("/gradio_api/component_server", json={}, headers={"referer": "http://127.0.0.1:7860/?ep=1"})
    theirs = client.post("/gradio_api/component_server", json={}, headers={"referer": "http://evil.example/"})
    assert (ours.status_code, theirs.status_code) == (400, 403)


def test_other_sites_cannot_embed_frames(client_for):
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-dest": "image"}
    assert client_for().get("/media/e1/cam/0.jpg", headers=headers).status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/mcp",
        "/gradio_api/mcp/sse",
        "/gradio_api/%6dcp/",
        "/gradio_api/file=/etc/passwd",
        "/file=/etc/passwd",
    ]
    + ["/gradio_api/proxy=http://evil.example/", "/gradio_api/deep_link", "/monitoring", "/gradio_api/upload_progress"],
)
def test_doors_of_gradio_that_nobody_needs_are_closed(client_for, path):
    client = client_for()
    assert client.get(path).status_code == 404
    assert client.post(path, json={}).status_code == 404


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_with_a_password_every_route_asks_for_it(client_for, method, path):
    client = client_for(password="open sesame")
    client_open = client.request(method, path)
    assert client_open.status_code in (401, 404)  # 404: closed for everybody
    if client_open.status_code == 401:
        assert client_open.headers["www-authenticate"].startswith("Basic")


def test_the_right_password_opens_and_names_the_reviewer(client_for, frames_only):
    client = client_for(password="open sesame")
    assert client.get("/", auth=("anna", "wrong")).status_code == 401
    page = client.get("/config", auth=("anna", "open sesame")).json()
    stage = next(part["id"] for part in page["components"] if part["props"].get("elem_id") == "vs-stage")
    call = {"component_id": stage, "session_hash": "x", "fn_name": "open", "data": {"episode": "e1", "reviewer": "bob"}}
    answer = client.post("/gradio_api/component_server", json=call, auth=("anna", "open sesame"))
    assert answer.json() == {"ok": {"id": "e1"}}
    assert frames_only.asked == [("open", "e1", "anna")]  # the name of the login, not the one the page claims


def test_guessing_passwords_is_stopped(client_for, monkeypatch):
    async def at_once(_seconds):
        return None

    monkeypatch.setattr("ui.guard.asyncio.sleep", at_once)
    client = client_for(password="open sesame")
    for _ in range(MAX_FAILURES):
        assert client.get("/", auth=("x", "guess")).status_code == 401
    assert client.get("/", auth=("x", "open sesame")).status_code == 429
    for password in ("open sesame", "guess"):  # STOP is not locked out, and does not say which one is right
        stopped = client.post("/drive/stop", auth=("x", password))
        assert (stopped.status_code, '"state": "sent"' in stopped.text) == (200, True)
    assert client.post("/drive/leave", json={}, auth=("x", "open sesame")).status_code == 429
    later = time.monotonic() + 61
    monkeypatch.setattr("ui.guard.time.monotonic", lambda: later)
    assert client.get("/", auth=("x", "open sesame")).status_code == 200

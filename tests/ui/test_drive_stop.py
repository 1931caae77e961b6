"""STOP over HTTP: while every worker is busy, without a lease, a body or a name, and by the socket."""

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from websockets.sync.client import connect as open_socket

from tests.driving.conftest import ANNA, BEN, POLICIES, until
from tests.running import running
from tests.ui.driven import PATIENT, Blocking, Page
from vlm2vla.config import StudioConfig
from vlm2vla.driving import DriveService
from vlm2vla.driving.robots import open_simulated

TRIES = 200
WORKERS = 40  # Gradio's own threads; see the limit in `busy_workers`


@contextmanager
def busy_workers(url: str, review: Blocking) -> Iterator[None]:
    """Every thread that Gradio answers with is waiting, and more calls stand in line."""
    page = httpx.get(f"{url}/config").json()
    stage = next(part["id"] for part in page["components"] if part["props"].get("elem_id") == "vs-stage")
    call = {"component_id": stage, "session_hash": "x", "fn_name": "open", "data": {"episode": "e1", "reviewer": "b"}}

    def ask():
        httpx.post(f"{url}/gradio_api/component_server", json=call, headers={"origin": url}, timeout=310)

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(WORKERS + 5)]
    for thread in threads:
        thread.start()
    until(lambda: review.waiting >= WORKERS, "every worker busy")
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{url}/gradio_api/component_server", json=call, headers={"origin": url}, timeout=1)
    try:
        yield
    finally:
        review.go_on.set()
        for thread in threads:
            thread.join(10)


class Others:
    """How many processors all other processes took of this computer: what this one does itself excuses nothing."""

    def __enter__(self) -> "Others":
        self._began, self.processors = (time.monotonic(), *self.used()), 0.0
        return self

    def __exit__(self, *_) -> None:
        at, everybody, mine = self._began
        now_everybody, now_mine = self.used()
        self.processors = (now_everybody - everybody - (now_mine - mine)) / (time.monotonic() - at)

    @staticmethod
    def used() -> tuple[float, float]:
        """Processor seconds of the whole computer, and of this process; nothing is known where there is no /proc."""
        stat, mine = Path("/proc/stat"), time.process_time()
        if not stat.is_file():
            return mine, mine
        user, nice, system, _idle, _wait, irq, softirq, steal = map(int, stat.read_text().split()[1:9])
        return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK"), mine


def test_what_this_process_does_is_no_excuse_for_it(monkeypatch):
    everybody, mine = Others.used()
    while Others.used()[1] < mine + 0.5:
        pass
    now_everybody, now_mine = Others.used()
    assert now_everybody - everybody > now_mine - mine - 0.1  # what this one took is among what all took
    used = iter([(100.0, 10.0), (103.0, 12.0)])  # of three seconds two were ours
    monkeypatch.setattr(Others, "used", staticmethod(lambda: next(used)))
    with Others() as others:
        time.sleep(0.1)
    assert 0 < others.processors <= 1 / 0.1


def test_stop_is_confirmed_within_200_ms_while_every_worker_is_busy(workspace, capsys):
    pytest.importorskip("mujoco")
    from ui.server import create_app

    review, quiet, busy, moving = Blocking(), [], [], 0
    service = DriveService(
        workspace,
        policies=POLICIES,
        times=PATIENT,
        open_robot=lambda wish, *_: open_simulated(wish["task"], wish["seed"], image_px=64),
    )
    app = create_app(workspace, StudioConfig(), review, service)
    with running(app) as url, busy_workers(url, review):
        page = Page(url)
        page.open("simulated", task="pick-up", seed=1)
        for _ in range(TRIES):
            with Others() as others:
                assert "run" in page.do("start", policy="long", instruction="up", mode="auto")["ok"]
                until(lambda: service.connected.robot.status().moving)
                moving += service.connected.robot.status().moving
                lines, ms = page.stop()
            (busy if others.processors > 0.25 * (os.cpu_count() or 1) else quiet).append(ms)
            assert [line["state"] for line in lines] == ["sent", "confirmed"]
            assert not service.connected.robot.status().moving
            until(lambda: service.run.over)
            if service.connected.robot.glance().ee[2] > 0.95:
                service.connected.stage.world.reset(service.connected.stage.scene)
    service.close()
    took = quiet + busy
    p50, p99 = np.percentile(took, [50, 99])
    capsys.readouterr()
    with capsys.disabled():
        sys.stdout.write(f"STOP: median {p50:.0f} ms, p99 {p99:.0f} ms, worst {max(took):.0f} ms of {TRIES} tries; ")
        sys.stdout.write(f"other processes took more than a quarter of this computer in {len(busy)} of them\n")
    assert moving > TRIES * 0.9
    if p99 > 200 and len(quiet) < TRIES / 2:
        pytest.skip(f"this computer is busy: other processes took more than a quarter of it in {len(busy)} tries")
    assert p99 <= 200 or np.percentile(quiet, 99) <= 200


def test_stop_needs_no_lease_no_body_and_no_json(url, service, robot):
    page, other = Page(url), Page(url, BEN)
    page.open()
    page.do("confirm", name="space")
    for body in (b"", b"{", b"[1]", b'{"reviewer": 7}', b"x" * 100_000):
        page.do("start", policy="long", instruction="up", mode="auto")
        until(lambda: robot.status().moving)
        answer = other.http.post("/stop", content=body)
        assert [json.loads(line)["state"] for line in answer.text.splitlines()] == ["sent", "confirmed"]
        until(lambda: service.run.over)


def test_stop_does_not_wait_for_a_body_that_does_not_come(url, service, robot):
    page = Page(url)
    page.open()
    page.do("start", policy="long", instruction="up", mode="auto")
    until(lambda: robot.status().moving)
    host = url.removeprefix("http://")
    with socket.create_connection(host.split(":")) as line:
        head = f"POST /drive/stop?reviewer=anna HTTP/1.1\r\nHost: {host}\r\nOrigin: {url}\r\nContent-Length: 99\r\n\r\n"
        line.sendall(head.encode())
        until(lambda: service.run.over)
    assert service.run.ended.reason == "stopped by anna"


def test_a_name_that_is_no_name_does_not_keep_a_stop(url, service, robot):
    page = Page(url)
    page.open()
    for name in ("x" * 5000, "", "\u202e\n", "%"):
        page.do("start", policy="long", instruction="up", mode="auto")
        until(lambda: robot.status().moving)
        answer = page.http.post("/stop", params={"reviewer": name})
        assert [json.loads(line)["state"] for line in answer.text.splitlines()] == ["sent", "confirmed"]
        until(lambda: service.run.over)


def test_stop_and_heartbeat_by_the_socket(url, service, robot):
    page = Page(url)
    page.open()
    page.do("start", policy="long", instruction="up", mode="auto")
    since = page.state()["seq"]
    with open_socket(f"ws{url[4:]}/drive/live?since={since}&client={ANNA}", origin=url) as live:
        live.send(json.dumps({"beat": True}))
        live.send("not json")
        live.send(json.dumps({"stop": True, "reviewer": "anna"}))
        kinds = []
        while not kinds or kinds[-1] != ("stop", "confirmed"):
            record = json.loads(live.recv(timeout=10))
            kinds.append((record["kind"], record.get("state")))
    assert ("stop", "sent") in kinds
    until(lambda: service.run.over)
    assert service.run.ended.reason == "stopped by anna"


def test_a_socket_from_another_page_is_refused(url):
    with pytest.raises(Exception, match="403"):
        open_socket(f"ws{url[4:]}/drive/live", origin="http://evil.example")

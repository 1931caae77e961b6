"""What tests of driving over HTTP share: the page that asks, and a review service that keeps workers busy."""

import json
import threading
import time

import httpx

from tests.driving.conftest import ANNA, until
from vlm2vla.driving.service import DriveTimes

PATIENT = DriveTimes(lease_s=3600)  # pages here send no heartbeat


class Blocking:
    """A review service whose every answer waits: each call of a page keeps one worker busy."""

    def __init__(self):
        self.waiting, self.go_on, self._lock = 0, threading.Event(), threading.Lock()

    def open(self, episode_id: str, reviewer: str) -> dict:
        with self._lock:
            self.waiting += 1
        self.go_on.wait(300)
        return {"id": episode_id}


class Page:
    """Asks like the page of the Drive tab."""

    def __init__(self, url: str, client: str = ANNA, **settings):
        self.url, self.client = url, client
        # The server closes connections that were idle for a while, now and then just when one is used again.
        limits = httpx.Limits(max_keepalive_connections=0)
        self.http = httpx.Client(
            base_url=f"{url}/drive", headers={"origin": url}, timeout=90, limits=limits, **settings
        )

    def do(self, command: str, **fields) -> dict:
        answer = self.http.post(f"/{command}", json={"client": self.client, "reviewer": "anna"} | fields)
        assert answer.status_code in (200, 422), answer.text
        return answer.json()

    def state(self) -> dict:
        return self.http.get("/state", params={"client": self.client}).json()

    def open(self, robot: str = "scripted", **fields) -> None:
        assert self.do("open", robot=robot, **fields) == {"ok": None}
        until(lambda: (state := self.state())["robot"] and state["opening"] is None)

    def stop(self) -> tuple[list[dict], float]:
        """STOP: the lines, and how long it took until the robot's answer was here, milliseconds."""
        began = time.perf_counter()
        with self.http.stream("POST", "/stop", params={"reviewer": "anna"}) as answer:
            lines = [json.loads(line) for line in answer.iter_lines()]
        return lines, (time.perf_counter() - began) * 1000

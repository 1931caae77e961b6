"""A studio on a free port, and a Chromium to look at it."""

import json
import os
import shutil
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.running import free_port, running
from vlm2vla.config import StudioConfig
from vlm2vla.workspace import Workspace

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
OPEN_S = 120.0
CLIENT = "test-client-0001"


def chromium() -> str | None:
    """Where Chromium is, or None."""
    names = (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    return next((path for path in map(shutil.which, filter(None, names)) if path), None)


@dataclass(frozen=True)
class Studio:
    """A running studio."""

    url: str
    workspace: Workspace


@contextmanager
def serve(workspace: Workspace, driving=None, **settings) -> Iterator[Studio]:
    """Serve `workspace` on a free port until the block ends; `driving` is its driving service when not its own."""
    from ui.server import create_app

    listener = free_port()
    port = listener.getsockname()[1]
    app = create_app(workspace, StudioConfig(port=port, **settings), driving=driving)
    with running(app, listener) as url:
        yield Studio(url, workspace)


def patient(workspace: Workspace, **more):
    """A driving service that waits longer for people and pages than usual: the computer may be busy."""
    from vlm2vla.driving import DriveService
    from vlm2vla.driving.service import DriveTimes

    return DriveService(workspace, times=DriveTimes(120.0, 12.0, 60.0), **more)


def ask(studio: Studio, path: str, body: dict | None = None) -> dict:
    """GET, or POST with a body, as a page of the studio would."""
    data = None if body is None else json.dumps({"client": CLIENT, "reviewer": "setup"} | body).encode()
    headers = {"origin": studio.url, "content-type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(studio.url + path, data, headers), timeout=30) as response:
        return json.loads(response.read())


def open_simulator(studio: Studio, task: str = "pick-up", seed: int = 1) -> None:
    """Open the simulated robot, anew where one is open, and leave it to whoever comes next."""
    ask(studio, "/drive/lease", {"take": True})
    answer = ask(studio, "/drive/open", {"robot": "simulated", "task": task, "seed": seed})
    if "error" in answer:
        raise RuntimeError(f"the simulator did not open: {answer}")
    deadline = time.monotonic() + OPEN_S
    while (state := ask(studio, "/drive/state"))["opening"] or state["robot"] is None:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the simulator did not open: {state}")
        time.sleep(0.2)
    ask(studio, "/drive/leave", {})

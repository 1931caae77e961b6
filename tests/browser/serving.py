"""A studio on a free port, and a Chromium to look at it."""

import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn

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
START_S = 20.0


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
def serve(workspace: Workspace, **settings) -> Iterator[Studio]:
    """Serve `workspace` on a free port until the block ends."""
    from ui.server import create_app

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        app = create_app(workspace, StudioConfig(port=port, **settings))
        server = uvicorn.Server(
            uvicorn.Config(app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=1)
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + START_S
        while not server.started:
            if time.monotonic() > deadline or not thread.is_alive():
                raise RuntimeError("the studio did not start")
            time.sleep(0.02)
        try:
            yield Studio(f"http://127.0.0.1:{port}", workspace)
        finally:
            server.should_exit = True
            thread.join(10)

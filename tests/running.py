"""An application served by a thread of this process, on a real socket."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import uvicorn

START_S = 60.0


@contextlib.contextmanager
def running(app, listener: socket.socket | None = None) -> Iterator[str]:
    """Gives the address for as long as the application is served, on `listener` or on a free port."""
    with listener or free_port() as listening:
        settings = uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(settings)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + START_S
        while not server.started:
            assert thread.is_alive() and time.monotonic() < deadline, "the server did not start"  # noqa: PT018
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)


def free_port() -> socket.socket:
    """A socket bound to a port that nobody else uses."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    return listener

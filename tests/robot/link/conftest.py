"""A served scripted robot on real sockets of this computer, and links to it."""

import contextlib
import threading
import time
from types import SimpleNamespace

import pytest
import zmq

from vlm2vla.robot.link import LinkRobot, RobotLinkConfig, RobotServer, RobotServerConfig, RobotSetup, make_keys
from vlm2vla.robot.link import messages as wire
from vlm2vla.robot.link.keys import read_pair, read_public
from vlm2vla.robot.scripted import ScriptedRobot


def wait_until(condition, seconds=10.0):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.002)
    return bool(condition())


MEASURED = []
PATIENCE = {"stop_after_s": 10.0, "runstop_after_s": 20.0, "max_age_s": 10.0}


@pytest.fixture(autouse=True)
def _patient_client(monkeypatch):
    """Both ends are threads of one process, which a busy computer may hold up: an action stays valid for longer."""
    monkeypatch.setattr("vlm2vla.robot.link.client._VALID_MS", 10_000)


class Lateness:
    """How late at worst this computer ran a thread that wanted to run, seconds: what a measured time owes to it."""

    def __enter__(self) -> "Lateness":
        self.worst_s, self._over = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def _run(self) -> None:
        while not self._over.is_set():
            due = time.monotonic() + 0.005
            time.sleep(0.005)
            self.worst_s = max(self.worst_s, time.monotonic() - due)

    def __exit__(self, *_) -> None:
        self._over.set()
        self._thread.join()


@pytest.fixture
def late():
    with Lateness() as lateness:
        yield lateness


@pytest.fixture
def measured():
    """Notes a line that is shown at the end of the test run."""
    return MEASURED.append


def pytest_terminal_summary(terminalreporter):
    if MEASURED:
        terminalreporter.section("measured on the link")
        for line in MEASURED:
            terminalreporter.write_line(line)


@pytest.fixture
def until():
    return wait_until


@pytest.fixture
def keys(tmp_path):
    """Keys of a robot and of two studios that it allows."""
    robot = make_keys(tmp_path / "robot", "stretch")
    allow = tmp_path / "robot" / "allowed"
    allow.mkdir()
    studios = {}
    for name in ("anna", "ben"):
        studios[name] = make_keys(tmp_path / name, name)
        (allow / f"{name}.key").write_text(studios[name].public.read_text())
    return SimpleNamespace(robot=robot, allow=allow, folder=tmp_path, **studios)


@pytest.fixture
def serving(keys):
    """`start(robot, **settings)` serves a robot on a thread; what it gives has the server, the robot and its events."""
    running = []

    def start(robot=None, *, emergency=None, **settings):
        events = []
        robot = robot or ScriptedRobot(speed_m_s=0.02, images={"above": b"\xff\xd8 picture"})
        robot._on_stop = lambda kind: events.append((kind, time.monotonic()))
        # Tests that are not about time give a busy computer more of it.
        limits = PATIENCE | settings
        config = RobotServerConfig(keys.robot.secret, keys.allow, port=0, heartbeat_port=0, **limits)
        server = RobotServer(config, RobotSetup(robot, emergency or robot.press_runstop))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        running.append((server, robot, thread))
        return SimpleNamespace(server=server, robot=robot, events=events, thread=thread)

    yield start
    for server, robot, thread in running:
        robot.fail(deaf=False, hang_s=0.0)
        server.close()
        thread.join(5)
        assert not thread.is_alive(), "the server did not end"


@pytest.fixture
def link(keys):
    """`connect(served, who)` gives a link as "anna" or "ben"."""
    links = []

    def connect(served, who="anna", *, clock=time.monotonic, **settings):
        settings = {"lost_after_s": 10.0, **settings}
        config = RobotLinkConfig(
            getattr(keys, who).secret,
            keys.robot.public,
            port=served.server.port,
            heartbeat_port=served.server.heartbeat_port,
            **settings,
        )
        links.append(LinkRobot(config, clock=clock))
        return links[-1]

    yield connect
    for robot in links:
        with contextlib.suppress(Exception):
            robot.close()


class RawClient:
    """Says whatever it likes to a server, with a good key."""

    def __init__(self, served, keys, who):
        pair = read_pair(getattr(keys, who).secret)
        self.context = zmq.Context()
        self.control, self.heart = (
            self.connect(port, pair, keys) for port in (served.server.port, served.server.heartbeat_port)
        )

    def connect(self, port, pair, keys):
        socket = self.context.socket(zmq.DEALER)
        socket.curve_serverkey = read_public(keys.robot.public)
        socket.curve_publickey, socket.curve_secretkey = pair.public, pair.secret
        socket.linger = 0
        socket.connect(f"tcp://127.0.0.1:{port}")
        return socket

    def hear(self, socket=None, kind="reply", seconds=10.0):
        socket = socket or self.control
        assert socket.poll(int(seconds * 1000)), "no answer"
        return wire.decode(kind, socket.recv())

    def ask(self, message):
        self.control.send(wire.encode(message))
        return self.hear()

    def beat(self, session):
        self.heart.send(wire.encode(wire.Beat(session, 1)))
        return self.hear(self.heart, "pulse")

    def drive(self):
        """Session and lease."""
        welcome = self.ask(wire.Hello(1, wire.VERSION, "raw"))
        return welcome.session, self.ask(wire.TakeControl(2, welcome.session)).lease

    def close(self):
        self.context.destroy(linger=0)


@pytest.fixture
def raw(keys):
    clients = []

    def connect(served, who="anna"):
        clients.append(RawClient(served, keys, who))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()

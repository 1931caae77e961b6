"""Emulated boards in this process, a driver process beside it. Needs stretch_body: `make test-robot`."""

import contextlib
import importlib.util
import itertools
import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HAS_STRETCH_BODY = importlib.util.find_spec("stretch_body") is not None

# Without stretch_body these files cannot even be imported; test_needs_stretch_body.py says so in one skip.
collect_ignore = [] if HAS_STRETCH_BODY else [f.name for f in Path(__file__).parent.glob("test_stretch_*.py")]

CALM = {"stale_s": 2.5, "servo_stale_s": 3.5}
"""A busy computer makes late answers; only the tests of staleness use the limits of the real thing."""


MEASURED = pytest.StashKey[list]()


@pytest.fixture
def report(request):
    """Lines to show after the tests: what was measured."""
    return request.config.stash.setdefault(MEASURED, []).append


def pytest_terminal_summary(terminalreporter, config):
    for line in config.stash.get(MEASURED, []):
        terminalreporter.write_line(f"measured: {line}")


@pytest.fixture(scope="session", autouse=True)
def _like_boards():
    """Real boards answer at once, whatever the computer does: where it is allowed, so do these.

    One second without an answer ends a status thread of stretch_body, and 130 ms lose a servo. Threads that are
    started from here on inherit it; drivers rank below boards, see `drive.rank_below_boards`.
    """
    if HAS_STRETCH_BODY:
        with contextlib.suppress(OSError):
            os.nice(-10)
        with contextlib.suppress(OSError, AttributeError):
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(2))


class Driver:
    """A driver process; `call` waits for the answer, `begin` gives something to wait for."""

    def __init__(self, folder: Path, environment: dict, settings: dict):
        command = [sys.executable, "-m", "tests.robot_hardware.drive", str(folder), json.dumps(settings)]
        environment = {**os.environ, **environment, "PYTHONPATH": str(ROOT)}
        self.log = folder / "driver.log"
        with self.log.open("a") as log:
            pipe = subprocess.PIPE
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, stderr=log, text=True
            )
        self._numbers = itertools.count()
        self._answers: dict = {}
        self._first: queue.Queue = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        self.greeting = self._first.get(timeout=60)

    def _listen(self) -> None:
        for line in self.process.stdout:
            answer = json.loads(line)
            self._answers[answer["id"]].put(answer) if "id" in answer else self._first.put(answer)
        self._first.put({"error": f"the driver process ended: {self.log.read_text()[-2000:]}"})

    def begin(self, call: str, *arguments):
        number = next(self._numbers)
        self._answers[number] = queue.Queue()
        self.process.stdin.write(json.dumps({"id": number, "call": call, "arguments": arguments}) + "\n")
        self.process.stdin.flush()

        def wait(timeout_s: float = 30.0):
            answer = self._answers[number].get(timeout=timeout_s)
            assert "error" not in answer, answer["error"]
            return answer.get("value")

        return wait

    def call(self, call: str, *arguments, timeout_s: float = 30.0):
        return self.begin(call, *arguments)(timeout_s)

    def works(self) -> bool:
        """Whether it runs and nothing inside it died."""
        if self.process.poll() is not None:
            return False
        try:
            return not self.call("broken")
        except (AssertionError, queue.Empty, OSError):
            return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        if self.process.poll() is None:
            self.kill()


class Bench:
    """One emulated robot and the processes that drive it."""

    def __init__(self, folder: Path, **robot):
        from tests.robot_hardware.fleet import RE1

        self.folder = folder
        self.re1 = RE1(folder, **robot)
        self.drivers: list[Driver] = []

    def drive(self, **settings) -> Driver:
        driver = self.attempt(**settings)
        assert "error" not in driver.greeting, driver.greeting["error"]
        return driver

    def healthy(self) -> Driver:
        """The newest driver, or a new one where that one is broken or gone: the boards go on without it."""
        driver = self.drivers[-1]
        if not driver.works():
            driver.close()
            self.re1.pimu.press_runstop(False)
            driver = self.drive()
        return driver

    def attempt(self, **settings) -> Driver:
        driver = Driver(self.folder, self.re1.environment, {**CALM, **settings})
        self.drivers.append(driver)
        return driver

    def close(self) -> None:
        for driver in self.drivers:
            driver.close()
        self.re1.close()


@pytest.fixture
def make_bench(tmp_path):
    """Benches of one test."""
    benches = []

    def make(**robot) -> Bench:
        folder = tmp_path / f"robot{len(benches)}"
        folder.mkdir()
        benches.append(Bench(folder, **robot))
        return benches[-1]

    yield make
    for bench in benches:
        bench.close()


@pytest.fixture(scope="module")
def shared_bench(tmp_path_factory):
    """One robot for all tests of a file that leave it as they found it; they drive it with `healthy()`."""
    bench = Bench(tmp_path_factory.mktemp("robot"))
    bench.drive()
    yield bench
    bench.close()

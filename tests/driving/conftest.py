"""A driving service over a robot that only calculates, and pages that ask it."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from vlm2vla.driving import DriveService
from vlm2vla.driving.policies import PolicyChoice
from vlm2vla.driving.robots import Connected, connect
from vlm2vla.driving.service import DriveTimes
from vlm2vla.policy import Script, ScriptedPolicy, ScriptedVerifier
from vlm2vla.robot.scripted import ScriptedRobot

ANNA, BEN = "page-of-anna", "page-of-ben"
WAIT_S = 90.0  # a busy computer; nothing here judges how long it takes


def until(true: Callable[[], object], what: str = "") -> object:
    """Wait for a condition; its value."""
    end = time.monotonic() + WAIT_S
    while not (value := true()):
        assert time.monotonic() < end, f"never happened: {what or true}"
        time.sleep(0.005)
    return value


def scripted(name: str, *cycles: Script, subtasks=("Lift the cube",), verdicts=(True,)) -> PolicyChoice:
    """A policy that says what the test wants, in words that steer it."""

    def make(wish):
        return ScriptedPolicy(subtasks, cycles), ScriptedVerifier(verdicts)

    return PolicyChoice(name, name, "for tests", make, steerable=True)


UP = Script("move up", ("[[0.0, 0.0, 3.0, 1]]",))
FAR = Script("move far up", ("[[0.0, 0.0, 4.0, 1], [0.0, 0.0, 4.0, 1], [0.0, 0.0, 4.0, 1]]",))
POLICIES = (
    scripted("up", UP, UP, UP, UP),
    scripted("far", FAR),
    scripted("long", *[FAR] * 40, verdicts=(False,)),
    scripted("stubborn", Script("move up", ("up we go", "[[0, 0, 3", "[[0.0, 0.0, 3.0, 1]]"))),
    scripted("absurd", Script("move up", ("[[0.0, 0.0, 90.0, 1]]",)), UP, verdicts=(False, True)),
    scripted("twice", UP, UP, subtasks=("Lift the cube", "Lift it again")),
)


class Desk:
    """The service, its robot, and what pages do with them."""

    def __init__(self, service: DriveService, robot: ScriptedRobot):
        self.service, self.robot = service, robot
        self._silent = threading.Event()
        threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self) -> None:
        while not self._silent.wait(0.1):
            self.service.beat(ANNA)

    def silence(self) -> None:
        """Anna's page is not heard any more."""
        self._silent.set()

    def open(self, client: str = ANNA, name: str = "anna") -> None:
        if self.service.connected is not None:
            return
        self.service.open(client, name, {"robot": "scripted"})
        until(lambda: self.service.connected is not None and self.service.parts("opening")["opening"] is None)

    def start(self, policy: str, mode: str = "auto", **settings):
        self.open()
        run_id = self.service.start(
            ANNA, "anna", policy, settings.pop("instruction", "lift the cube"), mode, **settings
        )
        assert self.service.run.plan.id == run_id
        return self.service.run

    def ended(self):
        """How the run ended."""
        until(lambda: self.service.run.over, "the end of the run")
        return self.service.run.ended

    def asked(self):
        """The question that is open."""
        return until(lambda: self.service.run.gate.question, "a question")

    def records(self, kind: str) -> list[dict]:
        return [record for record in self.service.events.since(0) if record["kind"] == kind]

    @property
    def height(self) -> float:
        return float(self.robot.observe().ee[2])


@pytest.fixture
def desk_for(workspace) -> Iterator[Callable[..., Desk]]:
    """desk_for(speed_m_s=..., approval_s=...): a service over a scripted robot."""
    desks = []

    def make(robot: ScriptedRobot | None = None, speed_m_s: float = 0.0, **times) -> Desk:
        robot = robot or ScriptedRobot(speed_m_s=speed_m_s)

        def open_robot(wish, keys, operator) -> Connected:
            return connect(robot, ("above", "side"), "scripted")

        service = DriveService(workspace, policies=POLICIES, times=DriveTimes(**times), open_robot=open_robot)
        desks.append(Desk(service, robot))
        return desks[-1]

    yield make
    for desk in desks:
        desk.silence()
        desk.service.close()


@pytest.fixture
def desk(desk_for) -> Desk:
    return desk_for()

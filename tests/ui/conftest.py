"""The studio's application without a browser, over a review service that only has frames."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.driving.conftest import POLICIES
from tests.running import running
from tests.ui.driven import PATIENT, Blocking
from vlm2vla.config import StudioConfig
from vlm2vla.driving import DriveService
from vlm2vla.driving.robots import connect
from vlm2vla.errors import NotFoundError, StaleRevisionError
from vlm2vla.robot.scripted import ScriptedRobot
from vlm2vla.workspace import Workspace

JPEG = b"\xff\xd8\xff\xe0 not really a picture"
HOST = "127.0.0.1:7860"


class FramesOnly:
    """What the routes need of a review service; remembers who asked for what."""

    def __init__(self, workspace: Workspace):
        self.workspace = workspace
        self.asked: list[tuple] = []

    def frame(self, episode_id: str, camera: str, step: int) -> Path:
        if episode_id == "elsewhere":  # a bug in the cache must not become a leak
            return self.workspace.root / "studio.db"
        if step > 3:
            raise NotFoundError(f"{episode_id} has no frame {step}")
        path = self.workspace.media / episode_id / camera / f"{step}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(JPEG)
        return path

    def open(self, episode_id: str, reviewer: str) -> dict:
        self.asked.append(("open", episode_id, reviewer))
        if episode_id == "broken":
            raise RuntimeError("the secret detail")
        if episode_id == "gone":
            raise NotFoundError("gone is not in the workspace")
        return {"id": episode_id}

    def edit(self, episode_id: str, base: int, edit: dict, reviewer: str) -> dict:
        raise StaleRevisionError(episode_id, base, base + 1, "anna")


@pytest.fixture
def frames_only(workspace) -> FramesOnly:
    (workspace.root / "studio.db").write_text("private")
    return FramesOnly(workspace)


@pytest.fixture
def client_for(workspace, frames_only) -> Callable[..., TestClient]:
    """client_for(password=...): a client that asks like the studio's own page."""
    from ui.server import create_app

    def make(origin: str | None = f"http://{HOST}", host: str = HOST, listen: str = "127.0.0.1", **settings):
        app = create_app(workspace, StudioConfig(host=listen, **settings), frames_only)
        headers = {"host": host} | ({"origin": origin} if origin else {})
        return TestClient(app, base_url=f"http://{HOST}", headers=headers, follow_redirects=False)

    return make


@pytest.fixture
def robot() -> ScriptedRobot:
    return ScriptedRobot(speed_m_s=0.1)


@pytest.fixture
def service(workspace, robot) -> Iterator[DriveService]:
    service = DriveService(
        workspace,
        policies=POLICIES,
        times=PATIENT,
        open_robot=lambda *_: connect(robot, ("above", "side"), "scripted"),
    )
    yield service
    service.close()


@pytest.fixture
def app_for(workspace, service):
    from ui.server import create_app

    return lambda review=None, **settings: create_app(
        workspace, StudioConfig(**settings), review or Blocking(), service
    )


@pytest.fixture
def url(app_for) -> Iterator[str]:
    with running(app_for()) as url:
        yield url

"""One browser for the run, a fresh page and a fresh copy of the workspace for each test."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from vlm2vla.workspace import Workspace

HERE = Path(__file__).parent


def _load(name: str):
    """A module beside this file, whatever the import mode."""
    spec = importlib.util.spec_from_file_location(f"browser_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


PATIENCE_MS = 60_000  # a busy computer
LATE = "/frame/"  # pictures of a run are drawn a little after it, and asked for again

serving, recorder = _load("serving"), _load("recordings")


def pytest_collection_modifyitems(items) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser():
    path = serving.chromium()
    if not path:
        reason = "Chromium is not installed: apt install chromium, or set CHROMIUM to its path"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=serving.FLAGS)
        yield browser
        browser.close()


@pytest.fixture(autouse=True)
def _patience() -> None:
    from playwright.sync_api import expect

    expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="session")
def recordings(tmp_path_factory) -> Path:
    return recorder.write(tmp_path_factory.mktemp("recordings"))


@pytest.fixture(scope="session")
def labelled(recordings, tmp_path_factory) -> Path:
    """The root of a workspace with every recording imported and annotated from the numbers."""
    from vlm2vla import pipeline
    from vlm2vla.config import AnnotateConfig, GeminiConfig, ImportConfig, LanguageConfig

    workspace = Workspace.open(tmp_path_factory.mktemp("labelled"))
    pipeline.import_data(ImportConfig(recordings), workspace)
    pipeline.annotate(AnnotateConfig(), LanguageConfig(), GeminiConfig(), workspace)
    return workspace.root


@pytest.fixture
def start() -> Iterator[Callable]:
    """start(workspace, **settings): a running studio, stopped at the end of the test."""
    with ExitStack() as stack:
        yield lambda workspace, **settings: stack.enter_context(serving.serve(workspace, **settings))


def _scripted_policy():
    """Words of a model that cannot be relied on: a text that does not parse, a row too long, a verdict too early."""
    from vlm2vla.driving.policies import PolicyChoice
    from vlm2vla.policy import Script, ScriptedPolicy, ScriptedVerifier

    cycles = (
        Script("move up", ("up we go", "[[0.0, 0.0, 2.0, 1]]")),
        Script("move far down", ("[[0.0, 0.0, -7.0, 1]]",)),
        Script("move up", ("[[0.0, 0.0, 90.0, 1]]",)),
        Script("move up", ("[[0.0, 0.0, 2.0, 1]]",)),
    )

    def make(wish):
        return ScriptedPolicy(("Lift the cube", "Put it down"), cycles), ScriptedVerifier((False, True, False, True))

    return PolicyChoice("scripted", "scripted", "For tests.", make, steerable=True)


@pytest.fixture(scope="module")
def drive_studio(tmp_path_factory):
    """A studio whose simulated robot is open; one for all tests of a module, since building the scene takes seconds."""
    workspace = Workspace.open(tmp_path_factory.mktemp("driving"))
    driving = serving.patient(workspace, policies=(_scripted_policy(),))
    with serving.serve(workspace, driving) as studio:
        serving.open_simulator(studio)
        yield studio
    driving.close()


@pytest.fixture
def studio(start, labelled, tmp_path):
    """A studio over its own copy of the labelled workspace."""
    shutil.copytree(labelled, tmp_path / "studio")
    return start(Workspace.open(tmp_path / "studio"))


@pytest.fixture
def new_page(browser):
    """new_page(**options): a page in a browser profile of its own; any error in the page fails the test."""
    contexts, errors = [], []

    def complain(message) -> None:
        if message.type == "error" and LATE not in message.location.get("url", ""):
            errors.append(f"{message.text} {message.location.get('url', '')}")

    def make(**options):
        context = browser.new_context(viewport={"width": 1280, "height": 720}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", complain)
        return page

    yield make
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def page(new_page):
    return new_page()


@pytest.fixture
def open_episode(studio, page) -> Callable:
    """open_episode(text="", page=page): the tab with an episode open whose instruction has this text."""

    def make(text: str = "carrot on plate", page=page):
        page.goto(studio.url)
        row = page.locator(".vs-item[data-id]", has_text=text).first
        row.click()
        page.wait_for_function(
            "id => new URL(location).searchParams.get('ep') === id", arg=row.get_attribute("data-id")
        )
        page.locator(".vs-span").first.wait_for()
        page.locator(".vs-frame[data-step]").wait_for()
        return page

    return make


@pytest.fixture
def drive(drive_studio, page):
    """The Drive page with the robot open, nobody driving, nothing under way."""
    ask = serving.ask
    ask(drive_studio, "/drive/lease", {"take": True})
    ask(drive_studio, "/drive/runstop", {"what": "release"})
    ask(drive_studio, "/drive/leave", {})
    page.set_viewport_size({"width": 1280, "height": 800})
    page.goto(drive_studio.url + "/drive", wait_until="domcontentloaded")
    page.locator(".vs-setup").wait_for()
    yield page
    ask(drive_studio, "/drive/lease", {"take": True})  # stops what is under way
    ask(drive_studio, "/drive/leave", {})

"""Training as a process of its own: begun, stopped, gone on with, and failures that are said."""

import time

import pytest

from vlm2vla.errors import ConfigError, NotFoundError, TrainingError
from vlm2vla.training import launch
from vlm2vla.training.run import Progress, RunFolder
from vlm2vla.training.runs import find_run, new_run
from vlm2vla.workspace import Workspace

PATIENCE_S = 240


@pytest.fixture
def workspace(tmp_path):
    return Workspace.open(tmp_path / "ws")


def until(true, what):
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if true():
            return
        time.sleep(0.2)
    pytest.fail(f"not within {PATIENCE_S} s: {what}")


def state(workspace, name):
    try:
        return find_run(workspace, name).progress().state
    except NotFoundError:
        return ""


@pytest.mark.slow
def test_a_run_is_stopped_and_gone_on_with(workspace, tiny_folder):
    base = str(tiny_folder / "base")
    name = launch.launch(workspace, "embedded", "lora", base_model=base, include_unreviewed=True, steps=400)
    assert state(workspace, name) in ("starting", "preparing")
    with pytest.raises(TrainingError, match="running"):
        launch.resume(workspace, name)
    until(lambda: state(workspace, name) == "training", "training")
    with pytest.raises(TrainingError, match="running"):
        launch.resume(workspace, name)
    launch.stop(workspace, name)
    until(lambda: state(workspace, name) == "stopped", "stopped")
    before = find_run(workspace, name).progress().step
    assert 0 < before < 400
    launch.resume(workspace, name)
    until(lambda: find_run(workspace, name).progress().step > before, "further than before")
    launch.stop(workspace, name)
    until(lambda: state(workspace, name) == "stopped", "stopped again")
    assert {kind for _, kind, _ in launch.curve(find_run(workspace, name))} >= {"training"}


def test_a_run_that_cannot_begin_says_why(workspace):
    name = launch.launch(workspace, "embedded", "lora", base_model="/nowhere/at/all")
    until(lambda: state(workspace, name) == "killed", "ended")
    assert "/nowhere/at/all" in launch.log_tail(workspace, name)


def test_runs_go_on_wherever_they_were_started(workspace, monkeypatch):
    spawned = []
    monkeypatch.setattr(launch, "_spawn", lambda workspace, run, arguments: spawned.append((run.name, arguments)))
    typed = new_run(workspace, "typed", "")
    typed.tell(Progress("stopped", 3, 9))
    with pytest.raises(TrainingError, match="never began"):
        launch.resume(workspace, "typed")
    typed.write("config.json", {"variant": "lora"})
    launch.resume(workspace, "typed")
    assert spawned == [("typed", ["--resume"])]
    name = launch.launch(workspace, "embedded", "lora", steps=7)
    RunFolder(workspace.runs / name).tell(Progress("failed"))
    launch.resume(workspace, name)  # never began: from the beginning
    assert spawned[-1] == (name, ["--preset", "embedded", "--variant", "lora", "--steps", "7"])
    typed.tell(Progress("done", 9, 9))
    with pytest.raises(TrainingError, match="complete"):
        launch.resume(workspace, "typed")


def test_what_cannot_be_started_or_resumed(workspace):
    with pytest.raises(ConfigError):
        launch.launch(workspace, "embedded", "nothing")
    with pytest.raises(ConfigError):
        launch.launch(workspace, "embedded", "lora", steps=-1)
    with pytest.raises(NotFoundError):
        launch.resume(workspace, "nobody")
    with pytest.raises(NotFoundError):
        launch.stop(workspace, "nobody")
    assert launch.log_tail(workspace, "nobody") == ""

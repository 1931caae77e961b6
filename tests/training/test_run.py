"""One process at a time on a run, told from one that is gone; names that are free again; what cannot be resumed."""

import os
import subprocess
import sys

import pytest

from vlm2vla.errors import ConfigError, NotFoundError, TrainingError
from vlm2vla.training import launch
from vlm2vla.training.run import Progress, RunFolder
from vlm2vla.training.runs import compare, find_run, new_run, newest_run, runs

HOLDS = """
import sys, pathlib
from vlm2vla.training.run import Progress, RunFolder
run = RunFolder(pathlib.Path(sys.argv[1]))
with run.hold():
    run.tell(Progress("training", 3, 9))
    print("holding", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def run(tmp_path):
    (tmp_path / "run").mkdir()
    return RunFolder(tmp_path / "run")


@pytest.fixture
def other(run):
    """A process that trains the run, until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(run.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "holding\n"
    yield process
    process.kill()
    process.wait()


def test_two_processes_cannot_train_one_run(run, other):
    assert run.progress().state == "training"
    with pytest.raises(TrainingError, match="is running"), run.hold():
        pass
    other.kill()
    other.wait()
    assert run.progress().state == "killed"
    with run.hold():
        pass


def test_the_lock_counts_even_before_anything_is_told(run):
    run.tell(Progress("stopped", 3, 9))
    with run.hold(), pytest.raises(TrainingError, match="is running"), RunFolder(run.path).hold():
        pass


def test_a_process_that_happens_to_have_the_number_is_not_taken_for_the_one_that_trained(run):
    with run.hold():
        run.tell(Progress("training"))
    run.write("progress.json", run.read("progress.json") | {"pid": os.getppid()})
    assert run.progress().state == "killed"
    (run.path / "lock").unlink()  # as an older version leaves it: only the number is known
    assert run.progress().state == "training"
    with pytest.raises(TrainingError, match="is running"), run.hold():
        pass


def test_a_complete_run_is_left_alone(run):
    run.tell(Progress("done", 9, 9))
    run.add_metrics({"step": 9, "loss": 0.5})
    with pytest.raises(TrainingError, match="complete"), run.hold():
        pass
    assert run.recent_loss() == 0.5


def test_stop_reaches_the_process_that_it_was_meant_for(run):
    with pytest.raises(TrainingError, match="not running"):
        run.ask_to_stop()
    run.tell(Progress("starting"))  # launched: this process is named
    run.ask_to_stop()
    with run.hold():
        assert run.stop_file.exists()
    run.write("progress.json", {"state": "training", "pid": 2**22 + 1})  # of one that was killed before it obeyed
    with run.hold():
        assert not run.stop_file.exists()


def test_a_run_that_never_began_leaves_its_name(workspace):
    first = new_run(workspace, "mine", "")
    with first.hold():
        first.tell(Progress("preparing"))
        with pytest.raises(TrainingError, match="is running"), new_run(workspace, "mine", "").hold():
            pass
    assert find_run(workspace, "mine").progress().state == "killed"
    with new_run(workspace, "mine", "").hold():
        pass
    first.write("config.json", {"recipe": {"name": "embedded"}, "variant": "lora"})
    with pytest.raises(ConfigError, match="--resume"):
        new_run(workspace, "mine", "")
    assert newest_run(workspace, "embedded", "lora").name == "mine"
    with pytest.raises(ConfigError, match="letters"):
        new_run(workspace, "no/name", "")


def test_runs_get_numbers_of_their_own_and_are_listed_from_their_first_word(workspace):
    names = [new_run(workspace, "", "embedded-lora").name for _ in range(2)]
    assert names == ["embedded-lora-001", "embedded-lora-002"]
    assert runs(workspace) == []
    with pytest.raises(NotFoundError):
        find_run(workspace, names[0])
    RunFolder(workspace.runs / names[1]).tell(Progress("starting"))
    assert [run.name for run in runs(workspace)] == [names[1]]


@pytest.mark.parametrize("left", ["", "\0" * 40, '{"state": "trai'])
def test_a_run_whose_progress_a_power_cut_damaged_can_be_gone_on_with(workspace, left):
    run = new_run(workspace, "mine", "")
    run.write("config.json", {"recipe": {"name": "embedded"}, "variant": "lora", "created_at": "2026-01-01"})
    (run.path / "progress.json").write_text(left)
    assert [found.summary()["state"] for found in runs(workspace)] == ["killed"]
    found = newest_run(workspace, "embedded", "lora")
    with found.hold():
        found.tell(Progress("training", 3, 9))
    (run.path / "progress.json").unlink()
    assert find_run(workspace, "mine").summary()["variant"] == "lora"


def test_a_damaged_run_is_listed_as_damaged_and_does_not_hide_the_others(workspace):
    for name in ("first", "second"):
        run = new_run(workspace, name, "")
        run.write("config.json", {"recipe": {"name": "embedded"}, "variant": "lora", "created_at": name})
        run.tell(Progress("stopped", 3, 9))
    (run.path / "config.json").write_text("")
    rows = {found.name: found.summary() for found in runs(workspace)}
    assert {name: row["state"] for name, row in rows.items()} == {"first": "stopped", "second": "damaged"}
    assert "second/config.json" in rows["second"]["message"]
    assert newest_run(workspace, "embedded", "lora").name == "first"
    assert [row["state"] for row in compare(runs(workspace))["runs"]].count("damaged") == 1
    with pytest.raises(TrainingError, match=r"second/config\.json"):
        launch.resume(workspace, "second")


def test_a_power_cut_finds_what_a_run_is_and_how_it_ended_on_the_disk(run, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    run.write("config.json", {"variant": "lora"})
    assert len(synced) == 1
    run.tell(Progress("training", 3, 9))
    assert len(synced) == 1  # steps do not wait for the disk
    run.tell(Progress("done", 9, 9))
    assert len(synced) == 2

"""train and runs as a person types them: on a fresh workspace, stopped, resumed, compared, shown."""

import json
import subprocess
import sys

import pytest

from vlm2vla.workspace import Workspace


def vlm2vla(*arguments, status=0):
    done = subprocess.run([sys.executable, "-m", "vlm2vla", *arguments, "--json"], capture_output=True, text=True)
    assert done.returncode == status, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_fresh_workspace_trains_on_the_sample_episodes(tmp_path, tiny_folder):
    place = ("--workspace", str(tmp_path / "ws"))
    train = ("train", "--preset", "embedded", "--variant", "lora", "--base-model", str(tiny_folder / "base"), *place)
    first = vlm2vla(*train, "--max-steps", "2")
    assert first["steps"] == 2
    assert first["loss"] > 0
    second = vlm2vla(*train, "--max-steps", "3", "--resume")
    assert (second["run"], second["resumed_from"], second["steps"]) == (first["run"], 2, 3)
    (listed,) = vlm2vla("runs", "list", *place)["runs"]
    assert (listed["run"], listed["state"], listed["step"]) == (first["run"], "stopped", 3)
    shown = vlm2vla("runs", "show", first["run"], *place)
    assert shown["data"]["train"]["kinds"].keys() == {"action", "completed", "direction"}
    assert len(vlm2vla("runs", "compare", *place)["curves"][first["run"]]) == 3
    assert not list(Workspace.open(tmp_path / "ws").episodes.glob("*.parquet"))


def test_what_cannot_be_trained_is_said_in_one_line(tmp_path):
    place = ("--workspace", str(tmp_path / "ws"))
    assert vlm2vla("train", "--resume", *place, status=1)["error"]["kind"] == "NotFoundError"
    failed = vlm2vla("train", "--base-model", str(tmp_path / "nowhere"), *place, status=1)
    assert failed["error"]["kind"] == "NotFoundError"
    assert vlm2vla("runs", "show", "nothing", *place, status=1)["error"]["kind"] == "NotFoundError"

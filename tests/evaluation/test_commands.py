"""The evaluation commands as a user runs them, over a tiny model of the real classes."""

import json
import os
import subprocess
import sys
import time

import pytest

from vlm2vla.evaluation.lines import read_lines
from vlm2vla.vlm.registry import ModelRegistry
from vlm2vla.workspace import Workspace

pytestmark = pytest.mark.slow


@pytest.fixture
def command(tmp_path, tiny_folder):
    registry = ModelRegistry(Workspace.open(tmp_path / "ws"))
    for name in ("base", "lora", "full"):
        registry.add(f"tiny-{name}", str(tiny_folder / name), base="" if name != "lora" else str(tiny_folder / "base"))

    def make(*arguments):
        head = [sys.executable, "-m", "vlm2vla", "evaluate", *map(str, arguments)]
        return [*head, "--workspace", str(tmp_path / "ws"), "--json"]

    return make


def ended(command, status=0):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == status, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_retention_of_real_weights_killed_and_resumed(command, shared_data, tmp_path):
    line = command(
        "vqa", "--models", "tiny-base,tiny-lora", "--set", shared_data / "vqa-mmbench", "--limit", 24, "--batch", 2
    )
    running = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    answers = tmp_path / "ws" / "evaluations" / "vqa"

    def stored():
        return [row["key"] for path in answers.glob("*/tiny-base-*/answers.jsonl") for row in read_lines(path)]

    end = time.monotonic() + 120
    while not stored() and running.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    running.kill()
    running.wait()
    before = stored()
    report = ended(line)
    assert report["scores"]["tiny-base"]["asked"] == 24 - len(before)
    assert stored()[: len(before)] == before
    assert len(stored()) == len(set(stored())) == 24
    assert set(report["retention"]) == {"tiny-lora"}
    again = ended(line)
    assert [row["asked"] for row in again["scores"].values()] == [0, 0]
    assert again["retention"] == report["retention"]
    page = ended(command("report"))
    assert page["answers"] == 48
    for folder in (answers.parent, answers.parent / "report" / "results"):
        assert (folder / "runs" / "tiny-lora" / "summary.json").is_file()


def test_mistakes_are_said_in_one_line(command):
    assert "tabletop" in ended(command("vqa", "--set", "tabeltop"), 1)["error"]["message"]
    assert "tiny-base" in ended(command("vqa", "--models", "tiny-bse"), 1)["error"]["message"]
    assert ended(command("report"), 1)["error"]["kind"] == "EvaluationError"
    assert "paper" in ended(command("rollouts", "--suite", "papr", "--models", "expert"), 1)["error"]["message"]

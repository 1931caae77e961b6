"""The commands as a user runs them: real processes, real Bridge episodes, one JSON object at the end."""

import json
import os
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def run(tmp_path):
    def call(*arguments: object, status: int = 0) -> dict:
        done = subprocess.run(
            [sys.executable, "-m", "vlm2vla", *map(str, arguments), "--workspace", str(tmp_path / "ws"), "--json"],
            capture_output=True,
            text=True,
        )
        assert done.returncode == status, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return call


def test_episodes_go_from_files_to_an_export(run, shared_data, tmp_path):
    report = run("import", shared_data / "octo-bridge-rlds")
    assert (report["episodes"], report["steps"], report["added"], report["errors"]) == (25, 250, 25, [])
    assert run("import", shared_data / "octo-bridge-rlds")["added"] == 0

    assert run("annotate", "--annotator", "kinematic")["annotated"] == 25
    again = run("annotate", "--annotator", "kinematic")
    assert (again["annotated"], again["skipped"], again["cost"]) == (0, 25, 0)

    checked = run("check")
    assert checked["annotated"] == 25
    assert checked["findings"]["error"] == 0
    assert checked["displacement_error_cm"]["median"] <= 0.5

    refused = run("export", "--format", "trl", "--out", tmp_path / "none", status=1)
    assert refused["error"]["kind"] == "ExportError"
    exported = run("export", "--format", "parquet", "--out", tmp_path / "out", "--include-unreviewed")
    assert exported["episodes"] == 25
    assert (tmp_path / "out" / "manifest.json").exists()


def test_one_flipped_byte_costs_exactly_one_record(run, shared_data, tmp_path):
    copy = tmp_path / "bridge"
    shutil.copytree(shared_data / "octo-bridge-rlds" / "bridge_dataset" / "1.0.0", copy)
    (shard,) = copy.glob("*.tfrecord*")
    shard.chmod(0o644)
    damaged = bytearray(shard.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    shard.write_bytes(damaged)
    report = run("import", copy)
    assert report["episodes"] == 24
    (error,) = report["errors"]
    assert error["kind"] == "CorruptRecordError"
    assert error["path"].endswith(shard.name)
    assert error["record"] is not None


def test_a_mistake_is_said_in_one_line(run, tmp_path):
    error = run("import", tmp_path / "nothing-here", status=1)["error"]
    assert "nothing-here" in error["message"]
    assert (
        run("annotate", "--annotator", "gemini", "--model", "gemini-3.8-flsh", status=1)["error"]["kind"]
        == "ConfigError"
    )


def test_wrong_arguments_end_with_status_two():
    done = subprocess.run([sys.executable, "-m", "vlm2vla", "imprt"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "import" in done.stdout + done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["runs", "list", "--json"]])
def test_a_reader_that_has_enough_is_no_error(arguments, tmp_path):
    command = [sys.executable, "-m", "vlm2vla", *arguments]
    home = os.environ | {"VLM2VLA_HOME": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=home) as process:
        process.stdout.close()
        assert process.stderr.read() == ""

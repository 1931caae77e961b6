"""The commands of a robot's own computer, with nothing installed but what requirements-robot.txt names."""

import json
import subprocess
import sys

from tests.robot_hardware.conftest import ROOT


def vlm2vla(*arguments):
    command = [sys.executable, "-m", "vlm2vla", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_keys_are_made_and_the_server_says_what_it_lacks(tmp_path):
    assert vlm2vla("robot-keys", "--name", "stretch", "--folder", tmp_path).returncode == 0
    assert "--allow" in vlm2vla("robot-server", "--help").stdout
    asked = vlm2vla("robot-server", "--key", tmp_path / "nothing.key", "--allow", tmp_path, "--json")
    assert asked.returncode == 1
    assert json.loads(asked.stdout.splitlines()[-1])["error"]["kind"] == "ConfigError"

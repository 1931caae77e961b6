"""Starting the studio as a user does."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_app_serves_on_this_computer_and_keeps_its_files_in_the_workspace(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "app.py", "--port", str(port), "--workspace", str(tmp_path / "work")]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                page = urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).read().decode()
                break
            except OSError:
                assert process.poll() is None, process.stderr.read()
                assert time.monotonic() < deadline, "the studio did not start"
                time.sleep(0.2)
        assert "VLM2VLA Studio" in page
        assert (tmp_path / "work" / "logs" / "studio.log").exists()
    finally:
        process.terminate()
        process.wait(20)


def test_app_refuses_an_open_door_in_one_line(tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "VLM2VLA_PASSWORD"}
    command = [sys.executable, "app.py", "--host", "0.0.0.0", "--workspace", str(tmp_path / "work")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 1
    assert done.stderr.startswith("error: 0.0.0.0 can be reached by other computers")

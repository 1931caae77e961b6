"""A run in a process of its own, killed with SIGKILL while requests are under way, and started again."""

import collections
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vlm2vla.annotation.staging import StagingFolder

EPISODES = 25
PROGRAM = Path(__file__).with_name("killable.py")


def start(staged, *arguments):
    return subprocess.Popen([sys.executable, PROGRAM, staged, *arguments], stdout=subprocess.PIPE, text=True)


def kill_after(process, server, replies):
    """SIGKILL once the server has sent so many paid replies, with requests under way."""
    deadline = time.monotonic() + 60
    while len(server.paid()) < replies or not server.under_way:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    process.wait()


def finish(process):
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return json.loads(out.splitlines()[-1])


@pytest.mark.slow
def test_killed_runs_lose_nothing_and_pay_nothing_twice(gemini_server, tmp_path):
    gemini_server.fault_rate, gemini_server.latency_s, gemini_server.hang_s = 0.2, 0.05, 0.3
    gemini_server.retry_delay_s = 0.1
    kill_after(start(tmp_path), gemini_server, 9)
    kill_after(start(tmp_path), gemini_server, 24)
    report = finish(start(tmp_path))

    staged = {row.episode_id: row for row in StagingFolder(tmp_path)}
    assert len(staged) == EPISODES, "none is lost"
    for row in staged.values():
        assert row.status == "annotated" or row.error["kind"].startswith("Model")
    assert report["annotated"] + report["skipped"] + report["failed"] + report["waiting"] == EPISODES
    replies = collections.Counter((row["episode"], row["kind"]) for row in gemini_server.paid())
    assert set(replies.values()) == {1}, "no episode is paid twice"
    received = sum(row.paid.replies for row in staged.values())
    unseen = len(gemini_server.paid()) - received
    uncertain = [row for row in staged.values() if row.error and "possibly_billed_usd" in row.error["details"]]
    assert 0 <= unseen <= len(uncertain) <= 8, "a reply that the killed run did not get is reported as possibly billed"

    gemini_server.fault_rate = 0.0
    report = finish(start(tmp_path, "retry"))
    assert (report["annotated"] + report["skipped"], report["failed"]) == (EPISODES, 0)
    assert {row.status for row in StagingFolder(tmp_path)} == {"annotated"}

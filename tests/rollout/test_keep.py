"""A rollout opens in the review like any other episode, with what the policy said as its labels."""

import json

import pytest

from vlm2vla import pipeline
from vlm2vla.config import ExportConfig
from vlm2vla.errors import InvalidEpisodeError
from vlm2vla.policy import Script, ScriptedPolicy, ScriptedVerifier
from vlm2vla.review import Review
from vlm2vla.robot.scripted import HandClock, ScriptedRobot
from vlm2vla.rollout import Trace, drive, record
from vlm2vla.rollout.keep import keep, write_trace
from vlm2vla.trajectories import write_lerobot

CYCLES = (
    Script("move forward, then close the gripper", ("not yet", "[[4.0, 0.0, 0.0, 1], [0.0, 0.0, 0.0, 0]]")),
    Script("move up", ("[[0.0, 0.0, 3.0, 0], [0.0, 0.0, 3.0, 0]]",)),
)


def driven(cycles=CYCLES) -> Trace:
    robot = ScriptedRobot(clock=HandClock(), speed_m_s=0.1)
    policy = ScriptedPolicy(("Grasp the cube", "Lift the cube"), cycles)
    trace = Trace("pick up the cube", robot.embodiment, policy.name)
    for _ in record(drive(robot, policy, ScriptedVerifier(), trace.instruction), trace):
        pass
    return trace


def test_a_rollout_is_reviewed_corrected_and_exported(workspace, tmp_path):
    path = write_trace(workspace.rollouts, driven(), "rows:0.5cm")
    events = [json.loads(line) for line in (path / "trace.jsonl").read_text().splitlines()]
    assert [row["kind"] for row in events][-1] == "Ended"
    assert any(row["kind"] == "PolicySaid" and "not yet" in json.dumps(row) for row in events)
    (episode_id,) = keep(workspace, [path])
    assert write_trace(workspace.rollouts, driven(), "rows:0.5cm") == path  # equal seeds, the same once more
    assert keep(workspace, [path]) == (episode_id,)

    review = Review(workspace)
    view = review.open(episode_id, "anna")
    assert [(span["text"], span["plan"]) for span in view["spans"]] == [
        ("Grasp the cube", "move forward, then close the gripper"),
        ("Lift the cube", "move up"),
    ]
    assert view["spans"][0]["sources"]["plan"] == "policy"
    assert review.frame(episode_id, view["cameras"][0], 0).exists()
    better = {"kind": "set_text", "uid": view["spans"][1]["uid"], "level": "subtask", "text": "Raise the cube"}
    view = review.edit(episode_id, view["revision"], better, "anna")
    accepted = {"kind": "set_status", "uid": None, "status": "accepted"}
    review.edit(episode_id, view["revision"], accepted, "anna")
    manifest = pipeline.export(ExportConfig(tmp_path / "out", format="trl", extra_samples=False), workspace)
    assert manifest.counts["subtasks"] == 2
    assert "Raise the cube" in (tmp_path / "out" / "metadata.jsonl").read_text()


def test_a_rollout_in_which_nothing_moved_is_no_episode(workspace):
    with pytest.raises(InvalidEpisodeError, match="nothing moved"):
        write_trace(workspace.rollouts, driven((Script("move up", ("nonsense",)),)), "rows:0.5cm")


def test_what_a_killed_process_left_half_written_is_replaced(workspace):
    path = write_trace(workspace.rollouts, driven(), "rows:0.5cm")
    whole = sorted(file.relative_to(path) for file in path.rglob("*"))
    (path / "said.json").unlink()
    (path / "trace.jsonl").write_text("half a line")
    assert write_trace(workspace.rollouts, driven(), "rows:0.5cm") == path
    assert sorted(file.relative_to(path) for file in path.rglob("*")) == whole
    assert len(keep(workspace, [path])) == 1
    assert list(workspace.rollouts.iterdir()) == [path]


def test_another_process_may_be_quicker_with_the_same_rollout(workspace, monkeypatch):
    written = []

    def slowly(out, episodes):
        if not written:
            written.append(out)
            written.append(write_trace(workspace.rollouts, driven(), "rows:0.5cm"))  # the other process
        return write_lerobot(out, episodes)

    monkeypatch.setattr("vlm2vla.rollout.keep.write_lerobot", slowly)
    path = write_trace(workspace.rollouts, driven(), "rows:0.5cm")
    assert path == written[1]
    assert list(workspace.rollouts.iterdir()) == [path]
    assert len(keep(workspace, [path])) == 1

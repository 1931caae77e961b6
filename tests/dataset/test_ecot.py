"""The ECoT export, read the way embodied chain-of-thought trainers read it."""

import json
from dataclasses import replace

import numpy as np
import pytest

from vlm2vla.dataset import LabelledEpisode, write_ecot
from vlm2vla.dataset.ecot import move_primitives


def reasoning_text(data, file_path, episode_id, step):
    """What a trainer puts together for one step; '' where it finds nothing."""
    entry = data[file_path][episode_id]
    if step not in entry["reasoning"]:
        return ""
    reasoning, features = entry["reasoning"][step], entry["features"]
    future: list = []
    positions = features["gripper_position"]
    if positions is not None and int(step) < len(positions):
        for ahead in range(5):
            future += positions[int(step) + ahead] if int(step) + ahead < len(positions) else future[-2:]
    boxes = features["bboxes"]
    parts = {
        "TASK": reasoning["task"],
        "PLAN": reasoning["plan"],
        "VISIBLE OBJECTS": "" if boxes is None else str(boxes[int(step)]),
        "SUBTASK REASONING": reasoning["subtask_reason"],
        "SUBTASK": reasoning["subtask"],
        "MOVE REASONING": reasoning["move_reason"],
        "MOVE": reasoning["move"],
        "GRIPPER POSITION": str(future) if future else "",
    }
    return "@".join(f"{name}:@{text}" for name, text in parts.items())


def load(config):
    return json.loads((config.out / "reasonings.json").read_text())


def test_a_trainer_finds_every_labelled_step_under_the_source_keys(config, items):
    write_ecot(config, items)
    data = load(config)
    assert list(data) == ["a/out.npy"]
    assert list(data["a/out.npy"]) == ["0", "1", "2"]
    text = reasoning_text(data, "a/out.npy", "1", "6")
    assert "TASK:@put the carrot on the plate@PLAN:@1. Reach for the carrot 2. Grasp the carrot" in text
    assert "SUBTASK:@Grasp the carrot@" in text
    assert text.endswith("GRIPPER POSITION:@")
    entry = data["a/out.npy"]["0"]
    assert list(entry["reasoning"]) == [str(step) for step in range(12)]
    assert len(entry["features"]["state_3d"]) == len(entry["features"]["move_primitive"]) == 12
    assert entry["features"]["state_3d"][5] == [0.3, 0.0, 0.1]
    assert entry["metadata"]["n_steps"] == 12


def test_nothing_is_invented(config, items):
    write_ecot(config, items)
    entry = load(config)["a/out.npy"]["0"]
    features = entry["features"]
    assert features["gripper_position"] is None
    assert features["gripper_positions"] is None
    assert features["bboxes"] is None
    assert "not known" in entry["metadata"]["pixel_space"]
    assert all(step["subtask_reason"] == "" for step in entry["reasoning"].values())


def test_rejected_steps_have_no_reasoning_and_leave_no_whole_plan(config, items):
    write_ecot(config, items)
    entry = load(config)["a/out.npy"]["2"]
    assert list(entry["reasoning"]) == [str(step) for step in [*range(5), *range(8, 12)]]
    assert {step["plan"] for step in entry["reasoning"].values()} == {""}
    assert reasoning_text(load(config), "a/out.npy", "2", "6") == ""


def test_episodes_of_one_file_need_not_follow_each_other(config, make):
    def one(number, path):
        episode = make.episode(number)
        return replace(episode, source=replace(episode.source, ids={"file_path": path, "episode_id": str(number)}))

    episodes = [one(0, "a"), one(1, "b"), one(2, "a")]
    write_ecot(config, (LabelledEpisode(make.annotation(episode), episode) for episode in episodes))
    assert {path: list(entries) for path, entries in load(config).items()} == {"a": ["0", "2"], "b": ["1"]}


def test_a_key_used_twice_is_reported(config, items, make):
    twin = replace(make.episode(5), source=items[0].episode.source)
    manifest = write_ecot(config, [*items, LabelledEpisode(make.annotation(twin), twin)])
    assert manifest.left_out["file_path and episode_id used twice"] == 1
    assert "kitchen-0005" in manifest.problems[0]


@pytest.mark.parametrize(
    ("axis", "sign", "words"),
    [
        (0, 1, "move forward"),
        (0, -1, "move backward"),
        (1, 1, "move left"),
        (1, -1, "move right"),
        (2, 1, "move up"),
        (2, -1, "move down"),
        (5, 1, "rotate counterclockwise"),
        (5, -1, "rotate clockwise"),
        (3, 1, "tilt up"),
        (4, -1, "tilt down"),
    ],
)
def test_primitives_name_directions(make, axis, sign, words):
    states = np.zeros((6, 7))
    states[:, axis] = sign * np.arange(6) * (0.02 if axis < 3 else 0.2)
    still = np.zeros((6, 7))
    assert move_primitives(make.episode(states=states, commands=still))[0] == words


def test_primitives_of_a_grasp_and_of_nothing(make):
    states = np.zeros((6, 7))
    states[:, 0] = states[:, 1] = 0.02 * np.arange(6)
    commands = np.zeros((6, 7))
    commands[:3, 6] = 1.0
    assert move_primitives(make.episode(states=states, commands=commands))[0] == "move forward left, close gripper"
    fast = np.zeros((6, 7))
    fast[:, 0], fast[:, 1] = 0.2 * np.arange(6), 0.04 * np.arange(6)  # 12 cm to the left, but a sixth of the motion
    assert move_primitives(make.episode(states=fast, commands=np.zeros((6, 7))))[0] == "move forward"
    assert move_primitives(make.episode(states=np.zeros((6, 7)), commands=np.zeros((6, 7)))) == ["stop"] * 6

"""LeRobot data sets of both layouts become episodes; a bad video costs a camera, bad numbers cost an episode."""

import json
import shutil

import av
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vlm2vla.config import ImportConfig
from vlm2vla.errors import CorruptRecordError, FormatError, InvalidEpisodeError, NotFoundError
from vlm2vla.trajectories import EpisodeIndex, detect, import_episodes, read, read_language, write_lerobot
from vlm2vla.trajectories.lerobot_columns import gripper_sense, quaternion_to_euler


def read_all(path, **options):
    errors = []
    return list(read(path, on_error=errors.append, **options)), errors


def test_version_21(tmp_path, lerobot):
    lerobot.v21(tmp_path / "set")
    assert detect(tmp_path) == "lerobot-v2"
    episodes, errors = read_all(tmp_path)
    assert errors == []
    for number, episode in enumerate(episodes):
        motion = lerobot.Motion(seed=number)
        np.testing.assert_allclose(episode.states, motion.states, atol=1e-7)
        np.testing.assert_array_equal(episode.commands, motion.commands)
        assert episode.instruction == f"put item {number} on plate"
        assert (episode.dataset, episode.rate_hz, episode.embodiment.name) == ("set", 5, "widowx")
        assert episode.source.ids == {"episode_index": str(number)}
        assert [lerobot.step_of(episode.image(step)) for step in range(12)] == list(range(12))
        assert list(episode.cameras) == ["top"]


def test_other_path_templates_and_the_set_is_indexed(tmp_path, lerobot, workspace):
    info = {"data_path": "d/{episode_index}.parquet", "video_path": "v/file_{episode_chunk:02d}/{video_key}.mp4"}
    lerobot.v21(tmp_path / "set", info=info)
    report = import_episodes(ImportConfig(tmp_path / "set"), workspace)
    assert (report.episodes, report.errors) == (2, ())
    index = EpisodeIndex(workspace)
    assert lerobot.step_of(index.get(index.ids()[1]).image(7)) == 7


@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "libsvtav1"])
@pytest.mark.parametrize("rate", [5, 20])
def test_frames_are_found_in_any_codec_and_when_the_container_lies_about_its_rate(tmp_path, lerobot, codec, rate):
    lerobot.v21(tmp_path, episodes=1, rate=rate, codec=codec)
    (episode,), errors = read_all(tmp_path)
    assert errors == []
    assert episode.rate_hz == 5
    order = [0, 1, 2, 9, 3, 11, 0, 5, 6, 6]
    assert [lerobot.step_of(episode.image(step)) for step in order] == order


def test_the_person_may_set_the_rate_and_frames_stay_right(tmp_path, lerobot):
    lerobot.v21(tmp_path, episodes=1, info={"fps": 20}, columns=lambda i: {"timestamp": np.arange(12) / 20}, rate=20)
    (episode,), _ = read_all(tmp_path, rate_hz=5)
    assert episode.rate_hz == 5
    assert lerobot.step_of(episode.image(11)) == 11


def test_irregular_timestamps_find_their_frames(tmp_path, lerobot):
    times = np.array([0, 1, 2, 5, 6, 7, 8, 9]) / 5

    def gap(i):
        motion = lerobot.Motion(steps=8)
        rows = {"observation.state": motion.states.tolist(), "action": motion.commands.tolist(), "timestamp": times}
        short = {name: np.arange(8) for name in ("frame_index", "index")}
        return (
            rows
            | short
            | {"annotation.anything": None}
            | {n: np.zeros(8, int) for n in ("episode_index", "task_index")}
        )

    lerobot.v21(tmp_path, episodes=1, columns=gap)
    (episode,), errors = read_all(tmp_path)
    assert errors == []
    assert [lerobot.step_of(episode.image(step)) for step in range(8)] == [0, 1, 2, 5, 6, 7, 8, 9]


def remove(path, lerobot):
    path.unlink()


def break_header(path, lerobot):
    path.write_bytes(b"\x00" * 2000)


def cut(path, lerobot):
    path.write_bytes(path.read_bytes()[:-1000])


def shorten(path, lerobot):
    lerobot.video(path, 7)


def scramble(path, lerobot):
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    end = start + 1500
    data[start:end] = b"\xff" * (end - start)
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [remove, break_header, cut, shorten, scramble])
def test_missing_or_broken_video_costs_the_camera_only(tmp_path, lerobot, workspace, damage):
    root = lerobot.v21(tmp_path / "set")
    video = root / "videos/chunk-001/observation.images.top/episode_000001.mp4"
    damage(video, lerobot)
    report = import_episodes(ImportConfig(root), workspace)
    assert report.episodes == 2
    (error,) = report.errors
    assert (error["kind"], error["path"], error["record"]) == ("CorruptRecordError", str(video), 1)
    assert "top left out" in error["message"]
    index = EpisodeIndex(workspace)
    assert [list(index.get(id).cameras) for id in index.ids()] == [["top"], []]
    # Once the video is there, importing again brings the camera.
    lerobot.video(video, 12)
    assert import_episodes(ImportConfig(root), workspace).updated == 1
    assert lerobot.step_of(index.get(index.ids()[1]).image(3)) == 3


def test_black_video_is_a_placeholder(tmp_path, lerobot):
    root = lerobot.v21(tmp_path, episodes=1)
    video = next(root.rglob("*.mp4"))
    lerobot.video(video, 12, picture=lambda step: np.zeros((32, 48, 3), np.uint8))
    (episode,), errors = read_all(root)
    assert errors == []
    assert not episode.cameras
    assert any("top left out" in note for note in episode.notes)


def test_video_gone_after_import(tmp_path, lerobot):
    root = lerobot.v21(tmp_path, episodes=1)
    (episode,), _ = read_all(root)
    next(root.rglob("*.mp4")).unlink()
    with pytest.raises(CorruptRecordError, match="is gone"):
        episode.frame(0)


def nan(states):
    states[3][1] = float("nan")


def ragged(states):
    states[3] = states[3][:5]


def far(states):
    for row in states:
        row[0] *= 100


@pytest.mark.parametrize(
    ("change", "message"), [(nan, "not finite"), (ragged, "different length"), (far, "centimetres")]
)
def test_bad_numbers_cost_their_episode(tmp_path, lerobot, change, message):
    def columns(i):
        states = lerobot.Motion(seed=i).states.astype(float).tolist()
        if i == 1:
            change(states)
        return {"observation.state": states}

    root = lerobot.v21(tmp_path, episodes=3, columns=columns)
    episodes, errors = read_all(root)
    assert [episode.source.ids["episode_index"] for episode in episodes] == ["0", "2"]
    (error,) = errors
    assert isinstance(error, InvalidEpisodeError)
    assert message in str(error)
    assert (error.path, error.record) == (str(root / "data/chunk-001/episode_000001.parquet"), 1)


def test_damaged_files_cost_their_episodes(tmp_path, lerobot):
    root = lerobot.v21(tmp_path, episodes=5)
    (root / "data/chunk-000/episode_000000.parquet").unlink()
    (root / "data/chunk-001/episode_000001.parquet").write_bytes(b"PAR1")
    pq.write_table(pa.table({"timestamp": [0.0, 0.2]}), root / "data/chunk-002/episode_000002.parquet")
    lines = (root / "meta/episodes.jsonl").read_text().splitlines()
    (root / "meta/episodes.jsonl").write_text("\n".join([*lines[:3], "{", '{"x": 1}', lines[4]]))
    episodes, errors = read_all(root)
    assert [episode.source.ids["episode_index"] for episode in episodes] == ["4"]
    assert [(type(error).__name__, error.record) for error in errors] == [
        ("CorruptRecordError", 0),
        ("CorruptRecordError", 1),
        ("InvalidEpisodeError", 2),
        ("CorruptRecordError", 4),
        ("CorruptRecordError", 5),
    ]


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({"codebase_version": "v9.0"}, "not known"),
        ({"robot_type": "toaster"}, "toaster"),
        ({"fps": 0}, "fps"),
        ({"features": {"observation.state": {"dtype": "float32", "shape": [6]}}}, "end-effector pose"),
        ({"robot_type": "franka", "features": {"observation.state": {"dtype": "float32", "shape": [7]}}}, "joint"),
    ],
)
def test_data_sets_that_cannot_be_read_say_why(tmp_path, lerobot, info, message):
    root = lerobot.v21(tmp_path, episodes=1)
    path = root / "meta" / "info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | info))
    with pytest.raises(FormatError, match=message):
        list(read(root))


def test_a_template_that_leads_out_of_the_set_is_refused(tmp_path, lerobot):
    root = lerobot.v21(tmp_path / "set", episodes=1)
    path = root / "meta" / "info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"data_path": "../../{episode_index}.parquet"}))
    with pytest.raises(CorruptRecordError, match="leads out"):
        list(read(root))


def test_missing_task_is_an_invalid_episode(tmp_path, lerobot):
    root = lerobot.v21(tmp_path, episodes=1)
    (root / "meta/tasks.jsonl").write_text('{"task_index": 0, "task": " "}')
    (root / "meta/episodes.jsonl").write_text('{"episode_index": 0, "tasks": []}')
    with pytest.raises(InvalidEpisodeError, match="no instruction"):
        list(read(root))


def test_quaternions_become_angles(tmp_path, lerobot):
    angles = np.array([[0.1, -0.2, 0.3], [0.4, 0.5, -2.5]])
    roll, pitch, yaw = angles.T / 2
    quaternions = np.stack(
        [
            np.sin(roll) * np.cos(pitch) * np.cos(yaw) - np.cos(roll) * np.sin(pitch) * np.sin(yaw),
            np.cos(roll) * np.sin(pitch) * np.cos(yaw) + np.sin(roll) * np.cos(pitch) * np.sin(yaw),
            np.cos(roll) * np.cos(pitch) * np.sin(yaw) - np.sin(roll) * np.sin(pitch) * np.cos(yaw),
            np.cos(roll) * np.cos(pitch) * np.cos(yaw) + np.sin(roll) * np.sin(pitch) * np.sin(yaw),
        ],
        axis=1,
    )
    np.testing.assert_allclose(quaternion_to_euler(quaternions * 3), angles, atol=1e-12)
    names = ["ee_x", "ee_y", "ee_z", "ee_qx", "ee_qy", "ee_qz", "ee_qw", "gripper_open"]

    def columns(i):
        motion = lerobot.Motion()
        turned = np.tile([0, 0, np.sin(0.2), np.cos(0.2)], (12, 1))
        return {"observation.state": np.hstack([motion.states[:, :3], turned, motion.states[:, 6:]]).tolist()}

    features = {
        "observation.state": {"dtype": "float32", "shape": [8], "names": names},
        "action": {"dtype": "float32", "shape": [7], "names": None},
    }
    (episode,), _ = read_all(lerobot.v21(tmp_path, episodes=1, info={"features": features}, columns=columns))
    np.testing.assert_allclose(episode.states[:, 3:6], np.tile([0, 0, 0.4], (12, 1)), atol=1e-7)
    np.testing.assert_allclose(episode.states[:, 6], lerobot.Motion().states[:, 6])


def test_images_in_the_table(tmp_path, lerobot):
    features = {
        "observation.image": {"dtype": "image", "shape": [32, 48, 3]},
        "observation.images.dummy": {"dtype": "image", "shape": [32, 48, 3]},
        "observation.state": {"dtype": "float32", "shape": [8], "names": None},
    }

    def columns(i):
        motion = lerobot.Motion()
        padded = np.insert(motion.states, 6, 0, axis=1)
        images = [{"bytes": lerobot.png(step), "path": f"{step}.png"} for step in range(12)]
        return {
            "observation.state": padded.tolist(),
            "observation.image": images,
            "observation.images.dummy": images[:1] * 12,
        }

    root = lerobot.v21(tmp_path, episodes=1, info={"features": features}, columns=columns)
    (episode,), errors = read_all(root)
    assert errors == []
    assert list(episode.cameras) == ["image"]
    assert [lerobot.step_of(episode.image(step)) for step in range(12)] == list(range(12))
    np.testing.assert_allclose(episode.states, lerobot.Motion().states, atol=1e-7)
    assert episode.commands is None


def test_subtask_index_of_the_middle_generation(tmp_path, lerobot):
    labels = [2] * 5 + [0] * 4 + [-1] * 3
    root = lerobot.v21(tmp_path, episodes=1, columns=lambda i: {"subtask_index": labels})
    names = ["close the gripper", "never used", "reach down"]
    pd.DataFrame({"subtask_index": range(3)}, index=pd.Index(names, name="subtask")).to_parquet(
        root / "meta/subtasks.parquet"
    )
    (episode,), _ = read_all(root)
    spans = [(subtask.text, subtask.start_step, subtask.end_step) for subtask in episode.subtasks]
    assert spans == [("reach down", 0, 5), ("close the gripper", 5, 9)]
    assert read_language(root, 0).subtasks == episode.subtasks
    with pytest.raises(NotFoundError):
        read_language(root, 5)


def test_persistent_and_event_rows_of_the_newest_generation(tmp_path, lerobot):
    row = {"role": "assistant", "camera": None, "tool_calls": None}
    persistent = [
        {**row, "style": "subtask", "content": "reach", "timestamp": 0.0},
        {**row, "style": "motion", "content": "down", "timestamp": 0.0},
        {**row, "style": "subtask", "content": "grasp", "timestamp": float(np.float32(1.4))},
        {**row, "style": "task_aug", "content": "other words", "role": "user", "timestamp": 0.0},
    ]
    event = {**row, "style": "vqa", "content": "what?", "camera": "observation.images.top"}
    columns = {"language_persistent": [persistent] * 12, "language_events": [[]] * 4 + [[event]] + [[]] * 7}
    root = lerobot.v21(tmp_path, episodes=1, columns=lambda i: columns)
    (episode,), _ = read_all(root)
    assert [(s.text, s.start_step, s.end_step) for s in episode.subtasks] == [("reach", 0, 7), ("grasp", 7, 12)]
    assert episode.paraphrases == ("other words",)
    language = read_language(root, 0)
    assert [row["style"] for row in language.persistent] == ["subtask", "motion", "subtask", "task_aug"]
    assert [(step, row["content"]) for step, row in language.events] == [(4, "what?")]


def fingers(closes_when_high, grows_when_closing):
    """Commands, measured and target position of a grasp: an object stops the fingers half way."""
    closed = np.r_[np.zeros(30), np.ones(40), np.zeros(30)].astype(bool)
    measured = np.where(closed, 0.5, 0.0)
    target = np.where(closed, 0.8, 0.0)
    if not grows_when_closing:
        measured, target = 0.8 - measured, 0.8 - target
    return np.where(closed == closes_when_high, 1.0, -1.0), measured, target


@pytest.mark.parametrize("closes_when_high", [True, False])
@pytest.mark.parametrize("grows_when_closing", [True, False])
def test_gripper_sense_is_found_in_the_numbers(closes_when_high, grows_when_closing):
    sense = gripper_sense(*fingers(closes_when_high, grows_when_closing), rate_hz=30)
    assert (sense.closes_when_high, sense.grows_when_closing, sense.tested) == (
        closes_when_high,
        grows_when_closing,
        True,
    )


def test_gripper_sense_that_cannot_be_tested_says_so():
    command, measured, target = fingers(True, True)
    assert not gripper_sense(np.ones(100), measured, target, 30).tested
    assert not gripper_sense(command, target, target, 30).tested
    assert not gripper_sense(command, np.zeros(100), target, 30).tested


def test_command_and_measurement_that_disagree_are_refused(tmp_path, lerobot):
    def columns(i):
        commands = lerobot.Motion().commands
        commands[:, 6] = 1 - commands[:, 6]
        return {"action": commands.tolist()}

    with pytest.raises(InvalidEpisodeError, match="against each other"):
        list(read(lerobot.v21(tmp_path, episodes=1, columns=columns)))


def test_version_30_with_one_large_row_group_and_a_missing_video(tmp_path, lerobot, rlds):
    """As older 3.0 writers do it: all episodes in one row group."""
    rlds.write(tmp_path / "rlds", rlds.episodes(3))
    originals = list(read(tmp_path / "rlds"))
    root = tmp_path / "v3"
    write_lerobot(root, ((episode, []) for episode in originals))
    data = root / "data/chunk-000/file-000.parquet"
    pq.write_table(pq.read_table(data), data)
    assert detect(root) == "lerobot-v3"
    episodes, errors = read_all(root)
    assert errors == []
    for original, episode in zip(originals, episodes, strict=True):
        np.testing.assert_allclose(episode.states, original.states, atol=1e-7)
    shutil.rmtree(root / "videos")
    episodes, errors = read_all(root)
    # The file is shared by all episodes: one error, not one per episode.
    assert (len(episodes), len(errors)) == (3, 1)
    assert all(any("left out" in note for note in episode.notes) for episode in episodes)


def test_real_sample(shared_data, workspace):
    root = shared_data / "lerobot21-internvla"
    report = import_episodes(ImportConfig(root), workspace)
    assert (report.episodes, report.steps, report.added) == (4, 1667, 4)
    # 12 videos are named, 3 are there.
    assert len(report.errors) == 9
    assert {error["kind"] for error in report.errors} == {"CorruptRecordError"}
    index = EpisodeIndex(workspace)
    episodes = list(index.episodes())
    assert [list(episode.cameras) for episode in episodes] == [[], [], ["base_view", "ego_view"], ["ego_view"]]
    for number, episode in enumerate(episodes):
        assert (episode.embodiment.name, episode.rate_hz) == ("franka", 30)
        table = pq.read_table(root / f"sim_pick_place/data/chunk-000/episode_{number:06d}.parquet")
        expected = np.array(table.column("state.eef_position").to_pylist())
        np.testing.assert_array_equal(episode.states[:, :3], expected)
        # Picks and places: open, closed, open; closed while the command says +1.
        close = np.array(table.column("action.gripper_close").to_pylist()).ravel()
        np.testing.assert_array_equal(episode.commands[:, 6], close < 0)
        assert episode.states[[0, -1], 6].min() > 0.98
        assert episode.states[close > 0, 6].min() < 0.6
        assert any("tested on the numbers" in note for note in episode.notes)
    assert episodes[0].instruction == "Move the shoe to the top of the cooking pot."


def test_real_av1_frames_equal_a_plain_decoding(shared_data):
    root = shared_data / "lerobot21-internvla" / "sim_pick_place"
    episodes, _ = read_all(root)
    frames = episodes[2].cameras["base_view"]
    wanted = [0, 1, 2, 60, 61, 397, 200, 5]
    with av.open(str(root / "videos/chunk-000/video.base_view/episode_000002.mp4")) as container:
        plain = {i: f.to_ndarray(format="rgb24") for i, f in enumerate(container.decode(video=0)) if i in wanted}
    for step in wanted:
        np.testing.assert_array_equal(frames.pixels(step), plain[step])
    assert episodes[2].image(397, "base_view").size == (640, 480)

"""Bridge in RLDS form becomes episodes, and its traps do not get through."""

import struct

import numpy as np
import pytest

from vlm2vla.errors import CorruptRecordError, FormatError, InvalidEpisodeError
from vlm2vla.motion import unwrap_angles
from vlm2vla.trajectories import detect, read


def read_all(path):
    errors = []
    return list(read(path, on_error=errors.append)), errors


def test_flat_form(tmp_path, rlds):
    rlds.write(tmp_path / "set" / "1.0.0", rlds.episodes(3))
    assert detect(tmp_path) == "bridge-rlds"
    episodes, errors = read_all(tmp_path)
    assert errors == []
    assert [episode.source.ids["episode_id"] for episode in episodes] == ["0", "1", "2"]
    motion = rlds.Motion(seed=1)
    episode = episodes[1]
    np.testing.assert_allclose(episode.states, motion.states, atol=1e-7)
    np.testing.assert_array_equal(episode.commands, motion.commands)
    assert (episode.dataset, episode.rate_hz, episode.embodiment.name) == ("bridge_dataset", 5.0, "widowx")
    assert episode.instruction == "put carrot on plate"
    assert episode.source.ids["file_path"] == "/somewhere/toysink/out.npy"
    assert episode.image(3).size == (16, 16)
    assert episode.frame(3) != episode.frame(4)


def test_constant_camera_is_left_out_whatever_the_flags_say(tmp_path, rlds):
    rlds.write(tmp_path, rlds.episodes(1))
    (episode,), _ = read_all(tmp_path)
    # has_image_0 is 0 in the file although the pictures are real; image_1 is one picture repeated.
    assert list(episode.cameras) == ["image_0"]
    assert any("image_1 left out" in note for note in episode.notes)


def test_older_form_with_three_action_features(tmp_path, rlds):
    motion = rlds.Motion(seed=4)
    rlds.write(tmp_path, [rlds.older(motion)], name="bridge", form="dict")
    (episode,), errors = read_all(tmp_path)
    assert errors == []
    np.testing.assert_array_equal(episode.commands, motion.commands)
    assert list(episode.cameras) == ["image"]
    assert (episode.dataset, episode.instruction) == ("bridge", motion.instruction)


def test_angles_are_unwrapped(tmp_path, rlds):
    motion = rlds.Motion()
    motion.states[:, 5] = np.linspace(3.0, 3.5, len(motion.states))
    expected = motion.states[:, 5].copy()
    motion.states[:, 5] = (motion.states[:, 5] + np.pi) % (2 * np.pi) - np.pi
    rlds.write(tmp_path, [rlds.flat(motion)])
    (episode,), _ = read_all(tmp_path)
    np.testing.assert_allclose(episode.states[:, 5], expected, atol=1e-6)


def bad_motion(rlds, change):
    motion = rlds.Motion()
    change(motion)
    return motion


def scale_positions(motion):
    motion.states[:, :3] *= 1000


def nan_state(motion):
    motion.states[4, 2] = np.nan


def jump(motion):
    motion.states[6:, 0] += 0.25


def rescaled_actions(motion):
    motion.commands[:, :3] = np.clip(motion.commands[:, :3] / 0.05 * 1.75 * 5, -1.74, 1.74)
    motion.commands[:, 3:6] = np.clip(motion.commands[:, 3:6] / 0.25 * 1.4, -1.39, 1.39)
    motion.commands[:, 6] = 1 - 2 * motion.commands[:, 6]


def flipped_gripper(motion):
    motion.commands[:, 6] = 1 - 2 * motion.commands[:, 6]


def degrees(motion):
    motion.states[:, 3:6] = 90


def no_instruction(motion):
    motion.instruction = " "


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (scale_positions, "millimetres"),
        (nan_state, "not finite, the first at step 4, value 2"),
        (jump, "jumps 25 cm from step 5"),
        (rescaled_actions, r"0\.05 / 1\.75"),
        (flipped_gripper, r"open = \(value < 0\)"),
        (degrees, "pi / 180"),
        (no_instruction, "no instruction"),
    ],
)
def test_wrong_numbers_are_refused_with_the_remedy_and_the_rest_is_read(tmp_path, rlds, change, message):
    episodes = rlds.episodes(3)
    episodes[1] = rlds.flat(bad_motion(rlds, change), 1)
    shard = rlds.write(tmp_path, episodes)
    good, errors = read_all(tmp_path)
    assert [episode.source.ids["episode_id"] for episode in good] == ["0", "2"]
    assert len(errors) == 1
    assert isinstance(errors[0], InvalidEpisodeError)
    assert (errors[0].path, errors[0].record) == (str(shard), 1)
    with pytest.raises(InvalidEpisodeError, match=message):
        raise errors[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"action": np.zeros((11, 7), np.float32)}, "11 actions for 12 steps"),
        ({"action": np.zeros(85, np.float32)}, "85 values"),
        ({"observation/state": np.zeros((5, 7), np.float32)}, "5 states for 12 steps"),
        ({"observation/state": None}, "0 states"),
        ({"language_instruction": None}, "no instruction"),
    ],
)
def test_wrong_shapes(tmp_path, rlds, changes, message):
    shard = rlds.write(tmp_path, [rlds.flat(rlds.Motion(), **changes), rlds.flat(rlds.Motion(seed=1), 1)])
    good, errors = read_all(tmp_path)
    assert len(good) == 1
    assert message in str(errors[0])
    assert (errors[0].path, errors[0].record) == (str(shard), 0)


def test_a_record_that_is_no_example_is_reported(tmp_path, rlds):
    shard = rlds.write(tmp_path, rlds.episodes(2))
    shard.write_bytes(rlds.record(b"\xff" * 40) + shard.read_bytes())
    good, errors = read_all(tmp_path)
    assert len(good) == 2
    assert isinstance(errors[0], CorruptRecordError)
    assert errors[0].record == 0


def test_metadata_problems(tmp_path, rlds):
    shard = rlds.write(tmp_path, rlds.episodes(1))
    (tmp_path / "features.json").unlink()
    with pytest.raises(FormatError, match=r"features\.json is missing"):
        list(read(tmp_path))
    (tmp_path / "features.json").write_text("{")
    with pytest.raises(FormatError, match="JSON"):
        list(read(shard))
    (tmp_path / "features.json").write_text('{"featuresDict": {"features": {}}}')
    with pytest.raises(FormatError, match="7 values"):
        list(read(tmp_path))


def test_frames_of_a_moved_shard_say_so(tmp_path, rlds):
    shard = rlds.write(tmp_path, rlds.episodes(1))
    (episode,), _ = read_all(tmp_path)
    shard.rename(tmp_path / "elsewhere")
    with pytest.raises(CorruptRecordError, match="is gone"):
        episode.frame(0)


def test_the_same_content_has_the_same_id_anywhere(tmp_path, rlds):
    rlds.write(tmp_path / "here", rlds.episodes(2))
    rlds.write(tmp_path / "there" / "deep", rlds.episodes(2)[::-1], split="val")
    here, there = (read_all(tmp_path / name)[0] for name in ("here", "there"))
    assert [episode.id for episode in here] == [episode.id for episode in there][::-1]
    assert here[0].id != here[1].id


def test_real_sample_equals_an_independent_decoding(shared_data):
    """Search the bytes for the float lists instead of parsing the messages."""
    path = shared_data / "octo-bridge-rlds"
    episodes, errors = read_all(path)
    assert errors == []
    assert (len(episodes), sum(map(len, episodes))) == (25, 250)
    (shard,) = path.rglob("*.tfrecord*")
    data, position = shard.read_bytes(), 0
    for episode in episodes:
        (length,) = struct.unpack_from("<Q", data, position)
        record = data[position + 12 : position + 12 + length]
        position += 16 + length
        for key, values in (("steps/observation/state", episode.states), ("steps/action", episode.commands)):
            # key, then value, feature, list and packed payload headers: the payload is 10 * 7 * 4 = 280 bytes.
            start = record.index(b"\x0a\x98\x02", record.index(key.encode() + b"\x12")) + 3
            expected = np.frombuffer(record[start : start + 280], "<f4").reshape(10, 7).astype(float)
            np.testing.assert_array_equal(values, unwrap_angles(expected) if "state" in key else expected)
        assert episode.frame(7, "image_2") in record
    assert {tuple(episode.cameras) for episode in episodes} == {("image_0", "image_1", "image_2")}
    positions = np.concatenate([episode.states[:, :3] for episode in episodes])
    np.testing.assert_allclose(positions.min(axis=0), [0.206, -0.104, 0.060], atol=1e-3)
    np.testing.assert_allclose(positions.max(axis=0), [0.358, 0.122, 0.217], atol=1e-3)


def test_commands_that_cannot_be_motion_are_noted(tmp_path, rlds):
    motion = rlds.Motion()
    motion.commands[:, 2] = 0.05
    rlds.write(tmp_path, [rlds.flat(motion), rlds.flat(rlds.Motion(seed=1), 1)])
    (noisy, normal), _ = read_all(tmp_path)
    assert any("more in z than the robot moved" in note for note in noisy.notes)
    assert not any("than the robot moved" in note for note in normal.notes)


def test_pictures_of_equal_size_are_not_taken_for_one_placeholder(tmp_path, rlds):
    frames = [b"\xff\xd8" + bytes([step]) for step in range(12)]
    rlds.write(tmp_path, [rlds.flat(rlds.Motion(), **{"observation/image_1": frames})])
    (episode,), _ = read_all(tmp_path)
    assert list(episode.cameras) == ["image_0", "image_1"]

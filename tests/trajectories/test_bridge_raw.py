"""Raw Bridge folders: numbers from pickles, frames in the order of their numbers, alignment by rule."""

import os
import pickle

import numpy as np
import pytest

from vlm2vla.config import ImportConfig
from vlm2vla.errors import CorruptRecordError, InvalidEpisodeError, UnsafePickleError
from vlm2vla.trajectories import EpisodeIndex, detect, import_episodes, read


@pytest.fixture
def raw(tmp_path, rlds):
    """Writes one trajectory folder with one frame more than actions."""

    def make(number=0, day="2022-03-04", steps=12, lines=("put carrot on plate", "confidence: 1"), bare=False):
        folder = (
            tmp_path / "data" / "toysink" / "put" / "00" / f"{day}_10-11-12" / "raw" / "traj_group0" / f"traj{number}"
        )
        for camera in ("images0", "images1", "depth_images0"):
            (folder / camera).mkdir(parents=True)
        motion = rlds.Motion(steps=steps, seed=number)
        for i in range(steps):
            (folder / "images0" / f"im_{i}.jpg").write_bytes(b"\xff\xd8" + bytes([i]))
            (folder / "images1" / f"im_{i}.jpg").write_bytes(b"\xff\xd8same")
        rows = [row.astype(float) for row in motion.commands[:-1]]
        rows[0] = np.zeros(7, np.int64)
        (folder / "policy_out.pkl").write_bytes(pickle.dumps(rows if bare else [{"actions": row} for row in rows]))
        observations = {"full_state": motion.states.astype(float), "time_stamp": list(range(steps))}
        (folder / "obs_dict.pkl").write_bytes(pickle.dumps(observations))
        (folder / "agent_data.pkl").write_bytes(b"never opened")
        (folder / "lang.txt").write_text("\n".join(lines))
        return folder, motion

    return make


def read_all(path):
    errors = []
    return list(read(path, on_error=errors.append)), errors


@pytest.mark.parametrize("bare", [False, True])
def test_folder_becomes_an_episode(tmp_path, raw, bare):
    folder, motion = raw(
        lines=("", "Put the Carrot on plate ", "confidence: 0.4", "move carot", "Confidence: 1"), bare=bare
    )
    assert detect(tmp_path) == "bridge-raw"
    (episode,), errors = read_all(tmp_path)
    assert errors == []
    assert (episode.instruction, episode.paraphrases) == ("Put the Carrot on plate", ("move carot",))
    np.testing.assert_allclose(episode.states, motion.states, atol=1e-7)
    assert len(episode.commands) == len(episode) == 12
    np.testing.assert_array_equal(episode.commands[1:11], motion.commands[1:11])
    np.testing.assert_array_equal(episode.commands[11], [0, 0, 0, 0, 0, 0, motion.commands[10, 6]])
    # Frame 10 is im_10, although it sorts before im_2 by name; the constant camera is left out.
    assert [episode.frame(i)[2] for i in range(12)] == list(range(12))
    assert list(episode.cameras) == ["images0"]
    assert any("images1 left out" in note for note in episode.notes)
    assert any("one frame more" in note for note in episode.notes)


def test_early_recordings_lose_first_frame_and_last_action(raw, tmp_path):
    _, motion = raw(day="2021-07-22")
    (episode,), _ = read_all(tmp_path)
    assert len(episode) == 11
    np.testing.assert_allclose(episode.states, motion.states[1:], atol=1e-7)
    np.testing.assert_array_equal(episode.commands[1:10], motion.commands[1:10])
    assert episode.commands[10, :6].tolist() == [0] * 6
    assert [episode.frame(i)[2] for i in (0, 10)] == [1, 11]
    assert any("2021-07-23" in note for note in episode.notes)


def test_the_day_itself_is_not_early(raw, tmp_path):
    raw(day="2021-07-23")
    (episode,), _ = read_all(tmp_path)
    assert len(episode) == 12


def test_bad_folders_are_reported_and_the_others_imported(raw, tmp_path, workspace):
    folders = [raw(i)[0] for i in range(8)]
    (folders[1] / "lang.txt").write_text("confidence: 1\n")
    (folders[2] / "lang.txt").unlink()

    class Runs:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    (folders[3] / "policy_out.pkl").write_bytes(pickle.dumps([Runs()]))
    (folders[4] / "obs_dict.pkl").write_bytes((folders[4] / "obs_dict.pkl").read_bytes()[:-60])
    (folders[5] / "obs_dict.pkl").unlink()
    (folders[6] / "policy_out.pkl").write_bytes(pickle.dumps([np.zeros(7)] * 5))
    (folders[7] / "images0" / "im_4.jpg").unlink()
    report = import_episodes(ImportConfig(tmp_path / "data"), workspace)
    # The last one lost a camera, not its numbers.
    assert (report.episodes, report.added) == (2, 2)
    kinds = {error["path"]: error["kind"] for error in report.errors}
    assert kinds == {
        str(folders[1]): "InvalidEpisodeError",
        str(folders[2] / "lang.txt"): "InvalidEpisodeError",
        str(folders[3] / "policy_out.pkl"): "UnsafePickleError",
        str(folders[4] / "obs_dict.pkl"): "CorruptRecordError",
        str(folders[5] / "obs_dict.pkl"): "CorruptRecordError",
        str(folders[6]): "InvalidEpisodeError",
        str(folders[7] / "images0"): "CorruptRecordError",
    }
    assert not (tmp_path / "ran").exists()
    index = EpisodeIndex(workspace)
    assert [list(index.get(id).cameras) for id in index.ids()] == [["images0"], []]


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("obs_dict.pkl", {"qpos": np.zeros((12, 6))}, InvalidEpisodeError, "full_state among the observations"),
        ("obs_dict.pkl", {"full_state": np.zeros((12, 6))}, InvalidEpisodeError, r"\[12, 6\]"),
        ("policy_out.pkl", [], InvalidEpisodeError, "no actions"),
        ("policy_out.pkl", [{"other": 1}] * 11, InvalidEpisodeError, "not"),
        ("policy_out.pkl", [np.zeros(7), np.zeros(6)], InvalidEpisodeError, "equal length"),
        ("obs_dict.pkl", {"full_state": np.array([object()], dtype=object)}, UnsafePickleError, "object"),
    ],
)
def test_wrong_contents(raw, tmp_path, name, content, error, message):
    folder, _ = raw()
    (folder / name).write_bytes(pickle.dumps(content))
    with pytest.raises(error, match=message):
        list(read(tmp_path))


def test_missing_frame_after_import(raw, tmp_path, workspace):
    folder, _ = raw()
    import_episodes(ImportConfig(tmp_path / "data"), workspace)
    index = EpisodeIndex(workspace)
    episode = index.get(index.ids()[0])
    assert episode.frame(3) == (folder / "images0" / "im_3.jpg").read_bytes()
    (folder / "images0" / "im_3.jpg").unlink()
    with pytest.raises(CorruptRecordError, match="new place"):
        episode.frame(3)

"""What the LeRobot writer writes is what went in, in the layout that lerobot reads, or nothing at all."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from vlm2vla.embodiment import FRANKA
from vlm2vla.errors import CorruptRecordError, ExportError
from vlm2vla.trajectories import lerobot_files, lerobot_writer, read, read_language, write_lerobot


@pytest.fixture
def episodes(tmp_path, lerobot):
    """Four episodes of 12 steps with frames that tell their step."""
    lerobot.v21(tmp_path / "source", episodes=4)
    return list(read(tmp_path / "source"))


def row(style, content, timestamp=0.0, **changes):
    return {
        "role": "user" if style == "task_aug" else "assistant",
        "content": content,
        "style": style,
        "timestamp": timestamp,
        "camera": None,
        "tool_calls": None,
        **changes,
    }


def labels(episode):
    return [
        row("subtask", "grasp it", 1.2),
        row("motion", "move down", 0.0),
        row("subtask", "reach", 0.0),
        row("task_aug", f"other words for {episode.instruction}"),
    ]


def test_everything_comes_back(tmp_path, episodes, lerobot):
    seen = []
    out = tmp_path / "deep" / "out"
    result = write_lerobot(out, ((e, labels(e)) for e in episodes), progress=lambda done, total: seen.append(done))
    assert (result.path, result.episodes, result.frames, result.tasks) == (out, 4, 48, 4)
    assert (result.cameras, result.notes, seen) == (("top",), (), [1, 2, 3, 4])
    back = list(read(out))
    for original, episode in zip(episodes, back, strict=True):
        np.testing.assert_allclose(episode.states, original.states, atol=1e-6)
        np.testing.assert_allclose(episode.commands, original.commands, atol=1e-6)
        assert episode.instruction == original.instruction
        assert episode.paraphrases == (f"other words for {original.instruction}",)
        assert (episode.rate_hz, episode.embodiment) == (original.rate_hz, original.embodiment)
        assert [(s.text, s.start_step, s.end_step) for s in episode.subtasks] == [("reach", 0, 6), ("grasp it", 6, 12)]
        assert [lerobot.step_of(episode.image(step)) for step in (0, 11, 3, 4)] == [0, 11, 3, 4]


def test_layout_is_that_of_version_30(tmp_path, episodes):
    out = tmp_path / "out"
    write_lerobot(out, ((e, labels(e)) for e in episodes))
    info = json.loads((out / "meta/info.json").read_text())
    assert (info["codebase_version"], info["fps"], info["total_frames"]) == ("v3.0", 5, 48)
    assert info["features"]["language_persistent"] == {"dtype": "language", "shape": [1], "names": None}
    assert info["features"]["observation.images.top"]["shape"] == [32, 48, 3]
    data = pq.ParquetFile(out / "data/chunk-000/file-000.parquet")
    assert [data.metadata.row_group(i).num_rows for i in range(data.num_row_groups)] == [12] * 4
    frames = data.read().to_pydict()
    assert frames["index"] == list(range(48))
    assert frames["timestamp"][12:15] == [0.0, float(np.float32(0.2)), float(np.float32(0.4))]
    assert [entry["style"] for entry in frames["language_persistent"][5]] == [
        "motion",
        "subtask",
        "task_aug",
        "subtask",
    ]
    assert frames["language_persistent"][0] == frames["language_persistent"][11]
    times = {entry["timestamp"] for rows in frames["language_persistent"] for entry in rows}
    assert times <= set(frames["timestamp"])
    assert frames["language_events"] == [[]] * 48
    assert "subtask_index" not in frames
    tasks = pd.read_parquet(out / "meta/tasks.parquet")
    assert tasks.iloc[2].name == episodes[2].instruction
    meta = pq.read_table(out / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [(entry["dataset_from_index"], entry["dataset_to_index"]) for entry in meta] == [
        (0, 12),
        (12, 24),
        (24, 36),
        (36, 48),
    ]
    assert [entry["videos/observation.images.top/from_timestamp"] for entry in meta] == pytest.approx(
        [0, 2.4, 4.8, 7.2]
    )
    assert meta[1]["tasks"] == [episodes[1].instruction]


def test_statistics_are_those_of_all_frames(tmp_path, episodes):
    out = tmp_path / "out"
    # Unequal lengths, so that weights matter.
    short = replace(episodes[0], states=episodes[0].states[:5], commands=episodes[0].commands[:5])
    write_lerobot(out, ((e, []) for e in [short, *episodes[1:]]))
    stats = json.loads((out / "meta/stats.json").read_text())
    states = np.concatenate([short.states, *(e.states for e in episodes[1:])]).astype(np.float32)
    for name, value in (
        ("min", states.min(0)),
        ("max", states.max(0)),
        ("mean", states.mean(0)),
        ("std", states.std(0)),
    ):
        np.testing.assert_allclose(stats["observation.state"][name], value, atol=1e-5)
    assert stats["observation.state"]["count"] == [41]
    top = stats["observation.images.top"]
    assert np.shape(top["mean"]) == (3, 1, 1)
    assert 0.5 < top["mean"][0][0][0] < 0.8
    meta = pq.read_table(out / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    np.testing.assert_allclose(meta[0]["stats/action/max"], short.commands.max(0), atol=1e-6)
    assert {"q01", "q99"} <= {name.split("/")[-1] for name in meta[0] if name.startswith("stats/action/")}


def test_older_subtask_columns_on_request(tmp_path, episodes):
    out = tmp_path / "out"
    write_lerobot(out, [(episodes[0], [row("subtask", "grasp it", 1.2)])], subtask_columns=True)
    data = pq.read_table(out / "data/chunk-000/file-000.parquet").to_pydict()
    table = pd.read_parquet(out / "meta/subtasks.parquet")
    assert [table.iloc[i].name for i in data["subtask_index"]] == [""] * 6 + ["grasp it"] * 6


def test_files_roll_over(tmp_path, episodes, lerobot, monkeypatch):
    monkeypatch.setattr(lerobot_writer, "_DATA_MB", 0)
    monkeypatch.setattr(lerobot_writer, "_VIDEO_MB", 0)
    monkeypatch.setattr(lerobot_files, "CHUNK_FILES", 3)
    out = tmp_path / "out"
    write_lerobot(out, ((e, []) for e in episodes))
    assert sorted(path.name for path in (out / "data/chunk-000").iterdir()) == [f"file-00{i}.parquet" for i in range(3)]
    assert (out / "data/chunk-001/file-000.parquet").is_file()
    back = list(read(out))
    assert [episode.instruction for episode in back] == [episode.instruction for episode in episodes]
    assert [lerobot.step_of(episode.image(9)) for episode in back] == [9] * 4


def test_cameras_that_some_episodes_lack_are_black_there(tmp_path, episodes, lerobot):
    other = replace(episodes[1], cameras={})
    result = write_lerobot(tmp_path / "out", ((e, []) for e in [other, episodes[0]]))
    assert result.cameras == ("top",)
    assert "black" in result.notes[0]
    without, with_camera = read(tmp_path / "out")
    assert not without.cameras
    assert lerobot.step_of(with_camera.image(8)) == 8


def test_recordings_without_commands_get_reached_motion(tmp_path, episodes):
    result = write_lerobot(tmp_path / "out", [(replace(episodes[0], commands=None), [])])
    assert "reached" in result.notes[0]
    (back,) = read(tmp_path / "out")
    np.testing.assert_allclose(back.commands[:-1, :3], np.diff(episodes[0].states[:, :3], axis=0), atol=1e-6)


def broken(episodes):
    yield episodes[0], []
    raise CorruptRecordError("frame 3 is gone")


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda e: [], ExportError, "no episodes"),
        (broken, CorruptRecordError, "gone"),
        (lambda e: [(e[0], []), (replace(e[1], embodiment=FRANKA), [])], ExportError, "one robot and one rate"),
        (lambda e: [(e[0], []), (replace(e[1], rate_hz=10.0), [])], ExportError, "one robot and one rate"),
        (lambda e: [(e[0], [row("poem", "x")])], ExportError, "poem"),
        (lambda e: [(e[0], [row("subtask", "")])], ExportError, "empty"),
        (lambda e: [(e[0], [row("subtask", "x", 99.0)])], ExportError, "outside"),
        (lambda e: [(e[0], [row("motion", "x", camera="observation.images.top")])], ExportError, "camera"),
    ],
)
def test_what_cannot_be_written_leaves_nothing(tmp_path, episodes, make, error, message):
    out = tmp_path / "place" / "out"
    with pytest.raises(error, match=message):
        write_lerobot(out, make(episodes))
    assert not out.exists()
    assert not out.parent.exists() or list(out.parent.iterdir()) == []


def test_only_an_empty_folder_is_written_to(tmp_path, episodes):
    out = tmp_path / "out"
    out.mkdir()
    write_lerobot(out, [(episodes[0], [])])
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    with pytest.raises(ExportError, match="not empty"):
        write_lerobot(out, [(episodes[1], [])])
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_language_of_one_episode_can_be_read_alone(tmp_path, episodes):
    out = tmp_path / "out"
    write_lerobot(out, ((e, labels(e)) for e in episodes))
    language = read_language(out, 2)
    assert {entry["content"] for entry in language.persistent} == {entry["content"] for entry in labels(episodes[2])}
    assert language.events == ()


def test_the_datasets_library_reads_the_language_columns(tmp_path, episodes):
    datasets = pytest.importorskip("datasets")
    out = tmp_path / "out"
    write_lerobot(out, ((e, labels(e)) for e in episodes))
    loaded = datasets.Dataset.from_parquet(
        str(out / "data/chunk-000/file-000.parquet"), cache_dir=str(tmp_path / "cache")
    )
    assert len(loaded) == 48
    assert [entry["content"] for entry in loaded[30]["language_persistent"]][0] == "move down"
    assert np.shape(loaded[30]["observation.state"]) == (7,)

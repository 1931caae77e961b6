"""Language rows of LeRobot, and episodes whose labels have gaps."""

import numpy as np
import pytest

from tests.dataset.conftest import exportable
from vlm2vla.dataset import LabelledEpisode, export_lerobot, labelled_runs, language_rows, read_manifest
from vlm2vla.errors import ExportError
from vlm2vla.language import form


def by_style(rows, style):
    return [row for row in rows if row["style"] == style]


def in_force(rows, style, seconds):
    """The content a reader shows on a frame: the newest row of the style so far."""
    return [row for row in by_style(rows, style) if row["timestamp"] <= seconds][-1]["content"]


def test_rows_hold_all_styles_in_order(episode, annotated):
    rows = language_rows(annotated, episode)
    assert all(list(row) == ["role", "content", "style", "timestamp", "camera", "tool_calls"] for row in rows)
    assert all(row["camera"] is None and row["tool_calls"] is None and row["content"] for row in rows)
    keys = [(row["timestamp"], row["style"], row["role"]) for row in rows]
    assert keys == sorted(keys)
    assert [row["content"] for row in by_style(rows, "subtask")] == [subtask.text for subtask in annotated.subtasks]
    assert by_style(rows, "plan")[0]["content"].splitlines()[1] == "2. Grasp the carrot"
    assert [(row["role"], row["content"]) for row in by_style(rows, "task_aug")] == [
        ("user", "place the carrot onto the plate")
    ]


def test_a_motion_is_the_plan_and_the_action_text(episode, annotated):
    rows = language_rows(annotated, episode)
    words = form(annotated.action_form)
    for row, subtask in zip(by_style(rows, "motion"), annotated.subtasks, strict=True):
        plan, chunk = row["content"].split("\n")
        assert plan == subtask.plan
        assert words.parse(chunk) == words.parse(subtask.chunk)


def test_a_plan_of_several_lines_stays_one_line(make, episode, annotated):
    typed = make.with_subtask(annotated, 0, plan="move down,\nthen close the gripper")
    (first, *_) = by_style(language_rows(typed, episode), "motion")
    assert first["content"] == f"move down, then close the gripper\n{annotated.subtasks[0].chunk}"


@pytest.mark.parametrize("rate_hz", [5.0, 3.0, 30.0])
def test_timestamps_are_the_float32_of_the_frames(make, rate_hz):
    episode = make.episode(rate_hz=rate_hz)
    frames = (np.arange(len(episode)) / rate_hz).astype(np.float32)
    for row in language_rows(make.annotation(episode), episode):
        assert row["timestamp"] in frames.tolist()  # as doubles: the float32 of a frame, not a number close to it


def test_a_whole_episode_is_one_run_and_untouched(episode, annotated):
    (run,) = labelled_runs(annotated, episode)
    assert run.episode is episode
    assert run.reaches_end


def test_no_frame_carries_the_words_of_another_subtask(make, episode):
    holed = exportable(make.annotation(episode, ("accepted", "rejected", "accepted")), episode)
    first, last = labelled_runs(holed, episode)
    assert (len(first.episode), len(last.episode)) == (5, 4)
    assert first.episode.id != last.episode.id
    assert (first.reaches_end, last.reaches_end) == (False, True)
    assert np.array_equal(last.episode.states, episode.states[8:])
    assert last.episode.frame(1) == episode.frame(9)
    rows = language_rows(last.annotated, last.episode)
    assert in_force(rows, "subtask", 0.0) == "Lift the carrot"
    assert by_style(language_rows(first.annotated, first.episode, whole=first.reaches_end), "plan") == []


def test_every_frame_has_the_subtask_that_was_accepted_for_it(items):
    for item in items:
        exported = exportable(item.annotated, item.episode)
        for run in labelled_runs(exported, item.episode):
            rows = language_rows(run.annotated, run.episode)
            for subtask in run.annotated.subtasks:
                for step in range(subtask.start_step, subtask.end_step):
                    assert in_force(rows, "subtask", np.float32(step / 5.0)) == subtask.text


class Recorder:
    """Stands in for the video writer: takes the stream, leaves a file."""

    def __init__(self):
        self.episodes = []

    def __call__(self, folder, episodes):
        self.episodes = list(episodes)
        (folder / "meta").mkdir()
        (folder / "meta" / "info.json").write_text("{}")


def test_the_export_hands_runs_to_the_writer_and_finishes_with_a_manifest(config, items):
    write = Recorder()
    manifest = export_lerobot(config, items, write)
    assert [episode.id for episode, _ in write.episodes] == [
        "kitchen-0000",
        "kitchen-0001",
        "kitchen-0002-0-5",
        "kitchen-0002-8-12",
    ]
    assert manifest.counts["runs"] == 4
    assert manifest.counts["frames"] == 12 + 12 + 9
    assert list(read_manifest(config.out)["files"]) == ["meta/info.json"]


def test_the_writer_is_not_started_for_nothing(config, make):
    episode = make.episode()
    pending = LabelledEpisode(make.annotation(episode, ("pending",) * 3), episode)
    write = Recorder()
    with pytest.raises(ExportError, match="not accepted"):
        export_lerobot(config, [pending], write)
    assert write.episodes == []
    assert not config.out.exists()


def test_datasets_reads_the_rows_as_a_column(episode, annotated, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import Dataset

    rows = language_rows(annotated, episode)
    text = pa.string()
    fields = [("role", text), ("content", text), ("style", text), ("timestamp", pa.float32()), ("camera", text)]
    column = pa.list_(pa.struct([*fields, ("tool_calls", pa.list_(text))]))
    seconds = pa.array(np.arange(len(episode)) / episode.rate_hz, pa.float32())
    values = pa.array([rows] * len(episode), column)
    pq.write_table(pa.table({"timestamp": seconds, "language_persistent": values}), tmp_path / "rows.parquet")
    table = Dataset.from_parquet(str(tmp_path / "rows.parquet"), cache_dir=str(tmp_path / "cache"))
    for step, frame in enumerate(table):
        (subtask,) = [one for one in annotated.subtasks if one.start_step <= step < one.end_step]
        assert in_force(frame["language_persistent"], "subtask", frame["timestamp"]) == subtask.text
        assert in_force(frame["language_persistent"], "motion", frame["timestamp"]).endswith(subtask.chunk)

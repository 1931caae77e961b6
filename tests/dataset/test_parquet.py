"""The flat table, read by pyarrow and by `datasets`."""

import json

import numpy as np
import pyarrow.parquet as pq

from vlm2vla.dataset import LabelledEpisode, parquet, write_parquet
from vlm2vla.motion import actions


def test_one_row_per_exported_subtask_with_words_and_numbers(config, items):
    write_parquet(config, items)
    rows = pq.read_table(config.out / "subtasks.parquet").to_pylist()
    assert len(rows) == 8
    row = rows[1]
    subtask = items[0].annotated.subtasks[1]
    assert (row["episode_id"], row["uid"], row["index"]) == ("kitchen-0000", "s1-abc", 1)
    assert (row["subtask"], row["plan"], row["chunk"]) == (subtask.text, subtask.plan, subtask.chunk)
    assert (row["start_step"], row["end_step"], row["start_s"], row["end_s"]) == (5, 8, 1.0, 1.6)
    assert (row["subtask_source"], row["chunk_source"], row["revision"]) == ("person", "kinematic", 3)
    assert row["authors"] == ["ada", "kinematic 1"]
    assert json.loads(row["provenance"])[0]["settings"] == {"resolution_cm": 0.5}
    assert json.loads(row["source_ids"])["file_path"] == "a/out.npy"


def test_the_numbers_agree_with_the_recording_and_the_words(config, items):
    write_parquet(config, items)
    for row in pq.read_table(config.out / "subtasks.parquet").to_pylist():
        episode = next(item.episode for item in items if item.episode.id == row["episode_id"])
        motion = np.array(row["motion"])
        assert np.allclose(motion, actions(episode)[row["start_step"] : row["end_step"]], atol=1e-6)
        assert np.allclose(motion[:, :6].sum(axis=0), row["displacement"], atol=1e-6)
        said = np.array(row["chunk_rows"]).reshape(-1, 4)[:, :3].sum(axis=0)
        assert np.allclose(said, row["displacement"][:3], atol=0.0026)
        assert len(row["states"]) == row["end_step"] - row["start_step"]


def test_datasets_reads_it(config, items, tmp_path):
    from datasets import load_dataset

    write_parquet(config, items)
    file = str(config.out / "subtasks.parquet")
    table = load_dataset("parquet", data_files=file, split="train", cache_dir=str(tmp_path / "cache"))
    assert table.num_rows == 8
    assert table[0]["plan"] == items[0].annotated.subtasks[0].plan
    assert len(table[0]["motion"][0]) == 7


def test_many_rows_are_written_in_groups(config, make, monkeypatch):
    monkeypatch.setattr(parquet, "ROWS_PER_GROUP", 4)
    episodes = [make.episode(number) for number in range(3)]
    write_parquet(config, (LabelledEpisode(make.annotation(one), one) for one in episodes))
    file = pq.ParquetFile(config.out / "subtasks.parquet")
    assert (file.metadata.num_rows, file.num_row_groups) == (9, 2)

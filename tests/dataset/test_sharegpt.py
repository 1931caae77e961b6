"""The ShareGPT export, read by `datasets` and by the rules LLaMA-Factory states."""

import json

from vlm2vla.dataset import LabelledEpisode, completed_sample, write_sharegpt


def extras(annotated, episode):
    yield completed_sample(episode, annotated.subtasks[0].text, 0, 5, True)


def test_datasets_reads_conversations(config, items, tmp_path):
    from datasets import load_dataset

    manifest = write_sharegpt(config, items, extras)
    file = str(config.out / "conversations.json")
    table = load_dataset("json", data_files=file, split="train", cache_dir=str(tmp_path / "cache"))
    assert len(table) == manifest.counts["samples"] == 8 + 3
    row = next(row for row in table if row["id"] == "kitchen-0000/s0-abc")
    assert [message["role"] for message in row["messages"]] == ["system", *["user", "assistant"] * 3]
    assert row["messages"][-1]["content"] == items[0].annotated.subtasks[0].chunk


def test_marks_and_images_agree_and_paths_are_relative(config, items):
    write_sharegpt(config, items, extras)
    for row in json.loads((config.out / "conversations.json").read_text()):
        marks = sum(message["content"].count("<image>") for message in row["messages"])
        assert marks == len(row["images"]) >= 1
        assert all((config.out / name).is_file() and not name.startswith("/") for name in row["images"])
        turns = [message["role"] for message in row["messages"] if message["role"] != "system"]
        assert turns == ["user", "assistant"] * (len(turns) // 2)


def test_the_description_names_the_file_and_its_keys(config, items):
    write_sharegpt(config, items)
    entry = json.loads((config.out / "dataset_info.json").read_text())["vlm2vla"]
    rows = json.loads((config.out / entry["file_name"]).read_text())
    assert entry["formatting"] == "sharegpt"
    assert all(column in rows[0] for column in entry["columns"].values())
    tags = entry["tags"]
    roles = {message[tags["role_tag"]] for row in rows for message in row["messages"]}
    assert roles == {tags["user_tag"], tags["assistant_tag"], tags["system_tag"]}


def test_a_text_that_looks_like_an_image_mark_stays_out(config, items, make):
    episode = make.episode(4)
    annotated = make.with_subtask(make.annotation(episode), 2, text="look at <image>")
    manifest = write_sharegpt(config, [*items, LabelledEpisode(annotated, episode)])
    assert manifest.left_out["text holds <image>"] == 3  # the first two list it
    assert manifest.counts["samples"] == 8

"""Rows from disk: rotten ones are left out and named, episodes are not cut, the order is always the same."""

from collections import Counter

import pytest

from tests.training.conftest import load_rows, save_rows, write_rows
from vlm2vla.errors import TrainingError
from vlm2vla.training.config import Mixture
from vlm2vla.training.data import Order, read_data


def test_rows_over_one_picture_are_a_group(rows_folder):
    data = read_data([rows_folder], Mixture(held_out=0.0), grouped=True)
    assert Counter(len(group.rows) for group in data.train) == {3: 12, 1: 12}
    alone = read_data([rows_folder], Mixture(held_out=0.0), grouped=False)
    assert {len(group.rows) for group in alone.train} == {1}
    assert len(alone.train) == 48


def test_rows_without_a_picture_are_groups_without_pictures(tmp_path):
    folder = write_rows(tmp_path / "set")
    texts = [
        row | {"id": f"text/{n}", "kind": "vqa", "file_names": [], "episode_id": f"text-{n}"}
        for n, row in enumerate(load_rows(folder)[:25])
    ]
    save_rows(folder, [*load_rows(folder), *texts])
    data = read_data([folder], Mixture(held_out=0.0), grouped=True)
    bare = [group for group in data.train if not group.images]
    assert sorted(row.id for group in bare for row in group.rows) == sorted(row["id"] for row in texts)
    assert max(len(group.rows) for group in bare) == 10


def test_one_rotten_sample_is_left_out_and_named(tmp_path):
    folder = write_rows(tmp_path / "set")
    (folder / "images/3-0.png").write_bytes(b"no picture at all")
    data = read_data([folder], Mixture(held_out=0.0), grouped=True)
    assert sum(data.manifest["left_out"].values()) == 4
    assert "3-0.png" in data.manifest["problems"][0]
    assert not any(group.source == "e3" for group in data.train)


def test_a_picture_that_could_not_be_read_once_is_looked_at_again_and_the_good_ones_are_not(tmp_path, monkeypatch):
    from vlm2vla.training import data

    folder, opened = write_rows(tmp_path / "set"), []
    real = data.Image.open
    monkeypatch.setattr(data.Image, "open", lambda path: opened.append(path.name) or real(path))
    (folder / "images/3-0.png").rename(tmp_path / "away.png")
    assert sum(read_data([folder], Mixture(), grouped=True).manifest["left_out"].values()) == 4
    assert len(opened) == 23  # nobody looks at the other picture of a row that is left out
    opened.clear()
    (tmp_path / "away.png").rename(folder / "images/3-0.png")
    assert read_data([folder], Mixture(), grouped=True).manifest["left_out"] == {}
    assert opened == ["3-0.png", "3-1.png"]
    read_data([folder], Mixture(), grouped=True)
    assert len(opened) == 2


def test_what_its_writer_left_out_stays_known(tmp_path):
    folder = write_rows(tmp_path / "set")
    (folder / "manifest.json").write_text('{"left_out": {"stale text": 3}}')
    (told,) = read_data([folder], Mixture(held_out=0.0), grouped=True).manifest["sets"]
    assert told["left_out"] == {"stale text": 3}


@pytest.mark.parametrize("spoilt", ['{"id": 1}', "no json", '["a list"]'])
def test_a_damaged_line_costs_one_row(tmp_path, spoilt):
    folder = write_rows(tmp_path / "set")
    save_rows(folder, [*load_rows(folder), spoilt])
    data = read_data([folder], Mixture(held_out=0.0), grouped=True)
    assert data.manifest["left_out"] == {"not a prompt/completion row": 1}


def test_many_rotten_samples_are_no_accident(tmp_path):
    folder = write_rows(tmp_path / "set")
    for number in range(6):
        (folder / f"images/{number}-0.png").unlink()
    with pytest.raises(TrainingError, match=r"24 of 48 .*0-0\.png"):
        read_data([folder], Mixture(), grouped=True)


def test_a_tiny_picture_and_an_empty_folder_are_refused(tmp_path):
    from PIL import Image

    folder = write_rows(tmp_path / "set")
    Image.new("RGB", (3, 40)).save(folder / "images/0-0.png")
    data = read_data([folder], Mixture(held_out=0.0), grouped=True)
    assert any("3 x 40" in reason for reason in data.manifest["left_out"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainingError):
        read_data([tmp_path / "empty"], Mixture(), grouped=True)


def test_splits_go_by_episode(tmp_path):
    folder = write_rows(tmp_path / "set", episodes=40)
    data = read_data([folder], Mixture(held_out=0.25), grouped=True)
    train, held_out = ({group.source for group in part} for part in (data.train, data.held_out))
    assert train
    assert held_out
    assert not train & held_out
    assert data.manifest["held_out"]["sources"] == len(held_out)


def test_replay_does_not_replace_the_actions_of_few_episodes_that_would_all_be_held_out(tmp_path):
    folder = write_rows(tmp_path / "set", episodes=2)
    asked = [row | {"id": f"vqa/{row['id']}", "kind": "vqa"} for row in load_rows(folder)]
    save_rows(folder, [*load_rows(folder), *asked])
    for seed in range(20):
        data = read_data([folder], Mixture(held_out=0.5), grouped=True, seed=seed)
        assert data.manifest["train"]["kinds"].get("action"), seed
        assert not {group.source for group in data.held_out} & {g.source for g in data.train if g.kind != "vqa"}


def test_the_order_follows_from_the_seed_and_shows_each_kind_its_share(rows_folder):
    data = read_data([rows_folder], Mixture(held_out=0.0), grouped=True)
    mixture = Mixture(completed=0.5, held_out=0.0)
    order = Order(data.train, mixture, seed=3)
    first = [order[index] for index in range(order.per_pass)]
    assert Counter(data.train[index].kind for index in first) == {"action": 12, "completed": 6}
    again = Order(data.train, mixture, seed=3)
    assert [again[index] for index in (25, 3, 40)] == [order[index] for index in (25, 3, 40)]
    assert [Order(data.train, mixture, seed=4)[index] for index in range(18)] != first
    with pytest.raises(TrainingError):
        Order([], mixture, seed=0)

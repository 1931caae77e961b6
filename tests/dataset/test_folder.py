"""An export is whole or not there, and never in anybody's way."""

import hashlib
import json
from dataclasses import replace

import pytest

from vlm2vla.dataset import LabelledEpisode, read_manifest, write_ecot, write_parquet, write_sharegpt, write_trl
from vlm2vla.errors import ExportError

WRITERS = [write_trl, write_sharegpt, write_ecot, write_parquet]


def exhausting(items):
    yield from items
    raise KeyboardInterrupt


@pytest.mark.parametrize("write", WRITERS)
def test_a_folder_with_anything_in_it_is_refused(write, config, items):
    config.out.mkdir()
    (config.out / "thesis.txt").write_text("all of it")
    unread = iter(items)
    with pytest.raises(ExportError, match="not empty"):
        write(config, unread)
    assert len(list(unread)) == 3  # refused before any work
    assert [path.name for path in config.out.iterdir()] == ["thesis.txt"]


def test_a_place_that_cannot_be_written_is_named(config, items):
    config.out.write_text("a file")
    with pytest.raises(ExportError, match="not a folder"):
        write_ecot(config, items)
    with pytest.raises(ExportError, match="cannot write to"):
        write_ecot(replace(config, out=config.out / "inside"), items)


@pytest.mark.parametrize("write", WRITERS)
def test_an_empty_folder_is_used(write, config, items):
    config.out.mkdir()
    write(config, items)
    assert read_manifest(config.out)["counts"]["episodes"] == 3


@pytest.mark.parametrize("write", WRITERS)
def test_an_interrupted_export_leaves_nothing_behind(write, config, items):
    with pytest.raises(KeyboardInterrupt):
        write(config, exhausting(items))
    assert list(config.out.parent.iterdir()) == []


@pytest.mark.parametrize("write", WRITERS)
def test_nothing_to_export_says_why(write, config, items, make):
    episode = make.episode(9)
    pending = [LabelledEpisode(make.annotation(episode, ("pending",) * 3), episode)]
    with pytest.raises(ExportError, match="not accepted: 3.*--include-unreviewed"):
        write(config, pending)
    assert not config.out.exists()


@pytest.mark.parametrize("write", WRITERS)
def test_the_manifest_counts_and_hashes_what_is_there(write, config, items):
    manifest = write(config, iter(items))
    data = json.loads((config.out / "manifest.json").read_text())
    assert data["counts"] == dict(manifest.counts)
    assert (data["counts"]["episodes"], data["counts"]["subtasks"]) == (3, 8)
    assert data["left_out"] == {"rejected": 1}
    assert data["filters"]["include_unreviewed"] is False
    assert data["revisions"]["kitchen-0002"] == 7
    assert data["sources"]["kitchen"]["episodes"] == 3
    outside = {path for path in config.out.rglob("*") if path.is_file() and "images" not in path.parts}
    assert {config.out / name for name in data["files"]} == outside - {config.out / "manifest.json"}


@pytest.mark.parametrize("write", WRITERS)
def test_a_changed_file_is_noticed(write, config, items):
    write(config, items)
    name = next(iter(read_manifest(config.out)["files"]))
    with (config.out / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(ExportError, match="changed"):
        read_manifest(config.out)


@pytest.mark.parametrize("write", WRITERS)
def test_the_same_labels_give_the_same_bytes(write, config, items, tmp_path):
    first = write(config, items)
    again = write(replace(config, out=tmp_path / "again"), items)
    assert first.files == again.files


@pytest.mark.parametrize("write", [write_trl, write_sharegpt])
def test_each_frame_is_a_file_once_and_the_recorded_bytes(write, config, items):
    manifest = write(config, items)
    lines = (config.out / "images.sha256").read_text().splitlines()
    listed = {name: digest for digest, name in (line.split("  ") for line in lines)}
    files = {path.relative_to(config.out).as_posix(): path for path in (config.out / "images").rglob("*.jpg")}
    assert len(lines) == manifest.counts["images"] == len(files) == 8
    assert {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()} == listed
    item = items[0]
    assert files[f"images/{item.episode.id}/image_0-00005.jpg"].read_bytes() == item.episode.frame(5)


@pytest.mark.parametrize("write", [write_trl, write_sharegpt])
def test_one_bad_frame_costs_one_sample(write, config, items, make):
    broken = make.episode(6, cameras={"image_0": make.frames(12, 50, broken=(5,))})
    odd = make.episode(7, cameras={"image_0": make.frames(12, 50, ending="BMP")})
    blind = make.episode(8, cameras={})
    stream = [*items, *(LabelledEpisode(make.annotation(one), one) for one in (broken, odd, blind))]
    manifest = write(config, stream)
    lost = 2 if write is write_trl else 1
    assert manifest.left_out["frame not readable"] == lost
    assert manifest.left_out["sample not writable"] == 3 * lost
    assert manifest.left_out["recording without images"] == 1
    assert any("kitchen-0006/s1-abc" in line and "camera.bin" in line for line in manifest.problems)
    assert manifest.counts["images"] == 8 + 2

import json

import numpy as np
import pytest

from vlm2vla.config import PicturesConfig
from vlm2vla.errors import ConfigError
from vlm2vla.simulation.pictures import make
from vlm2vla.simulation.pictures.camera import GRIPPER, NOTHING
from vlm2vla.simulation.pictures.held_out import make_held_out
from vlm2vla.simulation.pictures.layouts import make_layout
from vlm2vla.simulation.pictures.truth import View


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_files_of_a_set_fit_together(picture_set):
    manifest = json.loads((picture_set / "manifest.json").read_text())
    pixels, patches = np.load(picture_set / "pixels.npy"), np.load(picture_set / "patches.npy")
    scenes, questions = rows(picture_set / "scenes.jsonl"), rows(picture_set / "questions.jsonl")
    assert manifest["count"] == 60 == len(pixels) == len(patches) == len(scenes) == len(questions)
    assert pixels.dtype == np.uint8
    assert patches.dtype == np.int8
    assert not (picture_set / "parts").exists()
    for number, (row, labels, asked) in enumerate(zip(scenes, patches, questions, strict=True)):
        view = View.from_json(row)
        assert json.loads(json.dumps(view.to_json())) == row
        assert set(np.unique(labels)) <= {NOTHING, GRIPPER, *range(len(view.things))}
        shown = {index for index, thing in enumerate(view.things) if thing.visible_px >= 60}
        assert shown <= set(labels) or number is None
        assert pixels[number].std() > 10
        assert len(asked) >= 25 or len(view.things) < 3
        assert all(each["thing"] is None or each["thing"] < len(view.things) for each in asked)
    assert len(rows(picture_set / "texts.jsonl")) == 800
    pairs = rows(picture_set / "pairs.jsonl")
    assert pairs
    for pair in pairs:
        first, second = scenes[pair["first"]], scenes[pair["second"]]
        assert first["pair"]
        assert pair["first"] % 2 == 0
        assert first["seed"] == second["seed"]
        assert [thing["name"] for thing in first["things"]] == [thing["name"] for thing in second["things"]]


def test_words_of_all_languages_are_listed_by_concept(picture_set):
    words = json.loads((picture_set / "words.json").read_text())
    assert {"cube", "block", "cubo", "方块", "घन"} <= set(words["kind:cube"])
    assert {"green", "emerald", "verde", "绿色", "हरा", "हरी"} <= set(words["colour:green"])
    assert words["symbol:7"] == ["7"]


def test_a_set_that_was_cut_short_is_finished_to_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(make, "_SHARD", 4)
    config = PicturesConfig(out=tmp_path / "whole", count=12, seed=10_980_000, questions=5, texts=20)
    make.make_pictures(config)

    cut = PicturesConfig(out=tmp_path / "cut", count=12, seed=10_980_000, questions=5, texts=20)

    def stop(done, count):
        if done >= 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make.make_pictures(cut, stop)
    assert not (cut.out / "manifest.json").exists()
    seen = []
    make.make_pictures(cut, lambda done, count: seen.append(done))
    assert seen == [12]  # only the last shard was missing
    for name in ("pixels.npy", "patches.npy", "scenes.jsonl", "questions.jsonl", "pairs.jsonl", "texts.jsonl"):
        assert (cut.out / name).read_bytes() == (config.out / name).read_bytes(), name


def test_another_set_is_not_overwritten(picture_set, tmp_path):
    with pytest.raises(ConfigError, match="finished set"):
        make.make_pictures(PicturesConfig(out=picture_set, count=60, seed=1))
    begun = tmp_path / "begun"
    (begun / "parts").mkdir(parents=True)
    (begun / "parts" / "order.json").write_text('{"count": 3}')
    with pytest.raises(ConfigError, match="begun with"):
        make.make_pictures(PicturesConfig(out=begun, count=4))
    with pytest.raises(ConfigError, match="at least 1"):
        make.make_pictures(PicturesConfig(out=tmp_path / "none", count=0))


def test_layouts_vary_in_number_colours_and_kinds():
    scenes = [make_layout(seed) for seed in range(300)]
    counts = {sum(thing.kind != "card" for thing in scene.objects) for scene in scenes}
    assert counts >= set(range(0, 9))
    repeated = [scene for scene in scenes if len({t.colour for t in scene.graspable}) < len(scene.graspable)]
    assert len(repeated) > 60
    assert any(name.endswith(" 2") for scene in scenes for name in (thing.name for thing in scene.objects))
    for scene in scenes:
        names = [thing.name for thing in scene.objects]
        assert len(names) == len(set(names))
        for index, one in enumerate(scene.objects):
            for other in scene.objects[:index]:
                away = np.hypot(one.position[0] - other.position[0], one.position[1] - other.position[1])
                assert away > one.radius_m + other.radius_m, (scene.seed, one.name, other.name)
    assert make_layout(5) == make_layout(5)


def test_a_held_out_set_covers_every_skill_and_language(tmp_path):
    config = PicturesConfig(out=tmp_path, count=14, seed=20_500_000, held_out=True)
    manifest = make_held_out(config)
    items = rows(tmp_path / "items.jsonl")
    assert manifest["questions"] == len(items)
    assert len({item["id"] for item in items}) == len(items)
    assert {item["language"] for item in items} == {"en", "es", "zh", "hi"}
    assert len({item["skill"] for item in items}) >= 18
    for item in items:
        assert item["answer"] in item["answers"]
        assert item["options"] is None or item["answer"] in item["options"]
        for name in item.get("images") or [item["image"]]:
            assert name is None or (tmp_path / name).stat().st_size > 2000
    with pytest.raises(ConfigError, match="holds a VQA set"):
        make_held_out(config)

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vlm2vla.errors import ConfigError, CorruptRecordError, FormatError, NotFoundError, WorkspaceError
from vlm2vla.training.pretrain.config import Preset, SoftConfig, Stage, VlmShape, preset
from vlm2vla.training.pretrain.pictures import open_pictures

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from vlm2vla.training.pretrain.dense import DenseHeads, Names, labels_of  # noqa: E402
from vlm2vla.training.pretrain.soft import SoftSpace  # noqa: E402
from vlm2vla.training.pretrain.tower import (  # noqa: E402
    WEIGHTS,
    build_tower,
    image_tokens,
    load_tower,
    normalised,
    see,
)
from vlm2vla.training.pretrain.tower_metrics import metrics  # noqa: E402
from vlm2vla.training.pretrain.tower_stage import learning_rate, train_tower  # noqa: E402

from .painted import paint  # noqa: E402

SHAPE = VlmShape(px=80, patch=16, vision_width=64, vision_layers=2, vision_heads=4, vision_ffn=96)


def tiny(**changes) -> Preset:
    tower = Stage(steps=400, batch=10, lr=3e-3, every_s=3600.0)
    return replace(preset("embedded"), shape=SHAPE, soft=SoftConfig(grid=5), tower=replace(tower, **changes))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return paint(tmp_path_factory.mktemp("painted") / "set", count=200, px=80, grid=5)


@pytest.fixture(scope="module")
def pictures(folder):
    return open_pictures(folder)


def losses(folder: Path) -> dict[int, float]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {row["step"]: row["loss"] for row in rows if "loss" in row}


# Reading


def test_held_out_rows_are_the_last_and_pairs_stay_together(pictures):
    assert list(pictures.training) + list(pictures.held_out) == list(range(200))
    assert len(pictures.held_out) == 10
    assert pictures.held_out.start % 2 == 0
    assert pictures.questions[3][0]["answer"] == pictures.scenes[3]["things"][0]["colour"]


def test_a_set_that_is_still_rendered_is_not_found(tmp_path):
    with pytest.raises(NotFoundError, match="pictures --out"):
        open_pictures(tmp_path)


@pytest.mark.parametrize(
    ("file", "change", "error"),
    [
        ("manifest.json", lambda data: data.replace(b'"version": 1', b'"version": 7'), FormatError),
        ("manifest.json", lambda data: b"[]", FormatError),
        ("pixels.npy", lambda data: data[: len(data) // 2], CorruptRecordError),
        ("scenes.jsonl", lambda data: data[: len(data) // 2], CorruptRecordError),
        ("scenes.jsonl", lambda data: data[: data.index(b"\n") + 1], CorruptRecordError),
        ("scenes.jsonl", lambda data: data.replace(b'"gripper"', b'"grippe"', 1), CorruptRecordError),
    ],
)
def test_a_damaged_set_says_which_file(tmp_path, file, change, error):
    folder = paint(tmp_path / "set", count=4, px=80, grid=5)
    data = (folder / file).read_bytes()
    (folder / file).write_bytes(change(data))
    with pytest.raises(error, match="set|scene|manifest|pixels"):
        open_pictures(folder)


def test_a_patch_of_a_thing_that_is_not_there_is_refused(tmp_path):
    folder = paint(tmp_path / "set", count=4, px=80, grid=5)
    patches = np.load(folder / "patches.npy")
    patches[2, 0] = 9
    np.save(folder / "patches.npy", patches)
    with pytest.raises(CorruptRecordError, match="thing 9 of 3"):
        open_pictures(folder)


# Labels, heads, metrics


def perfect(pictures, names, labels):
    """Heads whose weights read a hidden state that holds the labels themselves."""
    heads = DenseHeads(1, names)
    kinds = torch.gather(labels.kind, 1, labels.slot)
    numbers = torch.stack([torch.gather(labels.numbers[..., axis], 1, labels.slot) for axis in range(6)], -1)

    def read(_):
        def one_hot(values, size):
            return torch.nn.functional.one_hot(values.clamp(min=0), size).float()

        at = {key: torch.gather(getattr(labels, key), 1, labels.slot) for key in ("colour", "symbol", "beside", "held")}
        return {
            "kind": one_hot(kinds, len(names.kinds) + 2),
            "centre": (labels.centre * 2 - 1)[..., None],
            "colour": one_hot(at["colour"], len(names.colours)),
            "symbol": one_hot(at["symbol"], len(names.symbols)),
            "beside": one_hot(at["beside"], len(names.symbols) + 1),
            "held": (at["held"] * 2 - 1)[..., None],
            "numbers": numbers,
            "hand": (labels.hand[:, None].expand(-1, labels.slot.shape[1], -1) * 2 - 1),
        }

    heads.read = read
    return heads


def test_truth_gets_full_marks_and_a_shift_of_three_centimetres_is_seen(pictures):
    names = Names.of(pictures.scenes)
    labels = labels_of(pictures.scenes, pictures.patches, names, pictures.px)
    space = SoftSpace(SoftConfig(grid=5))
    pairs = zip(pictures.scenes, pictures.patches, strict=True)
    tokens = torch.from_numpy(np.stack([space.target(scene, patches) for scene, patches in pairs]))
    hidden = torch.zeros(len(pictures), 25, 1)
    heads = perfect(pictures, names, labels)
    found = metrics(hidden, tokens, heads, labels, space)
    for key in ("patch_kind", "patch_background", "colour", "kind", "offset_ok", "soft_kind", "soft_colour"):
        assert found[key] == 1.0, key
    assert found["centre_f1"] == found["gripper_open"] == found["soft_offset_ok"] == 1.0
    assert found["xy_cm"] == found["dx_cm"] == found["gripper_z_cm"] == 0.0
    assert found["soft_dx_cm"] <= 0.13
    moved = replace(labels, numbers=labels.numbers + torch.tensor([0, 0, 0, 3.0, 0, 0]))
    found = metrics(hidden, tokens, heads, moved, space)
    assert found["dx_cm"] == pytest.approx(3.0, abs=0.01)
    assert found["soft_dx_cm"] == pytest.approx(3.0, abs=0.25)
    assert found["offset_ok"] == found["soft_offset_ok"] == 0.0


def test_a_name_that_the_tower_never_saw_is_refused(pictures):
    names = replace(Names.of(pictures.scenes), colours=("red", "green"))
    with pytest.raises(ConfigError, match="'blue'"):
        labels_of(pictures.scenes, pictures.patches, names, pictures.px)


# Tower


def test_a_fresh_tower_looks_at_neighbours():
    tower = build_tower(VlmShape())
    attention = tower.vision_tower.encoder.layers[0].self_attn
    table = tower.vision_tower.embeddings.position_embedding.weight
    seen = torch.nn.functional.layer_norm(table, (table.shape[1],))
    head = attention.head_dim
    for number in range(attention.num_heads):
        span = slice(number * head, (number + 1) * head)
        scores = (seen @ attention.q_proj.weight[span].T) @ (seen @ attention.k_proj.weight[span].T).T
        best = scores.argmax(-1)
        inner = [row * 10 + column for row in range(2, 8) for column in range(2, 8)]
        way = [(int(best[at]) // 10 - at // 10, int(best[at]) % 10 - at % 10) for at in inner]
        common = max(set(way), key=way.count)
        assert common != (0, 0)
        assert max(map(abs, common)) <= 1
        assert way.count(common) >= 0.4 * len(way)


def test_pixels_become_what_the_processor_makes_of_them():
    from PIL import Image
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

    picture = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    processor = Gemma3ImageProcessorPil(size={"height": 80, "width": 80})
    theirs = processor(Image.fromarray(picture), return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(normalised(picture[None]), theirs, atol=1e-5, rtol=0)


def test_the_schedule_rises_stays_and_falls():
    stage = Stage(steps=1000, batch=1, lr=1.0, decay=0.5)
    rates = [learning_rate(step, stage) for step in (1, 100, 200, 500, 750, 1000)]
    assert rates == [0.005, 0.5, 1.0, 1.0, 0.5, 0.02]


# Learning


def test_it_learns_colours_and_places_of_pictures_it_never_saw(tmp_path, pictures):
    before = see(build_tower(SHAPE), pictures, pictures.held_out)[1]
    result = train_tower(tiny(), pictures, tmp_path, max_steps=150)
    assert result.steps == 150
    assert result.metrics["colour"] > 0.9
    assert result.metrics["soft_colour"] > 0.9
    assert result.metrics["patch_kind"] > 0.9
    tower = load_tower(tmp_path, SHAPE)
    after = see(tower, pictures, pictures.held_out)[1]
    rows = list(pictures.held_out)
    space = SoftSpace(tiny().soft)
    truth = torch.from_numpy(np.stack([space.target(pictures.scenes[row], pictures.patches[row]) for row in rows]))
    assert (after - truth).square().mean() < 0.5 * (before - truth).square().mean()


def test_a_stopped_run_goes_on_with_the_same_losses(tmp_path, pictures):
    whole = train_tower(tiny(), pictures, tmp_path / "whole", max_steps=30)
    train_tower(tiny(), pictures, tmp_path / "parts", max_steps=17)
    # Lines after the last checkpoint belong to steps that are made again.
    with (tmp_path / "parts" / "metrics.jsonl").open("a") as lines:
        lines.write('{"stage": "tower", "step": 20, "loss": 999.0}\n{"stage": "tow')
    parts = train_tower(tiny(), pictures, tmp_path / "parts", max_steps=30, resume=True)
    assert parts.loss == whole.loss
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert (tmp_path / "parts" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()


def test_a_changed_schedule_is_written_down(tmp_path, pictures):
    train_tower(tiny(), pictures, tmp_path, max_steps=3)
    train_tower(tiny(steps=6), pictures, tmp_path, resume=True)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    (changed,) = [row for row in rows if "schedule" in row]
    assert (changed["step"], changed["before"]["steps"], changed["schedule"]["steps"]) == (3, 400, 6)
    assert rows[-1]["step"] == 6


def test_tokens_are_kept_and_made_again_for_a_new_tower(tmp_path, pictures):
    train_tower(tiny(), pictures, tmp_path, max_steps=2)
    tokens = image_tokens(tmp_path, SHAPE, pictures)
    assert tokens.shape == (200, 25, 192)
    expected = see(load_tower(tmp_path, SHAPE), pictures, range(3))[1].numpy()
    np.testing.assert_allclose(tokens[:3], expected, atol=0.01)
    made = (tmp_path / "tokens.npy").stat().st_mtime_ns
    image_tokens(tmp_path, SHAPE, pictures)
    assert (tmp_path / "tokens.npy").stat().st_mtime_ns == made
    train_tower(tiny(), pictures, tmp_path, max_steps=4, resume=True)
    again = image_tokens(tmp_path, SHAPE, pictures)
    assert not np.array_equal(again[:3], expected.astype(np.float16))


def test_trouble_is_typed(tmp_path, pictures, folder):
    with pytest.raises(NotFoundError, match="nothing to resume"):
        train_tower(tiny(), pictures, tmp_path, max_steps=1, resume=True)
    with pytest.raises(NotFoundError, match="stage tower"):
        load_tower(tmp_path, SHAPE)
    with pytest.raises(ConfigError, match="80 px"):
        train_tower(preset("embedded"), pictures, tmp_path, max_steps=1)
    train_tower(tiny(), pictures, tmp_path, max_steps=1)
    with pytest.raises(WorkspaceError, match="--resume"):
        train_tower(tiny(), pictures, tmp_path, max_steps=1)
    with pytest.raises(ConfigError, match="seed"):
        train_tower(tiny(), pictures, tmp_path, seed=5, max_steps=2, resume=True)
    with pytest.raises(ConfigError, match="sizes"):
        load_tower(tmp_path, replace(SHAPE, vision_width=32))
    for file in ("checkpoint.pt", WEIGHTS):
        path = tmp_path / file
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(WorkspaceError, match="checkpoint"):
        train_tower(tiny(), pictures, tmp_path, max_steps=2, resume=True)
    with pytest.raises(WorkspaceError, match=WEIGHTS):
        load_tower(tmp_path, SHAPE)

"""What a run makes sure of: weights, words, pictures and lengths before its first step, the adapter after its last."""

import json
import shutil
from dataclasses import replace

import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from tests.training.conftest import RECIPE, load_rows, save_rows, write_rows
from vlm2vla.errors import ConfigError, ModelFaultError, ModelLoadError, TrainingError
from vlm2vla.training.config import Mixture
from vlm2vla.training.finetune import train
from vlm2vla.training.run import RunFolder

pytest.importorskip("torch")


def test_what_was_checked_is_written_down(job, tmp_path):
    run = RunFolder(tmp_path / "run")
    train(job(stop_at=1), run)
    checks = run.read("checks.json")
    assert checks["image_attention"].startswith("both ways")
    assert checks["vision_before"] == checks["vision_after"]
    assert checks["packed_differs_by"] < 1e-4
    assert checks["lora_layers"] == 7 * 4
    card = (run.path / "adapter/README.md").read_text()
    assert f"{checks['longest_sample_tokens']} of" in card
    assert run.progress().state == "stopped"


def test_words_that_an_adapter_cannot_tell_apart_are_said(job, tmp_path, tiny_folder, caplog):
    base = shutil.copytree(tiny_folder / "base", tmp_path / "base")
    weights = load_file(base / "model.safetensors")
    (name,) = (name for name in weights if name.endswith("embed_tokens.weight"))
    tokenizer = AutoTokenizer.from_pretrained(base)
    down, other = (tokenizer(text, add_special_tokens=False)["input_ids"][-1] for text in ("move down", "yes"))
    weights[name][other] = weights[name][down]
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    run = RunFolder(tmp_path / "run")
    train(replace(job(stop_at=1), base=str(base)), run)
    told = run.read("checks.json")["not_told_apart"]
    assert set(told) == set(tokenizer.convert_ids_to_tokens([down, other]))
    assert all(share > 0.1 for share in told.values())
    assert "cannot tell such tokens apart" in caplog.text
    assert "never trained on" in (run.path / "README.md").read_text()
    untouched = RunFolder(tmp_path / "full")
    train(replace(job("full", stop_at=1), base=str(base)), untouched)
    assert "not_told_apart" not in untouched.read("checks.json")  # there embeddings learn too


def test_an_adapter_that_changes_nothing_although_it_learned_is_an_error(job, tmp_path, monkeypatch):
    from vlm2vla.training import trainers

    def still(self, model, *_, **__):
        return sum(weight.sum() for weight in model.parameters() if weight.requires_grad) * 0

    monkeypatch.setattr(trainers.SharedPrefixTrainer, "compute_loss", still)
    with pytest.raises(TrainingError, match="changes no output"):
        train(job(stop_at=1), RunFolder(tmp_path / "run"))


def test_weights_that_cannot_be_read(job, tmp_path, tiny_folder):
    broken = tmp_path / "base"
    shutil.copytree(tiny_folder / "base", broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(ModelLoadError):
        train(replace(job(), base=str(broken)), RunFolder(tmp_path / "run"))
    with pytest.raises(ModelLoadError):
        train(replace(job(), base=str(tmp_path / "nowhere")), RunFolder(tmp_path / "other"))
    with pytest.raises(ConfigError, match="is an adapter"):
        train(replace(job(), base=str(tiny_folder / "lora")), RunFolder(tmp_path / "third"))


def test_weights_that_compute_nothing(job, tmp_path, tiny_folder):
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "base"
    shutil.copytree(tiny_folder / "base", broken)
    weights = load_file(broken / "model.safetensors")
    name = next(name for name in weights if name.endswith("layers.0.mlp.down_proj.weight"))
    weights[name][:] = float("nan")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelFaultError, match="NaN"):
        train(replace(job(), base=str(broken)), run := RunFolder(tmp_path / "run"))
    assert "NaN" in run.progress().message


def test_pictures_of_another_size_than_the_tower_takes(job, tmp_path, tiny_folder):
    broken = tmp_path / "base"
    shutil.copytree(tiny_folder / "base", broken)
    settings = json.loads((broken / "processor_config.json").read_text())
    settings["image_seq_length"] = 9
    (broken / "processor_config.json").write_text(json.dumps(settings))
    with pytest.raises(TrainingError, match="size"):
        train(replace(job(), base=str(broken)), RunFolder(tmp_path / "run"))


@pytest.mark.parametrize("packing", ["shared", "plain"])
def test_samples_that_are_too_long_are_left_out_and_counted(packing, job, tmp_path):
    folder = write_rows(tmp_path / "set")
    rows = load_rows(folder)
    rows[1]["completion"][0]["content"] = "move up " * 200
    save_rows(folder, rows)
    recipe = replace(RECIPE, packing=packing, max_tokens=300, mixture=Mixture(held_out=0.0, completed=1.0))
    run = RunFolder(tmp_path / "run")
    assert train(replace(job(recipe=recipe), data=(folder,)), run).state == "done"
    data, checks = run.read("data.json"), run.read("checks.json")
    assert data["left_out"] == {"longer than 300 tokens": 1}
    assert data["problems"] == [f"{rows[1]['id']}: longer than 300 tokens"]
    assert data["train"]["rows"] == len(rows) - 1
    assert 100 < checks["longest_sample_tokens"] <= checks["max_tokens"] == 300
    assert "longer than 300 tokens" in (run.path / "README.md").read_text()
    with pytest.raises(TrainingError, match="48 of 48"):
        train(replace(job(recipe=replace(recipe, max_tokens=30)), data=(folder,)), RunFolder(tmp_path / "other"))

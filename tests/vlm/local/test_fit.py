"""Adapters and weights that do not fit are refused with the reason, before they answer anything."""

import json
import shutil

import pytest

from tests.vlm.tiny_model import make_adapter, make_base
from vlm2vla.errors import ModelLoadError
from vlm2vla.vlm.local import LocalModels
from vlm2vla.vlm.origin import Origin, fingerprint, write_origin
from vlm2vla.vlm.registry import ModelRegistry


def refusal(tiny_folder, workspace, adapter):
    registry = ModelRegistry(workspace, shipped=tiny_folder)
    registry.add("odd", str(adapter), base="base")
    with pytest.raises(ModelLoadError) as caught:
        LocalModels(registry).load("odd")
    report = registry.check("odd")
    assert report.problems == (str(caught.value),)
    return str(caught.value)


def rename(folder, change):
    from safetensors.torch import load_file, save_file

    file = folder / "adapter_model.safetensors"
    save_file({change(name): weight for name, weight in load_file(file).items()}, file)


def test_an_adapter_of_the_text_only_class_would_change_nothing_and_is_refused(tiny_folder, tmp_path, workspace):
    folder = make_adapter(tiny_folder / "base", tmp_path / "text")
    rename(folder, lambda name: name.replace("model.language_model.layers", "model.layers"))
    assert "trained on the text-only class" in refusal(tiny_folder, workspace, folder)


def test_an_adapter_of_a_base_of_another_size_is_refused(tiny_folder, tmp_path, workspace):
    other = make_base(tmp_path / "wide", hidden=96)
    assert "belongs on another base" in refusal(tiny_folder, workspace, make_adapter(other, tmp_path / "lora"))


def test_an_adapter_of_a_base_with_more_layers_is_refused(tiny_folder, tmp_path, workspace):
    other = make_base(tmp_path / "deep", layers=6)
    assert "14 of its 42 layers" in refusal(tiny_folder, workspace, make_adapter(other, tmp_path / "lora"))


def test_an_adapter_of_other_weights_of_the_same_shape_is_told_by_its_fingerprint(tiny_folder, tmp_path, workspace):
    other = make_base(tmp_path / "other", seed=5)
    folder = make_adapter(other, tmp_path / "lora")
    write_origin(folder, Origin("other", fingerprint(other)))
    assert "was trained on other weights" in refusal(tiny_folder, workspace, folder)


def test_an_adapter_that_changes_nothing_is_found_by_the_check(tiny_folder, tmp_path, workspace):
    registry = ModelRegistry(workspace, shipped=tiny_folder)
    registry.add("idle", str(make_adapter(tiny_folder / "base", tmp_path / "idle", scale=0.0)), base="base")
    report = registry.check("idle")
    assert "changes nothing" in report.problems[0]
    good = registry.check("lora")
    assert (good.problems, good.difference > 0.01) == ((), True)


def test_a_base_that_does_not_see_is_found_by_the_check(tiny_folder, tmp_path, workspace):
    from safetensors.torch import load_file, save_file

    blind = shutil.copytree(tiny_folder / "base", tmp_path / "blind")
    weights = load_file(blind / "model.safetensors")
    (name,) = [name for name in weights if "mm_input_projection" in name]
    save_file(weights | {name: weights[name] * 0}, blind / "model.safetensors", metadata={"format": "pt"})
    report = ModelRegistry(workspace, shipped=tiny_folder).check(str(blind))
    assert "does not see" in report.problems[0]


def _cut(folder):
    file = folder / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def _garbage(folder):
    (folder / "adapter_model.safetensors").write_bytes(b"\xff" * 50)


def _no_weights(folder):
    (folder / "adapter_model.safetensors").unlink()


def _other_kind(folder):
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {"peft_type": "IA3"}))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_cut, "cannot read the weights"),
        (_garbage, "cannot read the weights"),
        (_no_weights, "has no adapter_model"),
        (_other_kind, "only LORA"),
    ],
)
def test_a_damaged_adapter_is_an_error_and_the_base_goes_on(tiny_folder, tmp_path, workspace, spoil, says):
    folder = shutil.copytree(tiny_folder / "lora", tmp_path / "copy")
    spoil(folder)
    assert says in refusal(tiny_folder, workspace, folder)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        ("cut", "cannot load the model"),
        ("missing", "weights are missing"),
        ("config", "cannot load the model"),
        ("tokenizer", "tokenizer or processor"),
    ],
)
def test_a_damaged_base_is_an_error(tiny_folder, tmp_path, workspace, spoil, says):
    folder = shutil.copytree(tiny_folder / "base", tmp_path / "copy")
    if spoil == "cut":
        (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:5000])
    elif spoil == "missing":
        from safetensors.torch import load_file, save_file

        weights = load_file(folder / "model.safetensors")
        weights.pop(next(name for name in weights if "q_proj" in name))
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    elif spoil == "config":
        (folder / "config.json").write_text("{")
    else:
        (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelLoadError, match=says):
        LocalModels(ModelRegistry(workspace, shipped=tiny_folder)).load(str(folder))

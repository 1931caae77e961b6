"""The presets for the real Gemma 3, checked against its architecture without its weights."""

import pytest

from tests.vlm.tiny_model import make_adapter
from vlm2vla.errors import ModelLoadError, NotFoundError
from vlm2vla.training.config import LORA_TARGETS, PRESETS
from vlm2vla.vlm.local.fit import refuse_misfit
from vlm2vla.vlm.local.gemma3 import PARAMETERS, gemma3_config, gemma3_on_meta

LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@pytest.fixture(scope="module")
def twelve():
    return gemma3_on_meta("google/gemma-3-12b-it")


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_architecture_has_the_published_number_of_parameters(name):
    model = gemma3_on_meta(name)
    assert sum(weight.numel() for weight in model.parameters()) == PARAMETERS[name]
    assert all(weight.is_meta for weight in model.parameters())


def test_presets_name_models_whose_architecture_is_known():
    bases = {recipe.base for recipe in PRESETS.values()} - {"base"}
    assert bases == {"google/gemma-3-12b-it", "google/gemma-3-4b-it"}
    for name in bases:
        assert gemma3_config(name).text_config.layer_types.count("full_attention") in (5, 8)
    with pytest.raises(NotFoundError, match="did you mean"):
        gemma3_config("google/gemma-3-12b")


@pytest.mark.parametrize("preset", ["paper-gemma3-12b", "gemma3-4b"])
def test_lora_reaches_all_linear_layers_of_the_language_model_and_no_other(preset):
    import torch
    from peft import LoraConfig, get_peft_model

    recipe = PRESETS[preset]
    model = gemma3_on_meta(recipe.base)
    layers = model.config.text_config.num_hidden_layers
    config = LoraConfig(r=recipe.lora_rank, lora_alpha=recipe.lora_alpha, target_modules=LORA_TARGETS)
    with torch.device("meta"):
        tuned = get_peft_model(model, config)
    learning = [name for name, weight in tuned.named_parameters() if weight.requires_grad]
    assert len(learning) == 2 * len(LINEAR) * layers
    assert all(".language_model.layers." in name and "lora_" in name for name in learning)
    assert {name.split(".lora_")[0].rsplit(".", 1)[1] for name in learning} == set(LINEAR)
    assert not any("vision_tower" in name or "projector" in name for name in learning)


def test_an_adapter_of_the_embedded_base_is_refused_on_gemma(twelve, tiny_folder, tmp_path):
    adapter = make_adapter(tiny_folder / "base", tmp_path / "lora")
    with pytest.raises(ModelLoadError, match="belongs on another base"):
        refuse_misfit(adapter, twelve, tmp_path)


def test_an_adapter_made_for_gemma_fits_it_and_its_text_only_twin_does_not(twelve, tmp_path):
    """Keys as SFTTrainer writes them, and as training on the text-only class would."""
    import json

    import torch
    from safetensors.torch import save_file

    def write(folder, prefix):
        folder.mkdir()
        (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2}))
        pairs = {}
        for layer in (0, 47):
            pairs[f"base_model.model.{prefix}.{layer}.self_attn.k_proj.lora_A.weight"] = torch.zeros(2, 3840)
            pairs[f"base_model.model.{prefix}.{layer}.self_attn.k_proj.lora_B.weight"] = torch.zeros(2048, 2)
        save_file(pairs, folder / "adapter_model.safetensors")
        return folder

    fits = refuse_misfit(write(tmp_path / "good", "model.language_model.layers"), twelve, tmp_path)
    assert fits["touches_vision"] is False
    with pytest.raises(ModelLoadError, match="text-only class"):
        refuse_misfit(write(tmp_path / "text", "model.layers"), twelve, tmp_path)

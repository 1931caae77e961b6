"""What the trainer is told: one device, and arithmetic in bfloat16 only on a GPU."""

from dataclasses import replace

import pytest

from vlm2vla.training.config import PRESETS, TrainConfig, TuneConfig, recipe_of

torch = pytest.importorskip("torch")


@pytest.fixture
def gpus(monkeypatch):
    """A computer that says it has two."""
    from accelerate.state import AcceleratorState

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _device: None)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def arguments(monkeypatch, tmp_path):
    """arguments(recipe): what its trainer is given, without a trainer."""
    from vlm2vla.training import trainers
    from vlm2vla.training.weights import Trainable

    for name in ("SFTTrainer", "SharedPrefixTrainer"):
        monkeypatch.setattr(trainers, name, lambda **given: given["args"])
    monkeypatch.setattr(trainers, "plain_dataset", lambda scheduled: scheduled)
    monkeypatch.setattr(trainers, "shared_prefix", lambda *_: None)

    def make(recipe):
        nothing = Trainable(None, None, 0, ())
        return trainers.make_trainer(nothing, recipe, None, None, tmp_path, steps=10, seed=0, callbacks=[])

    return make


@pytest.mark.parametrize("packing", ["shared", "plain"])
def test_one_process_uses_one_gpu_however_many_there_are(packing, gpus, arguments):
    recipe = replace(PRESETS["gemma3-4b"], packing=packing, batch=8, per_device=2)
    made = arguments(recipe)
    assert made.device.type == "cuda"
    assert (made.n_gpu, made.train_batch_size, made.gradient_accumulation_steps) == (1, 2, 4)


@pytest.mark.parametrize(
    ("packing", "precision", "whole"),
    [("plain", "mixed", True), ("plain", "bfloat16", True), ("plain", "float32", False), ("shared", "mixed", False)],
)
def test_steps_are_bfloat16_on_a_gpu_where_the_trainer_does_not_see_to_it_itself(
    packing, precision, whole, gpus, arguments
):
    assert arguments(replace(PRESETS["gemma3-4b"], packing=packing, precision=precision)).bf16 is whole


def test_on_a_processor_no_arithmetic_is_changed(arguments, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for packing in ("shared", "plain"):
        made = arguments(replace(PRESETS["embedded"], packing=packing))
        assert (made.bf16, made.use_cpu, made.activation_checkpointing) == (False, True, False)


def test_full_fine_tuning_keeps_weights_fine_enough_for_its_steps():
    for preset in ("gemma3-4b", "paper-gemma3-12b"):
        full, lora = (recipe_of(TrainConfig(preset=preset, variant=variant)) for variant in ("full-tokens", "lora"))
        assert (full.precision, full.weights_dtype) == ("mixed", "float32")
        assert (lora.precision, lora.weights_dtype) == ("bfloat16", "bfloat16")
        step = torch.tensor(0.05, dtype=getattr(torch, full.weights_dtype))  # a usual weight
        assert step - full.learning_rate != step
    assert recipe_of(TrainConfig(variant="full"), TuneConfig(steps=3)).precision == PRESETS["embedded"].precision

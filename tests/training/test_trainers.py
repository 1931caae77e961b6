"""What the trainer is told: one device."""

from dataclasses import replace

import pytest

from vlm2vla.training.config import PRESETS

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

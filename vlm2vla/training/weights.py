"""The model to train: base weights, what of them may change, the adapter. Says plainly what is wrong with weights."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlm2vla.errors import ConfigError, ModelFaultError, ModelLoadError, TrainingError, VLM2VLAError
from vlm2vla.training.config import LORA_TARGETS, Recipe, is_lora

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, ProcessorMixin

VISION = ("vision_tower", "multi_modal_projector", "visual", "vision_model")


@dataclass(frozen=True)
class Trainable:
    """A model that is ready to be trained.

    Attributes:
        model: With its adapter, or with the language model unfrozen.
        processor: Of the base.
        parameters: Trainable ones, in all.
        targets: Names of the linear layers that carry the adapter.
    """

    model: "torch.nn.Module"
    processor: "ProcessorMixin"
    parameters: int
    targets: tuple[str, ...]


def load_base(where: str, dtype: str) -> tuple["PreTrainedModel", "ProcessorMixin"]:
    """Base and processor from a folder or a hub id.

    Args:
        where: Folder or hub id.
        dtype: Format of the weights in memory, such as "float32"; "auto" takes the one that the base's config names.

    Raises:
        ConfigError: It is an adapter, or no image-text-to-text model.
        ModelLoadError: Weights that cannot be read, or are not there.
    """
    from transformers import AutoModelForImageTextToText, AutoProcessor

    if (Path(where) / "adapter_config.json").is_file() and not (Path(where) / "config.json").is_file():
        raise ConfigError(f"{where} is an adapter; --base-model must name the model it was trained on")
    local = Path(where).is_dir() or bool(os.environ.get("VLM2VLA_LOCAL_MODELS_ONLY"))
    try:
        processor = AutoProcessor.from_pretrained(where, local_files_only=local)
        model = AutoModelForImageTextToText.from_pretrained(
            where,
            dtype=dtype,
            local_files_only=local,
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise ModelLoadError(f"cannot load the base {where}: {_first_line(error)}") from error
    except Exception as error:  # safetensors has an exception of its own
        if type(error).__module__.split(".")[0] != "safetensors":
            raise
        raise ModelLoadError(f"the weights in {where} are damaged: {_first_line(error)}") from error
    if not hasattr(processor, "tokenizer") or getattr(processor, "chat_template", None) is None:
        raise ConfigError(f"{where} has no processor with a chat template, so it cannot be asked about pictures")
    return model, processor


def make_trainable(model: "PreTrainedModel", processor: "ProcessorMixin", recipe: Recipe, variant: str) -> Trainable:
    """Freeze everything but what the variant trains: an adapter, or the language model. Never the vision tower.

    Raises:
        ConfigError: The model has no layers of the names that LoRA is put on.
    """
    model.requires_grad_(False)
    targets: tuple[str, ...] = ()
    trained: Any = model
    if is_lora(variant):
        from peft import get_peft_model

        targets = lora_targets(model)
        trained = get_peft_model(model, lora_config(recipe))
    else:
        for name, weight in model.named_parameters():
            weight.requires_grad_(not any(part in name.split(".") for part in VISION))
    count = sum(weight.numel() for weight in trained.parameters() if weight.requires_grad)
    if not count:
        raise ConfigError("nothing of this model would be trained")
    return Trainable(trained, processor, count, targets)


def start_from(trainable: Trainable, adapter: Path) -> None:
    """Give the adapter the weights of another one.

    Raises:
        ConfigError: A variant without adapter, or an adapter of another shape.
        ModelLoadError: It cannot be read.
    """
    from peft import load_peft_weights, set_peft_model_state_dict

    if not trainable.targets:
        raise ConfigError("only LoRA variants can start from an adapter")
    try:
        found = set_peft_model_state_dict(trainable.model, load_peft_weights(str(adapter), device="cpu"))
    except (OSError, ValueError) as error:
        raise ModelLoadError(f"cannot read the adapter {adapter}: {_first_line(error)}") from error
    except RuntimeError as error:
        raise ConfigError(f"the adapter {adapter} has another shape: {_first_line(error)}") from error
    missing = [name for name in found.missing_keys if "lora_" in name]
    if missing or found.unexpected_keys:
        raise ConfigError(f"the adapter {adapter} belongs on other layers ({(missing or found.unexpected_keys)[0]})")


def lora_config(recipe: Recipe):
    """The adapter of a recipe."""
    from peft import LoraConfig

    return LoraConfig(
        r=recipe.lora_rank,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=0.0,
        target_modules=LORA_TARGETS,
        task_type="CAUSAL_LM",
    )


def lora_targets(model: "PreTrainedModel") -> tuple[str, ...]:
    """Names of the layers that an adapter goes on; works on a model without weights too.

    Raises:
        ConfigError: There are none, or some of them belong to the vision tower.
    """
    import re

    import torch

    pattern = re.compile(LORA_TARGETS)
    linear = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    found = tuple(name for name in linear if pattern.fullmatch(name))
    wrong = [name for name in found if any(part in name for part in VISION)]
    if not found or wrong:
        raise ConfigError(
            f"no linear layers match {LORA_TARGETS}" if not found else f"LoRA would touch the vision tower: {wrong[0]}"
        )
    return found


def vision_digest(model: "torch.nn.Module") -> str:
    """Tells whether any weight of the vision tower or projector changed."""
    import hashlib

    import torch

    digest = hashlib.sha256()
    for name, weight in sorted(model.named_parameters()):
        if any(part in name.split(".") for part in VISION):
            digest.update(weight.detach().to("cpu", torch.float32).numpy().tobytes())
    return digest.hexdigest()[:16]


def speak(error: BaseException, doing: str) -> VLM2VLAError:
    """What torch, transformers and peft throw, in words of ours; errors of ours as they are."""
    if isinstance(error, VLM2VLAError):
        return error
    text = _first_line(error)
    memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if memory or "not enough memory" in text or "DefaultCPUAllocator" in text:
        return ModelFaultError(
            f"out of memory while {doing}; use a smaller --batch or --packing plain; --resume goes on from the last "
            "checkpoint"
        )
    if "Image features and image tokens do not match" in text:
        return TrainingError(
            f"pictures and picture tokens do not match while {doing}: the processor of this base makes pictures of "
            f"another size than its vision tower takes ({text})"
        )
    return TrainingError(f"{type(error).__name__} while {doing}: {text}")


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__

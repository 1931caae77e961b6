"""An adapter and its base as one checkpoint, for programs that know no adapters."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from vlm2vla.errors import ModelLoadError
from vlm2vla.vlm.local.fit import lora_modules, refuse_misfit
from vlm2vla.vlm.local.weights import adapter_folder, load_model
from vlm2vla.vlm.origin import Origin, fingerprint, read_origin, write_origin
from vlm2vla.vlm.registry import ModelEntry

_ENDS = frozenset(("embed_tokens", "lm_head"))


def write_merged(entry: ModelEntry, folder: Path) -> None:
    """Add an adapter to its base, and write weights, processor and origin into a folder.

    The numbers have the format that the base's config names; in bfloat16 the sums are rounded.

    Args:
        entry: Of kind "adapter".
        folder: Is there, and empty.

    Raises:
        ModelLoadError: Base or adapter cannot be read, they do not fit, or they cannot become one.
    """
    from peft import PeftModel

    model, processor = load_model(entry.base, torch.device("cpu"), "auto")
    adapter = adapter_folder(entry.path)
    config = refuse_misfit(adapter, model, Path(entry.base))
    _refuse_shared(model, adapter, config)
    try:
        merged = PeftModel.from_pretrained(model, adapter, is_trainable=False).merge_and_unload(safe_merge=True)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise ModelLoadError(f"cannot add the adapter {adapter} to {entry.base}: {error}") from error
    merged.save_pretrained(folder)
    processor.save_pretrained(folder)
    base = Path(entry.base)
    told = read_origin(adapter) or Origin(entry.base, fingerprint(base) if base.is_dir() else "", entry.actions)
    write_origin(folder, replace(told, actions=told.actions or entry.actions))


def _refuse_shared(model: Any, adapter: Path, config: dict[str, Any]) -> None:
    """Gemma reads and writes words with one matrix: added to it, what is meant for one end would change both."""
    touched = {name.rsplit(".", 1)[-1] for name in (*lora_modules(adapter), *(config.get("modules_to_save") or ()))}
    shared = model.get_input_embeddings().weight is model.get_output_embeddings().weight
    if shared and (touched & _ENDS or config.get("trainable_token_indices")):
        raise ModelLoadError(
            f"{adapter} changes the embeddings, which its base also writes with; merged, it would say something else"
        )

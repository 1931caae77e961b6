"""Does an adapter belong on a base? Told from names and shapes, before any weight is loaded.

peft takes an adapter whose keys match nothing with a warning, and then it changes nothing; an adapter of the text-only
Gemma 3 class on the image-text class is the known case. Here that is an error.
"""

import json
import re
from pathlib import Path
from typing import Any

from vlm2vla.errors import ModelLoadError
from vlm2vla.vlm.origin import fingerprint, read_origin

_LORA = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>A|B|embedding_A|embedding_B)(\.weight)?")
_HEADER_LIMIT = 100_000_000


def refuse_misfit(folder: Path, model: Any, base_folder: Path) -> dict[str, Any]:
    """The adapter's configuration, if it belongs on `model`; `touches_vision` in it says where its layers are.

    Raises:
        ModelLoadError: It cannot be read, is no LoRA adapter, was trained on other weights, or has layers that the base
            has not.
    """
    config = _json(folder / "adapter_config.json")
    if config.get("peft_type") != "LORA":
        raise ModelLoadError(f"{folder} is an adapter of type {config.get('peft_type')!r}; only LORA is known here")
    modules = lora_modules(folder)
    if not modules:
        raise ModelLoadError(f"{folder} holds no LoRA weights, so it would change nothing")
    strange = [name for name, shape in modules.items() if not _fits(model, name, shape)]
    if strange:
        raise ModelLoadError(_misfit(folder, modules, strange, base_folder))
    origin = read_origin(folder)
    if origin and origin.base_fingerprint and base_folder.is_dir():
        found = fingerprint(base_folder)
        if found and found != origin.base_fingerprint:
            raise ModelLoadError(
                f"{folder} was trained on other weights than those in {base_folder} (fingerprint "
                f"{origin.base_fingerprint}, not {found}); name its own base ({origin.base}) with --base"
            )
    return config | {"touches_vision": any("language_model" not in name for name in modules)}


def tensor_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes in a safetensors file, from its header alone.

    Raises:
        ModelLoadError: It cannot be read as one.
    """
    try:
        with file.open("rb") as opened:
            size = int.from_bytes(opened.read(8), "little")
            if not 2 <= size <= _HEADER_LIMIT:
                raise ValueError("its header has an impossible size")
            header = json.loads(opened.read(size))
        end = (
            8
            + size
            + max((row["data_offsets"][1] for name, row in header.items() if name != "__metadata__"), default=0)
        )
        if file.stat().st_size < end:
            raise ValueError(f"it ends after {file.stat().st_size} of {end} bytes")
        return {name: tuple(row["shape"]) for name, row in header.items() if name != "__metadata__"}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelLoadError(f"cannot read the weights in {file}: {error}") from error


def lora_modules(folder: Path) -> dict[str, tuple[int | None, int | None]]:
    """Module name -> (width in, width out) of every LoRA pair.

    Raises:
        ModelLoadError: The weights are not there, or cannot be read.
    """
    file = folder / "adapter_model.safetensors"
    if not file.is_file():
        raise ModelLoadError(f"{folder} has no adapter_model.safetensors")
    found: dict[str, list[int | None]] = {}
    for name, shape in tensor_shapes(file).items():
        match = _LORA.fullmatch(name)
        if not match or len(shape) != 2:
            continue
        widths = found.setdefault(match["module"], [None, None])
        if match["side"] == "A":
            widths[0] = shape[1]
        elif match["side"] == "B":
            widths[1] = shape[0]
    return {name: (widths[0], widths[1]) for name, widths in found.items()}


def _fits(model: Any, name: str, widths: tuple[int | None, int | None]) -> bool:
    try:
        module = model.get_submodule(name)
    except AttributeError:
        return False
    module = getattr(module, "base_layer", module)  # another adapter may sit there already
    real = (getattr(module, "in_features", None), getattr(module, "out_features", None))
    return all(told is None or there is None or told == there for told, there in zip(widths, real, strict=True))


def _misfit(folder: Path, modules: dict, strange: list[str], base: Path) -> str:
    share = f"{len(strange)} of its {len(modules)} layers (such as {strange[0]})"
    if all(re.match(r"(model\.)?layers\.", name) for name in modules):
        return (
            f"{folder} was trained on the text-only class of its base: {share} are named otherwise in {base}, so it "
            "would change nothing. Train it again on the image-text class"
        )
    return f"{folder} belongs on another base: {share} do not exist in {base} in that size; name its own with --base"


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelLoadError(f"cannot read {path}: {error}") from error
    if not isinstance(found, dict):
        raise ModelLoadError(f"{path} is no JSON object")
    return found

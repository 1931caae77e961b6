"""One copy of a base's weights in memory, with the adapters that sit on it.

Everything here is used under `lock`, by one thread at a time.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vlm2vla.errors import ModelFaultError, ModelInputError, ModelLoadError, ModelUnavailableError
from vlm2vla.native import load_in_order
from vlm2vla.vlm.local.fit import refuse_misfit
from vlm2vla.vlm.local.grammar import Grammars
from vlm2vla.vlm.local.images import open_image
from vlm2vla.vlm.local.lean import Lean, fits
from vlm2vla.vlm.local.prompt import Place, Prompt, PromptMaker
from vlm2vla.vlm.local.rows import Plan, install, uninstall
from vlm2vla.vlm.local.writing import Texts

load_in_order()

logger = logging.getLogger(__name__)
_KEPT_IMAGES = 64
_DEFAULT_CONTEXT = 8192


class Weights:
    """A loaded base.

    Attributes:
        path: Folder or hub id it came from.
        model: The transformers model; adapters are set in by peft, in place.
        prompts: Makes its prompts.
        tokenizer: Its tokenizer; `texts` are those of its tokens.
        ends: Ids of the tokens that end an answer.
        context: Most tokens of a conversation with its answer.
        window: Tokens that a sliding layer looks back on.
        lock: Taken for each step of each answer.
        closed: Its memory was given back; it answers no more.
    """

    def __init__(self, path: str, *, device: str = "auto", context: int = 0):
        """Load; takes seconds (minutes for large models).

        Raises:
            ModelLoadError: No weights, broken or incomplete ones, no processor, or a kind that is not supported.
        """
        self.path = path
        self.device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        self.dtype = torch.float32 if self.device.type == "cpu" else torch.bfloat16
        self.model, processor = load_model(path, self.device, self.dtype)
        text = self.model.config.get_text_config()
        self.image_token_id = self.model.config.image_token_id
        try:
            self.prompts = PromptMaker(processor, self.image_token_id)
        except (TypeError, AttributeError, ValueError) as error:
            raise ModelLoadError(f"the tokenizer or processor in {path} is not that of the model: {error}") from error
        self.tokenizer = processor.tokenizer
        self.texts = Texts(self.tokenizer)
        self._pixels = processor.image_processor
        self.ends = _ends(self.model)
        longest = getattr(text, "max_position_embeddings", 0) or _DEFAULT_CONTEXT
        self.context = min(context or longest, longest)
        self.window = getattr(text, "sliding_window", None) or longest
        self.lock = threading.RLock()
        self.closed = False
        self._tuned: Any = None
        self._grammars: Grammars | None = None
        self._adapters: dict[str, Adapter] = {}
        self._images: OrderedDict[tuple[str, int], Tensor] = OrderedDict()
        self._arranged: tuple[str, ...] = ()
        self._plan = Plan()
        self._lean = Lean(self.model, self._plan, self.context) if fits(self.model) else None

    def attach(self, path: str) -> str:
        """Put an adapter on the weights; returns its id here. Twice the same path gives the same id.

        Raises:
            ModelLoadError: It cannot be read, or belongs on another base.
        """
        with self.lock:
            if path in self._adapters:
                return self._adapters[path].id
            folder = adapter_folder(path)
            config = refuse_misfit(folder, self.model, Path(self.path))
            adapter = Adapter(f"a{len(self._adapters)}_{abs(hash(path)) % 10**6}", config)
            try:
                self._load_adapter(folder, adapter.id)
            except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
                raise ModelLoadError(f"cannot put the adapter {path} on {self.path}: {error}") from error
            adapter.plain = adapter.plain and install(self.model, adapter.id, self._plan)
            if adapter.plain and self._lean is not None:
                self._lean.join_adapter(adapter.id)
            self._adapters[path] = adapter
            self._arranged = ("?",)
            return adapter.id

    def detach(self, path: str) -> None:
        """Forget an adapter."""
        with self.lock:
            adapter = self._adapters.pop(path, None)
            if adapter is not None:
                uninstall(self.model, adapter.id)
                if self._lean is not None:
                    self._lean.drop_adapter(adapter.id)
                self._tuned.delete_adapter(adapter.id)
                self._arranged = ("?",)
                self._images = OrderedDict((key, value) for key, value in self._images.items() if key[0] != adapter.id)

    def attached(self, adapter: str) -> bool:
        """Whether the adapter of this id ("" for none) is still there."""
        return not adapter or any(known.id == adapter for known in list(self._adapters.values()))

    def close(self) -> None:
        """Give the memory back; answers under way end with an error."""
        with self.lock:
            self.closed = True
            self.model = self._tuned = self._lean = None
            self._images.clear()

    def grammars(self) -> Grammars:
        """The compiler of grammars for this tokenizer, made at its first use."""
        with self.lock:
            if self._grammars is None:
                size = self.model.get_output_embeddings().weight.shape[0]
                self._grammars = Grammars(self.tokenizer, size, self.ends)
            return self._grammars

    def mixable(self, adapter: str) -> bool:
        """May rows of this adapter ("" for the base) stand in one batch with rows of others?"""
        return not adapter or self._of(adapter).plain

    def forward(
        self,
        rows: Sequence[str],
        ids: Tensor,
        positions: Tensor,
        masks: Mapping[str, Tensor | None],
        cache: Any,
        images: Tensor | None = None,
        keep: int = 1,
        merged: bool = False,
    ) -> Tensor:
        """Logits [B, keep, vocabulary] in float32 behind the last `keep` tokens; the cache grows by the new tokens.

        Args:
            rows: Row i is answered by adapter rows[i], "" being the base.
            ids: [B, n].
            positions: [B, n].
            masks: [B, 1, n, places] of bool for "full_attention" and "sliding_attention" layers, None for causal.
            cache: transformers' DynamicCache.
            images: [images, tokens, width], encoded, in the order of their places.
            keep: How many.
            merged: See `Lean`; other ways of computing know no such thing.

        Raises:
            ModelUnavailableError: The weights, or an adapter of a row, are gone.
            ModelFaultError: No memory left.
        """
        with self.lock, torch.inference_mode():
            self._arrange(tuple(rows))
            try:
                if self._lean is not None and self._plan.parts is not None:
                    return self._lean(ids, positions, masks, cache, images, keep, merged)
                return self._by_transformers(ids, positions, masks, cache, images, keep)
            except (torch.OutOfMemoryError, MemoryError) as error:
                raise _no_memory(error) from error
            except RuntimeError as error:
                if "memory" in str(error):
                    raise _no_memory(error) from error
                raise

    def _by_transformers(self, ids, positions, masks, cache, images, keep) -> Tensor:
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        encoded = None if images is None else {"image": BaseModelOutputWithPooling(pooler_output=images)}
        return self.model(
            input_ids=ids,
            position_ids=positions,
            attention_mask=masks,
            past_key_values=cache,
            mm_encoder_outputs=encoded,
            logits_to_keep=keep,
            use_cache=True,
            return_dict=True,
        ).logits.float()

    def features(self, place: Place, adapter: str) -> Tensor:
        """[image tokens, width] of an image; encoded once, and once more for adapters that change the vision tower.

        Raises:
            ModelInputError: No image, or one that is too large.
        """
        owner = adapter if adapter and self._of(adapter).sees else ""
        with self.lock:
            if (owner, place.key) in self._images:
                self._images.move_to_end((owner, place.key))
                return self._images[owner, place.key]
        pixels = self.pixels(place)
        with self.lock, torch.inference_mode():
            self._arrange((owner,))
            encoded = self.model.get_image_features(pixels.to(self.device, self.dtype), return_dict=True)
            features = encoded.pooler_output[0]
            self._images[owner, place.key] = features
            while len(self._images) > _KEPT_IMAGES:
                self._images.popitem(last=False)
        return features

    def encoded(self, place: Place, adapter: str) -> bool:
        """Is this image in the cache of encoded images?"""
        owner = adapter if adapter and self._of(adapter).sees else ""
        return (owner, place.key) in self._images

    def pixels(self, place: Place) -> Tensor:
        """[1, 3, h, w] as the vision tower takes it."""
        image = open_image(place.part)
        try:
            return self._pixels(images=[image], return_tensors="pt")["pixel_values"]
        except (ValueError, OSError) as error:
            raise ModelInputError(f"an image of {image.width} x {image.height} cannot be used: {error}") from error

    def room(self, prompt: Prompt, wanted: int) -> int:
        """How many tokens may be written after a prompt, at most `wanted`.

        Raises:
            ModelInputError: The prompt alone fills the context.
        """
        if len(prompt) >= self.context:
            raise ModelInputError(
                f"the conversation has {len(prompt)} tokens, and this model takes {self.context} with the answer; "
                "leave out earlier turns or images"
            )
        return min(wanted, self.context - len(prompt))

    def _of(self, adapter: str) -> "Adapter":
        for known in self._adapters.values():
            if known.id == adapter:
                return known
        raise ModelUnavailableError("this adapter was unloaded in the meantime; ask again to load it")

    def _arrange(self, rows: tuple[str, ...]) -> None:
        """Make the adapters ready for rows; cheap when nothing changed."""
        if self.closed:
            raise ModelUnavailableError("this model was unloaded in the meantime; ask again to load it")
        if rows == self._arranged:
            return
        for adapter in set(rows):
            if adapter:
                self._of(adapter)
        self._arranged = ("?",)
        if all(self.mixable(adapter) for adapter in set(rows)):
            if self._tuned is not None:
                self._tuned.base_model.disable_adapter_layers()
            self._plan.arrange(rows)
        else:
            if len(set(rows)) > 1:
                raise ValueError(f"adapters {rows} cannot be mixed in one batch")
            self._plan.parts = None
            self._tuned.base_model.enable_adapter_layers()
            self._tuned.base_model.set_adapter(rows[0], inference_mode=True)
        self._arranged = rows

    def _load_adapter(self, folder: Path, name: str) -> None:
        from peft import PeftModel

        if self._tuned is None:
            self._tuned = PeftModel.from_pretrained(self.model, folder, adapter_name=name, is_trainable=False)
        else:
            self._tuned.load_adapter(folder, adapter_name=name, is_trainable=False, torch_device=str(self.device))
        self._tuned.eval()


class Adapter:
    """What has to be known about an adapter on some weights.

    Attributes:
        id: Its name inside peft.
        plain: LoRA on language layers only, so that its rows may be mixed with others.
        sees: It changes the vision tower or the projector, so images have to be encoded for it alone.
    """

    def __init__(self, name: str, config: dict[str, Any]):
        """Read what adapter_config.json says."""
        self.id = name
        extra = ("modules_to_save", "trainable_token_indices", "layer_replication", "target_parameters")
        self.sees = bool(config["touches_vision"])
        self.plain = not (config.get("use_dora") or config.get("bias", "none") != "none" or self.sees) and not any(
            config.get(name) for name in extra
        )


def load_model(path: str, device: torch.device, dtype: torch.dtype | str) -> tuple[Any, Any]:
    """Model and processor; dtype "auto" takes the format that the model's config names.

    Raises:
        ModelLoadError: They cannot be read, or are incomplete, or are of a kind that is not supported.
    """
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    try:
        processor = AutoProcessor.from_pretrained(path)
        model, told = AutoModelForImageTextToText.from_pretrained(
            path, dtype=dtype, attn_implementation="sdpa", use_safetensors=True, output_loading_info=True
        )
    except Exception as error:  # whatever a damaged file makes the libraries raise, it is a model that cannot be loaded
        raise ModelLoadError(f"cannot load the model in {path}: {type(error).__name__}: {error}") from error
    if told["missing_keys"] or told.get("mismatched_keys"):
        lost = sorted(map(str, [*told["missing_keys"], *told.get("mismatched_keys", ())]))
        raise ModelLoadError(f"weights are missing in {path}: {', '.join(lost[:3])} and {max(0, len(lost) - 3)} more")
    if model.config.model_type != "gemma3":
        raise ModelLoadError(
            f"{path} is a {model.config.model_type}; in this process only Gemma 3 models answer. "
            "Serve it (vLLM, or transformers serve) and add it by its URL"
        )
    return model.to(device).eval().requires_grad_(False), processor


def _ends(model: Any) -> frozenset[int]:
    found: set[int] = set()
    for config in (model.generation_config, model.config, model.config.get_text_config()):
        ends = getattr(config, "eos_token_id", None)
        found |= {ends} if isinstance(ends, int) else set(ends or ())
    return frozenset(found)


def adapter_folder(path: str) -> Path:
    """The folder of an adapter, fetched from the hub where `path` is a hub id.

    Raises:
        ModelLoadError: It is neither.
    """
    if Path(path).is_dir():
        return Path(path)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(path, allow_patterns=["adapter_*"]))
    except Exception as error:  # network, rights, a name that is not there
        raise ModelLoadError(f"no adapter in {path}: {error}") from error


def _no_memory(error: BaseException) -> ModelFaultError:
    first = (str(error).splitlines() or [""])[0][:200]
    return ModelFaultError(f"memory ran out: {first}; ask with fewer images or turns, or unload another model")

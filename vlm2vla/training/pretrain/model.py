"""The embedded model itself: Gemma 3 and its processor at a small size, how its weights begin, how it is stored.

Weights of the language model begin so that words which name one thing, in any language, start near each other and near
the soft image tokens of that thing (`SoftSpace.concept`); then looking something up is nearly learned already.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from vlm2vla.training.pretrain.config import POSITIONS, VlmShape
from vlm2vla.training.pretrain.soft import SoftSpace

if TYPE_CHECKING:
    from transformers import (
        Gemma3Config,
        Gemma3ForConditionalGeneration,
        Gemma3Processor,
        GemmaTokenizer,
        SiglipVisionConfig,
    )

# Final norm and norms behind attention and feed-forward, as learned in trials: short residuals, calm logits.
_FINAL_NORM, _RESIDUAL = 0.3, 0.25
_SHARED, _OWN = 0.8, 0.6  # of a word's vector: what all names of the thing share, and its own


def model_config(shape: VlmShape, tokenizer: "GemmaTokenizer") -> "Gemma3Config":
    """The configuration of `Gemma3ForConditionalGeneration` at this size."""
    from transformers import Gemma3Config, Gemma3TextConfig

    head = shape.width // shape.heads
    rope = {"rope_type": "default", "rope_theta": 10_000.0}
    end = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<end_of_turn>")]
    text = Gemma3TextConfig(
        vocab_size=-(-len(tokenizer) // 64) * 64,
        hidden_size=shape.width,
        intermediate_size=shape.ffn,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=head,
        query_pre_attn_scalar=head,
        max_position_embeddings=POSITIONS,
        # Prompts are short beside Gemma's window: every layer sees all of it.
        sliding_window=POSITIONS,
        layer_types=["full_attention"] * shape.layers,
        rope_parameters={"full_attention": dict(rope), "sliding_attention": dict(rope)},
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=end,
    )
    config = Gemma3Config(
        text_config=text,
        vision_config=vision_config(shape),
        mm_tokens_per_image=shape.image_tokens,
        boi_token_index=tokenizer.convert_tokens_to_ids(tokenizer.boi_token),
        eoi_token_index=tokenizer.convert_tokens_to_ids(tokenizer.eoi_token),
        image_token_index=tokenizer.convert_tokens_to_ids(tokenizer.image_token),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=end,
    )
    config._attn_implementation = "sdpa"
    return config


def vision_config(shape: VlmShape) -> "SiglipVisionConfig":
    """The configuration of the tower."""
    from transformers import SiglipVisionConfig

    return SiglipVisionConfig(
        hidden_size=shape.vision_width,
        intermediate_size=shape.vision_ffn,
        num_hidden_layers=shape.vision_layers,
        num_attention_heads=shape.vision_heads,
        image_size=shape.px,
        patch_size=shape.patch,
        vision_use_head=False,
    )


def build_model(
    shape: VlmShape, tokenizer: "GemmaTokenizer", space: SoftSpace, words: Mapping[str, Iterable[str]], seed: int = 0
) -> "Gemma3ForConditionalGeneration":
    """A model with fresh weights.

    Args:
        shape: Sizes.
        tokenizer: Whose pieces it reads and writes.
        space: The space of its image tokens.
        words: Names of each concept in all languages: {"kind:cube": ["cube", "block", "cubo"], ...}.
        seed: Of the weights.
    """
    import torch
    from transformers import Gemma3ForConditionalGeneration, GenerationConfig

    torch.manual_seed(seed)
    config = model_config(shape, tokenizer)
    model = Gemma3ForConditionalGeneration(config)
    with torch.no_grad():
        _begin(model, tokenizer, space, words)
    end = config.text_config.eos_token_id
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, pad_token_id=tokenizer.pad_token_id, eos_token_id=end, do_sample=False
    )
    return model


def _begin(
    model: "Gemma3ForConditionalGeneration",
    tokenizer: "GemmaTokenizer",
    space: SoftSpace,
    words: Mapping[str, Iterable[str]],
) -> None:
    import torch

    text = model.model.language_model
    table = text.embed_tokens.weight
    width = table.shape[1]
    text.norm.weight.fill_(_FINAL_NORM - 1)
    for layer in text.layers:
        layer.post_attention_layernorm.weight.fill_(_RESIDUAL - 1)
        layer.post_feedforward_layernorm.weight.fill_(_RESIDUAL - 1)
    torch.nn.init.normal_(table, std=width**-0.5)
    table[tokenizer.pad_token_id] = 0
    for concept, names in words.items():
        shared = torch.from_numpy(space.concept(concept)).float()  # unit length, as long as a random row
        for piece in single_pieces(tokenizer, names):
            table[piece] = _SHARED * shared + _OWN * torch.randn(width) * width**-0.5
    projection = model.model.multi_modal_projector.mm_input_projection_weight
    torch.nn.init.normal_(projection, std=projection.shape[0] ** -0.5)


def single_pieces(tokenizer: "GemmaTokenizer", names: Iterable[str]) -> set[int]:
    """Ids of the names that are one piece, each with and without a space in front."""
    found = set()
    for name in names:
        for text in (name, f" {name}"):
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            if len(ids) == 1:
                found.add(ids[0])
    return found


def build_processor(shape: VlmShape, tokenizer: "GemmaTokenizer") -> "Gemma3Processor":
    """The processor: pictures to `px` with PIL, one image token for each patch."""
    from transformers import Gemma3Processor
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

    images = Gemma3ImageProcessorPil(size={"height": shape.px, "width": shape.px})
    template = tokenizer.chat_template
    return Gemma3Processor(
        image_processor=images, tokenizer=tokenizer, chat_template=template, image_seq_length=shape.image_tokens
    )


def save_model(
    folder: Path,
    model: "Gemma3ForConditionalGeneration",
    processor: "Gemma3Processor",
    *,
    half: bool = False,
) -> None:
    """Write model and processor so that `AutoModelForImageTextToText` and `AutoProcessor` load them.

    Args:
        folder: Made where it is missing.
        model: Left as it is.
        processor: With its tokenizer.
        half: Store the weights as float16: half the size.
    """
    import copy

    import torch

    folder.mkdir(parents=True, exist_ok=True)
    stored = copy.deepcopy(model).to(torch.float16) if half else model
    stored.save_pretrained(folder)
    processor.save_pretrained(folder)
    if half:
        _compute_in_float32(folder / "config.json")


def _compute_in_float32(path: Path) -> None:
    """Half is how the weights are stored, not how a CPU should compute with them."""
    config = json.loads(path.read_text(encoding="utf-8"))
    for part in (config, config["text_config"], config["vision_config"]):
        part["dtype"] = "float32"
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")

"""The architecture of the real Gemma 3 models without their weights, to check presets and adapters against.

The values are those of the conversion script of transformers (src/transformers/models/gemma3/convert_gemma3_weights.py)
that made the published checkpoints, with the 64 rows that it adds to the embeddings; their sums of parameters are the
published ones.
"""

from typing import Any

from vlm2vla.config import did_you_mean
from vlm2vla.errors import NotFoundError

_VOCABULARY, _IMAGE_TOKEN, _BEGIN_IMAGE, _END_IMAGE = 262_208, 262_144, 255_999, 256_000
_TEXT: dict[str, dict[str, int]] = {
    "google/gemma-3-4b-it": {
        "hidden_size": 2560,
        "intermediate_size": 10_240,
        "num_hidden_layers": 34,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "query_pre_attn_scalar": 256,
    },
    "google/gemma-3-12b-it": {
        "hidden_size": 3840,
        "intermediate_size": 15_360,
        "num_hidden_layers": 48,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 256,
        "query_pre_attn_scalar": 256,
    },
    "google/gemma-3-27b-it": {
        "hidden_size": 5376,
        "intermediate_size": 21_504,
        "num_hidden_layers": 62,
        "num_attention_heads": 32,
        "num_key_value_heads": 16,
        "head_dim": 128,
        "query_pre_attn_scalar": 168,
    },
}
_VISION = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "image_size": 896,
    "patch_size": 14,
    "vision_use_head": False,
}
PARAMETERS = {
    "google/gemma-3-4b-it": 4_300_079_472,
    "google/gemma-3-12b-it": 12_187_325_040,
    "google/gemma-3-27b-it": 27_432_406_640,
}
"""Published sums of parameters."""


def gemma3_config(name: str) -> Any:
    """The configuration of a published Gemma 3, by its hub id; nothing is downloaded.

    Raises:
        NotFoundError: None of the three that see.
    """
    from transformers import Gemma3Config

    if name not in _TEXT:
        raise NotFoundError(f"no Gemma 3 {name!r}; {did_you_mean(name, _TEXT)}")
    text = _TEXT[name] | {
        "vocab_size": _VOCABULARY,
        "sliding_window": 1024,
        "max_position_embeddings": 131_072,
        "rope_parameters": {
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1_000_000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
        },
    }
    return Gemma3Config(
        text_config=text,
        vision_config=_VISION,
        mm_tokens_per_image=256,
        image_token_index=_IMAGE_TOKEN,
        boi_token_index=_BEGIN_IMAGE,
        eoi_token_index=_END_IMAGE,
        eos_token_id=[1, 106],
    )


def gemma3_on_meta(name: str) -> Any:
    """A published Gemma 3 as a model on the meta device: every layer with its shape, none with numbers.

    Raises:
        NotFoundError: As for `gemma3_config`.
    """
    import torch
    from transformers import Gemma3ForConditionalGeneration

    with torch.device("meta"):
        return Gemma3ForConditionalGeneration(gemma3_config(name))

"""Attention for packed rows, in the arithmetic that is quick here (`arithmetic`); equal to that of the library.

`quick(model)` is a context: inside it the language model runs in that arithmetic with float32 weights.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from vlm2vla.training.arithmetic import bfloat16_is_quick, quick_arithmetic

if TYPE_CHECKING:
    from transformers import Gemma3ForConditionalGeneration

_NAME = "packed"
HIDDEN = -1e4
"""Added to the score of a token that is not seen."""


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention with an additive mask.

    Args:
        module: The layer; not used.
        query: [B, heads, L, head].
        key: [B, kv heads, L, head].
        value: As `key`.
        attention_mask: [B, 1, L, L], 0 or HIDDEN, of the type in which scores are computed.
        scaling: Of the scores.

    Returns:
        [B, L, heads, head], and None for the weights.
    """
    batch, heads, length, head = query.shape
    groups = key.shape[1]
    kind = attention_mask.dtype
    with torch.autocast("cpu", enabled=False):
        asked = (query * (scaling or head**-0.5)).to(kind).reshape(batch, groups, -1, head)
        scores = asked @ key.to(kind).transpose(-1, -2)
        scores = scores.view(batch, groups, heads // groups, length, length).add_(attention_mask[:, :, None])
        weights = scores.softmax(-1).view(batch, groups, -1, length)
        seen = (weights @ value.to(kind)).view(batch, heads, length, head)
    return seen.transpose(1, 2).contiguous(), None


@contextmanager
def quick(model: "Gemma3ForConditionalGeneration") -> Iterator[None]:
    """The language model of `model` with `packed_attention`, in the quicker arithmetic."""
    from transformers import AttentionInterface

    AttentionInterface.register(_NAME, packed_attention)
    config = model.model.language_model.config
    before = config._attn_implementation
    config._attn_implementation = _NAME
    try:
        with quick_arithmetic():
            yield
    finally:
        config._attn_implementation = before


def additive(mask: torch.Tensor) -> torch.Tensor:
    """A bool mask as `packed_attention` takes it."""
    kind = torch.bfloat16 if bfloat16_is_quick() else torch.float32
    return torch.zeros(mask.shape, dtype=kind).masked_fill(~mask, HIDDEN)

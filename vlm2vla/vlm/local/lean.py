"""The forward pass of a small Gemma 3 on a CPU, with few and large steps.

A small model spends most of a token's time between its operations, in the bookkeeping of modules. Here one matrix makes
queries, keys and values, one makes gate and up, and norms are one call. The weights are the model's own (its layers see
views of the joined matrices), and so are the results, up to rounding; the tests hold them against transformers.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from vlm2vla.vlm.local.rows import Plan

LARGEST_WIDTH = 1024
"""Wider models spend their time in the arithmetic, where nothing is gained."""
MERGED_WIDTH = 512
"""Up to this width a session that drives may keep its adapter's layers a second time, merged with the base's: 10 MB for
the embedded model."""
Parts = Sequence[tuple[slice | None, str]] | str
"""Lines of the matrix [B * n, width] and their adapters; or the adapter of all, to be answered from merged layers."""


class Lean:
    """The text model of a Gemma 3, images already being tokens of its width."""

    def __init__(self, model: Any, plan: Plan, context: int):
        """Join the weights of `model` in place.

        Args:
            model: Gemma3ForConditionalGeneration on the CPU, no adapters on it yet.
            plan: Which adapter answers which rows.
            context: Positions to prepare.
        """
        text = model.model.language_model
        self._model, self._plan, self._config = model, plan, text.config
        self._layers = [_Layer(layer, self._config) for layer in text.layers]
        self._norm, self._eps = 1.0 + text.norm.weight, self._config.rms_norm_eps
        positions, probe = torch.arange(context)[None], torch.zeros(1, 1, 1)
        self._turns = {
            kind: tuple(part[0] for part in text.rotary_emb(probe, positions, kind))
            for kind in set(self._config.layer_types)
        }

    def join_adapter(self, adapter: str) -> None:
        """Take in an adapter that `rows.install` has put on the layers."""
        for layer in self._layers:
            layer.join_adapter(adapter)

    def drop_adapter(self, adapter: str) -> None:
        """Forget an adapter."""
        for layer in self._layers:
            layer.drop_adapter(adapter)

    def __call__(
        self,
        ids: Tensor,
        positions: Tensor,
        masks: dict[str, Tensor | None],
        cache: Any,
        images: Tensor | None,
        keep: int,
        merged: bool = False,
    ) -> Tensor:
        """Logits [B, keep, vocabulary]; the cache grows by the new tokens.

        Args:
            ids: [B, n].
            positions: [B, n].
            masks: For each kind of layer, as `Reading` makes them.
            cache: transformers' DynamicCache.
            images: [images, tokens, width] in the order of their places in `ids`.
            keep: Last tokens to judge.
            merged: Take layers with the adapter merged in, where all rows have the same: a third faster by token.
        """
        parts = self._parts(ids.shape[1], merged)
        x = self._model.model.language_model.embed_tokens(ids)
        if images is not None:
            x[ids == self._model.config.image_token_id] = images.flatten(0, 1)
        turns = {
            kind: (cos[positions][:, :, None], sin[positions][:, :, None]) for kind, (cos, sin) in self._turns.items()
        }
        x = x.flatten(0, 1)  # every step on one matrix, whatever the rows
        for number, (layer, kind) in enumerate(zip(self._layers, self._config.layer_types, strict=True)):
            x = layer(x, turns[kind], masks[kind], cache, number, parts)
        x = functional.rms_norm(x.view(*ids.shape, -1)[:, -keep:], (x.shape[-1],), self._norm, self._eps)
        return functional.linear(x, self._model.lm_head.weight)

    def _parts(self, count: int, merged: bool) -> Parts:
        """The plan for rows of so many tokens each."""
        parts = self._plan.parts
        if merged and self._config.hidden_size <= MERGED_WIDTH and len(parts) == 1 and parts[0][0] is None:
            return parts[0][1]
        return [(rows and slice(rows.start * count, rows.stop * count), adapter) for rows, adapter in parts]


def fits(model: Any) -> bool:
    """Is it a model that this module can do, and that gains from it?"""
    config = model.config.get_text_config()
    return (
        model.config.model_type == "gemma3"
        and model.device.type == "cpu"
        and model.dtype == torch.float32
        and config.hidden_size <= LARGEST_WIDTH
        and config.hidden_activation == "gelu_pytorch_tanh"
        and not config.attention_bias
        and config.attn_logit_softcapping is None
        and config.final_logit_softcapping is None
        and not config.use_bidirectional_attention
    )


class _Joined:
    """Several linear layers of one input as one.

    The matrix is stored [in, out], in which few tokens are multiplied fastest; the layers see parts of it, turned back.
    """

    def __init__(self, owner: Any, names: Sequence[str]):
        self._owner, self._names = owner, names
        weights = [getattr(owner, name).weight for name in names]
        self._weight = torch.cat([weight.data for weight in weights]).t().contiguous()
        self.sizes = [len(weight) for weight in weights]
        for weight, view in zip(weights, self._weight.split(self.sizes, dim=1), strict=True):
            weight.data = view.t()
        self._adapters: dict[str, tuple[Tensor, Tensor]] = {}
        self._merged: dict[str, Tensor] = {}

    def join_adapter(self, adapter: str) -> None:
        """One pair of matrices for the pairs of all layers, [in, rank] and, in blocks, [rank, out]."""
        pairs = [getattr(getattr(self._owner, name), "row_pairs", {}).get(adapter) for name in self._names]
        there = [(pair, size) for pair, size in zip(pairs, self.sizes, strict=True)]
        downs = [pair[0] for pair in pairs if pair is not None]
        if not downs:
            return
        up = torch.zeros(sum(len(down) for down in downs), sum(self.sizes))
        row = column = 0
        for pair, size in there:
            if pair is not None:
                up[row : row + len(pair[0]), column : column + size] = (pair[1] * pair[2]).t()
                row += len(pair[0])
            column += size
        self._adapters[adapter] = (torch.cat(downs).t().contiguous(), up)

    def drop_adapter(self, adapter: str) -> None:
        self._adapters.pop(adapter, None)
        self._merged.pop(adapter, None)

    def __call__(self, x: Tensor, parts: Parts) -> Tensor:
        if isinstance(parts, str):
            if parts not in self._merged:
                pair = self._adapters.get(parts)
                plain = pair is None
                self._merged[parts] = self._weight if plain else torch.addmm(self._weight, pair[0], pair[1])
            return torch.mm(x, self._merged[parts])
        result = torch.mm(x, self._weight)
        for lines, adapter in parts:
            pair = self._adapters.get(adapter)
            if pair is None:
                continue
            some, into = (x, result) if lines is None else (x[lines], result[lines])
            into.addmm_(torch.mm(some, pair[0]), pair[1])
        return result


class _Layer:
    """One decoder layer."""

    def __init__(self, layer: Any, config: Any):
        attention = layer.self_attn
        self._heads, self._kv, self._size = config.num_attention_heads, config.num_key_value_heads, attention.head_dim
        self._scale, self._eps = attention.scaling, config.rms_norm_eps
        self._qkv = _Joined(attention, ("q_proj", "k_proj", "v_proj"))
        self._out = _Joined(attention, ("o_proj",))
        self._gate_up = _Joined(layer.mlp, ("gate_proj", "up_proj"))
        self._down = _Joined(layer.mlp, ("down_proj",))
        self._joined = (self._qkv, self._out, self._gate_up, self._down)
        norms = (
            layer.input_layernorm,
            layer.post_attention_layernorm,
            layer.pre_feedforward_layernorm,
            layer.post_feedforward_layernorm,
        )
        self._norms = [1.0 + norm.weight for norm in norms]
        query, key = 1.0 + attention.q_norm.weight, 1.0 + attention.k_norm.weight
        self._head_norms = torch.stack([query] * self._heads + [key] * self._kv)

    def join_adapter(self, adapter: str) -> None:
        for joined in self._joined:
            joined.join_adapter(adapter)

    def drop_adapter(self, adapter: str) -> None:
        for joined in self._joined:
            joined.drop_adapter(adapter)

    def __call__(
        self, x: Tensor, turn: tuple[Tensor, Tensor], mask: Tensor | None, cache: Any, number: int, parts
    ) -> Tensor:
        attended = self._attend(self._normed(x, 0), turn, mask, cache, number, parts)
        x = x + self._normed(attended, 1)
        gate, up = self._gate_up(self._normed(x, 2), parts).split(self._gate_up.sizes, dim=-1)
        return x + self._normed(self._down(functional.gelu(gate, approximate="tanh") * up, parts), 3)

    def _normed(self, x: Tensor, which: int) -> Tensor:
        return functional.rms_norm(x, (x.shape[-1],), self._norms[which], self._eps)

    def _attend(
        self, x: Tensor, turn: tuple[Tensor, Tensor], mask: Tensor | None, cache: Any, number: int, parts
    ) -> Tensor:
        batch, count = turn[0].shape[:2]
        both = self._heads + self._kv
        mixed = self._qkv(x, parts).view(batch, count, both + self._kv, self._size)
        turned = functional.rms_norm(mixed[:, :, :both], (self._size,), None, self._eps) * self._head_norms
        half = self._size // 2
        other = torch.cat((-turned[..., half:], turned[..., :half]), dim=-1)
        turned = torch.addcmul(turned * turn[0], other, turn[1]).transpose(1, 2)
        keys, values = cache.update(turned[:, self._heads :], mixed[:, :, both:].transpose(1, 2), number)
        attended = functional.scaled_dot_product_attention(
            turned[:, : self._heads],
            keys,
            values,
            attn_mask=mask,
            is_causal=mask is None and count > 1,
            scale=self._scale,
            enable_gqa=self._heads != self._kv,
        )
        return self._out(attended.transpose(1, 2).reshape(batch * count, -1), parts)

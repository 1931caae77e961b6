"""LoRA for each row of a batch: base and adapters answer together from one copy of the weights.

peft can mix adapters in a batch (`adapter_names`), but spends more time on each layer's bookkeeping than a small model
on its arithmetic. Here a layer does nothing but the products, with the rows arranged once for many tokens. The weights
stay where peft put them, and peft's own forward serves what is not plain LoRA on a linear layer.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


class Plan:
    """Which adapter answers which rows, for all layers at once.

    Attributes:
        parts: (rows, adapter) for each run of rows with an adapter, rows None meaning all; None leaves it to peft.
    """

    def __init__(self):
        """Everything is the base."""
        self.parts: tuple[tuple[slice | None, str], ...] | None = ()

    def arrange(self, rows: Sequence[str]) -> None:
        """Row i is answered by adapter rows[i], "" being the base."""
        if len(set(rows)) == 1:
            self.parts = ((None, rows[0]),) if rows[0] else ()
            return
        parts, start = [], 0
        for end in range(1, len(rows) + 1):
            if end == len(rows) or rows[end] != rows[start]:
                if rows[start]:
                    parts.append((slice(start, end), rows[start]))
                start = end
        self.parts = tuple(parts)


def install(model: Any, adapter: str, plan: Plan) -> bool:
    """Let an adapter's LoRA layers follow the plan; False where one of them is not plain, so that peft must do it."""
    from peft.tuners.lora import LoraLayer

    layers = [module for module in model.modules() if isinstance(module, LoraLayer) and adapter in module.lora_A]
    if not all(_plain(layer, adapter) for layer in layers):
        return False
    for layer in layers:
        if not hasattr(layer, "row_pairs"):
            layer.row_pairs = {}
            layer.forward = _forward(layer, plan, layer.forward)
        weight = layer.base_layer.weight
        down = layer.lora_A[adapter].weight.detach().to(weight)
        up = layer.lora_B[adapter].weight.detach().to(weight)
        layer.row_pairs[adapter] = (down, up, layer.scaling[adapter])
    return True


def uninstall(model: Any, adapter: str) -> None:
    """Forget an adapter's weights."""
    for module in model.modules():
        getattr(module, "row_pairs", {}).pop(adapter, None)


def _plain(layer: Any, adapter: str) -> bool:
    return (
        type(layer.base_layer) is torch.nn.Linear
        and adapter in layer.lora_B
        and layer.lora_A[adapter].bias is None
        and layer.lora_B[adapter].bias is None
        and adapter not in layer.lora_variant
        and not layer.fan_in_fan_out
    )


def _forward(layer: Any, plan: Plan, by_peft: Any) -> Any:
    base, pairs = layer.base_layer, layer.row_pairs

    def forward(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if plan.parts is None:
            return by_peft(x, *args, **kwargs)
        result = functional.linear(x, base.weight, base.bias)
        for rows, adapter in plan.parts:
            pair = pairs.get(adapter)
            if pair is None:
                continue
            down, up, scale = pair
            if rows is None:
                result.add_(functional.linear(functional.linear(x, down), up), alpha=scale)
            else:
                result[rows].add_(functional.linear(functional.linear(x[rows], down), up), alpha=scale)
        return result

    return forward

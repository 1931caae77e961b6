"""Muon: momentum whose update matrix is made nearly orthogonal (five Newton-Schulz steps, Jordan et al. 2024).

For the weight matrices of the language model; embeddings, norms and the tower take AdamW. Own small float32 version.
"""

from collections.abc import Iterable

import torch

from vlm2vla.training.arithmetic import bfloat16_is_quick

_MOMENTUM = 0.95
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


class Muon(torch.optim.Optimizer):
    """Only for matrices.

    Args:
        matrices: Parameters with two dimensions.
        lr: Length of a step; each update has about one in every singular value.
    """

    def __init__(self, matrices: Iterable[torch.nn.Parameter], lr: float):
        super().__init__(matrices, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """One step with the gradients that are there."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[tuple[torch.nn.Parameter, torch.Tensor]]] = {}
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                momentum = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
                momentum.lerp_(weight.grad, 1 - _MOMENTUM)
                ahead = weight.grad.lerp(momentum, _MOMENTUM)
                shapes.setdefault(weight.shape, []).append((weight, ahead))
            for shape, pairs in shapes.items():
                updates = orthogonal(torch.stack([ahead for _, ahead in pairs]))
                scale = group["lr"] * max(1.0, shape[0] / shape[1]) ** 0.5
                for (weight, _), update in zip(pairs, updates, strict=True):
                    weight.add_(update, alpha=-scale)


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """[n, rows, columns] with all singular values near one, the directions kept."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    kind = x.dtype
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    if bfloat16_is_quick():  # precise enough for a direction, as in the original
        x = x.bfloat16()
    a, b, c = _COEFFICIENTS
    for _ in range(5):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if tall else x).to(kind)

"""In which arithmetic training steps are quick: bfloat16 where the processor multiplies it, else float32.

A processor without such instructions computes bfloat16 all the same, many times slower than float32.
"""

from functools import cache

import torch


@cache
def bfloat16_is_quick(device: str = "cpu") -> bool:
    """Whether `device` ("cpu", "cuda", ...) has instructions for it."""
    if device != "cpu":
        return True
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def quick_arithmetic(device: str = "cpu") -> torch.autocast:
    """A context in which matrix products are computed in the quicker of the two; weights stay as they are."""
    return torch.autocast(device, torch.bfloat16, enabled=bfloat16_is_quick(device))

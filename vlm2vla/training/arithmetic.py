"""In which arithmetic pretraining is quick: bfloat16 where the processor multiplies matrices of it, else float32.

On a CPU that is only so with matrix instructions (AMX). With vector instructions alone (AVX-512) steps of the small
embedded model took twice as long in bfloat16 as in float32, since the numbers are converted to and fro; with none at
all, many times as long. Fine-tuning, which packs few long rows, is quicker in float32 on any CPU (see `trainers`).
"""

from functools import cache

import torch


@cache
def bfloat16_is_quick(device: str = "cpu") -> bool:
    """Whether `device` ("cpu", "cuda", ...) has instructions for it that pay."""
    return device != "cpu" or torch.cpu._is_amx_tile_supported()


def quick_arithmetic(device: str = "cpu") -> torch.autocast:
    """A context in which matrix products are computed in the quicker of the two; weights stay as they are."""
    return torch.autocast(device, torch.bfloat16, enabled=bfloat16_is_quick(device))

"""The eyes of the embedded model: a SigLIP tower and Gemma's projector, pixels to image tokens.

Both are the very parts of `Gemma3ForConditionalGeneration`, so their weights go into it by name. Knows nothing of how
they learn (`tower_stage`).
"""

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from vlm2vla.errors import ConfigError, NotFoundError, WorkspaceError
from vlm2vla.training.arithmetic import quick_arithmetic
from vlm2vla.training.pretrain.config import VlmShape
from vlm2vla.training.pretrain.pictures import PictureSet

WEIGHTS = "tower.safetensors"
TOKENS = "tokens.npy"

_LOCAL_LAYERS = 3
_REACH = (0.75, 1.0, 1.5)  # patches between a patch and the neighbour that a layer looks at first
_PLACE, _SLOWEST, _SPAN = 0.8, 100.0, 16.0


class Tower(nn.Module):
    """Pictures to hidden states and image tokens.

    Args:
        shape: Sizes.

    Attributes:
        vision_tower, multi_modal_projector: Named as in `Gemma3Model`.
    """

    def __init__(self, shape: VlmShape):
        super().__init__()
        from transformers import Gemma3Config, Gemma3TextConfig, SiglipVisionModel
        from transformers.models.gemma3.modeling_gemma3 import Gemma3MultiModalProjector

        from vlm2vla.training.pretrain.model import vision_config

        self.shape = shape
        vision = vision_config(shape)
        vision._attn_implementation = _plain_attention()
        self.vision_tower = SiglipVisionModel(vision)
        self.multi_modal_projector = Gemma3MultiModalProjector(
            Gemma3Config(
                vision_config=vision_config(shape),
                text_config=Gemma3TextConfig(hidden_size=shape.width),
                mm_tokens_per_image=shape.image_tokens,
            )
        )

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Hidden states and image tokens.

        Args:
            pixels: float32 [B, 3, px, px], -1..1.

        Returns:
            float32 [B, T, vision width] and float32 [B, T, width].
        """
        with quick_arithmetic():
            hidden = self.vision_tower(pixel_values=pixels).last_hidden_state
        hidden = hidden.float()
        return hidden, self.multi_modal_projector(hidden)


def _plain_attention() -> str:
    """Registers attention by plain matrix products, all in the type of its input, and returns its name.

    In bfloat16 on a CPU the backward pass of the fused one takes half of a step.
    """
    from transformers import AttentionInterface

    def plain(module, query, key, value, mask, scaling, dropout=0.0, **_):
        looks = ((query * scaling) @ key.mT).softmax(-1)
        return (looks @ value).transpose(1, 2), None

    AttentionInterface.register("plain", plain)
    return "plain"


def normalised(pixels: np.ndarray) -> torch.Tensor:
    """uint8 [B, px, px, 3] to float32 [B, 3, px, px], -1..1, as the processor does."""
    planes = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2)
    return planes.float(memory_format=torch.contiguous_format).mul_(2 / 255).sub_(1)


def build_tower(shape: VlmShape, seed: int = 0) -> Tower:
    """A tower with fresh weights.

    Positions begin as sines and cosines, and the first layers begin by looking at a fixed neighbour each head, like a
    convolution: the class is the same, the start is better.
    """
    torch.manual_seed(seed)
    tower = Tower(shape)
    width = shape.vision_width
    quarter = width // 4
    rates = _SLOWEST ** -(torch.arange(quarter) / quarter)
    along = (torch.arange(shape.grid) + 0.5) / shape.grid * _SPAN
    rows, columns = torch.meshgrid(along, along, indexing="ij")

    def code(at: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.sin(at.ravel()[:, None] * rates), torch.cos(at.ravel()[:, None] * rates)], 1)

    places = torch.cat([code(columns), code(rows)], 1)
    projection = tower.multi_modal_projector.mm_input_projection_weight
    with torch.no_grad():
        table = tower.vision_tower.embeddings.position_embedding.weight
        table.zero_()
        table[:, : places.shape[1]] = places * _PLACE
        seen = functional.layer_norm(table + 0.4 * torch.randn_like(table), (width,))
        for index, layer in enumerate(tower.vision_tower.encoder.layers[:_LOCAL_LAYERS]):
            _look_at_neighbours(layer.self_attn, seen, rates, _SPAN / shape.grid, index)
        nn.init.normal_(projection, std=projection.shape[0] ** -0.5)
    return tower


def _look_at_neighbours(
    attention: nn.Module, seen: torch.Tensor, rates: torch.Tensor, pitch: float, index: int
) -> None:
    """Let each head of a layer begin as a look at the patch in one direction.

    A shift of a sine-cosine code is a rotation of each pair: the query is the key, turned by the way to the neighbour.
    """
    heads, head = attention.num_heads, attention.head_dim
    width, quarter = seen.shape[1], len(rates)
    # From fast to slow: the slow ones tell apart what looks alike to the fast ones.
    chosen = range(0, quarter, max(1, quarter // (head // 2)))[: head // 4]
    for number in range(heads):
        angle = 2 * math.pi * (number + (0.5 if index % 2 == 0 else 0.0)) / heads
        reach = _REACH[min(index, len(_REACH) - 1)] * pitch * 1.2
        key, query = torch.zeros(head, width), torch.zeros(head, width)
        for place, rate in enumerate(chosen):
            for axis, way in enumerate((reach * math.cos(angle), reach * math.sin(angle))):
                sine, cosine = 2 * quarter * axis + rate, 2 * quarter * axis + rate + quarter
                row = 4 * place + 2 * axis
                turn = float(rates[rate]) * way
                key[row, sine] = key[row + 1, cosine] = 1
                query[row, sine], query[row, cosine] = math.cos(turn), math.sin(turn)
                query[row + 1, cosine], query[row + 1, sine] = math.cos(turn), -math.sin(turn)
        scale = _sharpness(seen, query, key)
        span = slice(number * head, (number + 1) * head)
        for linear, look in ((attention.q_proj, query), (attention.k_proj, key)):
            linear.weight[span] = linear.weight[span] * 0.2 + look * scale


def _sharpness(seen: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> float:
    """The factor at which the best patch gets 0.4 of the attention on average."""
    low, high = 0.1, 20.0
    for _ in range(20):
        middle = (low * high) ** 0.5
        scores = (seen @ (query * middle).T) @ (seen @ (key * middle).T).T / query.shape[0] ** 0.5
        low, high = (middle, high) if scores.softmax(-1).max(-1)[0].mean() < 0.4 else (low, middle)
    return low


def save_tower(tower: Tower, path: Path) -> None:
    """Write the weights, named `vision_tower.*` and `multi_modal_projector.*`, at once or not at all."""
    from safetensors.torch import save_file

    part = path.with_suffix(".part")
    save_file({name: value.contiguous() for name, value in tower.state_dict().items()}, part)
    os.replace(part, path)


def load_tower(folder: Path | str, shape: VlmShape) -> Tower:
    """The tower of a run.

    Raises:
        NotFoundError: The run has no tower yet.
        WorkspaceError: Its file is damaged.
        ConfigError: It has other sizes.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(folder) / WEIGHTS
    if not path.is_file():
        raise NotFoundError(f"no {WEIGHTS} in {folder}; train it with: vlm2vla pretrain --stage tower")
    tower = Tower(shape)
    try:
        tower.load_state_dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise WorkspaceError(f"cannot read {path}: {error}; train the tower again") from error
    except RuntimeError as error:
        raise ConfigError(f"the tower in {path} has other sizes than asked for: {error}") from error
    return tower


@torch.no_grad()
def see(tower: Tower, pictures: PictureSet, rows: Sequence[int], batch: int = 50) -> tuple[torch.Tensor, torch.Tensor]:
    """Hidden states and image tokens of some pictures, float32 [n, T, vision width] and [n, T, width]."""
    tower.eval()
    parts = [
        tower(normalised(pictures.pixels[list(rows[start : start + batch])])) for start in range(0, len(rows), batch)
    ]
    tower.train()
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])


def image_tokens(
    folder: Path | str,
    shape: VlmShape,
    pictures: PictureSet,
    *,
    report: Callable[[dict], None] | None = None,
) -> np.ndarray:
    """Image tokens of the whole set, computed once and kept beside the tower.

    They are computed again when the tower or the set of pictures is newer.

    Args:
        folder: Of the tower's run.
        shape: Sizes.
        pictures: The set.
        report: Is told how far it is.

    Returns:
        float16 [N, T, width], mapped from disk.

    Raises:
        As `load_tower`.
    """
    folder = Path(folder)
    path = folder / TOKENS
    size = (len(pictures), shape.image_tokens, shape.width)
    newest = max((folder / WEIGHTS).stat().st_mtime if (folder / WEIGHTS).exists() else 0.0, _made(pictures))
    if path.is_file() and path.stat().st_mtime > newest:
        found = np.load(path, mmap_mode="r")
        if found.shape == size:
            return found
    tower = load_tower(folder, shape)
    part = path.with_suffix(".part.npy")
    kept = np.lib.format.open_memmap(part, "w+", np.float16, size)
    for start in range(0, len(pictures), 200):
        rows = range(start, min(start + 200, len(pictures)))
        kept[rows.start : rows.stop] = see(tower, pictures, rows)[1].numpy()
        if report and start % 2000 == 0:
            report({"stage": "tower", "tokens_of": start, "pictures": len(pictures)})
    kept.flush()
    os.replace(part, path)
    return np.load(path, mmap_mode="r")


def _made(pictures: PictureSet) -> float:
    return (pictures.folder / "manifest.json").stat().st_mtime

"""Tower and language model together, on pixels: first the language model alone on what the tower sees, then both.

The tower learns slowly here; the dense heads it was trained with stay as they are and keep asking, with a small weight,
so that what it can already see is not lost. Its projector may leave the soft tokens: least squares makes them too weak
where the tower is unsure (symbols), although its hidden states know more.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vlm2vla.errors import ConfigError
from vlm2vla.training.arithmetic import quick_arithmetic
from vlm2vla.training.pretrain.config import Preset, VlmShape
from vlm2vla.training.pretrain.dense import DenseHeads, Names, labels_of
from vlm2vla.training.pretrain.language import held_out_rows, optimizers_of, score
from vlm2vla.training.pretrain.loop import Looked, run_stage
from vlm2vla.training.pretrain.mix import Mix, Shares
from vlm2vla.training.pretrain.pictures import PictureSet
from vlm2vla.training.pretrain.rows import Packer, answer_loss, hidden_states
from vlm2vla.training.pretrain.soft import SoftSpace
from vlm2vla.training.pretrain.tower import Tower, normalised

if TYPE_CHECKING:
    from transformers import Gemma3ForConditionalGeneration, GemmaTokenizer

_TOWER_LR, _PROJECTOR_LR = 0.015, 0.08  # of the language model's Muon rate
_DENSE, _SOFT = 0.1, 0.1  # weights of the tower's own losses
_EMPTY = 0.15  # in it, of patches with nothing on them
_BRIGHTNESS, _TINT, _GRAIN = 0.06, 0.04, 0.02


def take_tower(model: "Gemma3ForConditionalGeneration", tower: Tower) -> None:
    """Put a trained tower and its projector into the model."""
    missing = set(tower.state_dict()) - set(model.model.state_dict())
    if missing:
        raise ValueError(f"the model has no {sorted(missing)[0]}")
    model.model.load_state_dict(tower.state_dict(), strict=False)


class TowerTokens:
    """Image tokens of a tower that does not learn, from pixels, for `train_language`.

    Args:
        model: With the tower in it.
        pictures: Whose pixels.
    """

    def __init__(self, model: "Gemma3ForConditionalGeneration", pictures: PictureSet):
        self._model, self._pictures = model, pictures

    @torch.no_grad()
    def __call__(self, pictures: Sequence[int], rng: np.random.Generator | None) -> torch.Tensor:
        """[pictures, image tokens, width]; with `rng` of pixels in another light."""
        if not pictures:
            return torch.zeros(0, 1, 1)
        pixels = normalised(np.stack([self._pictures.pixels[number] for number in pictures]))
        return image_tokens(self._model, pixels if rng is None else _changed(pixels, rng))


def train_joined(
    folder: Path,
    model: "Gemma3ForConditionalGeneration",
    tokenizer: "GemmaTokenizer",
    pictures: PictureSet,
    preset: Preset,
    *,
    heads: DenseHeads | None = None,
    seed: int,
    resume: bool,
    max_steps: int = 0,
    shares: Shares | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Looked:
    """Train everything on pixels; `heads` are those that the tower was trained with. Raises as `run_stage`."""
    stage = preset.join
    packer = Packer(tokenizer, preset.shape.image_tokens)
    mix = Mix(pictures, pictures.training, seed + 1, shares)
    space = SoftSpace(preset.soft)
    blank = torch.zeros(1, 3, preset.shape.px, preset.shape.px)
    for weight in model.parameters():
        weight.requires_grad_(True)

    def step_loss(step: int) -> torch.Tensor:
        rng = np.random.default_rng([seed, 13, step])
        batch = packer.pack(mix.rows(step, stage.batch))
        shown = list(batch.pictures)
        hidden, tokens = seen_by(model, _changed(normalised(np.stack([pictures.pixels[n] for n in shown])), rng))
        scenes, patches = [pictures.scenes[n] for n in shown], np.stack([pictures.patches[n] for n in shown])
        loss = answer_loss(model, batch, hidden_states(model, batch, tokens, fast=True))
        loss = loss + _SOFT * _apart(tokens, space, scenes, patches)
        if heads is not None:
            dense = heads.loss(hidden, labels_of(scenes, patches, heads.names, preset.shape.px))
            loss = loss + _DENSE * torch.stack(list(dense.values())).sum()
        return loss

    def look() -> Mapping[str, object]:
        rows = held_out_rows(pictures, pictures.held_out[: 48 if max_steps == 0 else 4])
        model.eval()
        with torch.no_grad():
            empty = image_tokens(model, blank)
            seen = TowerTokens(model, pictures)
            real = score(model, packer, rows, lambda numbers: seen(numbers, None))
            none = score(model, packer, rows[: len(rows) // 2], lambda numbers: empty.expand(len(numbers), -1, -1))
        model.train()
        return {skill: [value, none.get(skill)] for skill, value in real.items()}

    eyes = [
        {"params": list(model.model.vision_tower.parameters()), "lr": stage.lr * _TOWER_LR},
        {"params": list(model.model.multi_modal_projector.parameters()), "lr": stage.lr * _PROJECTOR_LR},
    ]
    adam = torch.optim.AdamW(eyes, betas=(0.9, 0.98), weight_decay=0.01)
    return run_stage(
        folder,
        stage,
        model,
        [*optimizers_of(model, stage.lr), adam],
        step_loss,
        resume=resume,
        max_steps=max_steps,
        look=look,
        say=say,
    )


def load_heads(folder: Path, shape: VlmShape) -> DenseHeads:
    """The dense heads of a tower's run, fixed.

    Raises:
        ConfigError: The tower has not been trained.
    """
    path = folder / "checkpoint.pt"
    if not path.is_file():
        raise ConfigError(f"no checkpoint in {folder}; run the stage tower first")
    kept = torch.load(path, map_location="cpu", weights_only=True)
    heads = DenseHeads(shape.vision_width, Names.from_json(kept["names"]))
    heads.load_state_dict(kept["heads"])
    return heads.requires_grad_(False)


def image_tokens(model: "Gemma3ForConditionalGeneration", pixels: torch.Tensor) -> torch.Tensor:
    """float32 [B, image tokens, width] of pixels [B, 3, px, px]; the tower in the quicker arithmetic."""
    return seen_by(model, pixels)[1]


def seen_by(model: "Gemma3ForConditionalGeneration", pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Hidden states of the tower [B, T, vision width], and image tokens as `image_tokens`."""
    tower = model.model.vision_tower
    before = tower.config._attn_implementation
    tower.config._attn_implementation = "eager"  # quicker than the fused one, in bfloat16 on a CPU
    try:
        with quick_arithmetic():
            hidden = tower(pixel_values=pixels).last_hidden_state
    finally:
        tower.config._attn_implementation = before
    hidden = hidden.float()
    return hidden, model.model.multi_modal_projector(hidden)


def _apart(
    tokens: torch.Tensor, space: SoftSpace, scenes: Sequence[Mapping[str, Any]], patches: np.ndarray
) -> torch.Tensor:
    """Mean square distance from the soft tokens; empty patches count little."""
    wanted = np.stack([space.target(scene, row) for scene, row in zip(scenes, patches, strict=True)])
    weight = torch.from_numpy(np.where(patches >= 0, 1.0, _EMPTY)).float()
    far = ((tokens - torch.from_numpy(wanted)) ** 2).mean(-1)
    return (far * weight).sum() / weight.sum()


def _changed(pixels: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Other brightness, tint and grain, each picture for itself."""
    count = len(pixels)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))

    pixels = (pixels + drawn(count, 1, 1, 1) * _BRIGHTNESS) * (1 + drawn(count, 3, 1, 1) * _TINT)
    grain = drawn(1, *pixels.shape[1:]) * _GRAIN
    return pixels + grain

"""The language stage: the model learns to read image tokens and to answer, without any pixels.

First on soft tokens made from labels, with the errors that a tower would make; later, in the same way, on what a
trained tower makes of pixels (`join.TowerTokens`).
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from vlm2vla.training.pretrain.config import Preset, Stage
from vlm2vla.training.pretrain.gate import NEAR_CM, numbers_in
from vlm2vla.training.pretrain.loop import Looked, run_stage
from vlm2vla.training.pretrain.mix import Mix, Shares, single
from vlm2vla.training.pretrain.muon import Muon
from vlm2vla.training.pretrain.pictures import PictureSet
from vlm2vla.training.pretrain.practice import exercise
from vlm2vla.training.pretrain.rows import Branch, Packer, Row, answer_loss, hidden_states, written_answers
from vlm2vla.training.pretrain.soft import SoftSpace

if TYPE_CHECKING:
    from transformers import Gemma3ForConditionalGeneration, GemmaTokenizer

_ADAM_LR = 3e-3
_ADAM_OF_MUON = _ADAM_LR / 0.02


class Tokens(Protocol):
    """Image tokens of pictures by number."""

    def __call__(self, pictures: Sequence[int], rng: np.random.Generator | None) -> torch.Tensor:
        """[pictures, image tokens, width]; with `rng` as rough as a tower is, without it as good as they get."""
        ...


class SoftTokens:
    """Tokens from labels.

    Args:
        pictures: Whose labels.
        space: How they are written.
    """

    def __init__(self, pictures: PictureSet, space: SoftSpace):
        self._pictures, self._space = pictures, space

    def __call__(self, pictures: Sequence[int], rng: np.random.Generator | None) -> torch.Tensor:
        """See `Tokens`; without `rng`, rough in the same way at each call, for that is what is to be scored."""
        if not pictures:
            return torch.zeros(0, *self._space.places.shape)
        tokens = []
        for number in pictures:
            scene, patches = self._pictures.scenes[number], self._pictures.patches[number]
            tokens.append(self._space.rough(scene, patches, rng or np.random.default_rng([number, 3])))
        return torch.from_numpy(np.stack(tokens))


def optimizers_of(model: "Gemma3ForConditionalGeneration", lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the language model, AdamW for its embeddings and norms."""
    text = model.model.language_model
    matrices = [p for name, p in text.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in text.named_parameters() if p.ndim != 2 or "embed" in name]
    adam = torch.optim.AdamW(others, lr * _ADAM_OF_MUON, betas=(0.9, 0.98), weight_decay=0.0)
    return [Muon(matrices, lr), adam]


def train_language(
    folder: Path,
    model: "Gemma3ForConditionalGeneration",
    tokenizer: "GemmaTokenizer",
    pictures: PictureSet,
    tokens: Tokens,
    stage: Stage,
    preset: Preset,
    *,
    seed: int,
    resume: bool,
    max_steps: int = 0,
    shares: Shares | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Looked:
    """Train the language model; the tower is not touched. Raises as `run_stage`."""
    packer = Packer(tokenizer, preset.shape.image_tokens)
    mix = Mix(pictures, pictures.training, seed, shares)
    blank = torch.from_numpy(SoftSpace(preset.soft).blank())

    def step_loss(step: int) -> torch.Tensor:
        batch = packer.pack(mix.rows(step, stage.batch))
        seen = tokens(batch.pictures, np.random.default_rng([seed, 12, step]))
        return answer_loss(model, batch, hidden_states(model, batch, seen, fast=True))

    def look() -> Mapping[str, object]:
        rows = held_out_rows(pictures, pictures.held_out[: 48 if max_steps == 0 else 4])
        model.eval()
        real = score(model, packer, rows, lambda numbers: tokens(numbers, None))
        none = score(model, packer, rows[: len(rows) // 2], lambda numbers: blank.expand(len(numbers), -1, -1))
        model.train()
        return {skill: [value, none.get(skill)] for skill, value in real.items()}

    freeze(model)
    return run_stage(
        folder,
        stage,
        model,
        optimizers_of(model, stage.lr),
        step_loss,
        resume=resume,
        max_steps=max_steps,
        look=look,
        say=say,
    )


def freeze(model: "Gemma3ForConditionalGeneration") -> None:
    """Only the language model learns."""
    for name, weight in model.named_parameters():
        weight.requires_grad_("language_model" in name or "lm_head" in name)


def held_out_rows(pictures: PictureSet, numbers: Sequence[int], text: int = 60) -> list[Row]:
    """Rows that ask everything about each picture, and some text alone."""
    rows = []
    for number in numbers:
        branches = single(pictures.questions[number])
        rows += [Row((number,), branches[start : start + 12]) for start in range(0, len(branches), 12)]
    rng = np.random.default_rng(5)
    asked = [exercise(rng) for _ in range(text)]
    spoken = [Branch(((each.question, each.answer),), "practice") for each in asked]
    count = len(pictures.texts)
    picked = [pictures.texts[int(index)] for index in rng.integers(0, count, text)] if count else []
    both = [*spoken, *single(picked)]
    return rows + [Row((), tuple(both[start : start + 10])) for start in range(0, len(both), 10)]


@torch.no_grad()
def score(
    model: "Gemma3ForConditionalGeneration",
    packer: Packer,
    rows: Sequence[Row],
    tokens: Callable[[Sequence[int]], torch.Tensor],
) -> dict[str, float]:
    """Share of answers that the model would write exactly, by skill; of places also the share within NEAR_CM."""
    right: dict[str, list[float]] = defaultdict(list)
    for start in range(0, len(rows), 8):
        batch = packer.pack(rows[start : start + 8])
        hidden = hidden_states(model, batch, tokens(batch.pictures), fast=True)
        for skill, written, true in written_answers(model, batch, hidden):
            right[skill].append(written == true)
            places = [numbers_in(packer.decode(ids)) for ids in (true, written)]
            if batch.pictures and places[0] is not None:
                near = places[1] is not None and len(places[0]) == len(places[1])
                near = near and np.abs(places[0] - places[1]).max() <= NEAR_CM
                right[f"{skill} near"].append(near)
    return {skill: round(sum(good) / len(good), 3) for skill, good in sorted(right.items())}

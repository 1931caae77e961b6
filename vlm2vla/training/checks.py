"""What is made sure of before the first step and after the last one, since its absence would go unnoticed.

An adapter that changes nothing, pictures whose pieces see each other only backwards, a sample that was cut, action
tokens that fall to pieces, a vision tower that moved: each of them trains without a word and is wrong.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from vlm2vla.errors import ModelFaultError, TrainingError
from vlm2vla.language import TokensForm, form
from vlm2vla.training.action_tokens import alike, ids_of
from vlm2vla.training.collate import PlainCollator
from vlm2vla.training.config import Recipe
from vlm2vla.training.data import Group, TrainingData, leave_out
from vlm2vla.training.rendering import Renderer
from vlm2vla.training.trainers import batch_loss, shared_prefix
from vlm2vla.training.weights import Trainable, vision_digest

log = logging.getLogger(__name__)

# Groups whose answers are looked through for words that the base was never trained on.
_LOOKED_THROUGH = 500
# Largest mean difference of a sample's loss per token between the packed and the plain way.
_SAME_FLOAT32, _SAME_BFLOAT16 = 1e-4, 3e-2
_RELOADED = "reloaded"
# How far off a length that was not counted exactly can be, in tokens.
_ABOUT = 16


def fitting(renderer: Renderer, data: TrainingData) -> tuple[TrainingData, int]:
    """Leave out samples that are longer than the renderer takes; also returns the tokens of the longest that stays.

    Raises:
        TrainingError: Those are more than a tenth.
    """
    rows = [(row, group.images) for group in (*data.train, *data.held_out) for row in group.rows]
    about = renderer.lengths(rows)
    too_long, longest = set(), 0
    for number in sorted(range(len(rows)), key=about.__getitem__, reverse=True):
        if about[number] + _ABOUT <= longest:
            break  # neither too long nor the longest
        length = renderer.length(*rows[number])
        if length > renderer.max_tokens:
            too_long.add(id(rows[number][0]))
        else:
            longest = max(longest, length)
    if too_long:
        data = leave_out(data, lambda row: id(row) in too_long, f"longer than {renderer.max_tokens} tokens")
    return data, longest


def before(trainable: Trainable, recipe: Recipe, renderer: Renderer, groups: Sequence[Group]) -> dict[str, Any]:
    """Checks of model and data together; returns what was found, for checks.json.

    Raises:
        TrainingError: One of them fails; the message says which and what it means.
        ModelFaultError: The base computes numbers that are none.
    """
    found: dict[str, Any] = {
        "trainable_parameters": trainable.parameters,
        "lora_layers": len(trainable.targets),
        "vision_trainable": False,
        "vision_before": vision_digest(trainable.model),
        "max_tokens": renderer.max_tokens,
    }
    if isinstance(words := form(recipe.form), TokensForm):
        found["action_tokens"] = ids_of(renderer.tokenizer, words.tokens)
    if hasattr(trainable.model, "disable_adapter"):
        found["not_told_apart"] = _not_told_apart(trainable, renderer, groups)
    probe = _probe(groups)
    found["image_attention"] = _image_attention(trainable, renderer, probe)
    found["loss_before"] = _losses(trainable, recipe, renderer, probe, found)
    return found


def after(
    trainable: Trainable, renderer: Renderer, groups: Sequence[Group], found: dict[str, Any], learned: bool = True
) -> dict[str, Any]:
    """Checks of what came out: it answers otherwise than before, and the vision tower is what it was.

    Args:
        trainable: The model.
        renderer: Of its processor.
        groups: That it learned from.
        found: What `before` found.
        learned: Whether any step had a learning rate above 0; else it answers as before, and rightly so.

    Raises:
        TrainingError: Not so.
    """
    digest = vision_digest(trainable.model)
    if digest != found["vision_before"]:
        raise TrainingError("the vision tower changed in training, although nothing of it should learn")
    change = None
    if hasattr(trainable.model, "disable_adapter"):
        change = _adapter_change(trainable, renderer, _probe(groups))
        if learned and not change > 0:
            raise TrainingError("the adapter changes no output: it would be a base model under another name")
    return {"vision_after": digest, "adapter_changes_logits_by": change}


def reloads(folder: Path, trainable: Trainable, renderer: Renderer, groups: Sequence[Group]) -> float:
    """Load the adapter on disk beside the trained one; the largest difference of its logits to those in memory.

    Raises:
        TrainingError: They differ: what was written is not what was trained.
    """
    inputs = PlainCollator(renderer)(_probe(groups))
    inputs.pop("labels")
    dtype = next(trainable.model.parameters()).dtype
    device = next(trainable.model.parameters()).device
    inputs = {name: value.to(device) for name, value in inputs.items()}
    model = trainable.model.eval()
    with torch.no_grad():
        here = model(**inputs).logits.float()
        model.load_adapter(str(folder), _RELOADED)
        try:
            model.set_adapter(_RELOADED)
            there = model(**inputs).logits.float()
        finally:
            model.set_adapter("default")
            model.delete_adapter(_RELOADED)
    differ = float((here - there).abs().max())
    if differ > (1e-3 if dtype == torch.float32 else 0.5):
        raise TrainingError(f"the adapter in {folder} answers otherwise than the one that was trained ({differ:.2g})")
    return differ


def _not_told_apart(trainable: Trainable, renderer: Renderer, groups: Sequence[Group]) -> dict[str, float]:
    """Tokens of the answers that the base was never trained on, the most frequent first: token -> share of answers.

    Their embeddings are all but the same, and an adapter leaves embeddings alone: it writes any of them for any other.
    """
    rows = [row for group in groups[:: max(1, len(groups) // _LOOKED_THROUGH)] for row in group.rows]
    answers = [set(renderer.tokenizer(row.completion, add_special_tokens=False)["input_ids"]) for row in rows]
    counts = Counter(token for answer in answers for token in answer)
    known = [token for token, _ in counts.most_common()]
    same = alike(trainable.model.get_output_embeddings().weight, known) if known else []
    blurred = [token for token, is_same in zip(known, same, strict=True) if is_same]
    told = {renderer.tokenizer.convert_ids_to_tokens(each): round(counts[each] / len(rows), 4) for each in blurred}
    if told:
        log.warning(
            "the base was never trained on %d tokens of the answers (%s); an adapter cannot tell such tokens apart: "
            "take other words, other --action-tokens (`vlm2vla models tokens`), or --variant full",
            len(told),
            ", ".join(list(told)[:6]),
        )
    return told


def _probe(groups: Sequence[Group]) -> list[Group]:
    """The shortest group with a picture of several rows, or what there is."""
    best = sorted(groups[:200], key=lambda group: (not group.images, len(group.rows) < 2, len(group.images)))
    return list(best[:1])


def _image_attention(trainable: Trainable, renderer: Renderer, probe: list[Group]) -> str:
    """Whether pieces of a picture see those behind them, by changing the last piece and looking at the first."""
    batch = PlainCollator(renderer)(probe)
    if "token_type_ids" not in batch or "pixel_values" not in batch:
        return "as the model has it (its processor marks no pictures)"
    batch.pop("labels")
    device = next(trainable.model.parameters()).device
    batch = {name: value[:1].to(device) for name, value in batch.items()}
    with torch.no_grad():
        model = trainable.model.eval()
        both = model(**batch).logits
        batch.pop("token_type_ids")
        causal = model(**batch).logits
    differ = float((both.float() - causal.float()).abs().max())
    if not torch.isfinite(both).all():
        raise ModelFaultError("the base computes numbers that are none (NaN); its weights are damaged")
    if differ == 0.0:
        raise TrainingError("pictures would be read like text, each piece seeing only those before it")
    return f"both ways (reading pictures like text would change logits by {differ:.3g})"


def _losses(trainable: Trainable, recipe: Recipe, renderer: Renderer, probe: list[Group], found: dict) -> float:
    """Loss per token the plain way; with shared beginnings both ways, which must agree."""
    model = trainable.model.eval()
    device = next(model.parameters()).device

    def per_token(collate: Any) -> float:
        inputs = {
            name: {key: mask.to(device) for key, mask in value.items()} if isinstance(value, dict) else value.to(device)
            for name, value in collate(probe).items()
        }
        with torch.no_grad():
            loss, tokens = batch_loss(model, inputs)
        return float(loss) / tokens

    plain = per_token(PlainCollator(renderer))
    if plain != plain:
        raise ModelFaultError("the base computes numbers that are none (NaN); its weights are damaged")
    if recipe.packing == "shared":
        packed = per_token(shared_prefix(renderer, model))
        found["packed_differs_by"] = abs(plain - packed)
        same = _SAME_BFLOAT16 if recipe.precision == "bfloat16" else _SAME_FLOAT32
        if abs(plain - packed) > same:
            raise TrainingError(
                f"this model computes packed samples differently ({packed:.4f}, alone {plain:.4f} per token); use "
                "--packing plain"
            )
    return plain


def _adapter_change(trainable: Trainable, renderer: Renderer, probe: list[Group]) -> float:
    batch = PlainCollator(renderer)(probe)
    batch.pop("labels")
    device = next(trainable.model.parameters()).device
    batch = {name: value.to(device) for name, value in batch.items()}
    with torch.no_grad():
        model = trainable.model.eval()
        tuned = model(**batch).logits.float()
        with model.disable_adapter():
            base = model(**batch).logits.float()
    return float((tuned - base).abs().max())

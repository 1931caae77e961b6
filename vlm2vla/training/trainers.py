"""The two trainers: trl's SFTTrainer as it is, and the one that computes common beginnings once.

Both go through `transformers.Trainer`: its optimizer, schedule, accumulation, checkpoints and exact resume.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerCallback
from trl import SFTConfig, SFTTrainer

from vlm2vla.training.collate import IGNORED, PlainCollator, Scheduled, SharedPrefixCollator, plain_dataset
from vlm2vla.training.config import Recipe
from vlm2vla.training.data import Group
from vlm2vla.training.rendering import Renderer
from vlm2vla.training.weights import Trainable


class SharedPrefixTrainer(Trainer):
    """Trains on trees of samples (`SharedPrefixCollator`); the loss is the mean over the tokens of all answers.

    Args:
        mixed: Steps are computed in bfloat16 on a GPU; whatever else is done with the model is not. On a CPU packed
            rows are quicker in float32 even with matrix instructions (AMX: 0.55 of the time of bfloat16 steps), since
            there the fused attention is slow in bfloat16 backwards and the plain one slow everywhere.
    """

    def __init__(self, *args: Any, mixed: bool = False, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._mixed = mixed
        # Lets the trainer count answer tokens over accumulated batches; the model itself never sees labels, and
        # they stand for the next token already.
        self.model_accepts_loss_kwargs, self._loss_shifts_labels = True, False

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Cross entropy at the places that predict an answer's token; nowhere else are logits computed."""
        inputs = dict(inputs)
        labels, rows, sources, weights = (inputs.pop(name) for name in ("labels", "rows", "sources", "weights"))
        plain = self.accelerator.unwrap_model(model)
        kind = plain.device.type
        quick = torch.autocast(kind, torch.bfloat16, enabled=self._mixed and kind != "cpu")
        with only_at(plain, rows, sources), quick:
            outputs = model(**inputs, use_cache=False)
        losses = torch.nn.functional.cross_entropy(outputs.logits.float(), labels, reduction="none")
        summed = (losses * weights).sum() / weights.mean()
        loss = summed / (labels.numel() if num_items_in_batch is None else num_items_in_batch)
        return (loss, outputs) if return_outputs else loss


@contextmanager
def only_at(model: torch.nn.Module, rows: torch.Tensor, sources: torch.Tensor) -> Iterator[None]:
    """Within the block the output layer sees only these places: logits are [E, V] instead of [B, L, V]."""
    head = model.get_output_embeddings()
    hook = head.register_forward_pre_hook(lambda _module, args: (args[0][rows, sources],))
    try:
        yield
    finally:
        hook.remove()


def make_trainer(
    trainable: Trainable,
    recipe: Recipe,
    scheduled: Scheduled,
    renderer: Renderer,
    folder: Path,
    *,
    steps: int,
    seed: int,
    callbacks: list[TrainerCallback],
) -> Trainer:
    """The trainer of a recipe, ready to train `steps` steps over `scheduled`.

    Args:
        trainable: The model.
        recipe: Schedule and packing.
        scheduled: Groups in order; one row each where packing is plain.
        renderer: Of the model's processor.
        folder: For checkpoints.
        steps: Of the whole run.
        seed: Of everything random.
        callbacks: Told about every step.
    """
    arguments = _arguments(recipe, folder, steps=steps, seed=seed)
    common = {"model": trainable.model, "args": arguments, "callbacks": callbacks}
    if recipe.packing == "plain":
        return SFTTrainer(**common, train_dataset=plain_dataset(scheduled), processing_class=trainable.processor)
    collator = shared_prefix(renderer, trainable.model, recipe.mixture.plan_weight)
    mixed = recipe.precision == "mixed"
    return SharedPrefixTrainer(**common, mixed=mixed, train_dataset=scheduled, data_collator=collator)


def _arguments(recipe: Recipe, folder: Path, *, steps: int, seed: int) -> SFTConfig:
    gpu = torch.cuda.is_available()
    arguments = SFTConfig(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=recipe.per_device,
        gradient_accumulation_steps=max(1, round(recipe.batch / recipe.per_device)),
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=round(recipe.warmup * steps),
        weight_decay=recipe.weight_decay,
        adam_beta1=recipe.betas[0],
        adam_beta2=recipe.betas[1],
        adam_epsilon=recipe.eps,
        max_grad_norm=recipe.max_grad_norm,
        optim="adamw_torch",
        # Shared samples with mixed precision see to it themselves, see `SharedPrefixTrainer`.
        bf16=gpu and (recipe.precision == "bfloat16" or (recipe.precision == "mixed" and recipe.packing == "plain")),
        use_cpu=not gpu,
        activation_checkpointing=recipe.checkpointing,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=recipe.save_every,
        save_total_limit=2,
        seed=seed,
        data_seed=seed,
        train_sampling_strategy="sequential",  # the order is ours, see `Order`
        max_length=None,  # longer samples were left out; nothing is cut
        completion_only_loss=True,
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,
    )
    if arguments.n_gpu > 1:
        # Else each of several GPUs would get a share of a batch that cannot be cut, or a batch of its own.
        arguments._n_gpu = 1
    return arguments


def shared_prefix(renderer: Renderer, model: torch.nn.Module, plan_weight: float = 1.0) -> SharedPrefixCollator:
    """The collator of packed samples for this model."""
    eager = model.config.get_text_config()._attn_implementation == "eager"
    return SharedPrefixCollator(renderer, sliding_window(model), additive=eager, plan_weight=plan_weight)


def sliding_window(model: torch.nn.Module) -> int:
    """How far back local layers of the model see, 0 where there are none."""
    config = model.config.get_text_config()
    local = "sliding_attention" in (getattr(config, "layer_types", None) or ())
    return int(getattr(config, "sliding_window", 0) or 0) if local else 0


def held_out_loss(model: torch.nn.Module, collate: Callable, groups: list[Group], *, batch: int = 8) -> float:
    """Mean loss over the answers' tokens of these groups, without learning from them."""
    summed, count = 0.0, 0
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for first in range(0, len(groups), batch):
                inputs = _to(collate(groups[first : first + batch]), device)
                loss, tokens = batch_loss(model, inputs)
                summed, count = summed + float(loss), count + tokens
    finally:
        model.train(was_training)
    return summed / max(count, 1)


def batch_loss(model: torch.nn.Module, inputs: dict[str, Any]) -> tuple[torch.Tensor, int]:
    """(summed loss, answer tokens) of a batch of either collator."""
    inputs = dict(inputs)
    labels = inputs.pop("labels")
    if "sources" in inputs:
        rows, sources, _ = (inputs.pop(name) for name in ("rows", "sources", "weights"))
        with only_at(model, rows, sources):
            logits = model(**inputs, use_cache=False).logits
        return torch.nn.functional.cross_entropy(logits.float(), labels, reduction="sum"), labels.numel()
    logits = model(**inputs, use_cache=False).logits[:, :-1].float()
    labels = labels[:, 1:]
    flat = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    return flat, int((labels != IGNORED).sum())


def plain_or_shared(renderer: Renderer, model: torch.nn.Module, recipe: Recipe) -> Callable:
    """The collator with which a recipe's loss is measured."""
    if recipe.packing == "shared":
        return shared_prefix(renderer, model)
    return PlainCollator(renderer)


def _to(values: Any, device: torch.device) -> Any:
    if isinstance(values, dict):
        return {name: _to(value, device) for name, value in values.items()}
    return values.to(device) if isinstance(values, torch.Tensor) else values

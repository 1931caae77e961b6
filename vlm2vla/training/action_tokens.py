"""Tokens of a base that can stand for the digits of discrete actions: the least likely ones that it can tell apart.

Tokens that a base has never been trained on are the least likely of all, but their embeddings are all but the same, so
that an adapter, which does not change embeddings, can neither write nor read them apart. These are passed over.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vlm2vla.embodiment import STRETCH_RE1
from vlm2vla.errors import TrainingError
from vlm2vla.language import ActionForm, dialogue

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase, ProcessorMixin

# Cosine above which two embeddings are the same for an adapter. Untrained ones of the embedded base have .99, trained
# ones below .9.
_SAME = 0.95
_TASKS = (
    ("pick up the red cube", ("Grasp the red cube", "Lift the red cube")),
    ("put the yellow ball on the blue plate", ("Grasp the yellow ball", "Move to the blue plate", "Release the ball")),
)


def ids_of(tokenizer: "PreTrainedTokenizerBase", tokens: tuple[str, ...]) -> dict[str, int]:
    """Id of each action token.

    Raises:
        TrainingError: The tokenizer has no such token, or makes something else of two that follow each other.
    """

    def split(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    ids = {token: split(token) for token in tokens}
    broken = [token for token, found in ids.items() if len(found) != 1]
    broken += [a + b for a in tokens for b in tokens if not broken and split(a + b) != ids[a] + ids[b]]
    if broken:
        raise TrainingError(
            f"{broken[0]} cannot be an action token: the tokenizer of this base makes other tokens of it; "
            "`vlm2vla models tokens` finds ten that can, for --action-tokens"
        )
    return {token: found[0] for token, found in ids.items()}


def least_likely(
    model: "torch.nn.Module", processor: "ProcessorMixin", words: ActionForm
) -> tuple[tuple[str, float], ...]:
    """Ten tokens for the digits, the least likely one first, each with its mean log-probability.

    Args:
        model: The base, without adapter.
        processor: Of the base.
        words: Form of the actions whose dialogue is read; tokens are likely or not where it goes on.

    Raises:
        TrainingError: Fewer than ten can be told apart and stay whole in a row.
    """
    tokenizer = processor.tokenizer
    likely = _mean_log_probability(model, processor, words)
    twins = alike(model.get_output_embeddings().weight)
    chosen: list[str] = []
    for number in likely.argsort().tolist():
        text = tokenizer.decode([number])
        if twins[number] or not _can_stand(text, chosen):
            continue
        try:
            whole = ids_of(tokenizer, (*chosen, text))[text] == number
        except TrainingError:
            continue
        if whole:
            chosen.append(text)
        if len(chosen) == 10:
            ids = ids_of(tokenizer, tuple(chosen))
            return tuple((token, float(likely[ids[token]])) for token in chosen)
    raise TrainingError(f"only {len(chosen)} tokens of this base can be told apart; ten are needed")


def _can_stand(text: str, chosen: list[str]) -> bool:
    """Printable letters only, and neither the beginning of a chosen one nor the other way round."""
    return text.isalpha() and not any(text.startswith(other) or other.startswith(text) for other in chosen)


def alike(embeddings: "torch.Tensor", ids: Sequence[int] = ()) -> list[bool]:
    """Which embeddings of [V, D] are all but the same as another one: of some ids in their order, or of all V.

    An adapter, which leaves embeddings as they are, can neither read nor write such tokens apart.
    """
    import torch

    unit = torch.nn.functional.normalize(embeddings.detach().float(), dim=1)
    asked = unit[list(ids)] if ids else unit
    found: list[bool] = []
    for first in range(0, len(asked), 4096):
        close = asked[first : first + 4096] @ unit.T > _SAME
        found += (close.sum(dim=1) > 1).tolist()
    return found


def _mean_log_probability(model: "torch.nn.Module", processor: "ProcessorMixin", words: ActionForm) -> "torch.Tensor":
    """float32 [V], over all places of action dialogues without their picture."""
    import torch

    sums, places = 0.0, 0
    for task, subtasks in _TASKS:
        for subtask in subtasks:
            turns = dialogue(task, STRETCH_RE1, words, subtasks=subtasks, subtask=subtask)
            messages = [{"role": turn.role, "content": [{"type": "text", "text": turn.text}]} for turn in turns]
            inputs = processor.apply_chat_template(
                messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
            )
            with torch.no_grad():
                logits = model(**inputs.to(next(model.parameters()).device)).logits[0].float()
            sums, places = sums + logits.log_softmax(dim=-1).sum(dim=0).cpu(), places + len(logits)
    return sums / places

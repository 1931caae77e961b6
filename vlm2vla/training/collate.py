"""Groups of samples -> the tensors of one batch, for both ways of training."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vlm2vla.errors import ConfigError
from vlm2vla.training.data import Group, Order, Row
from vlm2vla.training.packing import Packed, pack
from vlm2vla.training.rendering import Renderer, messages_of, open_pictures

if TYPE_CHECKING:
    import datasets

IGNORED = -100
_FAR_BELOW = -1e9  # a score that no softmax sees
# What a processor may make of a sample. Others would need to be joined in ways of their own.
_KNOWN = {"input_ids", "attention_mask", "token_type_ids", "pixel_values"}


class Scheduled(torch.utils.data.Dataset):
    """Groups in the order of training: item i is what is learned from i-th.

    Args:
        groups: All groups.
        order: Which one when.
        count: How many items in all.
    """

    def __init__(self, groups: Sequence[Group], order: Order, count: int):
        self.groups, self.order, self._count = groups, order, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Group:
        return self.groups[self.order[index]]

    def rows(self, start: int, stop: int) -> int:
        """Answers in the items [start, stop)."""
        return sum(len(self[index].rows) for index in range(start, min(stop, self._count)))


def plain_dataset(scheduled: Scheduled) -> "datasets.Dataset":
    """The same items as prompt/completion rows with pictures, one row each, as trl's SFTTrainer takes them.

    Pictures are read when their turn comes.
    """
    import datasets

    def rows(batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        found = [scheduled[index] for index in batch["index"]]
        return {
            "images": [open_pictures(group.images) for group in found],
            "prompt": [[dict(turn) for turn in group.rows[0].prompt] for group in found],
            "completion": [[{"role": "assistant", "content": group.rows[0].completion}] for group in found],
        }

    return datasets.Dataset.from_dict({"index": range(len(scheduled))}).with_transform(rows)


class SharedPrefixCollator:
    """Each group becomes one sequence in which the common beginning of its samples is there once.

    Args:
        renderer: Of the model's processor.
        window: Sliding window of the model's local layers, 0 where it has none.
        additive: Masks are added to the scores (0, or far below), as eager attention takes them, instead of bool.
        plan_weight: How much a token of a motion plan counts, beside 1 of any other answer of the same batch.
    """

    def __init__(self, renderer: Renderer, window: int = 0, *, additive: bool = False, plan_weight: float = 1.0):
        self.renderer, self.window, self.additive, self.plan_weight = renderer, window, additive, plan_weight
        self._pad = renderer.tokenizer.pad_token_id or 0

    def __call__(self, groups: Sequence[Group]) -> dict[str, Any]:
        """The batch: B groups, L tokens of the longest tree, E answers' tokens.

        input_ids, position_ids, token_type_ids: int64 [B, L]. attention_mask: {"full_attention", "sliding_attention"}
        of bool (bfloat16 where additive) [B, 1, L, L]. pixel_values. labels, rows, sources: int64 [E], the next
        token, and where it is predicted; weights: float32 [E], how much it counts.

        Raises:
            TrainingError: A picture that cannot be read any more, or a sample that is too long.
        """
        trees, pixels = [], []
        for group in groups:
            samples = [
                replace(self.renderer.tokens(row, len(group.images)), weight=self._weight(row)) for row in group.rows
            ]
            tree = pack(samples, self.renderer.image_token)
            if tree.pictures:
                shown = self.renderer.pixels(open_pictures(group.images))
                pixels.append(shown[list(tree.pictures)])
            trees.append(tree)
        batch = self._tensors(trees)
        if pixels:
            batch["pixel_values"] = torch.cat(pixels)
        return batch

    def _tensors(self, trees: Sequence[Packed]) -> dict[str, Any]:
        count, length = len(trees), max(len(tree) for tree in trees)
        ids = np.full((count, length), self._pad, dtype=np.int64)
        positions = np.zeros((count, length), dtype=np.int64)
        kinds = np.zeros((count, length), dtype=np.int64)
        masks = {"full_attention": 0, "sliding_attention": self.window}
        # What is only there to fill up sees itself, so that no row of the attention is empty.
        seen = {name: np.tile(np.eye(length, dtype=bool), (count, 1, 1)) for name in masks}
        rows, sources, labels, weights = [], [], [], []
        for number, tree in enumerate(trees):
            here = slice(0, len(tree))
            ids[number, here], positions[number, here] = tree.ids, tree.positions
            kinds[number, here] = tree.blocks >= 0
            for name, window in masks.items():
                seen[name][number, here, here] = tree.mask(window)
            rows.append(np.full(len(tree.sources), number))
            sources.append(tree.sources)
            labels.append(tree.targets)
            weights.append(tree.weights)
        return {
            "input_ids": torch.from_numpy(ids),
            "position_ids": torch.from_numpy(positions),
            "token_type_ids": torch.from_numpy(kinds),
            "attention_mask": {name: self._mask(mask) for name, mask in seen.items()},
            "labels": torch.from_numpy(np.concatenate(labels)),
            "rows": torch.from_numpy(np.concatenate(rows)),
            "sources": torch.from_numpy(np.concatenate(sources)),
            "weights": torch.from_numpy(np.concatenate(weights)),
        }

    def _weight(self, row: Row) -> float:
        return self.plan_weight if row.level == "plan" else 1.0

    def _mask(self, seen: np.ndarray) -> torch.Tensor:
        mask = torch.from_numpy(seen)[:, None]
        return torch.zeros(mask.shape, dtype=torch.bfloat16).masked_fill_(~mask, _FAR_BELOW) if self.additive else mask


class PlainCollator:
    """One sample each, padded: what the model's own processor makes of it. For checks and held-out loss.

    Args:
        renderer: Of the model's processor.
    """

    def __init__(self, renderer: Renderer):
        self.renderer = renderer

    def __call__(self, groups: Sequence[Group]) -> dict[str, Any]:
        """Tensors of every row of every group, labels [B, L] on completions only.

        Raises:
            ConfigError: The model takes inputs that are not known here.
            TrainingError: A picture that cannot be read any more.
        """
        made = []
        for group in groups:
            pictures = open_pictures(group.images)
            for row in group.rows:
                messages = messages_of(row.prompt, len(pictures))
                prompt = self.renderer.processor.apply_chat_template(
                    messages, add_generation_prompt=True, tokenize=False
                )
                _, completion = self.renderer.texts(row, len(pictures))
                made.append((self._inputs(prompt, pictures), self._inputs(completion, [])))
        return _joined(made, self.renderer.tokenizer.pad_token_id or 0)

    def _inputs(self, text: str, pictures: list) -> dict[str, torch.Tensor]:
        made = self.renderer.processor(
            text=[text], images=[pictures] if pictures else None, return_tensors="pt", add_special_tokens=False
        )
        if unknown := sorted(set(made) - _KNOWN):
            raise ConfigError(
                f"the processor of this base makes {', '.join(unknown)}, but only {', '.join(sorted(_KNOWN))} are "
                "known here; choose another --base-model"
            )
        return made


def _joined(made: list[tuple[Any, Any]], pad: int) -> dict[str, torch.Tensor]:
    length = max(prompt["input_ids"].shape[1] + answer["input_ids"].shape[1] for prompt, answer in made)
    fill = {"input_ids": pad, "attention_mask": 0, "token_type_ids": 0, "labels": IGNORED}
    batch = {name: torch.full((len(made), length), value) for name, value in fill.items()}
    typed = all("token_type_ids" in prompt for prompt, _ in made)
    for number, (prompt, answer) in enumerate(made):
        split = prompt["input_ids"].shape[1]
        stop = split + answer["input_ids"].shape[1]
        for name in ("input_ids", "attention_mask", "token_type_ids"):
            if name in prompt:
                batch[name][number, :split] = prompt[name][0]
                batch[name][number, split:stop] = answer[name][0]
        batch["labels"][number, split:stop] = answer["input_ids"][0]
    if not typed:
        del batch["token_type_ids"]
    pixels = [prompt["pixel_values"] for prompt, _ in made if "pixel_values" in prompt]
    return batch | ({"pixel_values": torch.cat(pixels)} if pixels else {})

"""What one or more rows have read so far: the key-value cache, and how new tokens may look at it.

Gemma 3 looks at text causally and at each image as a whole (its tokens see each other); every sixth layer or so sees
everything, the others a sliding window. The masks are made here, because the cache may already hold a beginning when an
image is read, and rows of one batch may be padded. Rows are padded on the left.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from vlm2vla.vlm.local.prompt import Prompt
from vlm2vla.vlm.local.weights import Weights

_PAD = 0


class Reading:
    """Rows that are read and continued together.

    Attributes:
        rows: The adapter of each row, "" for the base.
        length: Places in the cache, padding included.
    """

    def __init__(self, weights: Weights, rows: Sequence[str], *, merged: bool = False):
        """Nothing is read yet; for `merged` see `Lean`."""
        from transformers import DynamicCache

        self.weights, self.rows, self._merged = weights, tuple(rows), merged
        self.length = 0
        self._cache = DynamicCache()  # without a config every layer keeps everything, so it can be cut anywhere
        self._padding: Tensor | None = None  # [B] empty places on the left

    def read_prompts(self, prompts: Sequence[Prompt], start: int = 0, keep: int = 1) -> Tensor:
        """Read the prompts of all rows from token `start` on (with one row only, when it is not 0).

        Returns:
            Logits [B, keep, vocabulary] after the last `keep` tokens.
        """
        longest = max(len(prompt) for prompt in prompts)
        padding = [longest - len(prompt) for prompt in prompts]
        if any(padding):
            self._padding = torch.tensor(padding, device=self.weights.device)
        ids = torch.tensor(
            [[_PAD] * pad + list(prompt.ids[start:]) for pad, prompt in zip(padding, prompts, strict=True)]
        )
        blocks, features = self._images(prompts, padding, start, ids.shape)
        return self._read(ids, blocks, features, keep)

    def read_ids(self, ids: Sequence[Sequence[int]], keep: int = 1) -> Tensor:
        """Read written tokens, equally many for each row; logits [B, keep, vocabulary]."""
        return self._read(torch.tensor(ids), None, None, keep)

    def cut(self, length: int) -> None:
        """Forget everything behind the first `length` places."""
        if length < self.length:
            if length:
                self._cache.crop(length - self.length)
            else:
                from transformers import DynamicCache

                self._cache = DynamicCache()
            self.length = length

    def keep_rows(self, indices: Sequence[int]) -> None:
        """Go on with these rows only."""
        index = torch.tensor(indices, device=self.weights.device)
        self._cache.batch_select_indices(index)
        self.rows = tuple(self.rows[i] for i in indices)
        if self._padding is not None:
            self._padding = self._padding[index]

    def _images(self, prompts, padding, start, shape) -> tuple[Tensor | None, Tensor | None]:
        """Which image each new token belongs to ([B, n], -1 for none), and the encoded images in order."""
        found, blocks = [], torch.full(shape, -1)
        for row, (prompt, pad) in enumerate(zip(prompts, padding, strict=True)):
            for number, place in enumerate(prompt.places):
                if place.start >= start:
                    first = pad + place.start - start
                    blocks[row, first : first + self.weights.prompts.per_image] = number
                    found.append(self.weights.features(place, self.rows[row]))
        if not found:
            return None, None
        return blocks.to(self.weights.device), torch.stack(found)

    def _read(self, ids: Tensor, blocks: Tensor | None, features: Tensor | None, keep: int) -> Tensor:
        device = self.weights.device
        count = ids.shape[1]
        positions = torch.arange(self.length, self.length + count, device=device)[None].expand(len(self.rows), -1)
        if self._padding is not None:
            positions = (positions - self._padding[:, None]).clamp_min(0)
        masks = self._masks(count, blocks)
        logits = self.weights.forward(
            self.rows, ids.to(device), positions, masks, self._cache, features, keep, self._merged
        )
        self.length += count
        return logits

    def _masks(self, count: int, blocks: Tensor | None) -> dict[str, Tensor | None]:
        """Who may look at whom, for layers that see everything and for those with a window: [B, 1, n, length + n]."""
        total, window = self.length + count, self.weights.window
        simple = self._padding is None and (count == 1 or (self.length == 0 and blocks is None))
        if simple and total <= window:
            return {"full_attention": None, "sliding_attention": None}
        device = self.weights.device
        queries = torch.arange(self.length, total, device=device)[:, None]
        places = torch.arange(total, device=device)[None]
        seen = (places <= queries)[None]
        if blocks is not None:
            together = (blocks[:, :, None] == blocks[:, None, :]) & (blocks[:, :, None] >= 0)
            seen = seen | torch.nn.functional.pad(together, (self.length, 0))
        if self._padding is not None:
            real = places >= self._padding[:, None]
            seen = (seen & real[:, None]) | (places == queries)[None]  # padding looks at itself: no row is empty
        near = (places > queries - window)[None]
        return {"full_attention": seen[:, None], "sliding_attention": (seen & near)[:, None]}

"""Several samples over the same pictures as one sequence: what they have in common is there once.

Samples are sequences of tokens. Put into a tree of common beginnings, each token of the tree sees the way from the
root to itself, all tokens of its own picture, and nothing else; its position is its depth. So every answer is computed
exactly as if its sample stood alone, and picture, system text and task are computed once. The loss is over (place,
next token) pairs, since a place may have several next tokens. Pure numpy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Tokens:
    """One sample.

    Attributes:
        prompt: What is given, picture tokens included.
        completion: What is to be written; the loss is on these.
        weight: How much each of them counts.
    """

    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    weight: float = 1.0

    def __len__(self) -> int:
        return len(self.prompt) + len(self.completion)


@dataclass(frozen=True, eq=False)
class Packed:
    """A tree of samples; L tokens, E pairs.

    Attributes:
        ids, positions: int64 [L]; a token's position is its depth.
        parents: int64 [L], -1 at a root.
        blocks: int64 [L], number of the picture block that a token belongs to, -1 for text.
        pictures: Of each block, in order: which picture of the group it shows.
        sources, targets: int64 [E], place and the token to be written next.
        weights: float32 [E], how much a pair counts.
    """

    ids: np.ndarray
    positions: np.ndarray
    parents: np.ndarray
    blocks: np.ndarray
    pictures: tuple[int, ...]
    sources: np.ndarray
    targets: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def mask(self, window: int = 0) -> np.ndarray:
        """[L, L] bool: row sees column. With `window`, only so many positions back (pictures are seen whole)."""
        count = len(self.ids)
        seen = np.zeros((count, count), dtype=bool)
        for place, parent in enumerate(self.parents.tolist()):
            if parent >= 0:
                seen[place] = seen[parent]
            seen[place, place] = True
        if window:
            seen &= self.positions[:, None] - self.positions[None, :] < window
        picture = self.blocks >= 0
        return seen | (picture[:, None] & (self.blocks[:, None] == self.blocks[None, :]))


def pack(samples: Sequence[Tokens], image_token: int | None) -> Packed:
    """Put samples into one tree.

    Args:
        samples: All of them show the same pictures in the same order.
        image_token: Id of the token that stands for a piece of a picture; None where there are no pictures.
    """
    ids: list[int] = []
    positions: list[int] = []
    parents: list[int] = []
    blocks: list[int] = []
    pictures: list[int] = []
    children: dict[tuple[int, int], int] = {}
    sources: list[int] = []
    targets: list[int] = []
    weights: list[float] = []
    for sample in samples:
        place, shown, inside = -1, -1, False
        for depth, token in enumerate((*sample.prompt, *sample.completion)):
            if depth >= len(sample.prompt) and place >= 0:
                sources.append(place)
                targets.append(token)
                weights.append(sample.weight)
            image = token == image_token
            shown += image and not inside
            following = children.get((place, token))
            if following is None:
                following = len(ids)
                children[place, token] = following
                ids.append(token)
                positions.append(depth)
                parents.append(place)
                if image and not inside:
                    pictures.append(shown)
                blocks.append((blocks[place] if inside else len(pictures) - 1) if image else -1)
            place, inside = following, image
    arrays = [np.array(values, dtype=np.int64) for values in (ids, positions, parents, blocks)]
    pairs = np.array(sources, dtype=np.int64), np.array(targets, dtype=np.int64), np.array(weights, dtype=np.float32)
    return Packed(*arrays, tuple(pictures), *pairs)

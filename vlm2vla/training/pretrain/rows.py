"""Many questions about one picture in one row: the picture is read once, the questions do not see each other.

A row is a prefix (system text, pictures) and branches; each branch is one conversation that begins behind the prefix.
Positions begin anew in every branch, and a 4-D mask lets a branch see the prefix and itself. So each answer is trained
exactly as if it stood alone behind its picture (tested against the processor).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from transformers import Gemma3ForConditionalGeneration, GemmaTokenizer

IGNORED = -100
_PAD = -1
# Every answer weighs the root of its length, and its end a fifth of one of its pieces.
_END_WEIGHT = 0.3


@dataclass(frozen=True)
class Branch:
    """One conversation.

    Attributes:
        turns: Question and answer of each turn.
        skill: For the score of its last answer.
    """

    turns: tuple[tuple[str, str], ...]
    skill: str = ""


@dataclass(frozen=True)
class Row:
    """A prefix and its branches.

    Attributes:
        pictures: Numbers of the pictures that are shown first, in order; () for text alone.
        branches: What is asked.
        system: System text, or "".
    """

    pictures: tuple[int, ...]
    branches: tuple[Branch, ...]
    system: str = ""


@dataclass(frozen=True)
class Answer:
    """Where an answer stands in a batch: row, and the half-open span of the positions that predict it."""

    row: int
    start: int
    stop: int
    skill: str


@dataclass
class Batch:
    """Rows as tensors; B rows of L tokens.

    Attributes:
        ids, positions, labels: int64 [B, L]; `labels` are the next tokens of answers, else IGNORED.
        weights: float32 [B, L], of each label in the loss.
        mask: bool [B, 1, L, L], True where a token sees another one.
        images: bool [B, L], True at image tokens; in order they take the tokens of `pictures`.
        pictures: Numbers of the pictures, in order.
        answers: Last answer of each branch.
        rows: Rows that came in whole; a branch that found no room is left out.
    """

    ids: "torch.Tensor"
    positions: "torch.Tensor"
    labels: "torch.Tensor"
    weights: "torch.Tensor"
    mask: "torch.Tensor"
    images: "torch.Tensor"
    pictures: tuple[int, ...]
    answers: tuple[Answer, ...]


class Packer:
    """Turns rows into batches.

    Args:
        tokenizer: Of the model.
        image_tokens: Tokens of one picture.
        length: Longest row; branches that do not fit are left out.
    """

    def __init__(self, tokenizer: "GemmaTokenizer", image_tokens: int, length: int = 448):
        self._tokenizer, self._image_tokens, self.length = tokenizer, image_tokens, length
        self.encode = lru_cache(maxsize=200_000)(self._encode)
        named = tokenizer.convert_tokens_to_ids
        self._bos, self._pad = tokenizer.bos_token_id, tokenizer.pad_token_id
        self._begin, self.end = named("<start_of_turn>"), named("<end_of_turn>")
        self._soft = named(tokenizer.image_token)
        self._boi, self._eoi = named(tokenizer.boi_token), named(tokenizer.eoi_token)

    def prefix(self, pictures: int, system: str = "") -> list[int]:
        """Tokens in front of the first question."""
        said = f"user\n{system}\n\n" if system else "user\n"
        if not pictures:
            return [self._bos, self._begin, *self.encode(said)]
        image = [self._boi, *[self._soft] * self._image_tokens, self._eoi]
        ids = [self._bos, self._begin, *self.encode(said + "\n\n"), *image]
        for _ in range(pictures - 1):
            ids += [*self.encode("\n\n\n\n"), *image]
        return ids

    def branch(self, branch: Branch, pictures: int) -> tuple[list[int], list[int], list[float], int]:
        """Tokens of a branch, the label and the weight of each, and the place that predicts the last answer."""
        ids: list[int] = []
        labels: list[int] = []
        weights: list[float] = []
        last = 0
        for number, (question, answer) in enumerate(branch.turns):
            first = "\n\n" if pictures else ""
            asked = (
                [*self.encode("\n"), self._begin, *self.encode(f"user\n{question}")]
                if number
                else (list(self.encode(first + question)))
            )
            asked += [self.end, *self.encode("\n"), self._begin, *self.encode("model\n")]
            said = [*self.encode(answer), self.end]
            weight = len(said) ** -0.5
            last = len(ids) + len(asked) - 1
            ids += asked + said
            labels += [IGNORED] * (len(asked) - 1) + said + [IGNORED]
            weights += [0.0] * (len(asked) - 1) + [weight] * (len(said) - 1) + [_END_WEIGHT * weight, 0.0]
        return ids, labels, weights, last

    def pack(self, rows: Sequence[Row]) -> Batch:
        """All rows side by side, padded to the longest."""
        built = [self._row(row) for row in rows]
        longest = max(len(row[0]) for row in built)
        answers = [
            Answer(index, start, stop, skill) for index, row in enumerate(built) for start, stop, skill in row[5]
        ]
        columns = [np.full((len(rows), longest), fill) for fill in (self._pad, 0, IGNORED, 0.0, _PAD)]
        for index, row in enumerate(built):
            for column, values in zip(columns, row, strict=False):
                column[index, : len(values)] = values
        return self._tensors(columns, tuple(p for row in rows for p in row.pictures), tuple(answers))

    def _tensors(self, columns: list[np.ndarray], pictures: tuple[int, ...], answers: tuple[Answer, ...]) -> Batch:
        import torch

        ids, positions, labels, weights, segments = columns
        images = torch.from_numpy(ids == self._soft)
        return Batch(
            ids=torch.from_numpy(ids),
            positions=torch.from_numpy(positions),
            labels=torch.from_numpy(labels),
            weights=torch.from_numpy(weights).float(),
            mask=_mask(torch.from_numpy(segments), images),
            images=images,
            pictures=pictures,
            answers=answers,
        )

    def _row(self, row: Row) -> tuple[list[int], list[int], list[int], list[float], list[int], list[tuple]]:
        prefix = self.prefix(len(row.pictures), row.system)
        start = len(prefix)
        ids, positions = list(prefix), list(range(start))
        labels, weights, segments = [IGNORED] * start, [0.0] * start, [0] * start
        answers = []
        for number, branch in enumerate(row.branches, 1):
            more, said, weight, last = self.branch(branch, len(row.pictures))
            if len(ids) + len(more) > self.length:
                continue
            answers.append((len(ids) + last, len(ids) + len(more) - 1, branch.skill))
            positions += range(start, start + len(more))
            ids, labels, weights = ids + more, labels + said, weights + weight
            segments += [number] * len(more)
        return ids, positions, labels, weights, segments, answers

    def decode(self, ids: Sequence[int]) -> str:
        """Text of pieces."""
        return self._tokenizer.decode(ids, skip_special_tokens=True)

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])


def _mask(segments: "torch.Tensor", images: "torch.Tensor") -> "torch.Tensor":
    """[B, 1, L, L] from the branch of each token (0 prefix, -1 padding) and the image tokens."""
    import torch

    length = segments.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    same = segments[:, :, None] == segments[:, None, :]
    seen = (same | (segments[:, None, :] == 0)) & causal
    # The tokens of one picture see each other in both directions, those of two pictures do not.
    starts = images & ~torch.nn.functional.pad(images, (1, 0))[:, :-1]
    block = torch.where(images, starts.cumsum(1), 0)
    seen |= (block[:, :, None] == block[:, None, :]) & images[:, :, None]
    return seen[:, None]


def hidden_states(
    model: "Gemma3ForConditionalGeneration", batch: Batch, tokens: "torch.Tensor", *, fast: bool = False
) -> "torch.Tensor":
    """Last hidden states [B, L, width] of a batch.

    Args:
        model: The whole model; its tower is not run.
        batch: Packed rows.
        tokens: [pictures, image tokens, width], in the order of `batch.pictures`.
        fast: In the quicker arithmetic, for training.
    """
    text = model.model.language_model
    embedded = text.embed_tokens(batch.ids)
    if len(batch.pictures):
        embedded = embedded.masked_scatter(batch.images[..., None].expand_as(embedded), tokens.to(embedded.dtype))
    if not fast:
        return _text(text, embedded, batch.positions, batch.mask)
    from vlm2vla.training.pretrain.attention import additive, quick

    with quick(model):
        return _text(text, embedded, batch.positions, additive(batch.mask))


def _text(
    text: "torch.nn.Module", embedded: "torch.Tensor", positions: "torch.Tensor", mask: "torch.Tensor"
) -> "torch.Tensor":
    masks = {"full_attention": mask, "sliding_attention": mask}
    return text(
        inputs_embeds=embedded, position_ids=positions, attention_mask=masks, use_cache=False
    ).last_hidden_state.float()


def answer_loss(model: "Gemma3ForConditionalGeneration", batch: Batch, hidden: "torch.Tensor") -> "torch.Tensor":
    """Weighted cross-entropy over the answers, a scalar."""
    import torch

    told = batch.labels != IGNORED
    logits = model.lm_head(hidden[told])
    losses = torch.nn.functional.cross_entropy(logits, batch.labels[told], reduction="none")
    weights = batch.weights[told]
    return (losses * weights).sum() / weights.sum()


def written_answers(
    model: "Gemma3ForConditionalGeneration", batch: Batch, hidden: "torch.Tensor"
) -> list[tuple[str, list[int], list[int]]]:
    """Of each branch the skill, the pieces that the model finds most likely for its last answer, and the true ones.

    Each piece is guessed behind the true ones before it, so the two are equal just when the model would write exactly
    that answer.
    """
    import torch

    told = batch.labels != IGNORED
    best = torch.full_like(batch.labels, IGNORED)
    best[told] = model.lm_head(hidden[told]).argmax(-1)
    return [
        (answer.skill, best[answer.row, span].tolist(), batch.labels[answer.row, span].tolist())
        for answer in batch.answers
        for span in [slice(answer.start, answer.stop)]
    ]

"""Choosing an answer's tokens, one after the other, and turning them into text.

Knows no model: it is handed logits. What is reported is always the model's own probability; temperature, top-p and
grammar only decide which token is taken.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vlm2vla.errors import ModelFaultError, ModelInputError
from vlm2vla.vlm.chat import Sampling, Token
from vlm2vla.vlm.local.grammar import Follower

_KEPT = 8


class Texts(dict[int, str]):
    """The text of each token by itself, decoded once.

    Attributes:
        tokenizer: Of transformers.
    """

    def __init__(self, tokenizer: Any):
        """Nothing is decoded yet."""
        super().__init__()
        self.tokenizer, self._size = tokenizer, len(tokenizer)

    def __missing__(self, token: int) -> str:
        text = self.tokenizer.decode([token], skip_special_tokens=False) if token < self._size else ""
        self[token] = text
        return text


class Spelling:
    """The text of tokens as they arrive; a character in several tokens comes with the last of them.

    Attributes:
        texts: Of single tokens.
    """

    def __init__(self, texts: Texts, silent: frozenset[int], before: Sequence[int] = ()):
        """Begin behind the tokens `before`.

        Args:
            texts: Of the tokenizer.
            silent: Ids without text: the model's own marks.
            before: The last tokens of what was written before, so that a space between is right.
        """
        self.texts, self._silent = texts, silent
        self._ids = [token for token in before if token not in silent][-_KEPT:]
        self._done, self._whole = len(self._text()), len(self._ids)  # characters told, ids that they came from

    def add(self, token: int) -> str:
        """The text that this token adds."""
        if token in self._silent:
            return ""
        self._ids.append(token)
        text = self._text()
        if text.endswith("\ufffd"):  # the middle of a character
            return ""
        new, self._done = text[self._done :], len(text)
        if len(self._ids) > _KEPT:  # the last whole piece tells how the next one joins it: no character is cut
            self._ids = self._ids[self._whole :]
            self._done = len(self._text())
        self._whole = len(self._ids)
        return new

    def _text(self) -> str:
        return self.texts.tokenizer.decode(self._ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


class Judged:
    """What a model thinks of every token, in each of several rows (or places of one row).

    Attributes:
        logprobs: [n, vocabulary], on the CPU.
        best: The most probable token of each row.
        highest: Its logprob; nan where the model computed one anywhere in the row.
    """

    def __init__(self, logits: Tensor):
        """Judge by logits [n, vocabulary], float32."""
        self.logprobs = torch.log_softmax(logits.cpu(), dim=-1)
        highest, best = self.logprobs.max(dim=-1)
        self.best, self.highest = best.tolist(), highest.tolist()


class Writer:
    """Takes the tokens of one answer.

    Attributes:
        written: Ids so far, forced ones included.
        ended: The model ended its turn, or there is no more room.
    """

    def __init__(
        self,
        sampling: Sampling,
        spelling: Spelling,
        ends: frozenset[int],
        room: int,
        follower: Follower | None = None,
    ):
        """Begin an answer.

        Args:
            sampling: Temperature, top-p, seed, alternatives.
            spelling: Makes text of tokens.
            ends: Ids that end an answer.
            room: Most tokens to write.
            follower: The grammar, if there is one.

        Raises:
            ModelInputError: Settings that cannot be.
        """
        if not (0 <= sampling.temperature <= 10 and 0 < sampling.top_p <= 1 and sampling.max_new_tokens > 0):
            raise ModelInputError("temperature must be 0 to 10, top_p above 0 and at most 1, max_new_tokens above 0")
        self._sampling, self._spelling, self._ends, self._follower = sampling, spelling, ends, follower
        self._room = room
        self._random = torch.Generator().manual_seed(sampling.seed & (2**63 - 1))
        self.written: list[int] = []
        self.ended = False

    def take(self, judged: "Judged", row: int = -1) -> Token:
        """Choose the next token; `written[-1]` is its id.

        Args:
            judged: What the model thinks of every token.
            row: Whose turn it is.

        Raises:
            ModelFaultError: The model computed NaN.
        """
        logprobs, best = judged.logprobs[row], judged.best[row]
        if math.isnan(judged.highest[row]):
            raise ModelFaultError("the model computed NaN; its weights are broken, or a number overflowed")
        token = wanted = best if self._sampling.temperature == 0 else self._draw(logprobs)
        if self._follower is not None:
            allowed = self._follower.allowed()
            if not allowed[wanted]:
                if not allowed.any():
                    raise ModelFaultError("the grammar allows no token of this model here")
                rest = logprobs.masked_fill(~allowed, -math.inf)
                token = int(rest.argmax()) if self._sampling.temperature == 0 else self._draw(rest)
            self._follower.accept(token)
        return self._note(token, logprobs, corrected=token != wanted)

    def forced(self) -> list[int]:
        """Tokens that the grammar leaves no choice about; read them with the last one taken, then `note` each."""
        if self._follower is None or self.ended:
            return []
        return self._follower.forced()[: self._room - len(self.written)]

    def note(self, token: int, judged: "Judged", row: int) -> Token:
        """A forced token, with the probability that the model gives it."""
        return self._note(token, judged.logprobs[row], corrected=judged.best[row] != token)

    def _note(self, token: int, logprobs: Tensor, corrected: bool) -> Token:
        self.written.append(token)
        ends = token in self._ends
        self.ended = ends or len(self.written) >= self._room
        text = "" if ends else self._spelling.add(token)
        return Token(text, float(logprobs[token]), self._alternatives(logprobs), corrected, ends)

    def _alternatives(self, logprobs: Tensor) -> tuple[tuple[str, float], ...]:
        if not self._sampling.top:
            return ()
        return alternatives(self._spelling.texts, logprobs, self._sampling.top)

    def _draw(self, logprobs: Tensor) -> int:
        """A token by temperature and top-p."""
        probabilities = torch.softmax(logprobs.double() / self._sampling.temperature, dim=-1)
        ordered, indices = probabilities.sort(descending=True, stable=True)
        sums = ordered.cumsum(dim=-1)
        kept = int((sums - ordered < self._sampling.top_p).sum())
        point = float(torch.rand((), generator=self._random, dtype=torch.float64)) * float(sums[kept - 1])
        place = int(torch.searchsorted(sums[:kept], point, right=True))
        return int(indices[min(place, kept - 1)])


def alternatives(texts: Texts, logprobs: Tensor, count: int) -> tuple[tuple[str, float], ...]:
    """The `count` most probable tokens as (text, logprob)."""
    values, indices = logprobs.topk(min(count, len(logprobs)))
    return tuple((texts[index], value) for value, index in zip(values.tolist(), indices.tolist(), strict=True))

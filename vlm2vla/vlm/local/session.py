"""A conversation whose key-value cache is kept from call to call, so that what was read is not read again."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlm2vla.errors import ModelError, ModelInputError, ModelUnavailableError
from vlm2vla.vlm.chat import Message, Sampling, Token

if TYPE_CHECKING:
    from torch import Tensor

    from vlm2vla.vlm.local.prompt import Prompt
    from vlm2vla.vlm.local.reading import Reading
    from vlm2vla.vlm.local.weights import Weights


@dataclass
class SessionCounts:
    """What a session did since it was made.

    Attributes:
        read_tokens: Tokens that went through the model as prompt, images included.
        reused_tokens: Tokens of prompts that were in the cache already.
        written_tokens: Tokens that were sampled.
        forced_tokens: Tokens that a grammar left no choice about, and that were not sampled.
        images_encoded: Images that went through the vision tower.
    """

    read_tokens: int = 0
    reused_tokens: int = 0
    written_tokens: int = 0
    forced_tokens: int = 0
    images_encoded: int = 0


class Session:
    """A `ChatModel` for one conversation at a time: the policy's cycle, a pane of the chat.

    Each call keeps the longest beginning (in tokens; images by their content) that it shares with what was read or
    written before, and reads only the rest. Answers are the same as without a session, up to rounding.
    A new call ends an answer that is still under way in the same session.

    Attributes:
        name: Name of the model in the registry.
        counts: What was read, reused and written so far.
    """

    def __init__(self, name: str, load: "Callable[[], tuple[Weights, str]]", *, merged: bool = False):
        """Read nothing yet.

        Args:
            name: Name of the model.
            load: Gives the weights, loading them if need be, and the id of the adapter on them.
            merged: A small model may keep its adapter's layers a second time, merged with the base's, to be faster.
        """
        self.name, self.counts = name, SessionCounts()
        self._load, self._lock, self._turn, self._merged = load, threading.RLock(), 0, merged
        self._reading: Reading | None = None
        self._keys: list[int] = []
        self._last: tuple[int, Tensor] | None = None  # logits behind so many keys

    def prefill(self, messages: Sequence[Message]) -> int:
        """Read a conversation ahead of the question; returns how many tokens were new.

        Raises:
            ModelError: As for `ChatModel.stream`.
        """
        weights, adapter = self._load()
        prompt = weights.prompts.make(messages)
        weights.room(prompt, 1)
        with self._lock:
            self._turn += 1
            before = self.counts.read_tokens
            self._read(weights, adapter, prompt)
            return self.counts.read_tokens - before

    def stream(
        self, messages: Sequence[Message], sampling: Sampling, *, stopped: threading.Event | None = None
    ) -> Iterator[Token]:
        """See `ChatModel.stream`; text of a last message of the assistant is forced, at the cost of reading it."""
        from vlm2vla.vlm.local.answering import is_set, make_writer
        from vlm2vla.vlm.local.writing import Judged

        weights, adapter = self._load()
        prompt = weights.prompts.make(messages)
        writer = make_writer(weights, prompt, sampling)
        if is_set(stopped):
            return
        with self._lock:
            self._turn += 1
            turn = self._turn
            judged = Judged(self._read(weights, adapter, prompt))
        while True:
            token = writer.take(judged)
            self.counts.written_tokens += 1
            yield token
            if writer.ended or is_set(stopped):
                return
            taken, forced = writer.written[-1], writer.forced()
            with self._lock:
                if self._turn != turn:
                    raise ModelUnavailableError("this session was asked something else in the meantime")
                judged = Judged(self._continue([taken, *forced]))
            for place, token in enumerate(forced):
                self.counts.forced_tokens += 1
                yield writer.note(token, judged, place)
            if writer.ended or is_set(stopped):
                return

    def score(self, messages: Sequence[Message], answer: str) -> tuple[Token, ...]:
        """See `ChatModel.score`."""
        from torch import cat

        from vlm2vla.vlm.local.answering import score_tokens

        weights, adapter = self._load()
        prompt = weights.prompts.make(messages)
        ids = weights.prompts.ids(answer)
        if not ids:
            return ()
        if weights.room(prompt, len(ids)) < len(ids):
            raise ModelInputError(
                f"prompt and answer have more than the {weights.context} tokens that this model takes"
            )
        with self._lock:
            self._turn += 1
            first = self._read(weights, adapter, prompt)[-1:]
            rest = self._continue(ids)
        return score_tokens(weights, prompt, ids, cat([first, rest]))

    def clear(self) -> None:
        """Forget what was read."""
        with self._lock:
            self._reading, self._keys, self._last = None, [], None

    def _read(self, weights: "Weights", adapter: str, prompt: "Prompt") -> "Tensor":
        """Logits [1, vocabulary] behind the prompt; what the cache has of it already is not read."""
        from vlm2vla.vlm.local.reading import Reading

        if self._reading is None or self._reading.weights is not weights or self._reading.rows != (adapter,):
            self.clear()
            self._reading = Reading(weights, [adapter], merged=self._merged)
        shared = _shared(self._keys, prompt.keys)
        if shared == len(prompt) and self._last is not None and self._last[0] == shared:
            self._cut(shared)
            self.counts.reused_tokens += shared
            return self._last[1]
        shared = min(shared, len(prompt) - 1)  # never within an image: all its keys are equal, and none is the last
        self._cut(shared)
        self.counts.images_encoded += sum(
            1 for place in prompt.places if place.start >= shared and not weights.encoded(place, adapter)
        )
        try:
            logits = self._reading.read_prompts([prompt], start=shared)[0]
        except ModelError:
            self.clear()
            raise
        self._keys = list(prompt.keys)
        self._last = (len(prompt), logits)
        self.counts.reused_tokens += shared
        self.counts.read_tokens += len(prompt) - shared
        return logits

    def _continue(self, ids: Sequence[int]) -> "Tensor":
        """Logits [n, vocabulary] behind each of the written tokens."""
        try:
            logits = self._reading.read_ids([ids], keep=len(ids))[0]
        except ModelError:
            self.clear()
            raise
        self._keys += ids
        return logits

    def _cut(self, length: int) -> None:
        self._reading.cut(length)
        del self._keys[length:]


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """How many first keys are equal."""
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count

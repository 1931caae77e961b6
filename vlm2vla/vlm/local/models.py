"""The models of this process: loaded when first asked, kept until unloaded, safe to use from any thread.

Base and adapters of one base share its weights and answer one question in one batch. Each step of each answer takes the
lock of its weight copy, so that answers that run at the same time take turns token by token, and a cancelled one stops
within a token.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from vlm2vla.errors import ConfigError, ModelError, ModelFaultError
from vlm2vla.vlm.chat import Message, Sampling, Token
from vlm2vla.vlm.local.session import Session
from vlm2vla.vlm.registry import ModelEntry, ModelRegistry
from vlm2vla.vlm.together import Stream, together

if TYPE_CHECKING:
    from vlm2vla.vlm.local.answering import Row
    from vlm2vla.vlm.local.weights import Weights


Conversations = Sequence[Message] | Mapping[str, Sequence[Message]]
"""One conversation for all models, or one for each name."""


class LocalModels:
    """Local entries of a registry, ready to answer."""

    def __init__(self, registry: ModelRegistry, *, device: str = "auto", max_context: int = 0):
        """Load nothing yet.

        Args:
            registry: Where names lead.
            device: "cpu", "cuda", ... ; auto takes the GPU if there is one. float32 on a CPU, bfloat16 elsewhere.
            max_context: Most tokens of a conversation with its answer; 0 takes what the model was made for.
        """
        self.registry = registry
        self._device, self._context = device, max_context
        self._weights: dict[str, Weights] = {}
        self._loading: dict[str, threading.Lock] = {}
        self._names: dict[str, ModelEntry] = {}
        self._lock = threading.Lock()

    def model(self, name: str) -> "LocalChat":
        """The model called `name`; its weights are loaded at the first question.

        Raises:
            NotFoundError: No such model.
            ConfigError: It is a server, not a model of this process.
        """
        return LocalChat(self._entry(name).name, partial(self.ready, name))

    def session(self, name: str) -> Session:
        """A conversation partner that remembers what it has read: see `Session`. Errors as for `model`.

        For what asks again and again, such as a policy: a small model keeps merged layers for it.
        """
        return Session(self._entry(name).name, partial(self.ready, name), merged=True)

    def stream_together(
        self,
        names: Sequence[str],
        messages: Conversations,
        sampling: Sampling,
        *,
        stopped: threading.Event | None = None,
        awake: Callable[[str], None] | None = None,
    ) -> Stream:
        """One question to several models, as (name, token) in the order of arrival.

        Base and adapters of one base answer in one batch, others in threads beside it; each with the same sampling and
        seed, and each gives the answer that it would give alone. A model that fails yields its error, and the others go
        on.

        Args:
            names: Who is asked.
            messages: The conversation, or one for each name.
            sampling: How tokens are chosen.
            stopped: Ends the answers within a token.
            awake: Told of each name once its weights are loaded, from the thread that loads them.

        Raises:
            NotFoundError, ConfigError: As for `model`; or a name that is given twice.
        """
        if len(set(names)) < len(names):
            raise ConfigError(f"a model is named twice: {', '.join(names)}")
        groups: dict[str, list[str]] = {}
        for name in names:
            groups.setdefault(self._entry(name).weights, []).append(name)
        return together([partial(self._ask, group, messages, sampling, awake) for group in groups.values()], stopped)

    def answer_all(
        self,
        name: str,
        conversations: Sequence[Sequence[Message]],
        sampling: Sampling,
        *,
        batch: int = 8,
        stopped: threading.Event | None = None,
    ) -> Iterator[tuple[int, str | ModelError]]:
        """Answers to many conversations in batches, as (index, answer) when each is done; for evaluation.

        A conversation that cannot be answered yields its error. Answers that a stop cuts short are not yielded.

        Raises:
            ModelLoadError: The model cannot be loaded.
        """
        from vlm2vla.vlm.local.answering import Row

        weights, adapter = self.ready(name)
        rows: list[tuple[int, Row]] = []
        for index, messages in enumerate(conversations):
            try:
                rows.append((index, Row(adapter, weights.prompts.make(messages))))
            except ModelError as error:
                yield index, error
        rows.sort(key=lambda row: len(row[1].prompt))  # neighbours need little padding
        for start in range(0, len(rows), batch):
            yield from _batch(weights, rows[start : start + batch], sampling, stopped)

    def load(self, name: str) -> None:
        """Load now rather than at the first question.

        Raises:
            ModelLoadError: Weights that cannot be read, or an adapter that does not fit its base.
        """
        self.ready(name)

    def ready(self, name: str) -> "tuple[Weights, str]":
        """The weights of a model and the id of its adapter on them ("" for none), loaded if need be.

        Raises:
            ModelLoadError: As for `load`.
        """
        from vlm2vla.vlm.local.weights import Weights

        entry = self._entry(name)
        with self._lock:
            loading = self._loading.setdefault(entry.weights, threading.Lock())
        with loading:  # others may be loaded or asked meanwhile
            weights = self._weights.get(entry.weights)
            if weights is None:
                weights = Weights(entry.weights, device=self._device, context=self._context)
                self._weights[entry.weights] = weights
            adapter = weights.attach(entry.path) if entry.kind == "adapter" else ""
        self._names[name] = entry
        return weights, adapter

    def unload(self, name: str) -> None:
        """Forget a model's weights (of an adapter only its own); answers under way end with a ModelUnavailableError."""
        entry = self._entry(name)
        with self._lock:
            self._names.pop(name, None)
            weights = self._weights.get(entry.weights)
            if entry.kind != "adapter":
                self._weights.pop(entry.weights, None)
                for other in [other for other, each in self._names.items() if each.weights == entry.weights]:
                    del self._names[other]
        if weights is not None and entry.kind == "adapter":
            weights.detach(entry.path)
        elif weights is not None:
            weights.close()

    def loaded(self) -> tuple[str, ...]:
        """Names under which models were loaded and not unloaded since."""
        return tuple(self._names)

    def _entry(self, name: str) -> ModelEntry:
        entry = self.registry.get(name)
        if not entry.local:
            raise ConfigError(f"{name!r} is a model of a server ({entry.url or entry.model}), not of this process")
        return entry

    def _ask(
        self,
        names: Sequence[str],
        messages: Conversations,
        sampling: Sampling,
        awake: Callable[[str], None] | None,
        stopped: threading.Event,
    ) -> Stream:
        """Models on one copy of weights: those that can be mixed in one batch, others by themselves."""
        ready: list[tuple[str, str]] = []
        weights = None
        for name in names:
            try:
                weights, adapter = self.ready(name)
                ready.append((name, adapter))
            except ModelError as error:
                yield name, error
        if weights is None:
            return
        for name, _ in ready if awake else ():
            awake(name)
        mixed = [row for row in ready if weights.mixable(row[1])]
        groups = [mixed] if mixed else []
        groups += [[row] for row in ready if row not in mixed]
        yield from together([partial(_ask_rows, weights, group, messages, sampling) for group in groups], stopped)


class LocalChat:
    """One model of this process, as a `ChatModel`.

    Attributes:
        name: Name in the registry.
    """

    def __init__(self, name: str, load: "Callable[[], tuple[Weights, str]]"):
        """Load nothing yet; `load` gives the weights and the id of the adapter on them."""
        self.name, self._load = name, load

    def stream(
        self, messages: Sequence[Message], sampling: Sampling, *, stopped: threading.Event | None = None
    ) -> Iterator[Token]:
        """See `ChatModel.stream`. A grammar describes the whole answer, a given beginning of it included."""
        return Session(self.name, self._load).stream(messages, sampling, stopped=stopped)

    def score(self, messages: Sequence[Message], answer: str) -> tuple[Token, ...]:
        """See `ChatModel.score`. The end of the turn is not part of the answer."""
        return Session(self.name, self._load).score(messages, answer)


def _ask_rows(
    weights: "Weights",
    named: Sequence[tuple[str, str]],
    messages: Conversations,
    sampling: Sampling,
    stopped: threading.Event,
) -> Stream:
    """Models on one copy of weights in one batch."""
    from vlm2vla.vlm.local.answering import Row, answer_rows, checked

    names, rows = [], []
    for name, adapter in named:
        try:
            prompt = weights.prompts.make(messages[name] if isinstance(messages, Mapping) else messages)
            rows.append(Row(adapter, checked(weights, prompt, adapter)))
            names.append(name)
        except ModelError as error:
            yield name, error
    try:
        for row, token in answer_rows(weights, rows, sampling, stopped) if rows else ():
            yield names[row], token
    except ModelError as error:
        yield from ((name, error) for name in names)


def _batch(
    weights: "Weights", rows: "Sequence[tuple[int, Row]]", sampling: Sampling, stopped: threading.Event | None
) -> Iterator[tuple[int, str | ModelError]]:
    """Answers of one batch; rows whose images cannot be read leave it, and a batch too large for memory is halved."""
    from vlm2vla.vlm.local.answering import answer_rows, checked, is_set

    good = []
    for index, row in rows:
        try:
            checked(weights, row.prompt, row.adapter)
            good.append((index, row))
        except ModelError as error:
            yield index, error
    texts: dict[int, str] = {}
    failed: set[int] = set()
    try:
        for place, token in answer_rows(weights, [row for _, row in good], sampling, stopped) if good else ():
            if isinstance(token, ModelError):
                failed.add(place)
                yield good[place][0], token
            else:
                texts[place] = texts.get(place, "") + token.text
    except ModelFaultError as error:
        left = [pair for place, pair in enumerate(good) if place not in failed]
        if len(left) == 1:
            yield left[0][0], error
            return
        for half in (left[: len(left) // 2], left[len(left) // 2 :]):
            yield from _batch(weights, half, sampling, stopped)
        return
    except ModelError as error:
        for index, _ in good:
            yield index, error
        return
    if not is_set(stopped):
        yield from ((index, texts.get(place, "")) for place, (index, _) in enumerate(good) if place not in failed)

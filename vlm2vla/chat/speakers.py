"""Several models answering at the same time: those of this process in one batch, servers in threads beside it."""

import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from vlm2vla.errors import ModelError, VLM2VLAError
from vlm2vla.vlm.chat import ChatModel, Message, Sampling, Token
from vlm2vla.vlm.local import LocalModels
from vlm2vla.vlm.registry import Actions, ModelEntry, ModelRegistry
from vlm2vla.vlm.remote import open_remote
from vlm2vla.vlm.together import HEARD_S


class Awake:
    """The weights of a model, loaded for this question, are there."""


Said = tuple[str, Awake | Token | VLM2VLAError | None]
"""A model's name with its next token, with the error that ended its answer, or with None at the answer's end."""


class Speakers(Protocol):
    """Whoever can be talked to, by name."""

    def entries(self) -> Sequence[ModelEntry]:
        """What the menus offer."""
        ...

    def identity(self, name: str) -> str:
        """What the model is: where its weights are and their fingerprint, or the address of its server."""
        ...

    def waking(self, name: str) -> bool:
        """Whether its weights must be loaded before it can answer."""
        ...

    def speak(
        self, conversations: Mapping[str, Sequence[Message]], sampling: Sampling, stopped: threading.Event
    ) -> Iterator[Said]:
        """The answers of all of them, as they come; a model that fails ends with its error, the others go on."""
        ...

    def model(self, name: str) -> ChatModel:
        """One of them.

        Raises:
            NotFoundError: No such model.
        """
        ...


class RegisteredSpeakers:
    """The models of a registry."""

    def __init__(self, registry: ModelRegistry, models: LocalModels):
        self._registry, self._models = registry, models
        self._servers: dict[ModelEntry, ChatModel] = {}  # what a server does is found out once

    def entries(self) -> Sequence[ModelEntry]:
        """See `Speakers`."""
        return self._registry.list()

    def identity(self, name: str) -> str:
        """See `Speakers`."""
        entry = self._registry.get(name)
        if not entry.local:
            return f"{entry.url or entry.kind} {entry.model}".strip()
        from vlm2vla.vlm.origin import fingerprint

        return f"{entry.path} {fingerprint(Path(entry.path))}".strip()

    def waking(self, name: str) -> bool:
        """See `Speakers`."""
        return self._is_local(name) and name not in self._models.loaded()

    def model(self, name: str) -> ChatModel:
        """See `Speakers`; one of this process keeps what it has read, so that several texts are scored for little."""
        entry = self._registry.get(name)
        if entry.local:
            return self._models.session(name)
        if entry not in self._servers:
            self._servers[entry] = open_remote(entry)
        return self._servers[entry]

    def add(self, name: str, where: str, *, base: str = "", model: str = "", actions: Actions = "") -> ModelEntry:
        """Add a model to the registry; see `ModelRegistry.add`."""
        return self._registry.add(name, where, base=base, model=model, actions=actions)

    def remove(self, name: str) -> None:
        """Forget an added model and its weights; answers that it is writing end with a message, files stay.

        Raises:
            NotFoundError, ConfigError: See `ModelRegistry.remove`.
        """
        local = self._is_local(name) and name in self._models.loaded()
        entry = self._registry.get(name)
        if local and not entry.shipped:
            self._models.unload(name)
        self._registry.remove(name)

    def check(self, name: str) -> dict[str, Any]:
        """Whether the model is what its entry says; takes seconds. See `ModelRegistry.check`.

        One of this process is asked where it is loaded, and is loaded for everybody where it is not.
        """
        return self._registry.check(name, self._models).to_json()

    def speak(
        self, conversations: Mapping[str, Sequence[Message]], sampling: Sampling, stopped: threading.Event
    ) -> Iterator[Said]:
        """See `Speakers`; base and adapters of one base answer in one batch.

        After a stop nobody is waited for: whoever loads weights or sits in a request ends by itself, unheard.
        """
        said: queue.SimpleQueue[Said] = queue.SimpleQueue()
        local = [name for name in conversations if self._is_local(name)]
        jobs = [lambda: self._together(local, conversations, sampling, stopped, said)] if local else []
        jobs += [
            lambda name=name: self._alone(name, conversations[name], sampling, stopped, said)
            for name in conversations
            if name not in local
        ]
        for job in jobs:
            threading.Thread(target=job, name="chat-answer", daemon=True).start()
        left = dict.fromkeys(conversations)
        while left:
            try:
                name, what = said.get(timeout=HEARD_S)
            except queue.Empty:
                if not stopped.is_set():
                    continue
                yield from ((name, None) for name in left)
                return
            if not isinstance(what, Token | Awake):
                if name not in left:
                    continue
                del left[name]
            yield name, what

    def _is_local(self, name: str) -> bool:
        try:
            return self._registry.get(name).local
        except VLM2VLAError:
            return False  # its own thread says so

    def _together(
        self,
        names: Sequence[str],
        conversations: Mapping[str, Sequence[Message]],
        sampling: Sampling,
        stopped: threading.Event,
        said: "queue.SimpleQueue[Said]",
    ) -> None:
        messages = {name: conversations[name] for name in names}
        asleep: list[str] = []

        def awake(name: str) -> None:
            if name in asleep:
                said.put((name, Awake()))

        try:
            asleep += [name for name in names if self.waking(name)]
            for name, token in self._models.stream_together(names, messages, sampling, stopped=stopped, awake=awake):
                said.put((name, token))
                if isinstance(token, Token) and token.ended:
                    said.put((name, None))  # the others may go on for long
        except VLM2VLAError as error:
            self._end(names, error, said)
        except Exception as error:
            self._end(names, ModelError(f"{type(error).__name__}: {error}"), said)
        else:
            self._end(names, None, said)

    def _alone(
        self,
        name: str,
        messages: Sequence[Message],
        sampling: Sampling,
        stopped: threading.Event,
        said: "queue.SimpleQueue[Said]",
    ) -> None:
        try:
            for token in self.model(name).stream(messages, sampling, stopped=stopped):
                said.put((name, token))
        except VLM2VLAError as error:
            said.put((name, error))
        except Exception as error:
            said.put((name, ModelError(f"{type(error).__name__}: {error}")))
        else:
            said.put((name, None))

    @staticmethod
    def _end(names: Sequence[str], error: VLM2VLAError | None, said: "queue.SimpleQueue[Said]") -> None:
        for name in names:
            said.put((name, error))

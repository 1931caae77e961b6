"""Models of servers, by their entry in the registry, as `ChatModel`."""

import threading
from collections.abc import Iterator, Sequence

from vlm2vla.config import GeminiConfig
from vlm2vla.errors import ConfigError, ModelError, ModelInputError
from vlm2vla.vlm.chat import ChatModel, Message, Sampling, Token
from vlm2vla.vlm.protocol import VLM, ImagePart, VLMRequest
from vlm2vla.vlm.registry import ModelEntry
from vlm2vla.vlm.together import unless_stopped


def open_remote(entry: ModelEntry, *, gemini: GeminiConfig | None = None) -> ChatModel:
    """The model of a server; nothing is asked yet.

    Args:
        entry: Of kind "openai" or "gemini".
        gemini: How Gemini is asked; the model is the entry's.

    Raises:
        ConfigError: It is a model of this process; no key; or a server elsewhere while only local ones are allowed.
    """
    if entry.kind == "openai":
        from vlm2vla.vlm.openai import OpenAIChat

        return OpenAIChat(entry)
    if entry.kind == "gemini":
        from dataclasses import replace

        from vlm2vla.vlm.gemini import GeminiVLM

        return GeminiChat(entry.name, GeminiVLM(replace(gemini or GeminiConfig(), model=entry.model)))
    raise ConfigError(f"{entry.name!r} is a model of this process, not of a server")


class GeminiChat:
    """Gemini (or any `VLM`) as a `ChatModel`: the whole answer comes as one token, without probabilities.

    A Gemini that takes no temperature and no top-p (see models.yaml) is asked without, and the log says so.

    Attributes:
        name: Name in the registry.
        concurrency: How many questions it may be asked side by side.
    """

    concurrency = 8
    continues = False

    def __init__(self, name: str, model: VLM):
        """Ask nothing yet."""
        self.name, self._model = name, model

    def stream(
        self, messages: Sequence[Message], sampling: Sampling, *, stopped: threading.Event | None = None
    ) -> Iterator[Token]:
        """See `ChatModel.stream`; a request that has left is paid for, also when it is stopped.

        Raises:
            ModelInputError: A grammar, or an answer to be continued: Gemini does neither.
        """
        if sampling.grammar or (messages and messages[-1].role == "assistant"):
            raise ModelInputError(f"{self.name} follows no grammar and continues no answers")
        if not messages or not any(part for part in messages[-1].parts):
            raise ModelInputError("nothing is asked: a conversation needs a question, in words or with an image")
        request = _request(messages, sampling)
        answer = unless_stopped(lambda: self._model.answer(request), stopped)
        if answer is None:
            return
        yield Token(answer.text)
        yield Token("", ended=True)

    def score(self, messages: Sequence[Message], answer: str) -> tuple[Token, ...]:
        """Not possible.

        Raises:
            ModelError: Always.
        """
        raise ModelError(f"{self.name} does not tell the probabilities of a given text")


def _request(messages: Sequence[Message], sampling: Sampling) -> VLMRequest:
    """A conversation as one request; earlier turns are told as what was said."""
    system = "\n\n".join(message.text for message in messages if message.role == "system")
    turns = [message for message in messages if message.role != "system"]
    parts: list[str | ImagePart] = []
    for message in turns:
        if len(turns) > 1:
            parts.append("You said:\n" if message.role == "assistant" else "I said:\n")
        parts += message.parts
        if len(turns) > 1:
            parts.append("\n\n")
    return VLMRequest(
        system,
        tuple(parts),
        max_output_tokens=max(sampling.max_new_tokens, 1024),
        temperature=sampling.temperature or None,  # as sure as it can be is how it is asked anyway
        top_p=sampling.top_p if sampling.top_p < 1 else None,
        seed=sampling.seed,
    )

"""Models of any OpenAI-compatible server: vLLM (base and adapters by name), `vlm2vla serve`, transformers serve, ...

Servers accept settings that they do not know and then ignore them; so what matters is probed, not assumed, and what a
server cannot do is said. Images go as data URLs. The key is VLM2VLA_SERVER_KEY; OPENAI_API_KEY is sent to OpenAI only.
"""

import base64
import codecs
import contextlib
import os
import queue
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from vlm2vla.errors import ModelError, ModelInputError, ModelUnavailableError
from vlm2vla.vlm.chat import Message, Sampling, Token
from vlm2vla.vlm.openai_probe import Capabilities, probe
from vlm2vla.vlm.protocol import ImagePart
from vlm2vla.vlm.reach import refuse_elsewhere
from vlm2vla.vlm.registry import ModelEntry
from vlm2vla.vlm.together import unless_stopped

if TYPE_CHECKING:
    import openai

KEY_VARIABLE = "VLM2VLA_SERVER_KEY"
BLIND = "refuses images, or answers alike whatever is shown"


class OpenAIChat:
    """One model of a server, as a `ChatModel`. Safe to share between threads.

    Attributes:
        name: Name in the registry.
        concurrency: How many questions it may be asked side by side.
    """

    concurrency = 8

    def __init__(self, entry: ModelEntry, *, timeout_s: float = 60.0):
        """Ask nothing yet.

        Args:
            entry: Of kind "openai".
            timeout_s: Longest silence of the server before an answer is given up.

        Raises:
            ConfigError: The server is elsewhere while only models on this computer are allowed.
        """
        refuse_elsewhere(entry.url, "use a local server")
        self.name, self._url, self._model = entry.name, entry.url, entry.model
        self._timeout = timeout_s
        self._made: openai.OpenAI | None = None
        self._known: Capabilities | None = None
        self._lock = threading.Lock()

    def stream(
        self, messages: Sequence[Message], sampling: Sampling, *, stopped: threading.Event | None = None
    ) -> Iterator[Token]:
        """See `ChatModel.stream`.

        Raises:
            ModelInputError: The server refuses the prompt, cannot see its images, or cannot follow a grammar or
                continue an answer although it was asked to.
            ModelUnavailableError: It cannot be reached, hangs, or has no such model.
        """
        unless_stopped(lambda: self._refuse_ignored(messages, sampling), stopped)  # it may ask the server first
        if stopped is not None and stopped.is_set():
            return
        wanted = self._request(messages, sampling)
        yield from _watched(lambda: self._create(**wanted, stream=True), _tokens, stopped, self._timeout)

    def score(self, messages: Sequence[Message], answer: str) -> tuple[Token, ...]:
        """See `ChatModel.score`; through `prompt_logprobs`, which vLLM and our own server have.

        Raises:
            ModelError: The server does not tell.
        """
        if not answer:
            return ()
        given = (*messages, Message("assistant", (answer,)))
        wanted = self._request(given, Sampling(max_new_tokens=1))
        wanted["extra_body"]["prompt_logprobs"] = 0
        wanted.pop("logprobs")
        try:
            reply = self._create(**wanted)
        except ModelInputError as error:
            raise ModelError(f"the server does not tell the probabilities of a given text: {error}") from error
        rows = (reply.model_extra or {}).get("prompt_logprobs")
        if not rows:
            raise ModelError("the server does not tell the probabilities of a given text")
        return _scored(rows, answer)

    def probe(self) -> Capabilities:
        """Ask small questions to find out what the server does; remembered.

        Raises:
            ModelUnavailableError: It cannot be reached, or has no such model.
        """
        with self._lock:
            if self._known is None:
                self._known = probe(self._reply, self.score)
            return self._known

    @property
    def continues(self) -> bool:
        """It goes on with an answer that was begun.

        Raises:
            ModelUnavailableError: It cannot be reached, or has no such model.
        """
        return self.probe().continues

    def served(self) -> tuple[str, ...]:
        """Names of the models that the server offers; empty where it does not say."""
        import openai

        with contextlib.suppress(openai.OpenAIError):
            return tuple(model.id for model in self._client().models.list())
        return ()

    def _refuse_ignored(self, messages: Sequence[Message], sampling: Sampling) -> None:
        """Nothing that the server would silently ignore is asked of it; it is probed for that at the first need."""
        if not messages or not any(part for part in messages[-1].parts):
            raise ModelInputError("nothing is asked: a conversation needs a question, in words or with an image")
        if any(message.images for message in messages) and not self.probe().images:
            raise ModelInputError(f"{self.name} does not see: its server {BLIND}")
        if sampling.grammar and not self.probe().grammar:
            raise ModelInputError("the server does not follow grammars; use retry instead of grammar")
        if messages[-1].role == "assistant" and not self.probe().continues:
            raise ModelInputError("the server cannot continue an answer that was begun")

    def _request(self, messages: Sequence[Message], sampling: Sampling) -> dict[str, Any]:
        extra: dict[str, Any] = {}
        if sampling.grammar:
            extra["structured_outputs"] = {"grammar": sampling.grammar}
        if messages[-1].role == "assistant":
            extra |= {"continue_final_message": True, "add_generation_prompt": False}
        return {
            "model": self._model,
            "messages": [_as_json(message) for message in messages],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed,
            "max_tokens": sampling.max_new_tokens,
            "logprobs": True,
            **({"top_logprobs": min(sampling.top, 20)} if sampling.top else {}),
            "extra_body": extra,
        }

    def _reply(self, messages: Sequence[Message], sampling: Sampling) -> Any:
        return self._create(**self._request(messages, sampling))

    def _create(self, **wanted: Any) -> Any:
        import httpx2
        import openai

        try:
            return self._client().chat.completions.create(**wanted)
        except (openai.OpenAIError, httpx2.HTTPError, ValueError) as error:
            raise _meaning(error, self._url) from error

    def _client(self) -> "openai.OpenAI":
        import openai

        if self._made is None:
            host = urlsplit(self._url).hostname or ""
            ours = "OPENAI_API_KEY" if host == "api.openai.com" else KEY_VARIABLE
            self._made = openai.OpenAI(
                base_url=self._url,
                api_key=os.environ.get(ours) or "none",
                timeout=openai.Timeout(self._timeout, connect=5.0),
                max_retries=1,
            )
        return self._made


def _as_json(message: Message) -> dict[str, Any]:
    if not message.images:
        return {"role": message.role, "content": message.text}
    parts = []
    for part in message.parts:
        if isinstance(part, ImagePart):
            url = f"data:{part.mime_type};base64,{base64.b64encode(part.data).decode()}"
            parts.append({"type": "image_url", "image_url": {"url": url}})
        elif part:
            parts.append({"type": "text", "text": part})
    return {"role": message.role, "content": parts}


def _tokens(chunks: Any) -> Iterator[Token]:
    """Tokens of a stream of chunks."""
    bytes_so_far = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for chunk in chunks:
        for choice in chunk.choices:
            told = choice.logprobs.content if choice.logprobs and choice.logprobs.content else None
            if told:
                for token in told:
                    text = bytes_so_far.decode(bytes(token.bytes)) if token.bytes is not None else token.token
                    others = tuple((each.token, each.logprob) for each in token.top_logprobs or ())
                    yield Token(text, token.logprob, others)
            elif choice.delta.content:
                yield Token(choice.delta.content)
            if choice.finish_reason == "stop":
                yield Token("", ended=True)


def _scored(rows: Sequence[Any], answer: str) -> tuple[Token, ...]:
    """The last rows of `prompt_logprobs` whose texts are the answer."""
    found: list[Token] = []
    for row in reversed(rows):
        told = next(iter((row or {}).values()), None)
        if told is None:
            break
        found.insert(0, Token(str(told.get("decoded_token") or ""), float(told["logprob"])))
        if "".join(token.text for token in found) == answer:
            return tuple(found)
    raise ModelError("the server's tokens are not those of the answer, so it cannot be scored")


def _watched(open_stream: Any, read: Any, stopped: threading.Event | None, timeout_s: float) -> Iterator[Token]:
    """Tokens of a stream that is read in a thread, so that a stop is heard while the server is silent."""
    arrived: queue.SimpleQueue[Any] = queue.SimpleQueue()
    held: list[Any] = []
    left = threading.Event()

    def run() -> None:
        import httpx2
        import openai

        try:
            stream = open_stream()
            held.append(stream)
            for token in read(stream):
                arrived.put(token)
                if left.is_set():
                    return
            arrived.put(None)
        except ModelError as error:
            arrived.put(error)
        except (openai.OpenAIError, httpx2.HTTPError, ValueError, KeyError, AttributeError, TypeError) as error:
            arrived.put(_meaning(error))

    threading.Thread(target=run, name="server-answer", daemon=True).start()
    try:
        silent = 0.0
        while not (stopped is not None and stopped.is_set()):
            try:
                item = arrived.get(timeout=0.05)
            except queue.Empty:
                silent += 0.05
                if silent > timeout_s + 10:
                    raise ModelUnavailableError(f"the server was silent for {silent:.0f} s") from None
                continue
            silent = 0.0
            if item is None:
                return
            if isinstance(item, ModelError):
                raise item
            yield item
    finally:
        left.set()
        for stream in held:
            with contextlib.suppress(Exception):  # whatever closing a cut connection does, nobody listens any more
                stream.close()


def _meaning(error: Exception, url: str = "") -> ModelError:
    """What an exception of the client means."""
    import openai

    if isinstance(error, openai.APITimeoutError):
        return ModelUnavailableError("the server did not answer in time")
    if isinstance(error, openai.APIConnectionError):
        return ModelUnavailableError(f"cannot reach {url or 'the server'}: {error.__cause__ or error}")
    if isinstance(error, openai.APIStatusError):
        message = f"the server answered {error.status_code}: {_message(error)}"
        if error.status_code in (400, 413, 422):
            return ModelInputError(message, details={"status": error.status_code})
        return ModelUnavailableError(message, details={"status": error.status_code})
    return ModelUnavailableError(f"the reply broke off: {type(error).__name__}: {error}")


def _message(error: Any) -> str:
    body = error.body
    if isinstance(body, dict):
        inner = body.get("error", body)
        text = inner.get("message") if isinstance(inner, dict) else inner
        if text:
            return str(text)[:500]
    return str(error)[:500]

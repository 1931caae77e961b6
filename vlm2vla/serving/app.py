"""An OpenAI-compatible server over the models of this process: GET /v1/models, POST /v1/chat/completions.

Evaluation harnesses and other clients use an adapter by its name, without merging it and without vLLM. It reads no
files and fetches no addresses on behalf of a client.
"""

import asyncio
import contextlib
import hmac
import json
import logging
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool

from vlm2vla.errors import (
    ConfigError,
    ModelError,
    ModelInputError,
    ModelUnavailableError,
    NotFoundError,
    VLM2VLAError,
)
from vlm2vla.serving.wire import ChatRequest, chunk, completion, logprob, prompt_logprobs, trouble, usage
from vlm2vla.vlm.chat import ChatModel, Token

log = logging.getLogger(__name__)
LOOPBACK = ("127.0.0.1", "localhost", "::1")
MAX_BODY = 64_000_000
_LOOKS_EVERY_S = 0.2


@dataclass(frozen=True)
class ServeConfig:
    """Serve models over the OpenAI protocol."""

    models: tuple[str, ...] = ("base", "lora")
    """Names to serve; base and adapters of one base share one copy of the weights."""
    host: str = "127.0.0.1"
    """Address to listen on; another than this computer's own needs a key."""
    port: int = 8000
    """Port to listen on."""
    key: str = ""
    """Clients must send this as their API key."""

    def __post_init__(self):
        if not self.models:
            raise ConfigError("name at least one model to serve")
        if self.host not in LOOPBACK and not self.key:
            raise ConfigError(f"{self.host} can be reached by other computers: set --key, or serve on 127.0.0.1")


Opener = Callable[[str], ChatModel]
"""The model of a name."""


def create_app(names: Sequence[str], opener: Opener, *, key: str = "") -> FastAPI:
    """The application.

    Args:
        names: Models that are served, by these names.
        opener: Gives a model; its weights may be loaded at its first word.
        key: API key that clients must send, "" for none.
    """
    service = _Service(tuple(names), opener, int(time.time()))

    async def check(request: Request) -> None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if key and not hmac.compare_digest(given.encode(), key.encode()):
            raise _Refused(trouble("wrong API key", "authentication_error", "invalid_api_key"), 401)
        if int(request.headers.get("content-length") or 0) > MAX_BODY:
            raise _Refused(trouble(f"a request may have {MAX_BODY // 1_000_000} MB"), 413)

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, dependencies=[Depends(check)])

    @app.exception_handler(_Refused)
    async def refused(_: Request, refusal: _Refused) -> Response:
        return JSONResponse(*refusal.args)

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body")
        return JSONResponse(trouble(f"{where or 'body'}: {first['msg']}"), 400)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [service.described(name) for name in service.names]}

    @app.get("/v1/models/{name}")
    async def model(name: str) -> Response:
        if name not in service.names:
            return JSONResponse(trouble(f"no model {name!r} is served here", code="model_not_found"), 404)
        return JSONResponse(service.described(name))

    @app.post("/v1/chat/completions")
    async def chat(body: ChatRequest, request: Request) -> Response:
        stopped = threading.Event()
        async with _stopped_without_client(request, stopped):
            return await service.answer(body, stopped)

    return app


def serve(config: ServeConfig, opener: Opener, *, on_ready: Callable[[str], None] | None = None) -> None:
    """Serve until Ctrl-C.

    Args:
        config: What and where.
        opener: Gives a model by its name.
        on_ready: Told the address before the first request is taken.
    """
    import uvicorn

    if on_ready:
        on_ready(f"http://{config.host}:{config.port}/v1")
    app = create_app(config.models, opener, key=config.key)
    uvicorn.run(app, host=config.host, port=config.port, log_level="warning")


class _Refused(Exception):
    """A body and a status."""


@contextlib.asynccontextmanager
async def _stopped_without_client(request: Request, stopped: threading.Event) -> AsyncIterator[None]:
    """Sets `stopped` when the client goes away meanwhile; a stream that has begun looks after itself."""

    async def watch() -> None:
        while not await request.is_disconnected():
            await asyncio.sleep(_LOOKS_EVERY_S)
        stopped.set()

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()


class _Service:
    def __init__(self, names: tuple[str, ...], opener: Opener, since: int):
        self.names, self._open, self._since = names, opener, since

    def described(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._since, "owned_by": "vlm2vla"}

    async def answer(self, request: ChatRequest, stopped: threading.Event) -> Response:
        try:
            if request.model not in self.names:
                raise NotFoundError(f"no model {request.model!r} is served here; there is {', '.join(self.names)}")
            sampling, messages = await run_in_threadpool(request.sampling), request.conversation()
            model = await run_in_threadpool(self._open, request.model)
            scored: dict[str, Any] = {}
            if request.prompt_logprobs is not None:
                begun = await run_in_threadpool(model.score, messages[:-1], messages[-1].text)
                scored = {"prompt_logprobs": prompt_logprobs(begun)}
            tokens = model.stream(messages, sampling, stopped=stopped)
            # The first token tells whether there is an answer at all, while a status can still say so.
            first = await run_in_threadpool(next, tokens, None)
            answer = _Answer(request, _after(first, tokens), stopped)
            if request.stream:
                return StreamingResponse(answer.events(), media_type="text/event-stream")
            return JSONResponse(await run_in_threadpool(answer.whole) | scored)
        except VLM2VLAError as error:
            return JSONResponse(*_refusal(error))
        except Exception as error:
            log.exception("answer failed")
            return JSONResponse(trouble(f"{type(error).__name__}: see the server's log", "server_error"), 500)


@dataclass
class _Answer:
    request: ChatRequest
    tokens: Iterator[Token]
    stopped: threading.Event

    def __post_init__(self):
        self.ended = False
        self.id, self.created = f"chatcmpl-{uuid.uuid4().hex}", int(time.time())

    def whole(self) -> dict[str, Any]:
        """The answer at once."""
        tokens = list(self._written())
        return completion(self.id, self.request.model, self.created, tokens, self.request, self._finish())

    async def events(self) -> AsyncIterator[str]:
        """The answer as server-sent events; a client that goes away ends it within a token."""
        try:
            async for line in iterate_in_threadpool(self._lines()):
                yield line
        finally:
            self.stopped.set()

    def _lines(self) -> Iterator[str]:
        written = 0
        try:
            yield self._event({"role": "assistant", "content": ""})
            for token in self._written():
                written += 1
                more = {"logprobs": {"content": [logprob(token)]}} if self.request.logprobs else {}
                yield self._event({"content": token.text}, **more)
            yield self._event({}, finish_reason=self._finish())
            if (self.request.stream_options or {}).get("include_usage"):
                last = chunk(self.id, self.request.model, self.created, {})
                yield _line(last | {"choices": [], "usage": usage(written)})
            yield "data: [DONE]\n\n"
        except VLM2VLAError as error:
            yield _line(_refusal(error)[0])

    def _event(self, delta: dict[str, Any], **more: Any) -> str:
        return _line(chunk(self.id, self.request.model, self.created, delta, **more))

    def _written(self) -> Iterator[Token]:
        for token in self.tokens:
            if token.ended:
                self.ended = True
            else:
                yield token

    def _finish(self) -> str:
        return "stop" if self.ended else "length"


def _after(first: Token | None, rest: Iterator[Token]) -> Iterator[Token]:
    if first is not None:
        yield first
        yield from rest


def _line(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def _refusal(error: VLM2VLAError) -> tuple[dict[str, Any], int]:
    if isinstance(error, NotFoundError):
        return trouble(str(error), code="model_not_found"), 404
    if isinstance(error, ModelUnavailableError):
        return trouble(str(error), "server_error", "unavailable"), 503
    if isinstance(error, ConfigError | ModelInputError):
        return trouble(str(error)), 400
    kind = "server_error" if isinstance(error, ModelError) else "invalid_request_error"
    return trouble(str(error), kind), 500

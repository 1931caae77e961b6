"""The chat over HTTP: plain routes under /chat, so that a long answer never holds a worker of the page.

Knows requests and answers; what a conversation is, is the library's. Answers are {"ok": value} or {"error": sentence};
what is written token by token comes as lines of JSON.
"""

import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from pydantic import BaseModel, ValidationError
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool

from ui.chat_bodies import AddModel, Ask, Change, Chunks, FromFrame, Lens, New, VoteOn
from vlm2vla.chat import Chat
from vlm2vla.chat.images import MAX_BYTES
from vlm2vla.errors import NotFoundError, VLM2VLAError

log = logging.getLogger(__name__)
FOREVER = {"cache-control": "private, max-age=31536000, immutable"}
LINES = "application/x-ndjson"
UNEXPECTED = "Something went wrong; logs/studio.log in the workspace says what."
_EXPORTS = {"json": "application/json", "md": "text/markdown; charset=utf-8", "zip": "application/zip"}
JSON = dict[str, Any]


@dataclass(frozen=True)
class Sources:
    """What the chat shows beside conversations.

    Attributes:
        frame: JPEG bytes of (episode, camera, step).
        examples: Example questions with their images.
        chunks: The likelihood lens of some models over so many annotated chunks, record by record.
        episodes: Recorded episodes that match a search.
        episode: Cameras and number of steps of one of them.
    """

    frame: Callable[[str, str, int], bytes]
    examples: Callable[[], list[JSON]]
    chunks: Callable[[list[str], int], Iterator[JSON]]
    episodes: Callable[[str], list[JSON]] = lambda search: []
    episode: Callable[[str], JSON] = lambda name: {}


def chat_router(chat: Chat, sources: Sources) -> APIRouter:
    """Routes of the chat.

    Args:
        chat: The service.
        sources: Pictures, examples and chunks.
    """
    routes = _Routes(chat, sources)
    router = APIRouter(prefix="/chat")
    one = "/api/conversations/{conversation}"
    for path, function in {
        "/api/models": routes.models,
        "/api/examples": routes.examples,
        "/api/episodes": routes.episodes,
        "/api/episodes/{episode}": routes.episode,
        "/api/wins": routes.wins,
        "/api/conversations": routes.search,
        one: routes.opened,
        one + "/export.{kind}": routes.export,
        "/images/{name}.jpg": routes.image,
    }.items():
        router.add_api_route(path, function, methods=["GET"])
    for path, function in {
        "/api/conversations": routes.new,
        one + "/change": routes.change,
        one + "/ask": routes.ask,
        one + "/stop": routes.stop,
        one + "/vote": routes.vote,
        one + "/reveal": routes.reveal,
        one + "/delete": routes.delete,
        one + "/lens": routes.lens,
        "/api/lens/chunks": routes.chunks,
        "/api/models": routes.add,
        "/api/models/{name}/remove": routes.remove,
        "/api/models/{name}/check": routes.check,
        "/api/images": routes.upload,
        "/api/images/frame": routes.from_frame,
    }.items():
        router.add_api_route(path, function, methods=["POST"])
    return router


class _Routes:
    """One method per route."""

    def __init__(self, chat: Chat, sources: Sources):
        self.chat, self.sources = chat, sources

    async def models(self) -> Response:
        return await answer(lambda: [_entry(entry) for entry in self.chat.speakers.entries()])

    async def add(self, request: Request) -> Response:
        return await call(request, AddModel, lambda it: _entry(self.chat.speakers.add(**it.model_dump())))

    async def remove(self, name: str) -> Response:
        return await answer(lambda: self.chat.speakers.remove(name))

    async def check(self, name: str) -> Response:
        return await answer(lambda: self.chat.speakers.check(name))

    async def examples(self) -> Response:
        return await answer(self.sources.examples)

    async def episodes(self, q: str = "") -> Response:
        return await answer(lambda: self.sources.episodes(q[:200]))

    async def episode(self, episode: str) -> Response:
        return await answer(lambda: self.sources.episode(episode))

    async def chunks(self, request: Request) -> Response:
        return await _stream(request, Chunks, lambda it: self.sources.chunks(it.models, it.count))

    async def wins(self) -> Response:
        return await answer(self.chat.win_rates)

    async def search(self, q: str = "") -> Response:
        return await answer(lambda: self.chat.store.search(q[:200]))

    async def new(self, request: Request) -> Response:
        return await call(
            request, New, lambda it: self.chat.new(it.models, blind=it.blind, system=it.system, name=it.name)
        )

    async def opened(self, conversation: str) -> Response:
        return await answer(lambda: self.chat.open(conversation))

    async def change(self, conversation: str, request: Request) -> Response:
        return await call(
            request, Change, lambda it: self.chat.change(conversation, **it.model_dump(exclude_none=True))
        )

    async def ask(self, conversation: str, request: Request) -> Response:
        return await _stream(
            request, Ask, lambda it: self.chat.ask(conversation, it.text, it.images, instead_of=it.instead_of)
        )

    async def stop(self, conversation: str) -> Response:
        return JSONResponse({"ok": self.chat.stop(conversation)})

    async def vote(self, conversation: str, request: Request) -> Response:
        who = getattr(request.state, "user", "")
        return await call(
            request, VoteOn, lambda it: self.chat.vote(conversation, it.exchange, it.choice, who or it.reviewer)
        )

    async def reveal(self, conversation: str) -> Response:
        return await answer(lambda: self.chat.reveal(conversation))

    async def delete(self, conversation: str) -> Response:
        return await answer(lambda: self.chat.delete(conversation))

    async def lens(self, conversation: str, request: Request) -> Response:
        return await call(request, Lens, lambda it: self.chat.lens(conversation, it.exchange, it.texts))

    async def export(self, conversation: str, kind: str) -> Response:
        if kind not in _EXPORTS:
            return PlainTextResponse("Not found", 404)
        try:
            exported = await run_in_threadpool(self.chat.export, conversation, kind)
        except VLM2VLAError as error:
            return PlainTextResponse(str(error), 404 if isinstance(error, NotFoundError) else 409)
        name = {"content-disposition": f'attachment; filename="conversation-{conversation}.{kind}"'}
        return Response(exported, media_type=_EXPORTS[kind], headers=name)

    async def upload(self, request: Request) -> Response:
        data = bytearray()
        async for piece in request.stream():
            data += piece
            if len(data) > MAX_BYTES:
                return JSONResponse({"error": f"the file is larger than {MAX_BYTES / 1e6:.0f} MB"})
        return await answer(lambda: self.chat.store.keep_image(bytes(data)))

    async def from_frame(self, request: Request) -> Response:
        return await call(
            request,
            FromFrame,
            lambda it: self.chat.store.keep_image(self.sources.frame(it.episode, it.camera, it.step)),
        )

    async def image(self, name: str) -> Response:
        try:
            return FileResponse(await run_in_threadpool(self.chat.store.image_path, name), headers=FOREVER)
        except NotFoundError as error:
            return PlainTextResponse(str(error), 404)


def _entry(entry: Any) -> dict[str, Any]:
    fields = ("name", "kind", "path", "base", "url", "model", "actions", "note", "shipped", "local")
    return {name: getattr(entry, name) for name in fields}


async def answer(work: Callable[[], Any]) -> JSONResponse:
    """Run it in a thread; its value or its trouble."""
    try:
        return JSONResponse({"ok": await run_in_threadpool(work)})
    except VLM2VLAError as error:
        log.info("%s", error)
        return JSONResponse({"error": str(error)})
    except Exception:
        log.exception("chat failed")
        return JSONResponse({"error": UNEXPECTED}, 500)


async def call(request: Request, model: type[BaseModel], work: Callable[[Any], Any]) -> JSONResponse:
    """Check the body, then `answer`."""
    try:
        body = model.model_validate(await _json(request))
    except (ValidationError, ValueError) as error:
        return _misunderstood(error)
    return await answer(lambda: work(body))


async def _stream(request: Request, model: type[BaseModel], work: Callable[[Any], Iterator[Any]]) -> Response:
    """The generator's records as lines; trouble is the last line. A reader that goes away closes the generator."""
    try:
        body = model.model_validate(await _json(request))
    except (ValidationError, ValueError) as error:
        return _misunderstood(error)
    return StreamingResponse(_lines(work(body)), media_type=LINES, headers={"cache-control": "no-store"})


async def _lines(records: Iterator[Any]) -> AsyncIterator[bytes]:
    try:
        async for line in iterate_in_threadpool(_encoded(records)):
            yield line
    finally:
        # The reader may have gone while a thread is in the generator; it is closed as soon as it is free.
        threading.Thread(target=_close, args=(records,), daemon=True).start()


def _encoded(records: Iterator[Any]) -> Iterator[bytes]:
    try:
        for record in records:
            yield json.dumps(record, ensure_ascii=False).encode() + b"\n"
    except VLM2VLAError as error:
        yield json.dumps({"error": str(error)}, ensure_ascii=False).encode() + b"\n"
    except Exception:
        log.exception("chat failed")
        yield json.dumps({"error": UNEXPECTED}).encode() + b"\n"


def _close(records: Iterator[Any]) -> None:
    while True:
        try:
            records.close()  # type: ignore[attr-defined]
            return
        except ValueError:  # it is running in another thread
            time.sleep(0.01)


async def _json(request: Request) -> Mapping[str, Any]:
    raw = await request.body()
    if len(raw) > 1_000_000:
        raise ValueError("too much")
    return json.loads(raw or b"{}")


def _misunderstood(error: Exception) -> JSONResponse:
    log.warning("%s", error)
    return JSONResponse({"error": "The page sent something that the studio does not understand; reload it."}, 422)

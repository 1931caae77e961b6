"""What flows while driving: STOP, records by socket and by events, live pictures. All `async`, no worker, no lock.

STOP is answered in two lines, "sent" at once and then what the robot said; it needs no lease and waits for no body.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request, Response, WebSocket
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.websockets import WebSocketDisconnect

from vlm2vla.errors import RobotError

if TYPE_CHECKING:
    from vlm2vla.driving import DriveService

JSON = dict[str, Any]
BEAT_S = 1.0
LOOK_S = 0.02  # readers look for new records and pictures this often
STILL_S = 30.0  # the first picture of a simulator takes its time
NO_CACHE = {"cache-control": "no-store", "x-accel-buffering": "no"}
NOBODY = "somebody"
BOUNDARY = "vlm2vla-frame"
AskedClient = Annotated[str, Query(max_length=64)]


def streams_router(service: "DriveService") -> APIRouter:
    """STOP, records and pictures under /drive."""
    router = APIRouter(prefix="/drive")
    _add_stop(router, service)
    _add_records(router, service)
    _add_live(router, service)
    _add_cameras(router, service)
    return router


def _add_stop(router: APIRouter, service: "DriveService") -> None:
    @router.post("/stop")
    async def stop(request: Request) -> StreamingResponse:
        name = request.scope.get("state", {}).get("user") or _name(request.query_params.get("reviewer"))
        sent, later = _press(service, name)  # before the answer begins: who asked may be gone
        return StreamingResponse(_stop_lines(sent, later), media_type="application/x-ndjson", headers=NO_CACHE)


async def _stop_lines(sent: JSON, later: "asyncio.Future[JSON]") -> AsyncIterator[str]:
    yield json.dumps(_stop_view(sent)) + "\n"
    yield json.dumps(_stop_view(await later)) + "\n"


def _press(service: "DriveService", by: str) -> tuple[JSON, "asyncio.Future[JSON]"]:
    """Press STOP: what was sent, and what will be confirmed."""
    loop = asyncio.get_running_loop()
    later: asyncio.Future[JSON] = loop.create_future()

    def confirmed(record: JSON) -> None:
        loop.call_soon_threadsafe(lambda: later.done() or later.set_result(record))

    return service.stop(by, confirmed), later


def _stop_view(record: JSON) -> JSON:
    return {name: record[name] for name in ("stop", "state", "ms", "message")}


def _add_records(router: APIRouter, service: "DriveService") -> None:
    @router.get("/poll")
    async def poll(since: int = 0, wait_s: float = 0.0, client: AskedClient = "") -> Response:
        service.lease.watch(client)
        until = service.events.now() + min(max(wait_s, 0.0), 20.0)
        while service.events.seq <= since and service.events.now() < until:
            await asyncio.sleep(LOOK_S)
        records = _fresh(service, since)
        return JSONResponse({"boot": service.events.boot, "now": service.events.now(), "records": records})

    @router.get("/events")
    async def events(request: Request, since: int = 0, client: AskedClient = "") -> StreamingResponse:
        last = request.headers.get("last-event-id", "")
        lines = _sse(service, int(last) if last.isdigit() else since, client)
        return StreamingResponse(lines, media_type="text/event-stream", headers=NO_CACHE)


async def _sse(service: "DriveService", since: int, client: str) -> AsyncIterator[str]:
    async for record in _follow(service, since, client):
        if record is None:
            yield ": beat\n\n"
        else:
            yield f"id: {record['seq']}\ndata: {json.dumps(record, ensure_ascii=False)}\n\n"


async def _follow(service: "DriveService", since: int, client: str) -> AsyncIterator[JSON | None]:
    """Records after `since` as they come; None when nothing came for a while."""
    beat = service.events.now()
    while True:
        fresh = _fresh(service, since)
        for record in fresh:
            since = record["seq"]
            yield record
        now = service.events.now()
        if fresh:
            beat = now
        elif now - beat >= BEAT_S:
            beat = now
            service.lease.watch(client)
            yield None
        await asyncio.sleep(LOOK_S)


def _fresh(service: "DriveService", since: int) -> list[JSON]:
    fresh = service.events.since(since)
    if fresh is None:  # of another boot, or so old that some are gone
        return [{"kind": "reset", "seq": service.events.seq, "at": service.events.now(), "run": ""}]
    return fresh


def _add_live(router: APIRouter, service: "DriveService") -> None:
    @router.websocket("/live")
    async def live(socket: WebSocket, since: int = 0, client: AskedClient = "") -> None:
        await socket.accept()
        user = socket.scope.get("state", {}).get("user", "")
        hearing = asyncio.create_task(_hear(service, socket, user, client))
        try:
            async for record in _follow(service, since, client):
                if hearing.done():
                    break
                beat = {"kind": "beat", "now": round(service.events.now(), 3)}
                await socket.send_text(json.dumps(beat if record is None else record, ensure_ascii=False))
        except (WebSocketDisconnect, RuntimeError):
            pass  # the page is gone; its lease, if it had one, ends by itself
        finally:
            hearing.cancel()
            with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
                await hearing


async def _hear(service: "DriveService", socket: WebSocket, user: str, client: str) -> None:
    """STOP and heartbeats that come in by the socket."""
    while True:
        text = await socket.receive_text()
        try:
            message = json.loads(text[:1000])
        except ValueError:
            continue
        if not isinstance(message, dict):
            continue
        if message.get("stop"):
            _press(service, user or _name(message.get("reviewer")))  # the records of it come by the same socket
        elif message.get("beat"):
            name = user or _name(message.get("reviewer"))
            service.beat(client, "" if name == NOBODY else name)


def _add_cameras(router: APIRouter, service: "DriveService") -> None:
    @router.get("/camera/{name}.mjpg")
    async def live(name: str, px: int = 480) -> Response:
        try:
            _eyes(service).latest(name, px)
        except RobotError as error:
            return PlainTextResponse(str(error), 404)
        media = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
        return StreamingResponse(_mjpeg(service, name, px), media_type=media, headers=NO_CACHE)

    @router.get("/camera/{name}/still.jpg")
    async def still(name: str, px: int = 480) -> Response:
        try:
            eyes, frame = _eyes(service), None
            for _ in range(round(STILL_S / LOOK_S)):
                frame = eyes.latest(name, px)
                if frame is not None or eyes.state()[name]["lost"]:
                    break
                await asyncio.sleep(LOOK_S)
        except RobotError as error:
            return PlainTextResponse(str(error), 404)
        if frame is None:
            return PlainTextResponse(str(eyes.state()[name]["lost"] or "no picture yet"), 503)
        headers = {"x-age-ms": str(round(frame.age_s * 1000)), "x-lost": _ascii(frame.lost)} | NO_CACHE
        return Response(frame.jpeg, media_type="image/jpeg", headers=headers)


def _eyes(service: "DriveService") -> Any:
    connected = service.connected
    if connected is None:
        raise RobotError("no robot is open")
    return connected.eyes


async def _mjpeg(service: "DriveService", name: str, px: int) -> AsyncIterator[bytes]:
    """Pictures as they come; ends when the robot is closed. One that is lost is seen in the records."""
    eyes, shown, at = _eyes(service), None, 0.0
    yield f"--{BOUNDARY}\r\n".encode()
    while service.connected is not None and service.connected.eyes is eyes:
        frame = eyes.latest(name, px)
        now = service.events.now()
        # The same picture again now and then: a page that came late, and proxies that close quiet connections.
        if frame is not None and ((frame.number, len(frame.jpeg)) != shown or now - at > BEAT_S):
            shown, at = (frame.number, len(frame.jpeg)), now
            head = (
                f"Content-Type: image/jpeg\r\nContent-Length: {len(frame.jpeg)}\r\nX-Age-Ms: {frame.age_s * 1000:.0f}"
            )
            # The next boundary goes with the picture: browsers show a part when they have seen its end.
            yield f"{head}\r\n\r\n".encode() + frame.jpeg + f"\r\n--{BOUNDARY}\r\n".encode()
        await asyncio.sleep(LOOK_S)


def _name(said: Any) -> str:
    """The name that a STOP or a heartbeat came with; without one it counts all the same."""
    return said.strip()[:60] if isinstance(said, str) and said.strip() else NOBODY


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()

"""Commands and questions of the Drive tab over HTTP; what flows is in `ui/drive_streams.py`.

No Gradio event and no shared worker: it all works while every worker of the studio is busy. One route is one method of
the driving service; this file knows how a page and the service talk, nothing of robots.
"""

import asyncio
import functools
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from pydantic import ValidationError

from ui import drive_bodies as bodies
from ui.drive_bodies import Body
from ui.drive_streams import AskedClient, streams_router
from vlm2vla.errors import ActionParseError, NotFoundError, VLM2VLAError

if TYPE_CHECKING:
    from vlm2vla.driving import DriveService

log = logging.getLogger(__name__)
JSON = dict[str, Any]
Caller = Callable[..., Any]
MAX_BODY = 64_000


def drive_router(service: "DriveService") -> APIRouter:
    """All routes under /drive that the page of the Drive tab talks to."""
    router = APIRouter()
    router.include_router(streams_router(service))
    # Threads of their own: the studio's shared workers may all be busy.
    call = functools.partial(_call, ThreadPoolExecutor(max_workers=6, thread_name_prefix="drive"))
    commands = APIRouter(prefix="/drive")
    _add_state(commands, service, call)
    _add_commands(commands, service, call)
    _add_runs(commands, service, call)
    router.include_router(commands)
    return router


def _add_state(router: APIRouter, service: "DriveService", call: Caller) -> None:
    @router.get("/state")
    async def state(client: AskedClient = "") -> Response:
        return await call(lambda: service.state(client), bare=True)

    @router.get("/episodes")
    async def episodes() -> Response:
        return await call(lambda: {"episodes": service.policies.episodes()}, bare=True)


def _add_commands(router: APIRouter, service: "DriveService", call: Caller) -> None:
    steering = service.steering

    def command(path: str, body_type: type[Body], act: Callable[[Any], Any]) -> None:
        async def serve(request: Request) -> Response:
            body = await _body(request, body_type)
            return body if isinstance(body, Response) else await call(lambda: act(body))

        router.add_api_route(path, serve, methods=["POST"], name=path)

    def lease(b: bodies.LeaseBody) -> JSON:
        service.take(b.client, b.reviewer, over=b.take)
        return {"mine": True}

    def runstop(b: bodies.RunstopBody) -> None:
        if b.what == "press":
            service.press_runstop()
        else:
            service.release_runstop(b.client)

    def opened(b: bodies.OpenBody) -> None:
        service.open(b.client, b.reviewer, b.model_dump(exclude={"client", "reviewer"}))

    def start(b: bodies.StartBody) -> JSON:
        return {"run": service.start(b.client, b.reviewer, b.policy, b.instruction, b.mode, b.episode)}

    command("/lease", bodies.LeaseBody, lease)
    command("/leave", Body, lambda b: service.leave(b.client))
    command("/open", bodies.OpenBody, opened)
    command("/close", Body, lambda b: service.close_robot(b.client))
    command("/scene", bodies.SceneBody, lambda b: service.change_scene(b.client, b.task, b.seed))
    command("/confirm", bodies.ConfirmBody, lambda b: service.confirm(b.client, b.name))
    command("/runstop", bodies.RunstopBody, runstop)
    command("/start", bodies.StartBody, start)
    command("/mode", bodies.ModeBody, lambda b: service.set_mode(b.client, b.mode))
    command("/answer", bodies.AnswerBody, lambda b: steering.answer(b.client, b.key, b.go, b.reviewer, b.reason))
    command("/type", bodies.TypeBody, lambda b: steering.type(b.client, b.text, b.reviewer, b.done))
    command("/seen", bodies.SeenBody, lambda b: steering.seen(b.client, b.key))
    command("/edit", bodies.EditBody, lambda b: steering.edit(b.client, b.what, b.text, b.reviewer, b.at))
    command("/ask_again", Body, lambda b: steering.ask_again(b.client))
    command("/read", bodies.ReadBody, lambda b: steering.read(b.text))

    @router.post("/beat")
    async def beat(request: Request) -> Response:
        body = await _body(request, Body)
        if isinstance(body, Response):
            return body
        return JSONResponse(
            {"ok": {"mine": service.beat(body.client, body.reviewer), "now": round(service.events.now(), 3)}}
        )


def _add_runs(router: APIRouter, service: "DriveService", call: Caller) -> None:
    history = service.history

    @router.get("/runs")
    async def runs() -> Response:
        return await call(lambda: {"runs": history.runs()}, bare=True)

    @router.get("/runs/{run_id}")
    async def replay(run_id: str) -> Response:
        return await call(lambda: history.replay(run_id), bare=True)

    @router.get("/runs/{run_id}/frame/{step:int}/{camera}.jpg")
    async def frame(run_id: str, step: int, camera: str) -> Response:
        try:
            path = history.run(run_id).frame(step, camera)
        except NotFoundError as error:
            return PlainTextResponse(str(error), 404)
        return FileResponse(path, media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})

    @router.get("/compare")
    async def compare(a: str, b: str) -> Response:
        return await call(lambda: history.compare(a, b), bare=True)

    @router.post("/runs/{run_id}/outcome")
    async def outcome(run_id: str, request: Request) -> Response:
        body = await _body(request, bodies.OutcomeBody)
        return (
            body if isinstance(body, Response) else await call(lambda: history.judge(run_id, body.outcome, body.notes))
        )

    @router.post("/runs/{run_id}/annotate")
    async def annotate(run_id: str, request: Request) -> Response:
        def episode() -> JSON:
            episode_id = history.annotate(run_id)
            return {"episode": episode_id, "url": f"/?ep={episode_id}"}

        body = await _body(request, Body)
        return body if isinstance(body, Response) else await call(episode)


async def _body(request: Request, kind: type[Body]) -> Any:
    """The validated body with the name of the login, or a refusal."""
    raw = await _small_body(request)
    try:
        body = kind.model_validate_json(raw)
    except ValidationError as error:
        where = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()[:3])
        return JSONResponse({"error": f"The studio does not understand this: {where}"[:400]}, 422)
    user = request.scope.get("state", {}).get("user", "")
    return body.model_copy(update={"reviewer": user}) if user else body


async def _small_body(request: Request) -> bytes:
    """The body; what is too long to be a command is not read to its end."""
    raw = b""
    async for piece in request.stream():
        raw += piece
        if len(raw) > MAX_BODY:
            return b""
    return raw


async def _call(pool: ThreadPoolExecutor, work: Callable[[], Any], *, bare: bool = False) -> Response:
    """Do `work` on the driving threads; typed errors are answers for people."""
    try:
        value = await asyncio.get_running_loop().run_in_executor(pool, work)
    except NotFoundError as error:
        return JSONResponse({"error": str(error)}, 404 if bare else 200)
    except VLM2VLAError as error:
        answer = {"error": str(error)[:600]} | _code(error)
        return JSONResponse(answer)
    except Exception:
        log.exception("a drive command failed")
        return JSONResponse({"error": "Something went wrong; logs/studio.log in the workspace says what."}, 500)
    return JSONResponse(value if bare else {"ok": value})


def _code(error: VLM2VLAError) -> JSON:
    code = {"NotOperatorError": "lease", "StaleAnswerError": "stale"}.get(type(error).__name__)
    if isinstance(error, ActionParseError):
        return {"code": "parse", "position": error.position}
    return {"code": code} if code else {}

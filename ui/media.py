"""Frames over HTTP: GET /media/{episode}/{camera}/{step}.jpg, and nothing outside the workspace's media folder."""

import logging
from typing import TYPE_CHECKING

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse, PlainTextResponse
from starlette.concurrency import run_in_threadpool

from vlm2vla.errors import NotFoundError, VLM2VLAError
from vlm2vla.workspace import Workspace

if TYPE_CHECKING:
    from vlm2vla.review import Review

log = logging.getLogger(__name__)
# An episode id is a digest of its content, so a frame's address never changes its picture.
FOREVER = {"cache-control": "private, max-age=31536000, immutable"}


def media_router(review: "Review", workspace: Workspace) -> APIRouter:
    """The route that serves single frames."""
    router = APIRouter()
    folder = workspace.media.resolve()

    @router.get("/media/{episode_id}/{camera}/{step:int}.jpg")
    async def frame(episode_id: str, camera: str, step: int) -> Response:
        try:
            path = (await run_in_threadpool(review.frame, episode_id, camera, step)).resolve()
        except NotFoundError as error:
            return PlainTextResponse(str(error), 404)
        except VLM2VLAError as error:
            log.warning("frame %s/%s/%s: %s", episode_id, camera, step, error)
            return PlainTextResponse("This frame cannot be read; the studio's log says why.", 422)
        if not path.is_relative_to(folder) or not path.is_file():
            log.error("refused to serve %s", path)
            return PlainTextResponse("Not found", 404)
        return FileResponse(path, headers=FOREVER)

    return router

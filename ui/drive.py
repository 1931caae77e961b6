"""The Drive tab: a page of its own, not a Gradio one, so that it opens and STOP works while every worker is busy.

What it shows and does is in `ui/static/drive*.js`; it talks to the routes of `ui/drive_routes.py`. Knows no robot.
"""

from pathlib import Path

from fastapi import APIRouter, Request, Response

from ui import files
from vlm2vla.workspace import Workspace

PAGE = Path(__file__).parent / "static" / "drive.html"


def page_router(workspace: Workspace) -> APIRouter:
    """GET /drive and what its header asks."""
    router = APIRouter()

    @router.get("/drive")
    async def page(request: Request) -> Response:
        return files.serve(PAGE, request)

    @router.get("/drive/hello")
    async def hello(request: Request) -> dict[str, dict[str, str]]:
        return {"ok": {"user": getattr(request.state, "user", ""), "workspace": str(workspace.root)}}

    return router

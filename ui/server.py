"""The studio as one ASGI application: the guard around everything, frames, static files, and Gradio at "/"."""

import logging
import logging.handlers
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr
from fastapi import FastAPI
from fastapi.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from ui import annotate
from ui.calls import Call, handler
from ui.components import Header
from ui.guard import Guard, check_bind
from ui.media import media_router
from ui.theme import HEAD, make_theme
from vlm2vla.config import StudioConfig
from vlm2vla.workspace import Workspace

if TYPE_CHECKING:
    from vlm2vla.review import Review

STATIC = Path(__file__).parent / "static"
ASSETS = Path(__file__).parent.parent / "assets"
LOG_BYTES = 2_000_000
MAX_UPLOAD = "20mb"


class _Scripts(StaticFiles):
    """Static files that browsers ask for again after an update instead of guessing."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = "no-cache"
        return response


def create_app(workspace: Workspace, config: StudioConfig, review: "Review | None" = None) -> FastAPI:
    """The application.

    Args:
        workspace: Whose episodes are shown; frames are served from its media folder only.
        config: Address, password and host names.
        review: The review service; made from the workspace when None.

    Raises:
        ConfigError: The address can be reached by others and no password is set.
    """
    check_bind(config)
    if review is None:
        from vlm2vla.review import Review

        review = Review(workspace)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(media_router(review, workspace))
    _static(app)
    gr.mount_gradio_app(
        app,
        shell(review, workspace),
        path="/",
        server_name=config.host,
        server_port=config.port,
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=MAX_UPLOAD,
        ssr_mode=False,
        pwa=False,
        enable_monitoring=False,
        mcp_server=False,
        theme=make_theme(),
        head=HEAD,
    )
    app.add_middleware(Guard, config=config)
    return app


def shell(review: "Review", workspace: Workspace) -> gr.Blocks:
    """The page: a header and one tab for each part of the studio."""

    def hello(call: Call) -> dict[str, str]:
        return {"user": call.user, "workspace": str(workspace.root)}

    with gr.Blocks(title="VLM2VLA Studio", fill_width=True, analytics_enabled=False) as page:
        Header([handler(hello)])
        with gr.Tabs(elem_id="vs-tabs"), gr.Tab("Annotate", id="annotate"):
            annotate.build(review)
    return page


def log_to(workspace: Workspace) -> None:
    """Send what the studio and the library log to logs/studio.log of the workspace."""
    file = logging.handlers.RotatingFileHandler(workspace.logs / "studio.log", maxBytes=LOG_BYTES, backupCount=3)
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(file)
    root.setLevel(logging.INFO)


def _static(app: FastAPI) -> None:
    @app.get("/ui/style.css")
    async def style() -> FileResponse:
        return FileResponse(ASSETS / "style.css", headers={"cache-control": "no-cache"})

    @app.get("/ui/logo.svg")
    async def logo() -> FileResponse:
        return FileResponse(ASSETS / "logo.svg", media_type="image/svg+xml", headers={"cache-control": "max-age=86400"})

    app.mount("/ui", _Scripts(directory=STATIC))

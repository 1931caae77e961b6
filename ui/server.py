"""The studio as one ASGI application: the guard around it, frames, static files, single pages, and Gradio at "/"."""

import logging
import logging.handlers
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr
from fastapi import FastAPI, Request, Response

from ui import annotate, chat, drive, files, train
from ui.calls import Call, handler
from ui.components import Header
from ui.drive_routes import drive_router
from ui.guard import Guard, check_bind
from ui.media import media_router
from ui.theme import HEAD, make_theme
from vlm2vla.config import StudioConfig
from vlm2vla.vlm.local import LocalModels
from vlm2vla.vlm.registry import ModelRegistry
from vlm2vla.workspace import Workspace

if TYPE_CHECKING:
    from vlm2vla.driving import DriveService
    from vlm2vla.review import Review

STATIC = Path(__file__).parent / "static"
ASSETS = Path(__file__).parent.parent / "assets"
FROM_ASSETS = ("style.css", "logo.svg")
LOG_BYTES = 2_000_000
MAX_UPLOAD = "20mb"


def create_app(
    workspace: Workspace,
    config: StudioConfig,
    review: "Review | None" = None,
    driving: "DriveService | None" = None,
) -> FastAPI:
    """The application.

    Args:
        workspace: Whose episodes are shown; frames are served from its media folder only.
        config: Address, password and host names.
        review: The review service; made from the workspace when None.
        driving: The driving service; likewise.

    Raises:
        ConfigError: The address can be reached by others and no password is set.
    """
    check_bind(config)
    if review is None:
        from vlm2vla.review import Review

        review = Review(workspace)
    models = LocalModels(ModelRegistry(workspace))  # one copy of the weights for Chat and Drive
    if driving is None:
        from vlm2vla.driving import DriveService

        driving = DriveService(workspace, models=models)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(media_router(review, workspace))
    app.include_router(drive.page_router(workspace))
    app.include_router(drive_router(driving))
    app.include_router(chat.router(chat.open_chat(workspace, models), review, workspace))
    app.include_router(train.evidence_router(workspace))
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
    """The pages of the Annotate and Train tabs; their header leads to the others."""

    def hello(call: Call) -> dict[str, str]:
        return {"user": call.user, "workspace": str(workspace.root)}

    with gr.Blocks(title="VLM2VLA Studio", fill_width=True, analytics_enabled=False) as page:
        Header([handler(hello)])
        annotate.build(review)
    with page.route("Train", "/train", show_in_navbar=False):
        Header([handler(hello)])
        train.build(workspace)
    return page


def log_to(workspace: Workspace) -> None:
    """Send what the studio and the library log to logs/studio.log of the workspace."""
    file = logging.handlers.RotatingFileHandler(workspace.logs / "studio.log", maxBytes=LOG_BYTES, backupCount=3)
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(file)
    root.setLevel(logging.INFO)


def _static(app: FastAPI) -> None:
    @app.get("/ui/{name:path}")
    async def static(name: str, request: Request) -> Response:
        return files.serve_from(ASSETS if name in FROM_ASSETS else STATIC, name, request)

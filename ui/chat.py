"""The Chat tab: a page of its own, so that a long answer never holds a worker of Gradio's pages.

What it shows and does is in `ui/static/chat*.js` and `lens*.js`; it talks to the routes of `ui/chat_routes.py`.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse

from ui.chat_routes import Sources, chat_router
from ui.retention_routes import retention_router
from vlm2vla.chat import Chat
from vlm2vla.chat.chunks import annotated_chunks
from vlm2vla.chat.examples import examples
from vlm2vla.chat.lens import over_chunks
from vlm2vla.chat.retention import Comparisons
from vlm2vla.chat.speakers import RegisteredSpeakers
from vlm2vla.vlm.local import LocalModels
from vlm2vla.workspace import Workspace

if TYPE_CHECKING:
    from vlm2vla.review import Review

EVIDENCE = Path(__file__).parent.parent / "docs" / "evidence" / "results"
PAGE = Path(__file__).parent / "static" / "chat.html"
JSON = dict[str, Any]


def open_chat(workspace: Workspace, models: LocalModels) -> Chat:
    """The chat service over the workspace's models; no weights are loaded before the first question."""
    return Chat(workspace, RegisteredSpeakers(models.registry, models))


def router(chat: Chat, review: "Review", workspace: Workspace) -> APIRouter:
    """GET /chat, what its header asks, the routes of the chat and of retention."""
    found = chat_router(chat, _sources(chat, review, workspace))
    found.include_router(retention_router(Comparisons(workspace, chat.store, (EVIDENCE,))))

    @found.get("")
    async def page() -> FileResponse:
        return FileResponse(PAGE, headers={"cache-control": "no-cache"})

    @found.get("/hello")
    async def hello(request: Request) -> dict[str, dict[str, str]]:
        return {"ok": {"user": getattr(request.state, "user", ""), "workspace": str(workspace.root)}}

    return found


def _sources(chat: Chat, review: "Review", workspace: Workspace) -> Sources:
    @lru_cache(maxsize=1)
    def shipped() -> list[JSON]:
        return examples(chat.store)

    def frame(episode: str, camera: str, step: int) -> bytes:
        return review.frame(episode, camera, step).read_bytes()

    def chunks(models: list[str], count: int) -> Iterator[JSON]:
        forms = {entry.name: entry.writes for entry in chat.speakers.entries() if entry.name in models}
        asked = [chat.speakers.model(name) for name in models]
        yield from over_chunks(asked, annotated_chunks(workspace, count), forms)

    def episodes(search: str) -> list[JSON]:
        rows = review.queue({"search": search})["rows"]
        return [{name: row[name] for name in ("id", "instruction", "dataset", "steps")} for row in rows]

    def episode(name: str) -> JSON:
        found = review.index.get(name)
        return {"cameras": list(found.cameras), "steps": len(found), "instruction": found.instruction}

    return Sources(frame, shipped, chunks, episodes, episode)

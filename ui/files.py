"""The page's own files over HTTP, read without a worker: they come, and STOP with them, while every worker is busy.

Starlette's static files wait for a thread of the pool that all pages share. These are a few small files of the studio
itself, so reading one takes less time than asking for a thread.
"""

import hashlib
import mimetypes
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

ASK_AGAIN = "no-cache"  # browsers ask after an update instead of guessing


def serve(path: Path, request: Request) -> Response:
    """One file, or "not changed" to a browser that has it."""
    content = path.read_bytes()
    tag = f'"{hashlib.sha1(content, usedforsecurity=False).hexdigest()[:16]}"'
    headers = {"cache-control": ASK_AGAIN, "etag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=mimetypes.guess_type(path.name)[0], headers=headers)


def serve_from(folder: Path, name: str, request: Request) -> Response:
    """A file of `folder`, nothing outside it."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        return PlainTextResponse("Not found", 404)
    return serve(path, request)

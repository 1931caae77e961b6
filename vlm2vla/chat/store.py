"""Conversations on disk: a JSON file each, images once, and a log of votes that nothing overwrites.

WORKSPACE/chats/<id>.json, chats/images/<id>.jpg, chats/votes.jsonl
"""

import json
import re
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vlm2vla.chat.conversation import Conversation
from vlm2vla.chat.images import checked_image, image_id
from vlm2vla.errors import ConfigError, NotFoundError
from vlm2vla.workspace import Workspace, write_atomic

_ID = re.compile(r"[a-z0-9]{8,32}")


class ChatStore:
    """The conversations of one workspace; safe to call from several threads."""

    def __init__(self, workspace: Workspace):
        self._folder = workspace.chats
        self._images = self._folder / "images"
        self._images.mkdir(exist_ok=True)
        self._votes = self._folder / "votes.jsonl"
        self._lock = threading.Lock()

    def new_id(self) -> str:
        """An id that no conversation has, and nobody guesses."""
        return secrets.token_hex(6)

    def save(self, conversation: Conversation) -> None:
        """Write it; a crash leaves the old or the new file."""
        text = json.dumps(conversation.to_json(), ensure_ascii=False, separators=(",", ":"))
        write_atomic(self._file(conversation.id), text, durable=False)

    def get(self, conversation_id: str) -> Conversation:
        """The stored conversation.

        Raises:
            NotFoundError: There is none of that id.
            ConfigError: Its file is damaged.
        """
        path = self._file(conversation_id)
        if not path.is_file():
            raise NotFoundError(f"no conversation {conversation_id!r} in this workspace; it may have been deleted")
        try:
            return Conversation.from_json(json.loads(path.read_text(encoding="utf-8")))
        except ValueError as error:
            raise ConfigError(f"{path} is damaged: {error}") from error

    def search(self, text: str = "", limit: int = 100) -> list[dict[str, Any]]:
        """Newest first: id, title, models, number of questions, when it was changed.

        Args:
            text: Every word of it must occur in the name, a question, an answer or a model's name.
            limit: At most so many.
        """
        words = text.lower().split()
        files = sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        found = []
        for path in files:
            try:
                conversation = Conversation.from_json(json.loads(path.read_text(encoding="utf-8")))
            except (ValueError, ConfigError, OSError):
                continue  # one damaged file must not hide the others; opening it says what is wrong
            said = " ".join(_words_of(conversation)).lower()
            if not all(word in said for word in words):
                continue
            found.append(
                {
                    "id": conversation.id,
                    "title": conversation.title,
                    "models": [] if conversation.blind else list(conversation.models),
                    "questions": len(conversation.exchanges),
                    "changed": conversation.changed,
                }
            )
            if len(found) == limit:
                break
        return found

    def delete(self, conversation_id: str) -> None:
        """Remove it; its images stay, others may show them."""
        self._file(conversation_id).unlink(missing_ok=True)

    def keep_image(self, data: bytes) -> str:
        """Check and keep an image; returns its id.

        Raises:
            ConfigError: Not an image that can be used.
        """
        checked = checked_image(data)
        name = image_id(checked)
        if not (self._images / f"{name}.jpg").exists():
            write_atomic(self._images / f"{name}.jpg", checked, durable=False)
        return name

    def image_path(self, name: str) -> Path:
        """File of a kept image.

        Raises:
            NotFoundError: There is none.
        """
        path = self._images / f"{name}.jpg"
        if not re.fullmatch(r"[0-9a-f]{20}", name) or not path.is_file():
            raise NotFoundError(f"no image {name!r} in this workspace")
        return path

    def log_vote(self, row: dict[str, Any]) -> None:
        """Append one vote with all that is needed to repeat the comparison."""
        with self._lock, self._votes.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def votes(self) -> Iterator[dict[str, Any]]:
        """Every vote ever given, oldest first; a line that is damaged is left out."""
        if not self._votes.is_file():
            return
        for line in self._votes.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                continue

    def _file(self, conversation_id: str) -> Path:
        if not _ID.fullmatch(conversation_id):
            raise NotFoundError(f"{conversation_id!r} cannot be the id of a conversation")
        return self._folder / f"{conversation_id}.json"


def _words_of(conversation: Conversation) -> Iterator[str]:
    yield conversation.name
    if not conversation.blind:
        yield from conversation.models
    for exchange in conversation.exchanges:
        yield exchange.text
        for answer in exchange.answers.values():
            yield answer.text

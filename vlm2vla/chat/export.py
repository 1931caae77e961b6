"""A conversation as a file: JSON, Markdown for reports and issues, or both with the images they name."""

import io
import json
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from vlm2vla.chat.conversation import Answer, Conversation

_ENDS = {"length": "cut at the longest answer", "stopped": "stopped", "error": "failed"}


def to_json(conversation: Conversation) -> str:
    """Everything that is kept of it; images by their id."""
    return json.dumps(conversation.to_json(), ensure_ascii=False, indent=1)


def to_archive(conversation: Conversation, image_path: Callable[[str], Path]) -> bytes:
    """A zip file: conversation.json, conversation.md, and every image that they name as images/<id>.jpg.

    Args:
        conversation: Which one.
        image_path: Id of an image to its file.

    Raises:
        NotFoundError: An image is gone.
    """
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversation.json", to_json(conversation))
        archive.writestr("conversation.md", to_markdown(conversation))
        for image in sorted({image for exchange in conversation.exchanges for image in exchange.images}):
            archive.writestr(f"images/{image}.jpg", image_path(image).read_bytes(), zipfile.ZIP_STORED)
    return made.getvalue()


def to_markdown(conversation: Conversation) -> str:
    """Questions, and the answers of each model under its name; images by their id."""
    when = datetime.fromtimestamp(conversation.created, UTC).strftime("%Y-%m-%d %H:%M UTC")
    lines = [f"# {conversation.title}", "", f"{when}. Models: {', '.join(conversation.models)}.", ""]
    lines += [f"- {name}: {what}" for name, what in conversation.identity.items()]
    if conversation.system:
        lines += ["", f"> {conversation.system}"]
    for number, exchange in enumerate(conversation.exchanges, 1):
        sampling = exchange.sampling
        lines += ["", f"## {number}. {exchange.text}", ""]
        lines += [f"![image](images/{image}.jpg)" for image in exchange.images]
        lines += [f"Temperature {sampling.temperature:g}, top-p {sampling.top_p:g}, seed {sampling.seed}.", ""]
        for name in conversation.models:
            answer = exchange.answers.get(name)
            lines += [f"**{name}**{_remark(answer)}", "", *_quoted(answer), ""]
        if exchange.vote:
            kind = "blind vote" if exchange.vote.blind else "vote"
            lines.append(f"{kind.capitalize()}: {exchange.vote.choice} ({' | '.join(exchange.vote.order)})")
    return "\n".join(lines).rstrip() + "\n"


def _remark(answer: Answer | None) -> str:
    if answer is None:
        return " (not asked)"
    return f" ({_ENDS[answer.end]})" if answer.end in _ENDS else ""


def _quoted(answer: Answer | None) -> list[str]:
    text = (answer.text or answer.problem) if answer else ""
    return [f"> {line}" if line else ">" for line in text.splitlines()]

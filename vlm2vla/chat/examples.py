"""Example questions by skill, over pictures that ship with the studio."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vlm2vla.chat.actions import list_question, plan_question, system_text
from vlm2vla.chat.store import ChatStore

FOLDER = Path(__file__).resolve().parents[2] / "assets" / "vqa" / "tabletop"
JSON = dict[str, Any]
SKILLS = {
    "Objects": ("colour", "shape", "objects"),
    "Counting": ("count",),
    "Spatial": ("relation", "extreme", "pointing"),
    "Text in the image": ("symbol",),
    "Other languages": ("language",),
    "Knowledge": ("facts",),
    "Plain text": ("arithmetic", "words", "format"),
}
"""Heading -> skills of the shipped questions under it."""
ACTIONS = "What would you do?"
_EACH = 4
_LIGHT = re.compile(r"\b(?:cube|ball|cylinder|can)$")
_LISTED = re.compile(r"^On .+?: (?P<things>.+?)\. The gripper is open\.$")


def examples(store: ChatStore, folder: Path = FOLDER) -> list[JSON]:
    """{"skill", "text", "image": id or None, "system", "answer"} of each; nothing where the pictures are missing."""
    try:
        rows = [json.loads(line) for line in (folder / "items.jsonl").read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError):
        rows = []
    found = []
    for skill, text, image, system, answer in (*_asked(rows), *_tasks(rows)):
        name = store.keep_image((folder / image).read_bytes()) if image and (folder / image).is_file() else None
        if image and name is None:
            continue
        found.append({"skill": skill, "text": text, "image": name, "system": system, "answer": answer})
    return found


def _asked(rows: list[JSON]) -> Iterator[tuple[str, str, str, str, str]]:
    """A few of each skill in turn, each over another picture."""
    for heading, skills in SKILLS.items():
        lanes = [[row for row in rows if row["skill"] == skill and not row.get("images")] for skill in skills]
        if heading == "Other languages":
            lanes = [[row for row in lanes[0] if row["language"] == name] for name in ("es", "zh", "hi")]
        seen: set[str] = set()
        chosen: list[JSON] = []
        for place in range(40 * len(lanes)):
            row = next(iter(lanes[place % len(lanes)][place // len(lanes) :]), None)
            keys = {row["image"], row["question"]} - {None} if row else set()
            if row and not keys & seen and len(chosen) < _EACH:
                seen |= keys
                chosen.append(row)
        for row in chosen:
            yield heading, row["question"], row["image"] or "", "", row["answer"]


def _tasks(rows: list[JSON]) -> Iterator[tuple[str, str, str, str, str]]:
    """The action dialogue over pictures whose captions name something to pick up."""
    found = 0
    for row in rows:
        listed = _LISTED.match(row["answer"]) if row["skill"] == "caption" else None
        things = re.split(r", | and ", listed["things"]) if listed else []
        light = [thing.split(" ", 1)[1] for thing in things if _LIGHT.search(thing) and things.count(thing) == 1]
        if not light or found == _EACH:
            continue
        thing, found = light[0], found + 1
        task = f"pick up the {thing}"
        text = list_question(task) if found % 2 else plan_question(task, f"Move to the {thing}")
        yield ACTIONS, text, row["image"], system_text(), ""

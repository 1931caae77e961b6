"""How much of what each prompt wrote survived review. Kept per item and made anew at every save, so that it is cheap.

The machine's word for one level of a subtask is the one in the newest machine revision that has that subtask with that
level still marked as the machine's: a span that was annotated again later replaces only its own labels.
"""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select

from vlm2vla.annotation.store.bodies import parse_body
from vlm2vla.annotation.store.tables import ACCOUNT_NUMBERS, REVISION, SURVIVAL
from vlm2vla.annotation.store.values import PromptSurvival
from vlm2vla.errors import AnnotationError
from vlm2vla.types import LEVELS, AnnotatedEpisode, LabelSource, Level

_WORD = re.compile(r"[^\W\d_]+|\d+(?:\.\d+)?|[^\w\s]|_")
_MAX_WORDS = 2000  # beyond, the quadratic comparison gives way to a count of equal words


@dataclass(frozen=True)
class MachineLabel:
    """What a machine wrote for one level of one subtask, and who it was."""

    uid: str
    level: Level
    text: str
    source: LabelSource
    model: str
    prompt_hash: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Whose account the label is on."""
        return (self.source, self.model, self.prompt_hash, self.level)


def machine_labels(
    revisions: Sequence[AnnotatedEpisode], head: AnnotatedEpisode
) -> dict[tuple[str, Level], MachineLabel]:
    """The newest machine label of every subtask and level that the review had before it.

    Args:
        revisions: Machine revisions of one episode, the newest first.
        head: What the review made of them.
    """
    labels: dict[tuple[str, Level], MachineLabel] = {}
    # What a later annotation replaced was not removed by a review, so it counts only where it is back in the head.
    live = {subtask.uid for annotated in (*revisions[:1], head) for subtask in annotated.subtasks}
    for annotated in revisions:
        for subtask in annotated.subtasks:
            for level in LEVELS:
                source = subtask.sources.get(level, "person")
                if source == "person" or subtask.uid not in live or (subtask.uid, level) in labels:
                    continue
                made = [entry for entry in annotated.provenance if entry.source == source]
                model, prompt = (made[-1].model or made[-1].author, made[-1].prompt_hash) if made else ("", "")
                text = subtask.level(level)
                labels[subtask.uid, level] = MachineLabel(subtask.uid, level, text, source, model, prompt)
    return labels


def kept_characters(before: str, after: str) -> tuple[int, int]:
    """(characters of `before`, those in words that are also in `after`, in the same order); white space not counted."""
    old = _WORD.findall(before)
    total = sum(map(len, old))
    if before == after:
        return total, total
    new = _WORD.findall(after)
    if max(len(old), len(new)) > _MAX_WORDS:
        left = set(new)
        return total, sum(len(word) for word in old if word in left)
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    blocks = matcher.get_matching_blocks()
    return total, sum(sum(map(len, old[block.a : block.a + block.size])) for block in blocks)


def compare(
    labels: dict[tuple[str, Level], MachineLabel], head: AnnotatedEpisode
) -> dict[tuple[str, str, str, str], dict[str, int]]:
    """Numbers per prompt and level for one episode; empty while nothing in it is accepted or rejected."""
    decided = {subtask.uid: subtask for subtask in head.subtasks if subtask.status in ("accepted", "rejected")}
    present = {subtask.uid for subtask in head.subtasks}
    accepted = any(subtask.status == "accepted" for subtask in decided.values())
    accounts: dict[tuple[str, str, str, str], dict[str, int]] = {}
    for label in labels.values():
        subtask = decided.get(label.uid)
        removed = accepted and label.uid not in present
        if subtask is None and not removed:
            continue
        account = accounts.setdefault(label.key, dict.fromkeys(ACCOUNT_NUMBERS, 0))
        after = subtask.level(label.level) if subtask and subtask.status == "accepted" else None
        total, kept = kept_characters(label.text, after or "")
        account["kept" if after == label.text else "dropped" if after is None else "changed"] += 1
        account["characters"] += total
        account["characters_kept"] += kept if after is not None else 0
    return accounts


def refresh_survival(connection: Connection, item_id: int, head: AnnotatedEpisode) -> None:
    """Make the item's accounts anew, in the transaction of the save."""
    connection.execute(delete(SURVIVAL).where(SURVIVAL.c.item_id == item_id))
    if all(subtask.status not in ("accepted", "rejected") for subtask in head.subtasks):
        return
    query = (
        select(REVISION.c.number, REVISION.c.body)
        .where(REVISION.c.item_id == item_id, REVISION.c.source != "person")
        .order_by(REVISION.c.number.desc())
    )
    bodies = []
    for number, body in connection.execute(query):
        try:
            bodies.append(parse_body(body, head.episode_id, number))
        except AnnotationError:
            continue  # a damaged old revision must not stop today's save
    rows = [
        dict(zip(("source", "model", "prompt_hash", "level"), key, strict=True)) | numbers | {"item_id": item_id}
        for key, numbers in compare(machine_labels(bodies, head), head).items()
    ]
    if rows:
        connection.execute(insert(SURVIVAL), rows)


def survival(connection: Connection) -> tuple[PromptSurvival, ...]:
    """Sums over all items."""
    keys = [SURVIVAL.c.source, SURVIVAL.c.model, SURVIVAL.c.prompt_hash, SURVIVAL.c.level]
    sums = [func.sum(SURVIVAL.c[name]).label(name) for name in ACCOUNT_NUMBERS]
    found = []
    for row in connection.execute(select(*keys, *sums).group_by(*keys).order_by(*keys)):
        numbers = {name: int(getattr(row, name)) for name in ACCOUNT_NUMBERS}
        labels = numbers["kept"] + numbers["changed"] + numbers["dropped"]
        found.append(PromptSurvival(row.source, row.model, row.prompt_hash, row.level, labels=labels, **numbers))
    return tuple(found)

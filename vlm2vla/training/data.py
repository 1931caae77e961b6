"""Training samples from disk: prompt/completion rows with their pictures, grouped, split and put in order.

Reads folders in the format of `vlm2vla.dataset.write_trl` (metadata.jsonl, images/). A row that cannot be used is left
out, counted and named; only many of them are an error. Which sample comes when follows from data and seed alone, so
a resumed run sees what the first one would have seen.
"""

import contextlib
import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vlm2vla.errors import TrainingError
from vlm2vla.training.config import Mixture
from vlm2vla.workspace import write_atomic

ROWS = "metadata.jsonl"
CHECKED = "checked.json"
_MANIFEST = "manifest.json"
KINDS = ("action", "completed", "direction", "vqa")
# More answers than this over one picture become several groups.
MOST_ROWS = 10
# More rotten rows than this share are no accident.
_ROTTEN_SHARE = 0.1
_NAMED = 100
_SMALLEST_PX, _LARGEST_PX = 16, 8192


@dataclass(frozen=True)
class Row:
    """One answer to learn.

    Attributes:
        id: Unique in its set.
        level: What is answered: subtask, plan, chunk, completed, direction, or a VQA skill.
        prompt: Messages {"role", "content"} before the answer; pictures come before the first user text.
        completion: The answer.
    """

    id: str
    level: str
    prompt: tuple[Mapping[str, str], ...]
    completion: str


@dataclass(frozen=True)
class Group:
    """Rows about the same pictures.

    Attributes:
        kind: One of `KINDS`.
        source: Episode (or picture) that it comes from: splits never cut through one.
        images: Picture files, in the order in which they are shown.
        rows: At most `MOST_ROWS`.
    """

    kind: str
    source: str
    images: tuple[Path, ...]
    rows: tuple[Row, ...]


@dataclass
class TrainingData:
    """All groups of a run.

    Attributes:
        train, held_out: Groups.
        manifest: What data.json says.
    """

    train: list[Group]
    held_out: list[Group]
    manifest: dict[str, Any] = field(default_factory=dict)


def read_data(folders: Sequence[Path], mixture: Mixture, *, grouped: bool, seed: int = 0) -> TrainingData:
    """Read, check, group and split.

    Args:
        folders: Data sets on disk.
        mixture: Says how much is held out.
        grouped: Rows about the same pictures together, or each for itself.
        seed: Of the split.

    Raises:
        TrainingError: A folder without rows, no usable row at all, or more than a tenth that is rotten.
    """
    groups, left_out, problems, total = [], Counter(), [], 0
    for folder in folders:
        rows = list(_rows_of(folder))
        if not rows:
            raise TrainingError(f"{folder} holds no training rows ({ROWS})")
        checked = _checked_before(folder)
        known = len(checked)
        kept: dict[tuple[tuple[str, ...], int], list[tuple[str, str, Row]]] = {}
        for number, row in enumerate(rows, 1):
            total += 1
            names, reason, made = _row(row, folder, checked)
            if made is None:
                left_out[reason] += 1
                problems.append(f"{folder.name}/{ROWS}, line {number}: {reason}")
            else:
                # Rows without a picture have nothing in common: any few that stand together.
                kept.setdefault((names, 0 if names else number // MOST_ROWS), []).append(made)
        groups += _groups(kept, folder, grouped)
        good = [name for name, fault in checked.items() if not fault]
        if len(good) > known:
            _remember_checked(folder, good)
    _check_share(bool(groups), left_out, total, problems)
    train, held_out = _split(groups, mixture.held_out, seed)
    manifest = {
        "sets": [_set(folder) for folder in folders],
        "rows": total,
        "left_out": dict(left_out),
        "problems": problems[:_NAMED],
        "split": {"seed": seed, "held_out_share": mixture.held_out},
        "train": _counts(train),
        "held_out": _counts(held_out),
    }
    return TrainingData(train, held_out, manifest)


def leave_out(data: TrainingData, unfit: Callable[[Row], bool], reason: str) -> TrainingData:
    """Without rows that are unfit; they are counted and named like those that could not be read.

    Raises:
        TrainingError: Nothing is left to train on, or more than a tenth is left out.
    """
    manifest = data.manifest
    left_out, problems = Counter(manifest["left_out"]), list(manifest["problems"])

    def kept(groups: Sequence[Group]) -> Iterator[Group]:
        for group in groups:
            rows = tuple(row for row in group.rows if not unfit(row))
            left_out[reason] += len(group.rows) - len(rows)
            problems.extend(f"{row.id}: {reason}" for row in group.rows if unfit(row))
            if rows:
                yield replace(group, rows=rows)

    train, held_out = list(kept(data.train)), list(kept(data.held_out))
    _check_share(bool(train), left_out, manifest["rows"], problems)
    changed = {"left_out": dict(left_out), "problems": problems[:_NAMED]}
    counts = {"train": _counts(train), "held_out": _counts(held_out)}
    return TrainingData(train, held_out, manifest | changed | counts)


class Order:
    """Which group is learned from when: `order[i]` for any i, always the same.

    One pass shows every action group once, and of the other kinds the share that the mixture asks for, all shuffled;
    every pass draws anew.

    Attributes:
        per_pass: Groups of one pass.
    """

    def __init__(self, groups: Sequence[Group], mixture: Mixture, seed: int):
        self._seed = seed
        self._of: dict[str, np.ndarray] = {
            kind: np.array([number for number, group in enumerate(groups) if group.kind == kind], dtype=np.int64)
            for kind in KINDS
        }
        actions = len(self._of["action"])
        shares = {"action": 1.0, "completed": mixture.completed, "direction": mixture.direction}
        self._wanted = {kind: round(share * len(self._of[kind])) for kind, share in shares.items()}
        self._wanted["vqa"] = round(mixture.replay * actions) if len(self._of["vqa"]) else 0
        if not actions:  # nothing to relate the others to
            self._wanted = {kind: len(found) for kind, found in self._of.items()}
        self.per_pass = sum(self._wanted.values())
        if not self.per_pass:
            raise TrainingError("the mixture leaves no samples to train on")
        self._drawn: dict[int, np.ndarray] = {}

    def __getitem__(self, index: int) -> int:
        number, place = divmod(index, self.per_pass)
        if number not in self._drawn:
            self._drawn = {number: self._draw(number)}
        return int(self._drawn[number][place])

    def _draw(self, number: int) -> np.ndarray:
        rng = np.random.default_rng([self._seed, number, 29])
        parts = []
        for kind, wanted in self._wanted.items():
            found = self._of[kind]
            rounds = [rng.permutation(found) for _ in range(-(-wanted // max(len(found), 1)))]
            parts.append(np.concatenate(rounds)[:wanted] if rounds else found[:0])
        return rng.permutation(np.concatenate(parts))


def _check_share(some: bool, left_out: Mapping[str, int], total: int, problems: Sequence[str]) -> None:
    rotten = sum(left_out.values())
    if not some or rotten > _ROTTEN_SHARE * total:
        first = f"; first problem: {problems[0]}" if problems else ""
        raise TrainingError(f"{rotten} of {total} training rows cannot be used{first}")


def _rows_of(folder: Path) -> Iterator[Any]:
    try:
        with (folder / ROWS).open(encoding="utf-8") as file:
            for line in file:
                try:
                    yield json.loads(line)
                except ValueError:
                    yield None
    except OSError as error:
        raise TrainingError(f"cannot read {folder / ROWS}: {error.strerror or error}") from error


def _checked_before(folder: Path) -> dict[str, str]:
    """Picture name -> "" (no fault), of an earlier look at the same rows: decoding thousands of them takes a minute.

    Those with a fault are looked at again: it may have been the disk's.
    """
    try:
        found = json.loads((folder / CHECKED).read_text(encoding="utf-8"))
        return dict.fromkeys(found["readable"], "") if found["rows_sha256"] == _digest(folder) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _remember_checked(folder: Path, readable: Sequence[str]) -> None:
    with contextlib.suppress(OSError):  # a folder that cannot be written is looked at again next time
        write_atomic(folder / CHECKED, json.dumps({"rows_sha256": _digest(folder), "readable": readable}) + "\n")


def _row(row: Any, folder: Path, checked: dict[str, str]) -> tuple[tuple[str, ...], str, tuple | None]:
    """(picture names, why it is left out, (kind, source, Row) or None)."""
    try:
        names = tuple(str(name) for name in row["file_names"])
        prompt = tuple({"role": str(turn["role"]), "content": str(turn["content"])} for turn in row["prompt"])
        answer = str(row["completion"][0]["content"])
        made = Row(str(row["id"]), str(row["level"]), prompt, answer)
        kind = str(row["kind"])
        source = str(row.get("episode_id") or row["id"])
    except (TypeError, KeyError, IndexError):
        return (), "not a prompt/completion row", None
    if kind not in KINDS:
        return names, f"unknown kind {kind!r}", None
    if not answer.strip() or not prompt or prompt[-1]["role"] != "user":
        return names, "no question or no answer", None
    for name in names:
        if name not in checked:
            checked[name] = _picture_fault(folder / name)
        if checked[name]:
            return names, checked[name], None
    return names, "", (kind, source, made)


def _picture_fault(path: Path) -> str:
    """Why a picture cannot be used, "" when it can."""
    try:
        with Image.open(path) as image:
            size = image.size
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return f"picture {path.name} cannot be read: {type(error).__name__}"
    if min(size) < _SMALLEST_PX or max(size) > _LARGEST_PX:
        return f"picture {path.name} is {size[0]} x {size[1]} pixels; {_SMALLEST_PX} to {_LARGEST_PX} on a side can be"
    return ""


def _groups(kept: Mapping[tuple[tuple[str, ...], int], list], folder: Path, grouped: bool) -> Iterator[Group]:
    most = MOST_ROWS if grouped else 1
    for (names, _), made in kept.items():
        images = tuple(folder / name for name in names)
        for kind in KINDS:
            rows = [(source, row) for of, source, row in made if of == kind]
            for first in range(0, len(rows), most):
                part = rows[first : first + most]
                yield Group(kind, part[0][0], images, tuple(row for _, row in part))


def _split(groups: Sequence[Group], share: float, seed: int) -> tuple[list[Group], list[Group]]:
    """By source; questions about pictures are not held out (they have a test set of their own).

    Nothing is held out where that would take all action samples of a few episodes.
    """
    train, held_out = [], []
    for group in groups:
        lot = zlib.crc32(f"{seed}:{group.source}".encode()) % 10_000
        (held_out if group.kind != "vqa" and lot < share * 10_000 else train).append(group)
    lost = {group.kind for group in held_out} - {group.kind for group in train}
    return (train, held_out) if train and "action" not in lost else (list(groups), [])


def _counts(groups: Sequence[Group]) -> dict[str, Any]:
    return {
        "groups": len(groups),
        "sources": len({group.source for group in groups}),
        "kinds": dict(Counter(group.kind for group in groups)),
        "levels": dict(Counter(row.level for group in groups for row in group.rows if group.kind != "vqa")),
        "rows": sum(len(group.rows) for group in groups),
    }


def _set(folder: Path) -> dict[str, Any]:
    told = {"folder": str(folder), "rows_sha256": _digest(folder)}
    with contextlib.suppress(OSError, ValueError, AttributeError):
        left_out = json.loads((folder / _MANIFEST).read_text(encoding="utf-8")).get("left_out")
        told |= {"left_out": left_out} if left_out else {}
    return told


def _digest(folder: Path) -> str:
    return hashlib.sha256((folder / ROWS).read_bytes()).hexdigest()

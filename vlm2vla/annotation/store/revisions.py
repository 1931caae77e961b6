"""Append-only revisions of one item: save, undo, redo, revert, history. Works on an open connection.

Undo and redo are revisions too, so the rows alone tell the whole story. Each row carries its *position*: the edit whose
text it holds (an edit or a revert is its own position; an undo or redo takes the position of what it brings back), and
the positions that undo and redo lead to from there. A new edit has no redo, which cuts the chain as in any editor:

    number    1     2     3     4       5       6      7
    kind      edit  edit  edit  undo    undo    redo   edit
    position  1     2     3     2       1       2      7
    undo_to   0     1     2     1       0       1      2
    redo_to   0     0     0     3       2       3      0
"""

from typing import Any

from sqlalchemy import Connection, Row, and_, insert, select, update

from vlm2vla.annotation.store.bodies import derive_status, dump_body, parse_body, searchable, storable
from vlm2vla.annotation.store.survival import refresh_survival
from vlm2vla.annotation.store.tables import ITEM, REVISION
from vlm2vla.annotation.store.values import SOURCES, Newest, NewRevision, Revision, RevisionInfo, RevisionKind
from vlm2vla.errors import EditError, NotFoundError, StaleRevisionError

_INFO = [column for column in REVISION.c if column.name != "body"]
_FINDINGS = ("status", "risk", "errors", "warnings")


def find_item(connection: Connection, episode_id: str, *, lock: bool = False) -> Row[Any]:
    """Row of the item; with `lock`, other writers of it wait until the transaction ends.

    Raises:
        NotFoundError: Not registered.
    """
    query = select(ITEM.c.id, ITEM.c.head, ITEM.c.machine_head).where(ITEM.c.episode_id == searchable(episode_id))
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise NotFoundError(f"the annotation store has no episode {episode_id!r}; import it first")
    return row


def load(connection: Connection, episode_id: str, number: int | None = None) -> Revision | None:
    """One revision, or the head when `number` is None; None when there is no revision of an episode that exists.

    Raises:
        NotFoundError: No such episode.
        AnnotationError: The stored text is damaged.
    """
    wanted = ITEM.c.head if number is None else number
    join = REVISION.join(ITEM, and_(ITEM.c.id == REVISION.c.item_id, REVISION.c.number == wanted))
    row = connection.execute(
        select(*REVISION.c).select_from(join).where(ITEM.c.episode_id == searchable(episode_id))
    ).one_or_none()
    if row is None:
        find_item(connection, episode_id)
        return None
    return Revision(**_info(episode_id, row), annotated=parse_body(row.body, episode_id, row.number))


def history(connection: Connection, episode_id: str, limit: int, before: int) -> tuple[RevisionInfo, ...]:
    """Revisions without bodies, the newest first.

    Raises:
        NotFoundError: No such episode.
    """
    item = find_item(connection, episode_id)
    query = select(*_INFO).where(REVISION.c.item_id == item.id).order_by(REVISION.c.number.desc()).limit(limit)
    if before:
        query = query.where(REVISION.c.number < before)
    return tuple(RevisionInfo(**_info(episode_id, row)) for row in connection.execute(query))


def newest(connection: Connection) -> dict[str, Newest]:
    """Episode id -> who annotated it last; episodes without annotation are left out."""
    machine = and_(REVISION.c.item_id == ITEM.c.id, REVISION.c.number == ITEM.c.machine_head)
    query = (
        select(ITEM.c.episode_id, ITEM.c.head, ITEM.c.source, ITEM.c.machine, REVISION.c.created_at)
        .select_from(ITEM.outerjoin(REVISION, machine))
        .where(ITEM.c.head > 0)
    )
    return {row[0]: Newest(row[1], row[2], row[3], row[4] or "") for row in connection.execute(query)}


def append(connection: Connection, new: NewRevision, now: str) -> Revision:
    """Save an edit on top of `new.base`.

    Raises:
        NotFoundError: No such episode.
        StaleRevisionError: The head is not `new.base`.
        EditError: A value that cannot be stored.
    """
    episode_id = new.annotated.episode_id
    if new.source not in SOURCES:
        raise EditError(f"no label source {new.source!r}; it is one of {', '.join(SOURCES)}")
    body = dump_body(new.annotated)
    head = _locked_head(connection, episode_id, new.base)
    content = {
        "status": derive_status(new.annotated.subtasks),
        "risk": float(new.risk),
        "errors": int(new.errors),
        "warnings": int(new.warnings),
        "body": body,
    }
    undo_to = _position(connection, head)
    place = {"restores": 0, "position": new.base + 1, "undo_to": undo_to, "redo_to": 0}
    return _write(connection, episode_id, head, "edit", new.author, new.source, new.note, now, place | content)


def step(connection: Connection, episode_id: str, kind: RevisionKind, author: str, base: int, now: str) -> Revision:
    """Undo or redo one edit.

    Raises:
        NotFoundError: No such episode.
        StaleRevisionError: The head is not `base`.
        EditError: Nothing to undo or redo.
        AnnotationError: The text to bring back is damaged.
    """
    item = _locked_head(connection, episode_id, base)
    head = _place(connection, item.id, base) if base else None
    wanted = 0 if head is None else head.undo_to if kind == "undo" else head.redo_to
    if not wanted:
        raise EditError(f"{episode_id}: nothing to {kind} at revision {base}")
    target = _place(connection, item.id, wanted)
    redo_to = head.position if kind == "undo" else _newest_child(connection, item.id, wanted)
    place = {"restores": wanted, "position": wanted, "undo_to": target.undo_to, "redo_to": redo_to}
    return _restore(connection, episode_id, item, kind, author, target, place, now)


def revert(connection: Connection, episode_id: str, to: int, author: str, base: int, now: str) -> Revision:
    """Go back to the text of revision `to`; undo brings back what was there before.

    Raises:
        NotFoundError: No such episode or revision.
        StaleRevisionError: The head is not `base`.
        AnnotationError: The text to bring back is damaged.
    """
    item = _locked_head(connection, episode_id, base)
    target = _place(connection, item.id, to)
    if target is None:
        raise NotFoundError(f"{episode_id} has no revision {to}; its newest is {base}")
    undo_to = _position(connection, item)
    place = {"restores": to, "position": base + 1, "undo_to": undo_to, "redo_to": 0}
    return _restore(connection, episode_id, item, "revert", author, target, place, now)


def _info(episode_id: str, row: Row[Any]) -> dict[str, Any]:
    names = ("number", "parent", "author", "source", "created_at", "note", "kind", "restores", *_FINDINGS)
    values = {name: getattr(row, name) for name in names}
    return values | {"episode_id": episode_id, "can_undo": row.undo_to > 0, "can_redo": row.redo_to > 0}


def _locked_head(connection: Connection, episode_id: str, base: int) -> Row[Any]:
    item = find_item(connection, episode_id, lock=True)
    if item.head != base:
        newest = _place(connection, item.id, item.head)
        raise StaleRevisionError(episode_id, base, item.head, newest.author if newest else "")
    return item


def _place(connection: Connection, item_id: int, number: int) -> Row[Any] | None:
    query = select(*_INFO).where(REVISION.c.item_id == item_id, REVISION.c.number == number)
    return connection.execute(query).one_or_none()


def _position(connection: Connection, item: Row[Any]) -> int:
    """Position of the item's head; 0 when there is none."""
    row = _place(connection, item.id, item.head) if item.head else None
    return row.position if row is not None else 0


def _newest_child(connection: Connection, item_id: int, position: int) -> int:
    """The edit that was made last on `position`: older ones were cut off by it."""
    query = (
        select(REVISION.c.number)
        .where(REVISION.c.item_id == item_id, REVISION.c.number > position)
        .where(REVISION.c.undo_to == position, REVISION.c.position == REVISION.c.number)
        .order_by(REVISION.c.number.desc())
        .limit(1)
    )
    return connection.execute(query).scalar_one_or_none() or 0


def _restore(
    connection: Connection,
    episode_id: str,
    item: Row[Any],
    kind: RevisionKind,
    author: str,
    target: Row[Any],
    place: dict[str, int],
    now: str,
) -> Revision:
    body = connection.execute(
        select(REVISION.c.body).where(REVISION.c.item_id == item.id, REVISION.c.number == target.number)
    ).scalar_one()
    parse_body(body, episode_id, target.number)  # never bring back what cannot be read
    content = {name: getattr(target, name) for name in _FINDINGS} | {"body": body}
    return _write(connection, episode_id, item, kind, author, "person", "", now, place | content)


def _write(
    connection: Connection,
    episode_id: str,
    item: Row[Any],
    kind: RevisionKind,
    author: str,
    source: str,
    note: str,
    now: str,
    rest: dict[str, Any],
) -> Revision:
    if not storable(author, "the author").strip():
        raise EditError(f"{episode_id}: a revision needs an author; give a name")
    number = item.head + 1
    row = {
        "item_id": item.id,
        "number": number,
        "parent": item.head,
        "kind": kind,
        "author": author,
        "source": source,
        "created_at": now,
        "note": storable(note, "the note"),
        **rest,
    }
    connection.execute(insert(REVISION), row)
    shown = {name: row[name] for name in ("source", *_FINDINGS)} | {"head": number, "updated_at": now}
    shown |= {"reviewer": author} if source == "person" else {"machine": source, "machine_head": number}
    connection.execute(update(ITEM).where(ITEM.c.id == item.id).values(**shown))
    annotated = parse_body(row["body"], episode_id, number)
    refresh_survival(connection, item.id, annotated)
    info = {name: row[name] for name in row if name not in ("item_id", "position", "undo_to", "redo_to", "body")}
    flags = {"can_undo": row["undo_to"] > 0, "can_redo": row["redo_to"] > 0}
    return Revision(episode_id=episode_id, **info, **flags, annotated=annotated)

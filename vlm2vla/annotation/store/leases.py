"""Leases that expire, and ratings. Works on an open connection."""

from typing import get_args

from sqlalchemy import Connection, delete, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from vlm2vla.annotation.store.bodies import searchable, storable
from vlm2vla.annotation.store.revisions import find_item
from vlm2vla.annotation.store.tables import ITEM, LEASE, RATING
from vlm2vla.annotation.store.values import Lease, Rating
from vlm2vla.errors import EditError
from vlm2vla.types import LEVELS, Level


def take(connection: Connection, episode_id: str, reviewer: str, now: str, until: str) -> Lease:
    """Take or prolong the lease; when somebody else holds it, theirs is returned and stays.

    Raises:
        NotFoundError: No such episode.
        EditError: No name.
    """
    item = find_item(connection, episode_id)
    values = {"item_id": item.id, "holder": _name(reviewer), "acquired_at": now, "expires_at": until}
    mine_or_over = or_(LEASE.c.expires_at <= now, LEASE.c.holder == reviewer)
    statement = _insert(connection, LEASE).values(**values)
    changed = {"holder": reviewer, "expires_at": until, "acquired_at": now}
    statement = statement.on_conflict_do_update(index_elements=["item_id"], set_=changed, where=mine_or_over)
    connection.execute(statement)
    return lease_of(connection, episode_id, now) or Lease(episode_id, reviewer, now, until)


def lease_of(connection: Connection, episode_id: str, now: str) -> Lease | None:
    """Who holds the item at `now`; None for nobody."""
    query = (
        select(LEASE.c.holder, LEASE.c.acquired_at, LEASE.c.expires_at)
        .join(ITEM, ITEM.c.id == LEASE.c.item_id)
        .where(ITEM.c.episode_id == searchable(episode_id), LEASE.c.expires_at > now)
    )
    row = connection.execute(query).one_or_none()
    return Lease(episode_id, row.holder, row.acquired_at, row.expires_at) if row is not None else None


def release(connection: Connection, episode_id: str, reviewer: str) -> bool:
    """Give the lease back; False when it was not the reviewer's.

    Raises:
        NotFoundError: No such episode.
    """
    item = find_item(connection, episode_id)
    gone = delete(LEASE).where(LEASE.c.item_id == item.id, LEASE.c.holder == searchable(reviewer))
    return connection.execute(gone).rowcount > 0


def rate(
    connection: Connection, episode_id: str, uid: str, level: Level, reviewer: str, score: int, now: str
) -> Rating:
    """Store a score; a reviewer's newer one replaces the older.

    Raises:
        NotFoundError: No such episode.
        EditError: The score is not 1 to 5, the level is none, or there is no name.
    """
    item = find_item(connection, episode_id)
    if level not in LEVELS:
        raise EditError(f"no level {level!r}; it is one of {', '.join(get_args(Level))}")
    if type(score) is not int or not 1 <= score <= 5:
        raise EditError(f"a rating is a whole number from 1 to 5, not {score!r}")
    key = {"item_id": item.id, "uid": storable(uid, "the subtask"), "level": level, "reviewer": _name(reviewer)}
    statement = _insert(connection, RATING).values(**key, score=score, rated_at=now)
    connection.execute(
        statement.on_conflict_do_update(index_elements=list(key), set_={"score": score, "rated_at": now})
    )
    return Rating(episode_id, uid, level, reviewer, score, now)


def ratings(connection: Connection, episode_id: str) -> tuple[Rating, ...]:
    """All scores of one episode.

    Raises:
        NotFoundError: No such episode.
    """
    item = find_item(connection, episode_id)
    columns = (RATING.c.uid, RATING.c.level, RATING.c.reviewer, RATING.c.score, RATING.c.rated_at)
    query = select(*columns).where(RATING.c.item_id == item.id).order_by(*columns[:3])
    return tuple(Rating(episode_id, *row) for row in connection.execute(query))


def _insert(connection: Connection, table):
    return (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)


def _name(reviewer: str) -> str:
    if not storable(reviewer, "the reviewer").strip():
        raise EditError("a reviewer needs a name")
    return reviewer

"""The review queue: register items, filter, search, sort, page, count. Reads item rows only, never a body.

Pages are found by key, not by offset: the cursor names the last row shown, so rows that others change in between
neither repeat nor shift the rest.
"""

import base64
import json
from collections.abc import Iterable
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from vlm2vla.annotation.store.bodies import searchable, storable
from vlm2vla.annotation.store.tables import COUNT_INDEX, FILTER_INDEX, ITEM, LEASE
from vlm2vla.annotation.store.values import Counts, ItemRow, QueueOrder, QueuePage, QueueQuery, QueueRow
from vlm2vla.errors import ConfigError
from vlm2vla.types import STATUSES

_KEY_CHARACTERS = 100
_BATCH = 500
_TRIED = 1000  # rows of the table; dearer to read than those of an index
_MAX_SEARCH = 1000  # characters; SQLite refuses very long patterns
_MAX_WORDS = 12
# Column, and whether the highest comes first.
_ORDERS: dict[QueueOrder, tuple[ColumnElement[Any], bool]] = {
    "risk": (ITEM.c.risk, True),
    "instruction": (ITEM.c.instruction_key, False),
    "newest": (ITEM.c.updated_at, True),
    "dataset": (ITEM.c.dataset, False),
}
_SHOWN = [ITEM.c[name] for name in QueueRow.__dataclass_fields__ if name != "holder"]


def register(connection: Connection, items: Iterable[ItemRow]) -> int:
    """Add items that are new and correct those whose text changed; returns how many were new.

    Raises:
        EditError: An id or text that cannot be stored.
    """
    rows = iter(items)
    added = 0
    while batch := [_item_values(row) for row in islice(rows, _BATCH)]:
        ids = [values["episode_id"] for values in batch]
        names = ("episode_id", "dataset", "instruction", "steps")
        query = select(*(ITEM.c[name] for name in names)).where(ITEM.c.episode_id.in_(ids))
        known = {row.episode_id: row for row in connection.execute(query)}
        new = {values["episode_id"]: values for values in batch if values["episode_id"] not in known}
        if new:
            dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
            insert = dialect.insert(ITEM).on_conflict_do_nothing().returning(ITEM.c.id)
            added += len(connection.execute(insert, list(new.values())).all())
        for values in batch:
            row = known.get(values["episode_id"])
            if row is not None and any(getattr(row, name) != values[name] for name in names):
                connection.execute(update(ITEM).where(ITEM.c.episode_id == row.episode_id).values(**values))
    return added


def page(connection: Connection, query: QueueQuery, limit: int, after: str, now: str) -> QueuePage:
    """Rows of `query` behind cursor `after`.

    Raises:
        ConfigError: The cursor is not of this order.
    """
    filters = conditions(query, now)
    found = _first(connection, query, filters, after, limit + 1)
    shown, more = found[:limit], len(found) > limit
    total = _count(connection, query, filters) if after or more else len(found)
    holders = _holders(connection, [row.id for row in shown], now)
    rows = tuple(_queue_row(row, holders.get(row.id, "")) for row in shown)
    return QueuePage(rows, total, cursor_of(query.order, shown[-1]) if more else "")


def counts(connection: Connection, dataset: str, now: str) -> Counts:
    """Items by status; one data set, or all."""
    by_status = dict.fromkeys(STATUSES, 0)
    # Grouped as the index is sorted, so that nothing is sorted for it.
    query = _scan(select(ITEM.c.dataset, ITEM.c.status, func.count()), COUNT_INDEX)
    query = query.group_by(ITEM.c.dataset, ITEM.c.status)
    held = select(func.count()).select_from(ITEM).where(ITEM.c.status == "pending", ITEM.c.id.in_(_live(now)))
    if dataset:
        query, held = (
            query.where(ITEM.c.dataset == searchable(dataset)),
            held.where(ITEM.c.dataset == searchable(dataset)),
        )
    for _, status, number in connection.execute(query):
        by_status[status] += number
    working = connection.execute(held).scalar_one()
    by_status["pending"] -= working
    by_status["in_review"] += working
    return Counts(by_status, sum(by_status.values()))


def next_item(connection: Connection, query: QueueQuery, reviewer: str, after: str, now: str) -> str | None:
    """The first undecided item behind episode `after` that nobody else holds; starts over at the end of the queue.

    Raises:
        ConfigError: The query is none.
    """
    open_ones = [status for status in query.statuses if status not in ("accepted", "rejected")]
    wanted = open_ones or query.statuses or ("pending", "in_review")
    filters = [*conditions(query, now, statuses=False), _status_is(wanted, now, mine=reviewer)]
    others = select(LEASE.c.item_id).where(LEASE.c.expires_at > now, LEASE.c.holder != searchable(reviewer))
    filters += [ITEM.c.id.not_in(others), ITEM.c.episode_id != searchable(after)]
    start = (
        connection.execute(select(*ITEM.c).where(ITEM.c.episode_id == searchable(after))).one_or_none()
        if after
        else None
    )
    cursor = cursor_of(query.order, start) if start is not None else ""
    found = _first(connection, query, filters, cursor, 1)
    if not found and cursor:
        found = _first(connection, query, filters, "", 1)
    return found[0].episode_id if found else None


def conditions(query: QueueQuery, now: str, *, statuses: bool = True) -> list[ColumnElement[bool]]:
    """The query's filters as SQL; all must hold."""
    found: list[ColumnElement[bool]] = []
    if statuses and query.statuses:
        found.append(_status_is(query.statuses, now))
    if query.sources:
        head = ITEM.c.source.in_([source for source in query.sources if source == "person"])
        found.append(or_(ITEM.c.machine.in_([source for source in query.sources if source != "person"]), head))
    if query.datasets:
        found.append(ITEM.c.dataset.in_([searchable(name) for name in query.datasets]))
    if query.reviewer:
        found.append(ITEM.c.reviewer == searchable(query.reviewer))
    if query.min_risk > 0:
        found.append(ITEM.c.risk >= query.min_risk)
    for word in searchable(query.search[:_MAX_SEARCH]).casefold().split()[:_MAX_WORDS]:
        found.append(ITEM.c.search_text.contains(word, autoescape=True))
    return found


def cursor_of(order: QueueOrder, row: Row[Any]) -> str:
    """Names `row` as the last one shown."""
    text = json.dumps([order, getattr(row, _ORDERS[order][0].name), row.id])
    return base64.urlsafe_b64encode(text.encode()).decode()


def _read_cursor(cursor: str, order: QueueOrder) -> tuple[Any, int]:
    try:
        made_for, key, item_id = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        if made_for != order or type(item_id) is not int or type(key) is not (float if order == "risk" else str):
            raise ValueError(made_for)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"the cursor is not of a queue ordered by {order}; start at the first page") from error
    return key, item_id


def _first(
    connection: Connection,
    query: QueueQuery,
    filters: list[ColumnElement[bool]],
    after: str,
    limit: int,
) -> list[Row[Any]]:
    """The first rows behind the cursor.

    No database can know how many rows a word or a filter leaves. So first the next thousand rows in the order asked
    for are tried, which is enough for what is frequent; for what is rare, all rows are filtered, then sorted.
    """
    column, highest_first = _ORDERS[query.order]
    # Ids run with the time of import; the last saved first means the last imported first, too.
    ids_down = query.order == "newest"
    order = [column.desc() if highest_first else column, ITEM.c.id.desc() if ids_down else ITEM.c.id.asc()]
    behind = []
    if after:
        key, item_id = _read_cursor(after, query.order)
        beyond = column < key if highest_first else column > key
        # The first condition is implied by the second; it lets the database start in the middle of an index.
        behind.append(column <= key if highest_first else column >= key)
        behind.append(or_(beyond, ITEM.c.id < item_id if ids_down else ITEM.c.id > item_id))
    tried = select(ITEM.c.id).where(*behind).order_by(*order).limit(_TRIED if filters else limit).subquery()
    statement = select(ITEM.c.id).join_from(tried, ITEM, ITEM.c.id == tried.c.id).where(*filters)
    found = connection.execute(statement.order_by(*order).limit(limit)).scalars().all()
    if filters and len(found) < limit:
        statement = _scan(select(ITEM.c.id), FILTER_INDEX).where(*filters, *behind).order_by(*order)
        found = connection.execute(statement.limit(limit)).scalars().all()
    rows = connection.execute(select(ITEM.c.id, *_SHOWN, ITEM.c.instruction_key).where(ITEM.c.id.in_(found)))
    place = {item_id: index for index, item_id in enumerate(found)}
    return sorted(rows, key=lambda row: place[row.id])


def _count(connection: Connection, query: QueueQuery, filters: list[ColumnElement[bool]]) -> int:
    """How many items pass."""
    # Only these two columns are in the smallest index.
    few = query == QueueQuery(statuses=query.statuses, datasets=query.datasets, order=query.order)
    statement = _scan(select(func.count()), COUNT_INDEX if few else FILTER_INDEX)
    return connection.execute(statement.where(*filters)).scalar_one()


def _scan(statement: Select[Any], index: str) -> Select[Any]:
    """`statement` over all items; SQLite reads them from `index`."""
    return statement.select_from(ITEM).with_hint(ITEM, f"INDEXED BY {index}", "sqlite")


def _live(now: str) -> Select[Any]:
    return select(LEASE.c.item_id).where(LEASE.c.expires_at > now)


def _status_is(statuses: Iterable[str], now: str, *, mine: str = "") -> ColumnElement[bool]:
    """Any of `statuses` as of now; leases of `mine` count as none, for whoever looks for work."""
    wanted = list(statuses)
    plain = ITEM.c.status.in_(wanted)
    live = _live(now).where(LEASE.c.holder != searchable(mine)) if mine else _live(now)
    if ("pending" in wanted) == ("in_review" in wanted):
        return plain
    if "pending" in wanted:
        return and_(plain, or_(ITEM.c.status != "pending", ITEM.c.id.not_in(live)))
    return or_(plain, and_(ITEM.c.status == "pending", ITEM.c.id.in_(live)))


def _holders(connection: Connection, ids: list[int], now: str) -> dict[int, str]:
    query = select(LEASE.c.item_id, LEASE.c.holder).where(LEASE.c.item_id.in_(ids), LEASE.c.expires_at > now)
    return dict(connection.execute(query).tuples().all()) if ids else {}


def _queue_row(row: Row[Any], holder: str) -> QueueRow:
    values = {column.name: getattr(row, column.name) for column in _SHOWN}
    if holder and values["status"] == "pending":
        values["status"] = "in_review"
    return QueueRow(**values, holder=holder)


def _item_values(row: ItemRow) -> dict[str, Any]:
    instruction = storable(row.instruction, f"the instruction of {row.episode_id}")
    episode_id = storable(row.episode_id, "an episode id")
    return {
        "episode_id": episode_id,
        "dataset": storable(row.dataset, f"the data set of {episode_id}"),
        "instruction": instruction,
        "steps": int(row.steps),
        "search_text": f"{instruction} {episode_id}".casefold(),
        "instruction_key": instruction.casefold()[:_KEY_CHARACTERS],
    }

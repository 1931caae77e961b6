"""Connections to the annotation store: SQLite in WAL, or PostgreSQL by URL. Knows no table.

Readers see one consistent state and never wait. Writers of SQLite take the write lock at once, so that a transaction
never has to be given up half way because another one wrote in between.
"""

import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler

from vlm2vla.annotation.store.faults import explained, name_of, parse_url
from vlm2vla.annotation.store.schema import upgrade

logger = logging.getLogger(__name__)

_CACHE_KIB = 32_000  # index pages of a 60,000-item queue stay in memory


class Database:
    """One open database; threads and processes may each have theirs on the same file.

    Args:
        url: sqlite:///FILE or postgresql://...
        wait_s: How long a writer waits for another one before it gives up.

    Raises:
        ConfigError: The URL is none.
        WorkspaceError: The database cannot be used: not reachable, locked, read-only, damaged, or of a newer version.
    """

    def __init__(self, url: str, *, wait_s: float = 15.0):
        self.url = parse_url(url)
        self.wait_s = wait_s
        with explained(self.url):
            self.engine = self._engine()
            with self._foreign_keys_off() as connection:
                upgrade(connection, name_of(self.url))

    @property
    def sqlite(self) -> bool:
        """Whether this is a SQLite file."""
        return self.url.drivername == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that sees one state of the database.

        Raises:
            WorkspaceError: The database cannot be read.
        """
        with explained(self.url), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction: all of the block is kept, or, when it raises, nothing.

        Raises:
            WorkspaceError: The database cannot be written.
        """
        with explained(self.url), self.engine.connect() as connection:
            connection = connection.execution_options(write=True)
            with connection.begin():
                yield connection

    def close(self) -> None:
        """Give all connections back; the last one out folds the write-ahead log into the file."""
        self.engine.dispose()

    def _engine(self):
        pool = {"pool_size": 8, "max_overflow": 56, "pool_timeout": self.wait_s}
        if not self.sqlite:
            options = f"-c lock_timeout={int(self.wait_s * 1000)}"
            return create_engine(self.url, pool_pre_ping=True, connect_args={"options": options}, **pool)
        engine = create_engine(self.url, connect_args={"timeout": self.wait_s}, **pool)
        engine.dialect.statement_compiler = _HintingCompiler
        event.listen(engine, "connect", self._prepare)
        event.listen(engine, "begin", _begin)
        return engine

    def _prepare(self, connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None  # transactions begin where we say, not where the driver guesses
        deadline = time.monotonic() + self.wait_s
        while True:
            try:
                # Two first openers clash here without the busy timeout: switching to WAL does not wait.
                (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
                break
            except sqlite3.OperationalError as error:
                if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        if mode != "wal":
            logger.warning("%s stays in journal mode %s: readers and writers wait for each other", self.url, mode)
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA synchronous=FULL")  # an accepted label survives a power cut
        connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        connection.execute("PRAGMA temp_store=MEMORY")

    @contextmanager
    def _foreign_keys_off(self) -> Iterator[Connection]:
        """A connection for migrations: rebuilding a parent table must not cascade to its children."""
        with self.engine.connect() as connection:
            raw = connection.connection.dbapi_connection if self.sqlite else None
            if raw is not None:
                raw.execute("PRAGMA foreign_keys=OFF")
            try:
                yield connection
            finally:
                if raw is not None:
                    connection.rollback()
                    raw.execute("PRAGMA foreign_keys=ON")


class _HintingCompiler(SQLiteCompiler):
    """Writes `with_hint(table, "INDEXED BY ...", "sqlite")`, which SQLAlchemy leaves out for SQLite."""

    def get_from_hint_text(self, table: Any, text: str | None) -> str | None:
        """The hint as it is."""
        return text


def _begin(connection: Connection) -> None:
    write = connection.get_execution_options().get("write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

"""Database faults in words: which store, what is wrong with it, what to do. Nothing else knows error codes."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError, NoSuchModuleError, SQLAlchemyError

from vlm2vla.errors import ConfigError, WorkspaceError

# SQLite: start of the error's name. PostgreSQL: start of the SQLSTATE code.
_ADVICE = {
    "SQLITE_BUSY": "is locked by another program; close it or try again, nothing was changed",
    "SQLITE_LOCKED": "is locked by another program; close it or try again, nothing was changed",
    "SQLITE_READONLY": "is read-only; give this user the right to write the file and its folder, "
    "or choose another workspace with --workspace",
    "SQLITE_CANTOPEN": "cannot be opened; its folder must exist and be writable, also for the -wal and -shm files",
    "SQLITE_PERM": "cannot be opened; this user has no right to",
    "SQLITE_NOTADB": "is not a database; move the file away to start a new store, or restore it from a backup",
    "SQLITE_CORRUPT": "is damaged; restore it from a backup, or save what is left with: sqlite3 FILE .recover",
    "SQLITE_FULL": "cannot grow: the disk is full; free some space and try again, nothing was changed",
    "SQLITE_IOERR": "cannot be read or written: the disk reports a fault",
    "08": "cannot be reached; check that the PostgreSQL server runs and that the address is right",
    "57P": "was shut down or is starting; try again",
    "28": "refuses the user or the password of the URL",
    "3D000": "does not exist on the server; make it with createdb",
    "42501": "cannot be written: grant the user of the URL the right to make and change tables",
    "25006": "is read-only; connect to the primary server",
    "53": "has no room left (disk, memory or connections); try again",
    "55P03": "is locked by another program; try again, nothing was changed",
    "57014": "did not answer in time; try again, nothing was changed",
    "40": "was busy with a clashing change; try again, nothing was changed",
}


def parse_url(url: str) -> URL:
    """The SQLAlchemy URL, with the driver this library uses.

    Raises:
        ConfigError: Not a URL of a SQLite file or a PostgreSQL database.
    """
    from sqlalchemy import make_url

    try:
        parsed = make_url(url)
    except (SQLAlchemyError, ValueError) as error:
        raise ConfigError("the database URL must look like sqlite:///FILE or postgresql://USER@HOST/NAME") from error
    kind = parsed.drivername.split("+")[0]
    if kind in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if kind != "sqlite":
        raise ConfigError(f"no database {kind!r}; the store knows sqlite and postgresql")
    if parsed.database in (None, "", ":memory:"):
        raise ConfigError("the store needs a file: sqlite:///FILE")
    return parsed.set(drivername="sqlite")


def name_of(url: URL) -> str:
    """How messages call the store; never with the password."""
    return url.database or "" if url.drivername == "sqlite" else url.render_as_string(hide_password=True)


@contextmanager
def explained(url: URL) -> Iterator[None]:
    """Turn every database fault inside the block into a `WorkspaceError` that says what to do.

    Raises:
        WorkspaceError: The fault, in words.
    """
    try:
        yield
    except (sqlite3.Error, SQLAlchemyError, NoSuchModuleError) as error:
        raise WorkspaceError(f"the annotation store {name_of(url)} {_advice(error)}") from error
    except ModuleNotFoundError as error:
        if error.name not in ("psycopg", "psycopg_binary"):
            raise
        raise WorkspaceError(
            f"the annotation store {name_of(url)} needs a driver: pip install 'psycopg[binary]'"
        ) from error


def _advice(error: Exception) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    code = getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None) or ""
    for start, advice in _ADVICE.items():
        if code.startswith(start):
            return f"{advice} ({code})"
    detail = " ".join(str(cause).split())[:300]
    if not code and type(cause).__name__ == "OperationalError" and not isinstance(cause, sqlite3.Error):
        return f"{_ADVICE['08']} ({detail})"
    return f"failed: {detail}"

"""Brings a database to the schema of this code. The migrations are Alembic scripts inside the package."""

import logging

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from vlm2vla.errors import WorkspaceError

logger = logging.getLogger(__name__)

VERSION_TABLE = "annotation_schema"
_LOCATION = "vlm2vla.annotation.store:migrations"
_LOCK_KEY = 0x564C4D32  # any number, the same for everybody who migrates the same PostgreSQL database


def upgrade(connection: Connection, name: str) -> None:
    """Run the migrations that `connection`'s database lacks, all or none, one program at a time.

    Args:
        connection: Not in a transaction.
        name: What to call the database in messages.

    Raises:
        WorkspaceError: The database is of a newer version than this code.
    """
    config = Config()
    config.set_main_option("script_location", _LOCATION)
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)
    newest = scripts.get_current_head()
    if _current(connection, scripts, name) == newest:
        connection.rollback()
        return
    connection.rollback()  # the look above must not keep the state it saw
    with connection.execution_options(write=True).begin():
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
        before = _current(connection, scripts, name)
        if before == newest:
            return
        logger.info("annotation store %s: schema %s -> %s", name, before or "none", newest)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _current(connection: Connection, scripts: ScriptDirectory, name: str) -> str | None:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    version = context.get_current_revision()
    if version is not None and version not in {script.revision for script in scripts.walk_revisions()}:
        raise WorkspaceError(
            f"the annotation store {name} was written by a newer version of VLM2VLA Studio (schema {version}); "
            "update the studio, or choose another workspace with --workspace"
        )
    return version

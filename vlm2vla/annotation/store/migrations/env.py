"""Alembic's entry: runs the scripts on the connection that `vlm2vla.annotation.store.schema` passes in."""

from alembic import context

from vlm2vla.annotation.store.schema import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    render_as_batch=True,  # SQLite cannot alter most things in place
    transactional_ddl=True,  # both databases can take a failed migration back
)
with context.begin_transaction():
    context.run_migrations()

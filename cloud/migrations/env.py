"""Run by alembic for each of its commands, on the connection that `config` was given."""

from alembic import context

from cloud import tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.metadata,
    render_as_batch=True,  # SQLite changes a table by making it anew
)
with context.begin_transaction():
    context.run_migrations()

"""Alembic's environment: runs the revisions on the connection that ``migrate.py`` hands in, version kept in ``ops``."""

from __future__ import annotations

from alembic import context

connection = context.config.attributes["connection"]
context.configure(
    connection=connection, version_table_schema="ops", version_table="migration_version", transaction_per_migration=True
)
with context.begin_transaction():
    context.run_migrations()

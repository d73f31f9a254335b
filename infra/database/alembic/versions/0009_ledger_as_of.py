"""Applies ``migrations/0009_ledger_as_of.sql``: the ledger as of T, known as of K."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0009_ledger_as_of.sql")

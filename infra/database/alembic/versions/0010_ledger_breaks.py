"""Applies ``migrations/0010_ledger_breaks.sql``: reconciliations and breaks with their history."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0010_ledger_breaks.sql")

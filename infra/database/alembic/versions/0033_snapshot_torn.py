"""Applies ``migrations/0033_snapshot_torn.sql``: a day that was left in parts says so."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0033"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0033_snapshot_torn.sql")

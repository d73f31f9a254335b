"""Applies ``migrations/0003_ledger.sql``: books, positions, lots, actions, closings."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0003_ledger.sql")

"""Applies ``migrations/0004_signal.sql``: receipts, ticker state, plans."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0004_signal.sql")

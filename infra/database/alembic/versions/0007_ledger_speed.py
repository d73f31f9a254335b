"""Applies ``migrations/0007_ledger_speed.sql``: bookings read less and parse less."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0007_ledger_speed.sql")

"""Applies ``migrations/0034_tracker_worth.sql``: what days were worth is kept, sums of months."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0034_tracker_worth.sql")

"""Applies ``migrations/0045_units_of_a_past_day.sql``: a past day counts in today's units what was closed before a split."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0045_units_of_a_past_day.sql")

"""Applies ``migrations/0036_tracker_changes.sql``: every change of what a room shows is noted."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0036"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0036_tracker_changes.sql")

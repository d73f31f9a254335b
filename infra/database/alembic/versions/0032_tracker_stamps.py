"""Applies ``migrations/0032_tracker_stamps.sql``: whether anything changed, told by each room in one text."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0032_tracker_stamps.sql")

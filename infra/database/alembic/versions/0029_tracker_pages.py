"""Applies ``migrations/0029_tracker_pages.sql``: pages of positions begin where the one before ended."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0029_tracker_pages.sql")

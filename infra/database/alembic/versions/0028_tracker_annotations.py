"""Applies ``migrations/0028_tracker_annotations.sql``: a user's words about trades."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0028_tracker_annotations.sql")

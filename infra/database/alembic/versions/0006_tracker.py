"""Applies ``migrations/0006_tracker.sql``: notes and tags of users."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0006_tracker.sql")

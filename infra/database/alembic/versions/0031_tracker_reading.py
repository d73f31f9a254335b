"""Applies ``migrations/0031_tracker_reading.sql``: what a board of lanes still lacked."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0031_tracker_reading.sql")

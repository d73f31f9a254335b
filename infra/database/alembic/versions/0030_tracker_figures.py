"""Applies ``migrations/0030_tracker_figures.sql``: what the figures of the read API need of other rooms."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0030_tracker_figures.sql")

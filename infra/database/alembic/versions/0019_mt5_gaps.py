"""Applies ``migrations/0019_mt5_gaps.sql``: what room mt5 lacked for gaps, the job, closed days and readers."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0019_mt5_gaps.sql")

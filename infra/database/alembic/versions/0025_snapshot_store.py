"""Applies ``migrations/0025_snapshot_store.sql``: published days, their versions, and what a replaced final day changed."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0025_snapshot_store.sql")

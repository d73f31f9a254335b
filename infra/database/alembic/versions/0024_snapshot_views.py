"""Applies ``migrations/0024_snapshot_views.sql``: the figures of a trading day, computed from the ledger's views."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0024_snapshot_views.sql")

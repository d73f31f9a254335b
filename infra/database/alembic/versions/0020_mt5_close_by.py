"""Applies ``migrations/0020_mt5_close_by.sql``: a close-by is compared as a pair."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0020_mt5_close_by.sql")

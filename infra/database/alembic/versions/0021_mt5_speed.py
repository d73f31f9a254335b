"""Applies ``migrations/0021_mt5_speed.sql``: an account is read by look-ups that need no statistics."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0021_mt5_speed.sql")

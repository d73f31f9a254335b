"""Applies ``migrations/0029_mt5_unchanged.sql``: an account that does nothing costs next to nothing."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0029"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0029_mt5_unchanged.sql")

"""Applies ``migrations/0027_mt5_unchanged.sql``: an account that does nothing costs next to nothing."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0027_mt5_unchanged.sql")

"""Applies ``migrations/0043_put_aside_at_once.sql``: one body that comes several times at once is counted."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0043_put_aside_at_once.sql")

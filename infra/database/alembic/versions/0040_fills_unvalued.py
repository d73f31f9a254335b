"""Applies ``migrations/0040_fills_unvalued.sql``: fills without their money are found."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0040_fills_unvalued.sql")

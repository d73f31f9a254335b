"""Applies ``migrations/0044_units_of_a_lot.sql``: a lot that was closed before a split counts in its own units."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0044_units_of_a_lot.sql")

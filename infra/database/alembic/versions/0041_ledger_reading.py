"""Applies ``migrations/0041_ledger_reading.sql``: an account is read with fewer steps."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0041_ledger_reading.sql")

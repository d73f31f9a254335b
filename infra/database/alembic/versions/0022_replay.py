"""Applies ``migrations/0022_replay.sql``: runs of stored days, and what signal and ledger give to them."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0022_replay.sql")

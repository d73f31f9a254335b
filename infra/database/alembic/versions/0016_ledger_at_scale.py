"""Applies ``migrations/0016_ledger_at_scale.sql``: pages of the past at a hundred thousand positions."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0016_ledger_at_scale.sql")

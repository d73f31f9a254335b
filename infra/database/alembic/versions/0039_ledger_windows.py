"""Applies ``migrations/0039_ledger_windows.sql``: what is folded again ends where nothing is open."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0039_ledger_windows.sql")

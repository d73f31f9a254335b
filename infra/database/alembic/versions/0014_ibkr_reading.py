"""Applies ``migrations/0014_ibkr_reading.sql``: pages of broker trades, runs per account, where a book begins."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0014_ibkr_reading.sql")

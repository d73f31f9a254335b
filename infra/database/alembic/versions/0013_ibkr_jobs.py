"""Applies ``migrations/0013_ibkr_jobs.sql``: jobs under a lease, positions, order sizes, decisions about refused rows."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0013_ibkr_jobs.sql")

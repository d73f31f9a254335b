"""Applies ``migrations/0008_fewer_steps.sql``: leases and turns of fewer steps."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0008_fewer_steps.sql")

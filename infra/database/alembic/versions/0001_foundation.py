"""Applies ``migrations/0001_foundation.sql``: schemas, group roles, schedule slots."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0001_foundation.sql")

"""Applies ``migrations/0005_notify.sql``: Discord messages and deliveries."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0005_notify.sql")

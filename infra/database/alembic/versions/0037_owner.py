"""Applies ``migrations/0037_owner.sql``: whoever owns a walled table sees its rows, without being a superuser."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0037_owner.sql")

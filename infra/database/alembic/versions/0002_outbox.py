"""Applies ``migrations/0002_outbox.sql``: events, inbox, quarantine."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0002_outbox.sql")

"""Applies ``migrations/0011_notify_proof.sql``: what the search for open creates and the delivery log need."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0011_notify_proof.sql")

"""Applies ``migrations/0023_replay_comparisons.sql``: what comparisons and gap reports read, and their order."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0023_replay_comparisons.sql")

"""Applies ``migrations/0038_cost_days.sql``: what a day used and what it costs."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0038_cost_days.sql")

"""Applies ``migrations/0042_ended_runs.sql``: a run that was called off ends nothing."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0042_ended_runs.sql")

"""Applies ``migrations/0026_snapshot_publications.sql``: the ledger of publications, leases of days, bytes on their way."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0026_snapshot_publications.sql")

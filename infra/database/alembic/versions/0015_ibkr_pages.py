"""Applies ``migrations/0015_ibkr_pages.sql``: pages of one status, the run behind each covered day."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0015_ibkr_pages.sql")

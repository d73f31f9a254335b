"""Applies ``migrations/0018_mt5_pages.sql``: pages of trades of one account, and of all accounts of a tenant."""

from __future__ import annotations

from infra.database.migrate import apply_file

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0018_mt5_pages.sql")

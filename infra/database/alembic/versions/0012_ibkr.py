"""Applies ``migrations/0012_ibkr.sql``: broker executions, trades, runs, quarantine."""

from __future__ import annotations

from alembic import op

from infra.database.migrate import apply_file, run_script

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

DOWN = """
do $$
begin
    if exists (select from ibkr.trade_executions) then
        raise exception 'ibkr.trade_executions has rows: the broker does not serve them all again';
    end if;
end
$$;
revoke ibkr_reader from tracker_reader;
drop schema ibkr cascade
"""


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0012_ibkr.sql")


def downgrade() -> None:
    """Take the room away; refused while it holds executions, because they cannot all be fetched again."""
    run_script(op.get_bind(), DOWN)

"""Applies ``migrations/0017_mt5.sql``: accounts, deals, trades, runs and isolation of room mt5."""

from __future__ import annotations

from alembic import op

from infra.database.migrate import apply_file, run_script

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

DOWN = """
do $$
begin
    if exists (select from mt5.deals) then
        raise exception 'mt5.deals has rows: a broker does not serve them all again';
    end if;
end
$$;
revoke mt5_reader from tracker_reader;
revoke select on ledger.v_actions from mt5_reader;
revoke usage on schema ledger from mt5_reader;
drop schema mt5 cascade
"""


def upgrade() -> None:
    """Run the SQL file in the migration's transaction."""
    apply_file("0017_mt5.sql")


def downgrade() -> None:
    """Take the room away; refused while it holds deals, because they cannot all be read again."""
    run_script(op.get_bind(), DOWN)

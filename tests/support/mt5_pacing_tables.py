"""The three tables that pacing shares between processes, as section 8 of the specification gives them.

Made only where the migrations do not have them yet; once migration 0017 is there this module has nothing to do and goes.
"""

from __future__ import annotations

from fillbook.runtime.db import Database
from fillbook.runtime.sql import statement

TABLES = (
    "create schema mt5",
    "create type mt5.breaker_state as enum ('closed', 'open', 'half_open')",
    """
    create table mt5.service_breakers (
        key text not null, state mt5.breaker_state not null, consecutive int not null default 0, recent text not null default '',
        opened_at timestamptz, probe_at timestamptz, cooldown_seconds int not null default 60,
        probe_token bigint not null default 0, success_started_at timestamptz, last_error_code text,
        constraint service_breakers_pk primary key (key)
    )
    """,
    """
    create table mt5.rate_tokens (
        instance_key text not null, slot_second bigint not null, spent int not null,
        constraint rate_tokens_pk primary key (instance_key, slot_second)
    )
    """,
    """
    create table mt5.session_slots (
        instance_key text not null, slot_no int not null, holder uuid, lease_until timestamptz,
        constraint session_slots_pk primary key (instance_key, slot_no)
    )
    """,
)


def make_tables(db: Database) -> None:
    """Make what is missing."""
    with db.transaction() as tx:
        (row,) = tx.query(statement("select to_regclass('mt5.rate_tokens')::text as found"))
        if row["found"] is None:
            for text in TABLES:
                tx.execute(statement(text))

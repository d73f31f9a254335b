"""A database in which a replay that touches anything but its own book fails at once, whatever the grants say.

Every table outside schema ``replay`` has triggers that refuse a row written, changed or deleted by the role ``replay_worker``
unless it is a row of a replay book. Without such a write what is live, told or waiting to be told is byte-identical afterwards
(replay.md 14, 5), so a test in this database need not look. The check itself is tried in ``integration/replay``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

from infra.local.postgres import PostgresServer
from tests.support.servers import TEMPLATE

NAME: Final = "fillbook_guarded"
REFUSED: Final = "a replay touched"
_REFUSE: Final = f"""
create schema guard;
create function guard.refuse() returns trigger language plpgsql as $$ begin
    if current_setting('role') = 'replay_worker' then
        raise exception '{REFUSED} %.%', tg_table_schema, tg_table_name;
    end if;
    return null;
end $$;
do $$ declare named record; begin
    for named in
        select format('%I.%I', n.nspname, c.relname) as name,
               exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'book_id') as has_book
          from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where c.relkind in ('r', 'p') and not c.relispartition
           and n.nspname !~ '^(pg_|information_schema$|replay$|public$|guard$)'
    loop
        execute format('create trigger guard_written after insert or update on %s for each row %s '
            'execute function guard.refuse()', named.name,
            case when named.has_book then 'when (coalesce(new.book_id, '''') not like ''replay:%'')' else '' end);
        execute format('create trigger guard_changed after update or delete on %s for each row %s '
            'execute function guard.refuse()', named.name,
            case when named.has_book then 'when (coalesce(old.book_id, '''') not like ''replay:%'')' else '' end);
    end loop;
end $$;
"""


@cache
def guarded_template(server: PostgresServer, superuser: Callable[[str], None]) -> str:
    """The name of a guarded copy of what tests are copied from, made with the first test of this process that asks."""
    superuser(f"create database {NAME} template {TEMPLATE} strategy = file_copy")
    server.run("psql", "-qd", NAME, "-c", _REFUSE)
    return NAME

"""Who owns the database: one group role that cannot log in, made by an administrator before the first migration.

Every object of ours belongs to it, here and in the cloud, so that functions with their owner's rights, views, and walls that
hold for owners too (forced row-level security) behave in tests as they do where nobody is a superuser. Only the migration
takes it on. It may make roles, because migrations make group roles; it may grant those alone that it made or was given.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

ROOM_SCHEMAS = (
    "ops",
    "outbox",
    "ledger",
    "signal",
    "ibkr",
    "mt5",
    "metrics",
    "utils_statistics",
    "replay",
    "notify",
    "tracker",
)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")

_OWNER = """
-- The owner of everything, and the groups that functions join. Run by an administrator; again whenever one likes.
do $$
declare
    administrator text := session_user;
    is_superuser boolean := (select rolsuper from pg_catalog.pg_roles where rolname = session_user);
    wanted text;
    tries integer := 0;
begin
    loop
        tries := tries + 1;
        begin
            if not exists (select from pg_catalog.pg_roles where rolname = '{owner}') then
                create role {owner} nologin createrole;
            end if;
            if not is_superuser and not pg_has_role(administrator, '{owner}', 'set') then
                execute format('grant {owner} to %I with set true', administrator);
            end if;
            foreach wanted in array array[{groups}]::text[] loop
                if not exists (select from pg_catalog.pg_roles where rolname = wanted) then
                    execute format('create role %I nologin', wanted);
                end if;
                if not exists (select from pg_catalog.pg_auth_members m
                               join pg_catalog.pg_roles g on g.oid = m.roleid join pg_catalog.pg_roles r on r.oid = m.member
                               where g.rolname = wanted and r.rolname = '{owner}' and m.admin_option) then
                    execute format('grant %I to {owner} with admin true, inherit false, set false', wanted);
                end if;
            end loop;
            if (select pg_get_userbyid(datdba) from pg_catalog.pg_database where datname = current_database()) <> '{owner}' then
                execute format('alter database %I owner to {owner}', current_database());
            end if;
            if has_database_privilege('public', current_database(), 'temporary') then
                execute format('revoke temporary on database %I from public', current_database());
            end if;
            exit;
        exception when duplicate_object or unique_violation or internal_error then
            if tries >= 50 then
                raise;
            end if;
            perform pg_sleep(0.02 * random());
        end;
    end loop;
end
$$;
"""

_ADOPTED = """
-- What an administrator made before there was an owner is handed over to it, with all its grants.
do $$
declare
    named record;
begin
    for named in
        select format('schema %I', nspname) as thing from pg_catalog.pg_namespace
        where nspname = any (array[{schemas}]) and pg_get_userbyid(nspowner) = session_user
        union all
        select format('%s %s', case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence'
                               else 'table' end, c.oid::regclass)
        from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where n.nspname = any (array[{schemas}]) and pg_get_userbyid(c.relowner) = session_user
          and (c.relkind in ('r', 'p', 'v', 'm')  -- a sequence of a column goes with its table
               or (c.relkind = 'S' and not exists (
                   select from pg_catalog.pg_depend d where d.objid = c.oid and d.deptype in ('a', 'i'))))
        union all
        select format('%s %s', case p.prokind when 'p' then 'procedure' else 'function' end, p.oid::regprocedure)
        from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
        where n.nspname = any (array[{schemas}]) and pg_get_userbyid(p.proowner) = session_user
        union all
        select format('type %s', t.oid::regtype)
        from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = t.typnamespace
        where n.nspname = any (array[{schemas}]) and pg_get_userbyid(t.typowner) = session_user and t.typtype in ('e', 'd')
    loop
        execute format('alter %s owner to {owner}', named.thing);
    end loop;
end
$$;
"""


def owner_text(owner: str, groups: Sequence[str], *, adopt: bool = False) -> str:
    """The SQL an administrator runs in the database: the owner, the group roles, the database's ownership.

    ``adopt``: also what the administrator itself owns in the rooms' schemas goes over to the owner. Safe to run again.
    """
    for name in (owner, *groups):
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"{name!r} is no role name")
    text = _OWNER.format(owner=owner, groups=_listed(groups))
    return text + _ADOPTED.format(owner=owner, schemas=_listed(ROOM_SCHEMAS)) if adopt else text


def migrator_text(owner: str, login: str) -> str:
    """The SQL with which the administrator lets the migration's login take the owner on."""
    return f'grant {owner} to "{login}" with inherit true, set true;\n'


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)

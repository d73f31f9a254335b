"""Login roles: one per function, named like it, joined to the group roles that the manifest names.

Roles are cluster-wide while migrators lock one database, so each statement tolerates that someone else was first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from infra.manifest import load

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


def function_roles() -> Mapping[str, tuple[str, ...]]:
    """Return function name -> group roles for every function of the manifest that has any."""
    return {name: function.database_roles for name, function in load().functions.items() if function.database_roles}


def login_role_statement(name: str, groups: tuple[str, ...]) -> str:
    """Return a statement that makes the login role ``name`` a member of exactly ``groups``; safe to run again and at once."""
    for word in (name, *groups):
        if _NAME.fullmatch(word) is None:
            raise ValueError(f"{word!r} is no role name")
    wanted = ", ".join(f"'{group}'" for group in groups)
    return f"""
do $$
declare
    wanted text[] := array[{wanted}]::text[];
    membership text;
    tries integer := 0;
begin
    loop
        tries := tries + 1;
        begin
            if not exists (select from pg_catalog.pg_roles where rolname = '{name}') then
                create role {name} login;
            end if;
            for membership in
                select g.rolname from pg_catalog.pg_auth_members m
                join pg_catalog.pg_roles g on g.oid = m.roleid join pg_catalog.pg_roles r on r.oid = m.member
                where r.rolname = '{name}' and g.rolname <> all (wanted)
            loop
                execute format('revoke %I from {name}', membership);
            end loop;
            for membership in
                select unnest(wanted) except
                select g.rolname from pg_catalog.pg_auth_members m
                join pg_catalog.pg_roles g on g.oid = m.roleid join pg_catalog.pg_roles r on r.oid = m.member
                where r.rolname = '{name}'
            loop
                execute format('grant %I to {name}', membership);
            end loop;
            exit;
        exception when duplicate_object or unique_violation or internal_error then
            if tries >= 20 then
                raise;
            end if;
            perform pg_sleep(0.01 * random());
        end;
    end loop;
end
$$"""

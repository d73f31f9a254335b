"""Who logs in to the database and which group roles each joins: one answer from the manifest, for here and for the cloud.

Here a login is a role named like its function. In the cloud it is the IAM user of the same function's service account, which
the platform makes and SQL cannot; both join the same groups, so what holds for the one holds for the other (tested side by
side). A login owns nothing, and everything it may do it may do as a member. A function's job is the function. Roles belong to
the cluster while migrators lock one database, so each statement tolerates that someone else was first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from infra.cloud import names
from infra.manifest import Manifest, load

MIGRATE = "migrate"
"""The login of the migration's job: the owner's group role and nothing else."""
NAME_BYTES_MAX = 63
_LOCAL = re.compile(r"[a-z][a-z0-9_]{0,62}")
_IAM = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]@[a-z][a-z0-9-]{4,28}[a-z0-9]\.iam")


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """One login. ``holder``: its function, job or person in the manifest; ``is_iam``: the platform makes it, not we."""

    holder: str
    name: str
    groups: tuple[str, ...]
    is_iam: bool = False


def logins(manifest: Manifest, project: str | None = None) -> tuple[Login, ...]:
    """Every login with its groups: local ones, or with ``project`` the IAM users of that project's service accounts.

    Functions without database roles have none. Raises ``ValueError`` for a name that Postgres or Cloud SQL would not take.
    """
    database = manifest.database
    found = [(one.name, one.service_account, one.database_roles) for one in manifest.functions.values() if one.database_roles]
    if database.migrate is not None:
        found.append((MIGRATE, names.MIGRATE_ACCOUNT, (database.owner,)))
    found += [(one.name, one.account, one.database_roles) for one in database.people.values()]
    return tuple(_login(holder, account, groups, project) for holder, account, groups in found)


def _login(holder: str, account: str, groups: tuple[str, ...], project: str | None) -> Login:
    name = holder if project is None else names.database_user(account, project)
    if len(name.encode()) > NAME_BYTES_MAX or (_LOCAL if project is None else _IAM).fullmatch(name) is None:
        raise ValueError(f"{name!r} is no name of a login")
    return Login(holder=holder, name=name, groups=groups, is_iam=project is not None)


def function_roles() -> Mapping[str, tuple[str, ...]]:
    """Return login name -> group roles for every local login of the manifest."""
    return {login.name: login.groups for login in logins(load())}


def roles_text(found: Iterable[Login]) -> str:
    """The SQL that gives every login exactly its groups; ends with an error that names the IAM users that are not there."""
    return "".join(f"{one};\n" for one in role_statements(found))


def role_statements(found: Iterable[Login]) -> list[str]:
    """The statements of ``roles_text``, one by one."""
    listed = list(found)
    parts = [f"\n-- {one.holder}: {', '.join(one.groups)}{login_statement(one)}" for one in listed]
    missing = [one.name for one in listed if one.is_iam]
    return [*parts, *([missing_statement(missing)] if missing else [])]


def login_role_statement(name: str, groups: tuple[str, ...]) -> str:
    """As ``login_statement`` for a local login of that name."""
    return login_statement(Login(holder=name, name=name, groups=groups))


def login_statement(login: Login) -> str:
    """Return a statement that makes a login a member of exactly its groups; safe to run again and at once.

    A local login is made where it is missing; an IAM user that is not there is left to ``missing_statement``.
    """
    pattern = _IAM if login.is_iam else _LOCAL
    for word, allowed in ((login.name, pattern), *((group, _LOCAL) for group in login.groups)):
        if allowed.fullmatch(word) is None:
            raise ValueError(f"{word!r} is no role name")
    wanted = ", ".join(f"'{group}'" for group in login.groups)
    absent = "exit" if login.is_iam else f'create role "{login.name}" login'
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
            if not exists (select from pg_catalog.pg_roles where rolname = '{login.name}') then
                {absent};
            end if;
            for membership in
                select g.rolname from pg_catalog.pg_auth_members m
                join pg_catalog.pg_roles g on g.oid = m.roleid join pg_catalog.pg_roles r on r.oid = m.member
                where r.rolname = '{login.name}' and g.rolname <> all (wanted) and g.rolname !~ '^cloudsql'
            loop
                execute format('revoke %I from "{login.name}"', membership);
            end loop;
            for membership in
                select unnest(wanted) except
                select g.rolname from pg_catalog.pg_auth_members m
                join pg_catalog.pg_roles g on g.oid = m.roleid join pg_catalog.pg_roles r on r.oid = m.member
                where r.rolname = '{login.name}'
            loop
                execute format('grant %I to "{login.name}"', membership);
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


def missing_statement(wanted: Iterable[str]) -> str:
    """A statement that raises ``undefined_object`` naming the logins of ``wanted`` that the platform has not made yet."""
    listed = ", ".join(f"'{name}'" for name in wanted)
    return f"""
do $$
declare
    missing text;
begin
    select string_agg(name, ', ' order by name) into missing
    from unnest(array[{listed}]::text[]) name
    where not exists (select from pg_catalog.pg_roles where rolname = name);
    if missing is not null then
        raise undefined_object using message = 'no such IAM user of the database: ' || missing,
            hint = 'the cloud program makes them; the groups of all others have been granted';
    end if;
end
$$"""

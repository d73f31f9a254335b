"""Database roles are what the manifest says: no group is missing, no function has a right that nobody wrote down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from infra.manifest import load

MANIFEST = load()
Query = Callable[..., list[dict[str, Any]]]
MEMBERS = """
    select m.rolname as member, g.rolname as granted from pg_auth_members a
    join pg_roles g on g.oid = a.roleid join pg_roles m on m.oid = a.member
"""


def test_every_group_role_exists_and_cannot_log_in(query: Query) -> None:
    found = {row["rolname"]: row["rolcanlogin"] for row in query("select rolname, rolcanlogin from pg_roles")}
    assert [name for name in MANIFEST.roles if found.get(name) is not False] == []


def test_a_function_with_database_roles_logs_in_as_a_member_of_exactly_those(query: Query) -> None:
    rows = query(MEMBERS)
    for entry in MANIFEST.functions.values():
        granted = {row["granted"] for row in rows if row["member"] == entry.name}
        assert granted == set(entry.database_roles), entry.name


def test_a_function_without_database_roles_has_no_login(query: Query) -> None:
    names = {row["rolname"] for row in query("select rolname from pg_roles where rolcanlogin")}
    assert {entry.name for entry in MANIFEST.functions.values() if entry.database_roles} <= names
    assert not {entry.name for entry in MANIFEST.functions.values() if not entry.database_roles} & names


def test_no_function_owns_creates_or_bypasses_anything(query: Query) -> None:
    rows = query("select rolname, rolsuper, rolcreatedb, rolcreaterole, rolbypassrls, rolreplication from pg_roles")
    ours = {*MANIFEST.roles, *MANIFEST.functions}
    assert [row["rolname"] for row in rows if row["rolname"] in ours and any(v for k, v in row.items() if k != "rolname")] == []
    owned = query("select relname, pg_get_userbyid(relowner) as owner from pg_class where relkind in ('r', 'p', 'v', 'm')")
    assert [row["relname"] for row in owned if row["owner"] in ours] == []


def test_every_table_with_a_book_is_walled_by_book(query: Query) -> None:
    """Architecture, section 4: row-level security by book on writes to every table with a ``book_id``."""
    rows = query(
        """
        select n.nspname || '.' || c.relname as name, c.relrowsecurity as has_wall
        from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
        where a.attname = 'book_id' and c.relkind in ('r', 'p') and n.nspname = any(:schemas) and not c.relispartition
        """,
        schemas=["signal", "ledger", "outbox", "notify"],
    )
    assert rows
    assert [row["name"] for row in rows if row["name"].startswith(("signal.", "ledger.")) and not row["has_wall"]] == []


@pytest.mark.parametrize("role", [name for name in MANIFEST.roles if name.endswith("_reader") and name != "tracker_reader"])
def test_a_reader_writes_nothing(query: Query, role: str) -> None:
    rows = query(
        """
        select table_schema || '.' || table_name as name, privilege_type from information_schema.table_privileges
        where grantee = :role and privilege_type <> 'SELECT'
        """,
        role=role,
    )
    assert rows == []

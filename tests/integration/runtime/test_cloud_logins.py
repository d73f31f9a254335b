"""The database as the cloud has it: nobody is a superuser, the platform makes the logins, a job brings it to the newest schema.

On that one server both kinds of logins stand side by side, and are compared function by function. What is shown here of names
and rights holds for a Postgres 16 that hands out a superuser to nobody; no project of the cloud has been asked.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from fillbook.runtime.db import Database
from fillbook.runtime.errors import Unavailable
from fillbook.runtime.sql import statement
from infra.database import migrate as migrations
from infra.database.roles import MIGRATE, Login, login_statement, logins, roles_text
from infra.local.postgres import PostgresError, PostgresServer
from infra.manifest import load
from tests.integration.runtime.conftest import run_script
from tests.support.catalog import catalog
from tests.support.servers import WHOLE_TEMPLATE, database_config

ROOT = Path(__file__).resolve().parents[3]
MANIFEST = load()
PROJECT = "desk-of-the-tests"
DATABASE = "fillbook"
ADMINISTRATOR = "administrator"
HERE = {login.holder: login for login in logins(MANIFEST)}
THERE = {login.holder: login for login in logins(MANIFEST, PROJECT)}
HOLDERS = list(HERE)

# everything that can be asked about a role: what it is, what it joins, what it may do with each object, whose walls it passes
FACTS = """
with me as (select oid, rolname from pg_roles where rolname = :login),
spaces as (select * from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'),
relations as (select c.* from pg_class c join spaces s on s.oid = c.relnamespace where c.relkind in ('r', 'p', 'v', 'm', 'S'))
select fact from (
    select format('is %s', to_jsonb(r) - array['oid', 'rolname']) as fact from pg_roles r join me using (oid)
    union all
    select format('joins %s admin=%s inherit=%s set=%s', g.rolname, m.admin_option, m.inherit_option, m.set_option)
      from pg_auth_members m join me on me.oid = m.member join pg_roles g on g.oid = m.roleid
    union all
    select format('acts as %s %s', g.rolname, pg_has_role(me.oid, g.oid, 'usage')) from me, pg_roles g
     where pg_has_role(me.oid, g.oid, 'set') and g.oid <> me.oid
    union all
    select format('%s %s', right_, c.oid::regclass)
      from me, relations c, unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger']) right_
     where c.relkind <> 'S' and has_table_privilege(me.oid, c.oid, right_)
    union all
    select format('%s %s.%s', right_, c.oid::regclass, a.attname)
      from me, relations c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped,
           unnest(array['select', 'insert', 'update', 'references']) right_
     where c.relkind <> 'S' and a.attacl is not null and has_column_privilege(me.oid, c.oid, a.attnum, right_)
    union all
    select format('%s %s', right_, c.oid::regclass) from me, relations c, unnest(array['usage', 'select', 'update']) right_
     where c.relkind = 'S' and has_sequence_privilege(me.oid, c.oid, right_)
    union all
    select format('calls %s', p.oid::regprocedure) from me, pg_proc p join spaces s on s.oid = p.pronamespace
     where has_function_privilege(me.oid, p.oid, 'execute')
    union all
    select format('%s schema %s', right_, s.nspname) from me, spaces s, unnest(array['usage', 'create']) right_
     where has_schema_privilege(me.oid, s.oid, right_)
    union all
    select format('uses type %s', t.oid::regtype) from me, pg_type t join spaces s on s.oid = t.typnamespace
     where t.typtype in ('e', 'd') and has_type_privilege(me.oid, t.oid, 'usage')
    union all
    select format('%s database', right_) from me, unnest(array['connect', 'create', 'temporary']) right_
     where has_database_privilege(me.oid, current_database(), right_)
    union all
    select format('wall %s.%s %s: %s / %s', p.schemaname, p.tablename, p.policyname, p.qual, p.with_check) from me, pg_policies p
     where exists (select from unnest(p.roles) r where r = 'public' or pg_has_role(me.oid, r, 'usage'))
    union all
    select format('owns %s', pg_describe_object(d.classid, d.objid, 0)) from me join pg_shdepend d on d.refobjid = me.oid
     where d.refclassid = 'pg_authid'::regclass and d.deptype in ('o', 'a')
    union all
    select format('granted %s on %s.%s', g.privilege_type, g.table_schema, g.table_name)
      from me join information_schema.table_privileges g on g.grantee = me.rolname
) facts order by 1
"""


@pytest.fixture
def template() -> str:
    """All months, not only those that tests write to."""
    return WHOLE_TEMPLATE


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A server whose administrator is none of its superusers, with the logins that the platform makes, and the owner."""
    with PostgresServer(tmp_path_factory.mktemp("cloud") / "pgdata", fsync=False) as server:
        made = "".join(f'create role "{login.name}" login;' for login in THERE.values())
        server.run("psql", "-qc", f"create role {ADMINISTRATOR} login createrole createdb; {made}")
        server.run("psql", "-qc", f"create database {DATABASE} owner {ADMINISTRATOR}")
        server.run("psql", "-qv", "ON_ERROR_STOP=1", "-U", ADMINISTRATOR, "-d", DATABASE, text=migrations.shown("owner", PROJECT))
        yield server


@pytest.fixture(scope="module")
def outputs(cloud: PostgresServer) -> list[str]:
    """What two executions of the migration's job said that were started at once, as the manifest says they are started."""
    assert MANIFEST.database.migrate is not None
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{ROOT}:{ROOT / 'shared'}",
        "FILLBOOK_ENV": "cloud",
        "FILLBOOK_PROJECT": PROJECT,
        "FILLBOOK_DATABASE_URL": url_of(cloud, THERE[MIGRATE].name),
    }
    command = [sys.executable, "-W", "error", "-m", MANIFEST.database.migrate.module]
    started = [
        subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    return [f"{one.communicate(timeout=120)[0].strip()} ({one.returncode})" for one in started]


@pytest.fixture(scope="module")
def migrated(cloud: PostgresServer, outputs: list[str]) -> Iterator[Database]:
    """The database as those jobs left it, with the local logins beside the others; opened as one who sees everything."""
    run_script(url_of(cloud, ADMINISTRATOR), roles_text(HERE.values()))
    database = opened(cloud, "postgres")
    yield database
    database.close()


def url_of(server: PostgresServer, login: str) -> str:
    return server.url(quote(login, safe=""), DATABASE)


def opened(server: PostgresServer, login: str) -> Database:
    return Database.open(database_config(url_of(server, login)), application_name="tests")


def rows(db: Database, text: str, **given: Any) -> list[dict[str, Any]]:
    with db.transaction() as tx:
        return tx.query(statement(text), **given)


def facts(db: Database, login: Login) -> list[str]:
    return [row["fact"] for row in rows(db, FACTS, login=login.name)]


def test_the_job_started_twice_at_once_brings_the_database_to_head_without_a_superuser(outputs: list[str]) -> None:
    assert outputs == ["the database is at head (0)"] * 2


def test_what_the_job_made_is_what_an_administrator_of_this_machine_makes(migrated: Database, db: Database) -> None:
    assert catalog(migrated) == catalog(db)


def test_every_holder_has_one_login_of_each_kind_and_the_two_are_named_after_it() -> None:
    users = {entry.name: entry.service_account for entry in MANIFEST.functions.values() if entry.database_roles}
    people = {one.name: one.account for one in MANIFEST.database.people.values()}
    assert {holder: login.name for holder, login in HERE.items()} == {holder: holder for holder in (*users, MIGRATE, *people)}
    expected = {**users, MIGRATE: "fb-migrate", **people}
    assert {holder: login.name for holder, login in THERE.items()} == {
        holder: f"{account}@{PROJECT}.iam" for holder, account in expected.items()
    }
    assert {holder: login.groups for holder, login in HERE.items()} == {h: login.groups for h, login in THERE.items()}


@pytest.mark.parametrize("holder", HOLDERS)
def test_the_login_of_the_cloud_may_do_exactly_what_the_local_one_may(migrated: Database, holder: str) -> None:
    here, there = facts(migrated, HERE[holder]), facts(migrated, THERE[holder])
    assert there == here
    assert len([fact for fact in here if fact.startswith("wall ")]) > 10
    assert [fact for fact in here if fact.startswith(("owns ", "granted "))] == []


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_login_has_nothing_beyond_the_groups_that_the_manifest_names(migrated: Database, holder: str) -> None:
    own = {"is", "joins", "acts", "owns", "granted"}  # of a login itself: the first test compares them

    def rights(found: list[str]) -> set[str]:
        return {fact for fact in found if fact.split()[0] not in own}

    groups = [Login(holder=name, name=name, groups=()) for name in HERE[holder].groups]
    assert rights(facts(migrated, THERE[holder])) == set().union(*(rights(facts(migrated, group)) for group in groups))
    joined = [fact for fact in facts(migrated, THERE[holder]) if fact.startswith("joins ")]
    assert joined == sorted(f"joins {name} admin=f inherit=t set=t" for name in HERE[holder].groups)
    (being,) = (fact for fact in facts(migrated, THERE[holder]) if fact.startswith("is "))
    assert not any(f'"{name}": true' in being for name in ("rolsuper", "rolcreaterole", "rolcreatedb", "rolbypassrls"))


def test_only_the_migration_may_change_the_schema(cloud: PostgresServer, migrated: Database) -> None:
    creators = {
        holder
        for holder, login in THERE.items()
        if any(fact.startswith("create ") or fact == "temporary database" for fact in facts(migrated, login))
    }
    assert creators == {MIGRATE}
    worker = opened(cloud, THERE["signal_worker"].name)
    try:
        for text in (
            "create table signal.mine (a int)",
            "alter table ledger.books add column mine int",
            "drop view signal.v_board",
        ):
            with pytest.raises(Exception, match=r"42501|permission|owner"):
                rows(worker, text)
        with pytest.raises(Exception, match="permission denied to set role"):
            rows(worker, f"set role {MANIFEST.database.owner}")
    finally:
        worker.close()
    run_script(url_of(cloud, THERE[MIGRATE].name), "set role fillbook_owner; create table ops.mine (a int); drop table ops.mine")


def test_the_owner_sees_every_row_behind_every_wall(migrated: Database) -> None:
    """Its views, its functions and a dump taken as it would otherwise leave rows out, silently."""
    blind = rows(
        migrated,
        """
        select c.oid::regclass::text as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.relforcerowsecurity and not exists (
            select from pg_policies p where p.schemaname = n.nspname and p.tablename = c.relname
            and p.roles = array['fillbook_owner']::name[] and p.cmd = 'ALL' and p.qual = 'true' and p.with_check = 'true')
        """,
    )
    assert blind == []
    foreign = rows(
        migrated,
        """
        select c.oid::regclass::text as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and pg_get_userbyid(c.relowner) <> 'fillbook_owner'
        """,
    )
    assert foreign == []


def test_groups_that_a_login_lost_are_taken_from_it_and_given_back_by_the_next_migration(
    cloud: PostgresServer, migrated: Database
) -> None:
    login = THERE["outbox_relay"]
    before = facts(migrated, login)
    narrowed = Login(holder=login.holder, name=login.name, groups=("outbox_reader",), is_iam=True)
    owner = f"set role {MANIFEST.database.owner}; "
    run_script(url_of(cloud, THERE[MIGRATE].name), owner + login_statement(narrowed))
    assert [fact for fact in facts(migrated, login) if fact.startswith("joins ")] == [
        "joins outbox_reader admin=f inherit=t set=t"
    ]
    config = migrations.MigrateConfig.from_environment(
        {"FILLBOOK_ENV": "cloud", "FILLBOOK_PROJECT": PROJECT, "FILLBOOK_DATABASE_URL": url_of(cloud, THERE[MIGRATE].name)}
    )
    migrations.migrate_config(config, wanted=config.wanted())
    assert facts(migrated, login) == before


def test_an_iam_user_that_the_platform_has_not_made_is_named_and_not_made(cloud: PostgresServer, migrated: Database) -> None:
    absent = [Login(holder="a", name="fb-absent@desk-of-the-tests.iam", groups=("outbox_reader",), is_iam=True)]
    with pytest.raises(PostgresError, match=r"no such IAM user of the database: fb-absent@desk-of-the-tests\.iam"):
        cloud.run("psql", "-qv", "ON_ERROR_STOP=1", "-d", DATABASE, text=roles_text(absent))
    assert rows(migrated, "select 1 from pg_roles where rolname like 'fb-absent%'") == []


def test_a_login_to_which_the_owner_was_not_given_is_told_so(cloud: PostgresServer, migrated: Database) -> None:
    with pytest.raises(migrations.MigrationRefused, match="may not take on fillbook_owner"):
        migrations.migrate(url_of(cloud, THERE["signal_worker"].name))
    with pytest.raises(Unavailable):
        migrations.migrate(cloud.url("nobody", DATABASE))

"""Migrations: the same database by every road, by any number of migrators at once, and closed unless opened."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fillbook.runtime.db import Database
from fillbook.runtime.sql import statement
from infra.database import migrate as migrations
from infra.database.owner import owner_text
from infra.database.roles import login_role_statement
from infra.manifest import load
from tests.integration.runtime.conftest import run_script
from tests.support.catalog import catalog
from tests.support.servers import WHOLE_TEMPLATE, database_config

ROOT = Path(__file__).resolve().parents[3]
VERSIONS = ROOT / "infra" / "database" / "alembic" / "versions"


@pytest.fixture
def template():
    """All months, not only those that tests write to."""
    return WHOLE_TEMPLATE


@pytest.fixture
def empty(postgres, request):
    """Makes empty databases on the session's server; returns their URLs."""
    made = []

    def make():
        name = f"empty_{os.getpid()}_{len(made)}"
        postgres.run("psql", "-qc", f"create database {name}")
        made.append(name)
        return postgres.url(database=name)

    yield make
    for name in made:
        postgres.run("psql", "-qc", f"drop database {name} with (force)")


def opened(url):
    return Database.open(database_config(url), application_name="migrations")


def migrate_process(url):
    environment = {**os.environ, "FILLBOOK_ENV": "local", "FILLBOOK_DATABASE_URL": url, "PYTHONPATH": f"{ROOT}:{ROOT / 'shared'}"}
    command = [sys.executable, "-W", "error", "-m", "infra.database.migrate"]
    return subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_every_migration_file_has_its_revision_and_the_other_way_round():
    files = {path.stem for path in migrations.MIGRATIONS.glob("*.sql")}
    revisions = {path.stem for path in VERSIONS.glob("[0-9]*.py")}
    assert files == revisions


def test_schema_sql_is_the_sum_of_the_migration_files():
    assert migrations.SCHEMA.read_text(encoding="utf-8") == migrations.schema_text(), "run: infra/dev.py migrate --write-schema"


def test_a_database_built_from_schema_sql_equals_a_migrated_one(empty, db):
    url = empty()
    manifest = load()
    owner = manifest.database.owner
    run_script(url, f"{owner_text(owner, manifest.roles)}; set role {owner}; {migrations.schema_text()}")
    from_schema = opened(url)
    migrated, built = catalog(db), catalog(from_schema)
    from_schema.close()
    assert len(migrated) > 100
    assert built == migrated


def test_two_migrators_of_one_database_and_others_beside_them_do_not_race(empty):
    same, other = empty(), empty()
    processes = [migrate_process(url) for url in (same, same, other)]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    one, two = opened(same), opened(other)
    assert catalog(one) == catalog(two)
    with one.transaction() as tx:
        assert len(tx.query(statement("select version_num from ops.migration_version"))) == 1
    one.close()
    two.close()


def test_a_migration_that_fails_leaves_nothing_of_itself(empty, monkeypatch, tmp_path):
    url = empty()
    for path in migrations.MIGRATIONS.glob("*.sql"):
        text = path.read_text(encoding="utf-8")
        (tmp_path / path.name).write_text(text if path.name < "0002" else f"create table half (a int);\n{text}\nselect 1/0;")
    monkeypatch.setattr(migrations, "MIGRATIONS", tmp_path)
    with pytest.raises(Exception, match="division"):
        migrations.migrate(url, roles={})
    database = opened(url)
    with database.transaction() as tx:
        assert tx.query(statement("select version_num from ops.migration_version")) == [{"version_num": "0001"}]
        assert tx.query(statement("select to_regclass('half')::text as half")) == [{"half": None}]
    database.close()


def test_login_roles_join_exactly_the_groups_they_are_told(empty, postgres):
    url = empty()
    migrations.migrate(url, roles={})
    name = f"worker_{os.getpid()}"
    member = f"""select g.rolname from pg_auth_members m join pg_roles g on g.oid = m.roleid
        join pg_roles r on r.oid = m.member where r.rolname = '{name}' order by 1"""
    try:
        for groups in (("signal_writer", "ledger_writer"), ("ledger_writer",), ("ledger_writer", "outbox_writer")):
            run_script(url, login_role_statement(name, groups))
            assert postgres.run("psql", "-Atc", member).split() == sorted(groups)
    finally:
        postgres.run("psql", "-qc", f"drop role {name}")


def test_what_an_administrator_made_before_there_was_an_owner_goes_over_to_it(empty, db):
    url = empty()
    migrations.migrate(url, roles={}, to="0033")
    mine = ("schema ledger", "table ledger.books", "view ledger.v_books", "type ledger.side", "function ops.claim_slot(jsonb)")
    mine += ("materialized view utils_statistics.trades_kpi_series_mv", "table signal.receipts", "table outbox.events")
    run_script(url, "; ".join(f"alter {thing} owner to postgres" for thing in mine))
    migrations.migrate(url, roles={})
    adopted = opened(url)
    assert catalog(adopted) == catalog(db)
    foreign = """
    select name from (
        select c.oid::regclass::text as name, c.relowner as owner, c.relnamespace as space from pg_class c
        union all select nspname, nspowner, oid from pg_namespace
        union all select oid::regprocedure::text, proowner, pronamespace from pg_proc
        union all select oid::regtype::text, typowner, typnamespace from pg_type
    ) things join pg_namespace n on n.oid = things.space
    where n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'public')
      and pg_get_userbyid(owner) <> 'fillbook_owner'
    """
    with adopted.transaction() as tx:
        assert tx.query(statement(foreign)) == []
    adopted.close()


def without_names_of_casts(line):
    """A view that is made again names the casts in the later arms of a union, which no column takes its name from."""
    return re.sub(r"(::[a-z ]+) AS \"?[a-z]+\"?(?=,|\n)", r"\1", line)


def test_views_that_are_made_again_with_the_one_they_stand_on_are_what_they_were(empty):
    url = empty()
    migrations.migrate(url, roles={}, to="0044")
    old = opened(url)
    before = {without_names_of_casts(line) for line in catalog(old)}
    migrations.migrate(url, roles={}, to="0045")
    after = {without_names_of_casts(line) for line in catalog(old)}
    old.close()
    changed = ("view metrics.day_moves ", "comment materialized view metrics.day_moves ")
    assert len(before - after) == len(after - before) == len(changed)
    assert all(line.startswith(changed) for line in before ^ after)


def test_role_names_cannot_carry_sql():
    with pytest.raises(ValueError, match="no role name"):
        login_role_statement("x; drop table y", ())


def test_public_holds_nothing(db):
    closed = """
    select p.oid::regprocedure::text as name from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and has_function_privilege('public', p.oid, 'execute')
    union all
    select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and c.relkind in ('r', 'p', 'v', 'm')
      and has_table_privilege('public', c.oid, 'select, insert, update, delete')
    union all
    select nspname from pg_namespace
    where nspname !~ '^pg_' and nspname <> 'information_schema' and has_schema_privilege('public', oid, 'usage, create')
    """
    with db.transaction() as tx:
        assert tx.query(statement(closed)) == []


def test_a_migration_may_take_as_long_as_it_takes(empty):
    """The seconds allowed for connecting once stayed on the socket, and cut off every statement that took longer."""
    with migrations._connection(database_config(empty())) as connection:
        driver = connection.connection.driver_connection
        assert driver._usock.gettimeout() is None

"""Brings a database to the newest version: SQL files in order as the owner of everything, then the groups of each login.

``python -m infra.database.migrate`` migrates what ``FILLBOOK_DATABASE_URL`` or the instance settings name: on this machine, or
as the Cloud Run job of the manifest, whose login may do nothing but take the owner on. An administrator's login makes the
owner where it is missing; any other is told to have it made (``--show owner``). ``--show roles`` prints what is granted,
``--check`` holds the files to the rule of expanding first, ``--write-schema`` writes ``schema.sql``, their commented sum.

Only this door and the job import Alembic. One advisory lock lets two migrators of a database pass one after the other. Each
file is one transaction, unless its first line says otherwise, and waits for a lock shorter than any function would: whoever
queues behind a migration is served in time, and the migration tries again.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command, op
from alembic.config import Config as AlembicConfig
from pg8000.exceptions import DatabaseError
from pydantic import SecretStr
from sqlalchemy import create_engine, pool
from sqlalchemy.engine import Connection

from fillbook.runtime.config import ConfigError, DatabaseConfig
from fillbook.runtime.db import Settings, driver_connection
from fillbook.runtime.errors import Unavailable
from infra.database import expand
from infra.database.owner import migrator_text, owner_text
from infra.database.roles import MIGRATE, Login, logins, role_statements, roles_text
from infra.database.script import is_outside_transaction, statements
from infra.manifest import load

HERE = Path(__file__).resolve().parent
MIGRATIONS = HERE / "migrations"
SCHEMA = HERE / "schema.sql"
MIGRATION_LOCK = 7_305_811_246_113_902  # any constant of ours; one migrator per database
TURN_SECONDS = 60  # as long a second migrator waits for the first
LOCK_WAIT_MS = 500  # for a table: functions give up after three seconds, and the server looks for deadlocks after one
UPGRADE_TRIES = 60
BUSY_PAUSE_SECONDS = (0.2, 1.0)
SCHEMA_HEAD = """\
-- The whole truth: what a migrated database holds, room by room. Run it as the owner, `set role fillbook_owner`.
-- Written by `python -m infra.database.migrate --write-schema` from migrations/*.sql; edit those.
"""


class MigrationRefused(RuntimeError):
    """The migration cannot begin or end; the text says what a person has to do."""


def apply_file(name: str) -> None:
    """Run one migration file in the revision's transaction as a single message; raises on the first error.

    A file that begins with ``-- outside a transaction`` is run statement by statement instead; it must bear being run again.
    """
    text = (MIGRATIONS / name).read_text(encoding="utf-8")
    if not is_outside_transaction(text):
        run_script(op.get_bind(), text)
        return
    with op.get_context().autocommit_block():
        driver: Any = op.get_bind().connection.driver_connection
        driver.commit()  # of the transaction in which Alembic asked for the isolation level
        for one in statements(text):
            driver.execute_simple(one.text)


def run_script(connection: Connection, text: str) -> None:
    """Run several statements without parameters, as they stand, on the driver beneath SQLAlchemy."""
    driver: Any = connection.connection.driver_connection
    driver.execute_simple(text)


def migrate(url: str, *, roles: Mapping[str, tuple[str, ...]] | None = None, to: str = "head") -> None:
    """Bring the database at ``url`` to head and make the manifest's local logins (or ``roles``: name -> group roles)."""
    config = DatabaseConfig(fillbook_env="cloud", fillbook_database_url=SecretStr(url))
    wanted = None if roles is None else [Login(holder=name, name=name, groups=groups) for name, groups in roles.items()]
    migrate_config(config, wanted=wanted, to=to)


def migrate_config(config: DatabaseConfig, *, wanted: Iterable[Login] | None = None, to: str = "head") -> None:
    """As ``migrate``, for a configured database (URL or Cloud SQL instance) and logins of either kind (None: the local ones)."""
    manifest = load()
    with _connection(config) as connection:
        _take_turn(connection)
        try:
            is_administrator = _prepare_owner(connection)
            run_script(connection, f"set role {manifest.database.owner}; create schema if not exists ops")
            alembic = AlembicConfig()
            alembic.set_main_option("script_location", str(HERE / "alembic"))
            alembic.attributes["connection"] = connection
            _upgrade(alembic, connection, to)
            connection.commit()  # what follows would be rolled back with the reading of a version that is newest already
            if is_administrator:  # logins and groups may be older than the owner
                run_script(connection, "reset role")
            for text in role_statements(logins(manifest) if wanted is None else wanted):
                run_script(connection, text)
        finally:
            connection.rollback()
            run_script(connection, f"select pg_advisory_unlock({MIGRATION_LOCK})")


def _take_turn(connection: Connection) -> None:
    """Wait for the migrator before us; raises ``MigrationRefused`` when it takes longer than a minute.

    Asked for again and again: whoever waits in one statement has a view of the data, which an index that is made concurrently
    waits for.
    """
    until = time.monotonic() + TURN_SECONDS
    while not connection.exec_driver_sql(f"select pg_try_advisory_lock({MIGRATION_LOCK})").scalar_one():
        connection.rollback()
        if time.monotonic() > until:
            raise MigrationRefused(f"another migration of this database has been running for {TURN_SECONDS} s")
        time.sleep(random.uniform(*BUSY_PAUSE_SECONDS))
    connection.rollback()
    run_script(connection, f"set lock_timeout = '{LOCK_WAIT_MS}ms'")


def _prepare_owner(connection: Connection) -> bool:
    """Make the owner and take over what is older, where an administrator is logged in; return whether one is.

    Raises ``MigrationRefused`` when somebody else is, to whom the owner was not given.
    """
    manifest = load()
    owner = manifest.database.owner
    is_superuser, may_be_owner = connection.exec_driver_sql(
        "select rolsuper, exists (select from pg_roles o where o.rolname = %s and pg_has_role(session_user, o.oid, 'set')) "
        "from pg_roles where rolname = session_user",
        (owner,),
    ).one()
    connection.rollback()
    if is_superuser:
        run_script(connection, owner_text(owner, manifest.roles, adopt=True))
    elif not may_be_owner:
        raise MigrationRefused(f"this login may not take on {owner}; an administrator runs `migrate --show owner` first")
    return bool(is_superuser)


def _upgrade(alembic: AlembicConfig, connection: Connection, to: str) -> None:
    """Upgrade, again while a table is busy and while a migrator of another database of the cluster touches the same roles."""
    for attempt in range(1, UPGRADE_TRIES + 1):
        try:
            command.upgrade(alembic, to)
            return
        except DatabaseError as error:
            told = _told(error)
            is_race = "tuple concurrently" in told.get("M", "") or "pg_auth" in told.get("n", "")
            is_busy = told.get("C") in ("55P03", "40P01")
            if not (is_race or is_busy) or attempt == UPGRADE_TRIES:
                raise
            connection.rollback()
            time.sleep(random.uniform(*((0.01, 0.1) if is_race else BUSY_PAUSE_SECONDS)))


def _told(error: DatabaseError) -> Mapping[str, str]:
    return error.args[0] if error.args and isinstance(error.args[0], dict) else {}


@contextmanager
def _connection(config: DatabaseConfig) -> Iterator[Connection]:
    settings = Settings(application_name="migrate", statement_timeout_seconds=0, lock_timeout_seconds=TURN_SECONDS)
    engine = create_engine("postgresql+pg8000://", creator=lambda: driver_connection(config, settings), poolclass=pool.NullPool)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def schema_text() -> str:
    """Return ``schema.sql``: every migration file in order, comments included, runnable on an empty database."""
    parts = [SCHEMA_HEAD]
    for path in sorted(MIGRATIONS.glob("[0-9][0-9][0-9][0-9]_*.sql")):
        title = f"-- ==== {path.name} "
        text = path.read_text(encoding="utf-8").strip()
        if is_outside_transaction(text):  # an empty table keeps nobody waiting
            text = text.replace("index concurrently ", "index ")
        parts.append(f"{title}{'=' * (120 - len(title))}\n\n{text}\n")
    return "\n".join(parts)


class MigrateConfig(DatabaseConfig):
    """What the migration is told; ``fillbook_project``: whose service accounts log in, in the cloud."""

    fillbook_project: str | None = None

    def wanted(self) -> tuple[Login, ...]:
        """The logins of the place: local ones, or the project's. Raises ``ConfigError`` when the project is not named."""
        if self.fillbook_env == "local":
            return logins(load())
        if self.fillbook_project is None:
            raise ConfigError({"FILLBOOK_PROJECT": "is missing: whose service accounts log in?"})
        return logins(load(), self.fillbook_project)


def shown(what: str, project: str | None) -> str:
    """The SQL of ``--show``: ``owner`` for the administrator before the first migration, ``roles`` as granted after each."""
    manifest = load()
    found = logins(manifest, project)
    if what == "roles":
        return roles_text(found)
    owner = manifest.database.owner
    (login,) = (one for one in found if one.holder == MIGRATE)
    given = migrator_text(owner, login.name) if login.is_iam else roles_text([login])
    return owner_text(owner, manifest.roles) + given


def run(arguments: list[str] | None = None) -> int:
    """Migrate, or do what an option says instead; 1 with a sentence when it cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else None)
    parser.add_argument("--write-schema", action="store_true", help="write infra/database/schema.sql and stop")
    parser.add_argument(
        "--show", choices=("owner", "roles"), help="print SQL and stop: what an administrator runs, what is granted"
    )
    parser.add_argument("--project", help="with --show: for the IAM users of this project instead of the local logins")
    parser.add_argument("--check", action="store_true", help="look for steps that old code would not survive, and stop")
    options = parser.parse_args(arguments)
    if options.write_schema:
        SCHEMA.write_text(schema_text(), encoding="utf-8")
        print(f"wrote {SCHEMA.name}")
        return 0
    if options.show:
        print(shown(options.show, options.project))
        return 0
    if options.check:
        problems = expand.problems(MIGRATIONS)
        print("\n".join(problems) or "every migration expands first")
        return 1 if problems else 0
    try:
        config = MigrateConfig.from_environment()
        migrate_config(config, wanted=config.wanted())
    except (ConfigError, MigrationRefused, Unavailable) as error:
        print(error, file=sys.stderr)
        return 1
    print("the database is at head")
    return 0


if __name__ == "__main__":
    sys.exit(run())

"""Brings a database to the newest version: SQL files in order, then the login roles of the manifest.

``python -m infra.database.migrate`` migrates what ``FILLBOOK_DATABASE_URL`` or the instance settings name;
``--write-schema`` writes ``schema.sql``, the commented sum of the migration files. Only this door and the migrate job
import Alembic. One advisory lock lets two migrators of a database pass one after the other; each file is one transaction.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command, op
from alembic.config import Config as AlembicConfig
from pg8000.exceptions import DatabaseError
from pydantic import SecretStr
from sqlalchemy import create_engine, pool
from sqlalchemy.engine import Connection

from fillbook.runtime.config import DatabaseConfig
from fillbook.runtime.db import Settings, driver_connection
from infra.database.roles import function_roles, login_role_statement

HERE = Path(__file__).resolve().parent
MIGRATIONS = HERE / "migrations"
SCHEMA = HERE / "schema.sql"
MIGRATION_LOCK = 7_305_811_246_113_902  # any constant of ours; one migrator per database
LOCK_WAIT_SECONDS = 60
UPGRADE_TRIES = 10
SCHEMA_HEAD = """\
-- The whole truth: what a migrated database holds, room by room.
-- Written by `python -m infra.database.migrate --write-schema` from migrations/*.sql; edit those.
"""


def apply_file(name: str) -> None:
    """Run one migration file as a single message inside the revision's transaction; raises on the first error."""
    run_script(op.get_bind(), (MIGRATIONS / name).read_text(encoding="utf-8"))


def run_script(connection: Connection, text: str) -> None:
    """Run several statements without parameters, as they stand, on the driver beneath SQLAlchemy."""
    driver: Any = connection.connection.driver_connection
    driver.execute_simple(text)


def migrate(url: str, *, roles: Mapping[str, tuple[str, ...]] | None = None) -> None:
    """Bring the database at ``url`` to head and make the manifest's login roles (or ``roles``: name -> group roles)."""
    migrate_config(DatabaseConfig(fillbook_env="cloud", fillbook_database_url=SecretStr(url)), roles=roles)


def migrate_config(config: DatabaseConfig, *, roles: Mapping[str, tuple[str, ...]] | None = None) -> None:
    """As ``migrate``, for a configured database (URL or Cloud SQL instance)."""
    with _connection(config) as connection:
        run_script(connection, f"select pg_advisory_lock({MIGRATION_LOCK}); create schema if not exists ops")
        connection.commit()
        try:
            alembic = AlembicConfig()
            alembic.set_main_option("script_location", str(HERE / "alembic"))
            alembic.attributes["connection"] = connection
            _upgrade(alembic, connection)
            for name, groups in (function_roles() if roles is None else roles).items():
                run_script(connection, login_role_statement(name, groups))
            connection.commit()
        finally:
            connection.rollback()
            run_script(connection, f"select pg_advisory_unlock({MIGRATION_LOCK})")
            connection.commit()


def _upgrade(alembic: AlembicConfig, connection: Connection) -> None:
    """Upgrade to head. Group roles belong to the cluster: a migrator of another database may touch them at the same moment."""
    for attempt in range(1, UPGRADE_TRIES + 1):
        try:
            command.upgrade(alembic, "head")
            return
        except DatabaseError as error:
            told = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
            is_race = "tuple concurrently" in told.get("M", "") or "pg_auth" in told.get("n", "")
            if not is_race or attempt == UPGRADE_TRIES:
                raise
            connection.rollback()
            time.sleep(random.uniform(0.01, 0.1))


@contextmanager
def _connection(config: DatabaseConfig) -> Iterator[Connection]:
    settings = Settings(application_name="migrate", statement_timeout_seconds=0, lock_timeout_seconds=LOCK_WAIT_SECONDS)
    engine = create_engine("postgresql+pg8000://", creator=lambda: driver_connection(config, settings), poolclass=pool.NullPool)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def schema_text() -> str:
    """Return ``schema.sql``: every migration file in order, comments included, runnable on an empty database."""
    parts = [SCHEMA_HEAD]
    for path in sorted(MIGRATIONS.glob("[0-9][0-9][0-9][0-9]_*.sql")):
        title = f"-- ==== {path.name} "
        parts.append(f"{title}{'=' * (120 - len(title))}\n\n{path.read_text(encoding='utf-8').strip()}\n")
    return "\n".join(parts)


def run(arguments: list[str] | None = None) -> int:
    """Migrate, or write the schema file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else None)
    parser.add_argument("--write-schema", action="store_true", help="write infra/database/schema.sql and stop")
    options = parser.parse_args(arguments)
    if options.write_schema:
        SCHEMA.write_text(schema_text(), encoding="utf-8")
        print(f"wrote {SCHEMA.name}")
        return 0
    migrate_config(_MigrateConfig.from_environment())
    print("the database is at head")
    return 0


class _MigrateConfig(DatabaseConfig):
    """The migrate job needs only to know the database."""


if __name__ == "__main__":
    sys.exit(run())

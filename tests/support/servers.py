"""One embedded Postgres per test process, copied from a cluster that the whole session makes and migrates once."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pydantic import SecretStr

from fillbook.runtime.config import DatabaseConfig
from infra.local.postgres import PostgresServer

TEMPLATE = "fillbook_template"
"""What a test's database is copied from: the migrated one without the months that no test writes to."""
WHOLE_TEMPLATE = "fillbook_whole"
"""As migrated, for tests of the schema itself; a copy of it costs twice as much, all for empty files."""
_PREFIX = "fillbook-test"
_MEMORY = Path("/dev/shm")
_FREE_BYTES_MIN = 512 * 1024 * 1024
_FREE_BYTES_OF_FILES_MIN = 3 * 1024 * 1024 * 1024
_WITHOUT_LATER_MONTHS = """do $$ declare month text; begin
    for month in select format('signal.%I', relname) from pg_class
                  where relnamespace = 'signal'::regnamespace and relkind = 'r'
                    and relname ~ '_(2026_(0[5-9]|1[0-2])|20(2[7-9]|30)_[0-9]{2})$' loop
        execute 'drop table ' || month;
    end loop; end $$"""
_PACKED = "vacuum full pg_attribute, pg_class, pg_constraint, pg_depend, pg_index, pg_inherits, pg_type"


def database_config(url: str) -> DatabaseConfig:
    """A configuration that names nothing but the database."""
    return DatabaseConfig(fillbook_env="local", fillbook_database_url=SecretStr(url))


def session_folder() -> Path:
    """Return a folder for this test session, in memory when there is room; leftovers of dead sessions are removed."""
    base = _MEMORY if _has_memory(_FREE_BYTES_MIN) else Path(tempfile.gettempdir())
    for folder in base.glob(f"{_PREFIX}-*"):
        with suppress(ValueError, IndexError):
            pid = int(folder.name.split("-")[2])
            if not Path(f"/proc/{pid}").exists():
                shutil.rmtree(folder, ignore_errors=True)
    return base / f"{_PREFIX}-{os.getpid()}"


def files_in_memory(folder: Path) -> Path | None:
    """Where the tests' own files go when there is much room in memory: into the session's folder, which goes with the session.

    A whole desk flushes thousands of commits to its disk. Here it still asks for every one of them, and nobody waits; what a
    test kills is processes, and what they wrote outlives them. None: pytest's own place (decision 0065).
    """
    if not (folder.is_relative_to(_MEMORY) and _has_memory(_FREE_BYTES_OF_FILES_MIN)):
        return None
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / "files"


def _has_memory(free_bytes: int) -> bool:
    return _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= free_bytes


def made_once(folder: Path, name: str, make: Callable[[Path], None]) -> Path:
    """What the first worker of the session to come makes in ``folder`` for all of them, under this name."""
    folder.mkdir(mode=0o700, exist_ok=True)
    made = folder / name
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            make(folder / f"{name}.making")
            (folder / f"{name}.making").rename(made)
    return made


def start_server(folder: Path, worker: str) -> PostgresServer:
    """Start this worker's server on its own copy of the migrated cluster; the first worker to come makes the cluster."""
    made = made_once(folder, "cluster", _make_cluster)
    mine = folder / worker
    shutil.copytree(made, mine, symlinks=True)
    mine.chmod(0o700)
    server = PostgresServer(mine, fsync=False, settings={"autovacuum": "off"})  # a test's database is gone before it is due
    server.start()
    return server


def _make_cluster(data_dir: Path) -> None:
    from infra.database.migrate import migrate  # Alembic and SQLAlchemy: 0.4 s that unit tests need not pay

    with PostgresServer(data_dir, fsync=False) as server:
        server.run("psql", "-qc", f"create database {WHOLE_TEMPLATE}")
        migrate(server.url(database=WHOLE_TEMPLATE))
        server.run("psql", "-qc", f"create database {TEMPLATE} template {WHOLE_TEMPLATE}")
        for step in (
            _WITHOUT_LATER_MONTHS,
            _PACKED,
            "select 1",
        ):  # the last session leaves its cache of the catalog to the copies
            server.run("psql", "-qd", TEMPLATE, "-c", step)

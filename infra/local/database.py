"""The desk's database: the embedded server with the desk's own database in it, or somebody else's by its URL.

Ours is kept under the state folder, migrated at each start, and started again at the same address when it dies. A foreign
server is migrated too, and otherwise left alone.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from infra.local.postgres import PostgresError, PostgresServer

DATABASE = "fillbook"
SUPERUSER = "postgres"
BACK_OFF_SECONDS = 0.2


class LocalDatabase:
    """``start``, ``stop``, ``kill`` and ``look_after`` belong to the keeper's thread; ``url`` names a foreign server."""

    def __init__(self, data_dir: Path, *, url: str | None, fsync: bool) -> None:
        self._foreign = url
        self._server = None if url else PostgresServer(data_dir, fsync=fsync)
        self._url = url or ""
        self._port = 0
        self._wanted = False
        self._again_at = 0.0
        self.starts = 0

    @property
    def is_ours(self) -> bool:
        """Whether it is the embedded server."""
        return self._server is not None

    @property
    def told(self) -> str:
        """Where it is, for people."""
        return f"127.0.0.1:{self._port}" if self._server else "the server of FILLBOOK_DATABASE_URL"

    @property
    def pid(self) -> int | None:
        """The server's process; None when it does not run or is not ours."""
        return self._server.pid if self._server else None

    def url_at(self, port: int) -> str:
        """The superuser's URL of the desk's database when the server listens on ``port``; a foreign URL as given."""
        self._url = self._foreign or f"postgresql://{SUPERUSER}@127.0.0.1:{port}/{DATABASE}"
        return self._url

    def start(self, port: int) -> None:
        """Start the server and make the desk's database when missing. Raises PostgresError."""
        if self._server is None:
            return
        self._port, self._wanted = port, True
        self._server.start(port=port)
        self.starts += 1
        if self.starts == 1:
            found = self._server.run("psql", "-Atqc", f"select 1 from pg_database where datname = '{DATABASE}'")
            if not found.strip():
                self._server.run("psql", "-qc", f"create database {DATABASE}")

    def migrate(self, roles: Mapping[str, tuple[str, ...]]) -> None:
        """Bring the database to head and make the login roles (name → group roles)."""
        from infra.database.migrate import migrate  # Alembic and SQLAlchemy: 0.4 s that run beside the other starts

        migrate(self._url, roles=roles)

    def look_after(self) -> None:
        """Start the server again when it died."""
        server = self._server
        if server is None or not self._wanted or server.pid is not None or time.monotonic() < self._again_at:
            return
        try:
            server.stop()  # forgets what a dead server left behind
            self.start(self._port)
        except PostgresError:
            self._again_at = time.monotonic() + BACK_OFF_SECONDS

    def kill(self, *, stay_down: bool) -> None:
        """Kill -9 the server with all its sessions."""
        if self._server is not None:
            self._wanted = not stay_down
            self._server.kill()

    def stop(self) -> None:
        """Stop the server in order."""
        self._wanted = False
        if self._server is not None:
            self._server.stop()

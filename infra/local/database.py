"""The desk's database: the embedded server with the desk's own database in it, or somebody else's by its URL.

Ours is kept under the state folder, migrated at each start, and started again at the same address when it dies. A foreign
server is migrated too, and otherwise left alone. The server has a keeper of its own, so that making a cluster holds up nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from infra.local.memory import peak_bytes
from infra.local.postgres import PostgresError, PostgresServer
from infra.local.processes import Keeper

DATABASE = "fillbook"
SUPERUSER = "postgres"
BACK_OFF_SECONDS = 0.2


def make_desk_cluster(data_dir: Path) -> None:
    """A cluster as a desk of the local cloud leaves it at its first start: its database, migrated."""
    from infra.database.migrate import migrate  # Alembic and SQLAlchemy: 0.4 s that a start from a copy need not pay

    with PostgresServer(data_dir, fsync=False) as server:
        server.run("psql", "-qc", f"create database {DATABASE}")
        migrate(server.url(database=DATABASE), roles={})


class LocalDatabase:
    """The embedded server in ``data_dir``, or the foreign server that ``url`` names. ``close`` it."""

    def __init__(self, data_dir: Path, *, url: str | None, fsync: bool) -> None:
        self._foreign = url
        self._server = None if url else PostgresServer(data_dir, fsync=fsync)
        self._keeper: Keeper | None = None
        self._url = url or ""
        self._port = 0
        self._wanted = False
        self._again_at = 0.0
        self._peak = 0
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

    def peak_bytes(self) -> int:
        """The largest resident size of any process of the server so far."""
        pid = self.pid
        self._peak = max(self._peak, peak_bytes(pid)) if pid else self._peak
        return self._peak

    def url_at(self, port: int) -> str:
        """The superuser's URL of the desk's database when the server listens on ``port``; a foreign URL as given."""
        self._url = self._foreign or f"postgresql://{SUPERUSER}@127.0.0.1:{port}/{DATABASE}"
        return self._url

    def start(self, port: int) -> None:
        """Start the server, make the desk's database when missing, and keep the server up. Raises PostgresError."""
        server = self._server
        if server is None:
            return
        self._port, self._wanted = port, True
        if self._keeper is None:
            self._keeper = Keeper()
            self._keeper.watch.append(self._look_after)
        self._keeper.do(lambda: self._start(server))
        if not server.run("psql", "-Atqc", f"select 1 from pg_database where datname = '{DATABASE}'").strip():
            server.run("psql", "-qc", f"create database {DATABASE}")

    def migrate(self, roles: Mapping[str, tuple[str, ...]]) -> None:
        """Bring the database to head and make the login roles (name → group roles)."""
        from infra.database.migrate import migrate  # Alembic and SQLAlchemy: 0.4 s that run beside the other starts

        migrate(self._url, roles=roles)

    def kill(self, *, stay_down: bool) -> None:
        """Kill -9 the server with all its sessions; it comes back by itself unless it shall stay down."""
        if self._server is not None and self._keeper is not None:
            self._wanted = not stay_down
            self._keeper.do(self._server.kill)

    def stop(self) -> None:
        """Stop the server in order."""
        self._wanted = False
        if self._server is not None and self._keeper is not None:
            self.peak_bytes()
            self._keeper.do(self._server.stop)

    def close(self) -> None:
        """Stop the server and its keeper."""
        self.stop()
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.close()

    def _start(self, server: PostgresServer) -> None:
        if server.pid is not None:
            return  # the keeper's watch was here first
        server.start(port=self._port)
        self.starts += 1

    def _look_after(self) -> None:
        server = self._server
        if server is None or not self._wanted or server.pid is not None or time.monotonic() < self._again_at:
            return
        try:
            server.stop()  # forgets what a dead server left behind
            self._start(server)
        except PostgresError:
            self._again_at = time.monotonic() + BACK_OFF_SECONDS

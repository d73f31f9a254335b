"""Postgres for the rooms: a bounded pool, transactions of two round trips, and errors in our words.

The pattern (performance.md 1): ``tx.call(Call("room.load", …))`` sends ``begin`` and the call as one message, the pure
core decides, ``tx.send(Call("room.apply", …))`` rides with ``commit`` in the second message. No statement, no message.
A statement that fails client-side never touches the wire; a connection that lost step is thrown away. A commit whose
answer was lost surfaces as ``Unavailable`` and is never repeated here: the caller's idempotency settles it.

This module alone imports pg8000 and the Cloud SQL connector, the latter only when an instance is configured.
"""

from __future__ import annotations

import functools
import random
import socket
import ssl
import weakref
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from fillbook.runtime import clock
from fillbook.runtime.config import DatabaseConfig
from fillbook.runtime.dberrors import ConstraintViolated, Contended, DatabaseFailed
from fillbook.runtime.errors import Unavailable
from fillbook.runtime.pool import Pool
from fillbook.runtime.sql import Statement
from fillbook.runtime.target import Target, parse_target
from fillbook.runtime.tx import Beside, Call, Isolation, Tx, begin_texts
from fillbook.runtime.wire import Wire
from fillbook.values import frozen

__all__ = ["Call", "ConstraintViolated", "Contended", "Database", "DatabaseFailed", "Settings", "Tx", "driver_connection"]

T = TypeVar("T")

TRIES_MAX = 5
BUDGET_SECONDS = 5.0
JITTER_SECONDS_MIN = 0.02
JITTER_SECONDS_MAX = 0.5
CONNECT_SECONDS_MAX = 5.0
SOCKET_GRACE_SECONDS = 10
SOCKET_DEFAULT_SECONDS = 60.0
IDLE_IN_TRANSACTION_SECONDS = 60


class Database:
    """The process's way to Postgres: bounded, lazy, safe to share between threads, reopened by itself after a fork."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        weakref.finalize(self, pool.close)  # also when the process ends in order, as after SIGTERM

    @classmethod
    def open(
        cls,
        config: DatabaseConfig,
        *,
        application_name: str,
        pool_size: int = 4,
        statement_timeout_seconds: int = 15,
        lock_timeout_seconds: int = 3,
    ) -> Database:
        """Return a database that connects on first use; ``pool_size`` is the function's concurrency."""
        settings = Settings(
            application_name=application_name,
            statement_timeout_seconds=statement_timeout_seconds,
            lock_timeout_seconds=lock_timeout_seconds,
        )
        return cls(Pool(lambda: _connect(config, settings), pool_size))

    @contextmanager
    def transaction(
        self,
        *,
        read_only: bool = False,
        isolation: Isolation = "read committed",
        tenant_id: str | None = None,
        turn: int | None = None,
    ) -> Iterator[Tx]:
        """Open one transaction; committed on leaving, rolled back on any exception. Never call out while it is open.

        ``turn`` is an advisory lock that the session waits for before the transaction begins, as long as a statement may take,
        and holds until it is over: its snapshot is younger than all that the holder before committed.
        """
        tx = Tx(self._pool, begin_texts(read_only, isolation, tenant_id), read_only=read_only, turn=turn)
        try:
            yield tx
            tx.commit()
        finally:
            tx.end()

    @contextmanager
    def beside(
        self, tx: Tx, asked: Statement, *, tenant_id: str | None = None, **params: object
    ) -> Iterator[Callable[[], list[dict[str, Any]]]]:
        """Have the server work on a statement while ``tx`` goes on, and see what ``tx`` sees; yields what gives its rows, once.

        ``tx`` has to be REPEATABLE READ and begun. The statement goes to a second connection; where all are lent, it is asked of
        ``tx`` when its rows are wanted. Raises as ``Tx.query``.
        """
        values = asked.values(params)
        wire = self._pool.borrow_second()
        if wire is None:
            yield lambda: tx.query(asked, **params)
            return
        other = Beside(self._pool, wire)
        try:
            other.ask(tx, asked, values, tenant_id)
            yield other.rows
        finally:
            other.end()

    def call(self, *calls: Call, read_only: bool = False, tenant_id: str | None = None) -> tuple[Any, ...]:
        """Run ``calls`` in a transaction of their own, begin and commit included, in one round trip; raises as ``Tx.call``."""
        tx = Tx(self._pool, begin_texts(read_only, "read committed", tenant_id), read_only=read_only)
        try:
            return tx.finish(*calls) if calls else ()
        finally:
            tx.end()

    def run(
        self,
        work: Callable[[Tx], T],
        *,
        tries: int = TRIES_MAX,
        budget_seconds: float = BUDGET_SECONDS,
        retry_constraints: Collection[str] = (),
        read_only: bool = False,
        isolation: Isolation = "read committed",
        tenant_id: str | None = None,
        turn: int | None = None,
    ) -> T:
        """Run ``work`` in a transaction, again when the server says that it lost a race; then ``Unavailable``.

        Repeated on 40001, 40P01, 55P03 and on unique violations named in ``retry_constraints``, after 20–500 ms of jitter,
        at most ``tries`` times within ``budget_seconds`` of real time. ``work`` must be repeatable: no effects but through tx.
        """
        deadline = clock.monotonic() + budget_seconds
        for attempt in range(1, tries + 1):
            try:
                with self.transaction(read_only=read_only, isolation=isolation, tenant_id=tenant_id, turn=turn) as tx:
                    return work(tx)
            except Contended as error:
                lost_race: Exception = error
            except ConstraintViolated as error:
                if error.sqlstate != "23505" or error.constraint not in retry_constraints:
                    raise
                lost_race = error
            pause = random.uniform(JITTER_SECONDS_MIN, min(JITTER_SECONDS_MAX, JITTER_SECONDS_MIN * 4**attempt))
            if attempt == tries or clock.monotonic() + pause > deadline:
                raise Unavailable("database_contended", f"{attempt} tries: {lost_race}") from lost_race
            clock.sleep(pause)
        raise ValueError("tries must be at least 1")

    def close(self) -> None:
        """Close the pool; transactions under way finish, new ones raise ``Unavailable``."""
        self._pool.close()


# --- connecting -------------------------------------------------------------------------------------------------------


@frozen
class Settings:
    """What every session is told at its start; 0 seconds means no limit (migrations)."""

    application_name: str
    statement_timeout_seconds: int = 15
    lock_timeout_seconds: int = 3

    @property
    def socket_timeout_seconds(self) -> int | None:
        """Longer than any statement may take, so that it only fires when server or network are gone."""
        return self.statement_timeout_seconds + SOCKET_GRACE_SECONDS if self.statement_timeout_seconds else None

    def startup(self, role: str | None) -> dict[str, str]:
        """Return the startup parameters: no round trip is spent on SET."""
        given = {
            "statement_timeout": f"{self.statement_timeout_seconds}s",
            "lock_timeout": f"{self.lock_timeout_seconds}s",
            "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_SECONDS}s",
            "TimeZone": "UTC",
            "DateStyle": "ISO",
            "IntervalStyle": "iso_8601",
            "standard_conforming_strings": "on",
            "client_encoding": "UTF8",
        }
        return given if role is None else {**given, "role": role}


def driver_connection(config: DatabaseConfig, settings: Settings) -> Any:
    """Log in and return a pg8000 DB-API connection with our session settings; the migrations use it as it is.

    Raises ``Unavailable`` when the server cannot be reached or refuses the login, ``ConfigError`` for a wrong URL.
    """
    import pg8000.dbapi

    try:
        if config.fillbook_database_url is not None:
            connection = _by_url(parse_target(config.fillbook_database_url.get_secret_value()), settings)
        else:
            connection = _by_instance(config, settings)
    except pg8000.dbapi.DatabaseError as error:
        code = error.args[0].get("C", "") if error.args and isinstance(error.args[0], dict) else ""
        raise Unavailable("database_unavailable", f"login refused, sqlstate {code}") from None
    except (OSError, pg8000.dbapi.Error) as error:
        raise Unavailable("database_unavailable", f"cannot connect: {type(error).__name__}") from error
    connection._usock.settimeout(settings.socket_timeout_seconds)  # until here it was the time allowed for connecting
    return connection


def _by_url(target: Target, settings: Settings) -> Any:
    import pg8000.dbapi

    if target.socket_path is not None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(CONNECT_SECONDS_MAX)
    else:
        sock = socket.create_connection((target.host, target.port), CONNECT_SECONDS_MAX)
    try:
        if target.socket_path is not None:
            sock.connect(target.socket_path)
        return pg8000.dbapi.Connection(
            target.user,
            host=target.host,
            database=target.database,
            password=target.password,
            sock=sock,
            ssl_context=_tls(target.tls),
            application_name=settings.application_name,
            startup_params=settings.startup(target.role),
        )
    except BaseException:
        sock.close()
        raise


def _tls(mode: str) -> ssl.SSLContext | bool:
    if mode == "disable":
        return False
    context = ssl.create_default_context()
    if mode == "require":  # encrypted but not identified, as libpq means it; verify-full checks the certificate and name
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


@functools.cache
def _cloud_sql() -> Any:
    """Return the process's Cloud SQL connector; its own timeout bounds neither TCP nor TLS, so sockets get a default."""
    from google.cloud.sql.connector import Connector

    socket.setdefaulttimeout(SOCKET_DEFAULT_SECONDS)
    return Connector(refresh_strategy="lazy")


def _by_instance(config: DatabaseConfig, settings: Settings) -> Any:
    return _cloud_sql().connect(
        config.fillbook_database_instance,
        "pg8000",
        user=config.fillbook_database_user,
        database=config.fillbook_database_name,
        enable_iam_auth=True,
        ip_type="PRIVATE",  # the cloud program gives the server no other; the connector would ask for a public one
        ssl_context=False,  # the connector's socket speaks TLS already
        application_name=settings.application_name,
        startup_params=settings.startup(None),
    )


def _connect(config: DatabaseConfig, settings: Settings) -> Wire:
    sock = driver_connection(config, settings)._usock
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else parameters of 17-63 KiB wait 40 ms
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return Wire(sock)

"""Where a database URL points: parsed once, refused when it says something we would have to guess.

``postgresql://user:password@host:port/database?host=/cloudsql/project:region:instance&sslmode=verify-full&role=…``. A
``host`` (or ``unix_sock``) parameter that is a path names the folder of a Unix socket, as libpq and Cloud Run have it. On
loopback and sockets TLS is off; elsewhere it is on (``sslmode=require``) unless the URL says otherwise.
"""

from __future__ import annotations

from dataclasses import field
from typing import Literal, cast, get_args
from urllib.parse import parse_qsl, unquote, urlsplit

from fillbook.runtime.config import LOOPBACK, ConfigError
from fillbook.values import frozen

Tls = Literal["disable", "require", "verify-full"]
SOCKET_PATH_BYTES_MAX = 107


@frozen
class Target:
    """One database as one user; exactly one of ``host`` and ``socket_path`` is set. ``role`` is taken on by SET ROLE."""

    user: str
    database: str
    password: str | None = field(default=None, repr=False)
    host: str | None = None
    port: int = 5432
    socket_path: str | None = None
    tls: Tls = "disable"
    role: str | None = None


def parse_target(url: str) -> Target:
    """Read a database URL; raises ``ConfigError`` naming ``FILLBOOK_DATABASE_URL``, never repeating the URL."""
    try:
        parts = urlsplit(url)
        port = parts.port or 5432
        options = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
    except ValueError:
        raise _wrong("is not a URL") from None
    if parts.scheme not in ("postgresql", "postgres"):
        raise _wrong("must begin with postgresql://")
    database = unquote(parts.path.removeprefix("/"))
    if not parts.username or not database:
        raise _wrong("needs a user and a database name")
    unknown = options.keys() - {"host", "unix_sock", "sslmode", "role"}
    if unknown:
        raise _wrong(f"has unknown parameters: {', '.join(sorted(unknown))}")
    place = options.get("unix_sock") or options.get("host") or unquote(parts.hostname or "")
    if not place:
        raise _wrong("needs a host")
    is_socket = place.startswith("/")
    tls = options.get("sslmode", "disable" if is_socket or place in LOOPBACK else "require")
    if tls not in get_args(Tls):
        raise _wrong("has an sslmode other than disable, require, verify-full")
    return Target(
        user=unquote(parts.username),
        password=unquote(parts.password) if parts.password is not None else None,
        database=database,
        host=None if is_socket else place,
        port=port,
        socket_path=_socket_path(place, port) if is_socket else None,
        tls=cast(Tls, tls),
        role=options.get("role"),
    )


def _socket_path(place: str, port: int) -> str:
    path = place if ".s.PGSQL." in place else f"{place.rstrip('/')}/.s.PGSQL.{port}"
    if len(path.encode()) > SOCKET_PATH_BYTES_MAX:
        raise _wrong(f"names a socket path of more than {SOCKET_PATH_BYTES_MAX} bytes")
    return path


def _wrong(problem: str) -> ConfigError:
    return ConfigError({"FILLBOOK_DATABASE_URL": problem})

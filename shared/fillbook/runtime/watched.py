"""Calls that end at their total, headers and dripping bodies included: a watchdog shuts the socket down under them.

The timeouts of an HTTP library bound one wait on the socket; a header that comes letter by letter keeps a call alive for ever.
``WatchedAdapter`` is mounted into a session; a call made inside ``with Watchdog(seconds)`` is then bounded as a whole. ``CALL``
says of the running thread's call what was observed: its socket, and whether anything had begun to leave.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from math import inf
from typing import Any

from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

from fillbook.runtime import clock, outgoing


class Call(threading.local):
    """What the running request of this thread uses."""

    connection: HTTPConnection | None = None
    sock: socket.socket | None = None
    is_sending: bool = False


CALL = Call()


class _WatchedConnection(HTTPConnection):
    def connect(self) -> None:
        CALL.connection = self
        super().connect()

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is None:
            self.connect()
        CALL.connection, CALL.sock, CALL.is_sending = self, self.sock, True
        super().request(*args, **kwargs)


class _WatchedTlsConnection(HTTPSConnection):
    def connect(self) -> None:
        CALL.connection = self
        super().connect()

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is None:
            self.connect()
        CALL.connection, CALL.sock, CALL.is_sending = self, self.sock, True
        super().request(*args, **kwargs)


class _WatchedPool(HTTPConnectionPool):
    ConnectionCls = _WatchedConnection


class _WatchedTlsPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedTlsConnection


_POOLS = {"http": _WatchedPool, "https": _WatchedTlsPool}


def watched_pools(*, hosts: int, connections: int) -> PoolManager:
    """Open connections of our kinds and nothing around them: no cookies, proxies, redirects, second tries.

    For calls by the ten thousand: a session prepares each request anew and merges its settings into it, which takes longer than
    the call itself. Certificates are checked against the bundle that sessions use.
    """
    outgoing.keep_addresses()
    made = PoolManager(
        num_pools=hosts, maxsize=connections, retries=False, cert_reqs="CERT_REQUIRED", ca_certs=DEFAULT_CA_BUNDLE_PATH
    )
    made.pool_classes_by_scheme = _POOLS
    return made


class WatchedAdapter(HTTPAdapter):
    """Mount it into a session: its connections say which socket a call uses."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make connections of our kinds."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS


class _Watchman:
    """One thread for all requests of the process, started by the first: it ends what outlives its total.

    A request must not wait for a thread of its own to come up, so a watch is a line in a set; the watchman is woken only for
    one that ends earlier than he would look again.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._watches: set[Watchdog] = set()
        self._looks_at = inf
        self._thread: threading.Thread | None = None

    def add(self, watch: Watchdog) -> None:
        """Begin a watch."""
        with self._changed:
            self._watches.add(watch)
            if self._thread is None or not self._thread.is_alive():  # the first one, or the first after a fork
                self._looks_at = inf
                self._thread = threading.Thread(target=self._stand, name="call-watchman", daemon=True)
                self._thread.start()
            elif watch.ends_at < self._looks_at:
                self._changed.notify()

    def remove(self, watch: Watchdog) -> None:
        """End a watch in peace."""
        with self._changed:
            self._watches.discard(watch)

    def _stand(self) -> None:
        with self._changed:
            while True:
                now = clock.monotonic()
                for watch in [one for one in self._watches if one.ends_at <= now]:
                    self._watches.discard(watch)
                    watch.bite()
                self._looks_at = min((one.ends_at for one in self._watches), default=inf)
                self._changed.wait(None if self._looks_at == inf else self._looks_at - now)


_WATCHMAN = _Watchman()


class Watchdog:
    """Ends a request that outlives its total: shuts the socket down, so that whatever read waits returns.

    Entered by the thread that makes the request; what ``CALL`` said of the thread's last one is forgotten then.
    """

    def __init__(self, seconds: float) -> None:
        self._call = CALL.__dict__  # of the thread that makes the request
        self.ends_at = clock.monotonic() + seconds
        self.has_bitten = False

    def __enter__(self) -> Watchdog:
        CALL.connection, CALL.sock, CALL.is_sending = None, None, False
        _WATCHMAN.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        _WATCHMAN.remove(self)

    def bite(self) -> None:
        """Shut down what the request uses."""
        self.has_bitten = True
        connection = self._call.get("connection")
        for sock in (self._call.get("sock"), getattr(connection, "sock", None)):
            if sock is not None:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

"""A TCP proxy for tests and benchmarks: counts round trips, delays them, cuts connections at chosen moments.

A round trip is a change of direction: the client speaks after the server spoke last (or first of all).
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

CHUNK = 262_144


@dataclass
class _Pair:
    client: socket.socket
    server: socket.socket
    last: str = "server"
    trips: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def close(self) -> None:
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class Proxy:
    """Stands before ``host:port``; use as a context manager.

    ``trips`` counts since ``reset()`` over all connections; ``delay_seconds`` is added to each trip. ``lose_answers``: what
    the server says from now on never arrives and the connection is cut when it speaks. ``refuse``: new connections are closed
    at once.
    """

    def __init__(self, host: str, port: int, *, delay_seconds: float = 0.0) -> None:
        self._target = (host, port)
        self.delay_seconds = delay_seconds
        self.lose_answers = False
        self.hang = False
        self.refuse = False
        self.trips = 0
        self.connections = 0
        self._pairs: list[_Pair] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
        self.kill()

    @property
    def port(self) -> int:
        """Where the proxy listens on 127.0.0.1."""
        port: int = self._listener.getsockname()[1]
        return port

    def url(self, url: str) -> str:
        """Return ``url`` with this proxy in the server's place."""
        parts = urlsplit(url)
        user = parts.netloc.rpartition("@")[0]
        return urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{self.port}"))

    def reset(self) -> None:
        """Count trips from zero."""
        with self._lock:
            self.trips = 0

    def kill(self) -> None:
        """Cut every connection."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            pair.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refuse:
                client.close()
                continue
            try:
                server = socket.create_connection(self._target, 5)
            except OSError:
                client.close()
                continue
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                end.settimeout(30)
            pair = _Pair(client, server)
            with self._lock:
                self.connections += 1
                self._pairs.append(pair)
            threading.Thread(target=self._serve, args=(pair,), daemon=True).start()

    def _serve(self, pair: _Pair) -> None:
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(pair.client, selectors.EVENT_READ, "client")
                selector.register(pair.server, selectors.EVENT_READ, "server")
                while all(self._forward(pair, key.data) for key, _ in selector.select(30)):
                    pass
        except (OSError, ValueError):
            pass
        finally:
            pair.close()

    def _forward(self, pair: _Pair, side: str) -> bool:
        source, target = (pair.client, pair.server) if side == "client" else (pair.server, pair.client)
        data = source.recv(CHUNK)
        if not data:
            return False
        if side == "client" and pair.last == "server":
            with self._lock:
                self.trips += 1
            if self.delay_seconds:
                time.sleep(self.delay_seconds)
        if side == "server" and self.lose_answers:
            return False
        pair.last = side
        if not (side == "server" and self.hang):
            target.sendall(data)
        return True

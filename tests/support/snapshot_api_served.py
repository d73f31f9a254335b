"""``snapshot_api`` as it is deployed: its bundle on a desk of real processes, asked over HTTP in the words of ``Api``.

One process serves every test of a module. Each test has a key and an address of its own, so that what is counted by them (how
often somebody may ask) is its own too, and begins with empty tables.
"""

from __future__ import annotations

import hashlib
import http.client
import itertools
import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from werkzeug.datastructures import Headers

from fillbook.runtime.sql import statement
from fillbook.values import frozen
from infra.local.desk import LocalCloud
from tests.support.snapshot_api import NOW, ORIGIN, PREVIOUS, SECRET, TOKEN, Api, signature

NAME: Final = "snapshot_api"
READERS: Final = tuple(f"metrics-key-of-reader-{number}" for number in range(64))
CALL_SECONDS: Final = 30
EMPTY: Final = ("metrics.restatements", "metrics.metrics_daily", "metrics.snapshot_versions", "outbox.events")
_NUMBERS = itertools.count()


def served_settings() -> dict[str, str]:
    """All that the function may be told, at once: two tokens, a signature, readers, an origin."""
    keys = [
        {"id": f"reader-{number}", "sha256": hashlib.sha256(key.encode()).hexdigest(), "scopes": ["metrics:read"]}
        for number, key in enumerate(READERS)
    ]
    return {
        "INTERNAL_TOKEN": TOKEN,
        "INTERNAL_TOKEN_PREVIOUS": PREVIOUS,
        "SIGNING_SECRET": SECRET,
        "METRICS_KEYS": json.dumps(keys),
        "CORS_ORIGINS": ORIGIN,
    }


@frozen
class Answer:
    """An answer as a test client gives it."""

    status_code: int
    headers: Headers
    body: bytes

    def get_data(self) -> bytes:
        """The bytes, as they came."""
        return self.body

    def get_json(self) -> Any:
        """The document."""
        return json.loads(self.body)


class Caller:
    """Calls over HTTP in the words of a test client; what comes is not decoded, no redirect is followed."""

    def __init__(self, base_url: str, address: str) -> None:
        self._where = urlsplit(base_url).netloc
        self._address = address

    def open(
        self,
        path: str,
        *,
        method: str = "GET",
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        content_type: str | None = None,
    ) -> Answer:
        """One request on a connection of its own."""
        sent = {"X-Forwarded-For": self._address, **dict(headers or {})}
        sent |= {} if content_type is None else {"Content-Type": content_type}
        connection = http.client.HTTPConnection(self._where, timeout=CALL_SECONDS)
        try:
            connection.request(method, path, body=data, headers=sent)
            response = connection.getresponse()
            return Answer(status_code=response.status, headers=Headers(response.getheaders()), body=response.read())
        finally:
            connection.close()

    def get(self, path: str, **options: Any) -> Answer:
        """GET."""
        return self.open(path, **options)

    def post(self, path: str, **options: Any) -> Answer:
        """POST."""
        return self.open(path, method="POST", **options)

    def options(self, path: str, **options: Any) -> Answer:
        """OPTIONS."""
        return self.open(path, method="OPTIONS", **options)


class ServedApi(Api):
    """A publisher and a reader of the served function; its tables are empty and its clock stands at ``NOW``."""

    def __init__(self, desk: LocalCloud) -> None:
        number = next(_NUMBERS)
        super().__init__(Caller(desk.url(NAME), f"203.0.113.{number}"), key=READERS[number], at=desk.clock.set)
        self._desk = desk
        with desk.database.transaction() as tx:
            for table in EMPTY:
                tx.execute(statement(f"delete from {table}"))
        self.at(NOW)

    def post(self, document: Any, *, headers: Mapping[str, str] | None = None, query: str = "", **options: Any) -> Any:
        """Send a document (bytes go as they are) with the right token, signed; other headers are sent as they are."""
        raw = document if isinstance(document, bytes) else json.dumps(document).encode()
        shown = {"X-Internal-Token": TOKEN} if headers is None else headers
        return super().post(raw, headers={"X-Signature": signature(raw), **shown}, query=query, **options)

    def rows(self, text: str, **params: object) -> list[dict[str, Any]]:
        """Rows of one statement on the desk's database."""
        with self._desk.database.transaction() as tx:
            return tx.query(statement(text), **params)

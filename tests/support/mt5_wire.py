"""A plain caller of the fake MT5 service: knows its paths and headers, and reads numbers as Decimals."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from decimal import Decimal
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import requests

from infra.local.mt5 import Mt5Fake

SECONDS = 10.0
PATHS = {
    "health": "/v1/health",
    "health_v0": "/health",
    **{one: f"/v1/accounts/{{account}}/{one}" for one in ("snapshot", "deals", "symbols")},
    **{one: f"/api/mt5/account/{{account}}/{one}" for one in ("info", "positions", "history")},
}


class Caller:
    """One kept-alive session."""

    def __init__(self, fake: Mt5Fake) -> None:
        self.fake, self.session = fake, requests.Session()
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.session.close()

    def ask(
        self, endpoint: str, query: str = "", *, account: str = "svc-1", base_url: str | None = None,
        headers: Mapping[str, str | None] | None = None, timeout: float = SECONDS,
    ) -> requests.Response:  # fmt: skip
        """Make one call; a header that is None is left out."""
        self._count += 1
        usual = {"X-API-Key": self.fake.api_key, "X-Account-Scope": account, "X-Request-Id": f"call-{self._count}"}
        url = (base_url or self.fake.base_url) + PATHS[endpoint].format(account=account) + (f"?{query}" if query else "")
        return self.session.get(url, headers={**usual, **(headers or {})}, timeout=timeout)

    def get(self, endpoint: str, query: str = "", *, account: str = "svc-1") -> Any:
        """The answer's document; anything but 200 is an error."""
        answer = self.ask(endpoint, query, account=account)
        assert answer.status_code == 200, answer.text
        return json.loads(answer.text, parse_float=Decimal)

    def pages(self, query: str) -> Iterator[dict[str, Any]]:
        """All pages of a window."""
        cursor: str | None = ""
        while cursor is not None:
            page = self.get("deals", query + (f"&cursor={cursor}" if cursor else ""))
            yield page
            cursor = page["next_cursor"]

    def post(self, what: str, **body: Any) -> Any:
        """Tell the admin API something."""
        answer = self.session.post(f"{self.fake.base_url}/_fake/{what}", json=body, timeout=SECONDS)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def look(self, what: str) -> Any:
        """Ask the admin API something."""
        answer = self.session.get(f"{self.fake.base_url}/_fake/{what}", timeout=SECONDS)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def raw(self, data: bytes, *, until: int) -> bytes:
        """Send bytes and return what comes until the connection ends or ``until`` answers have come whole."""
        parts = urlsplit(self.fake.base_url)
        told = b""
        with socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=SECONDS) as sock:
            sock.sendall(data)
            while told.count(b"HTTP/1.1") < until or not told.endswith(b"}"):
                part = sock.recv(65_536)
                if not part:
                    return told
                told += part
        return told

    @staticmethod
    def once(fake: Mt5Fake, endpoint: str, query: str = "", **given: Any) -> requests.Response:
        """One call on a connection of its own."""
        with Caller(fake) as caller:
            return caller.ask(endpoint, query, **given)

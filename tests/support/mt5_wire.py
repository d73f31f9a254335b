"""A plain caller of the fake MT5 service: knows its paths and headers, and reads numbers as Decimals."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import requests

from infra.local.mt5 import Mt5Fake

SECONDS = 10.0
NOW = datetime(2025, 11, 12, 10, 30, tzinfo=UTC)
SERVER = "Broker-Server"
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


def without(document: Any, names: set[str]) -> Any:
    """A document less some names, at every depth."""
    if isinstance(document, dict):
        return {name: without(one, names) for name, one in document.items() if name not in names}
    return [without(one, names) for one in document] if isinstance(document, list) else document


def busy(fake: Mt5Fake, account: str = "svc-1", **given: Any) -> None:
    """An account with a deposit, one closed trade and two open positions in one symbol, one of them with a stop."""
    fake.add_account(id=account, login=40_000_017, server=SERVER, **given)
    fake.set_prices(SERVER, GBPUSD="1.31150")
    fake.operate(account, "deposit", datetime(2025, 9, 1, tzinfo=UTC), amount=5000)
    bought = {"symbol": "GBPUSD", "side": "buy", "commission": "-0.70", "volume": "0.20", "price": "1.31000"}
    fake.operate(account, "open", "2025-11-10T09:15:00Z", **bought, ticket=810001, order=610000)
    closed = {"commission": "-0.70", "swap": "-0.30", "price": "1.31250"}
    fake.operate(account, "close", "2025-11-10T15:45:00Z", position=610000, **closed, ticket=810002, order=610001)
    held = {"symbol": "GBPUSD", "side": "buy", "commission": "-2.10", "volume": "0.60", "price": "1.31100", "sl": "1.30000"}
    fake.operate(account, "open", "2025-11-12T07:20:00Z", **held, ticket=810003, order=620001)
    held = {"symbol": "GBPUSD", "side": "sell", "commission": "-1.05", "volume": "0.30", "price": "1.31400"}
    fake.operate(account, "open", "2025-11-12T08:40:00Z", **held, ticket=810004, order=620002)


def furnished(served: Mt5Fake, now: datetime) -> None:
    """Account svc-1: a deposit, one closed trade, two open positions, a charge: six deals; svc-2 without any; paired as svc-1."""
    for server in ("One", "Two"):
        served.add_server(server, zone_name="UTC", shift_minutes=180)
    served.add_account(id="svc-1", server="One", login=11)
    served.add_account(id="svc-2", server="Two", login=12)
    served.add_account(id="paired", server="One", login=13, shape={"history": "trades", "positions": "epoch"})
    for account in ("svc-1", "paired"):
        served.operate(account, "deposit", now - timedelta(hours=5), amount=1000)
        for number in range(3):
            given = {"symbol": "TEST", "side": "buy", "volume": 1, "price": 100 + number, "ref": f"p{number}"}
            served.operate(account, "open", now - timedelta(hours=4), **given)
        served.operate(account, "close", now - timedelta(minutes=30), position="p0", price=110)
        served.operate(account, "charge", now - timedelta(minutes=20), amount="-1.25")

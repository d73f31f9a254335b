"""The function that takes and shows published days, over a real database: its documents, who calls it, and how it is asked."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from fillbook.runtime.db import Database
from fillbook.snapshot.receive import Delivery, receive

PATH: Final = "/v1/internal/trades/snapshot"
TOKEN: Final = "internal-token-of-the-desk"
PREVIOUS: Final = "internal-token-before-it"
SECRET: Final = "signing-secret-of-the-desk"
KEY: Final = "metrics-key-of-a-reader"
WEAK_KEY: Final = "key-of-another-scope"
ORIGIN: Final = "https://desk.example"
DAY: Final = "2026-02-11"
NOW: Final = datetime(2026, 2, 11, 21, 45, tzinfo=UTC)
UPDATED: Final = "2026-02-11T21:00:04.512Z"
OUR_ROLE: Final = "snapshot_api"
PARTS: Final = ("metrics_kpi_values", "metrics_series_points", "metrics_extremes_items", "metrics_portfolio_assets")
TABLES: Final = ("metrics_daily", *PARTS, "snapshot_versions")
LATER: Final = {"updated_at": "2026-02-11T21:10:00.000Z"}


def keys() -> str:
    """``METRICS_KEYS``: a reader, and a key that may do something else."""
    entries = [("reader", KEY, "metrics:read"), ("other", WEAK_KEY, "metrics:write")]
    return json.dumps([{"id": name, "sha256": _hash(key), "scopes": [scope]} for name, key, scope in entries])


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def settings(database_url: str, folder: Path, now: datetime = NOW, **changes: str) -> dict[str, str]:
    """The function's environment, on a paused clock, with the grants of its own login role."""
    set_clock(folder, now)
    return {
        "FILLBOOK_ENV": "local",
        "FILLBOOK_DATABASE_URL": f"{database_url}?role={OUR_ROLE}",
        "FILLBOOK_DESK_CLOCK": str(folder / "clock.json"),
        "INTERNAL_TOKEN": TOKEN,
        "METRICS_KEYS": keys(),
        **changes,
    }


def set_clock(folder: Path, now: datetime) -> None:
    """Set the desk clock of a running function."""
    fresh = folder / "clock.next"
    fresh.write_text(json.dumps({"desk_at": now.isoformat(), "real_at": 0, "speed": 1.0, "paused": True}))
    fresh.replace(folder / "clock.json")


def signature(raw: bytes, secret: str = SECRET) -> str:
    """What a sender says of the bytes."""
    return hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()


def day_document(day: str = DAY, *, number: int = 1, points: int = 3, **changes: Any) -> dict[str, Any]:
    """A small day all of whose figures say ``number``: a document of two numbers at once is seen at a glance."""
    minutes = [f"{day}T14:{31 + at % 29:02d}:{at // 29:02d}.000Z" for at in range(points)]
    numbers = {"metric_raw": number, "qty": number}
    return {
        "date": day,
        "updated_at": f"{day}T21:00:04.512Z",
        "rows": [
            {
                "kpi": "Daily PnL",
                "value": f"${number}.00",
                "value_num": number,
                "kind": "currency",
                "unit": "USD",
                "sort_order": 10,
            },
            {"kpi": "P&L", "value": f"{number}", "value_num": number, "kind": "number", "sort_order": 20},
            {
                "kpi": "Win rate",
                "value": "—",
                "value_num": None,
                "kind": "percent",
                "sort_order": 30,
                "missing_reason": "none_closed",
            },
        ],
        "overlay": {
            "seriesByKpi": {"Daily PnL": [{"t": at, "v": number, "src": "live"} for at in minutes]},
            "extremes": {
                "byKpi": {
                    "Daily PnL": {
                        "hi": [{"trade_id": 101, "symbol": "AAPL", "contract_name": "AAPL", "rank": 1, **numbers}],
                        "lo": [{"trade_id": 202, "symbol": "TSLA", "contract_name": "TSLA", "rank": 1, **numbers}],
                    }
                }
            },
            "portfolioAssets": [
                {"trade_id": 100 + number, "symbol": "AAPL", "contract_name": "AAPL"},
                {"trade_id": 300, "symbol": "MSFT", "contract_name": f"MSFT {number}"},
            ],
        },
        "stage": "final",
        "kpi_version": 1,
        **changes,
    }


def put(db: Database, document: Mapping[str, Any], *, now: datetime = NOW, force: str = "") -> dict[str, Any]:
    """Store a day by the use case alone."""
    forced = frozenset(filter(None, force.split(",")))
    return receive(db, Delivery(raw=json.dumps(document).encode(), forced=forced, request_id="request-of-a-test"), now)


def code(answer: Any) -> tuple[int, str]:
    """Status and code of a refusal."""
    return answer.status_code, answer.get_json()["error"]["code"]


def held(rows: Callable[..., list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Everything the tables of a day hold, but for the keys that they make themselves and the time of receipt."""
    row = "to_jsonb(x) - 'id' - 'received_at' as row"
    return {table: rows(f"select {row} from metrics.{table} x order by (to_jsonb(x) - 'id')::text") for table in TABLES}


class Api:
    """A client that calls as publishers and readers do. ``client``: of a function in this process, or over HTTP."""

    def __init__(self, client: Any, *, at: Callable[[datetime], None], key: str = KEY) -> None:
        self.client, self.key, self._set_clock = client, key, at

    def post(self, document: Any, *, headers: Mapping[str, str] | None = None, query: str = "", **options: Any) -> Any:
        """Send a document (bytes go as they are) with the right token."""
        raw = document if isinstance(document, bytes) else json.dumps(document).encode()
        options.setdefault("content_type", "application/json")
        shown = {"X-Internal-Token": TOKEN} if headers is None else dict(headers)
        return self.client.post(PATH + query, data=raw, headers=shown, **options)

    def get(self, path: str, *, key: str = "", method: str = "GET", **headers: str) -> Any:
        """Ask as a reader; underscores of header names stand for hyphens."""
        shown = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.open(path, method=method, headers={"Authorization": f"Bearer {key or self.key}", **shown})

    def read(self, path: str, **parameters: object) -> Any:
        """The document of an answer that must be 200."""
        query = "&".join(f"{name.rstrip('_')}={quote(str(value), safe='')}" for name, value in parameters.items())
        answer = self.get(f"{path}?{query}" if query else path)
        assert answer.status_code == 200, answer.get_data()
        return answer.get_json()

    def at(self, now: datetime) -> None:
        """Set the desk clock."""
        self._set_clock(now)

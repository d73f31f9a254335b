"""A small desk for the tests of the read API: its instants, its keys, its fills, and how it is asked."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from flask.testing import FlaskClient

from fillbook.ledger.model import Fill, Side

BOOKED_AT = datetime(2026, 2, 3, 15, 0, tzinfo=UTC)
NOW = datetime(2026, 2, 3, 15, 10, tzinfo=UTC)
KEY, BROKER_KEY, OLD_KEY = "desk-key", "broker-key", "old-key"


def entry(name: str, key: str, **more: object) -> dict[str, object]:
    """An entry of ``DESK_KEYS``."""
    return {
        "id": name,
        "sha256": hashlib.sha256(key.encode()).hexdigest(),
        "scopes": ["read"],
        "tenant_id": "desk",
        "books": ["live"],
        **more,
    }


KEYS = json.dumps(
    [
        entry("desk", KEY),
        entry("broker", BROKER_KEY, books=["ibkr:*"]),
        entry("old", OLD_KEY, expires_at="2026-01-01T00:00:00Z"),
    ]
)


def fill(ticker: str, number: int, side: Side, quantity: str, price: str) -> Fill:
    """A fill of the signal, executed ``number`` minutes after the desk's start, with 0.50 USD of fees."""
    return Fill(
        source="signal",
        source_id=f"{ticker}#{number}",
        instrument=ticker,
        ticker=ticker,
        contract_name=ticker,
        side=side,
        quantity=Decimal(quantity),
        price=Decimal(price),
        fx_rate=Decimal(1),
        fees=Decimal("0.50"),
        fees_currency="USD",
        fees_rate=Decimal(1),
        executed_at=BOOKED_AT + timedelta(minutes=number),
        session_date=date(2026, 2, 3),
        received_at=BOOKED_AT,
        reason="tp_hit" if side is Side.SELL else "corridor_momentum",
    )


def get(client: FlaskClient, path: str, key: str | None = KEY) -> tuple[int, Any]:
    """Status and decoded answer of a question with a key (None: without one)."""
    answer = client.get(path, headers={} if key is None else {"Authorization": f"Bearer {key}"})
    return answer.status_code, answer.get_json()


def published(query: Any, day: str, *, version: int = 1, status: str = "published") -> None:
    """A published day of two KPIs, and the end of its publication."""
    query(
        "insert into metrics.metrics_daily (date, updated_at, headline, summary, rows_json, overlay_json, stage, version,"
        " content_sha256, counts, provenance, received_at) values (:day::date, :day::date + time '21:00', 'Figures', '', '[]',"
        " '{}', 'final', :version::integer, repeat('ab', 32), '{\"kpis\": 2, \"series\": 390}', '{\"books\": [\"live\"]}',"
        " :day::date + time '21:30') returning date",
        day=day,
        version=version,
    )
    query(
        "insert into metrics.publications (run_id, report_date, trigger, started_at, finished_at, status, target, verified,"
        " actor) values (gen_random_uuid(), :day::date, 'cron', :day::date + time '21:30', :day::date + time '21:30', :status,"
        " 'api', true, 'schedule') returning run_id",
        day=day,
        status=status,
    )
    query(
        "insert into metrics.metrics_kpi_values (date, kpi, value_text, value_num, value_kind, unit, sort_order, missing_reason)"
        " values (:day::date, 'Equity', '$100,200.50', 100200.50, 'currency', 'USD', 50, null),"
        " (:day::date, 'Win rate', '—', null, 'percent', '%', 70, 'none_closed') returning kpi",
        day=day,
    )

"""The D1 adapter before the fake one: how a day is written, what is expected, and whether the tables are the day's."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from decimal import Decimal
from typing import Any

from pydantic import SecretStr

from fillbook.snapshot import document
from fillbook.snapshot.d1 import D1
from fillbook.snapshot.model import EXTREME_NUMBERS, Kind, Snapshot
from fillbook.snapshot.sources import FallbackEnd, FallbackKind
from infra.local.d1 import D1Fake
from infra.local.d1_store import TABLES
from tests.support.snapshot_shapes import UPDATED_AT, snapshot

NEW = snapshot()
OLD = snapshot(seed=1, updated_at=UPDATED_AT - timedelta(hours=4))
NEWER = snapshot(seed=2, updated_at=UPDATED_AT + timedelta(milliseconds=1))
DAY = NEW.date.isoformat()
COUNTS = dict(zip(TABLES, (1, len(NEW.rows), len(NEW.points), len(NEW.extremes), len(NEW.assets)), strict=True))


def emptied(d1: D1Fake) -> D1Fake:
    """The fake as it was made."""
    d1.store.clear()
    d1.faults.rules.clear()
    d1.forget_calls()
    return d1


def adapter(d1: D1Fake, **options: Any) -> D1:
    given = {"account_id": d1.account_id, "database_id": d1.database_id, "api_base": d1.api_base, "call_seconds": 30.0}
    return D1(SecretStr(options.pop("token", d1.token)), is_local=True, pause_seconds=(0.0, 0.0), **{**given, **options})


def write(d1: D1Fake, day: Snapshot = NEW, *, seconds: float = 60, **options: Any) -> FallbackEnd:
    return adapter(d1, **options).write(document.encoded(day), day, deadline=time.monotonic() + seconds)


def ended(kind: FallbackKind, attempts: int, detail: str = "", *, is_torn: bool = False) -> FallbackEnd:
    return FallbackEnd(kind=kind, attempts=attempts, detail=detail, verified=kind is FallbackKind.STORED, is_torn=is_torn)


STORED = ended(FallbackKind.STORED, 1)


def steps(d1: D1Fake) -> str:
    """The calls that came: W for a batch that writes, R for one that reads."""
    return "".join("R" if call["statements"][0]["sql"].startswith("select") else "W" for call in d1.calls())


def tables(d1: D1Fake) -> dict[str, list[dict[str, Any]]]:
    return {name: [{key: v for key, v in row.items() if key != "id"} for row in d1.store.rows(name)] for name in TABLES}


def holds(d1: D1Fake, day: Snapshot) -> bool:
    """Whether archive and tables are this day's, in every column."""
    found = tables(d1)
    body = json.loads(document.encoded(day))
    [archive] = found["metrics_daily"]
    return (
        (archive["date"], archive["updated_at"], archive["headline"]) == (DAY, body["updated_at"], body["headline"])
        and archive["rows_json"] == document.rows_json(day)
        and archive["overlay_json"] == document.overlay_json(day)
        and kpis(found["metrics_kpi_values"]) == [(one.kpi, one.value, one.value_num, kind(one.kind)) for one in day.rows]
        and [(r["kpi"], r["t"], number(r["v"]), r["src"]) for r in found["metrics_series_points"]]
        == [(one.kpi, text(one.t), one.v, one.src) for one in day.points]
        and extremes(found["metrics_extremes_items"])
        == [
            (one.kpi, one.side, one.rank, one.trade_id, one.symbol, one.contract_name, text(one.mid_ts), numbers(one))
            for one in day.extremes
        ]
        and [(r["trade_id"], r["symbol"], r["contract_name"]) for r in found["metrics_portfolio_assets"]]
        == [(one.trade_id, one.symbol, one.contract_name) for one in day.assets]
        and all(json.loads(r["item_json"])["contract_name"] == r["contract_name"] for r in found["metrics_extremes_items"])
    )


def number(value: float | None) -> Decimal | None:
    return None if value is None else Decimal(repr(value))


def numbers(one: Any) -> list[Decimal | None]:
    return [getattr(one, name) for name in EXTREME_NUMBERS]


def text(at: Any) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"


def kind(one: Kind) -> str:
    return {Kind.PERCENT: "percent", Kind.TEXT: "text"}.get(one, "number")


def kpis(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(r["kpi"], r["value_text"], number(r["value_num"]), r["value_kind"]) for r in rows]


def extremes(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    names = ("kpi", "side", "rank", "trade_id", "symbol", "contract_name", "mid_ts")
    return [(*(r[name] for name in names), [number(r[name]) for name in EXTREME_NUMBERS]) for r in rows]

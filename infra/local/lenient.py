"""A lenient receiver of published days: it answers and stores as the recorded peer does, torn days and all.

In tests: ``with LenientReceiver(path) as receiver:`` and give ``receiver.base_url``, ``receiver.token`` and
``receiver.read_key`` to whoever publishes; ``receiver.store`` holds the five tables. In the local cloud: ``python -m
infra.local.lenient --port N --state FILE``, the token and the readers' key in ``INTERNAL_TOKEN`` and ``SNAPSHOT_READ_KEY``.
``FILE`` may be that of the fake D1: then it shows what was written past it. It replaces a day in several transactions, the
archive first and then rows by the two hundred, so a failure leaves half a day. Control API: ``/_fault``, ``/_calls``
(``snapshot_server.py``). Source: snapshot specification, 7.
"""

from __future__ import annotations

import argparse
import hmac
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

from infra.local import lenient_reading as reading
from infra.local.d1_store import TABLES, D1Store, Refused, Stop, Stopped, TooSlow
from infra.local.snapshot_faults import Fault
from infra.local.snapshot_server import Asked, Reply, Served, now_text, serve_until_told, told

TOKEN: Final = "our-test-token"  # noqa: S105 - of the fake
READ_KEY: Final = "our-read-key"
POST_PATH: Final = "/v1/internal/trades/snapshot"
LATEST: Final = "/v1/trades/latest"
BATCH: Final = 200
"""Rows of a transaction."""
CACHED_SECONDS: Final = 300.0
"""For how long the public reader may tell what it told before, unless it is asked not to."""
NUMBERS: Final = ", ".join(reading.EXTREME_NUMBERS[:-2])
Sql = tuple[str, Sequence[Any]]

UPSERT: Final = (
    "INSERT INTO metrics_daily(date, updated_at, headline, summary, rows_json, overlay_json) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
    " ON CONFLICT(date) DO UPDATE SET updated_at = excluded.updated_at, headline = excluded.headline,"
    " summary = excluded.summary, rows_json = excluded.rows_json, overlay_json = excluded.overlay_json"
)
KPI: Final = "INSERT INTO metrics_kpi_values(date, kpi, value_text, value_num, value_kind) VALUES (?1, ?2, ?3, ?4, ?5)"
POINT: Final = "INSERT INTO metrics_series_points(date, kpi, t, v, src) VALUES (?1, ?2, ?3, ?4, ?5)"
ASSET: Final = "INSERT INTO metrics_portfolio_assets(date, trade_id, symbol, contract_name) VALUES (?1, ?2, ?3, ?4)"
EXTREME: Final = (
    f"INSERT INTO metrics_extremes_items(date, kpi, side, rank, trade_id, symbol, contract_name, {NUMBERS}, mid_mark_pnl,"
    f" liquidity_drag, mid_ts, item_json) VALUES ({', '.join(f'?{number}' for number in range(1, 22))})"
)


class LenientReceiver(Served):
    """The receiver and its readers. ``caches``: the public reader tells the same for five minutes unless asked not to."""

    def __init__(
        self,
        path: Path,
        *,
        token: str = TOKEN,
        read_key: str = READ_KEY,
        port: int = 0,
        caches: bool = True,
        now: Callable[[], str] = now_text,
    ) -> None:
        super().__init__(port=port)
        self.store = D1Store(path)
        self.token, self.read_key = token, read_key
        self._now, self._caches = now, caches
        self._cache: dict[str, tuple[float, Reply]] = {}

    def stop(self) -> None:
        """Stop serving and close the file."""
        super().stop()
        self.store.close()

    def side(self, asked: Asked) -> str:
        """Posts write."""
        return "write" if asked.method == "POST" else "read"

    def failed(self, status: int) -> Reply:
        """An error body; with 200 an answer without ``ok``."""
        return told(200, {"ok": False}) if status == 200 else wrong(status, "internal", "Internal error")

    def noted(self, asked: Asked) -> dict[str, Any]:
        """Which headers came, and what those say that are no secret."""
        shown = ("content-type", "content-encoding", "cache-control", "x-request-id", "x-signature")
        return {"headers": sorted(asked.headers), **{name: asked.headers[name] for name in shown if name in asked.headers}}

    def answer(self, asked: Asked, fault: Fault | None) -> Reply:
        """Answer a call."""
        if asked.method == "POST" and asked.path == POST_PATH:
            return self._posted(asked, fault)
        if asked.method != "GET":
            return NOT_FOUND
        if asked.path == LATEST:
            return self._latest(asked)
        reader = READERS.get(asked.path)
        if reader is None:
            return NOT_FOUND
        if not _same(asked.headers.get("authorization", ""), f"Bearer {self.read_key}"):
            return wrong(401, "unauthorized", "Unauthorized")
        return self._read(reader, asked)

    # -- taking a day -------------------------------------------------------------------------------------------------------

    def _posted(self, asked: Asked, fault: Fault | None) -> Reply:
        if not _same(asked.headers.get("x-internal-token", ""), self.token):
            return wrong(403, "forbidden", "Forbidden")
        try:
            given = reading.parsed(asked.body)
        except (ValueError, RecursionError):
            return wrong(400, "invalid_request", "Invalid JSON body")
        try:
            day = reading.read(given, self._now())
            if fault is None or fault.kind != "forget":
                self._store(day, fault)
        except (reading.Broken, Refused, TooSlow):
            return self.failed(500)
        except Stopped:
            return self.failed(int(fault.options["status"]) if fault is not None else 500)
        if fault is not None and fault.kind == "alter":
            self.store.alter(day.date, str(fault.options["table"]), fault.options["column"])
        return told(200, {"ok": True, "date": day.date, "updated_at": day.updated_at})

    def _store(self, day: reading.Day, fault: Fault | None) -> None:
        """The archive and the emptied tables first, then the rows: one transaction each two hundred."""
        stop = fault.options if fault is not None and fault.kind == "stop" else None
        done = 0
        rows = _inserts(day)
        batch = list(_emptied(day))
        while batch:
            left = None if stop is None else Stop(n=int(stop["n"]) - done, rollback=bool(stop["rollback"]))
            self.store.batch(batch, left)
            done += len(batch)
            batch = list(islice(rows, BATCH))

    # -- readers --------------------------------------------------------------------------------------------------------------

    def _latest(self, asked: Asked) -> Reply:
        date = asked.query.get("date", "")
        kept = self._cache.get(date)
        may_keep = self._caches and "no-cache" not in asked.headers.get("cache-control", "")
        if kept is not None and may_keep and time.monotonic() - kept[0] < CACHED_SECONDS:
            return kept[1]
        row = self._day(date)
        if row is None:
            return NOT_FOUND
        shown = {name: row[name] for name in ("date", "updated_at", "headline", "summary")}
        reply = told(200, {**shown, "rows": json.loads(row["rows_json"]), "overlay": json.loads(row["overlay_json"])})
        self._cache[date] = (time.monotonic(), reply)
        return reply

    def _day(self, date: str) -> dict[str, Any] | None:
        """A day of the archive; the latest one when none is named."""
        where = "date = ?1" if date else "?1 = '' ORDER BY date DESC LIMIT 1"
        found = self.store.batch([(f"SELECT * FROM metrics_daily WHERE {where}", [date])])[0]["results"]
        return found[0] if found else None

    def _read(self, reader: Reader, asked: Asked) -> Reply:
        row = self._day(asked.query.get("date", ""))
        if row is None:
            return NOT_FOUND
        table, names, order, filters, usual, most, container = reader
        given = {name: asked.query[name] for name in filters if name in asked.query}
        limit = asked.query.get("limit", "")
        count = min(int(limit) if limit.isdecimal() else usual, most)
        where = "".join(f" AND {name} = ?{number}" for number, name in enumerate(given, 2))
        sql = f"SELECT {names} FROM {table} WHERE date = ?1{where} ORDER BY {order} LIMIT {count}"
        items = self.store.batch([(sql, [row["date"], *given.values()])])[0]["results"]
        for item in items:
            if "item_json" in item:
                item["item"] = json.loads(item.pop("item_json"))
        if container is None:
            return told(200, items[0])
        return told(200, {"date": row["date"], **given, container: items})


Reader = tuple[str, str, str, tuple[str, ...], int, int, str | None]
"""Table, columns, order, filters, usual and greatest limit, the name of the list (None: the row itself)."""
READERS: Final[dict[str, Reader]] = {
    "/v1/metrics/daily": ("metrics_daily", "date, updated_at, headline, summary", "date", (), 1, 1, None),
    "/v1/metrics/kpis": (
        "metrics_kpi_values", "kpi, value_text, value_num, value_kind", "rowid", (), 2_000, 2_000, "items",
    ),
    "/v1/metrics/series": ("metrics_series_points", "t, v, src", "t", ("kpi",), 500, 2_000, "points"),
    "/v1/metrics/extremes": (
        "metrics_extremes_items",
        f"kpi, side, rank, trade_id, symbol, contract_name, {NUMBERS}, mid_ts, mid_mark_pnl, liquidity_drag, item_json",
        "rank", ("kpi", "side"), 10, 50, "items",
    ),
    "/v1/metrics/portfolio-assets": (
        "metrics_portfolio_assets", "trade_id, symbol, contract_name", "trade_id, contract_name", ("symbol",), 200, 2_000,
        "items",
    ),
}  # fmt: skip


def wrong(status: int, code: str, message: str) -> Reply:
    """An error in the receiver's form."""
    return told(status, {"error": {"code": code, "message": message}})


NOT_FOUND: Final = wrong(404, "not_found", "Not found")


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.strip().encode(), wanted.encode())


def _emptied(day: reading.Day) -> Iterator[Sql]:
    documents = [json.dumps(one, separators=(",", ":"), ensure_ascii=False) for one in (day.rows, day.overlay)]
    yield UPSERT, [day.date, day.updated_at, day.headline, day.summary, *documents]
    for table in TABLES[1:]:
        yield f"DELETE FROM {table} WHERE date = ?1", [day.date]


def _inserts(day: reading.Day) -> Iterator[Sql]:
    for kpi in day.kpis:
        yield KPI, [day.date, *kpi]
    for point in day.points:
        yield POINT, [day.date, *point]
    for *head, numbers, mid_ts, item in day.extremes:
        values = [numbers[name] for name in reading.EXTREME_NUMBERS]
        yield EXTREME, [day.date, *head, *values, mid_ts, json.dumps(item, separators=(",", ":"), ensure_ascii=False)]
    for asset in day.assets:
        yield ASSET, [day.date, *asset]


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.lenient", description="a lenient receiver of days")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--state", type=Path, required=True, help="the SQLite file; made when missing")
    options = parser.parse_args(arguments)
    token, key = os.environ.get("INTERNAL_TOKEN") or TOKEN, os.environ.get("SNAPSHOT_READ_KEY") or READ_KEY
    serve_until_told(LenientReceiver(options.state, token=token, read_key=key, port=options.port), "lenient receiver")


if __name__ == "__main__":
    main()

"""Decision logs as streams, what lies behind a difference, and the tables ``comparisons`` and ``divergences``.

A log is read ticker by ticker from a place on, so that memory holds one page of each side, however long the runs are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, Final

from fillbook.replay.buckets import ReplayDay
from fillbook.replay.causes import Compared, Parted, Told
from fillbook.replay.compare import Line
from fillbook.replay.model import Comparison, Divergence
from fillbook.runtime.db import Tx
from fillbook.runtime.errors import Rejected
from fillbook.runtime.sql import encode, load_queries
from fillbook.signal.receipt import instant
from fillbook.values import frozen

QUERIES: Final = load_queries("fillbook.replay", "comparisons.sql")
LINES_PAGE: Final = 2_000
LINES_MAX: Final = 500_000  # eight full days of each side: more does not end within a request
TOLD_BATCH: Final = 200  # a trace may have 4 kB
PARTED_MAX: Final = 20_000
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)

Row = dict[str, Any]


@frozen
class LoggedStretch:
    """Which lines of a book's log count: one ticker or all, one script version or any (``*``), within days or everywhere.

    ``until`` is the first ts (ms) that does not count, ``None`` for no end.
    """

    book_id: str
    ticker: str | None = None
    script_version: str = "*"
    days: tuple[ReplayDay, ...] | None = None
    until: int | None = None


def run_row(tx: Tx, run: str) -> Row | None:
    """The record of a run by its id or name."""
    rows = tx.query(QUERIES["compared_run"], run=run)
    return rows[0] if rows else None


def tickers_of(tx: Tx, books: Sequence[str], ticker: str | None) -> list[str]:
    """Tickers that any of the books decided, in the order of a log."""
    return sorted(row["ticker"] for row in tx.query(QUERIES["log_tickers"], books=list(books), ticker=ticker))


def log_of(tx: Tx, stretch: LoggedStretch, tickers: Sequence[str], *, page: int = LINES_PAGE) -> Iterator[Line]:
    """The lines of a stretch by (ticker, ts); ``Rejected('too_many_lines')`` beyond ``LINES_MAX``."""
    days = stretch.days
    within = {
        "book_id": stretch.book_id,
        "script_version": stretch.script_version,
        "starts": None if days is None else [instant(day.start) for day in days],
        "ends": None if days is None else [instant(day.settled) for day in days],
        "until": None if stretch.until is None else instant(stretch.until),
        "rows_max": page,
    }
    read = 0
    for ticker in tickers:
        since = _BEGINNING if not days else instant(days[0].start)
        while True:
            rows = tx.query(QUERIES["log_page"], **within, ticker=ticker, since=since)
            read += len(rows)
            if read > LINES_MAX:
                raise Rejected("too_many_lines", "compare one date of them", field="date")
            yield from (Line(**row) for row in rows)
            if len(rows) < page:
                break
            since = instant(rows[-1]["ts"] + 1)


def told_of(
    tx: Tx, book_id: str, places: Sequence[tuple[str, int]], configs: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[tuple[str, int], str, Told]]:
    """What a book stored of its decisions at some places: place, profile name, ``Told``; ``configs`` are profiles by digest."""
    for start in range(0, len(places), TOLD_BATCH):
        batch = places[start : start + TOLD_BATCH]
        rows = tx.query(
            QUERIES["log_told"],
            book_id=book_id,
            tickers=[ticker for ticker, _ in batch],
            instants=[instant(ts) for _, ts in batch],
        )
        for row in rows:
            yield (row["ticker"], row["ts"]), row["profile"], _told(row, configs)


def _told(row: Row, configs: Mapping[str, Mapping[str, Any]]) -> Told:
    trace = row["trace"]
    return Told(
        config_digest=row["config_digest"],
        config=configs.get(row["config_digest"]),
        compared=[Compared(*entry) for entry in trace["compared"]],
        account=row["account"],
        column=trace["inputs"].get("column"),
        is_whole=row["is_whole"],
    )


def starts_of(tx: Tx, book_id: str, tickers: Sequence[str], since: date) -> dict[str, Any]:
    """State and open plan of tickers before their first decided receipt from a day on; a ticker without is not in it."""
    rows = tx.query(QUERIES["log_starts"], book_id=book_id, tickers=list(tickers), since=since)
    return {row["ticker"]: (row["state"], row["plan"]) for row in rows if row["state"] is not None}


def parted_of(tx: Tx, a: str, b: str, since: datetime, until: datetime) -> tuple[Parted, ...]:
    """Actions that two books do not share alike, in the order in which a replay decides."""
    rows = tx.query(QUERIES["log_parted"], a=a, b=b, since=since, until=until, rows_max=PARTED_MAX)
    return tuple(sorted((Parted(**row) for row in rows), key=lambda one: (one.ts, one.ticker, one.action_id)))


def keep(tx: Tx, found: Comparison) -> None:
    """Store a comparison in the place of the last one of the same two."""
    tx.execute(QUERIES["comparison_forgotten"], comparison_id=found.comparison_id)
    tx.execute(
        QUERIES["comparison_kept"],
        comparison_id=found.comparison_id,
        a=found.a,
        b=found.b,
        identical=found.identical,
        totals=encode({"a": _totals(found, "a"), "b": _totals(found, "b")}),
        positions=encode(dict(found.positions)),
        tickers=found.tickers,
        divergent=len(found.divergences),
        now=found.recorded_at,
    )
    if found.divergences:
        rows = encode([_divergence_row(one) for one in found.divergences])
        tx.execute(QUERIES["divergences_kept"], comparison_id=found.comparison_id, rows=rows)


def last_comparison(tx: Tx, run: str) -> Row | None:
    """The newest comparison of a run."""
    rows = tx.query(QUERIES["last_comparison"], run=run)
    return rows[0] if rows else None


def divergences_after(tx: Tx, comparison_id: str, place: tuple[bool, int, str] | None, rows_max: int) -> list[Row]:
    """First differences after a place (whether only figures differ, ts, ticker)."""
    figures, ts, ticker = place if place is not None else (False, None, "")
    return tx.query(
        QUERIES["divergences_of"],
        comparison_id=comparison_id,
        after_figures=figures,
        after_ts=None if ts is None else instant(ts),
        after_ticker=ticker,
        rows_max=rows_max,
    )


def _totals(found: Comparison, side: str) -> Row:
    totals = found.totals_a if side == "a" else found.totals_b
    return {
        "decided": totals.decided,
        "entries": totals.entries,
        "adds": totals.adds,
        "trims": totals.trims,
        "exits": totals.exits,
        "realized_pnl": totals.realized_pnl,
    }


def _divergence_row(one: Divergence) -> Row:
    return {
        "ticker": one.ticker,
        "ts": instant(one.ts),
        "receipt_id": one.receipt_id,
        "field": one.field,
        "value_a": one.value_a,
        "value_b": one.value_b,
        "cause": one.cause.value,
        "rule": one.rule,
        "detail": dict(one.detail or {}),
        "later_count": one.later_count,
    }

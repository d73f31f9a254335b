"""Days of room snapshot as their source gives them: W1 of the specification, and days of any size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from fillbook.snapshot.model import EXTREME_NUMBERS, Missing, Side, Source, Watermark, WorkDay

DAY: Final = date(2026, 2, 11)
OPEN_AT: Final = datetime(2026, 2, 11, 14, 30, tzinfo=UTC)
CLOSE_AT: Final = datetime(2026, 2, 11, 21, 0, tzinfo=UTC)
NOW: Final = datetime(2026, 2, 11, 21, 30, tzinfo=UTC)
PROVENANCE: Final = {"books": ["live"], "run_id": "run-1", "late_actions": [], "forced": []}
NAMING: Final = {"headline": "Fillbook metrics for 2026-02-11", "summary": "", "provenance": PROVENANCE}

# name, kind, unit, number (None: missing), display text, reason
W1: Final = (
    ("Daily PnL", "currency", "USD", "200.50", "$200.50", None),
    ("Realized PnL", "currency", "USD", "77.00", "$77.00", None),
    ("Unrealized PnL", "currency", "USD", "123.50", "$123.50", None),
    ("Total PnL", "currency", "USD", "200.50", "$200.50", None),
    ("Equity", "currency", "USD", "100200.50", "$100,200.50", None),
    ("Daily return", "percent", "%", "0.2005", "0.2%", None),
    ("Win rate", "percent", "%", "0.0000", "0.0%", None),
    ("Profit factor", "ratio", None, "4.5000", "4.50", None),
    ("Expectancy", "currency", "USD", "-22.00", "-$22.00", None),
    ("Avg win", "currency", "USD", None, "—", "none_closed"),
    ("Avg loss", "currency", "USD", "-22.00", "-$22.00", None),
    ("Entries opened", "number", None, "2", "2", None),
    ("Add entries", "number", None, "1", "1", None),
    ("Trims taken", "number", None, "1", "1", None),
    ("Exits closed", "number", None, "1", "1", None),
    ("Open positions", "number", None, "1", "1", None),
    ("Gross exposure", "currency", "USD", "1725.00", "$1,725.00", None),
    ("Net exposure", "currency", "USD", "1725.00", "$1,725.00", None),
    ("Traded value", "currency", "USD", "4720.00", "$4,720.00", None),
    ("Fees paid", "currency", "USD", "4.50", "$4.50", None),
    ("Avg hold time", "duration", "s", "3780", "1h 03m", None),
    ("Max drawdown", "percent", "%", None, "—", "no_history"),
    ("Sharpe ratio", "ratio", None, None, "—", "too_few"),
    ("Liquidity drag", "currency", "USD", "1.50", "$1.50", None),
    ("Oldest mark age", "duration", "s", "300", "5m 00s", None),
)
NUMBERS: Final = {name: number for name, _, _, number, _, _ in W1}
SERIES: Final = 15
IN_SERIES: Final = (
    "Daily PnL",
    "Realized PnL",
    "Unrealized PnL",
    "Total PnL",
    "Equity",
    "Daily return",
    "Fees paid",
    "Net exposure",
)


def work_day(**changes: Any) -> WorkDay:
    """11 February 2026, a whole session, looked at after its close."""
    facts: dict[str, Any] = {
        "report_date": DAY,
        "window_start": datetime(2026, 2, 11, 5, tzinfo=UTC),
        "window_end": datetime(2026, 2, 12, 5, tzinfo=UTC),
        "session_open": OPEN_AT,
        "session_close": CLOSE_AT,
        "as_of": NOW,
        "valuation_at": CLOSE_AT,
        "previous_date": date(2026, 2, 10),
        "previous_close": datetime(2026, 2, 10, 21, tzinfo=UTC),
    }
    return WorkDay(**facts | changes)


def watermark(**changes: Any) -> Watermark:
    """What W1 was computed from."""
    facts: dict[str, Any] = {
        "as_of": NOW,
        "valuation_at": CLOSE_AT,
        "last_recorded_at": datetime(2026, 2, 11, 20, 55, 4, 512_345, tzinfo=UTC),
        "last_mark_at": datetime(2026, 2, 11, 20, 55, tzinfo=UTC),
        "actions": 5,
        "closings": 2,
        "open_positions": 1,
        "ledger_seq": {"live": 18_344},
        "refreshed_at": datetime(2026, 2, 11, 21, 30, 1, tzinfo=UTC),
        "excluded": {},
        "after_close": 0,
    }
    return Watermark(**facts | changes)


def kpi_rows(kpis: Iterable[tuple[str, str, str | None, str | None, str, str | None]] = W1) -> tuple[Mapping[str, Any], ...]:
    """Rows of the summary view."""
    return tuple(
        {"kpi_name": name, "display_value": text, "sort_order": 10 * (place + 1), "report_date": DAY}
        for place, (name, _, _, _, text, _) in enumerate(kpis)
    )


def value_rows(kpis: Iterable[tuple[str, str, str | None, str | None, str, str | None]] = W1) -> dict[str, Mapping[str, Any]]:
    """Rows of the view of values, by name."""
    return {
        name: {
            "kpi_name": name,
            "value_num": None if number is None else Decimal(number),
            "value_kind": kind,
            "unit": unit,
            "missing_reason": reason,
            "kpi_version": 1,
            "report_date": DAY,
        }
        for name, kind, unit, number, _, reason in kpis
    }


def point_row(name: str, at: datetime, value: str | None, source: str | None = "live") -> dict[str, Any]:
    """A row of the series view."""
    number = None if value is None else Decimal(value)
    return {"kpi_name": name, "ts": at, "value": number, "source": source, "report_date": DAY}


def series_rows(names: Sequence[str] = IN_SERIES, minutes: int = 3) -> tuple[Mapping[str, Any], ...]:
    """The last ``minutes`` points of each series up to the close, where they reach the KPI's number."""
    return tuple(
        point_row(name, CLOSE_AT - timedelta(minutes=back), str(Decimal(NUMBERS[name] or 0) - back))
        for name in sorted(names)
        for back in reversed(range(minutes))
    )


def extreme_row(name: str, side: str | None, rank: int, trade_id: int | None, symbol: str, **columns: Any) -> dict[str, Any]:
    """A row of the extremes view; numbers not given are NULL."""
    numbers = dict.fromkeys(EXTREME_NUMBERS)
    row = {"kpi_name": name, "side": side, "rank": rank, "trade_id": trade_id, "symbol": symbol, "contract_name": symbol}
    return {**row, **numbers, "mid_ts": None, "report_date": DAY, **columns}


AAPL: Final = {
    "metric_raw": Decimal("200.5"),
    "metric_abs": Decimal("200.5"),
    "individual_pnl": Decimal("222.50"),
    "abs_individual_pnl": Decimal("222.50"),
    "percent_change": Decimal("9.5238095238"),
    "cost_basis": Decimal("1601.50"),
    "qty": Decimal(15),
    "bid_price": Decimal("114.90"),
    "ask_price": Decimal("115.10"),
    "mid_price": Decimal(115),
    "mid_ts": datetime(2026, 2, 11, 20, 55, tzinfo=UTC),
    "mid_mark_pnl": Decimal("123.50"),
    "liquidity_drag": Decimal("1.50"),
}
TSLA: Final = {"metric_raw": Decimal(-22), "metric_abs": Decimal(22), "individual_pnl": Decimal(-22), "cost_basis": Decimal(0)}


def extreme_rows() -> tuple[Mapping[str, Any], ...]:
    """W1's two trades at both ends of Daily PnL."""
    return (
        extreme_row("Daily PnL", "hi", 1, 101, "AAPL", **AAPL),
        extreme_row("Daily PnL", "hi", 2, 202, "TSLA", **TSLA),
        extreme_row("Daily PnL", "lo", 1, 202, "TSLA", **TSLA),
        extreme_row("Daily PnL", "lo", 2, 101, "AAPL", **AAPL),
    )


def asset_row(trade_id: Any, symbol: str | None = "AAPL", contract_name: str | None = "AAPL") -> dict[str, Any]:
    """A row of the portfolio view."""
    return {"trade_id": trade_id, "symbol": symbol, "contract_name": contract_name, "report_date": DAY}


def w1(**changes: Any) -> Source:
    """W1 as our own views give it after the close."""
    parts: dict[str, Any] = {
        "day": work_day(),
        "kpis": kpi_rows(),
        "series": series_rows(),
        "extremes": extreme_rows(),
        "portfolio": (asset_row(101),),
        "values": value_rows(),
        "watermark": watermark(),
        "start_cash": Decimal("100000.00"),
    }
    return Source(**parts | changes)


def foreign(**changes: Any) -> Source:
    """W1 as somebody else's views give it: display texts and no companions."""
    return w1(**{"values": None, "watermark": None, "start_cash": None} | changes)


def without(source: Source, name: str) -> tuple[Mapping[str, Any], ...]:
    """The summary rows but for one KPI's."""
    return tuple(row for row in source.kpis if row["kpi_name"] != name)


def lost(*names: str, reason: Missing = Missing.NO_MARK) -> dict[str, Any]:
    """Summary and values of W1 with some KPIs missing for ``reason``."""
    kpis = [(name, kind, unit, None, "—", reason.value) if name in names else one for one in W1 for name, kind, unit, *_ in [one]]
    return {"kpis": kpi_rows(kpis), "values": value_rows(kpis)}


def large(points: int = 6_000, extremes: int = 400, assets: int = 200) -> Source:
    """A day of many rows: 25 KPIs, 15 series of equal length that end at their KPI, extremes of 10 a side, and a portfolio."""
    figures = counted(assets)
    ends = {name: str(row["value_num"]) for name, row in sorted(figures["values"].items()) if row["value_num"] is not None}
    each = points // SERIES
    rows = [
        point_row(name, CLOSE_AT - timedelta(minutes=back), ends[name] if back == 0 else f"{back * 7 % 1013}.{back % 100:02}")
        for name in list(ends)[:SERIES]
        for back in reversed(range(each))
    ]
    sided = [
        extreme_row(name, side.value, rank, 1000 * place + rank, f"SYM{rank}", **AAPL)
        for place, name in enumerate(sorted(NUMBERS)[: extremes // 20])
        for side in Side
        for rank in range(1, 11)
    ]
    held = tuple(asset_row(10_000 + number, "AAPL", f"AAPL {number}") for number in range(assets))
    return w1(series=tuple(rows), extremes=tuple(sided), portfolio=held, watermark=watermark(open_positions=assets), **figures)


def counted(positions: int) -> dict[str, Any]:
    """Summary and values of W1 with another number of open positions."""
    kpis = [(*one[:3], str(positions), f"{positions:,}", None) if one[0] == "Open positions" else one for one in W1]
    return {"kpis": kpi_rows(kpis), "values": value_rows(kpis)}

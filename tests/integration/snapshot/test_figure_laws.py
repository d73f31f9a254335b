"""On generated books every KPI and every point equals a second computation from the book's actions, and trades add up to KPIs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest

from fillbook.ledger import service
from fillbook.ledger.model import Mark
from fillbook.snapshot import days, source
from fillbook.snapshot.building import built
from fillbook.snapshot.checks import validated
from fillbook.snapshot.model import Dropped, Source, WorkDay
from fillbook.snapshot.source import ViewNames
from tests.support.campaigns import chance, small_or_full
from tests.support.ledger import StoredWorld
from tests.support.snapshot_desk import SnapshotDesk, ny
from tests.support.snapshot_histories import history
from tests.support.snapshot_oracle import DIGITS, Oracle, Seen, rounded

BOOKS = small_or_full(8, 1_000)
ROUNDS = small_or_full(1, 100)
MONDAY, TUESDAY = date(2026, 2, 2), date(2026, 2, 3)
ADDITIVE = ("Daily PnL", "Realized PnL", "Unrealized PnL", "Total PnL", "Gross exposure", "Net exposure", "Traded value")
ADDITIVE += ("Fees paid", "Liquidity drag")
MEANS = ("Avg win", "Avg loss", "Avg hold time")
START_CASH = Decimal(100_000)


@pytest.mark.parametrize("turn", range(ROUNDS))
def test_every_figure_of_generated_books_equals_a_second_computation(desk: SnapshotDesk, turn: int) -> None:
    rng = chance(20_260_203 + turn)
    for number in range(BOOKS // ROUNDS):
        world, marks = _told(desk, f"law-{turn}-{number}", rng)
        now = rng.choice([ny("2026-02-03T16:30"), ny("2026-02-03T11:17:30"), ny("2026-02-03T20:00"), ny("2026-02-03T09:00")])
        planned = (days.plan(MONDAY, now), days.plan(TUESDAY, now))
        desk.refreshed(*planned)
        actions = world.actions
        for day in planned:
            oracle = Oracle(actions, marks, day, START_CASH)
            read = source.read(desk.db, ViewNames(), day)
            _figures_agree(read, oracle)
            _points_agree(read, oracle, rng)
            _trades_add_up(desk, read)
            _last_points_are_the_figures(read, oracle)
        snapshot, dropped, problems = built(read, headline="", summary="", provenance={})
        assert (dropped, problems, validated(snapshot, read)) == (Dropped(), (), ())


def _told(desk: SnapshotDesk, name: str, rng: Random) -> tuple[StoredWorld, list[Seen]]:
    told = history(rng)
    world = desk.open(name, start_cash=START_CASH)
    half = len(told.deliveries) // 2
    world.deliver(told.deliveries[:half], ny("2026-02-03T21:00"))
    desk.refreshed(days.plan(MONDAY, ny("2026-02-02T09:00")))  # so that the second half is carried on, not counted anew
    world.deliver(told.deliveries[half:], ny("2026-02-03T21:00"))
    seen = [
        Mark(instrument=m.instrument, price=m.price, bid=m.bid, ask=m.ask, marked_at=m.at, source="signal") for m in told.marks
    ]
    service.run(desk.db, lambda tx: service.mark(tx, world.book.book_id, seen, ny("2026-02-03T21:00")))
    return world, told.marks


def _figures_agree(read: Source, oracle: Oracle) -> None:
    assert read.values is not None
    wanted = oracle.figures(oracle.last_at, oracle.day.valuation_at)
    found = {kpi: read.values[kpi]["value_num"] for kpi in wanted}
    assert found == {kpi: rounded(value, DIGITS[read.values[kpi]["value_kind"]]) for kpi, value in wanted.items()}
    assert read.watermark is not None
    assert read.watermark.open_positions == len(read.portfolio) == wanted["Open positions"]


def _points_agree(read: Source, oracle: Oracle, rng: Random) -> None:
    """Some minutes of all series but drawdown, also where a mark gets stale: value, source, no point where nothing is known."""
    assert read.values is not None
    minutes = max(0, (oracle.day.valuation_at - oracle.day.session_open) // timedelta(minutes=1))
    points = {(row["kpi_name"], row["ts"]): (row["value"], row["source"]) for row in read.series}
    assert len(points) == len(read.series)
    session = range(1, minutes + 1)
    stale = [minute for minute in sorted(_stale_from(oracle)) if minute in session]
    for minute in {*rng.sample(session, min(2, minutes)), *rng.sample(stale, min(2, len(stale)))}:
        ts = oracle.day.session_open + timedelta(minutes=minute)
        wanted = oracle.figures(ts, ts, ended=True)
        marked = oracle.is_stale(ts)
        for kpi in SERIES:
            value = rounded(wanted[kpi], DIGITS[read.values[kpi]["value_kind"]])
            expected = None if value is None else (value, marked if kpi in MARKED else "ledger")
            assert points.get((kpi, ts)) == expected, (kpi, ts)
    _drawdown_agrees(points, minutes, oracle.day)


def _stale_from(oracle: Oracle) -> set[int]:
    """Where marks that no other one follows soon turn fifteen minutes old, and the minutes after, counted from the open."""
    found = set()
    for instrument in {mark.instrument for mark in oracle.marks}:
        at = [mark.at for mark in oracle.marks if mark.instrument == instrument]
        lonely = [
            one for one, then in zip(at, [*at[1:], None], strict=True) if then is None or then - one > timedelta(minutes=21)
        ]
        minutes = [(one - oracle.day.session_open) // timedelta(minutes=1) + 15 for one in lonely]
        found |= {*minutes, *(minute + 1 for minute in minutes)}
    return found


SERIES = ("Daily PnL", "Realized PnL", "Unrealized PnL", "Total PnL", "Equity", "Daily return", "Win rate", "Profit factor")
SERIES += ("Open positions", "Gross exposure", "Net exposure", "Traded value", "Fees paid", "Liquidity drag")
MARKED = {
    "Daily PnL",
    "Unrealized PnL",
    "Total PnL",
    "Equity",
    "Daily return",
    "Gross exposure",
    "Net exposure",
    "Liquidity drag",
}


def _drawdown_agrees(points: dict[tuple[str, datetime], tuple[Decimal, str]], minutes: int, day: WorkDay) -> None:
    peak: Fraction | None = None
    worst = Fraction(0)
    for minute in range(1, minutes + 1):
        ts = day.session_open + timedelta(minutes=minute)
        point = points.get(("Equity", ts))
        if point is None:
            assert ("Max drawdown", ts) not in points
            continue
        equity = Fraction(point[0])
        peak = equity if peak is None else max(peak, equity)
        worst = max(worst, 100 * (peak - equity) / peak)
        assert points["Max drawdown", ts] == (rounded(worst, 4), point[1])


def _trades_add_up(desk: SnapshotDesk, read: Source) -> None:
    assert read.values is not None
    day = read.day.report_date
    rows = desk.query("select kpi_name, metric from metrics.trade_metrics where report_date = :day", day=day)
    older = desk.query(
        """select t.realized_pnl from metrics.settled_trades t join metrics.snapshot_books b using (book_id)
            where t.closed_at <= :previous_close and t.realized_pnl is not null""",
        previous_close=read.day.previous_close,
    )
    for kpi in (*ADDITIVE, *MEANS):
        row = read.values[kpi]
        if row["value_num"] is None:
            continue
        parts = [Fraction(one["metric"]) for one in rows if one["kpi_name"] == kpi]
        if kpi == "Total PnL":
            parts += [Fraction(one["realized_pnl"]) for one in older]
        whole = sum(parts, Fraction(0)) / (len(parts) if kpi in MEANS else 1)
        assert rounded(Fraction(round(whole, 14)), DIGITS[row["value_kind"]]) == row["value_num"], kpi
        _ends_are(read, kpi, parts)


def _ends_are(read: Source, kpi: str, metrics: Iterable[Fraction]) -> None:
    """The extremes are the ten largest and the ten smallest of all."""
    ordered = sorted(round(Decimal(one.numerator) / one.denominator, 10) for one in metrics)
    for side, wanted in (("hi", ordered[::-1][:10]), ("lo", ordered[:10])):
        ends = [row for row in read.extremes if (row["kpi_name"], row["side"]) == (kpi, side)]
        assert [round(row["metric_raw"], 8) for row in ends] == [round(one, 8) for one in wanted], (kpi, side)
        assert [row["rank"] for row in ends] == list(range(1, len(ends) + 1))


def _last_points_are_the_figures(read: Source, oracle: Oracle) -> None:
    """At stage final and without an action after the close each series ends where its KPI stands."""
    day = oracle.day
    late = any(day.session_close < a.executed_at <= oracle.last_at for t in oracle.trades for a in t.actions)
    if day.stage != "final" or late:
        return
    assert read.values is not None
    last = {row["kpi_name"]: row["value"] for row in read.series if row["ts"] == day.session_close}
    for kpi in SERIES:
        assert last.get(kpi) == read.values[kpi]["value_num"], kpi

"""Series of a day: a point per minute end, valued with buckets that have ended, named by the age of its marks, never invented."""

from __future__ import annotations

from datetime import date

import pytest

from fillbook.snapshot.model import Source
from tests.support.ledger import StoredWorld
from tests.support.snapshot_desk import SnapshotDesk, fill_of, ny, series

DAY = "2026-02-03"


def bought(desk: SnapshotDesk, name: str, at: str = "10:00", day: str = DAY) -> StoredWorld:
    """A book that holds ten AMD at 50 from some minute on."""
    world = desk.open(name)
    world.deliver(
        [fill_of({"at": f"{day}T{at}", "side": "BUY", "instrument": "AMD", "quantity": 10, "price": 50}, 0)], ny(f"{day}T{at}")
    )
    return world


@pytest.mark.parametrize(
    ("day", "now", "points"), [(DAY, "16:30", 390), ("2026-11-27", "16:30", 210), ("2026-11-27", "12:30:59", 180)]
)
def test_a_session_has_a_point_per_minute_end_up_to_its_valuation(desk: SnapshotDesk, day: str, now: str, points: int) -> None:
    desk.open(f"count-{day}-{points}")
    read = desk.figures(f"{day}T{now}")
    equity = series(read, "Equity")
    assert len(equity) == points
    assert equity[0][0] == "09:31"
    assert equity[-1][0] == {390: "16:00", 210: "13:00", 180: "12:30"}[points]
    assert {row["kpi_name"] for row in read.series} == {
        "Daily PnL", "Realized PnL", "Unrealized PnL", "Total PnL", "Equity", "Daily return", "Open positions", "Gross exposure",
        "Net exposure", "Traded value", "Fees paid", "Max drawdown", "Liquidity drag",
    }  # fmt: skip


def test_before_the_open_and_in_its_first_minute_there_is_no_point(desk: SnapshotDesk) -> None:
    bought(desk, "early", day="2026-02-02")
    assert desk.figures(f"{DAY}T09:00").series == ()
    assert desk.figures(f"{DAY}T09:30:59").series == ()
    assert len(series(desk.figures(f"{DAY}T09:31"), "Open positions")) == 1


def unrealized(read: Source) -> dict[str, tuple[int, str]]:
    return {clock: (int(value), source) for clock, value, source in series(read, "Unrealized PnL")}


def test_a_mark_is_seen_when_its_bucket_has_ended_and_is_stale_after_fifteen_minutes(desk: SnapshotDesk) -> None:
    world = bought(desk, "seen")
    desk.mark(world, "AMD", f"{DAY}T10:06:00", 51)
    desk.mark(world, "AMD", f"{DAY}T10:07:30", 52)  # the last one of its bucket counts
    desk.mark(world, "AMD", f"{DAY}T10:45:00", 53)
    found = unrealized(desk.figures(f"{DAY}T11:00"))
    assert found["09:59"] == (0, "ledger")
    assert not {clock for clock in found if "10:00" <= clock < "10:10"}  # held, but nobody knows at what price
    assert (found["10:10"], found["10:22"], found["10:23"]) == ((20, "live"), (20, "live"), (20, "stale"))
    assert (found["10:49"], found["10:50"], found["11:00"]) == ((20, "stale"), (30, "live"), (30, "live"))
    assert len(found) == 90 - 10


def test_a_mark_from_before_the_open_counts_from_the_first_minute_on(desk: SnapshotDesk) -> None:
    world = bought(desk, "overnight", day="2026-02-02")
    desk.mark(world, "AMD", "2026-02-02T15:59:00", 52)
    desk.mark(world, "AMD", f"{DAY}T09:28:00", 55)
    read = desk.figures(f"{DAY}T09:40")
    assert unrealized(read)["09:31"] == (50, "live")
    assert series(read, "Daily PnL")[0][1] == 30
    assert series(read, "Realized PnL")[0] == ("09:31", 0, "ledger")


def test_one_position_without_a_mark_leaves_a_gap_only_where_marks_are_needed(desk: SnapshotDesk) -> None:
    world = bought(desk, "gap")
    desk.mark(world, "AMD", f"{DAY}T10:01", 51)
    world.deliver(
        [
            fill_of({"at": f"{DAY}T10:30", "side": "BUY", "instrument": "NVDA", "quantity": 1, "price": 900}, 1),
            fill_of({"at": f"{DAY}T10:40:01", "side": "SELL", "instrument": "NVDA", "quantity": 1, "price": 905}, 2),
        ],
        ny(f"{DAY}T10:41"),
    )
    read = desk.figures(f"{DAY}T11:00")
    found = unrealized(read)
    assert {"10:29", "10:41"} <= set(found)
    assert not {clock for clock in found if "10:30" <= clock <= "10:40"}
    held = {clock: int(value) for clock, value, _ in series(read, "Open positions")}
    assert (held["10:29"], held["10:30"], held["10:40"], held["10:41"]) == (1, 2, 2, 1)
    assert {clock: value for clock, value, _ in series(read, "Realized PnL")}["10:41"] == 5
    assert {source for *_, source in series(read, "Realized PnL")} == {"ledger"}


def test_a_rate_has_no_point_before_a_trade_was_closed(desk: SnapshotDesk) -> None:
    world = bought(desk, "rate")
    world.deliver(
        [fill_of({"at": f"{DAY}T10:30", "side": "SELL", "instrument": "AMD", "quantity": 10, "price": 49}, 1)], ny(f"{DAY}T10:31")
    )
    read = desk.figures(f"{DAY}T11:00")
    assert series(read, "Win rate")[0] == ("10:30", 0, "ledger")
    assert series(read, "Profit factor")[0] == ("10:30", 0, "ledger")


def test_a_point_never_changes_but_for_a_fill_or_mark_that_came_late(desk: SnapshotDesk) -> None:
    world = bought(desk, "kept")
    desk.mark(world, "AMD", f"{DAY}T10:02", 51)
    desk.mark(world, "AMD", f"{DAY}T10:31", 54)
    noon = desk.figures(f"{DAY}T10:32:30").series
    desk.mark(world, "AMD", f"{DAY}T10:34", 58)
    desk.mark(world, "AMD", f"{DAY}T10:36", 59)
    later = {(row["kpi_name"], row["ts"]): row for row in desk.figures(f"{DAY}T16:30").series}
    assert noon
    assert [later[row["kpi_name"], row["ts"]] for row in noon] == list(noon)
    world.deliver(
        [fill_of({"at": f"{DAY}T10:15", "side": "BUY", "instrument": "AMD", "quantity": 10, "price": 51}, 9)], ny(f"{DAY}T17:00")
    )
    again = unrealized(desk.figures(f"{DAY}T17:00"))
    assert (again["10:14"], again["10:35"]) == ((10, "live"), (150, "live"))


def test_drawdown_goes_on_from_the_days_before(desk: SnapshotDesk) -> None:
    world = bought(desk, "drawdown")
    desk.equity_day("2026-02-02", "100100", "0.1")
    desk.equity_day(DAY, "1", None)  # what this day itself was published with takes no part
    for clock, price in (("10:01", 40), ("10:11", 80), ("10:21", 60)):
        desk.mark(world, "AMD", f"{DAY}T{clock}", price)
    found = {clock: str(value) for clock, value, _ in series(desk.figures(f"{DAY}T10:40"), "Max drawdown")}
    # 100,000 of 100,100 · 99,900 of 100,100 · a new peak of 100,300 · 100,100 of it is less than before
    assert [found[clock] for clock in ("09:31", "10:05", "10:15", "10:25")] == ["0.0999", "0.1998", "0.1998", "0.1998"]


def test_days_of_a_clock_change_have_the_same_minutes(desk: SnapshotDesk) -> None:
    for day in (date(2026, 3, 9), date(2026, 11, 2)):
        desk.open(f"clock-{day}")
        points = series(desk.figures(f"{day}T16:30"), "Equity")
        assert (points[0][0], points[-1][0], len(points)) == ("09:31", "16:00", 390)

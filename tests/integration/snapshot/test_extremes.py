"""The trades at both ends of a KPI: ranks without gaps, ties in one order, older trades where the KPI looks at all of them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tests.support.snapshot_desk import SnapshotDesk, ends, fill_of, ny

DAY = "2026-02-03"


def row(at: str, side: str, instrument: str, quantity: Any, price: Any, **options: Any) -> dict[str, Any]:
    return {"at": at, "side": side, "instrument": instrument, "quantity": quantity, "price": price, **options}


def told(desk: SnapshotDesk, name: str, rows: list[dict[str, Any]]) -> Any:
    world = desk.open(name)
    world.deliver([fill_of(one, position) for position, one in enumerate(rows)], ny(f"{DAY}T17:00"))
    return world


def test_the_columns_of_an_open_trade_are_worked_by_hand(desk: SnapshotDesk) -> None:
    rows = [row(f"{DAY}T10:00", "BUY", "AMD", 10, 100, fees="1"), row(f"{DAY}T10:05", "BUY", "AMD", 10, 110, fees="1")]
    rows += [row(f"{DAY}T10:10", "SELL", "AMD", 5, 120, fees="0.5"), row(f"{DAY}T10:00", "SELL", "SNAP", 10, 20, fees="1")]
    world = told(desk, "columns", rows)
    desk.mark(world, "AMD", f"{DAY}T15:59", "115", "114.8", "115.4")
    desk.mark(world, "SNAP", f"{DAY}T15:58", "22")
    read = desk.figures(f"{DAY}T16:30")
    amd, snap = ends(read, "Unrealized PnL", "hi")
    # 5 @ 100 and 10 @ 110 are left: basis 500.50 + 1,101, vwap 1,600/15, mid 115.1
    assert {key: value for key, value in amd.items() if key not in ("trade_id", "kpi_name", "side")} == {
        "rank": 1, "symbol": "AMD", "contract_name": "AMD", "metric_raw": Decimal("123.5"), "metric_abs": Decimal("123.5"),
        "individual_pnl": Decimal("222.5"), "abs_individual_pnl": Decimal("222.5"), "percent_change": Decimal("7.8125"),
        "cost_basis": Decimal("1601.5"), "qty": 15, "bid_price": Decimal("114.8"), "ask_price": Decimal("115.4"),
        "mid_price": Decimal("115.1"), "mid_ts": ny(f"{DAY}T15:59"), "mid_mark_pnl": 125, "liquidity_drag": Decimal("4.5"),
    }  # fmt: skip
    # a short: proceeds less fees 199, worth 220; without a quote nothing that needs one is known
    assert (snap["metric_raw"], snap["metric_abs"], snap["percent_change"], snap["cost_basis"]) == (-21, 21, -10, 199)
    assert [snap[key] for key in ("bid_price", "ask_price", "mid_price", "mid_mark_pnl", "liquidity_drag")] == [None] * 5
    assert snap["mid_ts"] == ny(f"{DAY}T15:58")
    assert [one["symbol"] for one in ends(read, "Liquidity drag", "hi")] == ["AMD"]
    (position,) = desk.query("select position_id from ledger.v_positions where book_id = 'ibkr:columns' and symbol = 'AMD'")
    assert amd["trade_id"] == int(position["position_id"].hex[-13:], 16)


def test_more_trades_than_twenty_give_ten_ranks_at_each_end(desk: SnapshotDesk) -> None:
    rows = []
    for number in range(25):
        rows.append(row(f"{DAY}T10:00:{number:02}", "BUY", f"S{number:02}", 1, 100))
        rows.append(row(f"{DAY}T11:00:{number:02}", "SELL", f"S{number:02}", 1, 90 + number))
    told(desk, "many", rows)
    read = desk.figures(f"{DAY}T16:30")
    hi, lo = ends(read, "Realized PnL", "hi"), ends(read, "Realized PnL", "lo")
    assert [one["rank"] for one in hi] == [one["rank"] for one in lo] == list(range(1, 11))
    assert [int(one["metric_raw"]) for one in hi] == list(range(14, 4, -1))
    assert [int(one["metric_raw"]) for one in lo] == list(range(-10, 0))
    assert [int(one["metric_raw"]) for one in ends(read, "Avg loss", "hi")] == list(range(-1, -11, -1))
    assert (hi[0]["qty"], hi[0]["cost_basis"], hi[0]["percent_change"], hi[0]["mid_ts"]) == (0, 0, None, None)


def test_equal_trades_stand_by_symbol_contract_and_id_at_both_ends(desk: SnapshotDesk) -> None:
    names = ["b", "B", "a", "Z"]  # by their code points, not by a language's order
    rows = [row(f"{DAY}T10:00", "BUY", name, 1, 100) for name in names]
    rows += [row(f"{DAY}T10:05", "BUY", "opt 2", 1, 100, ticker="B", contract_name="B 2")]
    rows += [row(f"{DAY}T10:05", "BUY", "opt 1", 1, 100, ticker="B", contract_name="B 1")]
    told(desk, "ties", rows)
    read = desk.figures(f"{DAY}T16:30")
    wanted = [("B", "B"), ("B", "B 1"), ("B", "B 2"), ("Z", "Z"), ("a", "a"), ("b", "b")]
    for side in ("hi", "lo"):
        assert [(one["symbol"], one["contract_name"]) for one in ends(read, "Traded value", side)] == wanted


def test_total_pnl_remembers_every_trade_and_the_day_only_its_own(desk: SnapshotDesk) -> None:
    rows = []
    for number in range(12):  # a fortnight ago: from -60 to +50
        rows.append(row(f"2026-01-20T10:{number:02}", "BUY", f"OLD{number:02}", 1, 100))
        rows.append(row(f"2026-01-20T11:{number:02}", "SELL", f"OLD{number:02}", 1, 40 + 10 * number))
    rows += [row(f"{DAY}T10:00", "BUY", "NEW", 1, 100), row(f"{DAY}T10:30", "SELL", "NEW", 1, 500)]
    told(desk, "total", rows)
    read = desk.figures(f"{DAY}T16:30")
    assert [one["symbol"] for one in ends(read, "Total PnL", "hi")][:3] == ["NEW", "OLD11", "OLD10"]
    assert [int(one["metric_raw"]) for one in ends(read, "Total PnL", "lo")] == list(range(-60, 40, 10))
    assert [one["symbol"] for one in ends(read, "Daily PnL", "hi")] == ["NEW"]
    earlier = desk.figures("2026-01-20T16:30")
    assert [one["symbol"] for one in ends(earlier, "Total PnL", "hi")][:1] == ["OLD11"]


def test_a_days_own_move_is_measured_by_what_was_at_stake(desk: SnapshotDesk) -> None:
    rows = [row("2026-02-02T10:00", "BUY", "HELD", 10, 40), row(f"{DAY}T10:00", "SELL", "OPENED", 10, 100)]
    world = told(desk, "moves", rows)
    desk.mark(world, "HELD", "2026-02-02T15:59", "50")
    desk.mark(world, "HELD", f"{DAY}T15:59", "55")
    desk.mark(world, "OPENED", f"{DAY}T15:59", "98")
    found = {one["symbol"]: one["metric_raw"] for one in ends(desk.figures(f"{DAY}T16:30"), "Daily return", "hi")}
    assert found == {"HELD": 10, "OPENED": 2}

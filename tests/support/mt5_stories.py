"""Scenarios of single accounts as stories: what its broker does between two runs, and what must be stored after each of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Final

from tests.support.mt5_lives import Life, Story, Written


def story_4_positions_fail(one: Life) -> Story:
    one.trades_some()
    yield
    assert one.is_fine()
    succeeded_at, balance = one.row["last_successful_sync_at"], one.row["balance"]
    one.does("close", position="two", price="1.10100")
    if one.is_v0:
        one.fault("status", endpoint="positions", code=503, count=2)
    else:
        one.fault("incomplete", part="positions", count=1)
    yield
    assert one.told == ("partial", "service_unavailable" if one.is_v0 else "incomplete")
    assert one.logs[-1]["error_message"].startswith("Failed to fetch positions: ")
    assert (one.row["last_successful_sync_at"], one.row["sync_failure_count"]) == (succeeded_at, 1)
    assert one.row["balance"] != balance
    assert one.states == ["closed", "closed"]


def story_5_everything_times_out(one: Life) -> Story:
    one.trades_some()
    yield
    trades = one.trades
    one.fault("hang", count=4 if one.is_v0 else 3)
    one.does("deposit", amount="1.00")
    yield
    assert one.told == ("failed", "timeout")
    assert one.logs[-1]["error_message"].count("Connection timeout") == 3
    assert (one.trades, one.row["sync_failure_count"], one.counts["deals"]) == (trades, 1, 4)
    yield from _until_due(one)
    yield
    assert one.is_fine()
    assert one.counts["deals"] == 5


def story_7_a_dropped_call_and_a_refused_key(one: Life) -> Story:
    one.trades_some()
    one.fault("hang", endpoint=one.snapshot, count=1)
    yield
    assert (one.is_fine(), one.logs[-1]["attempts"]) == (True, 2)


def story_8_a_pause_that_is_asked_for(one: Life) -> Story:
    one.trades_some()
    one.fault("status", endpoint=one.snapshot, code=429, retry_after=2, count=1)
    yield
    assert (one.is_fine(), one.logs[-1]["attempts"]) == (True, 2)
    first, second, *_ = [
        call["at"] for call in one.desk.calls() if (call["account"], call["endpoint"]) == (one.name, one.snapshot)
    ]
    assert second - first >= 2


def story_9_history_fails_three_times(one: Life) -> Story:
    one.trades_some()
    yield
    until = one.row["history_until_msc"]
    one.fault("status", endpoint=one.history, code=500, count=3)
    for number in range(3):
        one.does("open", symbol="EURUSD", side="buy", volume="0.10", price="1.10000", ref=f"late{number}")
        yield
        if number == 0:
            assert one.told == ("partial", "service_error")
        assert one.row["history_until_msc"] == until
        yield from _until_due(one)
    yield
    assert (one.is_fine(), one.counts["deals"]) == (True, 7)
    assert one.row["history_until_msc"] > until


def _until_due(one: Life) -> Story:
    """Runs that leave the account out, because it failed."""
    while one.row["is_waiting"]:
        yield


def story_10_a_page_fails(one: Life) -> Story:
    one.does("deposit", amount="10000.00")
    one.does_all({"kind": "charge", "amount": "-0.01"} for _ in range(2349))
    one.fault("page_fails", n=2, count=2)
    yield
    assert one.told == ("partial", "service_unavailable")
    assert (one.counts["deals"], one.row["history_until_msc"]) == (1000, None)
    yield from _until_due(one)
    pages = one.calls(one.history)
    yield
    assert (one.is_fine(), one.counts["deals"], one.calls(one.history) - pages) == (True, 2350, 3)
    assert one.row["history_until_msc"] is not None


def story_11_the_same_window_twice(one: Life) -> Story:
    one.trades_some()
    yield
    trades, deals = one.trades, one.counts["deals"]
    yield
    assert (one.trades, one.counts["deals"], one.logs[-1]["trades_synced"]) == (trades, deals, 0)


def story_12_the_past_in_chunks(one: Life) -> Story:
    one.does("deposit", ago=timedelta(days=80), amount="10000.00")
    for week in range(10):
        begin = timedelta(days=75 - 7 * week)
        one.does("open", ago=begin, symbol="EURUSD", side="buy", volume="0.10", price="1.1", ref=f"w{week}")
        one.does("close", ago=begin - timedelta(hours=1), position=f"w{week}", price="1.101")
    floors, percents = [], []
    for _ in range(6):
        yield
        floors.append(one.row["history_floor_msc"])
        percents.append(one.row["backfill_pct"])
    assert one.is_fine()
    assert (floors, percents) == (sorted(floors, reverse=True), sorted(percents))
    assert (one.counts["deals"], one.row["backfill_state"], one.row["opening_proven"]) == (21, "done", True)


def story_13_bursts_on_a_hedging_account(one: Life) -> Story:
    one.does("deposit", amount="5000.00")
    for number in range(32):
        one.does("open", symbol="XAUUSD", side="buy", volume="0.02", price="4010.50", ref=f"p{number}", commission="-0.07")
    for number in range(32):
        price = "4012.30" if number < 29 else "4009.10"
        one.does("close", position=f"p{number}", price=price, commission="-0.07", fee="-0.01")
    yield
    assert (one.is_fine(), one.states, one.counts["cash"]) == (True, ["closed"] * 32, 1)
    assert sum(row["net_pnl"] for row in one.trades) == one.row["balance"] - 5000
    assert one.row["cash_state"] == "ok"


def story_14_a_partial_close(one: Life) -> Story:
    one.does("deposit", amount="1000.00")
    one.does("open", symbol="EURUSD", side="buy", volume="1.00", price="1.10000", commission="-3.50", ref="p")
    one.does("partial_close", position="p", volume="0.40", price="1.10200", commission="-1.40", swap="0")
    yield
    (row,) = one.trades
    assert (row["status"], row["open_volume"], row["realized_profit"]) == ("open", Decimal("0.60"), Decimal("80.00"))
    one.does("close", position="p", price="1.10100", commission="-2.10", swap="-1.40")
    yield
    (row,) = one.trades
    assert (row["status"], row["close_price"], row["net_pnl"]) == ("closed", Decimal("1.10140"), Decimal("131.60"))


def story_15_a_netting_reversal(one: Life) -> Story:
    one.does("deposit", amount="1000.00")
    one.does("open", symbol="TEST", side="buy", volume="2", price="100.00", commission="-2.00", ref="p")
    one.does("partial_close", position="p", volume="1", price="110.00", commission="-1.00")
    one.does("reverse", position="p", volume="3", price="90.00", commission="-3.00")
    yield
    one.does("close", position="p", price="80.00", commission="-2.00")
    yield
    rows = [(row["type"], row["status"], row["net_pnl"]) for row in one.trades]
    assert rows == [("buy", "closed", Decimal("-4.00")), ("sell", "closed", Decimal("16.00"))]


def story_16_a_close_by(one: Life) -> Story:
    one.does("deposit", amount="1000.00")
    for side, volume, price in (("buy", "1.00", "1.10000"), ("sell", "0.60", "1.10500")):
        one.does("open", symbol="EURUSD", side=side, volume=volume, price=price, ref=side)
    yield
    one.does("close_by", position="buy", by="sell")
    yield
    first, second = one.trades
    assert (first["status"], first["open_volume"], first["realized_profit"]) == ("open", Decimal("0.40"), Decimal("300.00"))
    assert (second["status"], second["realized_profit"]) == ("closed", 0)


def story_17_movements_of_money(one: Life) -> Story:
    amounts = {"deposit": "10000.00", "withdraw": "500.00", "credit": "100.00", "charge": "-1.25", "monthly_commission": "-7.00"}
    for kind, amount in amounts.items():
        one.does(kind, amount=amount)
    yield
    assert (one.trades, one.counts["cash"]) == ([], 5)
    assert (one.row["balance"], one.row["credit"]) == (Decimal("9491.75"), Decimal("100.00"))


def story_18_a_deal_with_a_positions_number(one: Life) -> Story:
    one.does("deposit", amount="1000.00")
    one.does("open", symbol="EURUSD", side="buy", volume="0.10", price="1.1", position_id=555)
    one.does("open", symbol="EURUSD", side="sell", volume="0.10", price="1.1", ticket=555, position_id=777)
    yield
    assert [row["position_id"] for row in one.trades] == [555, 777]


def story_19_a_renumbered_position(one: Life) -> Story:
    one.trades_some()
    yield
    (before,) = [row for row in one.trades if row["status"] == "open"]
    one.does("swap_reopen", position="two", swap="-0.35")
    yield
    (after,) = [row for row in one.trades if row["status"] == "open"]
    assert after["id"] == before["id"]
    assert after["ticket"] != before["ticket"]


def story_20_a_close_that_comes_late(one: Life) -> Story:
    one.trades_some()
    yield
    one.does("close", position="two", price="1.10100", late=timedelta(minutes=12))
    closed_at = one.desk.cloud.clock.now()
    found = []
    for _ in range(3):
        yield
        (row,) = [row for row in one.trades if row["type"] == "sell"]
        found.append(row["status"])
    assert found == ["close_pending", "close_pending", "closed"]
    assert row["close_time"] == closed_at


def story_21_a_list_that_is_not_whole(one: Life) -> Story:
    one.trades_some()
    one.does("open", symbol="EURUSD", side="buy", volume="0.10", price="1.1")
    yield
    one.fault("error_as_empty", what="positions", count=1)  # v0: an empty list while the counter says 2
    yield
    assert one.told == ("partial", "incomplete")
    assert one.states == ["closed", "open", "open"]


def story_22_another_account(one: Life) -> Story:
    one.trades_some()
    yield
    before = (one.row["balance"], one.trades, one.counts)
    one.does("deposit", amount="7.00")
    one.fault("wrong_login", endpoint=one.history, login=99, count=1)
    yield
    assert one.told == ("failed", "identity_mismatch")
    assert (one.row["balance"], one.trades, one.counts) == before
    assert "identity_mismatch_found" in one.events
    yield from _until_due(one)
    yield
    assert (one.is_fine(), one.counts["cash"]) == (True, 2)


def story_23_a_snapshot_from_before_the_close(one: Life) -> Story:
    one.trades_some()
    yield
    one.does("close", position="two", price="1.10100")
    yield
    assert one.states == ["closed", "closed"]
    one.fault("stale", endpoint=one.snapshot if not one.is_v0 else "positions", age=330, declared=True, count=1)
    yield
    assert (one.is_fine(), one.states) == (True, ["closed", "closed"])


def story_26_a_deal_of_half_an_hour_ago(one: Life) -> Story:
    one.does("deposit", ago=timedelta(hours=1), amount="1000.00")
    one.does("open", ago=timedelta(minutes=25), symbol="EURUSD", side="buy", volume="0.10", price="1.1")
    yield
    assert one.states == ["open"]
    assert one.trades[0]["open_time"] == one.desk.cloud.clock.now() - timedelta(minutes=30)


def story_27_numbers_at_the_edge(one: Life) -> Story:
    one.does("deposit", amount="1000.00", ticket=2975166898)
    given = {"symbol": "SHIBUSD", "side": "buy", "volume": "1.00", "price": "0.00001234"}
    one.does("open", **given, ticket=9007199254740993, position_id=9007199254740995)
    yield
    assert str(one.row["margin_level"]) == "101398.675901406"
    assert (one.trades[0]["position_id"], one.trades[0]["open_price"]) == (9007199254740995, Decimal("0.00001234"))


def story_34_a_deal_of_yesterday_comes_late(one: Life) -> Story:
    one.does("deposit", ago=timedelta(hours=30), amount="10000.00")
    one.does("open", ago=timedelta(hours=25), symbol="EURUSD", side="buy", volume="1.00", price="1.10000", ref="p")
    yield
    closed_at = one.desk.cloud.clock.now() - timedelta(hours=20)
    one.does("close", position="p", price="1.10100", dated_at=closed_at.isoformat(), late=timedelta(minutes=12))
    yield
    assert (one.row["cash_state"], one.events) == ("gap", ["history_gap_found"])
    until = one.row["history_until_msc"]
    yield
    assert one.row["history_until_msc"] == until
    yield
    assert (one.row["cash_state"], one.events) == ("ok", ["history_gap_found", "history_gap_closed"])
    assert one.row["history_until_msc"] > until
    assert one.trades[0]["close_time"] == closed_at


STORIES: Final[Mapping[str, Written]] = {
    name.split("_")[1]: found for name, found in globals().items() if name.startswith("story_")
}
IN_BOTH: Final = ("4", "7", "8", "10", "11", "21", "22", "23")
"""Stories that the three-endpoint service lives too."""

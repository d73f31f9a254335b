"""Receipts on a real database: what each becomes, and that the book, the plan and the history say the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fillbook.ledger.ids import action_id, fill_id
from fillbook.runtime.errors import Rejected
from fillbook.signal.receipt import instant
from tests.support.receipts import MINUTE_MS, R_TS, body
from tests.support.signal_desk import mirrored
from tests.support.signal_live import LiveDesk, arrived, digest

D = Decimal
Query = Callable[..., list[dict[str, Any]]]
OPEN_PLANS = "select * from signal.plans where closed_at is null"


def test_scenario_15_r_enters_and_q_watches_to_the_last_digit(desk: LiveDesk, query: Query) -> None:
    assert desk.send("R").lane == "enter_now"
    assert desk.send("Q").lane == "flip_watch"
    [entry] = desk.actions()
    assert (entry["action_type"], entry["quantity"], entry["price"], entry["value"]) == (
        "ENTRY",
        D("37.6374"),
        D("100.40"),
        D("3778.79496"),
    )
    assert (entry["executed_at"], entry["session_date"]) == (instant(R_TS + MINUTE_MS), date(2026, 2, 3))
    assert entry["meta"] == {
        "receipt_id": str(desk.decision()["receipt_id"]),
        "lane": "enter_now",
        "rule": "E1",
        "rank": "94.73",
        "rr": "1.3529",
        "script_version": "2.5.0",
        "trigger_reason": "EMA_CROSS_1H_13_48",
        "profile": "tt-2026-02",
    }
    [plan] = query(OPEN_PLANS)
    assert [(tier["name"], tier["price"], tier["source"]) for tier in plan["plan"]["tiers"]] == [
        ("TRIM", "102.1", "TP2"),
        ("EXIT", "103", "TP4"),
        ("RUNNER", "104.9", "TP5"),
    ]
    assert (plan["stop"], plan["plan"]["atr"], plan["plan"]["anchor"]) == (D(97), "2.0006", "100")
    assert (desk.state()["score"], desk.state("ZZTB")["score"]) == (D("94.73"), D("60.35"))
    assert [block["rule"] for block in desk.state("ZZTB")["blocks"]] == ["G03", "G11", "G12"]
    assert query("select price from ledger.v_marks") == [{"price": D("100.40")}]


def test_ids_derive_from_the_receipt_and_the_ordinal(desk: LiveDesk) -> None:
    processed = desk.send()
    receipt = arrived(body()).receipt
    assert processed.action_ids == (action_id(fill_id("signal", "", f"{receipt.receipt_id}#1"), 1),)


@pytest.mark.parametrize("at_once", [False, True])
def test_scenario_9_a_duplicate_receipt_changes_nothing(desk: LiveDesk, query: Query, at_once: bool) -> None:
    """Five times one after the other; 32 times at once (reliability checks 4 and 5)."""
    if at_once:
        with ThreadPoolExecutor(32) as threads:
            results = [done.result().result for done in [threads.submit(desk.send) for _ in range(32)]]
    else:
        results = [desk.send().result for _ in range(5)]
    assert Counter(results) == {"decided": 1, "duplicate": len(results) - 1}
    assert [desk.count(f"signal.{table}") for table in ("receipts", "decisions", "lane_history", "plans")] == [1, 1, 1, 1]
    assert desk.types() == ["ENTRY"]
    assert desk.count("outbox.events") == 1


def test_scenario_10_late_and_conflicting_receipts_are_stored_only(desk: LiveDesk, query: Query) -> None:
    desk.send()
    desk.send(minutes=5)
    before = digest(query)
    assert desk.send(minutes=3).result == "late"
    assert desk.send(minutes=5, price=D("100.41")).result == "conflict"
    assert desk.send(minutes=5, price=D("100.41")).result == "duplicate"
    assert desk.send(minutes=3).result == "duplicate"
    after = digest(query)
    assert Counter(row["result"] for row in query("select result from signal.receipts")) == {
        "decided": 2,
        "late": 1,
        "conflict": 1,
    }
    assert {name: rows for name, rows in after.items() if name != "signal.receipts"} == {
        name: rows for name, rows in before.items() if name != "signal.receipts"
    }


def test_scenario_11_a_price_older_than_fifteen_minutes_is_never_traded(desk: LiveDesk, query: Query) -> None:
    assert desk.send("Q", age_seconds=901).result == "stale"
    assert desk.send(age_seconds=901).result == "stale"
    assert desk.count("ledger.v_actions") == desk.count("signal.decisions") == 0
    assert desk.send(minutes=1, age_seconds=900).result == "decided"
    assert desk.types() == ["ENTRY"]
    assert query("select lane from signal.v_board where ticker = 'ZZTB'") == []


def test_a_receipt_without_a_close_is_as_old_as_its_open(desk: LiveDesk) -> None:
    document = body(time_close=None)
    assert desk.take(document, now=instant(R_TS + 901_000)).result == "stale"
    assert desk.take(body(minutes=1, time_close=None), now=instant(R_TS + MINUTE_MS + 900_000)).result == "decided"
    assert desk.actions()[0]["executed_at"] == instant(R_TS + MINUTE_MS)


def test_scenario_14_another_script_version_clears_nothing(desk: LiveDesk, query: Query) -> None:
    desk.send()
    before = query("select * from signal.plans")
    assert desk.send(minutes=10, script_version="2.6.0").lane == "just_entered"
    assert query("select * from signal.plans") == before
    assert desk.state()["version"] == 2
    assert [row["script_version"] for row in query("select script_version from signal.v_receipts order by ts")] == [
        "2.5.0",
        "2.6.0",
    ]


def test_scenario_14_a_position_closed_by_another_path_is_closed_here_too(desk: LiveDesk, query: Query) -> None:
    """The ledger wins: the plan is closed, discovery rules apply."""
    from fillbook.ledger import service as ledger
    from fillbook.ledger.model import Fill, Side

    desk.send()
    sold = Fill(
        source="operator",
        account_key="op",
        source_id="T-1",
        instrument="ZZTA",
        ticker="ZZTA",
        contract_name="ZZTA",
        side=Side.SELL,
        quantity=D("37.6374"),
        price=D("100.50"),
        fx_rate=D(1),
        fees=D(0),
        fees_currency="USD",
        fees_rate=D(1),
        executed_at=instant(R_TS + 5 * MINUTE_MS),
        session_date=date(2026, 2, 3),
        reason="operator_entry",
        received_at=instant(R_TS + 5 * MINUTE_MS),
    )
    ledger.run(desk.db, lambda tx: ledger.book_fills(tx, "live", [sold], instant(R_TS + 5 * MINUTE_MS)))
    processed = desk.send(minutes=10, phase_pct=D("0.70"))
    assert (processed.lane, desk.decision()["rule"]) == ("archive", "D2")
    assert query("select closed_at, close_reason from signal.plans") == [
        {"closed_at": instant(R_TS + 10 * MINUTE_MS), "close_reason": "closed_elsewhere"}
    ]


def test_an_open_position_that_no_plan_knows_is_only_managed_by_its_loss(desk: LiveDesk, query: Query) -> None:
    desk.send()
    query("do $$ begin delete from signal.plans; end $$")
    assert desk.send(minutes=20, price=D("96.90")).lane == "hold"
    assert desk.state()["badges"] == ["no_plan"]
    assert desk.send(minutes=21, price=D("90.30")).lane == "exit"
    assert desk.decision()["rule"] == "M2"
    assert desk.types() == ["ENTRY", "EXIT"]


def test_scenario_35_two_trims_with_their_cooldown_and_their_stops(desk: LiveDesk, query: Query) -> None:
    desk.send()
    assert desk.send(minutes=20, price=D("102.10")).lane == "trim"
    assert desk.decision()["reason"] == "tp_hit"
    assert query(OPEN_PLANS)[0]["stop"] == D("100.40")
    desk.send(minutes=23, price=D("103.00"))
    waiting = desk.decision()
    assert (waiting["computed_lane"], [block["why"] for block in waiting["blocks"] if block["rule"] == "M6"]) == (
        "hold",
        ["cooldown"],
    )
    assert desk.send(minutes=25, price=D("103.00")).lane == "trim"
    trims = [(row["quantity"], row["realized_pnl"]) for row in desk.actions()[1:]]
    assert trims == [(D("22.5824"), D("38.39008")), (D("7.5275"), D("19.5715"))]
    plan = query(OPEN_PLANS)[0]
    assert (plan["stop"], plan["tiers_taken"]) == (D("102.10"), 2)
    moves = query("select old_stop, new_stop, rule from signal.v_stop_moves order by ts")
    assert [(row["old_stop"], row["new_stop"], row["rule"]) for row in moves] == [
        (D(97), D("100.40"), "S1"),
        (D("100.40"), D("102.10"), "S2"),
    ]
    [position] = query("select * from ledger.v_positions")
    assert (position["quantity_open"], position["realized_pnl"]) == (D("7.5275"), D("57.96158"))


def test_a_stop_closes_the_position_and_its_plan(desk: LiveDesk, query: Query) -> None:
    desk.send()
    assert desk.send(minutes=20, price=D("97.00")).lane == "exit"
    assert desk.actions()[-1]["realized_pnl"] == D("-127.96716")
    [plan] = query("select closed_at, close_reason from signal.plans")
    assert plan == {"closed_at": instant(R_TS + 20 * MINUTE_MS), "close_reason": "sl_breached"}
    assert desk.send(minutes=21, price=D("97.00")).lane == "archive"
    assert query("select price from ledger.v_marks where as_of = :at", at=instant(R_TS + 21 * MINUTE_MS - 1)) == [
        {"price": D(97)}
    ]


def flip(minutes: int) -> dict[str, Any]:
    document = mirrored()
    return document | {name: document[name] + minutes * MINUTE_MS for name in ("ts", "time_close", "trigger_ts")}


def test_scenario_39_the_other_side_flips_the_position_on_its_second_receipt(desk: LiveDesk, query: Query) -> None:
    desk.send()
    assert desk.take(flip(20)).lane != "enter_now"
    assert desk.take(flip(21)).lane == "enter_now"
    assert desk.decision()["reason"] == "flip"
    assert [(row["action_type"], row["direction"], row["venue_order"]) for row in desk.actions()[1:]] == [
        ("EXIT", "LONG", "01"),
        ("ENTRY", "SHORT", "02"),
    ]
    closed, opened = query("select * from signal.plans order by closed_at nulls last")
    assert (closed["close_reason"], opened["side"], opened["closed_at"]) == ("flip", "SHORT", None)
    assert len(desk.decision()["action_ids"]) == 2


def test_scenario_39_a_flip_whose_entry_is_refused_only_exits(desk: LiveDesk, query: Query) -> None:
    desk.send()
    day = 24 * 60
    for number in range(12):
        shift = -day if number < 10 else 0
        document = mirrored(ticker=f"ZS{number}", sector=None)
        moved = {name: document[name] + shift * MINUTE_MS for name in ("ts", "time_close", "trigger_ts")}
        assert desk.take(document | moved).lane == "enter_now"
    desk.take(flip(20))
    assert desk.take(flip(21)).lane == "exit"
    decision = desk.decision()
    assert (decision["reason"], desk.refused_by()) == ("flip", ["L2"])
    assert [(intent["kind"], intent["refused_by"]) for intent in decision["intents"]] == [("exit", []), ("enter", ["L2"])]
    own = [row["action_type"] for row in desk.actions() if row["ticker"] == "ZZTA"]
    assert own == ["ENTRY", "EXIT"]


def test_a_snapshot_keeps_the_state_before_the_first_receipt_of_a_session_date(desk: LiveDesk, query: Query) -> None:
    desk.send()
    desk.send(minutes=1)
    last_of_the_day = desk.state()["state"]
    desk.send(minutes=24 * 60)
    rows = query("select session_date, state from signal.state_snapshots order by 1")
    assert [(row["session_date"], row["state"]) for row in rows] == [
        (date(2026, 2, 3), None),
        (date(2026, 2, 4), last_of_the_day),
    ]


def test_one_more_ticker_than_a_book_may_know_is_refused(desk: LiveDesk) -> None:
    small = desk.with_strategy(tickers_max=1)
    small.send()
    with pytest.raises(Rejected, match="too_many_tickers"):
        small.send("Q")
    assert small.send(minutes=1).result == "decided"
    assert desk.count("signal.ticker_states") == 1
    assert desk.count("signal.receipts") == 2


def test_lane_moves_are_told_only_where_they_are_switched_on(desk: LiveDesk, query: Query) -> None:
    desk.send()
    telling = desk.with_strategy(lane_events=True)
    moved = telling.send(minutes=1)
    still = telling.send(minutes=2)
    assert (len(moved.partitions), still.partitions) == (1, ())
    events = query("select event_type, aggregate_key, payload::jsonb->'data'->>'lane' as lane from outbox.events order by id")
    assert [(row["event_type"], row["aggregate_key"], row["lane"]) for row in events] == [
        ("execution_booked", "live/ZZTA", None),
        ("lane_changed", "lane/live/ZZTA", "just_entered"),
    ]


def test_an_unconfirmed_price_is_stored_and_moves_nothing(desk: LiveDesk, query: Query) -> None:
    """Scenario 41 on the database: a ghost print trades nothing and marks nothing."""
    desk.send()
    assert desk.send(minutes=20, price=D("75.00")).lane == "enter_now"
    assert desk.state()["badges"] == ["price_unconfirmed"]
    assert desk.state()["last_price"] == D("100.40")
    assert desk.count("ledger.v_marks") == 1
    assert desk.send(minutes=21, price=D("75.20")).lane == "exit"
    assert desk.types() == ["ENTRY", "EXIT"]


def test_time_going_back_on_the_desk_loses_nothing(desk: LiveDesk) -> None:
    """Reliability check 21 at this use case: a clock set back ten minutes between two receipts."""
    desk.send()
    early = instant(R_TS) - timedelta(minutes=10)
    assert desk.take(body(minutes=1), now=early).result == "decided"
    assert desk.take(body(minutes=1), now=early).result == "duplicate"

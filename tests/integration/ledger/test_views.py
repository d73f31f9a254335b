"""Scenarios 43, 46, 47: the flat shape, totals and marks as views say them; replay books beside live ones."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fillbook.ledger import service
from fillbook.ledger.model import Mark
from fillbook.runtime.db import ConstraintViolated, Database
from fillbook.runtime.errors import Rejected
from tests.conftest import OpenDatabase
from tests.support.ledger import DAY, StoredWorld, at, make_book, make_fill

Query = Callable[..., list[dict[str, Any]]]
META = {"rank": "71", "rr": "1.4", "script_version": "5.2"}


def trade(query: Query, ticker: str) -> dict[str, Any]:
    (row,) = query("select * from ledger.v_trades where ticker = :ticker", ticker=ticker)
    return row


def milliseconds(minute: float) -> int:
    return int(at(minute).timestamp() * 1000)


def mark(stored: StoredWorld, instrument: str, price: str, minute: float) -> None:
    seen = Mark(instrument=instrument, price=Decimal(price), marked_at=at(minute), source="signal")
    service.run(stored.db, lambda tx: service.mark(tx, "live", [seen], at(minute)))


def test_scenario_43_an_open_trade_shows_its_open_lots(stored: StoredWorld, query: Query) -> None:
    stored.deliver([make_fill("a", "BUY", 10, 100, fees="1", meta=META), make_fill("b", "BUY", 10, 110, 1)])
    row = trade(query, "AMD")
    assert (row["status"], row["entry_price"], row["total_qty"], row["cost_basis"]) == ("OPEN", 105, 20, 2101)
    assert (row["entry_ts"], row["exit_ts"], row["trim_ts"]) == (milliseconds(0), None, None)
    assert (row["trimmed_pct"], row["pnl"], row["pnl_pct"]) == (0, 0, 0)
    assert (row["rank"], row["rr"], row["script_version"]) == ("71", "1.4", "5.2")
    assert row["trade_id"] == query("select position_id from ledger.v_positions")[0]["position_id"]


def test_scenario_43_six_of_ten_trimmed_then_four_exited(stored: StoredWorld, query: Query) -> None:
    stored.deliver([make_fill("a", "BUY", 10, 50), make_fill("b", "SELL", 6, 49, 1)])
    row = trade(query, "AMD")
    assert (row["status"], row["trimmed_pct"], row["trim_price"], row["trim_ts"]) == (
        "TP_HIT_TRIM", Decimal("0.6"), 49, milliseconds(1),
    )  # fmt: skip
    stored.deliver([make_fill("c", "SELL", 4, 50, 2, reason="sl_breached")])
    row = trade(query, "AMD")
    assert (row["status"], row["exit_price"], row["exit_reason"], row["exit_ts"]) == ("LOSS", 50, "sl_breached", milliseconds(2))
    assert (row["entry_price"], row["total_qty"], row["cost_basis"], row["trimmed_pct"]) == (50, 0, 0, 1)
    assert (row["pnl"], row["pnl_pct"]) == (-6, Decimal("-1.2"))
    events = query("select * from ledger.v_trade_events order by ts")
    assert [(row["type"], row["qty"], row["pnl_realized"]) for row in events] == [
        ("ENTRY", 10, None), ("TRIM", 6, -6), ("EXIT", 4, 0),
    ]  # fmt: skip
    assert [(row["qty_pct_delta"], row["qty_pct_total"]) for row in events] == [
        (None, None), (Decimal("0.6"), Decimal("0.6")), (Decimal("0.4"), 1),
    ]  # fmt: skip
    lot = str(events[0]["lot_id"])
    assert events[1]["lots"] == [{"lot_id": lot, "qty": "6", "price": "50", "pnl_realized": "-6"}]


@pytest.mark.parametrize(("price", "fees", "status"), [("51", "0", "WIN"), ("49", "0", "LOSS"), ("50", "0", "FLAT")])
def test_scenario_43_a_closed_trade_is_judged_by_what_it_realized(
    stored: StoredWorld, query: Query, price: str, fees: str, status: str
) -> None:
    stored.deliver([make_fill("a", "BUY", 10, 50, fees=fees), make_fill("b", "SELL", 10, price, 1, fees=fees)])
    assert trade(query, "AMD")["status"] == status


def test_scenario_43_unknown_fees_leave_the_judgement_open(stored: StoredWorld, query: Query) -> None:
    stored.deliver([make_fill("a", "BUY", 10, 50, fees=None), make_fill("b", "SELL", 10, 60, 1)])
    row = trade(query, "AMD")
    assert (row["status"], row["pnl"], row["pnl_pct"]) == ("CLOSED", None, None)


def test_views_of_one_trim_over_several_lots_agree(stored: StoredWorld, query: Query) -> None:
    stored.deliver([make_fill("a", "BUY", 10, 100), make_fill("b", "BUY", 10, 110, 1), make_fill("c", "SELL", 15, 120, 2)])
    (trim,) = query("select * from ledger.v_actions where action_type = 'TRIM'")
    assert (trim["lot_id"], trim["realized_pnl"], trim["origin"], trim["cause"]) == (None, 250, "live", "first")
    closings = query("select * from ledger.v_closings order by ordinal")
    assert [(row["quantity"], row["lot_price"], row["price"], row["realized_pnl"]) for row in closings] == [
        (10, 100, 120, 200), (5, 110, 120, 50),
    ]  # fmt: skip
    lots = query("select * from ledger.v_lots order by opened_at")
    assert [(row["quantity"], row["quantity_open"], row["status"]) for row in lots] == [(10, 0, "CLOSED"), (10, 5, "OPEN")]


def test_views_speak_todays_units_after_a_split(stored: StoredWorld, query: Query) -> None:
    stored.deliver([make_fill("a", "BUY", 10, 100), make_fill("b", "SELL", 4, 110, 1)])
    mark(stored, "AMD", "120", 2)
    stored.split((4, 1), 10)
    mark(stored, "AMD", "30", 12)
    (lot,) = query("select * from ledger.v_lots")
    assert (lot["quantity"], lot["quantity_open"], lot["price"], lot["cost_basis"]) == (40, 24, 25, 1000)
    (closing,) = query("select * from ledger.v_closings")
    assert (closing["quantity"], closing["price"], closing["lot_price"]) == (16, Decimal("27.5"), 25)
    marks = query("select price from ledger.v_marks order by as_of")
    assert [row["price"] for row in marks] == [30, 30]
    (action,) = query("select quantity, price from ledger.v_actions where action_type = 'TRIM'")
    assert (action["quantity"], action["price"]) == (4, 110)


def test_history_shows_every_version_with_when_it_was_known(stored: StoredWorld, query: Query) -> None:
    fill = {"source": "operator", "account_key": "ann"}
    stored.deliver([make_fill("a", "BUY", 10, 100, **fill)], at(1))
    stored.deliver([make_fill("a", "BUY", 10, 101, source_revision=2, cause="revision", **fill)], at(2))
    rows = query("select version, price, known_from, known_to, cause from ledger.v_action_history order by version")
    assert [(row["version"], row["price"], row["known_from"], row["known_to"], row["cause"]) for row in rows] == [
        (1, 100, at(1), at(2), "first"), (2, 101, at(2), None, "revision"),
    ]  # fmt: skip


def test_totals_stand_per_currency_and_a_missing_mark_is_named(db: Database, query: Query) -> None:
    world = StoredWorld(db, make_book(start_cash=Decimal(1000)))
    world.deliver([make_fill("a", "BUY", 10, 50, fees="1"), make_fill("b", "BUY", 1, 20, 1, instrument="SAP", currency="EUR")])
    usd, eur = (row for row in query("select * from ledger.v_book_totals order by currency desc"))
    assert (usd["cash"], usd["fees"], usd["equity"], usd["missing_marks"]) == (499, 1, None, ["AMD"])
    assert (eur["cash"], eur["realized_pnl"], eur["missing_marks"]) == (-20, 0, ["SAP"])
    mark(world, "AMD", "55", 5)
    (usd,) = query("select * from ledger.v_book_totals where currency = 'USD'")
    assert (usd["market_value"], usd["unrealized_pnl"], usd["equity"], usd["missing_marks"]) == (550, 49, 1049, [])


def test_a_bucket_keeps_the_latest_mark_and_none_of_an_older_one(stored: StoredWorld, query: Query) -> None:
    mark(stored, "AMD", "55", 4)
    mark(stored, "AMD", "54", 3)
    mark(stored, "AMD", "56", 5)
    assert [row["price"] for row in query("select price from ledger.marks order by bucket_at")] == [55, 56]


def test_scenario_46_only_replay_books_are_cleared_and_only_their_own_rows_go(
    db: Database, open_database: OpenDatabase, query: Query
) -> None:
    live = StoredWorld(db)
    live.deliver([make_fill("a", "BUY", 10, 100)])
    before = (live.state_hash, live.chain_head)
    replay = StoredWorld(db, make_book("replay:1"))
    replay.deliver([make_fill("a", "BUY", 10, 100), make_fill("b", "SELL", 10, 101, 1)])
    other = StoredWorld(db, make_book("replay:2"))
    other.deliver([make_fill("a", "BUY", 10, 100)])
    worker = open_database("replay_writer")
    with pytest.raises(Rejected, match="not_a_replay_book"), worker.transaction() as tx:
        service.clear_replay_book(tx, "live")
    with pytest.raises(ConstraintViolated, match="clear_replay_only"):
        query("select ledger.clear_replay_book('live')")
    service.run(worker, lambda tx: service.clear_replay_book(tx, "replay:1"))
    assert (live.state_hash, live.chain_head) == before
    assert [row["book_id"] for row in query("select distinct book_id from ledger.fills order by 1")] == ["live", "replay:2"]
    replay.deliver([make_fill("a", "BUY", 10, 100)])
    assert replay.chain_head == StoredWorld(db, make_book("replay:1")).chain_head != other.chain_head


def test_scenario_47_live_and_replay_of_the_same_fills_have_equal_ids_and_state(db: Database, query: Query) -> None:
    fills = [make_fill("a", "BUY", 10, 100), make_fill("b", "BUY", 5, 101, 1), make_fill("c", "SELL", 15, 102, 2)]
    live, replay = StoredWorld(db), StoredWorld(db, make_book("replay:run-1"))
    for fill in fills:
        live.deliver([fill])
    replay.deliver(fills)
    assert live.state_hash == replay.state_hash
    assert [v.action.action_id for v in live.actions] == [v.action.action_id for v in replay.actions]
    assert {row["book_id"] for row in query("select book_id from outbox.events")} == {"live"}


def test_recorded_times_never_go_back_when_the_clock_does(stored: StoredWorld, query: Query) -> None:
    stored.deliver([make_fill("a", "BUY", 10, 100)], at(30))
    stored.deliver([make_fill("b", "BUY", 10, 100, 1)], at(20))
    rows = query("select recorded_at from ledger.fills order by seq")
    assert [row["recorded_at"] for row in rows] == [at(30), at(30) + timedelta(microseconds=1)]


def test_a_closed_book_refuses_decisions_and_parks_facts(stored: StoredWorld) -> None:
    stored.deliver([make_fill("a", "BUY", 10, 100)])
    service.run(stored.db, lambda tx: service.close_book(tx, "live", DAY))
    with pytest.raises(Rejected, match="book_closed"):
        stored.deliver([make_fill("b", "BUY", 10, 100, 1)])
    outcome = stored.deliver([make_fill("c", "BUY", 1, 100, 1, source="operator")])[0]
    assert (outcome.status, outcome.reason) == ("parked", "book_closed")


def test_a_book_is_opened_once_and_its_terms_are_fixed(db: Database) -> None:
    book = make_book("ibkr:U1", "LIFO", start_cash=Decimal("10.50"))
    assert service.run(db, lambda tx: service.open_book(tx, book, DAY)) is True
    assert service.run(db, lambda tx: service.open_book(tx, book, datetime(2027, 1, 1, tzinfo=UTC))) is False
    with pytest.raises(Exception, match="book_differs"):
        service.run(db, lambda tx: service.open_book(tx, make_book("ibkr:U1", "FIFO"), DAY))
    for wrong in ("ibkr", "live:1", "replay:", "mt5:a", "other:1", "ibkr:a b"):
        with pytest.raises(Rejected, match="book_id_invalid"):
            service.run(db, lambda tx, wrong=wrong: service.open_book(tx, make_book(wrong), DAY))

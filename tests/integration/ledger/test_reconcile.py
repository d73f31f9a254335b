"""Book and broker: what agrees, what breaks, what proves nothing (scenario 40 of the specification)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fillbook.ledger import audit
from fillbook.runtime.db import Database
from fillbook.runtime.errors import Conflict, Rejected
from tests.support.ledger import StoredWorld, at, make_book
from tests.support.ledger_statements import (
    BOOK,
    NOON,
    BrokerDesk,
    book_in,
    cash,
    events,
    fact,
    line,
    realized,
    says,
    statement_of,
)

Query = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def desk(db: Database) -> BrokerDesk:
    """An account that bought 10 AMD at 100 and 4 NVDA at 50, a dollar of fees each."""
    made = BrokerDesk(db)
    made.book(fact("a", "BUY", 10, 100, fees="1"), fact("n", "BUY", 4, 50, 1, instrument="NVDA", fees="1"))
    return made


AMD, NVDA = line("AMD", 10, 100), line("NVDA", 4, 50)


# --- agreement, and what is compared ----------------------------------------------------------------------------------


def test_a_statement_that_says_what_the_book_says_is_matched_and_recorded(desk: BrokerDesk, query: Query) -> None:
    outcome = desk.compare(statement_of(book_in(desk.world), BOOK))
    assert (outcome.result, outcome.is_new, outcome.breaks, outcome.partitions) == ("matched", True, (), ())
    (row,) = query("select * from ledger.v_reconciliations")
    assert (row["result"], row["breaks_found"], row["breaks_open"], row["book_seq"]) == ("matched", 0, 0, 4)
    assert row["subjects"] == ["positions", "cash/USD"]
    assert row["statement"]["positions"][0] == {
        "instrument": "AMD",
        "direction": None,
        "quantity": "10",
        "average_price": "100",
        "currency": "USD",
        "opened_at": None,
    }
    assert events(query) == []


@pytest.mark.parametrize(
    ("lines", "kind", "figures"),
    [
        ([line("AMD", 9, 100), NVDA], "position_quantity", ("10", "9", "-1")),
        ([line("AMD", -10, 100), NVDA], "position_quantity", ("10", "-10", "-20")),
        ([AMD, NVDA, line("TSLA", 2)], "missing_in_book", ("0", "2", "2")),
        ([NVDA], "missing_at_broker", ("10", "0", "-10")),
        ([line("AMD", 0), NVDA], "missing_at_broker", ("10", "0", "-10")),
        ([line("AMD", 10, "100.2"), NVDA], "average_price", ("100.1", "100.2", "0.1")),
        ([line("AMD", "10.0000000001", 100), NVDA], "position_quantity", ("10", "10.0000000001", "0.0000000001")),
    ],
)
def test_each_kind_of_difference_in_positions_is_one_break(
    desk: BrokerDesk, query: Query, lines: list[Any], kind: str, figures: tuple[str, str, str]
) -> None:
    outcome = desk.hears(*lines)
    assert (outcome.result, outcome.found, len(outcome.breaks)) == ("breaks", 1, 1)
    (told,) = events(query)
    assert told["event_type"] == "break_found"
    assert (told["data"]["kind"], told["data"]["expected"], told["data"]["actual"], told["data"]["difference"]) == (
        kind,
        *figures,
    )
    assert told["aggregate_key"] == f"{BOOK}/{told['data']['instrument_id']}"
    assert told["data"]["break_id"] == outcome.breaks[0].break_id


@pytest.mark.parametrize(
    ("price", "agrees"),
    [("100", True), ("100.01", True), ("100.0099", True), ("100.1", True), ("100.11", True), ("100.03", False), ("99.98", False)],
)
def test_an_average_price_may_be_the_vwap_or_the_basis_per_unit_within_a_hundredth_percent(
    desk: BrokerDesk, price: str, agrees: bool
) -> None:
    assert (desk.hears(line("AMD", 10, price), NVDA).result == "matched") is agrees


@pytest.mark.parametrize(
    ("end", "agrees"), [("798", True), ("798.01", True), ("797.99", True), ("798.011", False), ("797.98", False)]
)
def test_cash_is_the_start_and_what_moved_within_a_cent(desk: BrokerDesk, end: str, agrees: bool) -> None:
    outcome = desk.hears(AMD, NVDA, cash=(cash(2000, end),))
    assert (outcome.result == "matched") is agrees
    assert desk.hears(AMD, NVDA, cash=(cash(1900, end, other=100),), as_of=at(70)).result == outcome.result


def test_cash_of_a_period_counts_executions_after_its_start_up_to_its_end(desk: BrokerDesk) -> None:
    desk.book(fact("x", "SELL", 2, 110, 61, fees="0.5"))
    assert desk.hears(AMD, NVDA, since=at(0), cash=(cash(999, 798),)).result == "matched"
    late = desk.hears(line("AMD", 8), NVDA, as_of=at(62), since=NOON, cash=(cash(798, "1017.5"),), realized=(realized("19.3"),))
    assert late.result == "matched"


def test_realized_profit_is_compared_where_the_broker_gives_it(desk: BrokerDesk) -> None:
    desk.book(fact("x", "SELL", 5, 110, 2, fees="0.5"))
    lines = (line("AMD", 5), NVDA)
    assert desk.hears(*lines, realized=(realized("49", "AMD"), realized(49))).result == "matched"
    desk.hears(*lines, as_of=at(61), realized=(realized("49.02", "AMD"), realized("49.01"), realized(0, "NVDA")))
    assert desk.found == [("realized_pnl", "AMD", "unexplained")]


def test_currencies_are_never_summed(db: Database) -> None:
    desk = BrokerDesk(db, base_currency="EUR")
    desk.book(
        fact("a", "BUY", 10, 100, fees="1", fx_rate="0.9"),
        fact("b", "BUY", 10, 10, 1, instrument="SAP", currency="EUR", fees="2"),
        fact(
            "c", "BUY", 1, 5, 2, instrument="VOD", currency="GBP", fees="1", fees_currency="USD", fx_rate="1.2", fees_rate="0.9"
        ),
    )
    lines = (line("AMD", 10), line("SAP", 10, currency="EUR"), line("VOD", 1, currency="GBP"))
    flows = (cash(5000, 3998), cash(5000, 4898, currency="EUR"), cash(5, 0, currency="GBP"))
    assert desk.hears(*lines, cash=flows).result == "matched"
    desk.hears(*lines, cash=(cash(5000, 3998), cash(5000, 4899, currency="EUR")), as_of=at(61))
    assert desk.found == [("cash", "EUR", "unexplained")]


def test_a_hedging_book_is_compared_by_direction(db: Database) -> None:
    desk = BrokerDesk(db, book_id="mt5:srv:7", netting="hedge")
    both = {"source": "mt5", "account_key": "srv:7"}
    desk.book(fact("l", "BUY", 3, 100, direction="LONG", **both), fact("s", "SELL", 2, 101, 1, direction="SHORT", **both))
    long, short = line("AMD", 3, 100, direction="LONG"), line("AMD", -2, 101, direction="SHORT")
    assert desk.hears(long, short).result == "matched"
    desk.hears(long, as_of=at(61))
    assert [(row.key.kind.value, row.key.direction, row.expected) for row in desk.breaks()] == [
        ("missing_at_broker", "SHORT", -2)
    ]
    with pytest.raises(Rejected, match="direction_required"):
        desk.hears(line("AMD", 1), as_of=at(62))
    with pytest.raises(Rejected, match="quantity_sign_invalid"):
        desk.hears(line("AMD", 2, direction="SHORT"), as_of=at(62))


def test_the_book_is_compared_as_it_was_at_the_statement(desk: BrokerDesk) -> None:
    desk.book(fact("x", "SELL", 10, 110, 90), fact("y", "BUY", 7, 9, 91, instrument="MSFT"))
    assert desk.hears(AMD, NVDA).result == "matched"
    assert desk.hears(NVDA, line("MSFT", 7), as_of=at(95)).result == "matched"


def test_splits_up_to_the_statement_count_also_when_more_came_after(desk: BrokerDesk) -> None:
    desk.book(fact("b", "BUY", 3, 90, 5))
    desk.world.split((1, 7), 30)
    whole = sum(lot.quantity_open for lot in desk.world.positions[0].lots)
    assert desk.hears(line("AMD", whole), NVDA).result == "matched"
    assert desk.hears(line("AMD", 13), NVDA, as_of=at(29)).result == "matched"
    desk.book(fact("c", "BUY", 1, 700, 61))
    desk.world.split((2, 1), 62)
    assert desk.hears(line("AMD", whole), NVDA, as_of=at(60.5)).result == "matched"
    assert desk.hears(line("AMD", whole + 1), NVDA, as_of=at(61.5)).result == "matched"
    assert desk.hears(line("AMD", 2 * whole + 2), NVDA, as_of=at(62)).result == "matched"


def test_what_is_not_compared_neither_opens_nor_closes(desk: BrokerDesk) -> None:
    desk.hears(line("AMD", 9), NVDA)
    assert desk.hears(NVDA, not_compared=frozenset({"AMD"}), as_of=at(61)).result == "matched"
    assert desk.found == [("position_quantity", "AMD", "unexplained")]
    desk.hears(line("AMD", 10, 120), NVDA, cash=(cash(0, 5),), as_of=at(62))
    assert [kind for kind, _, _ in desk.found] == ["average_price", "cash"]
    # no price and no cash stated: nothing is known of either
    assert desk.hears(line("AMD", 10), NVDA, as_of=at(63)).result == "matched"
    assert [kind for kind, _, _ in desk.found] == ["average_price", "cash"]


def test_an_unknown_contract_size_makes_no_amount_to_compare(desk: BrokerDesk, query: Query) -> None:
    desk.book(fact("f", "BUY", 1, 5, 3, instrument="FUT", multiplier=None, currency="XXX"))
    desk.book(fact("g", "BUY", 1, 5, 4, instrument="FUU", multiplier=None, currency="XXX", fees="1", fees_currency="USD"))
    outcome = desk.hears(AMD, NVDA, line("FUT", 1), line("FUU", 1), cash=(cash(2000, 797), cash(0, 9, currency="XXX")))
    assert outcome.result == "matched"
    assert query("select subjects from ledger.reconciliations")[0]["subjects"] == ["positions", "cash/USD"]


def test_a_reconciler_never_books(desk: BrokerDesk, db: Database) -> None:
    before = (desk.world.state_hash, desk.world.chain_head)
    desk.hears(line("AMD", 77), line("TSLA", 5), cash=(cash(0, 1),))
    assert (desk.world.state_hash, desk.world.chain_head) == before
    assert audit.audit(db, BOOK, NOON).exit == 0


# --- what proves nothing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "minutes", "reason"),
    [
        ({"complete": False}, 1, "incomplete"),
        ({"account": "U2"}, 1, "other_account"),
        ({"as_of": NOON}, 24 * 60 + 1, "too_old"),
        ({"as_of": NOON}, -6, "from_the_future"),
    ],
)
def test_40_what_proves_nothing_opens_and_closes_nothing(
    desk: BrokerDesk, query: Query, options: dict[str, Any], minutes: int, reason: str
) -> None:
    desk.hears(line("AMD", 9), NVDA, as_of=at(50))
    before = desk.breaks()
    for lines in ((), (AMD, NVDA), (line("AMD", 1),)):
        statement = says(*lines, source=f"flex{len(lines)}", **options)
        outcome = desk.compare(statement, statement.as_of + timedelta(minutes=minutes))
        assert (outcome.result, outcome.reason) == ("inconclusive", reason)
        assert outcome.breaks == tuple(before)
    assert desk.breaks() == before
    assert [row["reason"] for row in query("select reason from ledger.v_reconciliations where result = 'inconclusive'")] == [
        reason
    ] * 3
    assert len(events(query)) == 1


def test_40_an_empty_list_is_flat_only_when_complete(desk: BrokerDesk) -> None:
    assert desk.hears(complete=False).result == "inconclusive"
    assert desk.found == []
    assert desk.hears(as_of=at(61)).result == "breaks"
    assert [(kind, name) for kind, name, _ in desk.found] == [("missing_at_broker", "AMD"), ("missing_at_broker", "NVDA")]


def test_a_day_old_statement_still_counts_and_a_complete_one_may_follow_an_incomplete_one(desk: BrokerDesk) -> None:
    assert desk.hears(complete=False).result == "inconclusive"
    assert desk.hears(AMD, NVDA, now=NOON + timedelta(hours=24)).result == "matched"
    early = says(AMD, NVDA, source="tws")
    assert desk.compare(early, NOON - timedelta(minutes=9)).reason == "from_the_future"
    assert desk.compare(early, NOON).result == "matched"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"book_id": "ibkr:none"}, "book_unknown"),
        ({"positions": (AMD, AMD)}, "statement_line_twice"),
        ({"positions": (line("AMD", "NaN"),)}, "number_invalid"),
        ({"positions": (line("AMD", "1e40"),)}, "number_overflow"),
        ({"positions": (line("A\x00D", 1),)}, "text_invalid"),
        ({"positions": (line("AMD", 1, currency="usd"),)}, "currency_invalid"),
        ({"positions": (line("AMD", 1, direction="LONG"),)}, "direction_invalid"),
        ({"cash": (cash(0, 1), cash(0, 2))}, "statement_line_twice"),
        ({"realized": (realized(1, direction="LONG"),)}, "direction_invalid"),
        ({"known_causes": {"AMD": "Because!"}}, "known_causes_invalid"),
        ({"since": at(61)}, "since_invalid"),
        ({"as_of": NOON.replace(tzinfo=None)}, "instant_invalid"),
        ({"source": ""}, "source_invalid"),
        ({"positions": tuple(line(f"T{n}", 1) for n in range(5_001))}, "statement_too_large"),
    ],
)
def test_a_malformed_statement_is_refused_and_leaves_nothing(
    desk: BrokerDesk, query: Query, change: dict[str, Any], reason: str
) -> None:
    with pytest.raises(Rejected, match=reason):
        desk.compare(replace(says(), **change), NOON)
    assert query("select 1 from ledger.reconciliations") == []


def test_a_replay_book_has_no_broker(db: Database) -> None:
    StoredWorld(db, make_book("replay:1"))
    with pytest.raises(Rejected, match="book_not_reconciled"):
        BrokerDesk(db).compare(says(book_id="replay:1"))


def test_the_same_source_cannot_say_two_things_of_one_instant(desk: BrokerDesk) -> None:
    desk.hears(AMD, NVDA)
    with pytest.raises(Conflict, match="statement_differs"):
        desk.hears(AMD)
    assert desk.found == []

"""Why a break is there: each cause seeded alone is the one that is named (scenario 41 of the specification)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fillbook.ledger.causes import CAUSES
from fillbook.runtime.db import Database
from tests.support.ledger import at
from tests.support.ledger_statements import BrokerDesk, cash, fact, line, says


@pytest.fixture
def desk(db: Database) -> BrokerDesk:
    """An account that bought 10 AMD at 100 and 4 NVDA at 50, a dollar of fees each."""
    made = BrokerDesk(db)
    made.book(fact("a", "BUY", 10, 100, fees="1"), fact("n", "BUY", 4, 50, 1, instrument="NVDA", fees="1"))
    return made


AMD, NVDA = line("AMD", 10, 100), line("NVDA", 4, 50)


def seed_parked(desk: BrokerDesk) -> Any:
    desk.book(fact("p", "SELL", 3, 9, 5, instrument="TSLA", position_effect="close"))
    return says(AMD, NVDA, line("TSLA", -3))


def seed_fees(desk: BrokerDesk) -> Any:
    desk.book(fact("u", "BUY", 1, 100, 5, fees=None))
    return says(line("AMD", 11), NVDA, cash=(cash(2000, "697.5"),))


def seed_correction(desk: BrokerDesk) -> Any:
    desk.book(fact("s", "SELL", 2, 110, 5, position_effect="close"))
    desk.book(fact("s", "SELL", 12, 110, 5, position_effect="close", source_revision=2, cause="revision"))
    return says(line("AMD", 8), NVDA)


def seed_split(desk: BrokerDesk) -> Any:
    return says(line("AMD", 40, 25), NVDA)


def seed_late(desk: BrokerDesk) -> Any:
    desk.book(fact("b", "BUY", 3, 101, 52), fact("c", "BUY", 2, 101, 56))
    return says(AMD, NVDA)


def seed_history(desk: BrokerDesk) -> Any:
    return says(AMD, NVDA, line("TSLA", 5, opened_at=at(-1)))


def seed_duplicate(desk: BrokerDesk) -> Any:
    desk.book(fact("d1", "BUY", 7, 100, 5), fact("d2", "BUY", 7, 100, 5))
    return says(line("AMD", 17), NVDA)


def seed_rounding(desk: BrokerDesk) -> Any:
    desk.book(fact("r", "BUY", "0.33333", 100, 5))
    return says(line("AMD", "10.3333"), NVDA)


def seed_unexplained(desk: BrokerDesk) -> Any:
    return says(line("AMD", 3), NVDA)


SEEDS: dict[str, Callable[[BrokerDesk], Any]] = {
    "parked_fill": seed_parked,
    "fees_unknown": seed_fees,
    "correction_pending": seed_correction,
    "split_unentered": seed_split,
    "late_fill": seed_late,
    "before_history": seed_history,
    "duplicate": seed_duplicate,
    "rounding": seed_rounding,
    "unexplained": seed_unexplained,
}


def test_every_cause_of_the_table_is_seeded_in_its_order() -> None:
    assert list(SEEDS) == list(CAUSES)


@pytest.mark.parametrize("cause", SEEDS)
def test_41_each_seeded_cause_is_named(desk: BrokerDesk, cause: str) -> None:
    statement = SEEDS[cause](desk)
    desk.compare(statement)
    (row,) = desk.breaks()
    assert row.cause == cause
    assert (row.expected is None, row.difference is None) == (cause == "fees_unknown", cause == "fees_unknown")


@pytest.mark.parametrize("cause", SEEDS)
def test_what_the_room_knows_wins(desk: BrokerDesk, cause: str) -> None:
    statement = SEEDS[cause](desk)
    named = statement.positions[-1].instrument if cause == "before_history" or cause == "parked_fill" else "AMD"
    known = {named: "executions_pending"} if cause != "fees_unknown" else {"*": "executions_pending"}
    desk.compare(replace(statement, known_causes={**known, "OTHER": "open_anomaly"}))
    assert [row.cause for row in desk.breaks()] == ["executions_pending"]


def test_41_a_hundred_seeded_breaks_are_found_and_none_invented(db: Database) -> None:
    desk = BrokerDesk(db)
    names = [f"T{number:03}" for number in range(150)]
    desk.book(*(fact(name, "BUY", 10, 100, number / 10, instrument=name) for number, name in enumerate(names)))
    lines = {name: line(name, 10, 100) for name in names}
    for name in names[:40]:
        lines[name] = line(name, 3, 100)
    for name in names[40:70]:
        del lines[name]
    for name in names[70:90]:
        lines[name] = line(name, 10, 120)
    for number in range(10):
        lines[f"X{number}"] = line(f"X{number}", -1)
    outcome = desk.hears(*lines.values())
    assert outcome.found == len(outcome.breaks) == 100
    expected = [("position_quantity", name) for name in names[:40]] + [("missing_at_broker", name) for name in names[40:70]]
    expected += [("average_price", name) for name in names[70:90]] + [("missing_in_book", f"X{n}") for n in range(10)]
    assert sorted((kind, name) for kind, name, _ in desk.found) == sorted(expected)
    assert len(desk.told) == 100


@pytest.mark.parametrize(
    ("ratio", "quantity", "price", "cause"),
    [
        ("3:2", 15, "66.6666666667", "split_unentered"),
        ("2:3", "6.6666666667", None, "unexplained"),
        ("1:10", 1, 1000, "split_unentered"),
        ("50:1", 500, None, "split_unentered"),
        ("7:1", 70, None, "unexplained"),
        # the quantity doubled, but the price did not halve: 10 more were bought
        ("2:1", 20, 100, "unexplained"),
        ("2:1", 20, 50, "split_unentered"),
    ],
)
def test_a_split_is_suspected_by_its_ratio_unless_the_price_says_no(
    desk: BrokerDesk, ratio: str, quantity: object, price: object, cause: str
) -> None:
    desk.hears(line("AMD", quantity, price), NVDA)
    assert desk.found == [("position_quantity", "AMD", cause)], ratio


def test_a_late_fill_is_one_within_ten_minutes_on_either_side(desk: BrokerDesk) -> None:
    desk.book(fact("b", "BUY", 3, 101, 50), fact("c", "BUY", 2, 101, 65), fact("d", "BUY", 4, 101, 100))
    for minute, quantity, cause in (
        (54.9, 15, "unexplained"),  # the fill of minute 65 is too far ahead to be in the broker's figure
        (55, 15, "late_fill"),
        (60, 10, "late_fill"),  # that of minute 50 is not in it yet
        (62, 12, "unexplained"),
        (110, 15, "late_fill"),
        (110.1, 15, "duplicate"),
    ):
        outcome = desk.hears(line("AMD", quantity), NVDA, as_of=at(minute))
        assert [row.cause for row in outcome.breaks] == [cause], minute


def test_cash_finds_its_cause_too(desk: BrokerDesk) -> None:
    desk.book(fact("d", "BUY", 1, 30, 5, instrument="KO", fees="1"))
    lines = (AMD, NVDA, line("KO", 1))
    assert desk.hears(*lines, cash=(cash(2000, 798),)).breaks[0].cause == "duplicate"
    desk.book(fact("p", "SELL", 3, 9, 6, instrument="TSLA", position_effect="close", fees="1"))
    desk.hears(*lines, cash=(cash(2000, 793),), as_of=at(61))
    assert desk.found == [("cash", "USD", "parked_fill")]
    desk.hears(*lines, cash=(cash(2000, "767.02"),), as_of=at(62))
    assert desk.found == [("cash", "USD", "rounding")]


def test_a_book_without_any_fill_begins_after_what_the_broker_holds(db: Database) -> None:
    desk = BrokerDesk(db)
    desk.hears(AMD)
    assert desk.found == [("missing_in_book", "AMD", "before_history")]


def test_fees_unknown_do_not_break_what_agrees_without_them(desk: BrokerDesk) -> None:
    desk.book(fact("u", "BUY", 1, 100, 5, fees=None))
    assert desk.hears(line("AMD", 11, 100), NVDA, cash=(cash(2000, 698),)).result == "matched"
    desk.hears(line("AMD", 11, 101), NVDA, as_of=at(61))
    assert desk.found == [("average_price", "AMD", "fees_unknown")]

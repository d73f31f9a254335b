"""Rules of reconciliation alone: tolerances at their edges, order of causes, ages, what proves nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fillbook.ledger import breaks, matching
from fillbook.ledger.causes import CAUSES, Candidate, Candidates, Evidence, cause_of
from fillbook.ledger.matching import BookAt, Finding, Held, Moved
from fillbook.ledger.statement import BreakKey, BreakKind
from tests.support.ledger import at
from tests.support.ledger_statements import BOOK, NOON, cash, line, new_york, realized, says

KEY = BreakKey(kind=BreakKind.POSITION_QUANTITY, instrument="AMD", direction=None, currency="USD")


def held(quantity: object, vwap: object, basis: object = None, **options: Any) -> Held:
    """A position of AMD."""
    given: dict[str, Any] = {"instrument": "AMD", "ticker": "AMD", "direction": None, "currency": "USD", "multiplier": Decimal(1)}
    cost = None if basis is None else Decimal(str(basis))
    return Held(quantity=Decimal(str(quantity)), vwap=Decimal(str(vwap)), cost_basis=cost, **{**given, **options})


def finding(expected: object, actual: object, **options: Any) -> Finding:
    """A finding on the quantity of AMD unless said otherwise."""
    gap = Decimal(str(actual)) - Decimal(str(expected))
    given: dict[str, Any] = {"key": KEY, "ticker": "AMD", "gap": gap}
    return Finding(expected=Decimal(str(expected)), actual=Decimal(str(actual)), **{**given, **options})


def candidate(quantity: object, minute: float = 55, **options: Any) -> Candidate:
    """A fill of AMD."""
    given: dict[str, Any] = {"instruments": frozenset({"AMD"}), "direction": None, "currency": "USD"}
    return Candidate(quantity=Decimal(str(quantity)), executed_at=at(minute), **{**given, **options})


@pytest.mark.parametrize(
    ("position", "price", "agrees"),
    [
        (held(10, 100, 1000), "100.01", True),
        (held(10, 100, 1000), "100.0101", False),
        (held(10, 100, 1005), "100.51005", True),
        (held(-10, 50, 499), "49.9", True),
        (held(2, 4500, 450_009, multiplier=Decimal(50)), "4500.09", True),
        (held(2, 4500, None, multiplier=None), "4500", True),
        (held(2, 4500, None, multiplier=None), "4501", False),
        (held(1, -3, -2), "-2", True),
        (held(1, -3, -2), "2", False),
        (held(1, 0, 0), "0", True),
        (held(1, 0, 0), "0.0001", False),
    ],
)
def test_an_average_price_agrees_with_vwap_or_basis_per_unit(position: Held, price: str, agrees: bool) -> None:
    said = says(line("AMD", position.quantity, price))
    assert (matching.compare(said, BookAt(held=(position,))).findings == {}) is agrees


@pytest.mark.parametrize(("off", "agrees"), [("0.01", True), ("-0.01", True), ("0.01000001", False), ("-0.011", False)])
def test_amounts_agree_within_a_cent_and_not_a_hair_more(off: str, agrees: bool) -> None:
    moved = {"USD": Moved(gross=Decimal(-500), fees=Decimal("1.5"))}
    earned = {("AMD", None, "USD"): Moved(gross=Decimal(20), fees=Decimal("0.5"))}
    said = says(
        cash=(cash(1000, Decimal("508.5") + Decimal(off), other=10),), realized=(realized(Decimal("19.5") + Decimal(off), "AMD"),)
    )
    found = matching.compare(said, BookAt(cash=moved, realized=earned)).findings
    assert len(found) == (0 if agrees else 2)


def test_unknown_fees_leave_the_expected_amount_unknown() -> None:
    moved = {"USD": Moved(gross=Decimal(-500), fees=Decimal(1), unknown=1, executions=2)}
    assert matching.compare(says(cash=(cash(1000, 499),)), BookAt(cash=moved)).findings == {}
    (found,) = matching.compare(says(cash=(cash(1000, "497.8"),)), BookAt(cash=moved)).findings.values()
    assert (found.expected, found.difference, found.gap) == (None, None, Decimal("-1.2"))
    assert cause_of(found, Evidence(as_of=NOON), {}) == "fees_unknown"


def test_a_contract_size_that_is_unknown_leaves_an_amount_uncompared() -> None:
    comparison = matching.compare(says(cash=(cash(0, 99),)), BookAt(cash={"USD": Moved(gross=None)}))
    assert (comparison.findings, comparison.subjects) == ({}, ("positions",))
    assert not comparison.agrees(BreakKey(kind=BreakKind.CASH, instrument="", direction=None, currency="USD"))


@pytest.mark.parametrize("first", range(len(CAUSES) - 1))
def test_the_first_cause_of_the_table_that_holds_wins(first: int) -> None:
    """All evidence holds at once; taking it away from the front uncovers the next cause each time."""
    broker = line("AMD", 20, 50, opened_at=at(-5))
    evidence: dict[str, Any] = {
        "as_of": NOON,
        "parked": Candidates([candidate(10)]),
        "near": Candidates([candidate(10, 65)]),
        "twins": Candidates([candidate(-10)]),
        "first_fill_at": at(0),
    }
    options: dict[str, Any] = {"stated": broker, "held": held(10, 100), "fees_unknown": True}
    taken: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"parked": Candidates([candidate(3, is_revision=True)])}, {}),
        ({}, {"fees_unknown": False}),
        ({"parked": Candidates()}, {}),
        ({}, {"stated": line("AMD", 20, 100, opened_at=at(-5))}),
        ({"near": Candidates()}, {}),
        ({"first_fill_at": at(-10)}, {}),
        ({"twins": Candidates()}, {}),
        ({}, {}),
    ]
    for less, changed in taken[:first]:
        evidence |= less
        options |= changed
    found = finding(10, 20, **options)
    expected = list(CAUSES)[first] if first < 7 else "unexplained"
    assert cause_of(found, Evidence(**evidence), {}) == expected
    assert cause_of(found, Evidence(**evidence), {"AMD": "ours"}) == "ours"
    assert cause_of(found, Evidence(**evidence), {"*": "all", "NVDA": "other"}) == "all"


@pytest.mark.parametrize(
    ("expected", "actual", "cause"),
    [
        ("0.33333", "0.3333", "rounding"),
        ("0.33333", "0.333", "unexplained"),
        ("100000.00004", "100000", "rounding"),
        ("0.00007", "0.00001", "unexplained"),
        ("10", "9", "unexplained"),
    ],
)
def test_a_quantity_is_rounded_where_the_difference_is_tiny_both_ways(expected: str, actual: str, cause: str) -> None:
    assert cause_of(finding(expected, actual), Evidence(as_of=NOON), {}) == cause


def test_executions_around_the_statement_explain_together_only_in_their_order() -> None:
    near = Candidates([candidate(3, 51), candidate(2, 58), candidate(-1, 63), candidate(7, 69)])
    evidence = Evidence(as_of=NOON, near=near)
    for gap, cause in ((-2, "late_fill"), (-5, "late_fill"), (-3, "late_fill"), (-1, "late_fill"), (6, "late_fill"),
                       (7, "late_fill"), (2, "unexplained"), (-7, "unexplained")):  # fmt: skip
        assert cause_of(finding(100, 100 + gap), evidence, {}) == cause, gap
    elsewhere = Evidence(as_of=NOON, near=Candidates([candidate(2, instruments=frozenset({"NVDA"}))]))
    assert cause_of(finding(100, 98), elsewhere, {}) == "unexplained"


def test_a_fact_parked_after_the_statement_explains_nothing_of_it() -> None:
    evidence = Evidence(as_of=NOON, parked=Candidates([candidate(4, 61), candidate(1), candidate(2)]))
    assert cause_of(finding(10, 13), evidence, {}) == "parked_fill"
    assert cause_of(finding(10, 14), evidence, {}) == "unexplained"


@pytest.mark.parametrize(
    ("first", "now", "sessions"),
    [
        (new_york(3, 9, 29), new_york(3, 15, 59), 0),
        (new_york(3, 9, 30), new_york(3, 16), 1),
        (new_york(3, 9, 31), new_york(3, 16), 0),
        (new_york(3, 16), new_york(4, 16), 1),
        (new_york(6, 16), new_york(9, 9), 0),
        (new_york(13, 17), new_york(17, 16), 1),
        (new_york(3, 12), new_york(3, 11), 0),
        (datetime(1970, 1, 1, tzinfo=UTC), new_york(3, 11), 0),
    ],
)
def test_an_age_is_whole_sessions_of_the_market(first: datetime, now: datetime, sessions: int) -> None:
    assert breaks.sessions_between(first, now, "XNYS") == sessions
    assert breaks.sessions_between(first, now, "NOWHERE") == sessions


def test_a_statement_proves_something_for_a_day_and_of_its_own_account_only() -> None:
    said = says(as_of=NOON)
    assert matching.inconclusive(said, NOON + timedelta(hours=24)) is None
    assert matching.inconclusive(said, NOON + timedelta(hours=24, microseconds=1)) == "too_old"
    assert matching.inconclusive(said, NOON - timedelta(minutes=5)) is None
    assert matching.inconclusive(says(account=None), NOON) is None
    assert matching.inconclusive(says(account="u1"), NOON) == "other_account"
    assert matching.inconclusive(says(book_id="mt5:srv:7", account="srv:7"), NOON) is None
    assert matching.inconclusive(says(book_id="mt5:srv:7", account="7"), NOON) == "other_account"


def test_a_break_has_one_id_for_its_book_and_subject() -> None:
    assert KEY.break_id(BOOK) == KEY.break_id(BOOK)
    others = {
        KEY.break_id("ibkr:U2"),
        BreakKey(kind=BreakKind.AVERAGE_PRICE, instrument="AMD", direction=None, currency="USD").break_id(BOOK),
        BreakKey(kind=BreakKind.POSITION_QUANTITY, instrument="AMD", direction=None, currency="EUR").break_id(BOOK),
    }
    assert len(others | {KEY.break_id(BOOK)}) == 4

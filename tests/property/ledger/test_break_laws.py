"""Laws of a reconciliation: a broker who says what the book says never breaks; one difference is exactly one break."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fillbook.ledger import breaks, matching
from fillbook.ledger.causes import CAUSES, Evidence, cause_of
from fillbook.ledger.statement import BreakKey, BreakKind, Statement, check_statement, statement_document
from fillbook.ledger.statement_json import read_statement
from fillbook.runtime.sql import encode
from tests.support.ledger import MemoryWorld
from tests.support.ledger_histories import METHODS, broker_book, deliveries, half
from tests.support.ledger_statements import NOON, book_in, line, statement_of

KINDS = ("quantity", "absent", "unknown", "price", "cash", "realized")


@st.composite
def told_books(draw: st.DrawFn) -> tuple[MemoryWorld, matching.BookAt, Statement]:
    """A book after any history with a split, and the statement of a broker who agrees with it."""
    netting = draw(st.sampled_from(["net", "hedge"]))
    world = MemoryWorld(broker_book(draw(st.sampled_from(METHODS)), netting))
    for fill in draw(deliveries(hedge=netting == "hedge")):
        world.deliver([fill])
    if draw(st.booleans()):
        world.split(draw(st.sampled_from([(4, 1), (1, 7)])), draw(st.integers(0, 8)))
    book = book_in(world)
    return world, book, check_statement(statement_of(book, world.book.book_id), world.book)


@half
@given(told=told_books())
def test_a_statement_made_from_the_book_never_breaks(told: Any) -> None:
    _, book, said = told
    comparison = matching.compare(said, book)
    assert comparison.findings == {}
    standing = BreakKey(kind=BreakKind.MISSING_AT_BROKER, instrument="GONE", direction=None, currency="USD")
    assert comparison.agrees(standing)


@half
@given(told=told_books(), data=st.data())
def test_a_statement_changed_in_one_place_has_exactly_that_break(told: Any, data: st.DataObject) -> None:
    world, book, said = told
    changed, kind, subject = _changed(said, data, is_hedge=world.book.netting == "hedge")
    comparison = matching.compare(changed, book)
    assert [(key.kind, key.instrument or key.currency) for key in comparison.findings] == [(kind, subject)]
    (finding,) = comparison.findings.values()
    assert cause_of(finding, Evidence(as_of=said.as_of, first_fill_at=book.first_fill_at), {}) in CAUSES
    assert not comparison.agrees(finding.key)


def _changed(said: Statement, data: st.DataObject, *, is_hedge: bool) -> tuple[Statement, BreakKind, str]:
    lists = {"quantity": said.positions, "absent": said.positions, "price": said.positions, "cash": said.cash}
    lists |= {"realized": said.realized, "unknown": ("always",)}
    what = data.draw(st.sampled_from([kind for kind in KINDS if lists[kind]]))
    chosen = data.draw(st.integers(0, len(lists[what]) - 1))
    if what == "unknown":
        extra = line("NEW", -3, direction="SHORT" if is_hedge else None)
        return replace(said, positions=(*said.positions, extra)), BreakKind.MISSING_IN_BOOK, "NEW"
    one: Any = lists[what][chosen]
    others = [other for number, other in enumerate(lists[what]) if number != chosen]
    if what == "absent":
        return replace(said, positions=tuple(others)), BreakKind.MISSING_AT_BROKER, one.instrument
    if what == "quantity":
        other = replace(one, quantity=one.quantity * 7)
        return replace(said, positions=(*others, other)), BreakKind.POSITION_QUANTITY, one.instrument
    if what == "price":
        other = replace(one, average_price=Decimal(-1000))
        return replace(said, positions=(*others, other)), BreakKind.AVERAGE_PRICE, one.instrument
    if what == "cash":
        flow = replace(one, end=one.end + Decimal("0.02"))
        return replace(said, cash=(*others, flow)), BreakKind.CASH, one.currency
    profit = replace(one, amount=one.amount - Decimal("0.02"))
    return replace(said, realized=(*others, profit)), BreakKind.REALIZED_PNL, one.instrument


@half
@given(told=told_books())
def test_a_statement_survives_its_json(told: Any) -> None:
    _, __, said = told
    assert statement_document(read_statement(encode(statement_document(said)))) == statement_document(said)


@half
@given(told=told_books(), data=st.data())
def test_following_a_statement_twice_is_following_it_once(told: Any, data: st.DataObject) -> None:
    world, book, said = told
    changed, _, __ = _changed(said, data, is_hedge=world.book.netting == "hedge")
    comparison = matching.compare(changed, book)
    causes = dict.fromkeys(comparison.findings, "unexplained")
    nothing: frozenset[str] = frozenset()
    (step,) = breaks.follow(changed, comparison, causes, [], nothing, NOON, "XNYS")
    (again,) = breaks.follow(changed, comparison, causes, [step.row], nothing, NOON, "XNYS")
    assert (step.event, again.event, again.row) == ("break_found", None, step.row)
    later = replace(said, as_of=said.as_of + timedelta(minutes=1))
    ended = breaks.follow(later, matching.compare(later, book), {}, [step.row], nothing, NOON, "XNYS")
    assert [one.event for one in ended] == ["break_resolved"]

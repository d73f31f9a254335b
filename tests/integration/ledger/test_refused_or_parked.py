"""Section 6, each reason both ways: a decision is refused and leaves nothing, a fact is parked whole and announced once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from fillbook.ledger import booking, service
from fillbook.ledger.model import Fill
from fillbook.runtime.db import Database
from fillbook.runtime.errors import Rejected
from tests.support.ledger import DAY, StoredWorld, make_book, make_fill

Query = Callable[..., list[dict[str, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Misfit:
    """What stands in the book, and the fill that does not fit; ``method``, ``netting``: the book's terms."""

    before: tuple[Fill, ...] = ()
    fill: Fill
    method: str = "FIFO"
    is_closed: bool = False


LONG = make_fill("a", "BUY", 10, 100, 0, lot_ref="x")
MISFITS = {
    "nothing_to_close": Misfit(fill=make_fill("m", "SELL", 1, 101, 9, position_effect="close")),
    "close_exceeds_open": Misfit(before=(LONG,), fill=make_fill("m", "SELL", 11, 101, 9, position_effect="close")),
    "lot_picks_mismatch": Misfit(
        before=(LONG,), fill=make_fill("m", "SELL", 4, 101, 9, lot_picks=[("x", "3")]), method="SPECIFIC"
    ),
    "position_effect_conflict": Misfit(before=(LONG,), fill=make_fill("m", "SELL", 1, 101, 9, position_effect="open")),
    "book_closed": Misfit(before=(LONG,), fill=make_fill("m", "BUY", 1, 101, 9), is_closed=True),
    "instrument_terms_changed": Misfit(before=(LONG,), fill=make_fill("m", "BUY", 1, 101, 9, multiplier="100")),
    "too_many_lots": Misfit(
        before=(LONG, make_fill("b", "BUY", 1, 100, 1), make_fill("c", "BUY", 1, 100, 2)), fill=make_fill("m", "BUY", 1, 101, 9)
    ),
}


@pytest.fixture
def few_lots(monkeypatch: pytest.MonkeyPatch) -> None:
    """A position holds three open lots, so that the limit is met without 5,000 rows."""
    monkeypatch.setattr(booking, "OPEN_LOTS_MAX", 3)


def prepared(db: Database, book_id: str, misfit: Misfit, **source: str) -> StoredWorld:
    world = StoredWorld(db, make_book(book_id, misfit.method))
    for fill in misfit.before:
        world.deliver([replace(fill, **source)])
    if misfit.is_closed:
        service.run(db, lambda tx: service.close_book(tx, book_id, DAY))
    return world


@pytest.mark.usefixtures("few_lots")
@pytest.mark.parametrize("book_id", ["live", "replay:1"])
@pytest.mark.parametrize("reason", MISFITS)
def test_a_decision_that_does_not_fit_is_refused_and_nothing_is_stored(db: Database, reason: str, book_id: str) -> None:
    misfit = MISFITS[reason]
    world = prepared(db, book_id, misfit)
    before = (world.state_hash, world.chain_head, len(world.told))
    with pytest.raises(Rejected) as refused:
        world.deliver([misfit.fill, make_fill("beside", "BUY", 1, 20, 9, instrument="NVDA")])
    assert refused.value.reason == reason
    assert (world.state_hash, world.chain_head, len(world.told)) == before
    assert world.parked == {}


@pytest.mark.usefixtures("few_lots")
@pytest.mark.parametrize("reason", MISFITS)
def test_a_fact_that_does_not_fit_is_parked_whole_announced_once_and_the_rest_is_booked(
    db: Database, query: Query, reason: str
) -> None:
    misfit = MISFITS[reason]
    source = {"source": "ibkr", "account_key": "U1"}
    world = prepared(db, "ibkr:U1", misfit, **source)
    standing = [position.quantity_open for position in world.positions]
    fill = replace(misfit.fill, **source)
    outcomes = world.deliver([fill, replace(make_fill("beside", "BUY", 1, 20, 9, instrument="NVDA"), **source)])
    is_shut = reason == "book_closed"
    assert [(one.status, one.reason) for one in outcomes] == [
        ("parked", reason), ("parked", reason) if is_shut else ("booked", None),
    ]  # fmt: skip
    assert world.parked[fill.fill_id] == ("AMD", reason)
    assert [position.quantity_open for position in world.positions if position.instrument == "AMD"] == standing
    parked = [data for kind, data in world.told if kind == "fill_parked" and data["fill_id"] == fill.fill_id]
    assert [(data["reason"], data["quantity"]) for data in parked] == [(reason, str(fill.quantity))]
    assert world.deliver([fill])[0].status == "duplicate"
    assert len([1 for kind, data in world.told if kind == "fill_parked" and data["fill_id"] == fill.fill_id]) == 1
    (row,) = query("select reason, quantity from ledger.v_parked_fills where fill_id = :id", id=fill.fill_id)
    assert row == {"reason": reason, "quantity": fill.quantity}


def test_an_exit_older_than_our_history_waits_for_an_operators_opening(db: Database) -> None:
    world = StoredWorld(db, make_book("ibkr:U1"))
    leave = make_fill("x", "SELL", 10, 110, 30, source="ibkr", account_key="U1", position_effect="close")
    assert world.deliver([leave])[0].reason == "nothing_to_close"
    world.deliver([make_fill("later", "BUY", 1, 90, 60, source="ibkr", account_key="U1")])
    assert world.parked == {leave.fill_id: ("AMD", "nothing_to_close")}, "no opening is invented"
    opening = make_fill("OB-1", "BUY", 10, 100, 1, source="operator", account_key="ann", reason="opening_balance")
    world.deliver([opening])
    assert [(v.action.action_type, v.action.reason) for v in world.actions] == [
        ("ENTRY", "opening_balance"), ("EXIT", "tp_hit"), ("ENTRY", "tp_hit"),
    ]  # fmt: skip
    assert world.actions[1].action.realized_pnl == 100
    assert world.parked == {}


def test_comparing_methods_writes_nothing(stored: StoredWorld, query: Query) -> None:
    from fillbook.ledger.comparison import compare_methods

    stored.deliver([make_fill("a", "BUY", 10, 100), make_fill("b", "BUY", 5, 110, 1), make_fill("c", "SELL", 12, 120, 2)])
    before = (stored.state_hash, stored.chain_head, query("select xmin::text from ledger.books"))
    assert len(compare_methods(stored.db, "live")) == 5
    assert (stored.state_hash, stored.chain_head, query("select xmin::text from ledger.books")) == before

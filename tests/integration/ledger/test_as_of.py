"""Scenarios 37 to 39: the book as of T, known as of K, as an operator or a reader meets it."""

from __future__ import annotations

from tests.support.ledger import StoredWorld, at, make_fill
from fillbook.ledger import asof, standing


def test_smoke(stored: StoredWorld) -> None:
    stored.deliver([make_fill("a", "BUY", 10, 100), make_fill("b", "BUY", 10, 110, 1), make_fill("c", "SELL", 15, 120, 2)], at(3))
    stored.split((4, 1), 10)
    found = standing.book_as_of(stored.db, "live", asof.moment(None, None, at(60)))
    print("\n".join(standing.lines(found)))
    assert 0

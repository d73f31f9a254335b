"""The book at any instant: what the reconciler reads of it is what a fold of the facts up to then gives, splits included."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from fillbook.ledger import breakstore
from fillbook.runtime.db import Database
from tests.support.ledger import MemoryWorld, at, make_book
from tests.support.ledger_statements import BrokerDesk, book_in, fact, statement_of

RATIOS = ((2, 1), (1, 7), (3, 2))


def history(rng: Random, netting: str) -> tuple[list[Any], list[Any]]:
    """Thirty fills of three instruments over two hours, and a few splits."""
    fills = []
    for number in range(30):
        options: dict[str, Any] = {"instrument": rng.choice(["AMD", "NVDA", "KO"])}
        options["fees"] = rng.choice(["0", "0.35", "1"])
        if rng.random() < 0.2:
            options |= {"currency": "EUR", "instrument": "SAP", "fx_rate": "1.25"}
        if netting == "hedge":
            options["direction"] = rng.choice(["LONG", "SHORT"])
        quantity = rng.choice(["1", "3", "2.5", "0.3333333333"])
        side, price = rng.choice(["BUY", "SELL"]), f"{rng.randint(50, 150)}.{rng.randint(0, 99):02}"
        fills.append(fact(f"x{number}", side, quantity, price, rng.randint(0, 120), **options))
    splits = [(rng.choice(RATIOS), rng.randint(10, 110), rng.choice(["AMD", "NVDA"])) for _ in range(3)]
    return fills, splits


@pytest.mark.parametrize("netting", ["net", "hedge"])
@pytest.mark.parametrize("seed", range(8))
def test_the_book_read_at_an_instant_is_the_fold_of_what_happened_until_then(db: Database, seed: int, netting: str) -> None:
    rng = Random(seed)
    method = rng.choice(["FIFO", "LIFO", "HIFO", "AVERAGE"])
    fills, splits = history(rng, netting)
    desk = BrokerDesk(db, netting=netting, method=method)
    arriving = rng.sample(fills, len(fills))
    for start in range(0, len(arriving), 7):
        desk.book(*arriving[start : start + 7])
    for ratio, minute, instrument in splits:
        desk.world.split(ratio, minute, instrument=instrument)
    for minute in (1, 25, 45, 60, 80, 119):
        then = MemoryWorld(make_book(desk.book_id, method, netting))
        happened = [fill for fill in fills if fill.executed_at <= at(minute)]
        if happened:
            then.deliver(happened)
        for ratio, when, instrument in splits:
            if when <= minute:
                then.split(ratio, when, instrument=instrument)
        expected = book_in(then)
        said = statement_of(expected, desk.book_id, at(minute))
        with db.transaction() as tx:
            read = breakstore.book_at(tx, desk.world.book, said)
        by_slot = {(held.instrument, held.direction): held for held in read.held}
        assert by_slot == {(held.instrument, held.direction): held for held in expected.held}, (seed, minute)
        assert {currency: (flow.gross, flow.fees) for currency, flow in read.cash.items()} == {
            currency: (flow.gross, flow.fees) for currency, flow in expected.cash.items()
        }
        outcome = desk.compare(said)
        assert outcome.result == "matched", outcome.breaks

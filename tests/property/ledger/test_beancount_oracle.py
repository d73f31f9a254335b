"""Reliability 10: beancount's own booking of the same fills agrees with every lot taken and every figure to the last unit.

200 histories in CI (50 before a commit). The campaign: ``FILLBOOK_EXAMPLES=10000 FILLBOOK_SEED=1 python3 infra/dev.py test
tests/property/ledger/test_beancount_oracle.py -s``; it prints its seeds, and one that fails is named.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import settings

from fillbook.ledger.ids import lot_id
from tests.support.bean_oracle import Found, ask, parts_of
from tests.support.ledger import MemoryWorld
from tests.support.ledger_histories import broker_book
from tests.support.oracle_histories import Told, history

UNIT = Fraction(1, 10**8)
METHODS = {"FIFO": "FIFO", "LIFO": "LIFO", "HIFO": "HIFO", "SPECIFIC": "STRICT"}


def seeds() -> Iterator[int]:
    """As many as the profile has examples, from FILLBOOK_SEED on."""
    first = int(os.environ.get("FILLBOOK_SEED", "1"))
    last = first + settings().max_examples
    sys.stdout.write(f"seeds {first} to {last - 1}\n")
    yield from range(first, last)


def disagreements(told: Told, world: MemoryWorld, expected: Found) -> list[str]:
    """Every figure that differs by more than the last unit per lot taken, in words."""
    found: list[str] = []
    closing = {version.action.fill_id: version.action for version in world.actions if version.action.closings}
    if closing.keys() != expected.taken.keys():
        return [f"closings {closing.keys() ^ expected.taken.keys()}"]
    for fill_id, action in closing.items():
        taken = {part.lot_id: Fraction(part.quantity) for part in action.closings}
        if taken != {lot_id(name): units for name, units in expected.taken[fill_id].items()}:
            found.append(f"lots of {fill_id}: {taken}, beancount {expected.taken[fill_id]}")
        for name, ours, theirs in (
            ("realized", action.realized_pnl, expected.realized[fill_id]),
            ("gross", action.realized_pnl_gross, expected.gross[fill_id]),
        ):
            # value, and the share of each lot's basis, are rounded once each
            if ours is None or abs(Fraction(ours) - theirs) > UNIT * (len(taken) + 1):
                found.append(f"{name} of {fill_id}: {ours}, beancount {float(theirs):.9f}")
    lots = {lot.lot_id: lot for lot in world.memory.lots.values() if lot.status == "OPEN"}
    if {name: Fraction(lot.quantity_open) for name, lot in lots.items()} != {
        lot_id(name): units for name, (units, _) in expected.open.items()
    }:
        found.append("other lots are open")
    found += [
        f"basis of {name}: {lots[lot_id(name)].basis_open}"
        for name, (_, basis) in expected.open.items()
        if lot_id(name) in lots and abs(Fraction(lots[lot_id(name)].basis_open or 0) - basis) > UNIT
    ]
    return found


@pytest.mark.parametrize("method", METHODS)
def test_beancount_takes_the_same_lots_and_realizes_the_same(method: str) -> None:
    for seed in seeds():
        told = history(seed, picks=method == "SPECIFIC")
        world = MemoryWorld(broker_book(method))
        for fill in told.deliveries:
            world.deliver([fill])
        assert world.parked == {}, f"seed {seed}"
        assert disagreements(told, world, ask(told.final, METHODS[method])) == [], f"seed {seed}"


def test_an_oracle_that_is_told_another_price_disagrees() -> None:
    told = history(3)
    world = MemoryWorld(broker_book("FIFO"))
    world.deliver(told.final)
    expected = ask(told.final, "FIFO")
    assert disagreements(told, world, expected) == []
    for name in expected.realized:
        expected.realized[name] += UNIT * 20
    assert len(disagreements(told, world, expected)) == len(expected.realized) > 0


def test_the_histories_hold_what_they_promise() -> None:
    told = [history(seed) for seed in range(1, 51)]
    expected = [ask(one.final, "FIFO") for one in told]
    parts = [part for one in told for part in parts_of(one.final)]
    closings = [part for part in parts if not part.opens]
    assert any(len(taken) > 1 for found in expected for taken in found.taken.values())
    assert {part.sign for part in closings} == {1, -1}
    assert {(part.fill.currency, str(part.fill.multiplier)) for part in closings} == {("USD", "1"), ("USD", "50"), ("EUR", "1")}
    assert any(part.quantity % 1 for part in closings)
    assert any((part.fill.fees or 0) < 0 for part in parts)
    assert any(one.fill is other.fill for one, other in pairwise(parts)), "none crosses zero"
    versions = [fill for one in told for fill in one.deliveries]
    assert any(fill.is_bust for fill in versions)
    assert any(fill.source_revision > 1 for fill in versions)
    assert any(len(fill.lot_picks or ()) > 1 for seed in range(1, 51) for fill in history(seed, picks=True).final)

"""Reliability 6: a day's fills in 100 random orders and 100 random batchings, an exit before its entry included."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest

from fillbook.ledger.model import Fill
from tests.support.campaigns import small_or_full
from tests.support.ledger import MemoryWorld, make_book, make_fill
from tests.support.ledger_cases import load, names


def day(seed: int) -> list[Fill]:
    """Forty fills of four instruments; the first close of one comes before anything was opened."""
    rng = random.Random(seed)
    early = make_fill("early", "SELL", 3, 100, 0, source="ibkr", instrument="TSLA", position_effect="close")
    return [early, *(random_fill(rng, number) for number in range(40))]


def random_fill(rng: random.Random, number: int) -> Fill:
    return make_fill(
        f"f{number}",
        rng.choice(["BUY", "BUY", "SELL"]),
        rng.randint(1, 20),
        rng.randint(9_000, 11_000) / Decimal(100),
        rng.randint(1, 390),
        source="ibkr",
        instrument=rng.choice(["AMD", "NVDA", "TSLA", "MSFT"]),
        position_effect=rng.choice(["auto", "auto", "close"]),
        fees=Decimal(rng.randint(0, 200)) / 100,
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(small_or_full(4, 10)))
def test_any_order_of_a_days_fills_ends_in_the_state_of_time_order(seed: int) -> None:
    fills = day(seed)
    book = make_book("ibkr:U1")
    expected = MemoryWorld(book)
    expected.deliver(sorted(fills, key=lambda fill: fill.key))
    rng = random.Random(1_000 + seed)
    for _ in range(10):
        rng.shuffle(fills)
        one_by_one, in_batches = MemoryWorld(book), MemoryWorld(book)
        for fill in fills:
            one_by_one.deliver([fill])
        rest = list(fills)
        while rest:
            size = rng.randint(1, 12)
            in_batches.deliver(rest[:size])
            rest = rest[size:]
        for world in (one_by_one, in_batches):
            assert world.state_hash == expected.state_hash
            assert world.parked == expected.parked
    assert expected.parked


def test_the_cases_of_the_specification_are_all_there() -> None:
    for number in range(1, 12):
        found = [name for name in names() if name.startswith(f"E{number:02}")]
        assert found, number
        assert load(found[0])["steps"]

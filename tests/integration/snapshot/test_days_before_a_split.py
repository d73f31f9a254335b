"""An earlier day that is worked out again after a split says what it said on its own evening, whatever was sold in between."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from fillbook.snapshot.model import Source
from tests.support.ledger import StoredWorld, make_fill
from tests.support.snapshot_desk import SnapshotDesk, ends, figure, ny, series

DAY = date(2026, 1, 29)
EVENING, LATER = "2026-01-29T16:30", "2026-02-03T21:00"
SOLD: dict[str, tuple[tuple[str, str], ...]] = {
    "all before it": (("2026-01-30T12:00", "9"),),
    "some before and the rest after it": (("2026-01-30T12:00", "4"), ("2026-02-03T12:00", "10")),
    "by halves": (("2026-01-30T12:00", "6"), ("2026-01-30T13:00", "1")),
    "all after it": (("2026-02-03T12:00", "18"),),
    "never": (),
}


def deliver(world: StoredWorld, name: str, at: str, side: str, quantity: str) -> None:
    """A fill at 98.31 as it happens."""
    world.deliver([make_fill(name, side, quantity, "98.31", source="ibkr", executed_at=ny(at), received_at=ny(at))], ny(at))


def money(read: Source, kpi: str, side: str) -> list[list[object]]:
    """An end's rows without what is told by the piece."""
    return [
        [row[name] for name in ("rank", "metric_raw", "individual_pnl", "percent_change", "cost_basis")]
        for row in ends(read, kpi, side)
    ]


@pytest.mark.parametrize("sold", SOLD)
def test_a_day_published_again_after_a_split_says_what_it_said_on_its_evening(desk: SnapshotDesk, sold: str) -> None:
    world = desk.open(f"before-{list(SOLD).index(sold)}")
    for name, at, side, quantity in (
        ("a", "2026-01-28T12:00", "BUY", "3"),
        ("b", "2026-01-29T10:00", "BUY", "5"),
        ("c", "2026-01-29T11:00", "SELL", "2"),
        ("d", "2026-01-29T14:00", "BUY", "3"),
    ):
        deliver(world, name, at, side, quantity)
    desk.mark(world, "AMD", "2026-01-28T15:45", "96.02", "96", "96.04")
    desk.mark(world, "AMD", "2026-01-29T15:45", "94.36", "94.30", "94.42")
    said = desk.figures(EVENING)
    assert figure(said, "Gross exposure") == (9 * Decimal("94.36"), None)

    before = [one for one in SOLD[sold] if one[0] < "2026-02-02"]
    for number, (at, quantity) in enumerate(SOLD[sold]):
        if number == len(before):
            desk.split(world, "AMD", "2026-02-02T08:00", [2, 1])
        deliver(world, f"s{number}", at, "SELL", quantity)
    if len(before) == len(SOLD[sold]):
        desk.split(world, "AMD", "2026-02-02T08:00", [2, 1])
    again = desk.figures(LATER, DAY)

    assert said.values is not None
    assert again.values is not None
    for kpi in sorted(set(said.values) - {"Oldest mark age"}):
        assert figure(again, kpi) == figure(said, kpi), kpi
        assert series(again, kpi) == series(said, kpi), kpi
        for side in ("hi", "lo"):
            assert money(again, kpi, side) == money(said, kpi, side), (kpi, side)
    assert [one["qty"] for one in ends(again, "Gross exposure", "hi")] == [18], (
        "quantities are told in today's units, as prices are"
    )

"""The table of lot methods, one by one: which lots, how much of each, where the residue of AVERAGE goes."""

from __future__ import annotations

from decimal import Decimal

import pytest

from fillbook.ledger.methods import METHODS
from fillbook.ledger.model import Direction, LotMethod, LotPick
from fillbook.runtime.errors import Rejected
from tests.support.ledger import MemoryWorld, make_fill


def lots(*prices: object, quantity: str = "1", side: str = "BUY") -> tuple[object, ...]:
    world = MemoryWorld()
    world.deliver([make_fill(f"l{n}", side, quantity, price, n, lot_ref=f"r{n}") for n, price in enumerate(prices)])
    return world.positions[0].lots


def taken(method: str, held: tuple[object, ...], quantity: str, *, short: bool = False, picks: object = None) -> dict[int, str]:
    direction = Direction.SHORT if short else Direction.LONG
    found = METHODS[LotMethod(method)](held, direction, Decimal(quantity), picks)  # type: ignore[arg-type]
    return {index: str(amount) for index, amount in found}


def test_every_method_of_the_enum_is_in_the_table() -> None:
    assert set(METHODS) == set(LotMethod)


@pytest.mark.parametrize(
    ("method", "short", "expected"),
    [
        ("FIFO", False, [0, 1]), ("FIFO", True, [0, 1]), ("LIFO", False, [3, 2]), ("LIFO", True, [3, 2]),
        ("HIFO", False, [1, 3]), ("HIFO", True, [2, 0]),
    ],
)  # fmt: skip
def test_a_method_takes_its_lots_in_its_order(method: str, short: bool, expected: list[int]) -> None:
    held = lots(100, 120, 90, 110, side="SELL" if short else "BUY")
    assert list(taken(method, held, "2", short=short)) == expected


def test_average_rounds_each_share_down_and_gives_the_residue_to_the_newest() -> None:
    assert taken("AVERAGE", lots(10, 20, 30), "1") == {0: "0.3333333333", 1: "0.3333333333", 2: "0.3333333334"}


def test_average_gives_the_residue_on_as_far_as_the_newest_has_quantity() -> None:
    world = MemoryWorld()
    sizes = ("0.0000000003", "0.0000000003", "0.0000000001")
    world.deliver([make_fill(f"l{n}", "BUY", size, 10, n) for n, size in enumerate(sizes)])
    assert taken("AVERAGE", world.positions[0].lots, "0.0000000006") == {0: "2E-10", 1: "3E-10", 2: "1E-10"}


def test_specific_refuses_what_no_lot_of_the_position_holds() -> None:
    held = lots(10, 20)
    for picks in (None, (LotPick(lot="r0", quantity=Decimal(2)),), (LotPick(lot="elsewhere", quantity=Decimal(1)),)):
        with pytest.raises(Rejected, match="lot_picks_mismatch"):
            taken("SPECIFIC", held, "1", picks=picks)
    assert taken("SPECIFIC", held, "1", picks=(LotPick(lot="r1", quantity=Decimal(1)),)) == {1: "1"}

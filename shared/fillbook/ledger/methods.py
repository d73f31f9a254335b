"""The table of lot methods: which open lots a closing takes, how much of each, in which order.

Observations: a method sees the open lots of one position in booking order and a quantity that is not above their sum. Price,
not basis, decides HIFO, so that a late commission never changes a choice already made. AVERAGE is pro rata over all
lots, which is algebraically average cost while every lot keeps its own price. Source: ledger specification, 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import ROUND_DOWN, Decimal

from fillbook.ledger.model import Direction, Lot, LotMethod, LotPick
from fillbook.money import QUANTITY_STEP, ZERO
from fillbook.runtime.errors import Rejected

Take = tuple[int, Decimal]
"""Index of an open lot and the quantity taken of it."""

Method = Callable[[Sequence[Lot], Direction, Decimal, Sequence[LotPick] | None], list[Take]]


def _in_order(lots: Sequence[Lot], order: Iterable[int], quantity: Decimal) -> list[Take]:
    takes: list[Take] = []
    for index in order:
        available = lots[index].quantity_open
        if quantity <= available:
            takes.append((index, quantity))
            return takes
        takes.append((index, available))
        quantity -= available
    raise Rejected("close_exceeds_open", "the open lots do not hold the quantity")


def _fifo(lots: Sequence[Lot], _direction: Direction, quantity: Decimal, _picks: Sequence[LotPick] | None) -> list[Take]:
    return _in_order(lots, range(len(lots)), quantity)


def _lifo(lots: Sequence[Lot], _direction: Direction, quantity: Decimal, _picks: Sequence[LotPick] | None) -> list[Take]:
    return _in_order(lots, range(len(lots) - 1, -1, -1), quantity)


def _hifo(lots: Sequence[Lot], direction: Direction, quantity: Decimal, _picks: Sequence[LotPick] | None) -> list[Take]:
    sign = -1 if direction is Direction.LONG else 1
    return _in_order(lots, sorted(range(len(lots)), key=lambda index: sign * lots[index].price_adjusted), quantity)


def _average(lots: Sequence[Lot], _direction: Direction, quantity: Decimal, _picks: Sequence[LotPick] | None) -> list[Take]:
    whole = sum((lot.quantity_open for lot in lots), ZERO)
    shares = [(quantity * lot.quantity_open / whole).quantize(QUANTITY_STEP, ROUND_DOWN) for lot in lots]
    residue = quantity - sum(shares, ZERO)
    for index in range(len(lots) - 1, -1, -1):
        if not residue:
            break
        extra = min(residue, lots[index].quantity_open - shares[index])
        shares[index] += extra
        residue -= extra
    return [(index, share) for index, share in enumerate(shares) if share]


def _specific(lots: Sequence[Lot], _direction: Direction, quantity: Decimal, picks: Sequence[LotPick] | None) -> list[Take]:
    left = {index: lot.quantity_open for index, lot in enumerate(lots)}
    taken: dict[int, Decimal] = {}
    for pick in picks or ():
        wanted = pick.quantity
        for index, lot in enumerate(lots):
            if wanted and pick.lot in (lot.lot_id, lot.lot_ref) and left[index]:
                part = min(wanted, left[index])
                taken[index] = taken.get(index, ZERO) + part
                left[index] -= part
                wanted -= part
        if wanted:
            raise Rejected("lot_picks_mismatch", "a pick names no open lot of this position, or more than it holds")
    if sum(taken.values(), ZERO) != quantity:
        raise Rejected("lot_picks_mismatch", "the picks do not sum to the closing quantity")
    return list(taken.items())


METHODS: Mapping[LotMethod, Method] = {
    LotMethod.FIFO: _fifo,
    LotMethod.LIFO: _lifo,
    LotMethod.HIFO: _hifo,
    LotMethod.AVERAGE: _average,
    LotMethod.SPECIFIC: _specific,
}

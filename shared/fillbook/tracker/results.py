"""Sums over actions become results: added up exactly, divided last. Pure.

A ``Cell`` holds the sums of one currency, group and date, with how many parts of each sum nobody knows; cells add. A sum with an
unknown part is unknown. Rates and averages are of the closed positions whose result is known, except the expectancy, which is
of all. Ratios have four decimals, averages of money two, half to even, as on a published day. Source: tracker.md 4.2,
snapshot specification, 2.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from decimal import Decimal, localcontext
from operator import attrgetter, itemgetter
from typing import Any, Final

from fillbook.money import CONTEXT, ZERO
from fillbook.tracker.figures_model import Counts, Results
from fillbook.tracker.wire import MONEY_DECIMALS, percent, text
from fillbook.values import frozen

RATIO_DECIMALS: Final = Decimal("0.0001")


@frozen(kw_only=False)
class Cell:
    """Sums over actions, extremes last; ``won`` and ``lost``: results of the positions closed with a gain and with a loss."""

    entries: int = 0
    adds: int = 0
    trims: int = 0
    exits: int = 0
    realized: Decimal = ZERO
    unknown_realized: int = 0
    fees: Decimal = ZERO
    unknown_fees: int = 0
    gains: Decimal = ZERO
    losses: Decimal = ZERO
    unknown_parts: int = 0
    wins: int = 0
    defeats: int = 0
    flats: int = 0
    pending: int = 0
    won: Decimal = ZERO
    lost: Decimal = ZERO
    held_seconds: Decimal = ZERO
    best: Decimal | None = None
    worst: Decimal | None = None


_NAMES: Final = tuple(one.name for one in fields(Cell))
_OF_ROW: Final = itemgetter(*_NAMES)
_SUMS: Final = attrgetter(*_NAMES[:-2])


def cell(row: Mapping[str, Any]) -> Cell:
    """A row of sums as a cell."""
    return Cell(*_OF_ROW(row))


def added(cells: Iterable[Cell]) -> Cell:
    """The sums of several cells of one currency."""
    parts = list(cells)
    if len(parts) < 2:
        return parts[0] if parts else Cell()
    with localcontext(CONTEXT):
        told: list[Any] = list(map(sum, zip(*map(_SUMS, parts), strict=True)))
    told.append(max((part.best for part in parts if part.best is not None), default=None))
    told.append(min((part.worst for part in parts if part.worst is not None), default=None))
    return Cell(*told)


def counts(sums: Cell) -> Counts:
    """What was executed, and how what it closed ended."""
    return {
        "entries": sums.entries,
        "adds": sums.adds,
        "trims": sums.trims,
        "exits": sums.exits,
        "wins": sums.wins,
        "losses": sums.defeats,
        "flats": sums.flats,
        "pending": sums.pending,
    }


def realized(sums: Cell) -> Decimal | None:
    """The realized P&L, None where a part of it is not known."""
    return None if sums.unknown_realized else sums.realized


def fees(sums: Cell) -> Decimal | None:
    """The fees, None where a part of them is not known."""
    return None if sums.unknown_fees else sums.fees


def results(currency: str, sums: Cell, trades: int) -> Results:
    """The results of a currency; ``trades`` is how many positions acted."""
    gross_win = None if sums.unknown_parts else sums.gains
    gross_loss = None if sums.unknown_parts else sums.losses
    known = sums.wins + sums.defeats + sums.flats
    with localcontext(CONTEXT):
        whole = None if sums.pending else sums.won + sums.lost
        against = None if gross_loss is None else -gross_loss
    return {
        "currency": currency,
        "trades": trades,
        "open": trades - sums.exits,
        "closed": sums.exits,
        **counts(sums),
        "win_rate_percent": percent(Decimal(sums.wins), Decimal(sums.wins + sums.defeats)),
        "realized_pnl": text(realized(sums)),
        "fees": text(fees(sums)),
        "gross_win": text(gross_win),
        "gross_loss": text(gross_loss),
        "profit_factor": text(_divided(gross_win, against, RATIO_DECIMALS)),
        "avg_win": text(_divided(sums.won, sums.wins, MONEY_DECIMALS)),
        "avg_loss": text(_divided(sums.lost, sums.defeats, MONEY_DECIMALS)),
        "expectancy": text(_divided(whole, known, MONEY_DECIMALS)),
        "best": text(sums.best),
        "worst": text(sums.worst),
        "avg_hold_seconds": _seconds(sums),
    }


def _divided(amount: Decimal | None, by: Decimal | int | None, step: Decimal) -> Decimal | None:
    if amount is None or not by:
        return None
    return CONTEXT.quantize(CONTEXT.divide(amount, Decimal(by)), step)  # it rounds half to even


def _seconds(sums: Cell) -> int | None:
    mean = _divided(sums.held_seconds, sums.exits, Decimal(1))
    return None if mean is None else int(mean)

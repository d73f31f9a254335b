"""A position's figures folded from its executions alone, with nothing of the desk's own arithmetic: a comparison's other half.

First in, first out over exact fractions. Unknown is None and makes a sum unknown. ``Folded`` holds what a trade shows, as it is
written on the wire.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

OPENS = ("ENTRY", "ADD_ENTRY")
CENT, PRICE, ZERO = Decimal("0.01"), Decimal("1e-10"), Decimal(0)


class NotTold(Exception):
    """The executions alone do not tell a figure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot:
    """An opening and what is left of it."""

    quantity: Decimal
    price: Decimal
    value: Decimal | None
    fees: Decimal | None
    left: Decimal


def summed(parts: Iterable[Decimal | None]) -> Decimal | None:
    """A sum, unknown when a part is."""
    result = Decimal(0)
    for part in parts:
        if part is None:
            return None
        result += part
    return result


def written(value: Decimal | None) -> str | None:
    """A decimal as the wire has it."""
    if value is None:
        return None
    text = f"{value:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def points(part: Decimal | None, whole: Decimal | None) -> str | None:
    """A percentage with two decimals."""
    if part is None or whole is None or whole == 0:
        return None
    return f"{(100 * part / whole).quantize(CENT, ROUND_HALF_EVEN) + 0:f}"


def lots_of(actions: Sequence[Mapping[str, Any]]) -> list[Lot]:
    """Openings in their order with what later closings left of them, oldest first."""
    lots = [
        Lot(quantity=row["quantity"], price=row["price"], value=row["value"], fees=row["fees"], left=row["quantity"])
        for row in actions
        if row["action_type"] in OPENS
    ]
    to_close = sum((row["quantity"] for row in actions if row["action_type"] not in OPENS), Decimal(0))
    found = []
    for lot in lots:
        taken = min(lot.left, to_close)
        to_close -= taken
        found.append(Lot(quantity=lot.quantity, price=lot.price, value=lot.value, fees=lot.fees, left=lot.left - taken))
    return found


def folded(actions: Sequence[Mapping[str, Any]], mark: Decimal | None) -> dict[str, Any]:
    """What a trade has to show, from the rows of ``ledger.v_actions`` of one position in booking order."""
    with localcontext() as context:
        context.prec = 80
        return _folded(actions, mark)


def _folded(actions: Sequence[Mapping[str, Any]], mark: Decimal | None) -> dict[str, Any]:
    first, last = actions[0], actions[-1]
    sign = 1 if first["direction"] == "LONG" else -1
    closings = [row for row in actions if row["action_type"] not in OPENS]
    lots = lots_of(actions)
    opened, left = sum((lot.quantity for lot in lots), ZERO), sum((lot.left for lot in lots), ZERO)
    basis = summed(None if lot.value is None or lot.fees is None else lot.value + sign * lot.fees for lot in lots)
    realized = summed(row["realized_pnl"] for row in closings)
    taken = summed(_basis_taken(row, sign) for row in closings)
    is_open = left > 0
    cost = _cost(lots, sign, None if basis is None or taken is None else basis - taken) if is_open else Decimal(0)
    multiplier = next((row["multiplier"] for row in reversed(actions) if row["multiplier"] is not None), None)
    gain = None
    if is_open and mark is not None and multiplier is not None and cost is not None:
        gain = sign * ((left * mark * multiplier).quantize(Decimal("1e-8"), ROUND_HALF_EVEN) - cost)
    entered = sum((lot.left * lot.price for lot in lots), ZERO) / left if is_open else _entry(lots, opened)
    return {
        "ticker": first["ticker"],
        "direction": first["direction"],
        "status": "OPEN" if is_open else "CLOSED",
        "outcome": None if is_open else _outcome(realized),
        "total_qty": written(left),
        "opened_qty": written(opened),
        "entry_price": written(entered.quantize(PRICE, ROUND_HALF_EVEN)),
        "cost_basis": written(cost),
        "current_price": written(mark),
        "unrealized_pnl": written(gain),
        "realized_pnl": written(realized),
        "fees": written(summed(row["fees"] for row in actions)),
        "return_percent": points(None if realized is None else summed([realized, gain if is_open else Decimal(0)]), basis),
        "trimmed_percent": points(opened - left, opened),
        "first_entry_at": _instant(first["executed_at"]),
        "last_action_at": _instant(last["executed_at"]),
        "action_count": len(actions),
    }


def _entry(lots: Sequence[Lot], opened: Decimal) -> Decimal:
    return sum((lot.quantity * lot.price for lot in lots), ZERO) / opened


def _cost(lots: Sequence[Lot], sign: int, rest: Decimal | None) -> Decimal | None:
    """The basis of what is open: what closings left of all of it, else that of the lots nobody closed a part of."""
    if rest is not None:
        return rest
    open_lots = [lot for lot in lots if lot.left]
    if any(lot.value is None or lot.fees is None for lot in open_lots):
        return None
    if any(lot.left != lot.quantity for lot in open_lots):
        raise NotTold("a closing took an unknown part of a known lot")
    return summed(None if lot.value is None or lot.fees is None else lot.value + sign * lot.fees for lot in open_lots)


def _basis_taken(row: Mapping[str, Any], sign: int) -> Decimal | None:
    """The basis that a closing took: what it brought after fees, less what that earned (for a short the other way round)."""
    if row["value"] is None or row["fees"] is None or row["realized_pnl"] is None:
        return None
    proceeds: Decimal = row["value"] - sign * row["fees"]
    taken: Decimal = proceeds - sign * row["realized_pnl"]
    return taken


def _outcome(realized: Decimal | None) -> str:
    if realized is None:
        return "PENDING"
    return "WIN" if realized > 0 else "LOSS" if realized < 0 else "FLAT"


def _instant(at: Any) -> str:
    return str(at.isoformat(timespec="milliseconds").replace("+00:00", "Z"))

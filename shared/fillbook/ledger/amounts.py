"""Amounts as columns: rounded once, split without losing a unit, converted only where a rate is known.

Callers run under ``fillbook.money.CONTEXT`` (60 digits, half even). Quantizing under a context of 28 digits is what makes
an amount that ``numeric(28,x)`` cannot hold an error instead of a truncation: ``NumberError('number_overflow')``.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation

from fillbook.money import DIGITS_MAX, MONEY_STEP, ONE, PRICE_STEP, QUANTITY_STEP, RATE_STEP, ZERO, NumberError

NOTIONAL_STEP = Decimal("1e-20")
FACTOR_STEP = Decimal("1e-18")

_COLUMN = Context(prec=DIGITS_MAX, rounding=ROUND_HALF_EVEN)
_FACTOR = Context(prec=38, rounding=ROUND_HALF_EVEN)


def _to_step(value: Decimal, step: Decimal, context: Context = _COLUMN) -> Decimal:
    try:
        return value.quantize(step, None, context) or ZERO
    except InvalidOperation as error:
        raise NumberError("number_overflow", "does not fit the column") from error


def money(value: Decimal) -> Decimal:
    """Round to a money column (8 decimals); -0 is written 0."""
    return _to_step(value, MONEY_STEP)


def quantity(value: Decimal) -> Decimal:
    """Round to a quantity column (10 decimals)."""
    return _to_step(value, QUANTITY_STEP)


def price(value: Decimal) -> Decimal:
    """Round to a price column (10 decimals)."""
    return _to_step(value, PRICE_STEP)


def rate(value: Decimal) -> Decimal:
    """Round to a rate column (12 decimals)."""
    return _to_step(value, RATE_STEP)


def multiplier(value: Decimal) -> Decimal:
    """Round to a multiplier column, ``numeric(20,10)``."""
    rounded = _to_step(value, QUANTITY_STEP)
    if rounded.adjusted() > 9:
        raise NumberError("number_overflow", "does not fit the column")
    return rounded


def factor(value: Decimal) -> Decimal:
    """Round a split factor to its column, ``numeric(38,18)``."""
    return _to_step(value, FACTOR_STEP, _FACTOR)


def part(total: Decimal, cumulative: Decimal, whole: Decimal, given: Decimal) -> Decimal:
    """The next part of ``total`` by running difference: what is due up to ``cumulative`` of ``whole``, less ``given``."""
    return money(total * cumulative / whole) - given


def plus(left: Decimal | None, right: Decimal | None) -> Decimal | None:
    """Add two amounts of one currency; unknown plus anything is unknown."""
    return None if left is None or right is None else left + right


def minus(left: Decimal | None, right: Decimal | None) -> Decimal | None:
    """Subtract two amounts of one currency; unknown less anything is unknown."""
    return None if left is None or right is None else left - right


def total(parts: Iterable[Decimal | None]) -> Decimal | None:
    """Sum amounts of one currency; one unknown part makes the sum unknown."""
    result = ZERO
    for item in parts:
        if item is None:
            return None
        result += item
    return result


def charges(
    fees: Decimal | None,
    *,
    currency: str,
    base_currency: str,
    fx_rate: Decimal | None,
    fees_currency: str | None,
    fees_rate: Decimal | None,
) -> tuple[Decimal | None, Decimal | None]:
    """A fill's fees in the trade's currency and in the book's base currency; None where a needed rate is unknown.

    Source: ledger specification, 2: fees × fees_rate ÷ fx_rate, as given when the two currencies are the same; fees that
    are in base already need no rate, and a fee of zero needs none at all.
    """
    if fees is None:
        return None, None
    if not fees:
        return ZERO, ZERO
    of_currency = ONE if currency == base_currency else fx_rate
    if fees_currency is None or fees_currency == currency:
        in_base = of_currency if of_currency is not None else fees_rate
        return money(fees), None if in_base is None else money(fees * in_base)
    of_fees = ONE if fees_currency == base_currency else fees_rate
    if of_fees is None:
        return None, None
    return None if of_currency is None else money(fees * of_fees / of_currency), money(fees * of_fees)
